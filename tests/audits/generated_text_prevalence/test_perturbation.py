"""Masking, and the scores of DetectGPT and NPR."""

from __future__ import annotations

import re

import numpy as np
import pytest

from assaymark.audits.generated_text_prevalence.method.perturbation import (
    MOST_SPANS,
    detectgpt,
    mask_spans,
    npr,
    span_count,
)


def masked_positions(text: str, masked: str, span: int) -> list[int]:
    """Word positions where spans begin, by aligning the two texts."""
    starts, at = [], 0
    for token in masked.split():
        if token.startswith("<extra_id_"):
            starts.append(at)
            at += span
        else:
            assert token == text.split()[at]
            at += 1
    assert at == len(text.split())
    return starts


def test_spans_keep_their_size_order_and_distance() -> None:
    rng = np.random.default_rng(0)
    text = " ".join(f"w{i}" for i in range(200))
    for _ in range(200):
        masked = mask_spans(text, rng=rng)
        assert masked is not None
        starts = masked_positions(text, masked, 2)
        # 0.15 * 200 / 2, which is the official 0.3 * 200 / (2 + 2 * 1)
        assert len(starts) == 15 == int(0.3 * 200 / 4)
        assert re.findall(r"<extra_id_(\d+)>", masked) == [str(i) for i in range(15)]
        assert np.diff(starts).min() >= 3


def test_arrangements_are_equally_likely() -> None:
    """5 words hold two spans of 2 in one way, 6 words in three ways (gap of at least 1)."""
    rng = np.random.default_rng(1)
    assert mask_spans("a b c d e", share=0.8, rng=rng) == "<extra_id_0> c <extra_id_1>"
    drawn = [mask_spans("a b c d e f", share=0.7, rng=rng) for _ in range(3000)]
    ways, counts = np.unique(drawn, return_counts=True)
    assert len(ways) == 3
    assert counts == pytest.approx(np.full(3, 1000), abs=130)


def test_first_and_last_word_can_be_masked_and_blanks_stay() -> None:
    rng = np.random.default_rng(2)
    text = "  one\n\ntwo\tthree   four five six "
    drawn = {mask_spans(text, rng=rng) for _ in range(200)}
    assert len(drawn) == 5
    assert "  <extra_id_0>\tthree   four five six " in drawn
    assert "  one\n\ntwo\tthree   four <extra_id_0> " in drawn


@pytest.mark.parametrize(("words", "expected"), [(0, 0), (1, 0), (2, 1), (13, 1), (27, 2), (40, 3), (10_000, MOST_SPANS)])
def test_number_of_spans(words: int, expected: int) -> None:
    assert span_count(words) == expected
    text = " ".join(["x"] * words)
    masked = mask_spans(text, rng=np.random.default_rng(3))
    assert (masked is None) == (expected == 0)
    assert masked is None or masked.count("<extra_id_") == expected


def test_impossible_shares_are_cut_not_looped_over() -> None:
    masked = mask_spans("a b c d e f g h", share=1.0, span=2, buffer=1, rng=np.random.default_rng(4))
    assert masked is not None and masked.count("<extra_id_") == 3
    with pytest.raises(ValueError, match="share"):
        span_count(10, share=0.0)


def test_sentinels_in_a_text_are_not_filled() -> None:
    masked = mask_spans("say <extra_id_0> and no more", rng=np.random.default_rng(5))
    assert masked is not None and masked.count("<extra_id_") == 1


def test_scores_are_the_papers() -> None:
    rng = np.random.default_rng(6)
    one, many = rng.normal(-3, 1, 20), rng.normal(-3.5, 1, (20, 10))
    expected = [one[i] - np.mean(many[i]) for i in range(20)]
    np.testing.assert_allclose(detectgpt(one, many, normalised=False), expected)
    np.testing.assert_allclose(detectgpt(one, many), [d / np.std(row) for d, row in zip(expected, many, strict=True)])
    np.testing.assert_allclose(npr(-one, -many), [np.mean(-many[i]) / -one[i] for i in range(20)])


def test_missing_perturbations_are_left_out_down_to_two() -> None:
    one = np.array([-2.0, -2.0, -2.0, np.nan, -2.0])
    many = np.array([[-3, -5, np.nan], [-3, np.nan, np.nan], [np.nan] * 3, [-3, -4, -5], [-3, -3, -3]])
    np.testing.assert_allclose(detectgpt(one, many, normalised=False), [2.0, np.nan, np.nan, np.nan, 1.0])
    np.testing.assert_allclose(detectgpt(one, many), [2.0, np.nan, np.nan, np.nan, np.nan])
    np.testing.assert_allclose(npr([1.0, 0.0], [[2.0, 4.0], [1.0, 1.0]]), [3.0, np.nan])
    with pytest.raises(ValueError, match="expected"):
        detectgpt(one, many[:2])


def test_a_text_at_a_peak_scores_higher() -> None:
    """Likelihood -x^2 / 2: perturbing a text at the peak costs likelihood, elsewhere it costs nothing on average."""
    rng = np.random.default_rng(7)
    x = np.concatenate([np.zeros(200), np.full(200, 3.0)])
    perturbed = -((x[:, None] + rng.normal(0, 0.5, (400, 100))) ** 2) / 2
    z = detectgpt(-(x**2) / 2, perturbed)
    assert z[:200].min() > z[200:].max()
