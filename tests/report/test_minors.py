"""Words and ages that may stand for a minor, and words that only look like them."""

from __future__ import annotations

import pytest

from assaymark.report.minors import names_a_minor


@pytest.mark.parametrize(
    "text",
    [
        *("a Girl.", "little_girl_2.jpg", "school girl", "school-girl", "g1rl", "14yo", "14 y/o", "12 years old", "aged 9"),
        *("https://a.example/teens/1.jpg", "\u200bb\u200baby", "女孩子", "una niña", "sch\u00f6nes M\u00c4DCHEN", "girl's"),
    ],
)
def test_words_and_ages_of_minors(text: str) -> None:
    assert names_a_minor("", text)


@pytest.mark.parametrize("text", ["a rose", "kidney", "boycott", "minority", "19 years old", "aged 71", "114yo", "song", ""])
def test_other_words_are_none(text: str) -> None:
    assert not names_a_minor(text, None)
