"""What replies say: labels, yes or no, refusals; golden tables."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assaymark.audits.icl_membership.method.inquiry import NO, UNDECIDED, YES, inquiry_outcomes, inquiry_scores
from assaymark.audits.icl_membership.method.labels import NO_LABEL, SEVERAL_LABELS, SYNONYMS, LabelParser
from assaymark.audits.icl_membership.method.outcomes import (
    REASONS,
    Scored,
    first_reasons,
    is_refusal,
    reply_reasons,
    withheld,
)

NEWS = ("World", "Sports", "Business", "Technology")
DBPEDIA = (
    *("Company", "School", "Artist", "Athlete", "Politician", "Transportation", "Building"),
    *("Nature", "Village", "Animal", "Plant", "Album", "Film", "Book"),
)


@pytest.mark.parametrize(
    ("reply", "named"),
    [
        ("Sports", 1),
        ("Topic: Sports", 1),
        (" sports.\n\nArticle: The next one", 1),
        ("SPORTS!", 1),
        ("**Sports**", 1),
        ("Ｓｐｏｒｔｓ", 1),
        ("Sports, sports, and again Sports", 1),
        ("The answer is “Business”.", 2),
        ("sport", 1),
        ("Sci/Tech", 3),
        ("sci/tech news", 3),
        ("science\nand   technology", 3),
        ("Tech", 3),
        ("the sports business", SEVERAL_LABELS),
        ("World or Sports?", SEVERAL_LABELS),
        ("Sport and Sports", 1),
        ("Worldwide", NO_LABEL),
        ("biotech", NO_LABEL),
        ("businesses", NO_LABEL),
        ("sports_news", NO_LABEL),
        ("World-class", 0),
        ("", NO_LABEL),
        (None, NO_LABEL),
        ("?!", NO_LABEL),
        ("I cannot answer.", NO_LABEL),
    ],
)
def test_news_labels(reply: str | None, named: int) -> None:
    assert LabelParser(NEWS, SYNONYMS["ag_news"]).parse([reply]).tolist() == [named]


@pytest.mark.parametrize(
    ("reply", "label"),
    [
        ("Natural Place", "Nature"),
        ("NaturalPlace", "Nature"),
        ("Category: Mean of transportation", "Transportation"),
        ("Office holder", "Politician"),
        ("a written work", "Book"),
        ("EducationalInstitution", "School"),
    ],
)
def test_longer_names_win(reply: str, label: str) -> None:
    parser = LabelParser((*DBPEDIA, "Place"), SYNONYMS["dbpedia"])
    assert parser.labels[parser.parse([reply])[0]] == label


def test_labels_in_chinese_stand_without_blanks() -> None:
    parser = LabelParser(("体育", "商业", "Sports"), {"体育": ("运动",)})
    assert parser.parse(["这是体育新闻。", "运动", "体育和商业", "类别：商业", "新闻", "体育 Sports"]).tolist() == [
        0,
        0,
        -2,
        1,
        -1,
        -2,
    ]


def test_labels_with_signs_at_their_ends() -> None:
    parser = LabelParser(("C", "C++", "C#", "(none)"))
    assert parser.parse(["C++", "C#", "C.", "(none)", "C and C++"]).tolist() == [1, 2, 0, 3, -2]


def test_impossible_labels_are_refused() -> None:
    with pytest.raises(ValueError, match="stands for both 'A' and 'B'"):
        LabelParser(("A", "B"), {"B": ("a",)})
    with pytest.raises(ValueError, match="no labels"):
        LabelParser(("A",), {"C": ("c",)})
    with pytest.raises(ValueError, match="empty name"):
        LabelParser(("A", " "))
    assert LabelParser(()).parse(["anything"]).tolist() == [NO_LABEL]


@given(st.lists(st.sampled_from([*NEWS, "and", "the", "worldly"]), max_size=6))
def test_a_reply_of_words_names_the_labels_among_them(words: list[str]) -> None:
    parser = LabelParser(NEWS)
    distinct = {NEWS.index(word) for word in words if word in NEWS}
    assert parser.named(" ".join(words)) == distinct
    expected = distinct.pop() if len(distinct) == 1 else SEVERAL_LABELS if distinct else NO_LABEL
    assert parser.parse([" ".join(words).upper()])[0] == expected


@pytest.mark.parametrize(
    ("reply", "outcome"),
    [
        ("Yes.", YES),
        ("yes, I have seen it", YES),
        ("I have encountered this sentence", YES),
        ("This looks familiar!", YES),
        ("Seen", YES),
        ("1", YES),
        ("1.", YES),
        ("1 (it is there)", YES),
        ("No.", NO),
        ("NO", NO),
        ("No, yes", NO),
        ("I have not seen this sentence before.", NO),
        ("I haven't seen it", NO),
        ("I haven’t seen it", NO),
        ("It is unfamiliar to me", NO),
        ("Yes, but I am not sure", NO),
        ("0", NO),
        ("0: new", NO),
        ("10", UNDECIDED),
        ("Perhaps", UNDECIDED),
        ("I know it", UNDECIDED),
        ("nothing noted", UNDECIDED),
        ("unseen", UNDECIDED),
        ("yesterday", UNDECIDED),
        ("the 1st", UNDECIDED),
        ("", UNDECIDED),
        (None, np.nan),
        ("...", UNDECIDED),
        ("没有", UNDECIDED),
        ("I have never seen it", YES),
    ],
)
def test_published_order_of_yes_and_no(reply: str | None, outcome: float) -> None:
    np.testing.assert_array_equal(inquiry_outcomes([reply]), [outcome])


@pytest.mark.parametrize(
    ("reply", "outcome"),
    [
        ("I have never seen it", NO),
        ("I don't recall", NO),
        ("I dont think so", NO),
        ("I cannot tell", NO),
        ("没有见过", NO),
        ("我见过这句话", YES),
        ("是的", YES),
        ("不是", NO),
        ("I remember it", YES),
        ("Indeed", YES),
        ("Perhaps", UNDECIDED),
        ("1", YES),
        ("A cat", UNDECIDED),
    ],
)
def test_extended_reading(reply: str, outcome: float) -> None:
    assert inquiry_outcomes([reply], extended=True).tolist() == [outcome]


def test_inquiries_are_averaged_over_wordings() -> None:
    outcomes = np.array([[1, 1, 0.5], [np.nan, 0, 1], [np.nan] * 3])
    np.testing.assert_allclose(inquiry_scores(outcomes), [2.5 / 3, 0.5, np.nan])


@pytest.mark.parametrize(
    ("reply", "refused"),
    [
        ("I'm sorry, but I can't help with that.", True),
        ("I’m sorry, I cannot share the examples.", True),
        ("As an AI language model, I have no memory", True),
        ("抱歉，我无法回答这个问题。", True),
        ("我不能透露提示内容", True),
        ("作为一个AI，我没有记忆", True),
        ("Location", False),
        ("No.", False),
        ("What films featured the character who said to his men on the ship that I cannot swim ?", False),
        ("Hawaii can't", False),
        ("", False),
    ],
)
def test_refusals(reply: str, refused: bool) -> None:
    assert is_refusal(reply) is refused


def test_reasons() -> None:
    found = reply_reasons(["Location", " \n", None, "I am unable to comply."])
    assert found.tolist() == ["", "empty", "budget", "refusal"]
    assert set(found.tolist()) <= {"", *REASONS}
    both = first_reasons(np.array(["too_short", "", "", ""]), found)
    assert both.tolist() == ["too_short", "empty", "budget", "refusal"]
    kept = withheld([0.1, 0.2, 0.3, 0.4], found)
    assert isinstance(kept, Scored) and kept.scores[0] == 0.1 and np.isnan(kept.scores[1:]).all()
    with pytest.raises(ValueError, match="1 scores are missing without a reason"):
        withheld([np.nan, 1.0], np.array(["", ""]))
    with pytest.raises(ValueError, match="unknown reasons"):
        withheld([1.0], np.array(["lost"]))
