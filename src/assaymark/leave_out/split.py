"""Which items of a pool are shared, candidates, independent or external: one letter each, by a key of their ids."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.errors import ConfigError, InputError, UnknownName

__all__ = ["SETS", "SIZES", "PoolSplit", "checked_sets", "content_digests", "split_pool"]

SETS = ("S", "C", "I", "E")
"""Shared (both models train on it), candidates (only the first), independent (only the second), external (neither)."""
SIZES: Mapping[str, float] = {"S": 65 / 80, "C": 5 / 80, "I": 5 / 80, "E": 5 / 80}
"""65,000 and three times 5,000 (Wang et al., ICLR 2025, on COCO)."""


class PoolSplit(NamedTuple):
    """A split pool.

    Attributes
    ----------
    sets : tuple of str, one an id
        A letter of SETS, or "" for an item that is in none.
    duplicates : int
        Items whose content an earlier one has too; they are in the set of that one.
    """

    sets: tuple[str, ...]
    duplicates: int

    @property
    def sizes(self) -> dict[str, int]:
        """Items of each set."""
        counts = Counter(self.sets)
        return {name: counts[name] for name in SETS}


def split_pool(
    ids: Sequence[str],
    *,
    sizes: Mapping[str, float] | Sequence[float] = SIZES,
    seed: int,
    contents: Sequence[bytes] | None = None,
) -> PoolSplit:
    """Assign each item to a set, by the order of a hash of its id and the seed.

    Equal ids get equal sets, in whatever order they come. Items of equal content stay together: of two copies in
    different sets, one would show a model what it is supposed not to have seen.

    Parameters
    ----------
    ids : sequence of n different str
    sizes : mapping of the letters S, C, I, E to numbers, or four numbers in this order
        All at most 1: shares of the pool. Otherwise counts; items beyond their sum are in no set.
    seed : int
    contents : sequence of n bytes, optional
        What is equal for copies, see `content_digests`.

    Raises
    ------
    InputError
        An id comes twice.
    ConfigError
        More items are asked for than there are, or no candidates, no independent or no shared ones.

    Notes
    -----
    O(n log n). Sizes are exact, except that a group of copies goes to the next set with room for all of them.
    """
    repeated = [one for one, times in Counter(ids).items() if times > 1]
    if repeated:
        raise InputError(f"id {repeated[0]!r} comes more than once ({len(repeated)} ids do); ids must be different")
    room = _counts(sizes, len(ids))
    keys = [blake2b(f"{seed}\0{one}".encode(), digest_size=16).digest() for one in ids]
    groups: dict[bytes, list[int]] = {}
    for row, key in enumerate(contents if contents is not None else keys):
        groups.setdefault(key, []).append(row)
    first = {min(rows, key=ids.__getitem__): rows for rows in groups.values()}  # a copy moves no other item
    sets = [""] * len(ids)
    for row in sorted(first, key=keys.__getitem__):
        members = first[row]
        for name in ("C", "I", "E", "S"):  # small sets first: what groups leave over is made up by the large one
            if room[name] >= len(members):
                room[name] -= len(members)
                for member in members:
                    sets[member] = name
                break
    return PoolSplit(tuple(sets), len(ids) - len(groups))


def _counts(sizes: Mapping[str, float] | Sequence[float], n: int) -> dict[str, int]:
    named = dict(sizes) if isinstance(sizes, Mapping) else dict(zip(SETS, sizes, strict=False))
    for name in named:
        if name not in SETS:
            raise UnknownName("set", name, SETS, mend="(shared, candidates, independent, external)")
    numbers = {name: float(named.get(name, 0)) for name in SETS}
    if min(numbers.values()) < 0:
        raise ConfigError(f"the sizes of sets are {named}; none may be below 0")
    counts = {name: round(number) for name, number in numbers.items()}
    if max(numbers.values()) <= 1:
        if sum(numbers.values()) > 1 + 1e-9:
            raise ConfigError(f"the shares of the sets are {named}; together they must be at most 1")
        counts = {name: int(number * n) for name, number in numbers.items()}
        counts["S"] = min(round(sum(numbers.values()) * n), n) - sum(counts[name] for name in ("C", "I", "E"))
    if sum(counts.values()) > n:
        raise ConfigError(f"the sets take {sum(counts.values())} items, the pool has {n}; make them smaller")
    empty = [name for name in ("S", "C", "I") if counts[name] < 1]
    if empty:
        raise ConfigError(f"set {empty[0]} would be empty ({n} items, sizes {counts}); give it one item or more")
    return counts


def content_digests(pixels: Any) -> list[bytes]:
    """Hash of each item, 16 bytes, equal for equal pixels of one type. O(bytes).

    Parameters
    ----------
    pixels : array or tensor on the CPU, shape (n, ...)
    """
    rows = np.ascontiguousarray(np.asarray(pixels))
    return [blake2b(row.tobytes(), digest_size=16).digest() for row in rows]


def checked_sets(ids: Sequence[str], sets: Sequence[str], *, contents: Sequence[bytes] | None = None) -> npt.NDArray[np.str_]:
    """The sets of a split that comes from elsewhere, as an array, if no model can have seen what it must not have seen.

    Parameters
    ----------
    ids, sets : sequences of n str
    contents : sequence of n bytes, optional
        See `content_digests`.

    Raises
    ------
    InputError
        An id is in two sets, or a copy of a candidate, an independent or an external item is in a set that other models train
        on: there is no model without it, so that nothing can be said of it. Names the first and counts them.
    UnknownName
        A set that is none of SETS ("" is none on purpose).
    """
    if len(ids) != len(sets):
        raise InputError(f"{len(ids)} ids have {len(sets)} sets; each id needs one")
    for name in dict.fromkeys(sets):
        if name and name not in SETS:
            raise UnknownName("set", name, SETS, mend="(S shared, C candidates, I independent, E external)")
    _one_set_each(ids, ids, sets, what="id")
    if contents is not None:
        _one_set_each(contents, ids, sets, what="content of")
    missing = [name for name in ("S", "C", "I") if name not in sets]
    if missing:
        raise InputError(f"no item is in set {missing[0]}; a pair of models needs items in S, C and I")
    return np.asarray(sets, dtype=np.str_)


def _one_set_each(keys: Sequence[Any], ids: Sequence[str], sets: Sequence[str], *, what: str) -> None:
    seen: dict[Any, int] = {}
    torn = []
    for row, key in enumerate(keys):
        if sets[row]:
            first = seen.setdefault(key, row)
            if sets[first] != sets[row]:
                torn.append((first, row))
    if torn:
        first, row = torn[0]
        also = "" if ids[first] == ids[row] else f" (as {ids[row]!r})"
        raise InputError(
            f"the {what} {ids[first]!r} is in set {sets[first]} and in set {sets[row]}{also}, {len(torn)} such in all: "
            "no model is without it; keep copies in one set (split_pool does)"
        )
