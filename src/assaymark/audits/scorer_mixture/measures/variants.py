"""Every way of combining the scorers; each is a `Mixture`, so that what is judged is what is saved."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.audits.scorer_mixture.config import ScorerMixtureConfig
from assaymark.audits.scorer_mixture.method.least_squares import Fit
from assaymark.audits.scorer_mixture.method.missing import fit_by_pattern
from assaymark.audits.scorer_mixture.method.moments import Moments, balanced_weights
from assaymark.audits.scorer_mixture.method.operating import Criterion, best_threshold
from assaymark.audits.scorer_mixture.method.weights import (
    best_single,
    greedy_selection,
    logistic,
    nnls,
    ols,
    ols_from_moments,
    ridge,
    simplex,
    weighted_by_accuracy,
)
from assaymark.models.mixture_file import Member, Mixture
from assaymark.stats import Transform

__all__ = [
    "CRITERIA",
    "FITTED",
    "LEAST_SQUARES",
    "RULES",
    "FitRows",
    "Variant",
    "choose_threshold",
    "fit_variant",
    "fitter_of",
    "midpoint",
]

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Fitter = Callable[..., Fit]

RULES = ("average", "majority", "max", "geometric")
"""Ways without weights."""
LEAST_SQUARES = ("ols", "ols_intercept")
FITTED = ("ols", "ols_intercept", "ridge", "nnls", "simplex", "logistic", "greedy", "weighted_by_accuracy")
"""Ways with fitted weights: one fit for each pattern of missing scores."""
CRITERIA: dict[str, Criterion] = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced",
    "cost": "cost",
    "midpoint": "accuracy",
}
"""What a choice on the fitting rows minimises, by the setting `threshold`."""
MAX_PATTERNS = 64
LEAST_PATTERN_ROWS = 10


class FitRows(NamedTuple):
    """What a fit sees.

    Attributes
    ----------
    values : array, shape (n, k)
        Transformed scores of the fitting rows, NaN where missing.
    logits : array, shape (n, k)
        Log-odds of their scores.
    label : bool array, shape (n,)
    needed : bool array, shape (patterns, k)
        Patterns of missing scores that occur in any row, the frequent ones first.
    moments : Moments or None
        Of all fitting rows with every score, where these are more than are at hand as rows.
    """

    values: Floats
    logits: Floats
    label: Bools
    needed: Bools
    moments: Moments | None


class Variant(NamedTuple):
    """A fitted way of combining scorers.

    `columns` are the scorers that its mixture takes, in that order; `log_odds` says that its scores are log-odds; `fit` is the
    fit on rows with every score, None where nothing was fitted.
    """

    name: str
    mixture: Mixture
    columns: tuple[int, ...]
    log_odds: bool = False
    fit: Fit | None = None

    def score(self, scores: Floats) -> Floats:
        """M of rows of untransformed scores, shape (n,); NaN where too many are missing."""
        return self.mixture.score(scores[:, list(self.columns)])

    def probability(self, values: Floats) -> Floats:
        """M as a number in [0, 1]: clipped, or the sigmoid of log-odds."""
        from scipy.special import expit

        return np.asarray(expit(values)) if self.log_odds else np.clip(values, 0.0, 1.0)


def fitter_of(name: str, *, balanced: bool) -> Fitter:
    """`fit(F, y, sample_weight=None) -> Fit` of a way with weights."""
    plain: dict[str, Fitter] = {
        "ols": lambda F, y, w: ols(F, y, sample_weight=w),
        "ols_intercept": lambda F, y, w: ols(F, y, intercept=True, sample_weight=w),
        "ridge": lambda F, y, w: ridge(F, y, intercept=True, sample_weight=w),
        "nnls": lambda F, y, w: nnls(F, y, intercept=True, sample_weight=w),
        "simplex": lambda F, y, w: simplex(F, y, sample_weight=w),
        "logistic": lambda F, y, w: logistic(F, y, sample_weight=w),
        "greedy": lambda F, y, w: greedy_selection(F, y, sample_weight=w),
        "weighted_by_accuracy": lambda F, y, w: weighted_by_accuracy(F, y, sample_weight=w),
    }
    fit = plain[name]

    def fitter(F: Any, y: Any, sample_weight: Any = None) -> Fit:
        weights = sample_weight
        if balanced:
            weights = balanced_weights(y) * (1.0 if sample_weight is None else sample_weight)
        return fit(F, y, weights)

    return fitter


def _from_moments(name: str, moments: Moments) -> Fit | None:
    """The fit from streamed moments, for ways that need no rows."""
    fits: dict[str, Callable[[], Fit]] = {
        "ols": lambda: ols_from_moments(moments),
        "ols_intercept": lambda: ols_from_moments(moments, intercept=True),
        "ridge": lambda: ridge(moments, intercept=True),
        "nnls": lambda: nnls(moments, intercept=True),
        "simplex": lambda: simplex(moments),
    }
    return fits[name]() if name in fits else None


def midpoint(name: str, transform: str) -> float:
    """The cut that needs no data: 1/2 of a probability or of a regression on 0/1, 0 of log-odds."""
    on_odds = name == "logistic" or (transform == "logit" and name not in (*FITTED, "geometric", "majority"))
    return 0.0 if on_odds else 0.5


def fit_variant(
    name: str, rows: FitRows, scores: Floats, members: Sequence[Member], config: ScorerMixtureConfig, *, cut: str = ""
) -> Variant:
    """Fit one way of combining, with its threshold.

    Parameters
    ----------
    scores : array, shape (n, k)
        Untransformed scores of the fitting rows, for the threshold.
    members : one for each scorer, with its transform
    cut : how the threshold is chosen; default: the setting
    """
    variant = _unlimited(name, rows, members, config)
    threshold = choose_threshold(variant, scores, rows.label, config, cut=cut or config.threshold)
    return variant._replace(mixture=replace(variant.mixture, threshold=threshold))


def _unlimited(name: str, rows: FitRows, members: Sequence[Member], config: ScorerMixtureConfig) -> Variant:
    everyone = tuple(range(len(members)))
    if name == "best_single":
        best = _best(rows, config)
        return Variant(name, Mixture((members[best],), name, "linear", (1.0,)), (best,))
    if name in RULES:
        kept = _plain_members(members) if name in ("geometric", "majority") else tuple(members)
        return Variant(name, Mixture(kept, name, name), everyone)
    values = rows.logits if name == "logistic" else rows.values
    kept = tuple(replace(m, transform=Transform("logit")) for m in members) if name == "logistic" else tuple(members)
    fitter = fitter_of(name, balanced=config.balanced)
    whole = np.isfinite(values).all(axis=1)
    fit = _from_moments(name, rows.moments) if rows.moments is not None and name != "logistic" else None
    fit = fit or fitter(values[whole], rows.label[whole])
    patterns = _patterns(values, rows, fitter, config)
    mixture = Mixture(kept, name, "linear", tuple(float(w) for w in fit.weights), float(fit.intercept), patterns=patterns)
    return Variant(name, mixture, everyone, name == "logistic", fit)


def _plain_members(members: Sequence[Member]) -> tuple[Member, ...]:
    """Members as probabilities: log-odds have no mean log-odds and no half."""
    return tuple(replace(m, transform=Transform("probability")) if m.transform.kind == "logit" else m for m in members)


def _best(rows: FitRows, config: ScorerMixtureConfig) -> int:
    """The scorer with the least loss at its own best cut, on the rows that all have; of equal ones the most accurate."""
    whole = np.isfinite(rows.values).all(axis=1)
    values, label = rows.values[whole], rows.label[whole]
    losses = [
        best_threshold(
            values[:, i],
            label,
            criterion=CRITERIA[config.threshold],
            cost_fn=config.cost_false_negative,
            cost_fp=config.cost_false_positive,
        ).loss
        for i in range(values.shape[1])
    ]
    tied = np.flatnonzero(np.isclose(losses, min(losses)))
    return int(tied[0]) if len(tied) == 1 else int(tied[np.argmax(best_single(values[:, tied], label).weights)])


def _patterns(
    values: Floats, rows: FitRows, fitter: Fitter, config: ScorerMixtureConfig
) -> Mapping[str, tuple[tuple[float, ...], float]]:
    """A fit for every pattern of missing scores that enough fitting rows cover; small ones by ridge."""
    present, small = np.isfinite(values), fitter_of("ridge", balanced=config.balanced)

    def covered(pattern: Bools) -> bool:
        label = rows.label[present[:, pattern].all(axis=1)]
        return 0 < pattern.sum() < len(pattern) and len(label) >= LEAST_PATTERN_ROWS and 0 < label.mean() < 1

    def fit(F: Floats, label: Bools) -> Fit:
        return (small if len(label) < config.least_rows * F.shape[1] else fitter)(F, label)

    needed = [pattern for pattern in rows.needed[:MAX_PATTERNS] if covered(pattern)]
    fitted = fit_by_pattern(values, rows.label, fitter=fit, needed=np.reshape(needed, (-1, values.shape[1])))
    found = {}
    for pattern, one in zip(fitted.present, fitted.fits, strict=True):
        places = np.flatnonzero(pattern)
        found[",".join(map(str, places))] = tuple(float(w) for w in one.weights[places]), float(one.intercept)
    return found


def choose_threshold(
    variant: Variant, scores: Floats, label: Bools, config: ScorerMixtureConfig, *, cut: str, weight: Any = None
) -> float:
    """The threshold on rows of untransformed scores; rows without a mixture score have no say."""
    if cut == "midpoint":
        return midpoint(variant.name, config.transform)
    values = variant.score(scores)
    known = np.isfinite(values)
    choice = best_threshold(
        values[known],
        label[known],
        criterion=CRITERIA[cut],
        cost_fn=config.cost_false_negative,
        cost_fp=config.cost_false_positive,
        sample_weight=None if weight is None else weight[known],
    )
    return choice.threshold
