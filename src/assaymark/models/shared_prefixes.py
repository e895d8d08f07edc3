"""Which sequences of tokens begin alike, and are therefore cheaper together: each prefix is then worked out once."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["WORTH_SHARING", "SharedPrefix", "common_length", "shared_prefixes"]

WORTH_SHARING = 64  # tokens that must be saved, before a prefix of its own pays for another forward pass
_DEEPEST = 100  # levels of prefixes within prefixes that are looked at

Ints = npt.NDArray[np.int64]


class SharedPrefix(NamedTuple):
    """Sequences, by their `rows`, whose first `length` tokens are the same; length 0 where nothing is shared."""

    length: int
    rows: list[int]


class _Parts(NamedTuple):
    saved: int
    groups: list[SharedPrefix]


def common_length(first: Sequence[int] | Ints, second: Sequence[int] | Ints) -> int:
    """Length of the longest common prefix of two sequences; O(n)."""
    most = min(len(first), len(second))
    differ = np.asarray(first[:most], dtype=np.int64) != np.asarray(second[:most], dtype=np.int64)
    return int(differ.argmax()) if differ.any() else most


def shared_prefixes(sequences: Sequence[Sequence[int]], limits: Sequence[int]) -> list[SharedPrefix]:
    """Groups of sequences that save the most tokens when the prefix of each group is computed once.

    Parameters
    ----------
    sequences : sequences of token ids
    limits : sequence of int
        How many tokens of each may stand in a prefix.

    Returns
    -------
    list of SharedPrefix
        Every row once; those that share nothing worth it are the last group, with length 0.

    Notes
    -----
    A group of n with a prefix of m tokens saves (n - 1) m. In lexicographic order, the best groups are runs: a run is either
    one group, or cut wherever two neighbours share no more than all of it do. O(n log n) comparisons of sequences.
    """
    order = sorted(range(len(sequences)), key=lambda row: list(sequences[row]))
    common = [
        min(common_length(sequences[a], sequences[b]), limits[a], limits[b]) for a, b in pairwise(order)
    ]  # limits included, the least of a run is what all of it share
    found = _best(np.array(common, dtype=np.int64), 0, len(order), _DEEPEST).groups
    groups = [SharedPrefix(length, [order[place] for place in rows]) for length, rows in found if length]
    alone = [order[place] for length, rows in found if not length for place in rows]
    return groups + ([SharedPrefix(0, sorted(alone))] if alone else [])


def _best(common: Ints, start: int, stop: int, depth: int) -> _Parts:
    """The best groups of the places from `start` to `stop`; `common[i]` is what places i and i + 1 share."""
    places = list(range(start, stop))
    if len(places) < 2:
        return _Parts(0, [SharedPrefix(0, places)] if places else [])
    here = common[start : stop - 1]
    length = int(here.min())
    together = (len(places) - 1) * length
    cuts = (start + 1 + np.flatnonzero(here == length)).tolist()
    most_apart = int(here[here > length].sum())  # no partition of the runs between the cuts can save more
    runs = pairwise([start, *cuts, stop]) if depth and most_apart > together else ()
    parts = [_best(common, a, b, depth - 1) for a, b in runs]
    apart = sum(part.saved for part in parts)
    if together < WORTH_SHARING and apart < WORTH_SHARING:
        return _Parts(0, [SharedPrefix(0, places)])
    if together >= apart:
        return _Parts(together, [SharedPrefix(length, places)])
    return _Parts(apart, [group for part in parts for group in part.groups])
