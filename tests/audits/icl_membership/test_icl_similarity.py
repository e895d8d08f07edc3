"""Similarities against plain definitions, and the score of the Repeat attack."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assaymark.audits.icl_membership.method.similarity import (
    SIMILARITIES,
    lcs_ratio,
    repeat_scores,
    rouge_l,
    semantic,
    tfidf_cosine,
    token_f1,
)
from assaymark.audits.icl_membership.method.words import split_texts, words_of

TEXTS = st.lists(st.sampled_from(["a", "b", "c", "d", "A,", "?", "e'e"]), max_size=9).map(" ".join)
PAIRS = st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=12)


def longest(one: tuple[str, ...], two: tuple[str, ...]) -> int:
    """Longest common subsequence by its recursion."""

    @cache
    def of(i: int, j: int) -> int:
        if i == len(one) or j == len(two):
            return 0
        return 1 + of(i + 1, j + 1) if one[i] == two[j] else max(of(i + 1, j), of(i, j + 1))

    return of(0, 0)


@given(PAIRS)
def test_against_plain_definitions(pairs: list[tuple[str, str]]) -> None:
    f1, rouge, ratio = [], [], []
    for pair in pairs:
        one, two = (tuple(words_of(text)) for text in pair)
        total, common = len(one) + len(two), longest(one, two)
        shared = (Counter(one) & Counter(two)).total()
        f1.append(2 * shared / total if two else np.nan)
        precision, recall = common / max(len(one), 1), common / max(len(two), 1)
        rouge.append(2 * precision * recall / (precision + recall) if common else 0.0 if two else np.nan)
        ratio.append(recall if two else np.nan)
    sides = [list(side) for side in zip(*pairs, strict=True)]
    np.testing.assert_allclose(token_f1(*sides), f1)
    np.testing.assert_allclose(rouge_l(*sides), rouge)
    np.testing.assert_allclose(lcs_ratio(*sides), ratio)


def test_long_texts_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    texts = [" ".join(f"w{n}" for n in rng.integers(8, size=rng.integers(0, 60))) for _ in range(60)]
    whole = rouge_l(texts[:30], texts[30:])
    monkeypatch.setattr("assaymark.audits.icl_membership.method.similarity._CELLS", 200)
    np.testing.assert_array_equal(rouge_l(texts[:30], texts[30:]), whole)
    expected = longest(tuple(words_of(texts[0])), tuple(words_of(texts[30])))
    assert lcs_ratio(texts[:1], texts[30:31])[0] == pytest.approx(expected / len(words_of(texts[30])))


def test_tfidf_is_the_cosine_of_weighted_counts() -> None:
    corpus = ["a b c", "a b", "a d d"]
    idf = {word: np.log(4 / (1 + df)) + 1 for word, df in {"a": 3, "b": 2, "c": 1, "d": 1}.items()}

    def vector(text: str) -> np.ndarray:
        counts = Counter(words_of(text))
        return np.array([counts[word] * idf[word] for word in "abcd"])

    pairs = [("a c", "a b c"), ("d d x", "a d"), ("b", "a d"), ("", "a")]
    expected = [vector(c) @ vector(r) / max(np.linalg.norm(vector(c)) * np.linalg.norm(vector(r)), 1e-9) for c, r in pairs]
    np.testing.assert_allclose(tfidf_cosine(*map(list, zip(*pairs, strict=True)), corpus=corpus), expected)
    own = tfidf_cosine(["a c", "z", "a"], ["a c", "b", "?"])
    assert own[0] == pytest.approx(1.0) and own[1] == 0 and np.isnan(own[2])
    assert np.isnan(tfidf_cosine(["a"], [""])).all()


def test_semantic_is_the_cosine_of_rows() -> None:
    rng = np.random.default_rng(0)
    one, two = rng.normal(size=(2, 5, 8))
    two[1], two[2], two[3] = 3 * one[1], -one[2], 0
    expected = [float(a @ b / np.sqrt((a @ a) * (b @ b))) if b.any() else np.nan for a, b in zip(one, two, strict=True)]
    np.testing.assert_allclose(semantic(one, two), expected)
    assert semantic(one, two)[1] == pytest.approx(1) and semantic(one, two)[2] == pytest.approx(-1)


@pytest.mark.parametrize("name", SIMILARITIES)
def test_repetition_scores_one_with_or_without_the_given_words(name: str) -> None:
    texts = ["Who was the first man on the moon ?", "a b c d e f", "one two three four", "a b c", "x y z ?"]
    suffixes = split_texts(texts, 3).suffixes
    replies = ["Who was the first man on the moon?", "d e f", "nothing alike here at all", "anything", "anything"]
    found = repeat_scores(replies, suffixes, w=3, similarity=name)
    np.testing.assert_allclose(found.scores, [1, 1, 0, np.nan, np.nan])
    assert found.reasons.tolist() == ["", "", "", "too_short", "too_short"]


def test_silence_scores_nothing() -> None:
    found = repeat_scores(["", "Who was the"], ["first man", "first man"], w=[3, 3], similarity="token_f1")
    assert found.scores.tolist() == [0, 0] and found.reasons.tolist() == ["", ""]


def test_a_function_is_called_once_with_both_readings() -> None:
    calls: list[tuple[list[str], list[str]]] = []

    def measure(candidates: Sequence[str], references: Sequence[str]) -> np.ndarray:
        calls.append((list(candidates), list(references)))
        return np.array([0.2, 0.7, 0.9, np.nan])

    found = repeat_scores(["a b c", "d e"], ["x", "y"], w=[1, 2], similarity=measure)
    assert calls == [(["a b c", "d e", "b c", ""], ["x", "y", "x", "y"])]
    assert found.scores.tolist() == [0.9, 0.7]


def test_a_similarity_without_a_value_is_no_score() -> None:
    def broken(candidates: Sequence[str], references: Sequence[str]) -> np.ndarray:
        return np.full(len(candidates), np.nan)

    assert repeat_scores(["", "?"], ["x", "y"], w=1, similarity=broken).scores.tolist() == [0, 0]
    with pytest.raises(ValueError, match="1 scores are missing without a reason"):
        repeat_scores(["a", ""], ["x", "y"], w=1, similarity=broken)


def test_half_of_the_words() -> None:
    texts = ["a b c d e f", "a b"]
    split = split_texts(texts, "half")
    assert repeat_scores(["d e f", "b"], split.suffixes, w=split.lengths, similarity="rouge_l").scores.tolist() == [1, 1]


def test_sides_of_different_length_are_refused() -> None:
    with pytest.raises(ValueError, match="2 candidates for 1 references"):
        token_f1(["a", "b"], ["a"])
