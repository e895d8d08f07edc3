"""The prompts in use: where they come from, and what their lengths would do to a decision that leaves them as they are."""

from __future__ import annotations

import numpy as np

from assaymark.audits.image_offensiveness.config import TuningSettings
from assaymark.models.prompt_files import PromptSet
from assaymark.result import Column, Table
from assaymark.section import Section

__all__ = ["prompt_section"]

ORIGINS = {
    "file": "from a file",
    "ratings": "tuned on the ratings of this audit",
    "words": "zero-shot: words in a sentence, as the encoder embeds them",
}


def prompt_section(prompts: PromptSet, origin: str, config: TuningSettings, notes: tuple[str, ...]) -> Section:
    """One row for each prompt vector."""
    rows = prompts.prompts.astype(np.float64)
    length = np.linalg.norm(rows, axis=1)
    cosine = (rows @ rows[0]) / (length * length[0])
    values = {
        "prompt": list(prompts.labels[: len(rows)]),
        "word": [*prompts.words[: len(rows)], *[""] * (len(rows) - len(prompts.words))],
        "length": length,
        "cosine": cosine,
    }
    columns = (
        Column("prompt", "label"),
        Column("word", "text", "word it started from"),
        Column("length", "number"),
        Column("cosine", "number", "cosine with the first"),
    )
    section = Section(notes=list(notes))
    trained = ", ".join(
        f"{key} {value}" for key, value in prompts.training.items() if key in ("offensive", "inoffensive", "epochs")
    )
    encoder = f"; encoder {prompts.encoder}" if prompts.encoder else ""
    section.tables.append(
        Table.of(
            "prompts",
            "The prompts",
            values,
            columns,
            description=f"{ORIGINS[origin][0].upper()}{ORIGINS[origin][1:]}{encoder}; logit scale {prompts.logit_scale:g}"
            f"{f'; tuned on: {trained}' if trained else ''}.",
        )
    )
    if abs(length[1] / length[0] - 1) > 1e-3:
        section.notes.append(
            f"the prompt vectors differ in length by a factor of {length[1] / length[0]:.3f}; they are normalised here"
        )
    if origin == "file" and prompts.threshold != config.threshold:
        section.notes.append(
            f"the file of the prompts names a threshold of {prompts.threshold:g}; the setting's {config.threshold:g} is used"
        )
    return section
