"""What a language model says of the tokens of a text, and the row of numbers that sums it up.

Every score of the zero-shot detectors of machine-written text follows from such a row: log-likelihood, rank, log-rank, LRR,
entropy, the GLTR fractions, Fast-DetectGPT and Binoculars. One forward pass a text therefore serves them all.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["RANK_COLUMNS", "SAMPLED_COLUMNS", "TOKEN_COLUMNS", "TokenScores", "summary_rows"]

RANK_COLUMNS = ("rank_below_10", "rank_below_100", "rank_below_1000", "rank_above")
"""Fractions of the tokens whose rank, counted from 0, is in [0, 10), [10, 100), [100, 1000), or larger. They sum to 1."""

TOKEN_COLUMNS = (
    "tokens",
    "log_likelihood",
    "rank",
    "log_rank",
    "entropy",
    *RANK_COLUMNS,
    "expected_log_likelihood",
    "log_likelihood_variance",
)
"""Columns of every summary, with l_t, r_t, H_t, mu_t and s_t^2 as in `TokenScores`.

`tokens`: scored positions, T - 1. `log_likelihood`, `rank`, `log_rank`, `entropy`, `expected_log_likelihood`: means over them
of l_t, r_t, log r_t, H_t and mu_t. `log_likelihood_variance`: the *sum* of s_t^2.
"""

SAMPLED_COLUMNS = ("sampled_mean", "sampled_sd")
"""Mean and SD (n - 1) of the mean log-likelihood of texts whose tokens are drawn, position by position, from the reference."""

_RANK_EDGES = (10, 100, 1000)


class TokenScores(NamedTuple):
    """Scores of every token but the first of n texts, end to end.

    Attributes
    ----------
    offsets : array of int64, shape (n + 1,)
        Text i has the positions `offsets[i]:offsets[i + 1]`; none where it has fewer than two tokens.
    log_probability : array of float32, shape (n_positions,)
        l_t = log p(x_t | x_<t), natural logarithm.
    rank : array of int32
        r_t = 1 + the number of tokens that are strictly more probable: tied tokens share the best rank.
    entropy : array of float32
        H_t of p(. | x_<t), in nats.
    expected, variance : arrays of float32
        mu_t = sum_v q_t(v) log p_t(v), and s_t^2, the variance of log p_t(v) under q_t. q is the reference model, or p.
    """

    offsets: npt.NDArray[np.int64]
    log_probability: npt.NDArray[np.float32]
    rank: npt.NDArray[np.int32]
    entropy: npt.NDArray[np.float32]
    expected: npt.NDArray[np.float32]
    variance: npt.NDArray[np.float32]


def summary_rows(scores: TokenScores) -> npt.NDArray[np.float64]:
    """One row of `TOKEN_COLUMNS` for each text; NaN where it has no scored position, or a number in it is not finite.

    Returns
    -------
    array, shape (n, len(TOKEN_COLUMNS))

    Notes
    -----
    Sums are in float64. O(positions).
    """
    tokens = np.diff(scores.offsets)
    text = np.repeat(np.arange(len(tokens)), tokens)

    def sums(values: npt.ArrayLike) -> npt.NDArray[np.float64]:
        weights = np.asarray(values, dtype=np.float64)
        return np.bincount(text, weights=weights, minlength=len(tokens)).astype(np.float64)

    band = np.searchsorted(_RANK_EDGES, scores.rank - 1, side="right")
    total = np.maximum(tokens, 1)
    means = [scores.log_probability, scores.rank, np.log(scores.rank), scores.entropy]
    means += [*(band == number for number in range(len(RANK_COLUMNS))), scores.expected]
    rows = np.column_stack([tokens, *(sums(values) / total for values in means), sums(scores.variance)])
    rows[(tokens == 0) | ~np.isfinite(rows).all(axis=1)] = np.nan  # beside an undefined logit every rank looks like the first
    return rows
