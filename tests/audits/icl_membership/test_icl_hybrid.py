"""The attack model: what it learns, what it does with missing scores, and that nothing of the targets reaches it."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest

from assaymark.audits.icl_membership.method.hybrid import fit_hybrid
from tests.audits.icl_membership.attacking import advantage, auc, best_threshold

Model = Literal["network", "logistic"]
MODELS: tuple[Model, ...] = ("network", "logistic")


def trials(rng: np.random.Generator, n: int, *, missing: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """n members and n others with two scores of different scale, each of which tells half of the story."""
    member = np.repeat([True, False], n)
    repeat = np.where(rng.random(2 * n) < np.where(member, 0.6, 0.05), 1.0, 0.2 * rng.random(2 * n))
    brainwash = np.where(member, 3, 1) + rng.poisson(1.2, 2 * n)
    features = np.column_stack([repeat, brainwash])
    features[rng.random(2 * n) < missing, 0] = np.nan
    return features, member


@pytest.mark.parametrize("model", MODELS)
def test_together_they_beat_each_part(model: Model) -> None:
    rng = np.random.default_rng(0)
    (shadow, member), (target, truth) = trials(rng, 200), trials(rng, 2_000)
    hybrid = fit_hybrid(shadow, member, rng=rng, model=model)
    sides = np.column_stack([hybrid.score(target[truth]), hybrid.score(target[~truth])])
    cut = best_threshold(np.column_stack([hybrid.score(shadow[member]), hybrid.score(shadow[~member])]))
    parts = []
    for column in range(2):
        own = np.column_stack([shadow[member, column], shadow[~member, column]])
        both = np.column_stack([target[truth, column], target[~truth, column]])
        parts.append(advantage(both, best_threshold(own)))
    assert advantage(sides, cut) > max(parts) + 0.03
    assert auc(sides[:500]) > 0.9 and ((sides >= 0) & (sides <= 1)).all()


@pytest.mark.parametrize("model", MODELS)
def test_a_score_depends_on_its_own_row(model: Model) -> None:
    rng = np.random.default_rng(1)
    shadow, member = trials(rng, 60, missing=0.2)
    target, _ = trials(rng, 30, missing=0.2)
    hybrid = fit_hybrid(shadow, member, rng=np.random.default_rng(2), model=model)
    whole = hybrid.score(target)
    np.testing.assert_allclose(np.concatenate([hybrid.score(row[None]) for row in target]), whole, rtol=1e-12)
    np.testing.assert_allclose(hybrid.score(np.vstack([target, 1e6 * np.ones((5, 2))]))[:-5], whole, rtol=1e-12)
    again = fit_hybrid(shadow, member, rng=np.random.default_rng(2), model=model)
    np.testing.assert_array_equal(again.score(target), whole)
    assert hybrid.trials == 120


@pytest.mark.parametrize("model", MODELS)
def test_units_of_a_feature_do_not_matter(model: Model) -> None:
    rng = np.random.default_rng(3)
    (shadow, member), (target, _) = trials(rng, 100), trials(rng, 100)
    scale, shift = np.array([1_000.0, 0.01]), np.array([-5.0, 40.0])
    plain = fit_hybrid(shadow, member, rng=np.random.default_rng(0), model=model).score(target)
    other = fit_hybrid(shadow * scale + shift, member, rng=np.random.default_rng(0), model=model).score(target * scale + shift)
    np.testing.assert_allclose(other, plain, atol=0.03)


@pytest.mark.parametrize("model", MODELS)
def test_what_is_missing_can_tell_too(model: Model) -> None:
    rng = np.random.default_rng(4)
    member = np.arange(400) % 2 == 0
    features = rng.normal(size=(400, 2))
    features[member & (rng.random(400) < 0.8), 0] = np.nan
    hybrid = fit_hybrid(features, member, rng=rng, model=model)
    missing, known = hybrid.score([[np.nan, 0.0]])[0], hybrid.score([[0.0, 0.0]])[0]
    assert missing > 0.8 and known < 0.4
    assert np.isnan(hybrid.score([[np.nan, np.nan]])).all()


@pytest.mark.parametrize("model", MODELS)
def test_an_attack_that_never_answers_changes_nothing_much(model: Model) -> None:
    rng = np.random.default_rng(5)
    (shadow, member), (target, truth) = trials(rng, 200), trials(rng, 500)
    shadow[:, 0] = target[:, 0] = np.nan
    hybrid = fit_hybrid(shadow, member, rng=rng, model=model)
    scores = np.column_stack([hybrid.score(target[truth]), hybrid.score(target[~truth])])
    alone = np.column_stack([target[truth, 1], target[~truth, 1]])
    assert auc(scores) == pytest.approx(auc(alone), abs=0.03)


@pytest.mark.parametrize("model", MODELS)
def test_nothing_is_found_where_nothing_is(model: Model) -> None:
    rng = np.random.default_rng(6)
    member = np.arange(400) % 2 == 0
    shadow, target = rng.normal(size=(400, 2)), rng.normal(size=(4_000, 2))
    scores = fit_hybrid(shadow, member, rng=rng, model=model).score(target).reshape(-1, 2)
    assert abs(auc(scores) - 0.5) < 4 / np.sqrt(12 * 1_000)


def test_bad_features_are_refused() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="only one side"):
        fit_hybrid([[1.0], [2.0]], [True, True], rng=rng)
    with pytest.raises(ValueError, match="only one side"):
        fit_hybrid([[1.0], [np.nan]], [True, False], rng=rng)
    with pytest.raises(ValueError, match="no infinite value"):
        fit_hybrid([[np.inf], [2.0]], [True, False], rng=rng)
    with pytest.raises(ValueError, match="2 rows of features, and 3"):
        fit_hybrid([[1.0], [2.0]], [True, False, True], rng=rng)
    fitted = fit_hybrid([[1.0], [2.0]], [False, True], rng=rng)
    with pytest.raises(ValueError, match="fitted on 1 features, and was given 2"):
        fitted.score([[1.0, 2.0]])
