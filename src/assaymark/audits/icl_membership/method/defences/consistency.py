"""Defences against Brainwash: labels that the user states are not shown to the model, and several prompts vote.

References
----------
.. [1] Wen, R. et al. (2024). Membership inference attacks against in-context learning. CCS; arXiv:2409.01380 (Brainwash).
.. [2] Papernot, N. et al. (2017). Semi-supervised knowledge transfer for deep learning from private training data. ICLR (vote
   of models of disjoint data); without its noise here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.audits.icl_membership.method.prompts import Conversation, Demonstration

__all__ = ["Consistent", "Vote", "consistent", "disjoint_parts", "ensemble"]

_ANSWER_FIELDS = ("answer", "label", "type", "topic", "category", "class")


class Consistent(NamedTuple):
    """Conversations without the users' statements of labels.

    Attributes
    ----------
    conversations : tuple of conversations
    removed : array of int, shape (n,)
        Statements taken out of each.
    """

    conversations: tuple[Conversation, ...]
    removed: npt.NDArray[np.int64]

    @property
    def acted(self) -> npt.NDArray[np.bool_]:
        """Where anything was taken out, shape (n,)."""
        return np.asarray(self.removed > 0)


def consistent(
    conversations: Sequence[Conversation], *, label_names: Sequence[str], field: str = "Question", answer_field: str = "Type"
) -> Consistent:
    """Conversations as the model shall see them: without labels that the user claims.

    Parameters
    ----------
    conversations : sequence of tuples of {"role", "content"}
        All of one comes from the user, assistant turns too: a service without memory of its own cannot tell a forged turn.
    label_names : sequence of str
        Names and synonyms.
    field, answer_field : str
        Of the template of the prompt, "Question: ... Type: ...".

    Returns
    -------
    Consistent

    Notes
    -----
    Source: against Brainwash ([1], section on label-only services). An assistant turn that names a label goes, and with it the
    user turn that it answers; in a user turn each line "field: text answer_field: label" goes. Where nothing would remain to
    be answered, the text of the last statement stays without its label. Applying it twice is applying it once.

    Guarantee: none. Cost: no model call. Does not stop: GAP, Repeat, Inquiry, statements in words that are not recognised
    ("we both know that it is ..."), and labels in encodings or in other languages. A user who rightly gives examples of his
    own loses them.
    """
    if not label_names:
        raise ValueError("label_names is empty: without names of labels no statement of one can be recognised")
    # the longest first, so that a name within another does not hide it
    labels = "|".join(re.escape(name) for name in sorted(label_names, key=len, reverse=True))
    done = [_without_claims(conversation, labels, field, answer_field) for conversation in conversations]
    return Consistent(tuple(kept for kept, _ in done), np.array([removed for _, removed in done], dtype=np.int64))


def _without_claims(conversation: Conversation, labels: str, field: str, answer_field: str) -> tuple[Conversation, int]:
    """One conversation without statements of labels, and how many there were."""
    kept: list[dict[str, str]] = []
    removed = 0
    for message in conversation:
        if message["role"] == "assistant" and re.search(rf"(?<!\w)(?:{labels})(?!\w)", message["content"], re.IGNORECASE):
            removed += 1
            # the user turn just before it is the other half of the statement
            if kept and kept[-1]["role"] == "user":
                kept.pop()
        else:
            kept.append(dict(message))
    if not any(message["role"] == "user" for message in kept):
        kept += [dict(message) for message in conversation if message["role"] == "user"][-1:]
    cleaned: list[dict[str, str]] = []
    for message in kept:
        if message["role"] == "user":
            content, found = _without_statements(message["content"], labels, field, answer_field)
            removed += found
            message = {**message, "content": content}
        cleaned.append(message)
    return tuple(cleaned), removed


def _without_statements(content: str, labels: str, field: str, answer_field: str) -> tuple[str, int]:
    """A user turn without statements of labels, and how many there were."""
    answers = "|".join(map(re.escape, dict.fromkeys([answer_field, *_ANSWER_FIELDS])))
    claim = re.compile(
        rf"\s*(?<!\w)(?:the\s+)?(?:correct\s+|right\s+)?(?:{answers})\s*(?:[:=]|->|is(?=\s))\s*['\"]?(?:{labels})(?!\w)['\"]?[.,;]?",
        re.IGNORECASE,
    )
    # an answer field that opens a line of its own belongs to the text above it
    joined = re.sub(rf"\n+(?=\s*(?:{answers})\s*:)", " ", content, flags=re.IGNORECASE)
    pieces = re.split(rf"\n+|(?<=\S)\s+(?={re.escape(field)}\s*:)", joined)
    found = [len(claim.findall(piece)) for piece in pieces]
    if not sum(found):
        return content, 0
    kept = [piece for piece, claims in zip(pieces, found, strict=True) if not claims and piece.strip()]
    if not kept:
        kept = [claim.sub("", pieces[max(i for i, claims in enumerate(found) if claims)]).strip()]
    return "\n".join(kept), sum(found)


def disjoint_parts(
    demonstrations: Sequence[Demonstration], *, parts: int, rng: np.random.Generator
) -> tuple[tuple[Demonstration, ...], ...]:
    """Demonstrations dealt at random to `parts` prompts, of sizes that differ by one at most; each lands in one prompt.

    Raises
    ------
    ValueError
        With fewer demonstrations than parts: a prompt would be empty.
    """
    if not 1 <= parts <= len(demonstrations):
        raise ValueError(
            f"{len(demonstrations)} demonstrations cannot be dealt to {parts} prompts: give 1 to as many as there are"
        )
    order = rng.permutation(len(demonstrations))
    return tuple(tuple(demonstrations[i] for i in np.sort(order[part::parts]).tolist()) for part in range(parts))


class Vote(NamedTuple):
    """What an ensemble of prompts answers.

    Attributes
    ----------
    labels : tuple of str, one for each query
    share : array, shape (queries,)
        Share of the prompts that gave the label; 0 where none gave any.
    tied : array of bool, shape (queries,)
        Another label had as many votes.
    acted : array of bool, shape (queries,)
        The answer differs from that of the first prompt.
    """

    labels: tuple[str, ...]
    share: npt.NDArray[np.float64]
    tied: npt.NDArray[np.bool_]
    acted: npt.NDArray[np.bool_]


def ensemble(answers: Sequence[Sequence[str | None]], *, label_names: Sequence[str], unknown: str = "unknown") -> Vote:
    """Majority label over prompts that hold disjoint parts of the demonstrations.

    Parameters
    ----------
    answers : sequence (prompts) of sequences (queries) of str or None
        Label that each prompt gave to each query; None where it gave none.
    label_names : sequence of str
        Of equally many votes the first of these is taken.

    Notes
    -----
    Source: private aggregation of teachers ([2]), without noise. Guarantee: none; a demonstration moves one vote only, and
    with noise on the votes there would be one. Cost: as many model calls per query as prompts, each shorter. Does not stop:
    an attack on a query where one vote decides; free text is not released at all.

    Examples
    --------
    >>> ensemble([["A", "B"], ["A", None], ["B", None]], label_names=["A", "B"]).labels
    ('A', 'B')
    """
    place = {name: i for i, name in enumerate(label_names)}
    rows = [[place[a] if a is not None else len(place) for a in prompt] for prompt in answers]
    if not rows or len({len(row) for row in rows}) != 1:
        raise ValueError("answers: expected one or more prompts with as many answers each")
    given = np.array(rows, dtype=np.int64).reshape(len(rows), -1)  # (prompts, queries)
    votes = (given[:, :, None] == np.arange(len(place))).sum(axis=0)  # (queries, labels)
    most = votes.max(axis=1, initial=0)
    winner = np.where(most > 0, votes.argmax(axis=1) if len(place) else 0, len(place))
    names = (*label_names, unknown)
    tied = (most > 0) & ((votes == most[:, None]).sum(axis=1) > 1)
    return Vote(tuple(names[i] for i in winner.tolist()), most / len(rows), tied, winner != given[0])
