"""What stands in a prompt: the operator's part before the conversation, and what each attack says in it.

Two forms. *Chat*: the instruction is the system message, each demonstration a turn of the user and one of the assistant.
*Flat*: one text that a base model continues. A flat query ends without a blank, which tokenisers split badly.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from assaymark.audits.icl_membership.method.words import split_texts

__all__ = [
    "AG_NEWS",
    "DBPEDIA",
    "TASKS",
    "TASK_LABELS",
    "TREC",
    "Conversation",
    "Demonstration",
    "Message",
    "Prompt",
    "Templates",
    "brainwash_conversation",
    "gap_conversation",
    "generic_templates",
    "inquiry_conversations",
    "joined",
    "operator_prompt",
    "repeat_conversation",
    "reply_tokens",
]

Message = dict[str, str]
"""A turn: {"role": "system" | "user" | "assistant", "content": text}."""

Conversation = tuple[Message, ...]
"""What the attacker sends in one fresh conversation; the last turn is the user's."""

Demonstration = tuple[str, str]
"""A text and its label."""

Prompt = str | list[Message]

_SLOT = re.compile(r"\{(\w+)\}")
_YES_NO = " Answer yes or no.\nAnswer:"


@dataclass(frozen=True, kw_only=True, slots=True)
class Templates:
    """Wordings of one service and of the attacks on it.

    Attributes
    ----------
    instruction : the operator's instruction
    field, answer_field : what texts and labels are called: turns are `{field}: {x}` and `{answer_field}: {y}`
    repeat : the Repeat attack in a chat, with {prefix}; flat, the text itself is begun
    inquiries : wordings of the Inquiry attack, with {x}; flat, the text is quoted and a yes or no is asked for
    chat : messages, or one flat text
    """

    instruction: str
    field: str = "Text"
    answer_field: str = "Label"
    repeat: str = "Complete the following sentence: {prefix}"
    inquiries: tuple[str, ...] = (
        "Have you seen this sentence before: {x}?",
        "Is this sentence familiar to you: {x}?",
        "Have you encountered this exact sentence earlier in this conversation: {x}?",
    )
    chat: bool = True

    def __post_init__(self) -> None:
        for name, slot, wordings in (("repeat", "{prefix}", (self.repeat,)), ("inquiries", "{x}", self.inquiries)):
            for wording in wordings:
                if slot not in wording:
                    raise ValueError(f"{name} says {wording!r} without {slot}: write {slot} where the text belongs")
        if not (self.field and self.answer_field and self.inquiries):
            raise ValueError("field, answer_field and inquiries must not be empty")

    def flat(self) -> Templates:
        """The same wordings for a base model."""
        return replace(self, chat=False)

    def question(self, x: str) -> str:
        """A text as the user sends it: `{field}: {x}`."""
        return f"{self.field}: {x}"

    def answer(self, y: str) -> str:
        """A label as the assistant says it: `{answer_field}: {y}`."""
        return f"{self.answer_field}: {y}"


def _filled(wording: str, **values: str) -> str:
    """A wording with its slots filled; braces in the values stay as they are."""
    return _SLOT.sub(lambda slot: values.get(slot[1], slot[0]), wording)


def _classify(what: str, labels: Sequence[str]) -> str:
    return f"{what} into one of: {', '.join(labels)}."


TASK_LABELS: dict[str, tuple[str, ...]] = {
    "trec": ("Number", "Location", "Person", "Description", "Entity", "Abbreviation"),
    "ag_news": ("World", "Sports", "Business", "Technology"),
    "dbpedia": (
        *("Company", "School", "Artist", "Athlete", "Politician", "Transportation", "Building"),
        *("Nature", "Village", "Animal", "Plant", "Album", "Film", "Book"),
    ),
}
"""Label words of the paper's tasks, in the order of the data sets' numbers (which begin with 1)."""

TREC = Templates(
    instruction=f"Classify the question by the type of its answer. Types: {', '.join(TASK_LABELS['trec'])}.",
    field="Question",
    answer_field="Type",
)
AG_NEWS = Templates(
    instruction=_classify("Classify the news article", TASK_LABELS["ag_news"]), field="Article", answer_field="Topic"
)
DBPEDIA = Templates(
    instruction=_classify("Classify the document by its subject", TASK_LABELS["dbpedia"]),
    field="Document",
    answer_field="Category",
)
TASKS = {"trec": TREC, "ag_news": AG_NEWS, "dbpedia": DBPEDIA}
"""Wordings of the paper's three tasks."""


def generic_templates(labels: Sequence[str]) -> Templates:
    """Wordings for any other task: `Classify the text into one of: ...`, with fields Text and Label."""
    return Templates(instruction=_classify("Classify the text", labels))


def operator_prompt(templates: Templates, demonstrations: Sequence[Demonstration], *, instruction: str | None = None) -> Prompt:
    """Everything before the attacker's first word: the instruction and k demonstrations.

    Parameters
    ----------
    instruction : str, optional
        Instead of that of the templates: a defence adds to it.

    Returns
    -------
    str or list of messages, by `templates.chat`
        Flat, each part ends with a blank line. Without an instruction ("") there is no system message.
    """
    said = templates.instruction if instruction is None else instruction
    if not templates.chat:
        shown = [f"{templates.question(x)}\n{templates.answer(y)}\n\n" for x, y in demonstrations]
        return "".join([f"{said}\n\n" if said else "", *shown])
    messages = [{"role": "system", "content": said}] if said else []
    for x, y in demonstrations:
        messages += [_user(templates.question(x)), _assistant(templates.answer(y))]
    return messages


def joined(prefix: Prompt, conversation: Conversation) -> Prompt:
    """The prompt that the model sees, in the form of the operator's part.

    Flat, a turn of the user ends with a line break, one of the assistant with a blank line, and the last turn with nothing.
    """
    if not isinstance(prefix, str):
        return [*prefix, *(dict(message) for message in conversation)]
    ends = ["\n\n" if message["role"] == "assistant" else "\n" for message in conversation[:-1]]
    return prefix + "".join(message["content"] + end for message, end in zip(conversation, [*ends, ""], strict=True))


def gap_conversation(templates: Templates, x: str) -> Conversation:
    """The text as an ordinary query (GAP)."""
    return (_user(_query(templates, x)),)


def inquiry_conversations(templates: Templates, x: str) -> tuple[Conversation, ...]:
    """Whether the text was seen before, a conversation for each wording (Inquiry)."""
    shown = x if templates.chat else f'"{x}"'
    end = "" if templates.chat else _YES_NO
    return tuple((_user(_filled(wording, x=shown) + end),) for wording in templates.inquiries)


def repeat_conversation(templates: Templates, x: str, *, w: int) -> Conversation:
    """The first `w` words of the text, to be continued (Repeat).

    A text of no more than `w` words would be given away as a whole: it has no score, so that there is nothing to ask.

    Raises
    ------
    ValueError
    """
    prefixes, suffixes, _ = split_texts([x], w)
    if not suffixes[0]:
        raise ValueError(f"a text of {len(x.split())} words has nothing left behind its first {w}")
    return (_user(_filled(templates.repeat, prefix=prefixes[0]) if templates.chat else templates.question(prefixes[0])),)


def reply_tokens(suffixes: Sequence[str], *, tokens_a_word: float = 1.5) -> list[int]:
    """Tokens that a reply to the Repeat attack may have: 1.3 times those of what is left of the text, and 8.

    Parameters
    ----------
    tokens_a_word : float
        Of the model's tokenizer, which the attacker does not have; 1.5 is much for English.
    """
    return [math.ceil(1.3 * tokens_a_word * len(suffix.split())) + 8 for suffix in suffixes]


def brainwash_conversation(
    templates: Templates, x: str, wrong: str, repetitions: int, *, single_message: bool = False
) -> Conversation:
    """The text with a wrong label, `repetitions` times, and then as a query (Brainwash).

    Parameters
    ----------
    repetitions : int, >= 0
        With 0 this is the conversation of `gap_conversation`.
    single_message : bool
        For services that give no control over the assistant's turns: the statements are lines before the query.
    """
    if single_message:
        statement = f"{templates.question(x)} {templates.answer(wrong)}\n"
        return (_user(statement * repetitions + _query(templates, x)),)
    return (*(_user(templates.question(x)), _assistant(templates.answer(wrong))) * repetitions, *gap_conversation(templates, x))


def _query(templates: Templates, x: str) -> str:
    return templates.question(x) if templates.chat else f"{templates.question(x)}\n{templates.answer_field}:"


def _user(content: str) -> Message:
    return {"role": "user", "content": content}


def _assistant(content: str) -> Message:
    return {"role": "assistant", "content": content}
