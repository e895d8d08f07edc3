"""The benchmark's cells, AUROC at equal length, and splits that keep twins together."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics

from assaymark.audits.generated_text_prevalence.method.benchmarking import Grouping, benchmark_cells, length_grouping
from assaymark.audits.generated_text_prevalence.method.length_matching import length_matched_auroc
from assaymark.audits.generated_text_prevalence.method.source_split import join_sources, split_by_source


def detected(rng: np.random.Generator, n: int = 600) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    labels = (rng.random(n) < 0.5).astype(int)
    p = 1 / (1 + np.exp(-rng.normal(np.where(labels == 1, 1.0, -1.0), 1.2)))
    return p, labels, rng.integers(0, 3, n), np.where(labels == 1, rng.integers(0, 4, n), -1)


def test_cells_agree_with_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    p, labels, platform, generator = detected(rng)
    groupings = (
        Grouping("platform", platform, ("a", "b", "c", "none")),
        Grouping("generator", generator, ("g0", "g1", "g2", "g3"), against_all_humans=True),
    )
    cells = benchmark_cells(p, labels, threshold=0.5, probability=p, groupings=groupings, rng=rng, resamples=50)
    assert [(c.by, c.group) for c in cells] == [
        ("overall", ""),
        *(("platform", name) for name in "abc"),
        *(("generator", f"g{i}") for i in range(4)),
    ]
    for cell in cells:
        member = np.ones(600, bool)
        if cell.by == "platform":
            member = platform == "abc".index(cell.group)
        if cell.by == "generator":
            member = (generator == int(cell.group[1])) | (labels == 0)
        y, s = labels[member], p[member]
        called = s >= 0.5
        assert (cell.humans, cell.machines) == (np.sum(y == 0), np.sum(y == 1))
        assert cell.accuracy.value == pytest.approx(metrics.accuracy_score(y, called))
        assert cell.weighted_f1.value == pytest.approx(metrics.f1_score(y, called, average="weighted"))
        assert cell.macro_f1.value == pytest.approx(metrics.f1_score(y, called, average="macro"))
        assert cell.auroc.value == pytest.approx(metrics.roc_auc_score(y, s))
        assert cell.fpr.value == pytest.approx(called[y == 0].mean())
        fpr, tpr, _ = metrics.roc_curve(y, s, drop_intermediate=False)
        assert cell.tpr_at_1_fpr.value == pytest.approx(tpr[fpr <= 0.01].max())
        assert cell.tpr_at_5_fpr.value == pytest.approx(tpr[fpr <= 0.05].max())
        assert 0 <= cell.ece.low <= cell.ece.value < 0.25


def test_every_generator_is_judged_against_all_humans() -> None:
    rng = np.random.default_rng(1)
    p, labels, _, generator = detected(rng)
    grouping = Grouping("generator", generator, ("g0", "g1", "g2", "g3"), against_all_humans=True)
    overall, *cells = benchmark_cells(p, labels, threshold=0.5, groupings=[grouping], rng=rng, resamples=20)
    assert {cell.humans for cell in cells} == {overall.humans}
    assert sum(cell.machines for cell in cells) == overall.machines
    assert {cell.fpr for cell in cells} == {overall.fpr}
    assert overall.ece.reason == "the scores are not probabilities"


def test_texts_without_a_score_are_counted() -> None:
    rng = np.random.default_rng(2)
    p, labels, platform, _ = detected(rng, 90)
    p[:10] = np.nan
    p[10] = np.inf
    platform[:5] = -1
    grouping = Grouping("platform", platform, ("a", "b", "c"))
    cells = benchmark_cells(p, labels, threshold=0.5, groupings=[grouping], rng=rng, resamples=20)
    assert cells[0].left_out == 11 and sum(c.left_out for c in cells[1:]) == 6
    assert all(c.humans + c.machines + c.left_out == (platform == "abc".index(c.group)).sum() for c in cells[1:])
    (lost,) = benchmark_cells(np.full(5, np.nan), [0, 1, 0, 1, 1], threshold=0.5, probability=np.full(5, np.nan), rng=rng)
    measures = [value for value in lost if hasattr(value, "reason")]
    assert len(measures) == 8 and not any(measure.defined for measure in measures)
    (human,) = benchmark_cells([0.1, 0.7, 0.2], [0, 0, 0], threshold=0.5, rng=rng)
    assert human.fpr.value == pytest.approx(1 / 3) and human.auroc.value is human.macro_f1.value is None


def test_lengths_fall_into_named_buckets() -> None:
    found = length_grouping([0, 49, 50, 99, 100, 5000, np.nan], edges=(50, 100))
    assert found.names == ("below 50 words", "50 to 99 words", "100 words and more")
    assert found.codes.tolist() == [0, 0, 1, 1, 2, 2, -1]
    with pytest.raises(ValueError, match="rising"):
        length_grouping([1], edges=(100, 50))


# --- at equal length -------------------------------------------------------------------------------------------------------


def lengths_of(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.round(np.exp(rng.normal(np.where(labels == 1, 5.2, 4.4), 0.6))).clip(1)


def test_a_detector_of_length_is_found_out() -> None:
    rng = np.random.default_rng(3)
    labels = (rng.random(6000) < 0.5).astype(int)
    lengths = lengths_of(labels, rng)
    found = length_matched_auroc(np.log(lengths), labels, lengths, bins=100, rng=rng, resamples=60)
    assert found.overall.value > 0.8 and found.of_length.value == pytest.approx(found.overall.value)
    for matched in (found.within, found.matched):
        assert matched.value == pytest.approx(0.5, abs=0.02) and matched.low < 0.5 + 0.02
    assert 0.4 < found.overlap < 0.6


def test_a_detector_of_text_keeps_its_area() -> None:
    rng = np.random.default_rng(4)
    labels = (rng.random(6000) < 0.5).astype(int)
    scores = rng.normal(labels * 1.0, 1.0)
    found = length_matched_auroc(scores, labels, lengths_of(labels, rng), rng=rng, resamples=60)
    for area in (found.overall, found.within, found.matched):
        assert area.low < 0.76025 < area.high  # Phi(1 / sqrt 2)


def test_matched_areas_are_those_of_a_loop_over_pairs() -> None:
    rng = np.random.default_rng(5)
    labels = np.arange(60) % 2
    scores, lengths = rng.integers(0, 6, 60).astype(float), rng.integers(0, 4, 60).astype(float) + labels
    found = length_matched_auroc(scores, labels, lengths, bins=4, rng=rng, resamples=10)
    bucket = np.searchsorted(found.edges, lengths, side="left")
    shares = {side: np.bincount(bucket[labels == side], minlength=10) / 30 for side in (0, 1)}
    common = np.minimum(shares[0], shares[1])
    assert found.overlap == pytest.approx(common.sum())
    weight = np.array([common[b] / shares[side][b] for side, b in zip(labels, bucket, strict=True)])
    within, pairs, matched, total = 0.0, 0, 0.0, 0.0
    for i in np.flatnonzero(labels == 1):
        for j in np.flatnonzero(labels == 0):
            won = float(scores[i] > scores[j]) + 0.5 * float(scores[i] == scores[j])
            matched, total = matched + won * weight[i] * weight[j], total + weight[i] * weight[j]
            if bucket[i] == bucket[j]:
                within, pairs = within + won, pairs + 1
    assert found.within.value == pytest.approx(within / pairs)
    assert found.matched.value == pytest.approx(matched / total)


def test_lengths_that_do_not_overlap_say_so() -> None:
    rng = np.random.default_rng(6)
    labels = np.arange(40) % 2
    found = length_matched_auroc(rng.random(40), labels, np.where(labels == 1, 500, 50), bins=5, rng=rng, resamples=20)
    assert found.overlap == 0.0 and not found.within.defined and not found.matched.defined
    empty = length_matched_auroc([np.nan], [1], [3.0], rng=rng)
    assert not empty.overall.defined and not empty.within.defined


def test_order_of_texts_does_not_matter() -> None:
    rng = np.random.default_rng(7)
    labels = (rng.random(300) < 0.5).astype(int)
    scores, lengths = rng.integers(0, 9, 300).astype(float), lengths_of(labels, rng)
    turned = rng.permutation(300)
    one, two = (
        length_matched_auroc(scores[o], labels[o], lengths[o], bins=5, rng=np.random.default_rng(0), resamples=30).within
        for o in (np.arange(300), turned)
    )
    assert one == two


# --- splits ----------------------------------------------------------------------------------------------------------------


def test_twins_stay_together_in_any_order() -> None:
    rng = np.random.default_rng(8)
    sources = np.array([f"post-{i // 4}" for i in range(8000)])
    held = split_by_source(sources, share=0.2, seed=1)
    assert all(len(set(held[i : i + 4])) == 1 for i in range(0, 8000, 4))
    assert held.mean() == pytest.approx(0.2, abs=0.03)
    turned = rng.permutation(8000)
    np.testing.assert_array_equal(split_by_source(sources[turned], share=0.2, seed=1), held[turned])
    np.testing.assert_array_equal(split_by_source(sources[:100], share=0.2, seed=1), held[:100])
    assert (split_by_source(sources, share=0.2, seed=2) != held).any()
    assert not split_by_source(sources, share=0.0, seed=1).any()


def test_near_duplicates_join_their_sources() -> None:
    """A chain of near-duplicates makes one unit of all the sources that it touches."""
    rng = np.random.default_rng(9)
    sources = np.repeat(np.arange(2000), 2)
    groups = np.arange(4000)
    groups[1::2] = np.r_[groups[2::2], 3999]  # the second text of source i is a near-duplicate of the first of source i + 1 ...
    groups[1::20] = np.arange(4000, 4200)  # ... but for every tenth source
    held = split_by_source(join_sources(sources, groups), share=0.3, seed=0)
    unit = np.cumsum(np.r_[0, (np.arange(1, 2000) % 10 == 1)])[sources]
    assert all(len(set(held[unit == u])) == 1 for u in range(unit.max() + 1))
    assert 0.01 < held.mean() < 0.99
    turned = rng.permutation(4000)
    again = split_by_source(join_sources(sources[turned], groups[turned]), share=0.3, seed=0)
    np.testing.assert_array_equal(again, held[turned])
    assert split_by_source(join_sources([], []), share=0.5, seed=0).size == 0
