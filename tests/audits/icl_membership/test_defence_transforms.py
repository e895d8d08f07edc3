"""The adaptive attacker gets around a filter on words, and not around a label alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assaymark.audits.icl_membership.method.defences.output import BLOCKED, label_only, overlap_guard
from assaymark.audits.icl_membership.method.defences.transforms import TRANSFORMS, decode, transformed_query
from assaymark.audits.icl_membership.method.words import words_of

HELD = [
    "Who wrote the long book about the white whales of Nantucket",
    "Where does the river Ob meet the frozen sea in winter",
    "What is the colour of a lemon that was left in the sun",
]
OTHERS = [
    "Who wrote the first letter to the old king of Norway",
    "Where does the last train to the northern harbour stop",
    "What is the capital city on the northern shore of Lake Geneva",
]
LABELS = ("Person", "Location", "Description")


def copying_service(query: str) -> str:
    """Continues the demonstration with the opening that is asked for, in the form that is asked for; else names a label."""
    opening = query.split("\n")[0].removeprefix("Complete the following sentence: ")
    found = [text[len(opening) :].strip() for text in HELD if text.startswith(opening)]
    reply = found[0] if found else "Description"
    for transform in TRANSFORMS.values():
        if transform.request in query:
            return transform.encode(reply)
    return reply


def overlap(reply: str | None, text: str) -> float:
    """Share of the words of the suffix that stand in the reply."""
    suffix = set(words_of(text)[3:])
    return len(suffix & set(words_of(reply or ""))) / len(suffix)


def attack(text: str, *, transform: str | None, output: str) -> float:
    query = "Complete the following sentence: " + " ".join(text.split()[:3])
    reply = copying_service(query if transform is None else transformed_query(query, transform=transform))
    if output == "overlap_guard":
        reply = overlap_guard([reply], HELD).replies[0]
    elif output == "label_only":
        reply = label_only([reply], parse=lambda said: said if said in LABELS else None).replies[0]
    return overlap(reply if transform is None else decode(reply, transform=transform), text)


def advantage(transform: str | None, output: str) -> float:
    """TPR - FPR at half of the words; the openings of members and others are the same three words or differ."""
    members = [attack(text, transform=transform, output=output) >= 0.5 for text in HELD]
    others = [attack(text, transform=transform, output=output) >= 0.5 for text in OTHERS]
    return float(np.mean(members) - np.mean(others))


def test_plain_repetition_is_blocked() -> None:
    assert advantage(None, "none") == 1.0
    assert advantage(None, "overlap_guard") == 0.0
    query = "Complete the following sentence: Who wrote the"
    assert overlap_guard([copying_service(query)], HELD).replies == (BLOCKED,)


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_transformed_repetition_passes_the_guard_and_not_the_label(transform: str) -> None:
    assert advantage(transform, "overlap_guard") == 1.0
    assert advantage(transform, "label_only") == 0.0


@pytest.mark.parametrize("transform", TRANSFORMS)
@given(words=st.lists(st.text("abcdefghijKLMNOP'?", min_size=1, max_size=8), min_size=2, max_size=8))
def test_decoding_undoes_encoding(transform: str, words: list[str]) -> None:
    text = " ".join(words)
    back = decode(TRANSFORMS[transform].encode(text), transform=transform)
    if transform != "separated" or any(len(word) > 1 for word in words):
        assert back == text


def test_known_encodings() -> None:
    assert {name: form.encode("Red fox") for name, form in TRANSFORMS.items()} == {
        "backwards": "xof deR",
        "base64": "UmVkIGZveA==",
        "rot13": "Erq sbk",
        "separated": "R-e-d f-o-x",
    }


def test_what_is_not_of_the_form() -> None:
    assert decode("I cannot answer that.", transform="base64") is None
    assert decode("", transform="base64") is None
    assert decode("I cannot do that.", transform="separated") is None
    assert decode(BLOCKED, transform="backwards") == BLOCKED[::-1]


def test_base64_among_other_words_and_cut_short() -> None:
    whole = TRANSFORMS["base64"].encode("the white whales of Nantucket")
    assert decode(f"Sure! Here it is: {whole}", transform="base64") == "the white whales of Nantucket"
    for cut in range(1, 8):
        back = decode(whole[:-cut], transform="base64")
        assert back is not None
        assert "the white whales of Nantucket".startswith(back)


def test_the_request_is_below_the_query() -> None:
    for name, transform in TRANSFORMS.items():
        assert transformed_query("Complete: Who", transform=name) == f"Complete: Who\n{transform.request}"
