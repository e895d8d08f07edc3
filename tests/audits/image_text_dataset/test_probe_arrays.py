"""The array forms inside the text probes agree with the plain definitions they stand for."""

from __future__ import annotations

import re

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from hypothesis import given
from hypothesis import strategies as st

from assaymark.audits.image_text_dataset.probes.anatomy import SCRIPTS, AnatomyProbe
from assaymark.audits.image_text_dataset.probes.sample import merge_bottom
from assaymark.audits.image_text_dataset.probes.vocabulary import Vocabulary
from assaymark.data.lexicon import Lexicon, Matcher, Normalisation, Term
from assaymark.data.probe import Batch

TEXTS = [
    "",
    " ",
    "one",
    "two  words",
    "\ttabs and\r\nlines ",
    "a\u00a0b",
    "\u3000wide blank\u3000",
    "no-break\x0bvertical",
    "12 %",
]
FOREIGN = [
    "Ünïcode here",
    "日本語のテキスト",
    "한국어 текст",
    "ελληνικά",
    "שלום עולם",
    "हिन्दी",
    "ไทย",
    "مرحبا",
    "emoji 🙂 only 🙂",
    "½ ×",
]
ANY = st.text(alphabet=st.sampled_from(" \t\n\u00a0aZ0-é日カ한жعहไαא🙂"), max_size=12)


def counts(texts: list[str | None]) -> dict[str, object]:
    return dict(AnatomyProbe().aggregate(Batch(pa.table({"text": pa.array(texts, pa.large_string())}))))


@given(st.lists(ANY, max_size=12))
def test_words_and_scripts_are_those_of_the_expressions(texts: list[str]) -> None:
    found = counts([*texts, *TEXTS, *FOREIGN, None])
    every = [*texts, *TEXTS, *FOREIGN, ""]
    trimmed = pc.utf8_trim_whitespace(pa.array(every)).to_pylist()
    words = [len(re.findall(r"[ \t\n\f\r]+", text)) + 1 if text else 0 for text in trimmed]
    assert found["words"].tolist() == np.bincount(words, minlength=2001).tolist()  # type: ignore[attr-defined]
    scripts = {name: pc.sum(pc.match_substring_regex(pa.array(every), pattern)).as_py() for name, pattern in SCRIPTS.items()}
    silent = sum(text.isascii() and not re.search("[A-Za-z]", text) for text, kept in zip(every, trimmed, strict=True) if kept)
    assert found["scripts"] == {k: v for k, v in {**scripts, "no letters": silent}.items() if v}


def test_domains_do_not_depend_on_the_order_of_rows() -> None:
    urls = [f"http://site{k % 7}.com/{k}" for k in range(60)]
    probe = AnatomyProbe()
    there, back = (
        probe.finalize(probe.aggregate(Batch(pa.table({"url": pa.array(rows, pa.large_string())}))))
        for rows in (urls, urls[::-1])
    )
    assert list(there.domains.items()) == list(back.domains.items())


def test_bottom_sample_equals_the_definition() -> None:
    rng = np.random.default_rng(0)
    keys = rng.integers(0, 400, 5_000).astype(np.uint64)
    state = {"keys": keys, "shard": rng.integers(0, 3, 5_000), "row": rng.permutation(5_000)}
    triples = sorted(zip(keys.tolist(), state["shard"].tolist(), state["row"].tolist(), strict=True))
    first = {key: (key, shard, row) for key, shard, row in reversed(triples)}
    for size in (0, 1, 30, 399, 400, 5_000):
        kept = merge_bottom([state], size)
        found = list(zip(kept["keys"].tolist(), kept["shard"].tolist(), kept["row"].tolist(), strict=True))
        assert found == [first[key] for key in sorted(first)][:size]


def test_one_automaton_answers_for_both_modes() -> None:
    texts = ["Essex sex", "sexy", "a SEX b", "adulthood", "adult", "men and women", None, "ｓｅｘ"]
    batch = Batch(pa.table({"text": pa.array(texts, pa.large_string())}))
    lists = (Lexicon.of("bad", [Term("sex", category="sexual", exceptions=("Essex",)), Term("adult", mode="substring")]),)
    slices = (Term("men"), Term("women", mode="substring"))
    words = Vocabulary(lexicons=lists, slices=slices, term_mode="word")
    for purpose, mode, terms in (
        ("lexicons.word", "word", lists),
        ("lexicons.substring", "substring", lists),
        ("slices", "word", (Lexicon.of("slices", slices),)),
    ):
        alone = Matcher(terms, mode=mode, normalise=Normalisation()).find(batch.column("text"))  # type: ignore[arg-type]
        shared = words.hits(batch, purpose)
        assert (shared.rows.tolist(), shared.terms.tolist()) == (alone.rows.tolist(), alone.terms.tolist()), purpose
