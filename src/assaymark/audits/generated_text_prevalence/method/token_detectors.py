"""Detectors that read the token statistics of a language model and need no training.

Each takes a *summary*: a mapping from the names below to float arrays of shape (n,), one entry for each text. Means run over
the T scored positions of the text, logarithms are natural, ranks count from 1.

| column | meaning |
|---|---|
| tokens | T, positions with a log-likelihood |
| log_likelihood | l, mean of log p(x_t given what stands before) |
| rank, log_rank | mean rank of the token among the vocabulary, mean logarithm of it |
| entropy | mean entropy of the predicted distribution |
| rank_below_10, rank_below_100 | shares of tokens among the 10 likeliest, and among the 100 likeliest without these |
| rank_below_1000, rank_above | the same among the 1,000 likeliest without these, and shares of the others |
| expected_log_likelihood | mu, mean of sum_v q(v) log p(v); q is the reference (observer) model, or p itself |
| log_likelihood_variance | sum over t of sum_v q(v) log p(v)^2 - mu_t^2 |
| sampled_mean, sampled_sd | mean and standard deviation of l over texts sampled position by position from q |

Every score is turned so that higher says machine; `orientation` says whether that took a change of sign. A text without
statistics (NaN) has the score NaN.

References
----------
.. [1] Gehrmann, S., Strobelt, H. and Rush, A. (2019). GLTR: statistical detection and visualization of generated text. ACL.
.. [2] Su, J. et al. (2023). DetectLLM: leveraging log rank information for zero-shot detection. EMNLP Findings (LRR).
.. [3] Bao, G. et al. (2024). Fast-DetectGPT: efficient zero-shot detection via conditional probability curvature. ICLR.
.. [4] Hans, A. et al. (2024). Spotting LLMs with Binoculars. ICML.
.. [5] Solaiman, I. et al. (2019). Release strategies and the social impacts of language models (likelihood, rank).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = [
    "BINOCULARS_ACCURACY",
    "BINOCULARS_LOW_FPR",
    "FAST_DETECTGPT_NORMALS",
    "TOKEN_DETECTORS",
    "Normals",
    "TokenDetector",
    "binoculars",
    "entropy",
    "fast_detectgpt",
    "fast_detectgpt_probability",
    "fast_detectgpt_sampled",
    "gltr",
    "likelihood",
    "log_rank",
    "lrr",
    "rank",
    "undefined_scores",
]

Floats = npt.NDArray[np.float64]
Summary = Mapping[str, Any]
Orientation = Literal["as is", "negated", "to be learnt"]

BINOCULARS_ACCURACY = 0.9015310749276843
"""Published threshold of the ratio for Falcon-7B and Falcon-7B-instruct, bfloat16, 512 tokens: a machine's text is *below*."""
BINOCULARS_LOW_FPR = 0.8536432310785527
"""The same for a false positive rate of 0.01 %."""


class Normals(NamedTuple):
    """Two normal distributions of a score: of human texts (mu0, s0) and of machine texts (mu1, s1)."""

    mu0: float
    s0: float
    mu1: float
    s1: float


FAST_DETECTGPT_NORMALS: dict[str, Normals] = {
    "gpt-j-6B/gpt-neo-2.7B": Normals(0.2713, 0.9366, 2.2334, 1.8731),
    "gpt-neo-2.7B": Normals(-0.2489, 0.9968, 1.8983, 1.9935),
    "falcon-7b/falcon-7b-instruct": Normals(-0.0707, 0.9520, 2.9306, 1.9039),
    "llama3-8b/llama3-8b-instruct": Normals(0.1603, 1.0791, 2.4686, 2.1582),
}
"""Published fits of the analytic Fast-DetectGPT score, by reference model / scoring model (one name: both are it)."""


class TokenDetector(NamedTuple):
    """A score, what it needs, and how its source reads it.

    Attributes
    ----------
    name : str
    needs : names of the columns of the summary
    score : callable
        Summary -> (n,) or, where `width` > 1, (n, width).
    orientation : "as is", "negated", or "to be learnt" from labelled texts
    thresholds : published thresholds on the turned score (at or above one: machine), by what they are for; often none
    source : where the definition is from
    guard : why the score can be undefined although all columns are there; empty when it cannot
    width : columns of the score
    """

    name: str
    needs: tuple[str, ...]
    score: Callable[[Summary], Floats]
    orientation: Orientation
    thresholds: Mapping[str, float]
    source: str
    guard: str = ""
    width: int = 1


def _column(summary: Summary, name: str) -> Floats:
    values = np.asarray(summary[name], dtype=np.float64)
    return np.where(np.isfinite(values), values, np.nan)


def _ratio(top: Floats, bottom: Floats) -> Floats:
    """top / bottom, NaN where the divisor is 0."""
    return np.asarray(np.divide(top, bottom, out=np.full(np.shape(top), np.nan), where=bottom != 0))


def likelihood(summary: Summary) -> Floats:
    """Mean log-likelihood l, in nats; higher says machine."""
    return _column(summary, "log_likelihood")


def rank(summary: Summary) -> Floats:
    """Minus the mean rank: machines choose tokens of low rank."""
    return -_column(summary, "rank")


def log_rank(summary: Summary) -> Floats:
    """Minus the mean log-rank; less ruled by single odd tokens than `rank`."""
    return -_column(summary, "log_rank")


def entropy(summary: Summary) -> Floats:
    """Mean entropy, in nats, as it is: which side is higher depends on the data, so the sign is learnt from labelled texts."""
    return _column(summary, "entropy")


def gltr(summary: Summary) -> Floats:
    """Shares of tokens by rank (test 2 of [1]), shape (n, 4), for a logistic regression; they sum to 1."""
    names = ("rank_below_10", "rank_below_100", "rank_below_1000", "rank_above")
    return np.column_stack([_column(summary, name) for name in names])


def lrr(summary: Summary) -> Floats:
    """|mean log-likelihood| / mean log-rank ([2]); higher says machine. NaN where each token was the first choice."""
    return _ratio(-_column(summary, "log_likelihood"), _column(summary, "log_rank"))


def fast_detectgpt(summary: Summary) -> Floats:
    """Conditional probability curvature in closed form ([3], section 3.3): sum_t (l_t - mu_t) / sqrt(sum_t s_t^2).

    Above about 2 says machine. NaN where the predicted distributions have no variance.
    """
    excess = _column(summary, "log_likelihood") - _column(summary, "expected_log_likelihood")
    variance = _column(summary, "log_likelihood_variance")
    # rounding can leave a variance of almost nothing below 0
    return _ratio(_column(summary, "tokens") * excess, np.sqrt(np.maximum(variance, 0.0)))


def fast_detectgpt_sampled(summary: Summary) -> Floats:
    """Conditional probability curvature by sampling ([3], algorithm 1): (l - mean of samples) / their standard deviation."""
    return _ratio(_column(summary, "log_likelihood") - _column(summary, "sampled_mean"), _column(summary, "sampled_sd"))


def binoculars(summary: Summary) -> Floats:
    """Minus the ratio of log-perplexity to log-cross-perplexity ([4], eq. 4); the ratio itself is lower for machines.

    `log_likelihood` is the performer's, `expected_log_likelihood` that of the performer under the observer's predictions.
    """
    return -_ratio(_column(summary, "log_likelihood"), _column(summary, "expected_log_likelihood"))


def fast_detectgpt_probability(score: Any, mu0: float, s0: float, mu1: float, s1: float) -> Floats:
    """P(machine) by Bayes' rule from two normals at equal priors, made monotone.

    Parameters
    ----------
    score : array_like, any shape
    mu0, s0, mu1, s1 : float
        Mean and standard deviation for human and machine texts; `FAST_DETECTGPT_NORMALS` holds the published ones.

    Returns
    -------
    array of the same shape, in [0, 1]; NaN stays NaN

    Notes
    -----
    The log-ratio of the densities is a parabola unless s0 = s1. With s1 > s0 it *rises* again to the left of its vertex
    x* = (mu0 / s0^2 - mu1 / s1^2) / (1 / s0^2 - 1 / s1^2): the wider machine curve wins in the far left tail, and the published
    conversion calls the least machine-like texts a machine's. Scores beyond the vertex are moved to it.

    Examples
    --------
    >>> fast_detectgpt_probability([-30.0, 0.0, 3.0], 0.2713, 0.9366, 2.2334, 1.8731).round(3)
    array([0.194, 0.204, 0.97 ])
    """
    if s0 <= 0 or s1 <= 0:
        raise ValueError(f"standard deviations {s0} and {s1}: both are larger than 0")
    x = np.asarray(score, dtype=np.float64)
    curvature = 1.0 / s0**2 - 1.0 / s1**2
    if curvature != 0:
        vertex = (mu0 / s0**2 - mu1 / s1**2) / curvature
        x = np.maximum(x, vertex) if curvature > 0 else np.minimum(x, vertex)
    log_ratio = np.log(s0 / s1) + 0.5 * ((x - mu0) / s0) ** 2 - 0.5 * ((x - mu1) / s1) ** 2
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * log_ratio)))


_NONE: Mapping[str, float] = {}
_EXPECTED = ("log_likelihood", "expected_log_likelihood")

TOKEN_DETECTORS: tuple[TokenDetector, ...] = (
    TokenDetector("log-likelihood", ("log_likelihood",), likelihood, "as is", _NONE, "Solaiman et al. 2019"),
    TokenDetector("rank", ("rank",), rank, "negated", _NONE, "Gehrmann et al. 2019"),
    TokenDetector("log-rank", ("log_rank",), log_rank, "negated", _NONE, "Mitchell et al. 2023"),
    TokenDetector("entropy", ("entropy",), entropy, "to be learnt", _NONE, "Gehrmann et al. 2019"),
    TokenDetector(
        "gltr",
        ("rank_below_10", "rank_below_100", "rank_below_1000", "rank_above"),
        gltr,
        "to be learnt",
        _NONE,
        "Gehrmann et al. 2019, test 2",
        width=4,
    ),
    TokenDetector(
        "lrr",
        ("log_likelihood", "log_rank"),
        lrr,
        "as is",
        _NONE,
        "Su et al. 2023",
        guard="every token is the model's first choice: the mean log-rank is 0",
    ),
    TokenDetector(
        "fast-detectgpt",
        ("tokens", *_EXPECTED, "log_likelihood_variance"),
        fast_detectgpt,
        "as is",
        _NONE,
        "Bao et al. 2024, analytic",
        guard="the predicted distributions have no variance",
    ),
    TokenDetector(
        "fast-detectgpt-sampled",
        ("log_likelihood", "sampled_mean", "sampled_sd"),
        fast_detectgpt_sampled,
        "as is",
        _NONE,
        "Bao et al. 2024, by sampling",
        guard="all samples have the same log-likelihood",
    ),
    TokenDetector(
        "binoculars",
        _EXPECTED,
        binoculars,
        "negated",
        {"accuracy": -BINOCULARS_ACCURACY, "low FPR": -BINOCULARS_LOW_FPR},
        "Hans et al. 2024",
        guard="the cross-perplexity is 1",
    ),
)


def undefined_scores(detector: TokenDetector, summary: Summary) -> dict[str, int]:
    """Why texts have no score: reason -> texts. The counts and the scored texts add up to n."""
    missing = ~np.all([np.isfinite(_column(summary, name)) for name in detector.needs], axis=0)
    score = detector.score(summary)
    without = np.isnan(score).reshape(len(score), -1).any(axis=1)
    reasons = Counter({"too few tokens for statistics": int(missing.sum())})
    reasons[detector.guard] += int((without & ~missing).sum())
    return {reason: count for reason, count in reasons.items() if count}
