"""From the names of defences to functions on one service's demonstrations, conversations and replies."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

from assaymark.audit import Context
from assaymark.audits.icl_membership.config import ServiceConfig
from assaymark.audits.icl_membership.measures.service import Demonstrations, Shield
from assaymark.audits.icl_membership.measures.written import generated, paraphrased, private_generation
from assaymark.audits.icl_membership.method.defences.accountant import Generation
from assaymark.audits.icl_membership.method.defences.combinations import Defence
from assaymark.audits.icl_membership.method.defences.consistency import consistent
from assaymark.audits.icl_membership.method.defences.output import label_only, overlap_guard, scrub
from assaymark.audits.icl_membership.method.defences.records import DataDefence
from assaymark.audits.icl_membership.method.defences.redaction import redact
from assaymark.audits.icl_membership.method.defences.replacement import PublicIndex, labels_only, nearest_public
from assaymark.audits.icl_membership.method.defences.subset import query_generator, subset
from assaymark.audits.icl_membership.method.prompts import Conversation
from assaymark.audits.icl_membership.method.words import words_of
from assaymark.audits.icl_membership.reading import Pool
from assaymark.audits.icl_membership.wording import Wording
from assaymark.errors import InputError, ModelError

__all__ = ["Armoury", "missing_for"]

Data = Callable[[int, Demonstrations, Conversation], Demonstrations]
Maker = Callable[[Sequence[Demonstrations]], Sequence[DataDefence]]


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
    _made: dict[str, dict[Demonstrations, Demonstrations]] = field(default_factory=dict)
    _generations: dict[int, Generation] = field(default_factory=dict)

    def ready(self, recipes: Iterable[str | None], *, sizes: Sequence[int]) -> tuple[str, ...]:
        """Of some data recipes those that have what they need, for prompts of these sizes: found out before the first question.

        Raises
        ------
        MissingExtra
        """
        usable = [name for name in dict.fromkeys(recipes) if name and not missing_for(name, self.context, self.public)]
        if "synthetic" in usable:
            for size in sizes:
                self.generation(size)
        return tuple(usable)

    def shield(self, defence: Defence) -> Shield:
        """A service with a defence.

        Raises
        ------
        ModelError, InputError, MissingExtra
            A recipe needs a model, an input or a library that is not there.
        """
        make = self._maker(defence.data)
        return Shield(
            defence.name,
            defence.instruction,
            self._subset if defence.data == "subset" else None if make is None else partial(self._made_of, str(defence.data)),
            self._heard if defence.output == "consistent" else None,
            self.config.ensemble_parts if defence.output == "ensemble" else 1,
            self._said.get(defence.output or ""),
            None if make is None else partial(self._make, str(defence.data), make),
        )

    def _maker(self, recipe: str | None) -> Maker | None:
        """What makes the demonstrations of many prompts, for recipes that do so once and not for each question."""
        if recipe in ("redact", "nearest_public") and self.public is None:
            raise InputError(f"the recipe {recipe} works with texts that are no secret: give them with public=FILE")
        if recipe == "paraphrase":
            self.context.require("paraphraser")
        if recipe == "synthetic":
            self.context.require("writer")
        makers: Mapping[str, Maker] = {
            "labels_only": lambda prompts: [labels_only(shown) for shown in prompts],
            "redact": lambda prompts: [self._redacted(shown) for shown in prompts],
            "nearest_public": lambda prompts: [nearest_public(shown, public=self._public_index) for shown in prompts],
            "paraphrase": lambda prompts: paraphrased(prompts, self.context),
            "synthetic": lambda prompts: generated(prompts, self.wording, self.context, settings=self.generation),
        }
        return makers.get(recipe or "")

    def _make(self, recipe: str, make: Maker, prompts: Sequence[Demonstrations]) -> None:
        """Make what is not yet made of some prompts, all together; every defence with this recipe has it from then on."""
        made = self._made.setdefault(recipe, {})
        missing = [shown for shown in dict.fromkeys(prompts) if shown and shown not in made]
        for shown, found in zip(missing, make(missing) if missing else (), strict=True):
            made[shown] = found.demonstrations
            self.guarantees[recipe] = str(found.guarantee)

    def _made_of(self, recipe: str, game: int, shown: Demonstrations, conversation: Conversation) -> Demonstrations:
        return self._made[recipe][shown]

    def generation(self, demonstrations: int) -> Generation:
        """How `synthetic` writes a prompt of so many demonstrations.

        Raises
        ------
        MissingExtra
        """
        if demonstrations not in self._generations:
            self._generations[demonstrations] = private_generation(
                self.config, demonstrations=demonstrations, labels=len(self.wording.parser.labels)
            )
        return self._generations[demonstrations]

    def _subset(self, game: int, shown: Demonstrations, conversation: Conversation) -> Demonstrations:
        keep = min(self.config.subset_size or max(1, len(shown) // 2), len(shown))
        # An operator's key is a secret. Here nobody looks at it, and a key by the seed gives the same result on every machine.
        key = f"{self.context.seed} {game}".encode()
        found = subset(shown, keep=keep, rng=query_generator(conversation[-1]["content"], key=key))
        self.guarantees["subset"] = str(found.guarantee)
        return found.demonstrations

    def _redacted(self, shown: Demonstrations) -> DataDefence:
        return redact(shown, document_frequency=self._document_frequency, rare_below=self.config.rare_documents)

    @cached_property
    def _document_frequency(self) -> dict[str, int]:
        assert self.public is not None
        counts: dict[str, int] = {}
        for text in self.public.text:
            for word in set(words_of(text)):
                counts[word] = counts.get(word, 0) + 1
        return counts

    @cached_property
    def _public_index(self) -> PublicIndex:
        assert self.public is not None
        pairs = zip(self.public.text, self.public.label.tolist(), strict=True)
        return PublicIndex.of([(text, self.public.names[label]) for text, label in pairs])

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
