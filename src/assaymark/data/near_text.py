"""Near-duplicates among texts: min-wise hashes find candidates, the exact overlap of shingles decides.

Reposts, quotations and cuts of one article on both sides of a split make a detector look better than it is; their groups must
stay together. Broder (1997), "On the resemblance and containment of documents"; candidates by locality-sensitive hashing as in
Leskovec, Rajaraman & Ullman (2020), "Mining of Massive Datasets", section 3.4.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from assaymark.errors import MissingExtra

__all__ = ["near_duplicate_groups", "shingles"]

Shingles = npt.NDArray[np.uint64]

_WORD = re.compile(r"\w+")
_FACTOR = np.uint64(0x9E3779B97F4A7C15)
_CHARACTERS = 5
MOST_INDEXED = 64
"""Members of a group that later texts are compared with: a template that a program filled in thousands of times stays cheap."""

_WEIGHTS = (0.02, 0.98)
"""Costs of a false and of a missed candidate, from which the bands follow: a false one costs a comparison, no error."""


def near_duplicate_groups(
    texts: Sequence[str | None], *, threshold: float = 0.8, words: int = 5, permutations: int = 128, seed: int = 0
) -> npt.NDArray[np.int64]:
    """Group of each text: the place of the first text that it is linked to, over any number of near-duplicates.

    Two texts are near-duplicates when their sets of shingles (see `shingles`) have a Jaccard index of at least `threshold`.

    Parameters
    ----------
    texts : sequence of str or None; a text without a word stands alone
    threshold : in (0, 1]
    words : length of a shingle in words
    permutations : hash values a text; more of them miss fewer pairs that lie near the threshold
    seed : of the hash functions

    Returns
    -------
    array of int64, shape (n_texts,)
        A text that is its own group has its own place; so `groups == arange(n)` keeps one text of each.

    Raises
    ------
    MissingExtra
        The library `datasketch` is not installed.

    Notes
    -----
    O(total words x permutations), plus a comparison for each candidate that is not in the group already: some seconds for
    10,000 texts of 200 words, which take about 50 MB. No text is merged by mistake, as every candidate is checked. Of pairs
    right at the threshold of 0.8 some 2 % are missed (17 bands of 7 values), of those at 0.86 fewer than one in a thousand.
    """
    if not 0 < threshold <= 1:
        raise ValueError(f"threshold {threshold} is not in (0, 1]")
    parent = np.arange(len(texts), dtype=np.int64)
    sets: dict[int, Shingles] = {}
    same: dict[bytes, int] = {}
    for place, found in enumerate(shingles(texts, words=words)):
        first = same.setdefault(found.tobytes(), place) if len(found) else place
        parent[place] = first
        if first == place and len(found):
            sets[place] = found
    _link(parent, sets, threshold, permutations, seed)
    return np.array([_root(parent, place) for place in range(len(texts))], np.int64)


def shingles(texts: Sequence[str | None], *, words: int = 5) -> Iterator[Shingles]:
    """Sorted distinct hashes of the runs of words of each text; of characters where it is short.

    Case, punctuation and spaces do not count. A text of fewer than two runs side by side (`2 * words` words), such as a title
    or a sentence in a script without spaces, has the runs of 5 characters instead.
    """
    known: dict[str, int] = {}
    for text in texts:
        found = _WORD.findall(text.casefold()) if text else []
        if len(found) >= 2 * words:
            yield _runs(np.array([_hash(word, known) for word in found], np.uint64), words)
        else:
            characters = np.frombuffer(" ".join(found).encode("utf-32-le", "replace"), np.uint32)
            yield _runs(_mixed(characters.astype(np.uint64)), min(_CHARACTERS, len(characters)))


def _hash(word: str, known: dict[str, int]) -> int:
    number = known.get(word)
    if number is None:
        digest = hashlib.blake2b(word.encode("utf-8", "replace"), digest_size=8).digest()
        number = known[word] = int.from_bytes(digest, "little")
    return number


def _runs(numbers: Shingles, length: int) -> Shingles:
    """Distinct hashes of all runs of `length` numbers."""
    if not len(numbers):
        return numbers
    total = np.zeros(len(numbers) - length + 1, np.uint64)
    for start in range(length):
        total = total * _FACTOR + numbers[start : start + len(total)]
    return np.unique(_mixed(total))


def _mixed(numbers: Shingles) -> Shingles:
    """The finalizer of splitmix64 (Steele, Lea & Flood 2014), which spreads every bit over all."""
    numbers = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    numbers = (numbers ^ (numbers >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: Shingles = numbers ^ (numbers >> np.uint64(31))
    return mixed


def _link(parent: npt.NDArray[np.int64], sets: dict[int, Shingles], threshold: float, permutations: int, seed: int) -> None:
    """Join the groups of each text and the earlier ones that share a band of min-wise hashes, where they overlap enough."""
    try:
        from datasketch import MinHash, MinHashLSH
    except ImportError:
        raise MissingExtra("language", "finding near-duplicate texts") from None
    # A threshold of 1 leaves the library no bands; candidates are checked anyway.
    index = MinHashLSH(threshold=min(threshold, 0.95), num_perm=permutations, weights=_WEIGHTS)
    options: dict[str, Any] = {"num_perm": permutations, "seed": seed, "hashfunc": int, "scheme": "affine64"}
    indexed: Counter[int] = Counter()
    for place, sketch in zip(sets, MinHash.generator((found.tolist() for found in sets.values()), **options), strict=True):
        for other in sorted(index.query(sketch)):
            one, two = _root(parent, place), _root(parent, other)
            if one != two and _jaccard(sets[place], sets[other]) >= threshold:
                parent[max(one, two)] = min(one, two)
        group = _root(parent, place)
        if indexed[group] < MOST_INDEXED:
            index.insert(place, sketch)
            indexed[group] += 1


def _jaccard(one: Shingles, two: Shingles) -> float:
    both = len(np.intersect1d(one, two, assume_unique=True))
    return both / (len(one) + len(two) - both)


def _root(parent: npt.NDArray[np.int64], place: int) -> int:
    while parent[place] != place:
        parent[place] = parent[parent[place]]
        place = int(parent[place])
    return place
