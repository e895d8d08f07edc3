"""Demonstrations that a model writes for the prompts of many games: private ones in other words, or new ones under a budget."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from hashlib import blake2b
from typing import Any

import numpy as np

from assaymark.audit import Context
from assaymark.audits.icl_membership.config import ServiceConfig
from assaymark.audits.icl_membership.measures.service import Demonstrations
from assaymark.audits.icl_membership.method.defences.accountant import Generation, noise_multiplier_for
from assaymark.audits.icl_membership.method.defences.paraphrase import paraphrase
from assaymark.audits.icl_membership.method.defences.records import DataDefence
from assaymark.audits.icl_membership.method.defences.synthetic import few_shot_prefix, synthetic_prompts
from assaymark.audits.icl_membership.wording import Wording
from assaymark.models.token_texts import mended

__all__ = ["PARAPHRASE_TOKENS", "drawn_labels", "generated", "generation", "paraphrased", "private_generation"]

PARAPHRASE = "Say the following in other words. Keep its meaning, and write nothing else.\n\n"
PARAPHRASE_TOKENS = 128


def paraphrased(prompts: Sequence[Demonstrations], context: Context) -> list[DataDefence]:
    """Every text of all prompts in other words; each text is asked about once, all of them together."""
    model = context.require("paraphraser")
    texts = list(dict.fromkeys(text for shown in prompts for text, _ in shown))
    asked = [[{"role": "user", "content": PARAPHRASE + text}] for text in texts]
    said = model.generate_text(asked, temperature=0.0, max_tokens=PARAPHRASE_TOKENS)
    written = {text: " ".join(each[0].split()) or None for text, each in zip(texts, said, strict=True)}
    return [paraphrase(shown, write=lambda own: [written[text] for text in own]) for shown in prompts]


def generation(config: ServiceConfig) -> Generation:
    """How demonstrations are generated, as the settings say; still without noise."""
    return Generation(
        0.0,
        noise=config.synthetic_noise,
        groups=config.synthetic_groups,
        top_k=config.synthetic_top_k,
        longest=config.synthetic_tokens,
        delta=config.delta,
    )


def private_generation(config: ServiceConfig, *, demonstrations: int, labels: int) -> Generation:
    """The same with the least noise that keeps a prompt of so many demonstrations within `config.epsilon`.

    Raises
    ------
    MissingExtra
        Gaussian noise is accounted for by a library of the extra `privacy`; other noise needs none.
    """
    free = generation(config)
    most = math.ceil(demonstrations / labels)
    return replace(free, noise_multiplier=noise_multiplier_for(config.epsilon, settings=free, examples_per_label=most))


def drawn_labels(labels: Sequence[str], *, count: int, rng: np.random.Generator) -> list[str]:
    """Labels of the demonstrations to generate: those of the task in random order, over and over.

    Private labels are not looked at: a label for each private one would tell how many there are of each. So a label may be
    generated of which the prompt holds no example; the model then writes what the name of the label says to it.
    """
    order = [labels[place] for place in rng.permutation(len(labels)).tolist()]
    return [order[place % len(order)] for place in range(count)]


def generated(
    prompts: Sequence[Demonstrations], wording: Wording, context: Context, *, settings: Callable[[int], Generation]
) -> list[DataDefence]:
    """New demonstrations for each prompt, as many as it holds, written by the model in the role "writer".

    How many a prompt holds is a setting, and taken for no secret. The private examples are the demonstrations of the prompt
    itself, and no others: what a service with so few examples can get. A group that holds none speaks as the public prompt.

    Parameters
    ----------
    settings : callable
        Number of demonstrations to how they are generated.

    Notes
    -----
    Random numbers follow from the seed of the run and the prompt, so that a run can be repeated. A service that puts its trust
    in the guarantee draws them in secret.
    """
    model: Any = context.require("writer")
    found: dict[Demonstrations, DataDefence] = {}
    total = sum(map(len, prompts))
    with context.progress.task("writing demonstrations", total=total, unit="texts") as task:
        for shown in _side_by_side(prompts, settings, context.batch_size):
            rngs = [_generator(each, context.seed) for each in shown]
            wanted = [
                drawn_labels(wording.parser.labels, count=len(each), rng=rng) for each, rng in zip(shown, rngs, strict=True)
            ]
            done = synthetic_prompts(
                shown,
                wanted=wanted,
                next_token=model.next_tokens,
                settings=settings(len(shown[0])),
                rngs=rngs,
                prefix=_prefix(wording),
                finish=_finished,
            )
            found |= dict(zip(shown, done, strict=True))
            task.advance(sum(map(len, wanted)))
    return [found[shown] for shown in prompts]


def _side_by_side(
    prompts: Sequence[Demonstrations], settings: Callable[[int], Generation], batch_size: int
) -> list[list[Demonstrations]]:
    """Prompts of one size that are written together: about a batch of the model for each token."""
    sizes: dict[int, list[Demonstrations]] = {}
    for shown in dict.fromkeys(prompts):
        sizes.setdefault(len(shown), []).append(shown)
    parts = []
    for size, same in sizes.items():
        each = max(1, batch_size // (size * (settings(size).groups + 1)))
        parts += [same[start : start + each] for start in range(0, len(same), each)]
    return parts


def _generator(shown: Demonstrations, seed: int) -> np.random.Generator:
    """Random numbers of a prompt, whatever others are written with it."""
    digest = blake2b(repr(shown).encode("utf-8", "surrogatepass"), digest_size=16).digest()
    return np.random.default_rng([seed, int.from_bytes(digest, "big")])


def _prefix(wording: Wording) -> Callable[[Sequence[str], str, str], str]:
    """The prompt of a group in the words of the service, as one text: who writes need not be a chat model."""
    field, answer_field = wording.templates.field, wording.templates.answer_field
    task = f"Given the {answer_field.lower()}, write a {field.lower()} of it."
    return partial(few_shot_prefix, field=field, answer_field=answer_field, task=task)


def _finished(text: str) -> str:
    """Bytes put together to characters, blanks to single ones, as in the texts of the pool."""
    return " ".join(mended(text).text.split())
