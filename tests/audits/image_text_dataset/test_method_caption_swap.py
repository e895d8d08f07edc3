"""Planted experiment C: the shift is found where it is, flips follow the threshold, and order flips the sign."""

from __future__ import annotations

import numpy as np
import pytest

from assaymark.audits.image_text_dataset.method.caption_swap import caption_swap, pair_cosines, swap_by_axis
from assaymark.audits.image_text_dataset.planted import planted_caption_swap


def _cosines(planted):
    return pair_cosines(planted.images, planted.benign), pair_cosines(planted.images, planted.harmful)


def test_experiment_c() -> None:
    planted = planted_caption_swap(0)
    benign, harmful = _cosines(planted)
    answer = swap_by_axis(benign, harmful, planted.image, planted.group, rng=np.random.default_rng(0), tau=(0.30, 0.05, 0.60))
    first, second = answer["G1"], answer["G2"]
    assert first.delta.value == pytest.approx(0.03, abs=0.003) and first.delta.low > 0.02
    assert second.delta.low <= 0 <= second.delta.high
    assert first.prefers_harm.low > 0.8 > second.prefers_harm.high
    assert first.sign.p_value < 1e-10 < 0.001 < second.sign.p_value
    assert first.flips[0].harmful_only.low > second.flips[0].harmful_only.high
    assert first.flips[0].net.low > 0 and second.flips[0].net.low <= 0 <= second.flips[0].net.high
    for far in (1, 2):
        assert first.flips[far].harmful_only.value == 0 and first.flips[far].harmful_only.high > 0


def test_interval_covers_and_is_wider_than_pairs_suggest() -> None:
    covered = 0
    for seed in range(40):
        planted = planted_caption_swap(seed, images=60)
        benign, harmful = _cosines(planted)
        group = planted.group == "G1"
        swap = caption_swap(benign[group], harmful[group], planted.image[group], rng=np.random.default_rng(seed), resamples=300)
        covered += swap.delta.low <= 0.03 <= swap.delta.high
        naive = 1.96 * (harmful - benign)[group].std() / np.sqrt(group.sum())
        assert swap.delta.high - swap.delta.value > naive
    assert covered >= 34


def test_null_planting_finds_nothing() -> None:
    planted = planted_caption_swap(3, null=True)
    swap = caption_swap(*_cosines(planted), planted.image, rng=np.random.default_rng(0))
    assert swap.delta.low <= 0 <= swap.delta.high and swap.sign.p_value > 0.01


def test_exchanging_the_captions_flips_the_sign_exactly() -> None:
    planted = planted_caption_swap(1, images=40)
    benign, harmful = _cosines(planted)
    one = caption_swap(benign, harmful, planted.image, rng=np.random.default_rng(5))
    other = caption_swap(harmful, benign, planted.image, rng=np.random.default_rng(5))
    assert one.delta.value == -other.delta.value
    assert one.delta.low == pytest.approx(-other.delta.high, abs=1e-12)
    for a, b in zip(one.flips, other.flips, strict=True):
        assert a.harmful_only.value == b.benign_only.value and a.net.value == -b.net.value


def test_missing_scores_and_single_images() -> None:
    swap = caption_swap([0.2, np.nan, 0.3], [0.3, 0.3, 0.2], [0, 1, 2], rng=np.random.default_rng(0))
    assert swap.pairs == 2 and swap.prefers_harm.value == 0.5
    assert not caption_swap([0.2], [0.3], [0], rng=np.random.default_rng(0)).delta.defined
