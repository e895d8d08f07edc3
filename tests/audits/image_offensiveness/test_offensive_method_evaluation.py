"""Labels, splits, metrics, ranking of prompts and the moral direction against independent references."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics
from sklearn.linear_model import Ridge

from assaymark.audits.image_offensiveness.method import evaluation, moral_direction, ranking, ratings, splits
from assaymark.audits.image_offensiveness.planted import planted_ratings
from assaymark.stats import expected_calibration_error, wilson


def test_strict_rule_of_the_ratings() -> None:
    r = np.concatenate([np.full(712, 2.0), np.full(962, 4.0), [2.5, 3.5, 3.0, np.nan, 0.5, 5.5]])
    found = ratings.rating_labels(r)
    assert (found.offensive, found.inoffensive, found.neutral, found.ties) == (712, 962, 3, 2)
    assert (found.missing, found.outside) == (1, 2)
    assert found.offensive + found.inoffensive + found.neutral + found.missing + found.outside == len(r)
    assert found.rows.size == 1674 == found.y.size and found.y.sum() == 712
    assert np.array_equal(found.labels[-6:], [-1] * 6)
    just = ratings.rating_labels(np.array([np.nextafter(2.5, 0), np.nextafter(3.5, 4)]))
    assert just.labels.tolist() == [1, 0]
    np.testing.assert_allclose(ratings.boundary_distance([1.0, 2.5, 3.0, 4.5]), [1.5, 0, 0, 1.0])


def test_thresholds_off_the_scale_are_refused() -> None:
    for low, high in ((3.5, 2.5), (0.5, 3.0), (2.5, 6.0)):
        with pytest.raises(ValueError, match="scale"):
            ratings.rating_labels([1.0], low=low, high=high)


def test_splits_have_the_published_sizes() -> None:
    y = np.repeat([0, 1], [962, 712])
    drawn = splits.shuffle_splits(y, rng=np.random.default_rng(0))
    assert len(drawn) == 10
    for split in drawn:
        assert (split.train.size, split.test.size, y[split.test].sum()) == (1506, 168, 72)
        assert np.array_equal(np.sort(np.concatenate(split)), np.arange(1674))
    assert len({tuple(split.test) for split in drawn}) == 10
    again = splits.shuffle_splits(y, rng=np.random.default_rng(0))
    assert all(np.array_equal(a.test, b.test) for a, b in zip(drawn, again, strict=True))


def test_near_duplicates_never_straddle() -> None:
    rng = np.random.default_rng(1)
    y, groups = rng.random(600) < 0.4, rng.integers(0, 150, 600)
    for split in splits.shuffle_splits(y, groups=groups, test=0.2, rng=rng):
        assert not set(groups[split.train]) & set(groups[split.test])
        assert split.test.size == pytest.approx(120, abs=8) and y[split.test].mean() == pytest.approx(y.mean(), abs=0.05)
    with pytest.raises(ValueError, match="groups are so large"):
        splits.shuffle_splits(y, groups=np.zeros(600), rng=rng)
    with pytest.raises(ValueError, match="one class"):
        splits.shuffle_splits(np.ones(20), rng=rng)


def test_fractions_are_nested_and_hold_both_classes() -> None:
    rng = np.random.default_rng(2)
    y = rng.random(1000) < 0.1
    train = splits.shuffle_splits(y, splits=1, rng=rng)[0].train
    parts = splits.nested_fractions(y, train, rng=rng)
    assert parts[0].size == 0 and np.array_equal(parts[-1], train)
    for small, large in pairwise(parts[1:]):
        assert set(small) < set(large) and set(y[small]) == {True, False}


def test_metrics_against_sklearn() -> None:
    rng = np.random.default_rng(3)
    y = rng.random(400) < 0.4
    z = np.round(2.0 * y + 2 * rng.standard_normal(400) - 1, 1)  # ties
    z[z == 0] = -0.1
    found, called = evaluation.metric_values(z, y), z > 0
    assert tuple(found) == evaluation.METRICS
    expected = {
        "accuracy": metrics.accuracy_score(y, called),
        "precision": metrics.precision_score(y, called),
        "recall": metrics.recall_score(y, called),
        "f1": metrics.f1_score(y, called),
        "auroc": metrics.roc_auc_score(y, z),
        "average_precision": metrics.average_precision_score(y, z),
    }
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, abs=1e-12), name
    s = 1 / (1 + np.exp(-z))
    assert found["ece"] == pytest.approx(expected_calibration_error(s, y, rng=rng, resamples=50).value)
    intervals = evaluation.score_metrics(z, y, rng=rng, resamples=200)
    for name, value in found.items():
        assert intervals[name].value == pytest.approx(value, abs=1e-12), name
        assert intervals[name].low < value < intervals[name].high or name == "ece"
    table = evaluation.confusion(z, y)
    assert [[table.true_negatives, table.false_positives], [table.false_negatives, table.true_positives]] == (
        metrics.confusion_matrix(y, called).tolist()
    )
    assert table.recall_inoffensive.value == pytest.approx(metrics.recall_score(~y, ~called))


def test_splits_that_all_agree_are_no_certainty() -> None:
    found = evaluation.summarise_splits([{"accuracy": 1.0, "auroc": 1.0}] * 10, test_share=0.1, tested=20)
    reference = wilson(20, 20)
    assert (found["accuracy"].estimate.low, found["accuracy"].estimate.high) == (reference.low, reference.high)
    assert "all 10 splits agree" in found["accuracy"].estimate.method and found["accuracy"].estimate.n == 10
    spread = evaluation.summarise_splits([{"accuracy": a} for a in (0.9, 1.0, 0.95)], test_share=0.1, tested=20)
    assert spread["accuracy"].estimate.method.startswith("corrected resampled t")


def test_undefined_figures_are_said_to_be() -> None:
    nothing_called = evaluation.metric_values([-1.0, -2, -3], [0, 0, 1])
    assert np.isnan(nothing_called["precision"]) and nothing_called["recall"] == 0
    summary = evaluation.summarise_splits([nothing_called, nothing_called], test_share=0.1)
    assert not summary["precision"].estimate.defined and "2 of 2 splits" in summary["precision"].estimate.reason
    with pytest.raises(ValueError, match="not finite"):
        evaluation.metric_values([np.nan, 1.0], [0, 1])


def test_summary_is_mean_and_sd_with_a_wider_interval_than_their_number_suggests() -> None:
    values = [0.9, 0.95, 0.97, 0.92]
    summary = evaluation.summarise_splits([{"accuracy": v} for v in values], test_share=0.1)["accuracy"]
    assert summary.sd == pytest.approx(np.std(values, ddof=1)) and summary.estimate.value == pytest.approx(np.mean(values))
    plain = stats.t.ppf(0.975, 3) * summary.sd / 2
    assert summary.estimate.value - summary.estimate.low > 1.1 * plain


def test_errors_lie_near_the_boundary() -> None:
    planted = planted_ratings(0)
    direction = planted.moral
    log_odds = 60 * planted.V @ direction
    log_odds -= np.median(log_odds)
    found = evaluation.agreement_with_ratings(log_odds, planted.ratings)
    labels = ratings.rating_labels(planted.ratings)
    assert found.images.sum() == labels.rows.size
    wrong = (log_odds[labels.rows] > 0) != labels.y
    assert found.errors.sum() == wrong.sum() > 0
    assert found.error_rate[0] > found.error_rate[2]
    assert found.rank_correlation.value == pytest.approx(stats.spearmanr(log_odds, -planted.ratings).statistic)
    assert found.rank_correlation.n == len(planted.y) and found.neutral_flagged.n == labels.neutral


def test_prompts_are_ranked_by_what_they_separate() -> None:
    planted = planted_ratings(1)
    rng = np.random.default_rng(5)
    good, fair = (0.5 * planted.common + np.outer([-1, 1], lean * planted.moral) for lean in (0.3, 0.05))
    noise = 0.04 * rng.standard_normal((2, planted.V.shape[1]))
    prompts = np.stack([fair + noise, good, good[::-1]])
    ranked = ranking.rank_prompts(prompts, ["fair", "good", "reversed"], planted.V, planted.y)
    assert [p.name for p in ranked] == ["good", "fair", "reversed"] and [p.position for p in ranked] == [1, 0, 2]
    called = planted.V @ (good[1] / np.linalg.norm(good[1]) - good[0] / np.linalg.norm(good[0])) > 0
    assert ranked[0].accuracy.value == pytest.approx(np.mean(called == planted.y))
    assert ranked[0].flagged == pytest.approx(called.mean())
    assert ranked[0].balanced_accuracy == pytest.approx(metrics.balanced_accuracy_score(planted.y, called))
    assert ranking.rank_prompts(prompts, list("abc"), planted.V, planted.y, by="auroc")[0].name == "b"


def test_moral_direction_is_found_and_removed() -> None:
    planted = planted_ratings(2, d=64)
    found = moral_direction.moral_direction(planted.V, planted.ratings, rng=np.random.default_rng(0), resamples=200)
    first = found.components
    assert abs(first.directions[0] @ planted.moral) > 0.9 and abs(first.correlations[0].value) > 0.8
    centred = planted.V.astype(np.float64) - planted.V.mean(axis=0)
    variance = np.linalg.svd(centred, compute_uv=False) ** 2
    np.testing.assert_allclose(first.explained, variance[:2] / variance.sum(), rtol=1e-6)
    assert found.ridge.direction @ planted.moral < -0.85  # ratings fall along it
    assert found.ridge.r2.low > 0.6 and found.ridge.rank_correlation.low > 0.7
    r = planted.ratings
    assert found.ridge.r2.value == pytest.approx(metrics.r2_score(r, found.ridge.predicted))
    reference = Ridge(alpha=found.ridge.penalty).fit(planted.V.astype(np.float64), r).coef_
    np.testing.assert_allclose(found.ridge.direction, reference / np.linalg.norm(reference), atol=1e-6)
    without = moral_direction.remove_direction(planted.V, planted.moral)
    assert np.abs(without @ planted.moral).max() < 1e-6
    np.testing.assert_allclose(np.linalg.norm(without, axis=1), 1, rtol=1e-5)
    left = moral_direction.ridge_direction(without, r, rng=np.random.default_rng(0), resamples=200)
    assert left.r2.high < 0.05
    assert not moral_direction.remove_direction(planted.moral[None], planted.moral).any()


def test_ratings_that_do_not_vary_have_no_r2() -> None:
    V = np.random.default_rng(0).standard_normal((50, 5))
    found = moral_direction.ridge_direction(V, np.full(50, 3.0), rng=np.random.default_rng(0))
    assert not found.r2.defined and not found.rank_correlation.defined
