"""Defences as the games meet them."""

from __future__ import annotations

from dataclasses import replace

from assaymark.audit import Context
from assaymark.audits.icl_membership.config import DefenceConfig
from assaymark.audits.icl_membership.measures.shields import Armoury
from assaymark.audits.icl_membership.method.defences.combinations import Defence
from assaymark.audits.icl_membership.method.prompts import gap_conversation
from assaymark.audits.icl_membership.planted import LABELS, TEMPLATES, planted_pool
from assaymark.audits.icl_membership.wording import wording


def test_a_subset_depends_on_the_seed_and_the_game_and_not_on_the_machine() -> None:
    config = DefenceConfig.build({})
    drawn = planted_pool(0, 40)
    shown = tuple(zip(drawn.texts, drawn.labels, strict=True))[:6]
    questions = [gap_conversation(TEMPLATES, text) for text in drawn.texts]

    def seen(context: Context, game: int = 0) -> list[tuple[tuple[str, str], ...]]:
        data = Armoury(wording(LABELS, config), config, context, None).shield(Defence(data="subset")).data
        assert data is not None
        return [data(game, shown, question) for question in questions]

    here = Context(seed=3, salt=b"one machine's salt")
    drawn_here = seen(here)
    assert {len(part) for part in drawn_here} == {3} and len(set(drawn_here)) > 10
    assert seen(replace(here, salt=b"that of another one")) == drawn_here
    assert seen(replace(here, seed=4)) != drawn_here != seen(here, game=1)
