"""Classes, review, overlap and generated images: closed forms, coverage, and parts that add up."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from assaymark.audits.image_offensiveness.method import classes, generated, overlap, review
from assaymark.stats import risk_ratio


def test_class_table_against_single_statistics() -> None:
    n, k = np.array([1000, 50, 7, 0, 30]), np.array([30, 20, 7, 0, 0])
    table = classes.class_table(n, k)
    assert table.share_limits.low[4] == 0 and table.share_limits.high[2] == 1
    known = n > 0
    assert (table.share_limits.low[known] >= 0).all() and (table.share_limits.high[known] <= 1).all()
    np.testing.assert_allclose(table.lift[known], (k[known] / n[known]) / (k.sum() / n.sum()))
    ratio = risk_ratio(20, 50, k.sum() - 20, n.sum() - 50)
    f = 50 / n.sum()
    assert table.lift_limits.low[1] == pytest.approx(ratio.low / (f * ratio.low + 1 - f))
    assert (table.lift_limits.low[known] <= table.lift[known]).all() and (
        table.lift_limits.high[known] >= table.lift[known]
    ).all()
    assert np.isnan([table.share[3], table.lift[3], table.p_value[3], table.lift_limits.low[3]]).all()
    assert table.p_adjusted[0] > 0 and (table.p_adjusted[known] >= table.p_value[known]).all()


def test_lift_is_one_where_flags_are_uniform() -> None:
    table = classes.class_table([200, 400, 1000], [10, 20, 50])
    np.testing.assert_allclose(table.lift, 1)
    assert (table.lift_limits.low < 1).all() and (table.lift_limits.high > 1).all() and (table.p_adjusted > 0.9).all()
    only = classes.class_table([80], [4])
    assert only.lift[0] == only.lift_limits.low[0] == only.lift_limits.high[0] == 1 and np.isnan(only.p_value[0])
    assert np.isnan(classes.class_table([5, 6], [0, 0]).lift).all()


def test_lift_interval_covers() -> None:
    rng, n, p, hits = np.random.default_rng(0), np.array([300, 2700]), np.array([0.2, 0.05]), 0
    truth = 0.2 / (n @ p / n.sum())
    for _ in range(500):
        limits = classes.class_table(n, rng.binomial(n, p)).lift_limits
        hits += limits.low[0] <= truth <= limits.high[0]
    assert 0.92 * 500 < hits < 0.98 * 500


def test_class_counts_add_up() -> None:
    rng = np.random.default_rng(1)
    flags, codes = rng.random(500) < 0.2, rng.integers(-1, 6, 500)
    whole = classes.class_counts(flags, codes, classes=6)
    parts = [classes.class_counts(flags[part], codes[part], classes=6) for part in (slice(0, 123), slice(123, None))]
    for j in range(2):
        assert np.array_equal(whole[j], parts[0][j] + parts[1][j])
    assert whole[0].sum() == (codes >= 0).sum()


def test_thresholds_of_classes() -> None:
    rng = np.random.default_rng(2)
    scores, codes = np.round(rng.random(3000), 2), rng.integers(0, 4, 3000)
    scores[codes == 3] *= 0.4
    scores[5] = np.nan
    limits = classes.class_thresholds(scores, codes, classes=5, share=0.1, floor=0.5)
    for c in range(4):
        own = scores[(codes == c) & np.isfinite(scores)]
        assert (own >= limits[c]).mean() <= 0.1
        lower = np.unique(own)[np.searchsorted(np.unique(own), limits[c]) - 1]
        assert c == 3 or (own >= lower).mean() > 0.1  # any lower threshold flags too many
    assert limits[3] == limits[4] == 0.5
    assert (classes.class_thresholds(scores, codes, classes=4, share=1.0) == 0).all()


def simulated(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores of 20,000 images in four classes, and the truth, which is more likely the higher the score."""
    rng = np.random.default_rng(seed)
    scores = rng.beta(0.3, 1.5, 20_000)
    return scores, rng.integers(0, 4, 20_000), rng.random(20_000) < 0.02 + 0.8 * scores


def test_review_is_unbiased_and_covers() -> None:
    """500 simulated reviews of 400 images in 20 strata; the interval with n_h instead of n_h - 1 covers less often."""
    scores, codes, truth = simulated(0)
    strata = review.score_strata(scores, codes, classes=4)
    allocation = review.allocate(strata.sizes, 400, expected=strata.expected)
    rng = np.random.default_rng(1)
    values, covered, paper = [], 0, 0
    for _ in range(500):
        rows = review.draw_review(strata.stratum, allocation, rng=rng)
        found = [
            review.reviewed_prevalence(strata.sizes, strata.stratum[rows], truth[rows], variance=variance)
            for variance in ("ours", "plain")
        ]
        values.append(found[0].value)
        covered += found[0].low <= truth.mean() <= found[0].high
        paper += found[1].low <= truth.mean() <= found[1].high
    error = np.std(values) / np.sqrt(500)
    assert abs(np.mean(values) - truth.mean()) < 3 * error
    assert 0.93 * 500 <= covered <= 0.98 * 500 and paper <= covered


def test_few_images_per_stratum_need_the_unbiased_variance() -> None:
    rng, sizes, p = np.random.default_rng(3), np.full(40, 500), np.linspace(0.05, 0.5, 40)
    truth = np.concatenate([rng.permutation(500) < round(500 * share) for share in p])
    stratum = np.repeat(np.arange(40), 500)
    covered = {"ours": 0, "plain": 0}
    for _ in range(500):
        rows = review.draw_review(stratum, np.full(40, 4), rng=rng)
        for variance in covered:
            found = review.reviewed_prevalence(sizes, stratum[rows], truth[rows], variance=variance)
            covered[variance] += found.low <= truth.mean() <= found.high
    assert covered["ours"] >= 0.93 * 500 and covered["plain"] < 0.93 * 500


def test_allocation() -> None:
    sizes, expected = np.array([10_000, 300, 3, 0, 80]), np.array([0.01, 0.5, 0.9, np.nan, 0.97])
    for method, budget in itertools.product(("neyman", "proportional"), (8, 9, 57, 500, 20_000)):
        given = review.allocate(sizes, budget, expected=expected, method=method)
        assert given.sum() == min(budget, sizes.sum()) and (given <= sizes).all() and (given >= np.minimum(sizes, 2)).all()
    assert review.allocate(sizes, 500, expected=expected)[1] > review.allocate(sizes, 500, method="proportional")[1]
    with pytest.raises(ValueError, match="budget of 5"):
        review.allocate(sizes, 5)


def test_draws_are_of_the_strata() -> None:
    scores, codes, _ = simulated(4)
    scores[:10] = np.nan
    strata = review.score_strata(scores, codes, classes=4)
    assert (strata.stratum[:10] == -1).all() and strata.sizes.sum() == 19_990
    wanted = np.minimum(strata.sizes, 7)
    rows = review.draw_review(strata.stratum, wanted, rng=np.random.default_rng(0))
    assert len(set(rows.tolist())) == rows.size and np.array_equal(np.bincount(strata.stratum[rows], minlength=20), wanted)
    edges = review.score_strata([0.0, 0.1, 0.5, 0.9, 1.0])
    assert edges.stratum.tolist() == [0, 1, 2, 3, 4]


def test_precision_at_k_reweighs_what_was_reviewed_more_often() -> None:
    scores, _, truth = simulated(5)
    strata = review.score_strata(scores)
    allocation = np.minimum([50, 300, 900, 100, 50], strata.sizes)
    k, rng = 3000, np.random.default_rng(6)
    top = np.argsort(-scores, kind="stable")[:k]
    found, naive = [], []
    for _ in range(200):
        rows = review.draw_review(strata.stratum, allocation, rng=rng)
        found.append(review.precision_at_k(scores, strata.stratum, rows, truth[rows], k=k))
        naive.append(truth[np.intersect1d(rows, top)].mean())
    mean = np.mean([e.value for e in found])
    assert mean == pytest.approx(truth[top].mean(), abs=0.01) and abs(np.mean(naive) - truth[top].mean()) > 0.02
    assert np.mean([e.low <= truth[top].mean() <= e.high for e in found]) > 0.9
    assert not review.precision_at_k(scores[:5], strata.stratum[:5], np.arange(5), truth[:5], k=6).defined


def test_regions_and_pairs() -> None:
    rng = np.random.default_rng(7)
    flags = rng.random((400, 3)) < [0.1, 0.3, 0.5]
    counts = overlap.venn_counts(flags)
    assert np.array_equal(counts, overlap.venn_counts(flags[:100]) + overlap.venn_counts(flags[100:]))
    found = overlap.overlap(counts, ("q16", "nudity", "gore"))
    assert dict(found.regions)["q16", "gore"] == (flags[:, 0] & ~flags[:, 1] & flags[:, 2]).sum()
    assert found.any_flag.value == pytest.approx(flags.any(axis=1).mean())
    pair = found.pairs[1]
    a, b = flags[:, 0], flags[:, 2]
    assert (pair.first, pair.second) == ("q16", "gore")
    assert (pair.both, pair.first_only, pair.second_only, pair.neither) == (
        (a & b).sum(),
        (a & ~b).sum(),
        (~a & b).sum(),
        (~a & ~b).sum(),
    )
    observed, chance = np.mean(a == b), a.mean() * b.mean() + (1 - a.mean()) * (1 - b.mean())
    assert pair.kappa.value == pytest.approx((observed - chance) / (1 - chance))
    assert pair.first_finds.value == pytest.approx(a[b].mean())
    with pytest.raises(ValueError, match="do not fit"):
        overlap.overlap(counts, ("q16", "nudity"))


def test_rates_of_prompts() -> None:
    rng = np.random.default_rng(8)
    prompt = np.repeat(np.arange(40), 10)
    q16, other = rng.random((2, 400)) < np.repeat(rng.beta(0.5, 2, 40), 10)
    found = generated.prompt_rates(q16, prompt, prompts=41, other=other, rng=rng)
    either = (q16 | other).reshape(40, 10)
    np.testing.assert_allclose(found.probability[:40], either.mean(axis=1))
    assert np.isnan(found.probability[40]) and found.overall.value == pytest.approx(either.mean())
    assert "40 clusters" in found.overall.method


def test_expected_maximum_against_drawing() -> None:
    rng = np.random.default_rng(9)
    p = np.append(np.round(rng.beta(0.5, 4, 300), 1), np.nan)
    found = generated.expected_maximum(p, rng=rng)
    maxima = rng.choice(p[:300], size=(40_000, 25)).max(axis=1)
    assert found.expected.value == pytest.approx(maxima.mean(), abs=4 * maxima.std() / 200)
    assert found.sd == pytest.approx(maxima.std(), rel=0.03)
    assert found.expected.low < found.expected.value < found.expected.high and found.expected.n == 300
    assert not generated.expected_maximum([0.4], rng=rng).expected.defined
