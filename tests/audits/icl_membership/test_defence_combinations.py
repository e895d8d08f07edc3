"""Subsets of recipes, their names and their cost; wordings of the instruction."""

from __future__ import annotations

from itertools import product

import pytest

from assaymark.audits.icl_membership.method.defences.accountant import Generation
from assaymark.audits.icl_membership.method.defences.combinations import (
    DATA_RECIPES,
    INSTRUCTION_RECIPES,
    OUTPUT_RECIPES,
    Defence,
    combinations,
    extra_calls,
    over_wordings,
)
from assaymark.audits.icl_membership.method.defences.instruction import WORDINGS, with_wording


@pytest.mark.parametrize(("data", "instruction", "output"), list(product(DATA_RECIPES, INSTRUCTION_RECIPES, OUTPUT_RECIPES)))
def test_all_eight_subsets_once_with_names_of_their_own(data: str, instruction: str, output: str) -> None:
    subsets = combinations(data=data, instruction=instruction, output=output)
    assert set(subsets) == set(product((data, None), (instruction, None), (output, None)))
    assert len({defence.name for defence in subsets}) == 8
    assert [len(defence.targets) for defence in subsets] == [0, 1, 1, 1, 2, 2, 2, 3]


def test_order_and_names() -> None:
    subsets = combinations(data="redact", instruction="never_repeat", output="overlap_guard")
    assert [defence.name for defence in subsets] == [
        "none",
        "redact",
        "never repeat",
        "overlap guard",
        "redact + never repeat",
        "redact + overlap guard",
        "never repeat + overlap guard",
        "redact + never repeat + overlap guard",
    ]
    assert subsets[5].targets == ("data", "output")


@pytest.mark.parametrize("wrong", [{"data": "scrub"}, {"instruction": "redact"}, {"output": "only_a_label"}])
def test_recipes_of_another_target_are_refused(wrong: dict[str, str]) -> None:
    recipes = {"data": "subset", "instruction": "never_repeat", "output": "scrub"} | wrong
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} recipe"):
        combinations(**recipes)


def test_calls() -> None:
    def calls(defence: Defence) -> tuple[int, int]:
        settings = Generation(1.0, groups=10, longest=20)
        return extra_calls(defence, demonstrations=6, prompts=5, generation=settings, generated=4)

    assert calls(Defence()) == (0, 0)
    assert calls(Defence(data="paraphrase", output="ensemble")) == (6, 4)
    assert calls(Defence(data="synthetic", instruction="never_repeat")) == (4 * 20 * 11, 0)
    assert calls(Defence(data="redact", instruction="never_repeat", output="overlap_guard")) == (0, 0)
    with pytest.raises(ValueError, match="give generation"):
        extra_calls(Defence(data="synthetic"), demonstrations=6)


def test_wordings() -> None:
    assert [d.instruction for d in over_wordings(Defence("subset", "never_repeat"))] == list(WORDINGS)
    assert all(d.data == "subset" for d in over_wordings(Defence("subset", "never_repeat")))
    assert over_wordings(Defence("subset")) == (Defence("subset"),)
    assert len(set(WORDINGS.values())) == len(WORDINGS) == 3


@pytest.mark.parametrize("wording", WORDINGS)
def test_a_wording_is_added_once(wording: str) -> None:
    once = with_wording("Classify the question. ", wording=wording, label_names=("A", "B"))
    assert once.startswith("Classify the question. ") and "{labels}" not in once
    assert with_wording(once, wording=wording, label_names=("A", "B")) == once
    assert ("{A, B}" in once) == (wording == "only_a_label")
    assert with_wording("", wording=wording, label_names=("A",))[0] != " "
