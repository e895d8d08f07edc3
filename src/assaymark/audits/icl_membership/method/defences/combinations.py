"""One recipe for each target of defence, and all 2^3 subsets of them.

References
----------
.. [1] Wen, R. et al. (2024). Membership inference attacks against in-context learning. CCS; arXiv:2409.01380 (data,
   instruction and output as targets; combinations of them do best).
"""

from __future__ import annotations

from typing import NamedTuple

from assaymark.audits.icl_membership.method.defences.accountant import Generation
from assaymark.audits.icl_membership.method.defences.instruction import WORDINGS

__all__ = [
    "DATA_RECIPES",
    "INSTRUCTION_RECIPES",
    "OUTPUT_RECIPES",
    "Defence",
    "ExtraCalls",
    "combinations",
    "extra_calls",
    "over_wordings",
]

DATA_RECIPES = ("synthetic", "paraphrase", "redact", "subset", "nearest_public", "labels_only")
INSTRUCTION_RECIPES = tuple(WORDINGS)
OUTPUT_RECIPES = ("overlap_guard", "label_only", "scrub", "consistent", "ensemble")


class Defence(NamedTuple):
    """Names of the recipe for each target; None where that target is not defended.

    Examples
    --------
    >>> Defence(data="redact", output="overlap_guard").name, Defence().name
    ('redact + overlap guard', 'none')
    """

    data: str | None = None
    instruction: str | None = None
    output: str | None = None

    @classmethod
    def of(cls, data: str, instruction: str, output: str) -> Defence:
        """From names of recipes, of which "none" stands for no defence."""
        return cls(*(None if recipe == "none" else recipe for recipe in (data, instruction, output)))

    @property
    def name(self) -> str:
        """Readable and, among the subsets of one choice of recipes, unique."""
        return " + ".join(recipe.replace("_", " ") for recipe in self if recipe is not None) or "none"

    @property
    def targets(self) -> tuple[str, ...]:
        """Which of data, instruction and output are defended."""
        return tuple(target for target, recipe in zip(self._fields, self, strict=True) if recipe is not None)


def combinations(*, data: str, instruction: str, output: str) -> tuple[Defence, ...]:
    """All eight subsets of three recipes.

    Returns
    -------
    tuple of Defence
        None; data; instruction; output; data and instruction; data and output; instruction and output; all three.

    Raises
    ------
    ValueError
        For a recipe that does not exist, or belongs to another target.
    """
    whole = Defence(data, instruction, output)
    known = {"data": DATA_RECIPES, "instruction": INSTRUCTION_RECIPES, "output": OUTPUT_RECIPES}
    for target, recipe in zip(whole.targets, whole, strict=True):
        if recipe not in known[target]:
            raise ValueError(f"{target} recipe {recipe!r}: one of {', '.join(known[target])}")
    subsets = ((), (0,), (1,), (2,), (0, 1), (0, 2), (1, 2), (0, 1, 2))
    return tuple(Defence(*(recipe if i in subset else None for i, recipe in enumerate(whole))) for subset in subsets)


def over_wordings(defence: Defence) -> tuple[Defence, ...]:
    """The same defence with each wording of the instruction, of which the worst is reported; itself where it has none."""
    if defence.instruction is None:
        return (defence,)
    return tuple(defence._replace(instruction=wording) for wording in INSTRUCTION_RECIPES)


class ExtraCalls(NamedTuple):
    """Model calls that a defence costs beyond the undefended service.

    Attributes
    ----------
    setup : int
        Once for each prompt. A next-token distribution counts as a call.
    per_query : int
    """

    setup: int
    per_query: int


def extra_calls(
    defence: Defence, *, demonstrations: int, prompts: int = 3, generation: Generation | None = None, generated: int = 0
) -> ExtraCalls:
    """What a defence costs in model calls.

    Parameters
    ----------
    demonstrations : int
        In the prompt.
    prompts : int >= 1
        Of the recipe "ensemble".
    generation, generated
        Settings and number of generated demonstrations of the recipe "synthetic"; its cost is the largest possible one.

    Raises
    ------
    ValueError
        For "synthetic" without its settings.
    """
    setup = 0
    if defence.data == "paraphrase":
        setup = demonstrations
    elif defence.data == "synthetic":
        if generation is None:
            raise ValueError("the cost of the recipe 'synthetic' depends on its settings: give generation")
        setup = generated * generation.longest * (generation.groups + 1)
    return ExtraCalls(setup, prompts - 1 if defence.output == "ensemble" else 0)
