"""Thresholds of membership scores against trying every cut."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assaymark.errors import ConfigError, InputError
from assaymark.stats import advantage, class_thresholds, fit_threshold, trial_scores

score = st.one_of(st.integers(-4, 4).map(float), st.sampled_from([np.inf, -np.inf, np.nan]))
finite = st.integers(-4, 4).map(float)
side = st.lists(score, min_size=1, max_size=12).filter(lambda x: not np.all(np.isnan(x)))


def every_cut(member: list[float], nonmember: list[float]) -> list[tuple[float, float, float]]:
    """Rates (TPR, FPR) at each cut that a number can make, from the highest down: nothing, then score >= each score."""
    m, n = (np.array([x for x in side if not np.isnan(x)]) for side in (member, nonmember))
    values = sorted(set(m) | set(n), reverse=True)
    cuts = ([] if values[0] == np.inf else [np.inf]) + values
    return [(float(cut), float(np.mean(m >= cut)), float(np.mean(n >= cut))) for cut in cuts]


@settings(max_examples=70, deadline=None)
@given(side, side)
def test_balanced_accuracy_is_the_best_of_every_cut(member: list[float], nonmember: list[float]) -> None:
    found = fit_threshold(member, nonmember)
    best = max((1 + t - f) / 2 for _, t, f in every_cut(member, nonmember))
    assert found.balanced_accuracy == pytest.approx(best, abs=1e-12)
    m, n = (np.array(side)[~np.isnan(side)] for side in (member, nonmember))
    assert (np.mean(m >= found.value), np.mean(n >= found.value)) == (found.tpr, found.fpr)
    # the highest of the best cuts: fewest false alarms
    assert found.fpr == min(f for _, t, f in every_cut(member, nonmember) if (1 + t - f) / 2 > best - 1e-9)


@settings(max_examples=70, deadline=None)
@given(side, st.lists(finite, min_size=1, max_size=12), st.sampled_from([0.0, 0.1, 0.25, 0.5, 1.0]))
def test_fpr_criterion_is_the_best_of_every_allowed_cut(member: list[float], nonmember: list[float], fpr: float) -> None:
    found = fit_threshold(member, nonmember, criterion="fpr", fpr=fpr)
    allowed = [(t, f) for _, t, f in every_cut(member, nonmember) if f <= fpr]
    best = max(t for t, _ in allowed)
    assert found.tpr == best
    assert found.fpr == min(f for t, f in allowed if t == best)


def test_cut_lies_midway_and_never_within_ties() -> None:
    assert fit_threshold([3.0, 3.0], [1.0, 1.0]).value == 2.0
    assert fit_threshold([0.9, 0.8, 0.4], [0.1, 0.2, 0.5]).value == 0.65
    tied = fit_threshold([1.0, 1.0, 2.0], [1.0, 0.0, 0.0])
    assert (tied.value, tied.tpr, tied.fpr) == (0.5, 1.0, 1 / 3)
    assert fit_threshold([1.0, 1.0], [1.0, 1.0]).value == np.inf  # scores that say nothing call nobody


@pytest.mark.parametrize(
    ("above", "below"),
    [(1e308, -1.7e308), (np.nextafter(1.0, 2.0), 1.0), (5e-324, 0.0), (np.inf, 1.0), (1.0, -np.inf), (np.inf, -np.inf)],
)
def test_cut_separates_extreme_neighbours(above: float, below: float) -> None:
    found = fit_threshold([above], [below])
    assert found.balanced_accuracy == 1.0
    assert below < found.value <= above


def test_infinite_nonmembers_cannot_be_denied() -> None:
    with pytest.raises(InputError, match=r"no threshold reaches an FPR of 0\.05: 0\.5 of the non-members"):
        fit_threshold([1.0, 2.0], [np.inf, 0.0], criterion="fpr")
    assert fit_threshold([1.0, np.inf], [np.inf, 0.0], criterion="fpr", fpr=0.5).fpr == 0.5


def test_without_scores_the_threshold_says_why() -> None:
    found = fit_threshold([np.nan, np.nan], [1.0, 2.0])
    assert not found.defined
    assert found.reason == "a threshold needs scores of both, there are 0 of members and 2 of non-members"
    estimate = advantage([1.0], [0.0], found)
    assert estimate.reason == f"no threshold: {found.reason}"


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"0\.05 for 5 %"):
        fit_threshold([1.0], [0.0], criterion="fpr", fpr=5)
    with pytest.raises(ConfigError, match="neither 'balanced_accuracy' nor 'fpr'"):
        fit_threshold([1.0], [0.0], criterion="accuracy")  # type: ignore[arg-type]


@settings(max_examples=60, deadline=None)
@given(st.lists(finite, min_size=2, max_size=15), st.lists(finite, min_size=2, max_size=15))
def test_order_and_monotone_transforms_change_no_decision(member: list[float], nonmember: list[float]) -> None:
    m, n = np.array(member), np.array(nonmember)
    found = fit_threshold(m, n)
    rng = np.random.default_rng(len(member))
    assert fit_threshold(rng.permutation(m), rng.permutation(n)) == found
    other = fit_threshold(np.exp(m) - 7, np.exp(n) - 7)
    assert np.array_equal(np.exp(m) - 7 >= other.value, m >= found.value)
    assert np.array_equal(np.exp(n) - 7 >= other.value, n >= found.value)


def test_classes_have_their_own_threshold_where_they_have_enough_scores() -> None:
    rng = np.random.default_rng(0)
    classes = np.repeat(["a", "b", "c"], [60, 40, 29])
    shift = np.repeat([0.0, 10.0, 20.0], [60, 40, 29])
    member, nonmember = rng.normal(size=129) + 4 + shift, rng.normal(size=129) + shift
    member[59] = np.nan
    found = class_thresholds(member, nonmember, member_classes=classes, nonmember_classes=classes)
    assert found.classes.tolist() == ["a", "b", "c"]
    assert found.own.tolist() == [True, True, False]
    assert found.overall == fit_threshold(member, nonmember)
    for position, label in enumerate("ab"):
        assert found.values[position] == fit_threshold(member[classes == label], nonmember[classes == label]).value
    assert found.values[2] == found.overall.value
    few = class_thresholds(member, nonmember, member_classes=classes, nonmember_classes=classes, least=29)
    assert few.own.tolist() == [True, True, True]
    order = rng.permutation(129)
    again = class_thresholds(member, nonmember[order], member_classes=classes, nonmember_classes=classes[order])
    assert np.array_equal(again.values, found.values)


def test_decisions_by_class_are_scores_for_the_metrics() -> None:
    labels = np.repeat([3, 7], 40)
    member, nonmember = np.repeat([2.0, 12.0], 40), np.repeat([0.0, 10.0], 40)
    found = class_thresholds(member, nonmember, member_classes=labels, nonmember_classes=labels)
    assert found.values.tolist() == [1.0, 11.0]
    seen = found.decisions([2.0, 2.0, np.nan, 12.0, -5.0], [3, 7, 3, 99, 99])
    assert np.array_equal(seen, [1.0, 0.0, np.nan, float(found.overall.value <= 12.0), 0.0], equal_nan=True)
    estimate = advantage(found.decisions(member, labels), found.decisions(nonmember, labels), 0.5)
    assert estimate.value == 1.0
    assert advantage(member, nonmember, found.overall).value < 0.6
    with pytest.raises(InputError, match="one class for each score"):
        found.decisions([1.0], [3, 3])
    with pytest.raises(InputError, match="2 member scores but classes"):
        class_thresholds([1.0, 2.0], [1.0], member_classes=[1], nonmember_classes=[1])


def test_scores_are_counted_by_trial() -> None:
    found = trial_scores([1.0, np.nan, np.nan, 2.0], [0.0, 1.0, np.nan, np.nan])
    assert (found.member.tolist(), found.nonmember.tolist()) == ([1.0, 2.0], [0.0, 1.0])
    assert (found.member_unit.tolist(), found.nonmember_unit.tolist()) == ([0, 3], [0, 1])
    assert (found.n, found.member_missing, found.nonmember_missing, found.units) == (3, 2, 2, 4)
    assert trial_scores([1.0, 2.0], [1.0], units="rows").n == 3
    groups = trial_scores([1.0, 2.0], [1.0], units=(["x", "y"], ["y"]))
    assert (groups.kind, groups.units, groups.nonmember_unit.tolist()) == ("groups", 2, [1])
    with pytest.raises(InputError, match='pass units="rows"'):
        trial_scores([1.0, 2.0], [1.0])
    with pytest.raises(InputError, match="one label for each score"):
        trial_scores([1.0, 2.0], [1.0], units=(["x"], ["y"]))
    with pytest.raises(ConfigError, match="nor a tuple of two label arrays"):
        trial_scores([1.0], [1.0], units="pairs")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="one dimension"):
        trial_scores([[1.0]], [1.0])
