"""The downstream probe: class probabilities of labelled faces under one encoder, or two."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.audit import Context
from assaymark.audits.image_text_dataset.config import ImageTextDatasetConfig
from assaymark.audits.image_text_dataset.method.downstream import (
    PAPER_CLASSES,
    EncoderDifference,
    GroupAnswer,
    GroupGap,
    class_probabilities,
    compare_encoders,
    compare_groups,
    group_answers,
)
from assaymark.data.images import decode_image
from assaymark.errors import InputError, SchemaError

__all__ = ["Faces", "measure_faces"]

GROUPS = ("race", "gender")
PREFIX = "score:"


class Faces(NamedTuple):
    classes: tuple[str, ...]
    human: int
    answers: tuple[GroupAnswer, ...]
    differences: tuple[EncoderDifference, ...]
    gaps: dict[str, GroupGap]  # "race.r1": mean probability of the human class in the group minus that of all other faces
    faces: int
    unscored: int


def measure_faces(table: Any, baseline: Any, encoder: Any, config: ImageTextDatasetConfig, context: Context) -> Faces:
    """`table` has `score:<class>` columns (logits, e.g. 100 x cosine), or `image` paths for an encoder; and group columns."""
    classes, scores = _scores(table, encoder, "faces")
    if config.human_class not in classes:
        raise SchemaError(
            f"faces: no class {config.human_class!r} among {', '.join(classes)}; name the class a face should get with "
            "--set human_class=..."
        )
    named = {
        g: np.array([str(v) for v in table.column(g).to_pylist()], dtype=object) for g in GROUPS if g in table.column_names
    }
    groups, human = list(named.values()), classes.index(config.human_class)
    probabilities = class_probabilities(scores, scale=1.0)
    options: dict[str, Any] = {"confidence": config.confidence, "resamples": config.resamples}
    answers = group_answers(probabilities, *groups, rng=context.rng("faces"), **options)
    gaps = {
        f"{column}.{value}": compare_groups(
            probabilities,
            values == value,
            values != value,
            class_index=human,
            rng=context.rng(f"gap {column} {value}"),
            **options,
        )
        for column, values in named.items()
        for value in sorted(set(values))
        if len(set(values)) > 1
    }
    differences: tuple[EncoderDifference, ...] = ()
    if baseline is not None:
        other_classes, other = _scores(baseline, None, "faces_baseline")
        if other_classes != classes or other.shape != scores.shape:
            raise SchemaError("faces_baseline: give the same faces and classes as in faces, in the same order")
        differences = compare_encoders(
            class_probabilities(other, scale=1.0), probabilities, *groups, rng=context.rng("faces compared"), **options
        )
    unscored = int(np.isnan(scores).any(axis=1).sum())
    return Faces(classes, human, answers, differences, gaps, len(scores), unscored)


def _scores(table: Any, encoder: Any, name: str) -> tuple[tuple[str, ...], npt.NDArray[np.float64]]:
    columns = [column for column in table.column_names if column.startswith(PREFIX)]
    if columns:
        values = np.array([table.column(column).to_pylist() for column in columns], dtype=float).T
        return tuple(column.removeprefix(PREFIX) for column in columns), values
    if "image" not in table.column_names or encoder is None:
        raise SchemaError(
            f"{name}: give columns 'score:<class>' (logits), or a column 'image' with paths and --model dual_encoder=SPEC; "
            f"columns: {', '.join(table.column_names)}"
        )
    return PAPER_CLASSES, _encoded(table, encoder)


def _encoded(table: Any, encoder: Any) -> npt.NDArray[np.float64]:
    sentences = np.asarray(encoder.embed_texts([f"A photo of a {name}" for name in PAPER_CLASSES]), dtype=float)
    paths = [str(path) for path in table.column("image").to_pylist()]
    logits = np.full((len(paths), len(PAPER_CLASSES)), np.nan)
    for i, path in enumerate(paths):
        try:
            logits[i] = (
                encoder.logit_scale * np.asarray(encoder.embed_images([decode_image(path)]), dtype=float)[0] @ sentences.T
            )
        except InputError:  # the face stays NaN and is counted as unscored
            continue
    return logits
