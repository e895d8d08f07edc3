"""Data defence: demonstrations written by the operator's model from many private examples, with differential privacy.

References
----------
.. [1] Tang, X. et al. (2024). Privacy-preserving in-context learning with differentially private few-shot generation. ICLR;
   arXiv:2309.11765, algorithm 1.
.. [2] Mironov, I. (2012). On significance of the least significant bits for differential privacy. CCS.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from assaymark.audits.icl_membership.method.defences.accountant import Generation, Noise, generation_guarantee
from assaymark.audits.icl_membership.method.defences.records import Change, DataDefence, Guarantee
from assaymark.audits.icl_membership.method.prompts import Demonstration

__all__ = [
    "NextToken",
    "Prefix",
    "aggregate",
    "draw_groups",
    "few_shot_prefix",
    "noisy_choice",
    "public_tokens",
    "synthetic",
    "synthetic_prompts",
]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

NextToken = Callable[[list[str]], tuple[Any, Sequence[str]]]
"""Prefixes -> probabilities of the next token, shape (prefixes, vocabulary), and the tokens as text."""
Prefix = Callable[[Sequence[str], str, str], str]
"""(example texts, label, text written so far) -> what the model continues."""

_ROUNDING = 1e-4


def few_shot_prefix(
    examples: Sequence[str], label: str, written: str, *, field: str = "Text", answer_field: str = "Label", task: str = ""
) -> str:
    r"""The prompt of one group: its examples, each below its label, and the text to be continued.

    Notes
    -----
    There is no blank behind the last colon: tokenizers put it in front of the word that follows, so that `written` begins
    with one.

    Examples
    --------
    >>> few_shot_prefix(["who is he"], "Person", " who")
    'Label: Person\nText: who is he\n\nLabel: Person\nText: who'
    """
    head = f"{answer_field}: {label}\n{field}:"
    shown = "".join(f"{head} {text}\n\n" for text in examples)
    return (f"{task}\n\n" if task else "") + f"{shown}{head}{written}"


def draw_groups(examples: int, *, groups: int, sampling_rate: float, rng: np.random.Generator) -> Ints:
    """Group of each private example for one token; -1 where it does not take part.

    Returns
    -------
    array, shape (examples,), in -1, ..., groups - 1

    Notes
    -----
    Each example draws for itself whether it takes part and in which group. Dealing a shuffled list out in turn, as the
    official code does, keeps the groups equally large, but there an example less moves others to other groups, and the
    sensitivity of one changed group does not hold.
    """
    drawn = rng.integers(groups, size=examples)
    return np.where(rng.random(examples) < sampling_rate, drawn, -1)


def public_tokens(public: Any, *, top_k: int) -> Ints:
    """The `top_k` tokens of largest probability without private data, most probable first; of equals the first in order.

    Notes
    -----
    O(vocabulary): only those that reach the last of them are sorted.
    """
    row = np.asarray(public, dtype=np.float64)
    if top_k < row.size:
        places = np.flatnonzero(row >= np.partition(row, row.size - top_k)[row.size - top_k])
    else:
        places = np.arange(row.size)
    return places[np.argsort(-row[places], kind="stable")][:top_k]


def aggregate(probabilities: Any, tokens: Ints, *, noise: Noise) -> Floats:
    """Mean over the groups of their distributions over the public tokens.

    Parameters
    ----------
    probabilities : array_like, shape (groups, vocabulary)
    tokens : array, shape (K,)
        The only tokens that count.
    noise : str
        Of what follows. "gaussian": rows are scaled to the sum 1, so that the mean moves by `l2_sensitivity` at most; otherwise
        to the maximum 1, so that an entry moves by `max_sensitivity`.

    Returns
    -------
    array, shape (K,)

    Notes
    -----
    A group that gives none of the public tokens any probability counts as one that does not care which. O(groups x K).

    Raises
    ------
    ValueError
        For what is no distribution: negative, missing, or of a sum above 1. Nothing would be guaranteed.
    """
    whole = np.asarray(probabilities, dtype=np.float64)
    if whole.ndim != 2 or not np.isfinite(whole).all() or (whole < 0).any() or (whole.sum(axis=1) > 1 + _ROUNDING).any():
        raise ValueError("next-token probabilities: expected rows of finite numbers >= 0 with sums of at most 1")
    kept = whole[:, tokens]
    size = kept.sum(axis=1, keepdims=True) if noise == "gaussian" else kept.max(axis=1, keepdims=True)
    indifferent = 1.0 / kept.shape[1] if noise == "gaussian" else 1.0
    scaled = np.divide(kept, size, out=np.full_like(kept, indifferent), where=size > 0)
    return np.asarray(scaled.mean(axis=0))


def noisy_choice(scores: Floats, *, noise: Noise, scale: float, rng: np.random.Generator) -> int:
    """Place of the largest score after noise of the given scale on each.

    Notes
    -----
    With Gumbel noise a place is chosen with probability proportional to exp(score / scale): the exponential mechanism. The
    noise is that of floating-point generators; only the place of the maximum is released, which keeps the attack of [2] on
    low bits away.
    """
    if scale == 0.0:
        return int(scores.argmax())
    draws: dict[Noise, Callable[[], Floats]] = {
        "gaussian": lambda: rng.normal(0.0, scale, scores.shape),
        "gumbel": lambda: rng.gumbel(0.0, scale, scores.shape),
        "exponential": lambda: rng.exponential(scale, scores.shape),
    }
    return int((scores + draws[noise]()).argmax())


@dataclass
class _Draft:
    """A text being written: the private texts of its label, what stands there, the tokens drawn, its own random numbers."""

    label: str
    texts: list[str]
    rng: np.random.Generator
    written: str = ""
    drawn: int = 0
    ended: bool = False

    def prefixes(self, settings: Generation, prefix: Prefix) -> list[str]:
        """The public prompt, and one of each group."""
        group = draw_groups(len(self.texts), groups=settings.groups, sampling_rate=settings.sampling_rate, rng=self.rng)
        members = [[self.texts[i] for i in np.flatnonzero(group == g).tolist()] for g in range(settings.groups)]
        return [prefix(examples, self.label, self.written) for examples in [[], *members]]

    def go_on(self, probabilities: Any, names: Sequence[str], settings: Generation) -> None:
        """One token more, from the distributions behind the prefixes, shape (groups + 1, vocabulary)."""
        tokens = public_tokens(probabilities[0], top_k=settings.top_k)
        scores = aggregate(probabilities[1:], tokens, noise=settings.noise)
        token = names[int(tokens[noisy_choice(scores, noise=settings.noise, scale=settings.noise_scale, rng=self.rng)])]
        before, end, _ = token.partition(settings.end)
        self.written += before
        self.drawn += 1
        self.ended = bool(end) or self.drawn >= settings.longest


def _write(drafts: Sequence[_Draft], *, next_token: NextToken, settings: Generation, prefix: Prefix) -> None:
    """Write texts side by side, a token of each at a time: what is asked is asked together, equal prompts once."""
    while going := [draft for draft in drafts if not draft.ended]:
        asked = [draft.prefixes(settings, prefix) for draft in going]
        row = {text: place for place, text in enumerate(dict.fromkeys(text for each in asked for text in each))}
        given, names = next_token(list(row))
        probabilities = np.asarray(given)
        if probabilities.shape != (len(row), len(names)):
            raise ValueError(f"probabilities of shape {probabilities.shape}: expected {(len(row), len(names))}")
        for draft, texts in zip(going, asked, strict=True):
            draft.go_on(probabilities[[row[text] for text in texts]], names, settings)


def synthetic(
    demonstrations: Sequence[Demonstration],
    *,
    wanted: Sequence[str],
    next_token: NextToken,
    settings: Generation,
    rng: np.random.Generator,
    prefix: Prefix = few_shot_prefix,
) -> DataDefence:
    """New demonstrations for one prompt; see `synthetic_prompts`."""
    return synthetic_prompts(
        [demonstrations], wanted=[wanted], next_token=next_token, settings=settings, rngs=[rng], prefix=prefix
    )[0]


def synthetic_prompts(
    prompts: Sequence[Sequence[Demonstration]],
    *,
    wanted: Sequence[Sequence[str]],
    next_token: NextToken,
    settings: Generation,
    rngs: Sequence[np.random.Generator],
    prefix: Prefix = few_shot_prefix,
    finish: Callable[[str], str] = str.strip,
) -> list[DataDefence]:
    """New demonstrations, written token by token from the average opinion of groups of private ones ([1], algorithm 1).

    Parameters
    ----------
    prompts : sequence of demonstrations (text, label)
        All private examples that may be drawn on, for each prompt: the more, the less noise a guarantee costs.
    wanted : for each prompt a sequence of str
        Label of each demonstration to generate. Chosen without looking at the private ones: their labels are private too.
    next_token : callable
        The operator's model: prefixes -> (probabilities, tokens). Each prefix is asked about once a token.
    settings : Generation
    rngs : for each prompt a numpy.random.Generator
        Texts do not depend on the other prompts.
    prefix : callable
        Prompt of a group.
    finish : callable
        What is made of a text that is written, without private data.

    Returns
    -------
    list of DataDefence
        The measure of a change is the number of tokens drawn. Empty texts are left out.

    Notes
    -----
    Guarantee: (epsilon, delta)-differential privacy for one private example of a prompt (`accountant.generation_guarantee`),
    whatever is asked of the prompt later and how often. Cost: groups + 1 next-token distributions for each token, once; none
    per query. Does not stop: the model repeating what it knew before, and learning what is true of many examples. Nothing is
    guaranteed for several examples of one person as if they were one, nor to whom the random numbers are known.

    Where the paper is silent: a group may be empty and then speaks as the public prompt; the number of tokens that are
    accounted is the largest possible one, since when a text ends depends on private data.

    Raises
    ------
    MissingExtra
        Before anything is generated, where Gaussian noise is to be accounted for and the library for it is missing.
    """
    most = [max(Counter(labels).values(), default=0) for labels in wanted]
    guarantees = {count: generation_guarantee(settings, examples_per_label=count) for count in set(most)}
    drafts = [
        [
            _Draft(label, [text for text, own in shown if own == label], own_rng)
            for label, own_rng in zip(labels, each, strict=True)
        ]
        for shown, labels, each in zip(prompts, wanted, _generators(wanted, rngs), strict=True)
    ]
    _write([draft for each in drafts for draft in each], next_token=next_token, settings=settings, prefix=prefix)
    return [_defence(each, guarantees[count], finish) for each, count in zip(drafts, most, strict=True)]


def _generators(wanted: Sequence[Sequence[str]], rngs: Sequence[np.random.Generator]) -> Iterator[list[np.random.Generator]]:
    """One for each text, so that it does not matter how long the others are."""
    for labels, rng in zip(wanted, rngs, strict=True):
        yield rng.spawn(len(labels))


def _defence(drafts: Sequence[_Draft], guarantee: Guarantee, finish: Callable[[str], str]) -> DataDefence:
    texts = [finish(draft.written) for draft in drafts]
    changes = tuple(
        Change(-1, "generated" if text else "left out", float(draft.drawn), "" if text else "empty text")
        for draft, text in zip(drafts, texts, strict=True)
    )
    kept = tuple((text, draft.label) for draft, text in zip(drafts, texts, strict=True) if text)
    return DataDefence(kept, changes, guarantee, "every generated text is empty" if drafts and not kept else None)
