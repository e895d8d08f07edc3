"""The membership game: a prompt of k texts, one of them attacked, and one other text attacked against the same prompt.

Section 2.1 of the audit's page; the neighbours that make a game hard are a correction of the paper's random non-members,
which flatter the Repeat attack.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.audits.icl_membership.method.words import split_texts, words_of

__all__ = ["Games", "draw_games", "hard_neighbours"]

Ints = npt.NDArray[np.int64]

_CELLS = 2**22
"""Similarities held at a time: 32 MB."""


class Games(NamedTuple):
    """T trials; each yields one member and one non-member.

    Attributes
    ----------
    demonstrations : array, shape (T, k)
        Rows of the pool in the order in which they stand in the prompt.
    position : array, shape (T,), in 0..k-1
        Place of the member in the prompt; with copies, one of its places.
    nonmember : array, shape (T,)
        Row outside the prompt.
    hard : array of bool, shape (T,)
        Whether the non-member is a neighbour of the member.
    """

    demonstrations: Ints
    position: Ints
    nonmember: Ints
    hard: npt.NDArray[np.bool_]

    @property
    def member(self) -> Ints:
        """Rows of the members, shape (T,)."""
        return self.demonstrations[np.arange(self.position.size), self.position]


def draw_games(
    rows: npt.ArrayLike,
    *,
    k: int,
    trials: int,
    rng: np.random.Generator,
    position: int | None = None,
    nonmembers: Literal["random", "hard"] = "random",
    neighbours: Ints | None = None,
    duplicates: npt.ArrayLike | None = None,
    copies: int = 1,
) -> Games:
    """Draw `trials` games from a pool.

    Parameters
    ----------
    rows : array_like of int, shape (n,)
        The pool: distinct rows of a table.
    k : int
        Demonstrations in a prompt, drawn without replacement; labels are not balanced.
    position : int, optional
        Place of the member in every prompt, from the end where negative; drawn uniformly without it.
    nonmembers : {"random", "hard"}
        Uniform outside the prompt, or the nearest neighbour of the member that is not in the prompt. Where a member has no
        such neighbour the non-member is random, and `hard` says so.
    neighbours : array, shape (n, m), for hard games
        Places in `rows` of the neighbours of each row, nearest first, -1 for none: `hard_neighbours` of the texts of `rows`.
    duplicates : array_like, shape (n,), optional
        Equal for rows with the same text. A prompt then holds a text once, and never that of the non-member.
    copies : int
        Times that the member stands in the prompt; further ones take the place of random demonstrations.

    Raises
    ------
    ValueError
        The pool has fewer than k + 1 distinct texts, or an argument is out of range.

    Notes
    -----
    O(T k^2): Floyd's sampling without replacement in all trials at once (Bentley & Floyd 1987), whatever the size of the pool.
    """
    pool = np.asarray(rows, dtype=np.int64)
    starts, order = _texts(pool, duplicates)
    _check(pool, starts.size, k, trials, position, copies)
    drawn = _distinct(starts.size, k + 1, trials, rng)
    # one row of each text that was drawn
    counts = np.diff(np.append(starts, pool.size))
    places = order[starts[drawn] + rng.integers(counts[drawn])]
    demonstrations, nonmember = places[:, :k], places[:, k]
    at = rng.integers(k, size=trials) if position is None else np.full(trials, position % k)
    hard = np.zeros(trials, dtype=bool)
    if nonmembers == "hard":
        if neighbours is None or len(neighbours) != pool.size:
            raise ValueError(f"hard non-members need the neighbours of all {pool.size} rows of the pool")
        text = np.empty(pool.size, dtype=np.int64)
        text[order] = np.repeat(np.arange(starts.size), counts)
        nearest = _nearest_outside(np.asarray(neighbours)[demonstrations[np.arange(trials), at]], demonstrations, text)
        hard = nearest >= 0
        nonmember = np.where(hard, nearest, nonmember)
    if copies > 1:
        demonstrations = _copied(demonstrations, at, copies, rng)
    return Games(pool[demonstrations], at, pool[nonmember], hard)


def _texts(pool: Ints, duplicates: npt.ArrayLike | None) -> tuple[Ints, Ints]:
    """Places of the pool sorted by text, and where each text begins among them."""
    if np.unique(pool).size != pool.size:
        raise ValueError("the rows of a pool must be distinct")
    if duplicates is None:
        return np.arange(pool.size), np.arange(pool.size)
    group = np.asarray(duplicates)
    if group.shape != pool.shape:
        raise ValueError(f"duplicates {group.shape} and rows {pool.shape} differ in shape")
    order = np.argsort(group, kind="stable")
    ordered = group[order]
    return np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]][: pool.size]), order


def _check(pool: Ints, texts: int, k: int, trials: int, position: int | None, copies: int) -> None:
    if k < 1 or trials < 1 or not 1 <= copies <= k:
        raise ValueError(f"k = {k} and trials = {trials} must be at least 1, and copies = {copies} in 1..k")
    if texts < k + 1:
        held = f"{texts} distinct texts" + (f" in {pool.size} rows" if pool.size != texts else "")
        raise ValueError(f"the pool holds {held}, and a prompt of {k} with a non-member needs {k + 1}: add texts or lower k")
    if position is not None and not -k <= position < k:
        raise ValueError(f"position {position} is outside a prompt of {k}; give one in {-k}..{k - 1}")


def _distinct(n: int, size: int, trials: int, rng: np.random.Generator) -> Ints:
    """`size` distinct numbers below n in random order, for each trial; shape (trials, size)."""
    drawn = np.empty((trials, size), dtype=np.int64)
    for i in range(size):
        last = n - size + i
        number = rng.integers(last + 1, size=trials)
        taken = (drawn[:, :i] == number[:, None]).any(axis=1)
        drawn[:, i] = np.where(taken, last, number)
    return np.asarray(rng.permuted(drawn, axis=1))


def _nearest_outside(candidates: Ints, demonstrations: Ints, text: Ints) -> Ints:
    """First candidate of each trial whose text is not in the prompt, or -1; candidates (T, m), demonstrations (T, k)."""
    inside = (text[candidates][:, :, None] == text[demonstrations][:, None, :]).any(axis=2)
    free = (candidates >= 0) & ~inside
    first = candidates[np.arange(len(candidates)), free.argmax(axis=1)]
    return np.where(free.any(axis=1), first, -1)


def _copied(demonstrations: Ints, at: Ints, copies: int, rng: np.random.Generator) -> Ints:
    """The member in `copies` places: its own, and others drawn at random."""
    trials, k = demonstrations.shape
    keys = rng.random((trials, k))
    keys[np.arange(trials), at] = -1.0
    chosen = np.argsort(keys, axis=1)[:, :copies]
    out = demonstrations.copy()
    out[np.arange(trials)[:, None], chosen] = demonstrations[np.arange(trials), at][:, None]
    return out


def hard_neighbours(texts: Sequence[str], *, w: int = 3, most: int = 20) -> Ints:
    """The texts that are hardest to tell from each text: those with its first `w` words, then the most similar ones.

    Parameters
    ----------
    texts : sequence of str, length n
    w : int
        Words of the opening, as in the Repeat attack.
    most : int
        Neighbours of each text.

    Returns
    -------
    array, shape (n, min(most, n - 1))
        Nearest first: texts with the same opening before all others, among equals by the cosine of their TF-IDF vectors, then
        by place. -1 where there is no further text with a word in common.

    Notes
    -----
    Blocks of sparse products of 32 MB, never an n x n array; O(n^2) in all: 3 s for 5,000 short texts, so that a pool of
    100,000 is better sampled first.
    """
    from scipy.sparse import csr_array
    from sklearn.feature_extraction.text import TfidfVectorizer

    n, wanted = len(texts), min(most, max(len(texts) - 1, 0))
    found = np.full((n, wanted), -1, dtype=np.int64)
    if not wanted or not any(map(words_of, texts)):
        return found
    vectors = csr_array(TfidfVectorizer(analyzer=words_of).fit_transform(texts))
    openings = [" ".join(words_of(prefix)) for prefix in split_texts(texts, w).prefixes]
    number = np.unique(np.array(openings), return_inverse=True)[1].reshape(-1)
    opening = csr_array((np.ones(n), (np.arange(n), number)), shape=(n, int(number.max()) + 1))
    block = max(_CELLS // n, 1)
    for start in range(0, n, block):
        part = slice(start, min(start + block, n))
        # a cosine is at most 1, so that a shared opening outweighs any
        near = (vectors[part] @ vectors.T + 2.0 * (opening[part] @ opening.T)).toarray().round(9)
        near[np.arange(near.shape[0]), np.arange(part.start, part.stop)] = 0.0
        found[part] = _largest(near, wanted)
    return found


def _largest(near: Any, most: int) -> Ints:
    """Columns of the largest positive entries of each row, largest first, of equals the first; -1 where there are no more."""
    limit = np.partition(near, near.shape[1] - most, axis=1)[:, -most]
    row, column = np.nonzero((near >= limit[:, None]) & (near > 0))
    order = np.lexsort((column, -near[row, column], row))
    row, column = row[order], column[order]
    rank = np.arange(row.size) - np.searchsorted(row, row)
    kept = rank < most
    found = np.full((near.shape[0], most), -1, dtype=np.int64)
    found[row[kept], rank[kept]] = column[kept]
    return found
