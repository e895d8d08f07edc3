"""Which words mark one corpus against another: log-odds ratios with an informative Dirichlet prior.

A ratio of frequencies ranks rare words first, a difference of frequencies the commonest. The prior, counts of a background
corpus, pulls words that are rare in both towards the odds they have in general, and z divides by what is left of chance.

References
----------
.. [1] Monroe, B. L., Colaresi, M. P. and Quinn, K. M. (2008). Fightin' words: lexical feature selection and evaluation for
   identifying the content of political conflict. Political Analysis 16, 372-403, eq. 15, 16, 19, 22.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from assaymark.errors import ConfigError, InputError
from assaymark.stats.checks import FloatArray, finite_vector

__all__ = ["WordContrast", "word_contrast"]


class WordContrast(NamedTuple):
    """Arrays over words; positive where the first corpus uses the word more, NaN where a corpus says nothing.

    Attributes
    ----------
    log_odds : array, shape (words,)
    sd : array, shape (words,)
    z : array, shape (words,)
    """

    log_odds: FloatArray
    sd: FloatArray
    z: FloatArray

    def p_values(self) -> FloatArray:
        """Two-sided normal p of each word, for `benjamini_hochberg`; NaN stays NaN."""
        from scipy.special import ndtr

        return np.asarray(2.0 * ndtr(-np.abs(self.z)))


def _amounts(values: Any, name: str) -> FloatArray:
    array = finite_vector(values, name)
    if np.any(array < 0):
        raise InputError(f"{name}: {int(np.sum(array < 0))} are negative; a count is 0 or more")
    return array


def word_contrast(counts_1: Any, counts_2: Any, prior: Any, *, strength: float | None = None) -> WordContrast:
    """Weighted log-odds ratio of each word between two corpora ([1]).

    Parameters
    ----------
    counts_1, counts_2 : array_like, shape (words,), >= 0
        Times each word occurs. Sums of posteriors serve as well: the counts of soft labels.
    prior : array_like, shape (words,), >= 0
        Counts of the words in a background corpus, often both corpora together.
    strength : float, > 0, optional
        Pseudo-counts that the prior is worth in all; without it the prior is taken as it is.

    Returns
    -------
    WordContrast
        NaN where a corpus has neither count nor prior for a word, whose log-odds would be infinite, or nothing but that word.

    Notes
    -----
    With y the counts, n their sum, a the prior and a0 its sum, d = log((y1 + a) / (n1 + a0 - y1 - a)) - log((y2 + a) /
    (n2 + a0 - y2 - a)), var = 1 / (y1 + a) + 1 / (y2 + a), z = d / sqrt(var). The variance supposes that words fall
    independently, and words come in bursts: one post that repeats a name is not many posts that use it. Count each word once a
    post where the p values are to be believed. O(words).
    """
    y1, y2, a = _amounts(counts_1, "counts_1"), _amounts(counts_2, "counts_2"), _amounts(prior, "prior")
    if not y1.shape == y2.shape == a.shape:
        raise ValueError(f"{y1.size} and {y2.size} counts, and a prior of {a.size} words")
    if strength is not None:
        if not 0 < strength < np.inf:
            raise ConfigError(f"strength = {strength}: a prior is worth more than 0 words")
        if a.sum() == 0:
            raise InputError("prior: all counts are 0, which no strength can scale")
        a = a * (strength / a.sum())
    one, two = y1 + a, y2 + a
    rest_1, rest_2 = one.sum() - one, two.sum() - two
    known = (one > 0) & (two > 0) & (rest_1 > 0) & (rest_2 > 0)
    one, two, rest_1, rest_2 = (np.where(known, part, np.nan) for part in (one, two, rest_1, rest_2))
    log_odds = np.log(one / rest_1) - np.log(two / rest_2)
    sd = np.sqrt(1.0 / one + 1.0 / two)
    return WordContrast(log_odds, sd, log_odds / sd)
