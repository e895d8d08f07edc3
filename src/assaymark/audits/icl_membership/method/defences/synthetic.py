"""Data defence: demonstrations written by the operator's model from many private examples, with differential privacy.

References
----------
.. [1] Tang, X. et al. (2024). Privacy-preserving in-context learning with differentially private few-shot generation. ICLR;
   arXiv:2309.11765, algorithm 1.
.. [2] Mironov, I. (2012). On significance of the least significant bits for differential privacy. CCS.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from assaymark.audits.icl_membership.method.defences.accountant import Generation, Noise, generation_guarantee
from assaymark.audits.icl_membership.method.defences.records import Change, DataDefence, Demonstration

__all__ = ["NextToken", "aggregate", "draw_groups", "few_shot_prefix", "noisy_choice", "public_tokens", "synthetic"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

NextToken = Callable[[list[str]], tuple[Any, Sequence[str]]]
"""Prefixes -> probabilities of the next token, shape (prefixes, vocabulary), and the tokens as text."""
Prefix = Callable[[Sequence[str], str, str], str]
"""(example texts, label, text written so far) -> what the model continues."""

_ROUNDING = 1e-4


def few_shot_prefix(examples: Sequence[str], label: str, written: str) -> str:
    r"""The prompt of one group: its examples, each below its label, and the text to be continued.

    Examples
    --------
    >>> few_shot_prefix(["who is he"], "Person", "who")
    'Label: Person\nText: who is he\n\nLabel: Person\nText: who'
    """
    return "".join(f"Label: {label}\nText: {text}\n\n" for text in examples) + f"Label: {label}\nText: {written}"


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
    """The `top_k` tokens of largest probability without private data, most probable first; of equals the first in order."""
    return np.argsort(-np.asarray(public, dtype=np.float64), kind="stable")[:top_k]


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


def _write(
    texts: Sequence[str], label: str, *, next_token: NextToken, settings: Generation, prefix: Prefix, rng: np.random.Generator
) -> tuple[str, int]:
    """One text of a label and how many tokens were drawn for it."""
    written, drawn = "", 0
    while drawn < settings.longest:
        drawn += 1
        group = draw_groups(len(texts), groups=settings.groups, sampling_rate=settings.sampling_rate, rng=rng)
        members = [[texts[i] for i in np.flatnonzero(group == g).tolist()] for g in range(settings.groups)]
        given, names = next_token([prefix(examples, label, written) for examples in [[], *members]])
        probabilities = np.asarray(given, dtype=np.float64)
        if probabilities.shape != (settings.groups + 1, len(names)):
            raise ValueError(f"probabilities of shape {probabilities.shape}: expected {(settings.groups + 1, len(names))}")
        tokens = public_tokens(probabilities[0], top_k=settings.top_k)
        scores = aggregate(probabilities[1:], tokens, noise=settings.noise)
        token = names[int(tokens[noisy_choice(scores, noise=settings.noise, scale=settings.noise_scale, rng=rng)])]
        before, end, _ = token.partition(settings.end)
        written += before
        if end:
            break
    return written.strip(), drawn


def synthetic(
    demonstrations: Sequence[Demonstration],
    *,
    wanted: Sequence[str],
    next_token: NextToken,
    settings: Generation,
    rng: np.random.Generator,
    prefix: Prefix = few_shot_prefix,
) -> DataDefence:
    """New demonstrations, written token by token from the average opinion of groups of private ones ([1], algorithm 1).

    Parameters
    ----------
    demonstrations : sequence of (text, label)
        All private examples that may be drawn on: the more, the less noise a guarantee costs.
    wanted : sequence of str
        Label of each demonstration to generate. Chosen without looking at the private ones: their labels are private too.
    next_token : callable
        The operator's model: prefixes -> (probabilities, tokens). The first prefix holds no private example.
    settings : Generation
    rng : numpy.random.Generator
    prefix : callable
        Prompt of a group.

    Returns
    -------
    DataDefence
        The measure of a change is the number of tokens drawn. Empty texts are left out.

    Notes
    -----
    Guarantee: (epsilon, delta)-differential privacy for one private example (`accountant.generation_guarantee`), whatever is
    asked of the prompt later and how often. Cost: groups + 1 next-token distributions for each token, once; none per query.
    Does not stop: the model repeating what it knew before, and learning what is true of many examples. Nothing is guaranteed
    for several examples of one person as if they were one.

    Where the paper is silent: a group may be empty and then speaks as the public prompt; the number of tokens that are
    accounted is the largest possible one, since when a text ends depends on private data.

    Raises
    ------
    MissingExtra
        Before anything is generated, where Gaussian noise is to be accounted for and the library for it is missing.
    """
    most = max(Counter(wanted).values(), default=0)
    guarantee = generation_guarantee(settings, examples_per_label=most)
    kept, changes = [], []
    for label in wanted:
        texts = [text for text, own in demonstrations if own == label]
        text, drawn = _write(texts, label, next_token=next_token, settings=settings, prefix=prefix, rng=rng)
        changes.append(Change(-1, "generated" if text else "left out", float(drawn), "" if text else "empty text"))
        if text:
            kept.append((text, label))
    undefined = "every generated text is empty" if wanted and not kept else None
    return DataDefence(tuple(kept), tuple(changes), guarantee, undefined)
