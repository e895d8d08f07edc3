"""Detection of wrong captions, utility, removal, object recall and paraphrases, each against a plain reference."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats as scipy_stats

from assaymark.audits.clip_memorization.method.deja_vu import deja_vu, object_recall
from assaymark.audits.clip_memorization.method.detection import contrastive_losses, detections, recall_at
from assaymark.audits.clip_memorization.method.paraphrase import rule_paraphrases
from assaymark.audits.clip_memorization.method.removal import group_composition, pareto_front, recommended, removed
from assaymark.audits.clip_memorization.method.utility import (
    linear_probe,
    retrieval_recall,
    zero_shot_accuracy,
    zero_shot_classes,
)
from assaymark.result import Estimate, undefined


def unit(rng: np.random.Generator, *shape: int) -> np.ndarray:
    x = rng.standard_normal(shape)
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def test_detectors_are_ranked_as_planted() -> None:
    rng = np.random.default_rng(30)
    wrong = np.arange(800) < 120
    scores = {"clipmem": wrong + rng.standard_normal(800), "random": rng.random(800)}
    found = {d.detector: d for d in detections(scores, wrong)}
    assert found["clipmem"].auc.value == pytest.approx(scipy_stats.norm.cdf(1 / np.sqrt(2)), abs=0.04)
    assert found["random"].against.high is not None and found["random"].against.high < 0
    assert found["clipmem"].depth == 120 and not found["clipmem"].against.defined


def test_recall_in_the_top_shares_ties() -> None:
    scores, wrong = [3.0, 2.0, 2.0, 2.0, 1.0], [True, True, False, False, True]
    assert recall_at(scores, wrong, depth=2).value == pytest.approx((1 + 1 / 3) / 3)
    assert recall_at(scores, [False] * 5, depth=2).reason


def test_pair_unknown_to_one_detector_is_left_out_of_all() -> None:
    found = detections({"a": [1.0, np.nan, 0.0, 0.5], "b": [1.0, 9.0, 0.0, 0.2]}, [True, True, False, False])
    assert all(d.auc.n == 3 for d in found)


def test_contrastive_loss_of_each_pair_is_the_cross_entropy() -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(31)
    u, v = unit(rng, 1100, 8), unit(rng, 1100, 8)
    logits = torch.from_numpy(10.0 * u @ v.T)
    own = torch.arange(1100)
    both = [torch.nn.functional.cross_entropy(m, own, reduction="none") for m in (logits, logits.T)]
    assert np.allclose(contrastive_losses(u, v, logit_scale=10.0), (sum(both) / 2).numpy())


def test_retrieval_is_a_sort() -> None:
    rng = np.random.default_rng(32)
    u, owner = unit(rng, 30, 6), np.repeat(np.arange(30), 2)
    v = unit(rng, 60, 6) * 0.6 + u[owner]
    v /= np.linalg.norm(v, axis=1, keepdims=True)
    found = {(r.direction, r.k): r for r in retrieval_recall(u, v, owner, depths=(1, 5))}
    for k in (1, 5):
        top = np.argsort(-(u @ v.T), axis=1)[:, :k]
        assert found["image to text", k].recall.value == pytest.approx((owner[top] == np.arange(30)[:, None]).any(1).mean())
        top = np.argsort(-(v @ u.T), axis=1)[:, :k]
        assert found["text to image", k].recall.value == pytest.approx((top == owner[:, None]).any(1).mean())
    assert found["text to image", 5].chance == pytest.approx(5 / 30)
    assert found["image to text", 1].chance == pytest.approx(2 / 60)


def test_retrieval_among_equals_is_chance() -> None:
    same = np.ones((10, 4)) / 2
    for found in retrieval_recall(same, same, np.arange(10), depths=(1, 5)):
        assert found.recall.value == pytest.approx(found.k / 10)


def test_zero_shot_by_mean_prompt() -> None:
    prompts = np.array([[[1.0, 0.0], [0.6, 0.8]], [[0.0, 1.0], [0.0, 1.0]]])
    classes = zero_shot_classes(prompts)
    assert np.allclose(np.linalg.norm(classes, axis=1), 1.0)
    assert np.allclose(classes[0], np.array([0.8, 0.4]) / np.hypot(0.8, 0.4))
    images = np.array([[1.0, 0.1], [0.0, 1.0], [1.0, 0.0]])
    assert zero_shot_accuracy(images, classes, [0, 1, 1]).value == pytest.approx(2 / 3)
    assert zero_shot_accuracy(images, np.zeros((4, 2)), [0, 1, 2]).value == pytest.approx(1 / 4), "ties are no hits"


def test_linear_probe_separates_what_can_be_separated() -> None:
    rng = np.random.default_rng(33)
    labels = np.arange(300) % 3
    features = np.eye(3)[labels] @ rng.standard_normal((3, 10)) + 0.3 * rng.standard_normal((300, 10))
    parts = [(features[i : i + 100], labels[i : i + 100]) for i in (0, 100, 200)]
    assert (linear_probe(*parts).accuracy.value or 0) > 0.9
    assert linear_probe((features[:100], np.zeros(100)), *parts[1:]).accuracy.reason


def test_removal_rules() -> None:
    rng = np.random.default_rng(34)
    scores, similarity = np.array([0.1, np.nan, 0.9, 0.5]), np.array([0.0, 0.2, 0.9, -0.3])
    assert removed(scores, 2, rule="memorized", rng=rng).tolist() == [2, 3]
    assert removed(scores, 2, rule="dissimilar", rng=rng, similarity=similarity).tolist() == [0, 3]
    assert len(set(removed(scores, 3, rule="random", rng=rng).tolist())) == 3
    assert removed(scores, 9, rule="memorized", rng=rng).tolist() == [0, 2, 3], "no score is no memory"


def test_groups_that_would_be_lost_come_first() -> None:
    found = group_composition(["a"] * 90 + ["b"] * 10, np.arange(85, 100))
    assert [row.group for row in found] == ["b", "a"]
    assert found[0].lost.value == 1.0 and found[0].pairs.value == 0.1 and found[0].removed.value == pytest.approx(10 / 15)


def test_front_and_recommendation() -> None:
    memory, utility = [0.3, 0.2, 0.1, 0.25, np.nan], [0.8, 0.8, 0.5, 0.7, 0.9]
    assert pareto_front(memory, utility).tolist() == [False, True, True, False, False]
    make = lambda value, half=0.01: Estimate(value, value - half, value + half, 5, "t")  # noqa: E731
    memories = [make(m) for m in (0.3, 0.2, 0.1)]
    assert recommended(memories, [make(0.0), make(0.005), make(-0.3)]) == 1
    assert recommended(memories, [undefined("one seed")] * 3) is None


def test_object_recall_and_its_gap() -> None:
    rng = np.random.default_rng(35)
    public = unit(rng, 40, 8)
    shown = rng.random((40, 5)) < 0.2
    captions, wanted = public[:20], shown[:20]
    found = object_recall(captions, public, wanted, shown, neighbours=1)
    assert np.all(found[wanted.any(1)] == 1.0) and np.isnan(found[~wanted.any(1)]).all()
    blind = object_recall(unit(rng, 20, 8), public, wanted, shown, neighbours=1)
    gap = deja_vu(found, blind, rng=np.random.default_rng(0))
    assert gap.gap.low is not None and gap.gap.low > 0 and gap.p_value < 0.01
    assert not deja_vu([np.nan], [1.0], rng=np.random.default_rng(0)).gap.defined


def test_wordings_are_new_stable_and_may_be_none() -> None:
    captions = ["a photo of a big red dog and a small cat", "xyzzy"]
    first, second = rule_paraphrases(captions, count=4, seed=0), rule_paraphrases(captions[::-1], count=4, seed=0)[::-1]
    assert first == second and len(set(first[0])) == 4 and captions[0] not in first[0]
    assert first[1] == [], "the rules find nothing to change: no wording, not the same one again"
    kept = {word for wording in first[0] for word in wording.split()}
    assert kept & {"picture", "image", "large", "little", "kitty", "hound"}
