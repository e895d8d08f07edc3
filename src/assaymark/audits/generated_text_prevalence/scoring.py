"""Models become columns: answers of each model about each text, in a scan or for texts at hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from assaymark.audit import Context
from assaymark.audits.generated_text_prevalence.config import GeneratedTextPrevalenceConfig
from assaymark.audits.generated_text_prevalence.detectors import Family, Member
from assaymark.audits.generated_text_prevalence.measures.perturbing import Rewriting, rewritten_scores
from assaymark.audits.generated_text_prevalence.probes.posts import count_words
from assaymark.data.scan import Scorer

__all__ = ["rewriting", "scan_scorer", "score_columns", "score_texts"]

Floats = npt.NDArray[np.float64]
_BLOCK = 512  # texts between two advances of the bar


def rewriting(config: GeneratedTextPrevalenceConfig, filler: Any, seed: int) -> Rewriting | None:
    """How texts are rewritten for DetectGPT and NPR; None where they are not."""
    if not config.perturbations or filler is None:
        return None
    return Rewriting(filler, config.perturbations, config.mask_share, config.mask_span, config.mask_buffer, seed)


def score_columns(family: Family) -> dict[str, str]:
    """`{MEMBER.LABEL: column of the table}` of the members that are precomputed scores."""
    found = {}
    for member in family.members:
        if member.kind == "columns":
            label = member.columns[0].partition(".")[2]
            found[member.columns[0]] = member.model.columns[list(member.model.labels).index(label)]
    return found


@dataclass(frozen=True)
class _Answers:
    """Picklable: an Arrow array of texts to the columns of one model. Texts with too few words are not asked about."""

    member: Member
    rewriting: Rewriting | None
    least_words: int

    def __call__(self, column: pa.Array) -> npt.NDArray[np.float32]:
        texts = [text or "" for text in column.to_pylist()]
        answers = np.full((len(texts), len(self.member.columns)), np.nan, np.float32)
        asked = np.flatnonzero(count_words(pa.array(texts, pa.large_string())) >= max(1, self.least_words))
        if len(asked):
            answers[asked] = _answers(self.member, [texts[row] for row in asked], self.rewriting)
        return answers


def _answers(member: Member, texts: list[str], rewriting: Rewriting | None) -> npt.NDArray[np.float32]:
    if member.kind == "classifier":
        return np.asarray(member.model.score_texts(texts), np.float32)
    if member.kind == "words":
        return np.asarray(member.model.log_ratio(texts), np.float32)[:, None]
    own = np.asarray(member.model.summarise_tokens(texts), np.float64)
    if own.shape[1] == len(member.columns):
        return own.astype(np.float32)
    assert rewriting is not None
    rewritten: Floats = rewritten_scores(member.model, texts, rewriting, own)
    return np.column_stack([own, rewritten]).astype(np.float32)


def scan_scorer(member: Member, *, rewriting: Rewriting | None, least_words: int, batch_size: int) -> Scorer:
    """A model as a scorer of a scan, whose columns are those of the member."""
    labels = tuple(column.partition(".")[2] for column in member.columns)
    return Scorer(member.name, "text", labels, _Answers(member, rewriting, least_words), batch_size)


def score_texts(
    family: Family, texts: Sequence[str], context: Context, *, rewriting: Rewriting | None, what: str
) -> Mapping[str, Floats]:
    """Columns of all models for texts at hand; every finished batch is in the cache of model calls."""
    columns: dict[str, Floats] = {}
    for member in family.members:
        if member.kind == "columns":
            continue
        ask = _Answers(member, rewriting, 1)
        blocks = []
        with context.progress.task(f"{member.name}: {what}", total=len(texts), unit="texts") as task:
            for start in range(0, len(texts), _BLOCK):
                block = pa.array(texts[start : start + _BLOCK], pa.large_string())
                blocks.append(ask(block))
                task.advance(len(block))
        answers = np.concatenate(blocks) if blocks else np.zeros((0, len(member.columns)), np.float32)
        columns |= {name: answers[:, i].astype(np.float64) for i, name in enumerate(member.columns)}
    return columns
