"""Each quantifier against a reference of its own: by hand, the published iteration, a search over a grid, quapy."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from assaymark.errors import ConfigError
from assaymark.stats import (
    LabelledBins,
    acc,
    adjusted,
    bin_centres,
    calibrate_bins,
    cc,
    dys,
    emq,
    emq_iterations,
    hdy,
    labelled_bins,
    mle,
    pacc,
    pcc,
    regrouped,
)

BINS = 64
HAND = LabelledBins(np.array([6, 2, 1, 1]), np.array([1, 1, 2, 6]))


def scores(rng: np.random.Generator, labels: np.ndarray, separation: float = 1.5) -> np.ndarray:
    return 1 / (1 + np.exp(-(separation * (rng.standard_normal(labels.size) + separation * labels) - separation**2 / 2)))


def material(seed: int, *, separation: float = 1.5, labelled: int = 200) -> tuple[LabelledBins, np.ndarray]:
    """Labelled counts and four cells of 1,000 items at prevalences 0 to 0.95."""
    rng = np.random.default_rng(seed)
    labels = np.repeat([0, 1], labelled)
    known = labelled_bins(scores(rng, labels, separation), labels, BINS)
    cells = []
    for prevalence in (0.0, 0.1, 0.5, 0.95):
        target = (rng.random(1000) < prevalence).astype(int)
        cells.append(labelled_bins(scores(rng, target, separation), target, BINS))
    return known, np.stack([c.negative + c.positive for c in cells])


def searched(objective: Callable[[float], float]) -> float:
    """Grid, then a finer grid around the best."""
    low, high = 0.0, 1.0
    for _ in range(6):
        grid = np.linspace(low, high, 41)
        best = int(np.argmax([objective(float(a)) for a in grid]))
        low, high = grid[max(best - 1, 0)], grid[min(best + 1, 40)]
    return float((low + high) / 2)


def test_counts_by_hand() -> None:
    targets = np.array([[5, 3, 1, 1], [0, 0, 0, 4], [0, 0, 0, 0]])
    assert cc(targets) == pytest.approx([0.2, 1.0, np.nan], nan_ok=True)
    assert cc(targets, threshold=0.75) == pytest.approx([0.1, 1.0, np.nan], nan_ok=True)
    # FPR 0.2, TPR 0.8
    assert acc(HAND, targets) == pytest.approx([0.0, 1.0, np.nan], nan_ok=True)
    assert acc(HAND, np.array([5, 2, 1, 2])) == pytest.approx((0.3 - 0.2) / 0.6)


def test_posterior_means_by_hand() -> None:
    posterior = bin_centres(4)
    targets = np.array([4, 2, 2, 2])
    observed = (4 * 0.125 + 2 * (0.375 + 0.625 + 0.875)) / 10
    zero = (6 * 0.125 + 2 * 0.375 + 0.625 + 0.875) / 10
    one = (0.125 + 0.375 + 2 * 0.625 + 6 * 0.875) / 10
    assert pcc(targets, posterior) == pytest.approx(observed)
    assert pacc(HAND, targets, posterior) == pytest.approx((observed - zero) / (one - zero))


def test_no_separation_is_no_number() -> None:
    assert np.isnan(adjusted(0.3, 0.5, 0.5))
    assert np.isnan(acc(LabelledBins(HAND.positive, HAND.negative), np.array([1, 1, 1, 1])))
    with pytest.raises(ConfigError, match="threshold"):
        cc(np.ones(4), threshold=1.0)


@pytest.mark.parametrize("separation", [0.6, 1.5, 4.0])
def test_emq_is_the_fixed_point_of_the_published_iteration(separation: float) -> None:
    known, cells = material(11, separation=separation)
    posterior = calibrate_bins(known)
    fast = emq(cells, posterior, known.prior)
    for cell, found in zip(cells, fast, strict=True):
        slow = emq_iterations(cell, posterior, float(known.prior), tolerance=1e-14, iterations=200_000)
        assert found == pytest.approx(slow, abs=1e-6)


def test_emq_where_the_labelled_sample_is_not_balanced() -> None:
    known, cells = material(12)
    thinned = LabelledBins(known.negative, known.positive // 4)
    posterior, prior = calibrate_bins(thinned), float(thinned.prior)
    slow = [emq_iterations(c, posterior, prior, tolerance=1e-14, iterations=200_000) for c in cells]
    assert emq(cells, posterior, prior) == pytest.approx(slow, abs=1e-6)


def test_emq_ends() -> None:
    posterior = np.array([0.1, 0.9])
    assert emq(np.array([[9, 0], [0, 9], [0, 0]]), posterior, 0.5) == pytest.approx([0, 1, np.nan], nan_ok=True)
    # (1 - q) 0.1 + q 0.9 = 0.6 maximises the likelihood of 4 and 6
    assert emq(np.array([4, 6]), posterior, 0.5) == pytest.approx((0.6 - 0.1) / 0.8, abs=1e-9)


def share(counts: np.ndarray, groups: int) -> np.ndarray:
    part = regrouped(counts, groups)
    return part / part.sum()


@pytest.mark.parametrize("histograms", [(8,), (16,), (8, 16, 32)])
def test_hdy_is_the_least_hellinger_distance(histograms: tuple[int, ...]) -> None:
    known, cells = material(13)
    for cell, found in zip(cells, hdy(known, cells, histograms=histograms), strict=True):
        expected = []
        for groups in histograms:
            zero, one, target = (share(part, groups) for part in (*known, cell))

            def affinity(a: float, z: np.ndarray = zero, o: np.ndarray = one, t: np.ndarray = target) -> float:
                return float(np.sqrt(t * ((1 - a) * z + a * o)).sum())

            expected.append(searched(affinity))
        assert found == pytest.approx(np.median(expected), abs=1e-5)


def test_dys_is_the_least_topsoe_distance() -> None:
    known, cells = material(14)
    for cell, found in zip(cells, dys(known, cells, histograms=(8,)), strict=True):
        zero, one, target = (share(part, 8) for part in (*known, cell))

        def nearness(a: float, z: np.ndarray = zero, o: np.ndarray = one, t: np.ndarray = target) -> float:
            q = np.maximum((1 - a) * z + a * o, 1e-15)
            p = np.maximum(t, 1e-15)
            return -float(np.sum(p * np.log(2 * p / (p + q)) + q * np.log(2 * q / (p + q))))

        assert found == pytest.approx(searched(nearness), abs=1e-5)


def test_mle_is_the_largest_likelihood() -> None:
    known, cells = material(15)
    groups = 16
    zero, one = (regrouped(part, groups).astype(float) for part in known)
    pool = (zero + one) / (zero + one).sum()
    h, m = (zero + pool) / (zero.sum() + 1), (one + pool) / (one.sum() + 1)
    for cell, found in zip(cells, mle(known, cells, bins=groups), strict=True):
        target = regrouped(cell, groups)

        def likelihood(a: float, t: np.ndarray = target) -> float:
            return float(t @ np.log(np.maximum((1 - a) * h + a * m, 1e-300)))

        assert found == pytest.approx(searched(likelihood), abs=1e-5)


def test_leading_axes_are_cells_and_resamples() -> None:
    known, cells = material(16)
    again, _ = material(17)
    both = LabelledBins(*(np.stack(pair)[:, None] for pair in zip(known, again, strict=True)))
    posterior = calibrate_bins(both)
    for method in (
        lambda k, t, s: acc(k, t),
        lambda k, t, s: pacc(k, t, s),
        lambda k, t, s: emq(t, s, k.prior),
        lambda k, t, s: hdy(k, t),
        lambda k, t, s: dys(k, t),
        lambda k, t, s: mle(k, t),
    ):
        together = method(both, cells, posterior)
        assert together.shape == (2, 4)
        for row, one in zip(together, (known, again), strict=True):
            alone = [float(method(one, cell, calibrate_bins(one))) for cell in cells]
            assert row == pytest.approx(alone, abs=1e-6)


def test_every_correction_finds_the_planted_prevalence() -> None:
    known, cells = material(18, labelled=20_000)
    posterior = calibrate_bins(known)
    truth = [0.0, 0.1, 0.5, 0.95]
    for found in (
        acc(known, cells), pacc(known, cells, posterior), emq(cells, posterior, known.prior),
        hdy(known, cells), dys(known, cells), mle(known, cells),
    ):  # fmt: skip
        assert found == pytest.approx(truth, abs=0.06)
    assert cc(cells)[0] > 0.15


def test_same_as_quapy_on_the_same_posteriors() -> None:
    pytest.importorskip("quapy")
    from quapy.method.aggregative import EMQ, PACC, DyS, HDy
    from sklearn.linear_model import LogisticRegression

    known, cells = material(19)
    centres = bin_centres(BINS)

    def items(counts: np.ndarray) -> np.ndarray:
        s = np.repeat(centres, counts)
        return np.column_stack([1 - s, s])

    validation = np.concatenate([items(known.negative), items(known.positive)])
    labels = np.repeat([0, 1], [known.negative.sum(), known.positive.sum()])

    # they ask for a fitted classifier, of which only the names of the classes are used
    classifier = LogisticRegression().fit([[0.0], [1.0]], [0, 1])

    def theirs(kind: type, cell: np.ndarray, **settings: object) -> float:
        quantifier = kind(classifier, fit_classifier=False, val_split=None, **settings)
        quantifier.aggregation_fit(validation, labels)
        return float(quantifier.aggregate(items(cell))[1])

    for cell in cells:
        # their solver minimises to about 1e-4
        assert pacc(known, cell, centres) == pytest.approx(theirs(PACC, cell), abs=1e-3)
        assert dys(known, cell, histograms=(8,)) == pytest.approx(theirs(DyS, cell, n_bins=8, divergence="topsoe"), abs=1e-3)
        assert hdy(known, cell, histograms=(8,)) == pytest.approx(theirs(DyS, cell, n_bins=8, divergence="HD"), abs=1e-3)
        em, _ = EMQ.EM(np.array([0.5, 0.5]), items(cell), 1e-10)
        assert emq(cell, centres, 0.5) == pytest.approx(em[1], abs=1e-4)
    # their own HDy searches in steps of 0.01 over histograms of 10 to 110 bins
    middle = theirs(HDy, cells[2])
    assert hdy(known, cells[2], histograms=(8, 16, 32, 64)) == pytest.approx(middle, abs=0.05)
