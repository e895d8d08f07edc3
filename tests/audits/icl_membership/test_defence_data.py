"""Paraphrase, redaction, subset, public replacement: what changes, what may not survive, what is undefined."""

from __future__ import annotations

import re
from collections import Counter
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assaymark.audits.icl_membership.method.defences.paraphrase import longest_common_run, paraphrase
from assaymark.audits.icl_membership.method.defences.records import NO_GUARANTEE
from assaymark.audits.icl_membership.method.defences.redaction import PLACEHOLDERS, redact, redact_text
from assaymark.audits.icl_membership.method.defences.replacement import PublicIndex, labels_only, nearest_public
from assaymark.audits.icl_membership.method.defences.subset import query_generator, subset
from assaymark.audits.icl_membership.method.words import words_of

DEMONSTRATIONS = [
    ("Who wrote the long book about whales ?", "Person"),
    ("Where is the river Ob ?", "Location"),
    ("Who was the first to fly ?", "Person"),
]
small_texts = st.lists(st.sampled_from(["a", "b", "c"]), max_size=8).map(" ".join)

# --- paraphrase ------------------------------------------------------------------------------------------------------------


@given(small_texts, small_texts)
def test_longest_common_run_is_the_naive_one(first: str, second: str) -> None:
    a, b = first.split(), second.split()
    runs = {tuple(a[i:j]) for i in range(len(a)) for j in range(i + 1, len(a) + 1)}
    other = {tuple(b[i:j]) for i in range(len(b)) for j in range(i + 1, len(b) + 1)}
    assert longest_common_run(first, second) == max((len(run) for run in runs & other), default=0)


def test_paraphrases_with_their_longest_run() -> None:
    written = ["Name the author of the long book about whales", "Locate the Ob", "Say who first flew"]
    done = paraphrase(DEMONSTRATIONS, write=lambda texts: written[: len(texts)])
    assert done.demonstrations == tuple(zip(written, ["Person", "Location", "Person"], strict=True))
    assert [(c.source, c.action, c.measure) for c in done.changes] == [
        (0, "paraphrased", 5.0),
        (1, "paraphrased", 1.0),
        (2, "paraphrased", 1.0),
    ]
    assert done.guarantee is NO_GUARANTEE


def test_copies_failures_and_long_runs_are_left_out() -> None:
    written = ["Sure: who wrote the long book about whales", None, "  "]
    done = paraphrase(DEMONSTRATIONS, write=lambda texts: written)
    assert [change.reason for change in done.changes] == [
        "copy of the source",
        "the model gave no paraphrase",
        "empty paraphrase",
    ]
    assert done.demonstrations == ()
    assert done.undefined is not None
    assert "copy of the source" in done.undefined
    near = ["The long book about whales, who?", "Locate the Ob", "Say who first flew"]
    done = paraphrase(DEMONSTRATIONS, write=lambda texts: near, most_common_run=3)
    assert [label for _, label in done.demonstrations] == ["Location", "Person"]
    assert done.changes[0].reason == "more than 3 common words in a row"
    assert done.undefined is None


def test_without_a_model_a_paraphrase_is_undefined() -> None:
    done = paraphrase(DEMONSTRATIONS, write=None)
    assert done.demonstrations == ()
    assert done.undefined is not None
    with pytest.raises(ValueError, match="2 paraphrases of 3"):
        paraphrase(DEMONSTRATIONS, write=lambda texts: ["a", "b"])


# --- redaction -------------------------------------------------------------------------------------------------------------

PUBLIC = dict.fromkeys(
    [
        "who",
        "wrote",
        "the",
        "what",
        "is",
        "a",
        "in",
        "of",
        "and",
        "to",
        "where",
        "does",
        "live",
        "call",
        "at",
        "see",
        "it",
        "i'm",
        "i",
        "well",
        "known",
        "people",
    ],
    50,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Where does Ada Lovelace live?", "Where does [NAME] live?"),
        ("Who wrote the Necronomicon?", "Who wrote the [NAME]?"),
        ("What is a rhombicuboctahedron?", "What is a [WORD]?"),
        ("a rare thing", "a [WORD]"),
        ("Necronomicon is a thing", "[NAME] is a [WORD]"),
        ("Call +49-30-1234 at 10.30 in 1984", "[NAME] [NUMBER] at [NUMBER] in [NUMBER]"),
        ("call 555", "call [NUMBER]"),
        ("see https://example.org/a?b=1, and www.secret.net.", "see [URL], and [URL]."),
        ("is it john.doe+x@mail.example.org?", "is it [EMAIL]?"),
        ("I call. I'm well-known. Well known people", "I call. I'm well-known. Well known people"),
        ("in Area-51 and b2b", "in [NAME][NUMBER] and [NUMBER]"),
        ("Jean-Luc's live", "[NAME] live"),
        ("call the well-zorky", "call the [WORD]"),
        ("WHO WROTE THE ZORK", "WHO WROTE THE [WORD]"),
        ("is it Will?", "is it [NAME]?"),
        ("is it $3,500.00 and 20%", "is it [NUMBER] and [NUMBER]"),
        ("", ""),
    ],
)
def test_redaction_by_example(text: str, expected: str) -> None:
    public = PUBLIC | ({} if not text.startswith("Call") else {"call": 0})
    assert redact_text(text, document_frequency=public, rare_below=5).text == expected


pieces = st.sampled_from(
    ["who", "the", "The", "Zork", "zorky", "well-known", "well-Zork", "1984", "x9", "a@b.org", "http://a.b/c", ".", "?", "I",
     "I'm", "Ada's", "'", '"', ":", "(", "[NAME]", "[", "]", "@", "www.a.com", "-", "3.", "F.B.I.", "_", "\n", "MIXED",
     "é", "ß"]
)  # fmt: skip
messy = st.one_of(st.lists(pieces, max_size=10).map(" ".join), st.lists(pieces, max_size=8).map("".join), st.text(max_size=30))


@settings(max_examples=300)
@given(messy)
def test_redacting_twice_is_redacting_once(text: str) -> None:
    once = redact_text(text, document_frequency=PUBLIC, rare_below=5).text
    assert redact_text(once, document_frequency=PUBLIC, rare_below=5).text == once


@settings(max_examples=300)
@given(messy)
def test_no_rare_word_and_no_digit_survives(text: str) -> None:
    left = redact_text(text, document_frequency=PUBLIC, rare_below=5).text
    for placeholder in PLACEHOLDERS:
        left = left.replace(placeholder, " ")
    clitics = {"s", "t", "re", "ve", "ll", "d", "m"}
    for word in re.findall(r"[^\W\d_]+", left.casefold()):
        assert PUBLIC.get(word, 0) >= 5 or word in clitics
    assert not re.search(r"\d", left)


def test_redaction_keeps_labels_and_counts() -> None:
    done = redact([("Who wrote the Zork?", "Person"), ("who is it", "Person")], document_frequency=PUBLIC, rare_below=5)
    assert done.demonstrations == (("Who wrote the [NAME]?", "Person"), ("who is it", "Person"))
    assert [(c.action, c.measure) for c in done.changes] == [("redacted", 1.0), ("kept", 0.0)]
    assert not done.guarantee.formal


# --- subset ----------------------------------------------------------------------------------------------------------------


def test_subset_keeps_order_and_size_and_draws_all_alike() -> None:
    pool = [(str(i), "L") for i in range(6)]
    rng = np.random.default_rng(0)
    counts: Counter[str] = Counter()
    for _ in range(3_000):
        done = subset(pool, keep=2, rng=rng)
        texts = [text for text, _ in done.demonstrations]
        assert texts == sorted(texts) and len(texts) == 2
        assert [c.source for c in done.changes if c.action == "kept"] == [int(text) for text in texts]
        counts.update(texts)
    assert max(abs(count - 1_000) for count in counts.values()) < 5 * np.sqrt(3_000 * (1 / 3) * (2 / 3))


def test_the_same_words_see_the_same_demonstrations_and_fresh_draws_see_all() -> None:
    pool = [(str(i), "L") for i in range(8)]
    seen = [
        subset(pool, keep=4, rng=query_generator(q, key=b"k")).demonstrations
        for q in ("What is it?", " what IS it", "What is it")
    ]
    assert len(set(seen)) == 1
    others = {subset(pool, keep=4, rng=query_generator(f"question {i}", key=b"k")).demonstrations for i in range(40)}
    assert len(others) > 20
    assert len({subset(pool, keep=4, rng=query_generator("q", key=bytes([k]))).demonstrations for k in range(40)}) > 20
    rng = np.random.default_rng(1)
    union = {d for _ in range(30) for d in subset(pool, keep=4, rng=rng).demonstrations}
    assert len(union) == 8  # asking 30 times with fresh draws shows every demonstration


@pytest.mark.parametrize("keep", [0, 4])
def test_subset_sizes_out_of_range(keep: int) -> None:
    with pytest.raises(ValueError, match="between 1 and 3"):
        subset(DEMONSTRATIONS, keep=keep, rng=np.random.default_rng(0))


# --- replacement -----------------------------------------------------------------------------------------------------------


def test_tfidf_by_hand() -> None:
    """Smoothed idf ln((1 + n) / (1 + df)) + 1, rows of unit length."""
    fitted = ["a b", "a c"]
    common, single = 1.0, np.log(3 / 2) + 1
    expected = common**2 / (common**2 + single**2)
    index = PublicIndex.of([(text, "L") for text in fitted])
    assert index.cosine(["A, C!", "z"], np.array([0, 1])) == pytest.approx(np.array([[expected, 1.0], [0, 0]]))
    assert index.cosine(["a"], np.array([], dtype=np.int64)).shape == (1, 0)
    assert PublicIndex.of([("...", "L")]).cosine(["a"], np.array([0])).tolist() == [[0.0]]


words = st.lists(st.sampled_from(["who", "wrote", "it", "ran", "far"]), min_size=1, max_size=4).map(" ".join)


@settings(max_examples=40, deadline=None)
@given(st.lists(words, min_size=1, max_size=3, unique=True), st.lists(words, min_size=3, max_size=5, unique=True))
def test_assignment_is_the_best_of_all(private: list[str], public: list[str]) -> None:
    own = {tuple(words_of(text)) for text in private}
    usable = [text for text in public if tuple(words_of(text)) not in own]
    done = nearest_public([(text, "L") for text in private], public=[(text, "L") for text in public])
    index = PublicIndex.of([(text, "L") for text in public])
    cosine = index.cosine(private, np.array([public.index(text) for text in usable], dtype=np.int64))
    assert nearest_public([(text, "L") for text in private], public=index) == done
    total = sum(change.measure or 0.0 for change in done.changes)
    size = min(len(private), len(usable))
    rows = range(len(private))
    best = max(
        (sum(cosine[i, j] for i, j in zip(chosen, columns, strict=True))
         for chosen in permutations(rows, size) for columns in permutations(range(len(usable)), size)),
        default=0.0,
    )  # fmt: skip
    assert total == pytest.approx(best)
    texts = [text for text, _ in done.demonstrations]
    assert len(set(texts)) == len(texts) == size
    assert not set(texts) & set(private)


def test_labels_without_public_samples_are_left_out() -> None:
    done = nearest_public(DEMONSTRATIONS, public=[("Where is the sea", "Location"), ("Where is the river Ob!", "Location")])
    assert done.demonstrations == (("Where is the sea", "Location"),)
    assert [c.action for c in done.changes] == ["left out", "replaced", "left out"]
    assert done.changes[0].reason == "no public sample of its label is left"
    assert nearest_public(DEMONSTRATIONS, public=[("x", "Number")]).undefined is not None


def test_labels_only() -> None:
    done = labels_only(DEMONSTRATIONS)
    assert done.demonstrations == (("", "Person"), ("", "Location"), ("", "Person"))
    assert [c.measure for c in done.changes] == [7.0, 5.0, 6.0]
