"""From the names of defences to functions on one service's demonstrations, conversations and replies."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from assaymark.audit import Context
from assaymark.audits.icl_membership.config import ServiceConfig
from assaymark.audits.icl_membership.measures.service import Demonstrations, Shield
from assaymark.audits.icl_membership.method.defences.accountant import Generation, noise_multiplier_for
from assaymark.audits.icl_membership.method.defences.combinations import Defence
from assaymark.audits.icl_membership.method.defences.consistency import consistent
from assaymark.audits.icl_membership.method.defences.output import label_only, overlap_guard, scrub
from assaymark.audits.icl_membership.method.defences.paraphrase import paraphrase
from assaymark.audits.icl_membership.method.defences.records import DataDefence
from assaymark.audits.icl_membership.method.defences.redaction import redact
from assaymark.audits.icl_membership.method.defences.replacement import PublicIndex, labels_only, nearest_public
from assaymark.audits.icl_membership.method.defences.subset import query_generator, subset
from assaymark.audits.icl_membership.method.defences.synthetic import synthetic
from assaymark.audits.icl_membership.method.prompts import Conversation
from assaymark.audits.icl_membership.method.words import words_of
from assaymark.audits.icl_membership.reading import Pool
from assaymark.audits.icl_membership.wording import Wording
from assaymark.errors import InputError, ModelError

__all__ = ["PARAPHRASE_TOKENS", "Armoury", "missing_for"]

PARAPHRASE = "Say the following in other words. Keep its meaning, and write nothing else.\n\n"
PARAPHRASE_TOKENS = 128
SYNTHETIC_TOKENS = 40
"""Longest generated demonstration: its tokens are all paid for out of epsilon, used or not."""

Data = Callable[[int, Demonstrations, Conversation], Demonstrations]


@dataclass
class Armoury:
    """Makes the shield of a defence. What a recipe makes of the same demonstrations is made once.

    Attributes
    ----------
    public : Pool or None
        Texts that are nobody's secret.
    guarantees : dict of recipe to str
        What is proved of the data recipes that were used.
    """

    wording: Wording
    config: ServiceConfig
    context: Context
    public: Pool | None
    guarantees: dict[str, str] = field(default_factory=dict)

    def shield(self, defence: Defence) -> Shield:
        """A service with a defence.

        Raises
        ------
        ModelError, InputError
            A recipe needs a model or an input that was not given.
        """
        return Shield(
            defence.name,
            defence.instruction,
            None if defence.data is None else self._data(defence.data),
            self._heard if defence.output == "consistent" else None,
            self.config.ensemble_parts if defence.output == "ensemble" else 1,
            self._said.get(defence.output or ""),
        )

    def _data(self, recipe: str) -> Data:
        if recipe == "subset":
            return self._subset
        makers: Mapping[str, Callable[[int, Demonstrations], DataDefence]] = {
            "labels_only": lambda game, shown: labels_only(shown),
            "redact": self._redacted,
            "nearest_public": self._replaced,
            "paraphrase": self._paraphrased,
            "synthetic": self._generated,
        }
        if recipe in ("redact", "nearest_public") and self.public is None:
            raise InputError(f"the recipe {recipe} works with texts that are no secret: give them with public=FILE")
        if recipe == "paraphrase":
            self.context.require("paraphraser")
        if recipe == "synthetic":
            self.context.require("writer")
        return self._once(recipe, makers[recipe])

    def _once(self, recipe: str, make: Callable[[int, Demonstrations], DataDefence]) -> Data:
        """A recipe that changes the demonstrations of a prompt when it is written, not for each question."""
        made: dict[Demonstrations, Demonstrations] = {}

        def defended(game: int, shown: Demonstrations, conversation: Conversation) -> Demonstrations:
            if shown not in made:
                found = make(game, shown)
                made[shown] = found.demonstrations
                self.guarantees[recipe] = str(found.guarantee)
            return made[shown]

        return defended

    def _subset(self, game: int, shown: Demonstrations, conversation: Conversation) -> Demonstrations:
        keep = min(self.config.subset_size or max(1, len(shown) // 2), len(shown))
        # An operator's key is a secret. Here nobody looks at it, and a key by the seed gives the same result on every machine.
        key = f"{self.context.seed} {game}".encode()
        found = subset(shown, keep=keep, rng=query_generator(conversation[-1]["content"], key=key))
        self.guarantees["subset"] = str(found.guarantee)
        return found.demonstrations

    def _redacted(self, game: int, shown: Demonstrations) -> DataDefence:
        return redact(shown, document_frequency=self._document_frequency, rare_below=self.config.rare_documents)

    @cached_property
    def _document_frequency(self) -> dict[str, int]:
        assert self.public is not None
        counts: dict[str, int] = {}
        for text in self.public.text:
            for word in set(words_of(text)):
                counts[word] = counts.get(word, 0) + 1
        return counts

    def _replaced(self, game: int, shown: Demonstrations) -> DataDefence:
        return nearest_public(shown, public=self._public_index)

    @cached_property
    def _public_index(self) -> PublicIndex:
        assert self.public is not None
        pairs = zip(self.public.text, self.public.label.tolist(), strict=True)
        return PublicIndex.of([(text, self.public.names[label]) for text, label in pairs])

    def _paraphrased(self, game: int, shown: Demonstrations) -> DataDefence:
        model = self.context.require("paraphraser")

        def write(texts: Sequence[str]) -> list[str | None]:
            prompts = [[{"role": "user", "content": PARAPHRASE + text}] for text in texts]
            said = model.generate_text(prompts, temperature=0.0, max_tokens=PARAPHRASE_TOKENS)
            return [" ".join(each[0].split()) or None for each in said]

        return paraphrase(shown, write=write)

    def _generated(self, game: int, shown: Demonstrations) -> DataDefence:
        """One demonstration for each label of the task, written from those of the prompt under the privacy budget."""
        model: Any = self.context.require("writer")
        longest = min(SYNTHETIC_TOKENS, self.config.max_tokens)
        free = Generation(0.0, groups=max(len(shown) // 2, 1), longest=longest, delta=self.config.delta)
        noise = noise_multiplier_for(self.config.epsilon, settings=free, examples_per_label=1)
        settings = Generation(noise, groups=free.groups, longest=longest, delta=self.config.delta)
        rng = np.random.default_rng([self.context.seed, game, 0xD9])
        return synthetic(shown, wanted=self.wording.parser.labels, next_token=model.next_tokens, settings=settings, rng=rng)

    def _heard(self, conversations: Sequence[Conversation]) -> Sequence[Conversation]:
        templates = self.wording.templates
        return consistent(
            conversations, label_names=self.wording.parser.labels, field=templates.field, answer_field=templates.answer_field
        ).conversations

    @property
    def _said(self) -> dict[str, Any]:
        return {"overlap_guard": self._guarded, "label_only": self._projected, "scrub": self._scrubbed}

    def _guarded(self, replies: list[str], shown: Sequence[Demonstrations], conversations: Sequence[Conversation]) -> list[str]:
        """Replies to questions about the same demonstrations are compared with them together."""
        released = list(replies)
        places: dict[Demonstrations, list[int]] = {}
        for place, demonstrations in enumerate(shown):
            places.setdefault(demonstrations, []).append(place)
        for demonstrations, group in places.items():
            texts = [text for text, _ in demonstrations]
            guard = overlap_guard(
                [replies[place] for place in group],
                texts,
                n=self.config.ngram or None,
                prefix_words=self.config.prefix_words,
                label_names=self.wording.parser.labels,
            )
            for place, reply in zip(group, guard.replies, strict=True):
                released[place] = reply
        return released

    def _projected(
        self, replies: list[str], shown: Sequence[Demonstrations], conversations: Sequence[Conversation]
    ) -> list[str]:
        number = dict(zip(replies, self.wording.parser.parse(replies).tolist(), strict=True))
        labels = self.wording.parser.labels
        return list(label_only(replies, parse=lambda reply: labels[number[reply]] if number[reply] >= 0 else None).replies)

    def _scrubbed(
        self, replies: list[str], shown: Sequence[Demonstrations], conversations: Sequence[Conversation]
    ) -> list[str]:
        questions = [conversation[-1]["content"] for conversation in conversations]
        return list(scrub(replies, questions, label_names=self.wording.parser.labels).replies)


def missing_for(recipe: str, context: Context, public: Pool | None) -> str:
    """What a recipe lacks, in words; empty where it can be used."""
    try:
        if recipe in ("redact", "nearest_public") and public is None:
            return "texts that are no secret were not given (public=FILE)"
        if recipe == "paraphrase":
            context.require("paraphraser")
        if recipe == "synthetic":
            context.require("writer")
    except ModelError as error:
        return str(error)
    return ""
