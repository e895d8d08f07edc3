"""Normalisation against Python's own Unicode functions, and what counts as a word character."""

from __future__ import annotations

import re
import unicodedata

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assaymark.data.lexicon import Normalisation
from assaymark.data.lexicon_text import is_word_after, is_word_before, string_buffer

OFF = Normalisation(case_fold=False, nfkc=False, zero_width=False)


@pytest.mark.parametrize(
    ("switches", "text", "expected"),
    [
        (Normalisation(), "STRASSE Straße", "strasse strasse"),
        (Normalisation(), "ΟΔΟΣ οδος", "οδοσ οδοσ"),
        (Normalisation(), "İ", "i\u0307"),
        (Normalisation(), "ｆｕｌｌ ﬁ \U0001d404", "full fi e"),
        (Normalisation(), "e\u0301", "\u00e9"),
        (Normalisation(), "e\u200b\u0301 a\u00adb\ufeff\u2066", "\u00e9 ab"),
        (Normalisation(), "l33t $h1t", "l33t $h1t"),
        (Normalisation(leetspeak=True), "L33T 4@5$7 1!", "leet aasst i!"),
        (OFF, "Straße ﬁ\u200b L33T", "Straße ﬁ\u200b L33T"),
        (Normalisation(nfkc=False), "ＡÉ", "ａé"),
        (Normalisation(case_fold=False), "ＡÉ", "AÉ"),
    ],
)
def test_switches(switches: Normalisation, text: str, expected: str) -> None:
    assert switches.one(text) == expected
    assert switches.apply(pa.array(["X", text, None, "y"])).to_pylist()[1:3] == [expected, ""]


@given(
    st.lists(st.text(st.characters(max_codepoint=0x2FFF, categories=["L", "M", "N", "P", "S", "Z"]), max_size=8), max_size=6)
)
@settings(max_examples=200, deadline=None)
def test_folding_agrees_with_python(texts: list[str]) -> None:
    known = [text for text in texts if all(unicodedata.name(character, "") for character in text)]
    folded = Normalisation(zero_width=False).apply(pa.array(known, pa.string())).to_pylist()
    nfkc = [unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold()) for text in known]
    assert folded == nfkc


@given(st.text(min_size=1, max_size=12))
@settings(max_examples=200, deadline=None)
def test_word_characters_are_those_of_regular_expressions(text: str) -> None:
    data = np.frombuffer(text.encode(), np.uint8)
    starts = np.cumsum([0] + [len(character.encode()) for character in text])
    expected = [bool(re.match(r"\w", character)) for character in text]
    assert is_word_after(data, starts[:-1]).tolist() == expected
    assert is_word_before(data, starts[1:]).tolist() == expected


def test_buffer_of_a_slice_starts_at_zero() -> None:
    buffer = string_buffer(pa.array(["ab", "c", "", "def"], pa.large_string()).slice(1, 2))
    assert bytes(buffer.data) == b"c" and buffer.edges.tolist() == [0, 1, 1]


def test_strings_cut_inside_another_engine_are_folded_like_any_other() -> None:
    whole = pa.array(["First", "SECOND", "Third"], pa.large_string())
    _, offsets, data = whole.buffers()
    cut = pa.LargeStringArray.from_buffers(2, offsets.slice(8), data)  # offset 0, but the first string starts at byte 5
    assert Normalisation().apply(cut).to_pylist() == ["second", "third"]
