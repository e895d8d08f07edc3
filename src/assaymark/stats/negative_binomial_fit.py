"""Maximum likelihood of NB2 regression: Fisher scoring for the coefficients, a root for alpha, in turn.

References
----------
.. [1] Cameron, A. C. and Trivedi, P. K. (2013). Regression Analysis of Count Data, 2nd ed. Cambridge, section 3.3.1.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from assaymark.stats.checks import FloatArray

__all__: list[str] = []  # a part of `count_regression`

_STEPS = 100
_NEAR = 1.0
_FARTHEST = 30.0  # log of a mixture's ratio, beyond which it runs away
_ROUNDS = 40
_SETTLED = 1e-14  # gain in log-likelihood still to be had: a coefficient is then within 1e-7 of its standard errors
_NEARLY = 1e-6
_STILL = 1e-3  # largest move of a fitted log mean; where no finite fit is best, it goes on by about 1 a step


class Fit(NamedTuple):
    """Coefficients, overdispersion (0: Poisson), the score of each row, shape (n, k), and the observed information."""

    coefficients: FloatArray
    alpha: float
    scores: FloatArray
    information: FloatArray


class _Model:
    """Mean counts exp(X b), or exp(X b) (1 + (exp(b_1) - 1) w) with the weights w of a mixture in place of column 1."""

    def __init__(self, outcome: FloatArray, design: FloatArray, weights: FloatArray | None) -> None:
        self.outcome, self.weights = outcome, weights
        self.slopes = design if weights is None else design.copy()  # d log mean / d b, of which column 1 moves with b_1
        self.values, size = np.unique(outcome, return_counts=True)
        self.sizes = size.astype(np.float64)

    def log_mean(self, b: FloatArray) -> FloatArray:
        if self.weights is None:
            return np.asarray(self.slopes @ b)
        linear = b.copy()
        linear[1] = 0.0
        return np.asarray(self.slopes @ linear + np.log1p(np.expm1(b[1]) * self.weights))

    def move_slopes(self, b: FloatArray) -> None:
        if self.weights is not None:
            self.slopes[:, 1] = np.exp(b[1]) * self.weights / (1.0 + np.expm1(b[1]) * self.weights)

    def loss(self, b: FloatArray, alpha: float) -> float:
        """Minus log-likelihood, up to what does not depend on b."""
        with np.errstate(over="ignore", invalid="ignore"):
            eta = self.log_mean(b)
            mean = np.exp(eta)
            spread = mean.sum() if alpha == 0 else float(np.log1p(alpha * mean) @ (self.outcome + 1.0 / alpha))
            return float(spread - self.outcome @ eta)

    def score(self, b: FloatArray, alpha: float, *, observed: bool) -> tuple[FloatArray, FloatArray]:
        """Gradient of the log-likelihood, and the observed or expected information; both are positive definite."""
        self.move_slopes(b)
        with np.errstate(over="ignore", invalid="ignore"):
            mean = np.exp(self.log_mean(b))
            shrink = 1.0 / (1.0 + alpha * mean)
            weight = mean * (1.0 + alpha * self.outcome) * shrink**2 if observed else mean * shrink
            score, rooted = self.slopes.T @ ((self.outcome - mean) * shrink), self.slopes * np.sqrt(weight)[:, None]
            return score, rooted.T @ rooted

    def coefficients(self, b: FloatArray, alpha: float, settled: float) -> FloatArray | None:
        """Fisher scoring far from the maximum and Newton's method near it, with halved steps; None where it does not settle."""
        gain = np.inf
        for _ in range(_STEPS):
            score, information = self.score(b, alpha, observed=gain < _NEAR)
            try:
                step = np.linalg.solve(information, score)
            except np.linalg.LinAlgError:
                return None
            if not np.isfinite(step).all() or (self.weights is not None and abs(b[1]) > _FARTHEST):
                return None
            gain, move = float(score @ step), float(np.abs(self.slopes @ step).max())
            if gain <= settled and move <= _STILL:
                return b + step
            before, share = self.loss(b, alpha), 1.0
            while move * share > _NEARLY and not self.loss(b + share * step, alpha) <= before:
                share /= 2.0
            b = b + share * step
            if move * share <= _NEARLY:
                return b if move <= _STILL else None
        return None

    def overdispersion(self, mean: FloatArray) -> float | None:
        """Maximum likelihood of alpha at given means: 0 where the counts vary no more than Poisson, None without a maximum."""
        from scipy.optimize import brentq

        with np.errstate(over="ignore"):
            excess = float(np.sum((self.outcome - mean) ** 2 - self.outcome))
        if not np.isfinite(excess) or excess <= 0.0:
            return 0.0 if excess <= 0.0 else None
        smallest = 1e-4 / float(mean.max())  # below, the variance is Poisson's to four digits everywhere
        low, high = np.log(smallest), np.log(smallest) + 2.0
        if self._slope_in_alpha(low, mean) <= 0.0:
            return 0.0
        while self._slope_in_alpha(high, mean) > 0.0:
            low, high = high, high + 2.0
            if high > 20.0:
                return None
        return float(np.exp(brentq(self._slope_in_alpha, low, high, args=(mean,), xtol=1e-12)))

    def _slope_in_alpha(self, log_alpha: float, mean: FloatArray) -> float:
        """d log-likelihood / d alpha ([1]); the digammas are taken once for each different count."""
        from scipy.special import digamma

        alpha = float(np.exp(log_alpha))
        rising = float(self.sizes @ (digamma(self.values + 1.0 / alpha) - digamma(1.0 / alpha)))
        spread = float(np.log1p(alpha * mean).sum())
        return (spread - rising) / alpha**2 + float(np.sum((self.outcome - mean) / (1.0 + alpha * mean))) / alpha

    def start(self) -> FloatArray:
        """Least squares on the logarithm of counts drawn halfway to their mean, which no large count upsets."""
        halfway = np.log((self.outcome + self.outcome.mean()) / 2.0)
        found = np.asarray(np.linalg.solve(self.slopes.T @ self.slopes, self.slopes.T @ halfway), dtype=np.float64)
        if self.weights is not None:
            found[1] = 0.0
        return found

    def fit(self, b: FloatArray, alpha: float) -> Fit:
        _, information = self.score(b, alpha, observed=True)
        mean = np.exp(self.log_mean(b))
        return Fit(b, alpha, self.slopes * ((self.outcome - mean) / (1.0 + alpha * mean))[:, None], information)


def fit_counts(outcome: FloatArray, design: FloatArray, weights: FloatArray | None) -> Fit | None:
    """Fit NB2, or Poisson where the counts vary no more than that; None where no finite fit is best.

    Parameters
    ----------
    outcome : array, shape (n,), >= 0, not all 0
    design : array, shape (n, k), of full rank
        The constant first, the others standardised.
    weights : array, shape (n,), in [0, 1], or None
        Of a mixture, in place of column 1.
    """
    model = _Model(outcome, design, weights)
    alpha = 1.0  # a count's weight is then bounded, so the first fit is not drawn to the largest
    b = model.coefficients(model.start(), alpha, 1e-2)
    for _ in range(_ROUNDS):
        if b is None:
            return None
        new = model.overdispersion(np.exp(model.log_mean(b)))
        if new is None:
            return None
        still = abs(new - alpha) <= 1e-7 * new
        alpha = new
        b = model.coefficients(b, alpha, _SETTLED if still else 1e-12)
        if still and b is not None:
            return model.fit(b, alpha)
    return None
