"""Shared parts of leave-out memorization audits, against plain loops, scipy and planted sets."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats as scipy_stats

from assaymark.errors import ConfigError
from assaymark.stats import calibrated_scores, four_set_tests, normalised_scores, subsampled_scores
from assaymark.stats.memorization.four_sets import offset_check
from assaymark.stats.memorization.normalisation import normalisation_scale
from assaymark.stats.memorization.scores import extremes, ssl_memorization


def test_ways_to_normalise() -> None:
    raw = np.array([0.4, -0.1, 0.0, np.nan])
    assert np.allclose(normalised_scores(raw, by="range")[:3], [1.0, -0.25, 0.0])
    assert np.allclose(normalised_scores(raw, by="official_range")[:3], [0.8, -0.2, 0.0])
    assert np.allclose(normalised_scores(raw, by="minmax01")[:3], [1.0, 0.0, 0.2])
    assert np.allclose(normalised_scores(raw, by="bound", bound=6)[:3], raw[:3] / 6)
    assert np.array_equal(normalised_scores(raw, by="none"), raw, equal_nan=True)
    assert np.isnan(normalised_scores(raw)[3]), "an item without a score has none after normalising"


def test_the_scale_may_come_from_other_scores() -> None:
    assert np.allclose(normalised_scores([1.0], by="range", reference=[-4.0, 2.0]), [0.25])
    assert np.allclose(normalised_scores([3.0], by="official_range", reference=[-4.0, 2.0]), [0.5])


@pytest.mark.parametrize("raw", [[], [0.0, 0.0], [np.nan]])
def test_no_scale_is_no_score(raw: list[float]) -> None:
    assert np.isnan(normalised_scores(raw)).all()


def test_unknown_normalisation_is_named() -> None:
    with pytest.raises(ConfigError, match="official_range"):
        normalised_scores([1.0], by="ranges")  # type: ignore[arg-type]


def planted(seed: int, offset: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    sets = np.repeat(["S", "C", "I", "E"], 300)
    means = np.repeat([0.0, 0.3, -0.3, 0.0], 300)
    return means + offset + 0.2 * rng.standard_normal(1200), sets


def test_set_tests_are_those_of_scipy() -> None:
    scores, sets = planted(0)
    found = {(test.first, test.second): test for test in four_set_tests(scores, sets)}
    for (first, second), alternative in zip(found, ("greater", "greater", "less", "two-sided"), strict=True):
        expected = scipy_stats.ttest_ind(
            scores[sets == first], scores[sets == second], equal_var=False, alternative=alternative
        )
        assert found[first, second].welch.p_value == pytest.approx(expected.pvalue, rel=1e-9)
    wins = (scores[sets == "C"][:, None] > scores[sets == "E"][None]).mean()
    assert found["C", "E"].auc.value == pytest.approx(wins)


def test_published_tests_come_behind_ours_and_are_those_of_scipy() -> None:
    scores, sets = planted(3)
    found = four_set_tests(scores, np.where(sets == "C", "", sets), published=True)
    assert [test[:2] for test in found[:4]] == [test[:2] for test in four_set_tests(scores, sets)]
    extra = [(test.first, test.second, test.welch.alternative) for test in found[4:]]
    assert extra == [("S", "C", "greater"), ("S", "C", "two-sided"), ("S", "E", "greater"), ("S", "I", "greater"),
                     ("S", "I", "two-sided")]  # fmt: skip
    expected = scipy_stats.ttest_ind(scores[sets == "S"], scores[sets == "I"], equal_var=False, alternative="greater")
    assert found[7].welch.p_value == pytest.approx(expected.pvalue, rel=1e-9)
    assert not found[4].welch.defined and found[4].welch.reason, "items of no set are in none"


def test_ssl_memorization_and_both_ends_of_a_ranking() -> None:
    assert ssl_memorization([0.2, 0.5, 0.4], [0.4, 0.4, 0.4]) == pytest.approx([0.2, -0.1, 0.0])
    found = extremes([0.3, np.nan, 0.1, 0.5, 0.2], size=50)
    assert found.most.tolist() == [3, 0] and found.least.tolist() == [2, 4]


def test_scale_of_a_normalisation_is_the_one_that_is_applied() -> None:
    raw = np.array([0.4, -0.1, np.nan])
    for way in ("range", "official_range", "bound", "minmax01", "none"):
        shift, width = normalisation_scale(raw, by=way, bound=2.0)
        assert (raw - shift) / width == pytest.approx(normalised_scores(raw, by=way, bound=2.0), nan_ok=True)


def test_set_without_items_is_a_reason_not_a_number() -> None:
    scores, sets = planted(0)
    kept = sets != "E"
    found = {(test.first, test.second): test for test in four_set_tests(scores[kept], sets[kept])}
    assert found["C", "S"].welch.defined
    assert not found["C", "E"].welch.defined and not found["C", "E"].auc.defined


def test_offset_is_seen_and_taken_off() -> None:
    scores, sets = planted(1, offset=0.2)
    check = offset_check(scores, sets, rng=np.random.default_rng(0))
    assert check.large and check.share == pytest.approx(0.2 / 0.5, abs=0.08)
    assert calibrated_scores(scores, sets)[sets == "C"].mean() == pytest.approx(0.3, abs=0.05)
    plain, sets = planted(1)
    assert not offset_check(plain, sets, rng=np.random.default_rng(0)).large


def test_subsampled_scores_are_a_plain_loop() -> None:
    rng = np.random.default_rng(3)
    values, members = rng.standard_normal((9, 40)), rng.random((9, 40)) < 0.5
    values[2, 5] = np.nan
    members[:, 7] = True
    found = subsampled_scores(values, members)
    for item in range(40):
        keep = np.isfinite(values[:, item])
        inside = values[keep & members[:, item], item]
        outside = values[keep & ~members[:, item], item]
        assert found.with_item[item] == len(inside) and found.without_item[item] == len(outside)
        if len(inside) > 1 and len(outside) > 1:
            assert found.score[item] == pytest.approx(inside.mean() - outside.mean())
            error = np.sqrt(inside.var(ddof=1) / len(inside) + outside.var(ddof=1) / len(outside))
            assert found.standard_error[item] == pytest.approx(error)
    assert np.isnan(found.score[7]), "an item that every model saw has no score"


def test_subsampled_scores_recover_a_planted_effect() -> None:
    rng = np.random.default_rng(4)
    members = rng.random((24, 500)) < 0.5
    effect = np.where(np.arange(500) < 50, 1.0, 0.0)
    found = subsampled_scores(members * effect + 0.3 * rng.standard_normal((24, 500)), members)
    inside = np.abs(found.score - effect) <= 2.1 * found.standard_error
    assert inside.mean() > 0.9
