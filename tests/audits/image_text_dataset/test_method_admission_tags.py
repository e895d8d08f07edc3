"""Curves from histograms equal curves from rows; residual harm and its correction recover what is planted."""

from __future__ import annotations

import numpy as np
import pytest

from assaymark.audits.image_text_dataset.method import admission, tags
from assaymark.stats.prevalence import Rate

EDGES = np.round(np.arange(-1000, 1001) / 1000, 3)


def _histogram(values: np.ndarray) -> np.ndarray:
    return np.histogram(np.floor(values * 1000) / 1000 + 0.0005, EDGES)[0]


def test_threshold_curve_equals_the_rows() -> None:
    rng = np.random.default_rng(0)
    similarity = rng.normal(0.3, 0.05, 4000)
    unsafe, group = rng.random(4000) < 0.1, rng.integers(3, size=4000)
    tau = np.round(np.arange(0.15, 0.401, 0.05), 2)
    curve = admission.threshold_curve(
        _histogram(similarity),
        _histogram(similarity[unsafe]),
        [_histogram(similarity[group == g]) for g in range(3)],
        EDGES,
        tau,
    )
    for i, t in enumerate(tau):
        kept = similarity >= t
        assert curve.kept.value[i] == pytest.approx(kept.mean())
        assert curve.unsafe_kept.value[i] == pytest.approx(unsafe[kept].mean())
        assert curve.unsafe_dropped.value[i] == pytest.approx(unsafe[~kept].mean())
        assert curve.group_kept.value[1, i] == pytest.approx((group[kept] == 1).mean())
        assert curve.group_dropped.value[1, i] == pytest.approx((group[~kept] == 1).mean())
        assert curve.admission.value[2, i] == pytest.approx(kept[group == 2].mean())
    assert curve.kept.at(0).n == 4000


def test_four_fifths_finds_the_disadvantaged_group() -> None:
    rng = np.random.default_rng(1)
    groups = [_histogram(rng.normal(m, 0.05, 3000)) for m in (0.32, 0.32, 0.27)]
    curve = admission.threshold_curve(sum(groups), np.zeros(2000, int), groups, EDGES, [0.2, 0.30, 0.9])
    rule = admission.four_fifths(curve.admission)
    assert not rule.below[:2].any() and rule.below[2, 1]
    assert rule.ratio[:, 1].max() == 1.0
    assert np.isnan(rule.ratio[:, 2]).all() and not rule.below[:, 2].any()
    finite = ~np.isnan(rule.ratio)
    assert (rule.limits.low[finite] <= rule.ratio[finite]).all() and (rule.ratio[finite] <= rule.limits.high[finite]).all()
    fixed = admission.four_fifths(curve.admission, reference=1)
    assert (fixed.reference == 1).all() and (fixed.ratio[1, :2] == 1).all()


def test_threshold_between_edges_is_refused() -> None:
    with pytest.raises(ValueError, match="not an edge"):
        admission.histogram_at_least([1, 2], [0, 0.5, 1], [0.3])
    with pytest.raises(ValueError, match="edges"):
        admission.histogram_at_least([1, 2], [0, 1], [0])


def test_equal_kept_share_transfers_a_threshold() -> None:
    rng = np.random.default_rng(2)
    first, second = rng.normal(0.30, 0.04, 20_000), rng.normal(0.22, 0.05, 20_000)
    share = (first >= 0.30).mean()
    tau = admission.equal_kept_share(_histogram(second), EDGES, share=share)
    assert tau.low <= np.quantile(second, 1 - share) <= tau.high
    assert tau.value == pytest.approx(0.22, abs=0.003)


def test_cross_table_and_agreement() -> None:
    names = ("NSFW", "UNSURE", "UNLIKELY")
    cross = tags.tag_cross([100, 50, 850], [[60, 10], [10, 0], [30, 80]], tags=names, flags=("lexicon", "toxic"))
    assert cross.rates.value[0].tolist() == [0.6, 0.1] and cross.rates.value[2, 0] == pytest.approx(30 / 850)
    strict = tags.tag_agreement([100, 50, 850], [60, 10, 30], tags=names)
    lenient = tags.tag_agreement([100, 50, 850], [60, 10, 30], tags=names, positive=("NSFW", "UNSURE"))
    assert strict.precision.value == 0.6 and strict.recall.value == 0.6
    assert lenient.precision.value == pytest.approx(70 / 150) and lenient.recall.value == pytest.approx(0.7)


def test_residual_by_tag_leaves_what_the_tag_misses() -> None:
    residual = tags.residual_by_tag([100, 50, 850], [60, 10, 30], tags=("NSFW", "UNSURE", "UNLIKELY"))
    assert residual.kept.value == 0.85 and residual.harm_before.value == 0.1
    assert residual.harm_after.value == pytest.approx(30 / 850) and residual.survives.value == 0.3
    assert residual.ratio.value == pytest.approx((30 / 850) / (70 / 150)) and not residual.corrected.defined


def test_corrected_residual_recovers_the_planted_prevalence() -> None:
    truth, sensitivity, specificity, covered = 0.05, 0.8, 0.99, 0
    for seed in range(30):
        rng = np.random.default_rng(seed)
        observed = rng.binomial(20_000, truth * sensitivity + (1 - truth) * (1 - specificity))
        residual = tags.residual_by_tag(
            [20_000, 100],
            [observed, 90],
            tags=("UNLIKELY", "NSFW"),
            sensitivity=Rate(rng.binomial(500, sensitivity), 500),
            specificity=Rate(rng.binomial(2000, specificity), 2000),
            rng=rng,
        )
        covered += residual.corrected.low <= truth <= residual.corrected.high
        assert residual.corrected.value == pytest.approx(truth, abs=0.02)
    assert covered >= 26


def test_residual_over_punsafe_cuts() -> None:
    rng = np.random.default_rng(4)
    punsafe, flagged = rng.random(5000), rng.random(5000) < 0.02
    edges = np.round(np.linspace(0, 1, 21), 2)
    rows, hits = np.histogram(punsafe, edges)[0], np.histogram(punsafe[flagged], edges)[0]
    curve = tags.residual_by_punsafe(rows, hits, edges, [0.1, 0.5, 1.0])
    for i, cut in enumerate((0.1, 0.5, 1.0)):
        assert curve.kept.value[i] == pytest.approx((punsafe < cut).mean())
        assert curve.harm_after.value[i] == pytest.approx(flagged[punsafe < cut].mean())
    assert curve.points[2].survives.value == 1.0
