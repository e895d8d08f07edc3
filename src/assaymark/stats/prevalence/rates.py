"""Prevalence measured with an imperfect detector: Rogan and Gladen's correction of a rate.

A detector with sensitivity Se and specificity Sp calls a share `pi Se + (1 - pi)(1 - Sp)` of the items positive when a share
pi is. Rogan and Gladen invert that line. Both error rates are themselves estimates from labelled samples, and an interval
that only knows the target sample is too short: here all three sources of error enter.

References
----------
.. [1] Rogan, W. J. and Gladen, B. (1978). Estimating prevalence from the results of a screening test. AJE 107, 71-76.
.. [2] Forman, G. (2008). Quantifying counts and costs via classification. DMKD 17, 164-206 (adjusted classify and count).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from assaymark.errors import ConfigError
from assaymark.result import Estimate, undefined
from assaymark.stats.checks import counts_within, normal_quantile, percent

__all__ = ["LEAST_YOUDEN", "Rate", "rogan_gladen"]

LEAST_YOUDEN = 0.05


@dataclass(frozen=True, slots=True)
class Rate:
    """Successes in a number of independent trials.

    Raises
    ------
    InputError
        Unless 0 <= successes <= trials.
    """

    successes: float
    trials: float

    def __post_init__(self) -> None:
        counts_within(self.successes, self.trials)

    @property
    def share(self) -> float:
        """NaN without trials."""
        return self.successes / self.trials if self.trials else math.nan

    @property
    def error_share(self) -> float:
        """The share that variances are computed from.

        A rate seen as exactly 0 or 1 has no binomial variance, although a few trials say little; it is taken as
        (k + 1/2) / (n + 1) there, and only there.
        """
        if 0 < self.successes < self.trials:
            return self.share
        return (self.successes + 0.5) / (self.trials + 1.0)

    @property
    def variance(self) -> float:
        p = self.error_share
        return p * (1.0 - p) / self.trials


def rogan_gladen(
    observed: Rate,
    sensitivity: Rate,
    specificity: Rate,
    *,
    method: Literal["delta", "bootstrap"] = "delta",
    rng: np.random.Generator | None = None,
    resamples: int = 1000,
    confidence: float = 0.95,
) -> Estimate:
    """True prevalence pi = (observed + Sp - 1) / (Se + Sp - 1), with the detector's own error in the interval ([1], [2]).

    Parameters
    ----------
    observed : Rate
        Items that the detector called positive, of all items of the target sample.
    sensitivity : Rate
        True positives of all labelled positives.
    specificity : Rate
        True negatives of all labelled negatives.
    method : "delta" or "bootstrap"
        delta: Var = Var(observed) / J^2 + pi^2 Var(Se) / J^2 + (1 - pi)^2 Var(Sp) / J^2 with J = Se + Sp - 1.
        bootstrap: binomial draws of all three rates; the observed rate is drawn around the fitted line, which differs from
        the rate itself only where the point was clipped.
    rng : numpy.random.Generator
        Needed by the bootstrap.

    Returns
    -------
    Estimate
        Unit "share", point and limits clipped to [0, 1]; n is the size of the target sample. A point that falls below 0 is 0
        and the interval is centred there, so that clipping cannot make it look certain. Undefined when J < 0.05 (the
        detector hardly tells positives from negatives) or when a rate has no trials.

    Notes
    -----
    Coverage of the 95 % interval at Se 0.8, Sp 0.99, pi 0.05 and 20,000 items (2,000 to 4,000 repetitions): 0.93 with 200
    labelled positives and 500 negatives (about five false positives), 0.95 with 1,000 and 5,000, by either method.
    """
    if method not in ("delta", "bootstrap"):
        raise ConfigError(f"method {method!r} is neither 'delta' nor 'bootstrap'")
    label = f"Rogan-Gladen, {method} {percent(confidence)}" + (f", {resamples} resamples" if method == "bootstrap" else "")
    n = int(observed.trials)
    named = (("observed rate", observed), ("sensitivity", sensitivity), ("specificity", specificity))
    empty = [name for name, rate in named if rate.trials == 0]
    if empty:
        return undefined(f"{' and '.join(empty)} without trials", n=n, method=label, unit="share")
    youden = sensitivity.share + specificity.share - 1.0
    if youden < LEAST_YOUDEN:
        reason = (
            f"sensitivity + specificity - 1 is {youden:.3f}, below {LEAST_YOUDEN}: the detector hardly separates the classes"
        )
        return undefined(reason, n=n, method=label, unit="share")
    point = min(max((observed.share + specificity.share - 1.0) / youden, 0.0), 1.0)
    if method == "bootstrap":
        if rng is None:
            raise ConfigError("the bootstrap needs a generator: pass rng=numpy.random.default_rng(seed)")
        low, high = _bootstrap_limits(point, observed, sensitivity, specificity, rng, resamples, confidence)
    else:
        variance = observed.variance + point**2 * sensitivity.variance + (1.0 - point) ** 2 * specificity.variance
        half = normal_quantile(confidence) * math.sqrt(variance) / youden
        low, high = point - half, point + half
    return Estimate(point, min(max(low, 0.0), point), max(min(high, 1.0), point), n, label, "share")


def _bootstrap_limits(
    point: float,
    observed: Rate,
    sensitivity: Rate,
    specificity: Rate,
    rng: np.random.Generator,
    resamples: int,
    confidence: float,
) -> tuple[float, float]:
    """Percentile limits from binomial draws of the three rates; draws without separation (J <= 0) are left out."""
    se, sp = sensitivity.error_share, specificity.error_share
    # where the point is clipped the observed rate lies off the line; elsewhere the fitted rate is the observed one
    fitted = point * sensitivity.share + (1.0 - point) * (1.0 - specificity.share)
    rate = Rate(min(max(fitted, 0.0), 1.0) * observed.trials, observed.trials).error_share
    called = rng.binomial(int(observed.trials), rate, size=resamples) / observed.trials
    se_draws = rng.binomial(int(sensitivity.trials), se, size=resamples) / sensitivity.trials
    sp_draws = rng.binomial(int(specificity.trials), sp, size=resamples) / specificity.trials
    youden = se_draws + sp_draws - 1.0
    separates = youden > 0
    draws = np.clip((called + sp_draws - 1.0)[separates] / youden[separates], 0.0, 1.0)
    if draws.size == 0:
        return 0.0, 1.0
    tail = (1.0 - confidence) / 2.0
    low, high = np.quantile(draws, (tail, 1.0 - tail))
    return float(low), float(high)
