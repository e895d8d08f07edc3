"""Word counts by side, their merging within bounds, and the rate of dictionary words."""

from __future__ import annotations

import json
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from assaymark.audits.generated_text_prevalence.measures.dictionary import dictionary_hits, read_dictionary
from assaymark.audits.generated_text_prevalence.method.words import WordCounts, count_words, merge_counts, words_of
from assaymark.errors import InputError, SchemaError, UnknownName


def posts(rng: np.random.Generator, n: int = 300, vocabulary: int = 80) -> tuple[list[str], np.ndarray]:
    chances = 1 / np.arange(1, vocabulary + 1)
    chances /= chances.sum()
    texts = [" ".join(f"W{w}," for w in rng.choice(vocabulary, rng.integers(0, 30), p=chances)) for _ in range(n)]
    return texts, rng.random(n)


def same(a: WordCounts, b: WordCounts) -> bool:
    return a.words == b.words and all(
        np.array_equal(getattr(a, name), getattr(b, name)) for name in ("counts", "totals", "dropped")
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", []),
        ("😀 … !!!", []),
        ("Don’t DELVE; it's 'rich'.", ["don't", "delve", "it's", "rich"]),
        ("naïve état-of-the-art 42", ["naïve", "état", "of", "the", "art", "42"]),
        ("السلام عليكم", ["السلام", "عليكم"]),
        ("x" * 90, ["x" * 50]),
    ],
)
def test_words(text: str, words: list[str]) -> None:
    assert words_of(text) == words


def test_counts_are_those_of_a_loop() -> None:
    rng = np.random.default_rng(0)
    texts, p = posts(rng)
    p[:5] = np.nan
    found = count_words(texts, p)
    expected: dict[str, Counter[str]] = {name: Counter() for name in ("machine", "human", "machine_posts", "human_posts")}
    soft: Counter[str] = Counter()
    for text, chance in zip(texts, p, strict=True):
        if np.isnan(chance):
            continue
        side = "machine" if chance >= 0.5 else "human"
        words = [w.strip(",").lower() for w in text.split()]
        expected[side].update(words)
        expected[f"{side}_posts"].update(set(words))
        for word in words:
            soft[word] += chance
    assert list(found.words) == sorted(expected["machine"] | expected["human"])
    for name, counter in expected.items():
        assert found.column(name).tolist() == [counter[word] for word in found.words]
    np.testing.assert_allclose(found.column("machine_soft"), [soft[word] for word in found.words], atol=0.02)
    np.testing.assert_array_equal(
        found.column("machine_soft") + found.column("human_soft"), found.column("machine") + found.column("human")
    )
    assert found.total("machine") == expected["machine"].total() and not found.dropped.any()
    held = [bool(text) and chance >= 0.5 for text, chance in zip(texts, p, strict=True)]
    assert found.total("machine_posts") == sum(held)


def test_any_division_and_order_gives_the_same_counts() -> None:
    rng = np.random.default_rng(1)
    texts, p = posts(rng, 500)
    whole = count_words(texts, p)
    order = rng.permutation(500)
    cuts = [0, *sorted(rng.choice(500, 6, replace=False)), 500]
    parts = [count_words([texts[i] for i in order[a:b]], p[order[a:b]]) for a, b in pairwise(cuts)]
    assert same(merge_counts(parts), whole) and same(merge_counts(parts[::-1]), whole)
    assert same(merge_counts([merge_counts(parts[:3]), merge_counts(parts[3:])]), whole)
    assert same(merge_counts([]), count_words([], [])) and same(merge_counts([whole, count_words([], [])]), whole)


def test_bounded_counts_keep_frequent_words_and_say_what_they_lost() -> None:
    rng = np.random.default_rng(2)
    texts, p = posts(rng, 3000, vocabulary=2000)
    exact = count_words(texts, p)
    parts = [count_words(texts[i : i + 300], p[i : i + 300], most=400) for i in range(0, 3000, 300)]
    bounded = merge_counts(parts, most=400)
    assert len(bounded.words) == 400 < len(exact.words)
    np.testing.assert_array_equal(bounded.totals, exact.totals)
    place = {word: i for i, word in enumerate(exact.words)}
    short = exact.counts[[place[word] for word in bounded.words]] - bounded.counts
    assert short.min() >= 0 and (short <= bounded.dropped).all() and bounded.dropped.max() > 0
    missing = [i for word, i in place.items() if word not in set(bounded.words)]
    assert (exact.counts[missing] <= bounded.dropped).all()
    common = np.argsort(-exact.column("human_posts"))[:50]
    assert {exact.words[i] for i in common} <= set(bounded.words)
    assert same(merge_counts(parts[::-1], most=400), merge_counts(parts, most=400))


def test_state_is_arrays_and_comes_back() -> None:
    for texts in (["one two’s", "zwei état"], [], ["!"]):
        found = count_words(texts, np.ones(len(texts)))
        state = found.state()
        assert all(isinstance(value, np.ndarray) and value.dtype != object for value in state.values())
        assert same(WordCounts.from_state(state), found)


# --- dictionary ------------------------------------------------------------------------------------------------------------


def test_rate_of_dictionary_words(tmp_path: Path) -> None:
    path = tmp_path / "fond.csv"
    path.write_text(",Word,type,part_of_speech,comment\n0,Delve,style,verb,\n1,covid,content,noun,\n2,delve,style,noun,\n")
    fond = read_dictionary(path)
    assert [tuple(entry) for entry in fond.words] == [("delve", "style", "verb"), ("covid", "content", "noun")]
    assert fond.name == "fond" and [entry.word for entry in fond.of_kind("style").words] == ["delve"]
    found = dictionary_hits(["We delve and DELVE into covid.", "Nothing here", "", None], fond.of_kind("style"))
    assert found.hits.tolist() == [2, 0, 0, 0] and found.words.tolist() == [6, 2, 0, 0]
    np.testing.assert_array_equal(found.per_thousand, [2000 / 6, 0.0, np.nan, np.nan])
    with pytest.raises(UnknownName, match="style"):
        fond.of_kind("styl")


def test_plain_list(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text("\ufeff# fond of\nDelve\n\nit’s\n", encoding="utf-8")
    assert [entry.word for entry in read_dictionary(path).words] == ["delve", "it's"]


@pytest.mark.parametrize(
    ("name", "content", "error", "message"),
    [
        ("a.csv", b"words,type\nx,y\n", SchemaError, "no column 'word'.*did you mean"),
        ("a.csv", b'word\n"open\n', SchemaError, "not a well-formed CSV"),
        ("a.csv", b"", SchemaError, "its columns: none"),
        ("a.csv", b"word\n", InputError, "holds no words"),
        ("a.txt", b"# nothing\n", InputError, "holds no words"),
        ("a.txt", b"fine\nin order to\n", InputError, "line 2: 'in order to' is not one word"),
        ("a.txt", b"caf\xe9\n", InputError, "not UTF-8"),
    ],
)
def test_bad_dictionaries_are_refused(tmp_path: Path, name: str, content: bytes, error: type[Exception], message: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(error, match=message):
        read_dictionary(path)
    with pytest.raises(InputError, match="no dictionary at"):
        read_dictionary(tmp_path / "absent.txt")


@pytest.mark.shared_data
def test_published_list_and_real_texts(shared_data: Path) -> None:
    listed = read_dictionary(shared_data / "excess_words" / "excess_words.csv")
    assert len(listed.words) == 900 and {entry.kind for entry in listed.words} >= {"style", "content"}
    style = listed.of_kind("style")
    pairs = json.loads((shared_data / "llm-text-pairs" / "pubmed_gpt-4.raw_data.json").read_text(encoding="utf-8"))
    rates = [
        1000 * hits.sum() / words.sum() for hits, words in (dictionary_hits(pairs[s], style) for s in ("original", "sampled"))
    ]
    assert rates[1] > rates[0] > 0
