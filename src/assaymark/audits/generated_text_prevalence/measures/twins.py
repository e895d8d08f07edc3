"""Machine-written twins of human texts: models are asked to continue, rewrite, polish or answer what people wrote."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from assaymark.audit import Context
from assaymark.audits.generated_text_prevalence.config import GeneratedTextPrevalenceConfig
from assaymark.audits.generated_text_prevalence.probes.labelled import LabelledTexts

__all__ = ["FILE", "INSTRUCTIONS", "Twins", "add_twins", "prompt"]

INSTRUCTIONS: dict[str, str] = {
    "continue": "Continue this post in the same voice. Write only the continuation.\n\n{start}",
    "rewrite": "Rewrite this post in your own words and keep what it says. Write only the post.\n\n{text}",
    "polish": "Polish the language of this post and change nothing else. Write only the post.\n\n{text}",
    "answer": "Answer this question as a user of a question-and-answer site would. Write only the answer.\n\n{title}",
    "title": "Write a social media post under this title. Write only the post.\n\n{title}",
}
"""What a model is asked for, by style. The title is the first line, or the first sentence, of the human text."""

FILE = "twins.parquet"
START = 30
"""Words of the human text that a continuation is given; they are not part of the twin."""


class _Twin(NamedTuple):
    """A machine-written text, the row it was made from, and how."""

    row: int
    generator: str
    style: str
    text: str


class Twins(NamedTuple):
    """`rows` with the twins added, how many were `written` and how many replies were `empty`, by generator and style.

    `saved` says whether the twins were written to `FILE` among the files of the step.
    """

    rows: LabelledTexts
    written: dict[tuple[str, str], int]
    empty: dict[tuple[str, str], int]
    saved: bool


def prompt(text: str, style: str, *, words: int) -> list[dict[str, str]]:
    """The messages that ask for a twin of a text, of which at most so many words are shown."""
    shown = _beginning(text, words)
    first_line = shown.strip().splitlines()[0] if shown.strip() else ""
    title = first_line.split(". ")[0][:300]
    start = _beginning(shown, START)
    return [{"role": "user", "content": INSTRUCTIONS[style].format(text=shown, title=title, start=start)}]


def _beginning(text: str, words: int) -> str:
    """The first words of a text, with the white space between them."""
    found = re.match(rf"\s*(?:\S+\s+){{0,{words - 1}}}\S+", text)
    return found[0] if found else ""


def add_twins(
    rows: LabelledTexts, generators: Mapping[str, Any], config: GeneratedTextPrevalenceConfig, context: Context
) -> Twins:
    """Let every generator write a twin, in each style, of the first `twins` human texts by hash.

    Notes
    -----
    Replies go through the cache of model calls: a run that was stopped goes on where it was.
    """
    chosen = [row for row in np.flatnonzero(rows.label == 0).tolist() if rows.texts[row].strip()][: config.twins]
    written: dict[tuple[str, str], int] = {}
    empty: dict[tuple[str, str], int] = {}
    added: list[_Twin] = []
    for name, model in generators.items():
        for style in config.prompt_styles:
            with context.progress.task(f"{name}: twins, {style}", total=len(chosen), unit="texts") as task:
                replies = model.generate_text(
                    [prompt(rows.texts[row], style, words=config.twin_words) for row in chosen],
                    samples=1,
                    temperature=config.twin_temperature,
                    max_tokens=config.twin_tokens,
                    seed=context.seed,
                )
                task.advance(len(chosen))
            kept = [
                _Twin(row, name, style, said[0].strip()) for row, said in zip(chosen, replies, strict=True) if said[0].strip()
            ]
            written[name, style], empty[name, style] = len(kept), len(chosen) - len(kept)
            added += kept
    saved = context.artifacts is not None
    if context.artifacts is not None:
        _save(context.artifacts / FILE, rows, added, config)
    return Twins(_with(rows, added, generators), written, empty, saved)


def _save(path: Path, rows: LabelledTexts, added: list[_Twin], config: GeneratedTextPrevalenceConfig) -> None:
    """Every twin with its source, generator, style and decoding parameters: labelled texts for later runs."""
    columns = {
        "text": [twin.text for twin in added],
        "label": ["machine"] * len(added),
        "generator": [twin.generator for twin in added],
        "prompt_style": [twin.style for twin in added],
        "source_id": [f"{rows.unit[twin.row]:016x}" for twin in added],
        "platform": [rows.platforms.get(int(rows.platform[twin.row])) for twin in added],
        "temperature": [config.twin_temperature] * len(added),
        "max_tokens": [config.twin_tokens] * len(added),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)


def _with(rows: LabelledTexts, added: list[_Twin], generators: Mapping[str, Any]) -> LabelledTexts:
    """The rows followed by the twins; a twin has the source and the platform of its text."""
    source = np.array([twin.row for twin in added], dtype=np.int64)
    # Codes of names from the table are hashes; small numbers are free.
    codes = {name: number for number, name in enumerate(generators, start=1)}
    texts = [twin.text for twin in added]
    return rows._replace(
        texts=[*rows.texts, *texts],
        label=np.concatenate([rows.label, np.ones(len(added), np.int8)]),
        words=np.concatenate([rows.words, np.array([len(text.split()) for text in texts], np.int64)]),
        generator=np.concatenate([rows.generator, np.array([codes[twin.generator] for twin in added], np.int64)]),
        platform=np.concatenate([rows.platform, rows.platform[source]]),
        unit=np.concatenate([rows.unit, rows.unit[source]]),
        scores={name: np.concatenate([values, np.full(len(added), np.nan)]) for name, values in rows.scores.items()},
        generators={**rows.generators, **{code: name for name, code in codes.items()}},
    )
