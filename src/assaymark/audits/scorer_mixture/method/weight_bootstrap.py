"""Bootstrap of the weights from the moments of blocks of rows: the rows are read once, however many resamples.

References
----------
.. [1] Efron, B. and Tibshirani, R. J. (1993). An Introduction to the Bootstrap. Chapman and Hall, chapter 9 (pairs).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from assaymark.audits.scorer_mixture.method.least_squares import EPS, Fit
from assaymark.audits.scorer_mixture.method.moments import Moments
from assaymark.result import Estimate
from assaymark.stats import percentile_estimate

__all__ = ["bootstrap_intervals", "bootstrap_weights"]

Floats = npt.NDArray[np.float64]


def bootstrap_weights(
    parts: Sequence[Moments], *, rng: np.random.Generator, resamples: int = 1000, intercept: bool = False
) -> Floats:
    """Coefficients on resamples of blocks of rows: multinomial re-weighting of the blocks' moments.

    Parameters
    ----------
    parts : sequence of Moments
        Of disjoint blocks in no particular order (`moments.block_moments`); with one row a block it is the bootstrap of rows.

    Returns
    -------
    array, shape (resamples, k) or (resamples, k + 1), the intercept last
        Minimum norm where a resample is rank deficient.

    Notes
    -----
    O(resamples (blocks k^2 + k^3)); the rows are not touched again.
    """
    if len(parts) < 2 or resamples < 2:
        raise ValueError("a bootstrap needs at least two blocks and two resamples")
    width = parts[0].networks + int(intercept)
    flat = np.stack([np.concatenate([m.xtx[:width, :width].ravel(), m.xty[:width]]) for m in parts])
    counts = rng.multinomial(len(parts), np.full(len(parts), 1.0 / len(parts)), size=resamples)
    sums = counts @ flat
    normal, right = sums[:, : width * width].reshape(-1, width, width), sums[:, width * width :]
    inverse = np.linalg.pinv(normal, rcond=32 * width * EPS, hermitian=True)
    return np.asarray(np.einsum("bij,bj->bi", inverse, right))


def bootstrap_intervals(fit: Fit, draws: Floats, *, rows: int, confidence: float = 0.95) -> tuple[Estimate, ...]:
    """Percentile interval of each coefficient from `bootstrap_weights`."""
    coef = np.append(fit.weights, fit.intercept)[: draws.shape[1]]
    return tuple(
        percentile_estimate(float(b), column, n=rows, confidence=confidence) for b, column in zip(coef, draws.T, strict=True)
    )
