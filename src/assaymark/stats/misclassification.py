"""A ratio between two groups when membership is only what a detector says.

Among the posts called machine-written some are not, and among the others some are: the two groups of calls are mixtures of the
two true groups, and the ratio of their means lies nearer to 1 than the true one. The predictive values say how the mixtures are
made, and two linear equations undo it.

References
----------
.. [1] Aigner, D. J. (1973). Regression with a binary independent variable subject to errors of observation. Journal of
   Econometrics 1, 49-60.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from assaymark.errors import InputError
from assaymark.result import Estimate, undefined
from assaymark.stats.checks import FloatArray, percent
from assaymark.stats.resampling import percentile_estimate

__all__ = ["LEAST_PREDICTIVE", "corrected_ratios", "misclassified_ratio"]

LEAST_PREDICTIVE = 0.05


def corrected_ratios(ratio: Any, ppv: Any, npv: Any) -> FloatArray:
    """True ratio mu1 / mu0 from the ratio of the means of the two groups of calls ([1]), vectorised.

    Parameters
    ----------
    ratio : array_like, > 0
        E[y | called] / E[y | not called].
    ppv, npv : array_like, broadcastable, in [0, 1]
        P(member | called), P(not a member | not called).

    Returns
    -------
    array
        NaN where PPV + NPV - 1 < 0.05, or where no two positive means give such a ratio.

    Notes
    -----
    E[y | called] = PPV mu1 + (1 - PPV) mu0 and E[y | not called] = (1 - NPV) mu1 + NPV mu0, so with r the ratio of the two,
    mu1 / mu0 = (r NPV - (1 - PPV)) / (PPV - r (1 - NPV)).
    """
    r, p, q = np.broadcast_arrays(*(np.asarray(part, dtype=np.float64) for part in (ratio, ppv, npv)))
    member, other = r * q - (1.0 - p), p - r * (1.0 - q)
    solved = (p + q - 1.0 >= LEAST_PREDICTIVE) & (member > 0) & (other > 0)
    return np.asarray(np.divide(member, other, out=np.full(r.shape, np.nan), where=solved))


def misclassified_ratio(
    ratio: float,
    ppv: float,
    npv: float,
    *,
    ratio_draws: Any,
    ppv_draws: Any,
    npv_draws: Any,
    n: int,
    confidence: float = 0.95,
) -> Estimate:
    """Ratio of the means of two groups, corrected for a detector's errors, with all three sources of error in the interval.

    Parameters
    ----------
    ratio, ppv, npv : float
        As for `corrected_ratios`; the ratio may be a regression's, at equal controls.
    ratio_draws, ppv_draws, npv_draws : array_like, shape (resamples,)
        Redrawn values; draw what depends on one resample together (both predictive values rest on the same prevalence).
    n : int
        Observations behind the ratio.

    Returns
    -------
    Estimate
        Unit "ratio". Undefined when PPV + NPV - 1 < 0.05, when no positive means give the ratio, or where that holds of more
        than half of the draws.

    Notes
    -----
    The predictive values are taken as equal in all rows and errors as independent of the outcome within the true groups. Where
    they differ by month or topic, so that a control knows something of membership, one pair of values corrects only about
    right: the `membership` of `negative_binomial` takes them row by row.

    Examples
    --------
    >>> print(f"{corrected_ratios(0.85, 0.8, 0.95):.3f}")
    0.802
    """
    values = np.array([ratio, ppv, npv], dtype=np.float64)
    if not (np.isfinite(values).all() and values[0] > 0 and np.all((values[1:] >= 0) & (values[1:] <= 1))):
        raise InputError(f"ratio {ratio}, PPV {ppv}, NPV {npv}: expected a positive ratio and two values between 0 and 1")
    method, predictive = f"corrected for misclassification, bootstrap {percent(confidence)}", ppv + npv - 1.0
    if predictive < LEAST_PREDICTIVE:
        reason = f"PPV + NPV - 1 is {predictive:.3f}, below {LEAST_PREDICTIVE}: the calls hardly tell the groups apart"
        return undefined(reason, n=n, method=method, unit="ratio")
    point = float(corrected_ratios(ratio, ppv, npv))
    if math.isnan(point):
        reason = f"no positive means mix to a ratio of {ratio:.3g} at PPV {ppv:.3g} and NPV {npv:.3g}"
        return undefined(reason, n=n, method=method, unit="ratio")
    draws = corrected_ratios(ratio_draws, ppv_draws, npv_draws)
    return percentile_estimate(
        point, draws, n=n, method=f"{method}, {draws.size} draws", unit="ratio", confidence=confidence
    )  # fmt: skip
