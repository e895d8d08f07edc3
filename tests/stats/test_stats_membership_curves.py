"""AUC, TPR at low FPR and the log-log curve: brute force, sklearn, the core's ranking measures, planted normal scores."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from assaymark.errors import ConfigError
from assaymark.stats import attack_auc, fit_threshold, log_roc, roc_auc, tpr_at_fpr, tpr_at_fprs

NORMAL = NormalDist()
score = st.one_of(st.integers(-3, 3).map(float), st.sampled_from([np.inf, -np.inf, np.nan]))
side = st.lists(score, min_size=1, max_size=20)


def correlated(rng: np.random.Generator, repetitions: int, trials: int, shift: float, rho: float) -> np.ndarray:
    common = rng.standard_normal((repetitions, 1, trials))
    latent = np.sqrt(rho) * common + np.sqrt(1 - rho) * rng.standard_normal((repetitions, 2, trials))
    return latent + np.array([shift, 0.0])[:, None]


@settings(max_examples=60, deadline=None)
@given(side, side)
def test_area_is_the_share_of_ordered_pairs(member: list[float], nonmember: list[float]) -> None:
    m, n = (np.array(x)[~np.isnan(x)] for x in (member, nonmember))
    found = attack_auc(member, nonmember, units="rows")
    if not (m.size and n.size):
        assert found.reason.startswith("the attack has no score of")
        return
    expected = np.mean([[1.0 if a > b else 0.5 if a == b else 0.0 for b in n] for a in m])
    assert found.value == pytest.approx(expected)
    assert 0 <= found.low < found.high <= 1
    swapped = attack_auc(nonmember, member, units="rows")
    assert (1 - swapped.high, 1 - swapped.low) == pytest.approx((found.low, found.high))
    assert attack_auc(np.arctan(member), np.arctan(nonmember), units="rows") == found


def test_area_of_separate_rows_is_close_to_delongs() -> None:
    rng = np.random.default_rng(0)
    member, nonmember = rng.normal(1, 1, 400), rng.normal(0, 1, 700)
    labels = np.repeat([1, 0], [400, 700])
    found, delong = attack_auc(member, nonmember, units="rows"), roc_auc(np.concatenate([member, nonmember]), labels)
    assert found.value == pytest.approx(roc_auc_score(labels, np.concatenate([member, nonmember])))
    assert (found.low, found.high) == pytest.approx((delong.low, delong.high), abs=0.002)


def test_pairs_and_groups_change_the_width() -> None:
    rng = np.random.default_rng(1)
    (member, nonmember) = correlated(rng, 1, 300, 1.0, 0.7)[0]
    paired, rows = attack_auc(member, nonmember), attack_auc(member, nonmember, units="rows")
    assert paired.high - paired.low < 0.75 * (rows.high - rows.low)
    order = rng.permutation(300)
    moved = attack_auc(member[order], nonmember[order])
    assert (moved.low, moved.high) == pytest.approx((paired.low, paired.high))
    labels = np.arange(300)
    grouped = attack_auc(np.tile(member, 4), np.tile(nonmember, 4), units=(np.tile(labels, 4), np.tile(labels, 4)))
    assert (grouped.low, grouped.high) == pytest.approx((paired.low, paired.high), abs=0.002)


def test_area_at_the_edges_is_not_certain() -> None:
    perfect = attack_auc(np.ones(100), np.zeros(100))
    assert (perfect.value, perfect.high) == (1.0, 1.0)
    assert 0.95 < perfect.low < 0.98
    near = attack_auc(np.r_[np.ones(99), 0.25], np.r_[np.zeros(99), 0.5])
    assert near.value == pytest.approx(1 - 1e-4)
    assert near.low < 0.995
    tied = attack_auc(np.ones(50), np.ones(50))
    assert (tied.value, tied.low < 0.4, tied.high > 0.6) == (0.5, True, True)
    assert attack_auc([1.0], [0.0]).low < 0.3


@pytest.mark.parametrize(("shift", "rho"), [(0.0, 0.6), (1.2, 0.0), (2.5, 0.6), (3.6, 0.0)])
def test_area_covers_the_truth(shift: float, rho: float) -> None:
    found = [attack_auc(m, n) for m, n in correlated(np.random.default_rng(2), 400, 60, shift, rho)]
    truth = NORMAL.cdf(shift / np.sqrt(2))
    assert 0.91 <= np.mean([e.low <= truth <= e.high for e in found]) <= 0.995


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 12), min_size=1, max_size=30), st.integers(0, 10_000), st.sampled_from([0.05, 0.1, 0.25]))
def test_tpr_at_fpr_is_the_highest_of_every_cut(member: list[int], seed: int, fpr: float) -> None:
    nonmember = np.random.default_rng(seed).integers(0, 13, 80)
    m = np.array(member, dtype=float)
    found = tpr_at_fprs(m, nonmember, (fpr,), units="rows")[fpr]
    cuts = [-np.inf, *range(14)]
    assert found.value == max(np.mean(m >= c) for c in cuts if np.mean(nonmember >= c) <= fpr)
    labels = np.repeat([1, 0], [m.size, 80])
    assert found.value == tpr_at_fpr(np.concatenate([m, nonmember]), labels, fpr).value
    assert found.n == m.size
    assert found.high > found.low


@pytest.mark.parametrize(("trials", "fpr", "shift"), [(80, 0.05, 1.2), (400, 0.01, 2.5), (400, 0.05, 0.0), (400, 0.05, 4.5)])
def test_tpr_at_fpr_covers_the_truth(trials: int, fpr: float, shift: float) -> None:
    scores = correlated(np.random.default_rng(3), 200, trials, shift, 0.3)
    found = [tpr_at_fprs(m, n, (fpr,))[fpr] for m, n in scores]
    truth = 1 - NORMAL.cdf(NORMAL.inv_cdf(1 - fpr) - shift)
    assert np.mean([e.low <= truth <= e.high for e in found]) >= 0.93


@pytest.mark.parametrize(("n", "fpr"), [(500, 0.01), (400, 0.05), (75, 0.05)])
def test_limits_reach_to_the_ranks_that_may_hold_the_cut(n: int, fpr: float) -> None:
    from scipy.stats import binom

    # so many members that only the cut is uncertain: above the j-th highest non-member lies a share of (j - 1/2) / n of them
    members = (np.arange(100_000) + 0.5) / 100_000
    found = tpr_at_fprs(members, (np.arange(n) + 0.5) / n, (fpr,), units="rows")[fpr]
    reaches = [binom.sf(j - 1, n, fpr) for j in range(n + 1)]  # P(FPR above the j-th highest <= fpr)
    surely = max(j for j in range(n + 1) if reaches[j] >= 0.975)
    hardly = min(j for j in range(n + 1) if reaches[j] <= 0.025)
    assert found.value == pytest.approx((int(fpr * n) + 0.5) / n, abs=1e-4)
    assert found.low == pytest.approx((surely - 0.5) / n, abs=2e-4)
    assert found.high == pytest.approx((hardly - 0.5) / n, abs=2e-4)


def test_an_fpr_below_what_the_nonmembers_show_is_not_resolvable() -> None:
    rng = np.random.default_rng(4)
    for fpr, need in ((0.05, 72), (0.01, 368), (0.001, 3688)):
        scores = rng.normal(size=need)
        assert tpr_at_fprs(scores + 1, scores, (fpr,))[fpr].defined
        few = tpr_at_fprs(scores[1:] + 1, scores[1:], (fpr,))[fpr]
        assert (
            few.reason == f"not resolvable: an FPR of {100 * fpr:g} % needs {need:,} non-members, there are {need - 1:,} scores"
        )
        assert not tpr_at_fprs(scores + 1, np.r_[np.nan, scores[1:]], (fpr,))[fpr].defined
    found = tpr_at_fprs(rng.normal(size=500), rng.normal(size=500))
    assert list(found) == [0.01, 0.05]
    assert all(e.defined for e in found.values())
    labels = np.arange(500) // 50
    grouped = tpr_at_fprs(np.ones(500), np.zeros(500), (0.01,), units=(labels, labels))[0.01]
    assert "independent non-members" in grouped.reason
    assert not tpr_at_fprs([np.nan], [0.0])[0.01].defined
    with pytest.raises(ConfigError, match="1 % and 5 %"):
        tpr_at_fprs([1.0], [0.0], (1, 5))


def test_binary_scores_cannot_reach_a_low_fpr() -> None:
    member, nonmember = np.repeat([1.0, 0.0], [475, 25]), np.repeat([1.0, 0.0], [350, 150])
    found = tpr_at_fprs(member, nonmember, (0.01,))[0.01]
    assert found.value == found.low == 0.0
    assert found.high < 0.01
    perfect = tpr_at_fprs(np.full(500, np.inf), np.full(500, -np.inf), (0.01,))[0.01]
    assert (perfect.value, perfect.high) == (1.0, 1.0)
    assert 0.98 < perfect.low < 1.0


def test_log_curve_agrees_with_the_single_points() -> None:
    member, nonmember = correlated(np.random.default_rng(5), 1, 500, 1.5, 0.0)[0]
    curve = log_roc(member, nonmember, points=40)
    assert curve.fpr[0] == pytest.approx(1 / 500)
    assert (curve.fpr[-1], curve.tpr[-1], curve.tpr_high[-1]) == (1.0, 1.0, 1.0)
    assert np.all(np.diff(curve.fpr) > 0)
    assert np.all(np.diff(curve.tpr) >= 0)
    assert np.allclose(np.diff(np.log(curve.fpr)), np.log(500) / 39)
    single = tpr_at_fprs(member, nonmember, curve.fpr[:-1].tolist())
    for f, tpr, low, high, resolved in zip(*curve[:5], strict=True):
        assert low <= tpr <= high
        if f < 1:
            found = single[float(f)]
            assert found.defined == resolved
            assert not resolved or (found.value, found.low, found.high) == pytest.approx((tpr, low, high))
    assert np.all(curve.tpr_low[~curve.resolved] == 0.0)
    assert curve.floor == 0.001
    assert log_roc([np.nan], [1.0]).fpr.size == 0
    with pytest.raises(ConfigError, match="at least 2"):
        log_roc(member, nonmember, points=1)


def test_fixed_fpr_threshold_and_curve_agree() -> None:
    member, nonmember = correlated(np.random.default_rng(6), 1, 500, 1.5, 0.0)[0]
    fitted = fit_threshold(member, nonmember, criterion="fpr", fpr=0.05)
    assert fitted.tpr == tpr_at_fprs(member, nonmember, (0.05,))[0.05].value
