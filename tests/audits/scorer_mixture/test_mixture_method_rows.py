"""Folds, missing scores, transforms, rules: what happens to rows before and after the weights."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, get_args

import numpy as np
import pytest
from sklearn.isotonic import IsotonicRegression

from assaymark.audits.scorer_mixture.method.inference import leave_one_out_scores
from assaymark.audits.scorer_mixture.method.missing import (
    apply_imputation,
    fit_by_pattern,
    impute_mean,
    patterns,
    score_by_pattern,
)
from assaymark.audits.scorer_mixture.method.splits import (
    accuracy_gaps,
    cross_fitted_scores,
    fold_numbers,
)
from assaymark.audits.scorer_mixture.method.stacking import log_loss_of
from assaymark.audits.scorer_mixture.method.transforms import fit_transform
from assaymark.audits.scorer_mixture.method.weights import ols, ridge
from assaymark.audits.scorer_mixture.planted import planted_scores
from assaymark.errors import InputError, UnknownName
from assaymark.stats import RULES, Transform, apply_transform, clipped_logit, combine_scores
from assaymark.stats.combination import TransformKind

# --- splits ----------------------------------------------------------------------------------------------------------------


def test_folds_are_even_in_classes_and_keep_groups_together() -> None:
    labels = np.array([0] * 70 + [1] * 30)
    folds = fold_numbers(labels, folds=5, rng=np.random.default_rng(1))
    assert [((folds == fold) & (labels == 1)).sum() for fold in range(5)] == [6] * 5
    assert [((folds == fold) & (labels == 0)).sum() for fold in range(5)] == [14] * 5
    assert (folds != fold_numbers(labels, folds=5, rng=np.random.default_rng(2))).any()
    # 25 groups of 4 mixed rows and one of 40: the large one does not pull a second group into its fold
    groups = np.concatenate([np.repeat(np.arange(25), 4), np.full(40, 99)])
    mixed = np.arange(140) % 2
    grouped = fold_numbers(mixed, folds=5, rng=np.random.default_rng(1), groups=groups)
    assert all(len(set(grouped[groups == group])) == 1 for group in set(groups))
    assert sorted(len(set(groups[grouped == fold])) for fold in range(5)) == [5, 5, 5, 5, 6]
    # two groups that hold the only rows of a class go to different folds
    rare = np.isin(np.arange(100) // 10, [2, 7]) & (np.arange(100) % 10 == 0)
    apart = fold_numbers(rare, folds=2, rng=np.random.default_rng(0), groups=np.arange(100) // 10)
    assert rare[apart == 0].sum() == rare[apart == 1].sum() == 1
    with pytest.raises(ValueError, match="2 folds"):
        fold_numbers([1, 2], folds=1, rng=np.random.default_rng(0))
    with pytest.raises(ValueError, match="one for each row"):
        fold_numbers([1, 2], folds=2, rng=np.random.default_rng(0), groups=np.arange(3))


def test_cross_fitted_scores_leave_their_fold_out() -> None:
    drawn = planted_scores(1, 200, experiment="A")
    folds = fold_numbers(drawn.labels, folds=4, rng=np.random.default_rng(0))
    scores = cross_fitted_scores(drawn.scores, drawn.labels, folds, fitter=lambda f, t: ols(f, t, intercept=True))
    for number in range(4):
        fit = ols(drawn.scores[folds != number], drawn.labels[folds != number], intercept=True)
        inside = drawn.scores[folds == number]
        assert np.allclose(scores[folds == number], inside @ fit.weights + fit.intercept)
    alone = cross_fitted_scores(drawn.scores, drawn.labels, np.arange(200))
    assert np.allclose(alone, leave_one_out_scores(drawn.scores, drawn.labels, ols(drawn.scores, drawn.labels)))
    with pytest.raises(ValueError, match="one fold"):
        cross_fitted_scores(drawn.scores, drawn.labels, np.zeros(200))


def test_a_network_that_saw_the_fit_rows_is_conspicuous() -> None:
    drawn = planted_scores(0, 4800, experiment="C")
    F, y, train = drawn.scores, drawn.labels, drawn.trained_on
    gaps = accuracy_gaps(F[train], y[train], F[~train], y[~train])
    assert gaps[0].value == pytest.approx(1 - 0.618, abs=0.03) and gaps[0].low > 0.3
    assert all(gap.low <= 0 <= gap.high for gap in gaps[1:])
    assert not accuracy_gaps([[np.nan]], [1], [[0.4]], [1])[0].defined


# --- missing ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
def holed() -> tuple[np.ndarray, np.ndarray]:
    drawn = planted_scores(8, 1200, experiment="A")
    F = drawn.scores[:, :4].copy()
    rng = np.random.default_rng(0)
    F[rng.random(1200) < 0.3, 0] = np.nan
    F[rng.random(1200) < 0.2, 2] = np.nan
    F[:3] = np.nan
    return F, drawn.labels


def test_every_pattern_is_refitted_on_all_rows_that_have_it(holed) -> None:
    F, y = holed
    fitted = fit_by_pattern(F, y, fitter=lambda f, t: ols(f, t, intercept=True))
    scores = score_by_pattern(F, fitted)
    assert np.isnan(scores[:3]).all() and np.isfinite(scores[3:]).all()
    assert len(fitted.fits) == 4
    for present, fit, rows in zip(fitted.present, fitted.fits, fitted.rows, strict=True):
        usable = ~np.isnan(F[:, present]).any(axis=1)
        expected = ols(F[usable][:, present], y[usable], intercept=True)
        assert rows == usable.sum() and np.allclose(fit.weights[present], expected.weights)
        assert (fit.weights[~present] == 0).all()
        mine = (~np.isnan(F) == present).all(axis=1)
        assert np.allclose(scores[mine], F[mine][:, present] @ expected.weights + expected.intercept)
    right = np.mean((scores[3:] >= 0.5) == y[3:])
    zeroed = ols(np.nan_to_num(F), y, intercept=True)
    assert right > np.mean((np.nan_to_num(F[3:]) @ zeroed.weights + zeroed.intercept >= 0.5) == y[3:])


def test_unseen_patterns_get_no_score_unless_fitted(holed) -> None:
    F, y = holed
    complete = F[~np.isnan(F).any(axis=1)]
    labels = y[~np.isnan(F).any(axis=1)]
    assert np.isnan(score_by_pattern(F[:100], fit_by_pattern(complete, labels))[np.isnan(F[:100]).any(axis=1)]).all()
    needed = patterns(F)[0]
    asked = fit_by_pattern(complete, labels, needed=needed, fitter=lambda f, t: ridge(f, t, alpha=0.1))
    assert np.isfinite(score_by_pattern(F[3:], asked)).all()


def test_mean_imputation_says_what_was_missing(holed) -> None:
    F, _ = holed
    kept = F[3:]
    imputation = impute_mean(kept)
    assert np.allclose(imputation.means, np.nanmean(kept, axis=0))
    assert imputation.indicated.tolist() == [0, 2]
    filled = apply_imputation(kept, imputation)
    assert filled.shape == (1197, 6) and np.isfinite(filled).all()
    assert np.array_equal(filled[:, 4] == 1, np.isnan(kept[:, 0])) and np.array_equal(filled[:, 5] == 1, np.isnan(kept[:, 2]))
    assert np.allclose(filled[np.isnan(kept[:, 0]), 0], imputation.means[0])
    with pytest.raises(ValueError, match="no score at all"):
        impute_mean(np.full((3, 2), np.nan))


# --- transforms ------------------------------------------------------------------------------------------------------------


def transformed(F: Any, transforms: Sequence[Transform]) -> Any:
    return np.column_stack([apply_transform(column, of) for column, of in zip(np.asarray(F).T, transforms, strict=True)])


def test_platt_and_temperature_find_what_was_planted() -> None:
    rng = np.random.default_rng(0)
    odds = rng.normal(0, 2, (40_000, 2))
    y = (rng.random(40_000) < 1 / (1 + np.exp(-odds[:, 0]))).astype(int)
    # network 0 is 3 times too sure and shifted, network 1 knows nothing
    p = 1 / (1 + np.exp(-np.column_stack([3 * odds[:, 0] + 1.5, odds[:, 1]])))
    (slope, offset), (useless, _) = (of.parameters for of in fit_transform(p, y, kind="platt"))
    assert slope == pytest.approx(1 / 3, rel=0.05) and offset == pytest.approx(-0.5, abs=0.05)
    assert useless == pytest.approx(0, abs=0.02)
    sharp = 1 / (1 + np.exp(-4 * odds[:, :1]))
    hot = fit_transform(sharp, y, kind="temperature")
    assert hot[0].parameters == pytest.approx([4.0], rel=0.05)
    grid = [log_loss_of(1 / (1 + np.exp(-s * clipped_logit(sharp))), y)[0] for s in np.geomspace(0.05, 2, 60)]
    assert log_loss_of(transformed(sharp, hot), y)[0] <= min(grid) + 1e-9


def test_isotonic_equals_scikit_learn() -> None:
    rng = np.random.default_rng(1)
    p, w = np.round(rng.random((400, 2)), 2), rng.random(400) + 0.1
    y = (rng.random(400) < p[:, 0] ** 2).astype(int)
    fitted = fit_transform(p, y, kind="isotonic", sample_weight=w)
    found = transformed(p, fitted)
    for i in range(2):
        oracle = IsotonicRegression(out_of_bounds="clip").fit(p[:, i], y, sample_weight=w)
        assert np.allclose(found[:, i], oracle.predict(p[:, i]), atol=1e-12)
        grid = np.linspace(-0.2, 1.2, 300)
        assert np.allclose(transformed(np.column_stack([grid] * 2), fitted)[:, i], oracle.predict(grid), atol=1e-12)


@pytest.mark.parametrize("kind", get_args(TransformKind))
def test_missing_scores_stay_missing(kind) -> None:
    drawn = planted_scores(0, 300, experiment="E")
    F = drawn.scores.copy()
    F[::7, 1] = np.nan
    out = transformed(F, fit_transform(F, drawn.labels, kind=kind))
    assert np.array_equal(np.isnan(out), np.isnan(F))
    if kind not in ("probability", "logit"):
        assert np.nanmin(out) >= 0 and np.nanmax(out) <= 1
    whole = F[~np.isnan(F[:, 1])]
    alone = fit_transform(whole[:, 1:2], drawn.labels[~np.isnan(F[:, 1])], kind=kind)
    assert np.allclose(transformed(whole[:, 1:2], alone)[:, 0], out[~np.isnan(F[:, 1]), 1], atol=1e-6)


def test_transform_refusals() -> None:
    with pytest.raises(ValueError, match="none of"):
        fit_transform([[0.1]], [1], kind="beta")
    with pytest.raises(ValueError, match="scored no row"):
        fit_transform([[0.1, np.nan], [0.9, np.nan]], [0, 1], kind="platt")
    with pytest.raises(InputError, match="both classes"):
        fit_transform([[0.1], [0.2]], [1, 1], kind="platt")
    assert np.isfinite(clipped_logit([0.0, 1.0])).all()
    separated = fit_transform(np.array([[0.1], [0.2], [0.8], [0.9]]), [0, 0, 1, 1], kind="platt")
    assert np.isfinite(separated[0].parameters).all() and separated[0].parameters[0] > 0


# --- rules -----------------------------------------------------------------------------------------------------------------


def test_rules_row_by_row() -> None:
    F = np.random.default_rng(0).random((50, 3))
    F[0] = [0.0, 1.0, 0.5]
    for row, linear, average, majority, largest, geometric in zip(
        F, *(combine_scores(F, rule, weights=[1, -2, 0.5], intercept=0.1) for rule in RULES), strict=True
    ):
        assert linear == pytest.approx(row[0] - 2 * row[1] + 0.5 * row[2] + 0.1)
        assert average == pytest.approx(sum(row) / 3)
        assert majority == pytest.approx(sum(p >= 0.5 for p in row) / 3)
        assert largest == max(row)
        product = np.prod(np.clip(row, 1e-6, 1 - 1e-6)) ** (1 / 3)
        against = np.prod(1 - np.clip(row, 1e-6, 1 - 1e-6)) ** (1 / 3)
        assert geometric == pytest.approx(product / (product + against))
    assert combine_scores(F, "majority", threshold=0.9)[5] == pytest.approx(np.mean(F[5] >= 0.9))


@pytest.mark.parametrize("rule", RULES)
def test_a_missing_member_is_no_zero(rule) -> None:
    F = np.full((3, 4), 0.9)
    F[1, 2] = np.nan
    out = combine_scores(F, rule, weights=[1, 1, 0, 1])
    assert np.isnan(out).tolist() == [False, True, False]
    assert combine_scores(F.astype(np.float32), rule, weights=[1, 1, 0, 1]).dtype == np.float64


def test_sums_do_not_depend_on_the_batch() -> None:
    F = np.random.default_rng(0).random((999, 7))
    weights = np.random.default_rng(1).normal(size=7)
    whole = combine_scores(F, "linear", weights=weights)
    for size in (1, 10, 998):
        parts = [combine_scores(F[i : i + size], "linear", weights=weights) for i in range(0, 999, size)]
        assert np.array_equal(np.concatenate(parts), whole)


def test_rule_refusals() -> None:
    with pytest.raises(UnknownName, match="average"):
        combine_scores([[0.1]], "avrage")
    with pytest.raises(ValueError, match="weight"):
        combine_scores([[0.1]], "linear")
    with pytest.raises(ValueError, match="2 members"):
        combine_scores([[0.1, 0.2]], "linear", weights=[1])
    for bad in ([0.1, 0.2], np.zeros((3, 0))):
        with pytest.raises(ValueError, match="members"):
            combine_scores(bad, "average")
    assert len(set(itertools.chain(RULES))) == 5
