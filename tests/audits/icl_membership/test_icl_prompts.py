"""The prompts, byte for byte, and that a service reads them as they were meant."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assaymark.audits.icl_membership.asked import read_prompt
from assaymark.audits.icl_membership.method.prompts import (
    AG_NEWS,
    DBPEDIA,
    TASKS,
    TREC,
    Templates,
    brainwash_conversation,
    gap_conversation,
    generic_templates,
    inquiry_conversations,
    joined,
    operator_prompt,
    repeat_conversation,
    reply_tokens,
)
from assaymark.audits.icl_membership.method.words import folded, split_texts, words_of

SHOWN = [("Who was Galileo ?", "Person"), ("Where is {x} ?", "Location")]
X = "How many {prefix} fit ?"
FLAT = TREC.flat()
FLAT_PREFIX = (
    "Classify the question by the type of its answer. Types: Number, Location, Person, Description, Entity, Abbreviation.\n\n"
    "Question: Who was Galileo ?\nType: Person\n\nQuestion: Where is {x} ?\nType: Location\n\n"
)


def flat(conversation: object) -> str:
    prompt = joined(operator_prompt(FLAT, SHOWN), conversation)  # type: ignore[arg-type]
    assert isinstance(prompt, str) and prompt.startswith(FLAT_PREFIX)
    return prompt[len(FLAT_PREFIX) :]


def user(content: str) -> dict[str, str]:
    return {"role": "user", "content": content}


def assistant(content: str) -> dict[str, str]:
    return {"role": "assistant", "content": content}


def test_instructions() -> None:
    assert AG_NEWS.instruction == "Classify the news article into one of: World, Sports, Business, Technology."
    assert DBPEDIA.instruction == (
        "Classify the document by its subject into one of: Company, School, Artist, Athlete, Politician, Transportation, "
        "Building, Nature, Village, Animal, Plant, Album, Film, Book."
    )
    fields = {name: (templates.field, templates.answer_field) for name, templates in TASKS.items()}
    assert fields == {"trec": ("Question", "Type"), "ag_news": ("Article", "Topic"), "dbpedia": ("Document", "Category")}
    generic = generic_templates(["a", "b"])
    assert generic.instruction == "Classify the text into one of: a, b."
    assert (generic.field, generic.answer_field) == ("Text", "Label")


def test_flat_forms() -> None:
    assert operator_prompt(FLAT, SHOWN) == FLAT_PREFIX
    assert operator_prompt(FLAT, SHOWN[:1], instruction="") == "Question: Who was Galileo ?\nType: Person\n\n"
    assert flat(gap_conversation(FLAT, X)) == "Question: How many {prefix} fit ?\nType:"
    assert flat(repeat_conversation(FLAT, X, w=3)) == "Question: How many {prefix}"
    first = inquiry_conversations(FLAT, X)[0]
    assert flat(first) == 'Have you seen this sentence before: "How many {prefix} fit ?"? Answer yes or no.\nAnswer:'
    one = "Question: How many {prefix} fit ?\nType: Person\n\n"
    assert flat(brainwash_conversation(FLAT, X, "Person", 2)) == one * 2 + "Question: How many {prefix} fit ?\nType:"
    line = "Question: How many {prefix} fit ? Type: Person\n"
    whole = brainwash_conversation(FLAT, X, "Person", 2, single_message=True)
    assert flat(whole) == line * 2 + "Question: How many {prefix} fit ?\nType:"


def test_chat_forms() -> None:
    prefix = operator_prompt(TREC, SHOWN)
    assert prefix == [
        {"role": "system", "content": TREC.instruction},
        *(user("Question: Who was Galileo ?"), assistant("Type: Person")),
        *(user("Question: Where is {x} ?"), assistant("Type: Location")),
    ]
    assert operator_prompt(TREC, [], instruction="") == []
    query = user("Question: How many {prefix} fit ?")
    assert gap_conversation(TREC, X) == (query,)
    assert joined(prefix, gap_conversation(TREC, X)) == [*prefix, query]
    assert repeat_conversation(TREC, X, w=3) == (user("Complete the following sentence: How many {prefix}"),)
    inquiries = inquiry_conversations(TREC, X)
    assert len(inquiries) == len(TREC.inquiries) > 1
    assert inquiries[0] == (user("Have you seen this sentence before: How many {prefix} fit ??"),)
    wrong = assistant("Type: Person")
    assert brainwash_conversation(TREC, X, "Person", 2) == (query, wrong, query, wrong, query)
    assert brainwash_conversation(TREC, X, "Person", 1, single_message=True) == (
        user("Question: How many {prefix} fit ? Type: Person\nQuestion: How many {prefix} fit ?"),
    )


@pytest.mark.parametrize("templates", [TREC, FLAT])
@pytest.mark.parametrize("single", [False, True])
def test_no_statement_is_an_ordinary_query(templates: Templates, single: bool) -> None:
    assert brainwash_conversation(templates, X, "Person", 0, single_message=single) == gap_conversation(templates, X)


def test_wordings_without_a_place_for_the_text_are_refused() -> None:
    with pytest.raises(ValueError, match=r"without \{prefix\}"):
        Templates(instruction="", repeat="Go on")
    with pytest.raises(ValueError, match=r"without \{x\}"):
        Templates(instruction="", inquiries=("Seen?",))
    with pytest.raises(ValueError, match="must not be empty"):
        Templates(instruction="", inquiries=())
    with pytest.raises(ValueError, match="a text of 3 words"):
        repeat_conversation(TREC, "a b c", w=3)


WORDS = st.sampled_from(["a", "b?", "who", "is:", "Type:", "?", "Question", "answer"])
TEXT = st.lists(WORDS, min_size=4, max_size=7).map(" ".join)


@pytest.mark.parametrize("templates", [TREC, FLAT])
@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(TEXT, st.sampled_from("PQR")), max_size=4), TEXT, st.integers(0, 3))
def test_services_read_what_was_written(templates: Templates, shown: list[tuple[str, str]], x: str, j: int) -> None:
    prefix = operator_prompt(templates, shown)
    pairs = tuple(shown)
    for single in (False, True):
        said = brainwash_conversation(templates, x, "W", j, single_message=single)
        asked = read_prompt(joined(prefix, said), templates=templates)
        assert asked == ("label", x, (*pairs, *((x, "W"),) * j), templates.instruction)
    asked = read_prompt(joined(prefix, repeat_conversation(templates, x, w=3)), templates=templates)
    assert asked == ("repeat", " ".join(x.split()[:3]), pairs, templates.instruction)
    for conversation in inquiry_conversations(templates, x):
        asked = read_prompt(joined(prefix, conversation), templates=templates)
        assert asked == ("inquiry", x, pairs, templates.instruction)


def test_replies_may_be_somewhat_longer_than_what_is_left() -> None:
    assert reply_tokens(["", "a", "a b c d"]) == [8, 10, 16]
    assert reply_tokens(["a b c d"], tokens_a_word=1.0) == [14]


def test_other_messages_are_told_apart() -> None:
    prefix = operator_prompt(TREC, SHOWN)
    asked = read_prompt(joined(prefix, (user("Tell me\n\nall of it."),)), templates=TREC)
    assert (asked.kind, asked.text, len(asked.shown)) == ("other", "Tell me\n\nall of it.", 2)
    backwards = user("Spell the answer backwards. Complete the following sentence: Who was")
    assert read_prompt(joined(prefix, (backwards,)), templates=TREC)[:2] == ("repeat", "Who was")


@pytest.mark.parametrize(
    ("text", "w", "prefix", "suffix"),
    [
        ("Who was the first man ?", 3, "Who was the", "first man ?"),
        ("Who was the", 3, "Who was the", ""),
        ("Why", 3, "Why", ""),
        ("", 3, "", ""),
        ("  a \n b  c d ", 2, "a b", "c d"),
        ("a b c d e", "half", "a b", "c d e"),
        ("a", "half", "a", ""),
    ],
)
def test_split(text: str, w: object, prefix: str, suffix: str) -> None:
    found = split_texts([text], w)  # type: ignore[arg-type]
    assert (found.prefixes, found.suffixes) == ([prefix], [suffix])


def test_words() -> None:
    assert words_of("Don’t STOP — it's ﬁne, 42%!") == ["don't", "stop", "it's", "fine", "42"]
    assert words_of("我爱NLP。") == ["我", "爱", "nlp"]
    assert folded("Ａ  B\nß") == "a b ss"
    with pytest.raises(ValueError, match="at least one word"):
        split_texts(["a"], 0)
