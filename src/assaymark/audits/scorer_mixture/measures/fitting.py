"""From rows to fitted mixtures: which scorers can be used, their transforms, every way of combining, the calibration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from assaymark.audit import Context
from assaymark.audits.scorer_mixture.config import ScorerMixtureConfig
from assaymark.audits.scorer_mixture.measures.boosting import boosted_probability
from assaymark.audits.scorer_mixture.measures.variants import (
    CRITERIA,
    LEAST_SQUARES,
    FitRows,
    Variant,
    fit_variant,
)
from assaymark.audits.scorer_mixture.method.moments import Moments, balanced_weights, moments
from assaymark.audits.scorer_mixture.method.operating import best_threshold
from assaymark.audits.scorer_mixture.method.transforms import fit_transform
from assaymark.audits.scorer_mixture.probes.row_keys import TEST
from assaymark.audits.scorer_mixture.reading import Rows, fitting_splits
from assaymark.models.mixture_file import Member
from assaymark.stats import apply_transform, clipped_logit, platt

__all__ = ["Boosted", "Fitting", "Unfit", "calibrated", "fit_mixtures", "threshold_draws"]

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
LEAST_CLASS = 2


@dataclass(frozen=True)
class Unfit:
    """Why nothing could be fitted, as a reason that an undefined estimate can carry."""

    reason: str


@dataclass(frozen=True)
class Boosted:
    """Gradient boosting: P(positive) of every row, and the cut on the fitting rows."""

    probability: Floats
    threshold: float


@dataclass(frozen=True)
class Fitting:
    """All ways of combining, on one set of rows.

    Attributes
    ----------
    names : tuple of str
        Scorers that are used; columns of `scores` (as given) and `values` (transformed), of all rows.
    left_out : mapping of scorer to reason
    fit, test : masks of the rows
    label : bool array
    variants : by name; `main`, under the name in `main_name`, is the one that is recommended, calibrated and saved
    midpoints : least squares and the average cut at 1/2, as in the paper
    moments : of the fitting rows with every score
    """

    names: tuple[str, ...]
    left_out: Mapping[str, str]
    members: tuple[Member, ...]
    scores: Floats
    values: Floats
    label: Bools
    fit: Bools
    test: Bools
    variants: Mapping[str, Variant]
    midpoints: Mapping[str, Variant]
    main_name: str
    moments: Moments
    boosted: Boosted | None
    notes: tuple[str, ...]

    @property
    def main(self) -> Variant:
        return self.variants[self.main_name]

    @property
    def whole_fit(self) -> Bools:
        """Fitting rows with every score."""
        return np.asarray(self.fit & np.isfinite(self.values).all(axis=1))


def fit_mixtures(rows: Rows, config: ScorerMixtureConfig, context: Context, specs: Mapping[str, str]) -> Fitting | Unfit:
    """Fit everything that was asked for.

    Parameters
    ----------
    specs : model specs by scorer; scorers without one are columns
    """
    label = rows.label == 1
    fit, test = rows.of(*fitting_splits(config)), rows.of(TEST)
    reason = _too_few(label[fit], of=len(label)) if rows.names else "there is no scorer to combine"
    if reason:
        return Unfit(reason)
    kept, left_out = _usable(rows, fit, label)
    if not kept:
        return Unfit("no scorer varies on the fitting rows")
    names = tuple(rows.names[i] for i in kept)
    scores = rows.scores[:, kept]
    transforms = fit_transform(scores[fit], label[fit], kind=config.transform)
    values = np.column_stack([apply_transform(scores[:, i], t) for i, t in enumerate(transforms)])
    members = tuple(
        Member(name, specs.get(name, ""), float(config.costs.get(name, 1.0)), transform)
        for name, transform in zip(names, transforms, strict=True)
    )
    streamed = _streamed(rows, kept, config)
    needed = _patterns_by_frequency(values)
    fit_rows = FitRows(values[fit], clipped_logit(scores[fit]), label[fit], needed, streamed)
    main_name, notes = _main_name(config, fit_rows)
    wanted = dict.fromkeys(("average", "best_single", main_name, *(n for n in config.compare if n != "gbdt")))
    with context.progress.task("fitting mixtures", total=len(wanted), unit="ways") as task:
        variants = {}
        for name in wanted:
            variants[name] = fit_variant(name, fit_rows, scores[fit], members, config)
            task.advance()
    variants[main_name] = calibrated(variants[main_name], scores[fit], label[fit])
    midpoints = {
        name: fit_variant(name, fit_rows, scores[fit], members, config, cut="midpoint")
        for name in (*LEAST_SQUARES, "average")
        if name in variants and config.threshold != "midpoint"
    }
    whole = np.isfinite(values[fit]).all(axis=1)
    weight = balanced_weights(label[fit][whole]) if config.balanced else None
    own = streamed or moments(values[fit][whole], label[fit][whole].astype(float), sample_weight=weight)
    boosted = _boosted(values, label, fit, config, context) if "gbdt" in config.compare else None
    return Fitting(
        names, left_out, members, scores, values, label, fit, test, variants, midpoints, main_name, own, boosted, notes
    )


def _too_few(label: Bools, *, of: int = 0) -> str:
    """Why fitting rows with these labels are too few; empty when they are not. `of` is how many rows are labelled."""
    if not len(label):
        if not of:
            return "there are no labelled rows to fit on"
        return f"none of the {of:,} labelled rows is a fitting row" if of > 1 else "the one labelled row is no fitting row"
    positives, negatives = int(label.sum()), int((~label).sum())
    if min(positives, negatives) < LEAST_CLASS:
        what = "unsafe" if positives < negatives else "safe"
        some = "no" if not min(positives, negatives) else "a single"
        return f"the {len(label):,} fitting rows hold {some} {what} image, and a fit needs {LEAST_CLASS} of each kind"
    return ""


def _usable(rows: Rows, fit: Bools, label: Bools) -> tuple[list[int], dict[str, str]]:
    """Scorers with scores that vary, and that have enough fitting rows in common with the others."""
    scores = rows.scores[fit]
    left_out: dict[str, str] = {}
    kept: list[int] = []
    for i, name in enumerate(rows.names):
        seen = scores[np.isfinite(scores[:, i]), i]
        if len(seen) < 2:
            left_out[name] = "fewer than two scores on the fitting rows"
        elif seen.min() == seen.max():
            left_out[name] = "the same score for every fitting row"
        else:
            kept.append(i)
    while len(kept) > 1 and _too_few(label[fit][np.isfinite(scores[:, kept]).all(axis=1)]):
        fewest = min(kept, key=lambda i: (int(np.isfinite(scores[:, i]).sum()), rows.names[i]))
        left_out[rows.names[fewest]] = "too few fitting rows on which the other scorers answered too"
        kept.remove(fewest)
    if kept and _too_few(label[fit][np.isfinite(scores[:, kept]).all(axis=1)]):
        left_out[rows.names[kept[0]]] = "no two fitting rows of each kind have its score"
        kept = []
    return kept, left_out


def _streamed(rows: Rows, kept: Sequence[int], config: ScorerMixtureConfig) -> Moments | None:
    """Moments of all rows, when these are more than the sample and the scores enter as they are."""
    same = len(kept) == len(rows.names) == rows.streamed_width
    if rows.complete or config.transform != "probability" or not same:
        return None
    return rows.moments(fitting_splits(config), balanced=config.balanced)


def _patterns_by_frequency(values: Floats) -> Bools:
    found, counts = np.unique(np.isfinite(values), axis=0, return_counts=True)
    return np.asarray(found[np.argsort(-counts, kind="stable")])


def _main_name(config: ScorerMixtureConfig, rows: FitRows) -> tuple[str, tuple[str, ...]]:
    """The recommended way; with few rows for each scorer, ridge in the place of least squares."""
    n, k = int(np.isfinite(rows.values).all(axis=1).sum()), rows.values.shape[1]
    if config.method not in LEAST_SQUARES or n >= config.least_rows * k:
        return config.method, ()
    note = (
        f"{n} fitting rows for {k} scorers are fewer than {config.least_rows} for each: ridge regression takes the place of "
        f"{config.method}"
    )
    return "ridge", (note,)


def _boosted(values: Floats, label: Bools, fit: Bools, config: ScorerMixtureConfig, context: Context) -> Boosted:
    seed = int(context.rng("gradient boosting").integers(2**31))
    found = boosted_probability(values[fit], label[fit], values, seed=seed, balanced=config.balanced)
    # Boosting has seen the fitting rows, and is nearly always right there: its cut is the one it was trained for.
    threshold = 0.5
    if config.threshold == "cost":
        total = config.cost_false_negative + config.cost_false_positive
        threshold = config.cost_false_positive / total if total else 0.5
    return Boosted(found, threshold)


def calibrated(variant: Variant, scores: Floats, label: Bools) -> Variant:
    """The variant with P(positive) = sigmoid(slope M + offset) fitted on fitting rows (Platt 1999).

    A slope that does not rise would turn decisions round: the scores then keep a slope of 1 around the threshold.
    """
    values = variant.score(scores)
    known = np.isfinite(values)
    slope, offset = 1.0, -variant.mixture.threshold
    if not _too_few(label[known]):
        found = platt(values[known], label[known])
        if found.slope > 0:
            slope, offset = found
    return variant._replace(mixture=replace(variant.mixture, slope=slope, offset=offset))


def threshold_draws(
    variant: Variant, scores: Floats, label: Bools, config: ScorerMixtureConfig, *, rng: np.random.Generator, draws: int
) -> Floats:
    """Thresholds chosen on resamples of fitting rows, shape (draws,)."""
    values = variant.score(scores)
    known = np.isfinite(values)
    values, label = values[known], label[known]
    found = []
    for _ in range(draws):
        weight = np.bincount(rng.integers(0, len(values), len(values)), minlength=len(values)).astype(float)
        drawn = weight > 0
        choice = best_threshold(
            values[drawn],
            label[drawn],
            criterion=CRITERIA[config.threshold],
            cost_fn=config.cost_false_negative,
            cost_fp=config.cost_false_positive,
            sample_weight=weight[drawn],
        )
        found.append(choice.threshold)
    return np.array(found)
