"""How many wrong statements a label withstands: the search of the Brainwash attack over many targets at once.

The number of repetitions of a wrong label is min{j in 0..J : the reply names it and no other}, and J + 1 where there is none
(censored). A demonstration with the true label anchors the model, so that members need more.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["BrainwashSearch", "Questions", "brainwash_scores", "wrong_labels"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

_UNKNOWN, _FAILED, _SUCCEEDED = 0, 1, 2
_BISECT, _CHECK, _SCAN, _SETTLED, _LOST = 0, 1, 2, 3, 4
"""Phases of a pair; up to `_SCAN` there is more to ask."""


class Questions(NamedTuple):
    """One round: arrays of equal length, shape (m,).

    Attributes
    ----------
    pair : number of the pair of target and wrong label, in the order in which they were given
    target, wrong : as they were given
    repetitions : statements before the query, in 0..J
    """

    pair: Ints
    target: Ints
    wrong: Ints
    repetitions: Ints


class BrainwashSearch:
    """Finds the number of repetitions of P pairs of target and wrong label in rounds, so that a round is one call of the model.

    >>> search = BrainwashSearch([7], [2], most=10)
    >>> while (asked := search.questions()).pair.size:
    ...     search.answer(asked.repetitions >= 4)
    >>> search.iterations, search.questions_asked
    (array([4.]), array([5]))

    Parameters
    ----------
    targets, wrong : array_like of int, shape (P,)
    most : int
        J: the most statements that are made. A larger number is censored at J + 1.
    search : {"bisect", "linear"}
        "linear" asks 0, 1, 2, ... until the first success: at most J + 1 questions. "bisect" asks ceil(log2(J + 2)), which is
        valid only where success is monotone in j, and one more to check it (see Notes).

    Notes
    -----
    Bisection ends with an answered success at j* and an answered failure at j* - 1, so that to ask these again says nothing new
    of a service that repeats itself. The check therefore asks an *unasked* number: the middle of the longest unasked run below
    j* - 1, where a success would make j* wrong; where none is left, that of the longest run above j*, where a failure shows
    the same kind of service without making j* wrong. A pair that fails the check is `non_monotone`, and its scan goes on
    linearly over what is still unknown. No number is asked twice: at most J + 1 questions in any case.

    At temperature > 0 give `answer` several replies a question: their majority is the median of that many searches.
    """

    def __init__(
        self, targets: npt.ArrayLike, wrong: npt.ArrayLike, *, most: int = 10, search: Literal["bisect", "linear"] = "bisect"
    ) -> None:
        self.targets, self.wrong = np.asarray(targets, dtype=np.int64), np.asarray(wrong, dtype=np.int64)
        if self.targets.ndim != 1 or self.targets.shape != self.wrong.shape:
            raise ValueError(f"targets {self.targets.shape} and wrong labels {self.wrong.shape} must be rows of equal length")
        if most < 1 or search not in ("bisect", "linear"):
            raise ValueError(f"most = {most} must be at least 1, and search = {search!r} is 'bisect' or 'linear'")
        pairs = self.targets.size
        self.most = most
        self._known = np.full((pairs, most + 1), _UNKNOWN, dtype=np.int8)
        self._phase = np.full(pairs, _BISECT if search == "bisect" else _SCAN, dtype=np.int8)
        # the number lies in low..high, and is high once it is settled
        self._low, self._high = np.zeros(pairs, dtype=np.int64), np.full(pairs, most + 1)
        self.non_monotone = np.zeros(pairs, dtype=bool)

    def questions(self) -> Questions:
        """What to ask next, one question of each pair that is not finished; empty when all are."""
        halves = (self._low + self._high) // 2
        j = np.select([self._phase == _BISECT, self._phase == _CHECK], [halves, self._check_at()], self._front())
        pair = np.flatnonzero(self._phase <= _SCAN)
        return Questions(pair, self.targets[pair], self.wrong[pair], j[pair])

    def answer(self, success: npt.ArrayLike, *, missing: npt.ArrayLike | None = None) -> None:
        """The outcomes of the round, in its order.

        Parameters
        ----------
        success : array_like of bool, shape (m,) or (m, samples)
            Whether the reply names the wrong label and no other. Of several replies more than half must.
        missing : array_like of bool, shape (m,), optional
            Questions that could not be asked; their pairs end without a number.
        """
        pair, _, _, j = self.questions()
        flags = np.asarray(success, dtype=bool)
        if flags.ndim not in (1, 2) or flags.shape[0] != pair.size:
            raise ValueError(f"{pair.size} questions were asked, and the answers have the shape {flags.shape}")
        won = flags if flags.ndim == 1 else 2 * flags.sum(axis=1) > flags.shape[1]
        lost = np.zeros(pair.size, dtype=bool) if missing is None else np.asarray(missing, dtype=bool)
        self._phase[pair[lost]] = _LOST
        pair, j, won = pair[~lost], j[~lost], won[~lost]
        self._known[pair, j] = np.where(won, _SUCCEEDED, _FAILED)
        phase = self._phase[pair]
        self._high[pair] = np.where((phase == _BISECT) & won, j, self._high[pair])
        self._low[pair] = np.where((phase == _BISECT) & ~won, j + 1, self._low[pair])
        passed = won == (j >= self._high[pair])
        self.non_monotone[pair] |= (phase == _CHECK) & ~passed
        self._phase[pair] = np.where(phase == _CHECK, np.where(passed, _SETTLED, _SCAN), phase)
        self._settle()

    @property
    def finished(self) -> bool:
        """Whether there is nothing more to ask."""
        return bool((self._phase > _SCAN).all())

    @property
    def iterations(self) -> Floats:
        """Repetitions of each pair, shape (P,): in 0..J, J + 1 where censored, NaN where they are not known (yet)."""
        return np.where(self._phase == _SETTLED, self._high, np.nan)

    @property
    def censored(self) -> Bools:
        """Pairs that withstood all J statements, shape (P,)."""
        return np.asarray(self.iterations == self.most + 1)

    @property
    def questions_asked(self) -> Ints:
        """Questions answered for each pair, shape (P,)."""
        return np.asarray((self._known != _UNKNOWN).sum(axis=1))

    def questions_by_target(self, targets: int) -> Ints:
        """Questions answered for each of the targets 0..`targets` - 1."""
        return np.bincount(self.targets, weights=self.questions_asked, minlength=targets).astype(np.int64)

    def _settle(self) -> None:
        """Pairs whose bisection has ended go to their check if anything is left to ask; scans that met a success end."""
        ended = (self._phase == _BISECT) & (self._low == self._high)
        unasked = (self._known == _UNKNOWN).any(axis=1)
        self._phase[ended] = np.where(unasked[ended], _CHECK, _SETTLED)
        front = self._front()
        met = self._known[np.arange(front.size), np.minimum(front, self.most)] == _SUCCEEDED
        scanned = (self._phase == _SCAN) & ((front > self.most) | met)
        self._high[scanned] = front[scanned]
        self._phase[scanned] = _SETTLED

    def _front(self) -> Ints:
        """First number that has not failed, J + 1 where all have: the next of a linear scan, or its result."""
        passed = self._known != _FAILED
        return np.where(passed.any(axis=1), passed.argmax(axis=1), self.most + 1)

    def _check_at(self) -> Ints:
        """Middle of the longest unasked run below j*, or above it where there is none below; of equal runs the first."""
        j = np.arange(self.most + 1)
        unknown = self._known == _UNKNOWN
        below = unknown & (j < self._high[:, None])
        among = np.where(below.any(axis=1)[:, None], below, unknown)
        # length of the run that ends at each number
        last_known = np.maximum.accumulate(np.where(among, -1, j), axis=1)
        run = np.where(among, j - last_known, 0)
        end = run.argmax(axis=1)
        length = run[np.arange(end.size), end]
        return np.asarray(end - (length - 1) // 2 - (length - 1) % 2)


def wrong_labels(true: npt.ArrayLike, labels: int, *, rng: np.random.Generator, most: int = 3) -> Ints:
    """Wrong labels of each target, shape (n, min(most, labels - 1)): all of them, or as many at random as `most` says.

    Parameters
    ----------
    true : array_like of int, shape (n,), in 0..labels - 1
    """
    right = np.asarray(true, dtype=np.int64)
    if labels < 2:
        raise ValueError(f"{labels} label: there is no wrong one")
    others = (right[:, None] + np.arange(1, labels)) % labels
    shuffled = others if labels - 1 <= most else rng.permuted(others, axis=1)
    return np.sort(shuffled[:, :most], axis=1)


def brainwash_scores(iterations: npt.ArrayLike, targets: npt.ArrayLike, *, count: int) -> Floats:
    """Mean number of repetitions over the wrong labels of each target 0..`count` - 1; NaN where none is known.

    Parameters
    ----------
    iterations : array_like, shape (P,), NaN where unknown
    targets : array_like of int, shape (P,)
    """
    numbers, of = np.asarray(iterations, dtype=np.float64), np.asarray(targets, dtype=np.int64)
    known = ~np.isnan(numbers)
    sums = np.bincount(of[known], weights=numbers[known], minlength=count)
    counts = np.bincount(of[known], minlength=count)
    return np.asarray(np.divide(sums, counts, out=np.full(count, np.nan), where=counts > 0))
