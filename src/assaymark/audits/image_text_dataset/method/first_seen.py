"""Which rows are the first of their key, over any number of batches in order."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["SeenKeys"]

Keys = npt.NDArray[np.uint64]


class SeenKeys:
    """A growing set of 64-bit keys in sorted runs of falling length.

    Notes
    -----
    `first` of m rows costs O(m log m + m log^2 n) for n keys seen, adding them O(m log n) amortised: a run is merged with the
    one before it when that is no longer than itself, so there are at most log2(n) runs. 8 bytes for each distinct key, and up
    to three times that while runs are merged. Two different keys share a hash with probability n^2 / 2^65 in all (0.03 for
    10^9).
    """

    def __init__(self) -> None:
        self._runs: list[Keys] = []

    def __len__(self) -> int:
        return sum(len(run) for run in self._runs)

    def first(self, keys: npt.ArrayLike) -> npt.NDArray[np.bool_]:
        """Whether each key, shape (m,), is met for the first time, here and in all earlier calls; remembers them."""
        values = np.asarray(keys, dtype=np.uint64)
        distinct, index = np.unique(values, return_index=True)
        new = ~self._known(distinct)
        mask = np.zeros(len(values), dtype=np.bool_)
        mask[index[new]] = True
        self._add(distinct[new])
        return mask

    def copy(self) -> SeenKeys:
        """The set as it is now; runs are never changed in place, so that this costs nothing."""
        twin = SeenKeys()
        twin._runs = list(self._runs)
        return twin

    def _known(self, distinct: Keys) -> npt.NDArray[np.bool_]:
        known = np.zeros(len(distinct), dtype=np.bool_)
        for run in self._runs:
            place = np.minimum(np.searchsorted(run, distinct), len(run) - 1)
            known |= run[place] == distinct
        return known

    def _add(self, run: Keys) -> None:
        if not len(run):
            return
        while self._runs and len(self._runs[-1]) <= len(run):
            merged = np.concatenate([self._runs.pop(), run])
            merged.sort(kind="stable")  # two sorted runs, which the stable sort merges in linear time
            run = merged
        self._runs.append(run)
