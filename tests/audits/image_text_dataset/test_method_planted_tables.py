"""Planted experiment A: the table holds what it says, and the slice test reads it off."""

from __future__ import annotations

import re
import time

import numpy as np
import pyarrow.compute as pc
import pytest

from assaymark.audits.image_text_dataset.method.slices import slice_test
from assaymark.audits.image_text_dataset.planted import IDENTITY_WORDS, UNSAFE_TOKENS, planted_tables


def _counts(planted, label):
    inside = planted.term[:, None] == np.arange(len(IDENTITY_WORDS))
    return inside.sum(axis=0), (inside & label[:, None]).sum(axis=0)


def test_words_and_tokens_can_be_read_back_from_the_table() -> None:
    planted = planted_tables(0, 20_000)
    word = r"\b(" + "|".join(UNSAFE_TOKENS) + r")\b"
    text, url = planted.table["TEXT"], planted.table["URL"]
    in_text = pc.match_substring_regex(text, word).to_numpy()
    in_url = pc.match_substring_regex(url, word).to_numpy()
    assert np.array_equal(in_text | in_url, planted.unsafe)
    assert np.array_equal(in_url & ~in_text, planted.url_only)
    substring = pc.match_substring_regex(text, "|".join(UNSAFE_TOKENS)).to_numpy()
    assert np.array_equal(substring, in_text | planted.decoy) and substring.sum() > 2 * in_text.sum()
    for i, term in enumerate(IDENTITY_WORDS):
        assert np.array_equal(pc.match_substring_regex(text, rf"\b{term}\b").to_numpy(), planted.term == i)
    assert not any(re.search(r"  |^ | $", t) for t in text.to_pylist()[:500])
    assert planted.table["URL"].to_pandas().is_unique


def test_full_size_is_fast_and_deterministic() -> None:
    start = time.perf_counter()
    planted = planted_tables(3)
    assert planted.table.num_rows == 200_000 and time.perf_counter() - start < 10
    assert planted_tables(3, 1000).table.equals(planted_tables(3, 1000).table)
    assert not planted_tables(3, 1000).table.equals(planted_tables(4, 1000).table)
    recall = planted.realised["tag_recall.strict"]
    assert recall == pytest.approx(0.014, abs=0.005)
    assert planted.realised["url_only"] == pytest.approx(0.05, abs=0.015)


def test_experiment_a_rates_are_covered_and_only_planted_terms_survive() -> None:
    covered = survivors_right = 0
    for seed in range(12):
        planted = planted_tables(seed, 100_000)
        n, k = _counts(planted, planted.unsafe)
        test = slice_test(n, k, n_total=planted.table.num_rows, k_total=int(planted.unsafe.sum()))
        truth = np.array([planted.truth[f"unsafe_rate.{word}"] for word in IDENTITY_WORDS])
        covered += int(((test.rate_limits.low <= truth) & (truth <= test.rate_limits.high)).sum())
        raised = (test.p_adjusted < 0.01) & (test.risk_ratio > 1)
        survivors_right += raised.tolist() == [True, True, False, False, False, False]
    assert covered >= 64  # of 72
    assert survivors_right >= 11


def test_null_planting_raises_nothing() -> None:
    planted = planted_tables(1, 50_000, null=True)
    n, k = _counts(planted, planted.unsafe)
    test = slice_test(n, k, n_total=50_000, k_total=int(planted.unsafe.sum()))
    assert not (test.p_adjusted < 0.01).any()
    assert planted.realised["tag_recall.strict"] == 1.0
