"""The image scorer inside the pass: where its scores come from, at which threshold they are read, with which known error."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from assaymark.audits.image_text_dataset.config import ImageTextDatasetConfig
from assaymark.data.decoding import PictureScores
from assaymark.data.embeddings import embedding_matrix, unit_rows
from assaymark.data.scan import Scorer

__all__ = ["image_labels", "image_scorer", "with_decision", "with_image_columns"]

ROLE = "image_unsafe"
Array = npt.NDArray[np.float32]


def with_decision(config: ImageTextDatasetConfig, model: Any) -> tuple[ImageTextDatasetConfig, tuple[str, ...]]:
    """Settings in which an image scorer's own threshold, and the error measured at it, stand where the user gave none.

    An error that was measured at one threshold says nothing of another, so a threshold of the user's keeps it out.
    """
    decision = getattr(model, "decision", None)
    if decision is None or config.image_threshold is not None:
        return config, ()
    changes: dict[str, Any] = {"image_threshold": decision.threshold}
    notes = [f"{ROLE}: the model's own threshold, {decision.threshold:.3g}, is used"]
    measured = decision.sensitivity is not None and decision.specificity is not None
    if measured and config.image_sensitivity is None and config.image_specificity is None:
        changes |= {"image_sensitivity": decision.sensitivity, "image_specificity": decision.specificity}
        (found, harmful), (passed, harmless) = decision.sensitivity, decision.specificity
        notes.append(
            f"{ROLE}: its rate is corrected by the error measured on {decision.source or 'labelled images'}: found {found:,} "
            f"of {harmful:,}, passed {passed:,} of {harmless:,}; that holds as far as those images are like these"
        )
    return config.model_copy(update=changes), tuple(notes)


def image_labels(dataset: Any, model: Any) -> tuple[str, ...]:
    """Labels of the image scorer where the data set has something for it to score; else none."""
    if model is None:
        return ()
    usable = (
        hasattr(model, "columns")
        or hasattr(model, "member_columns")
        or (hasattr(model, "score_images") and "image" in dataset)
        or (hasattr(model, "score_embeddings") and "embedding" in dataset)
    )
    return tuple(model.labels) if usable else ()


def with_image_columns(dataset: Any, model: Any, asked: set[str]) -> Any:
    """The data set with the score columns that the model reads, known by the names under which the pass asks for them."""
    if hasattr(model, "member_columns"):
        return dataset.with_scores({f"{ROLE}:{column}": column for column in model.member_columns})
    if not hasattr(model, "columns"):
        return dataset
    scores = {f"{ROLE}.{label}": column for label, column in zip(model.labels, model.columns, strict=True)}
    return dataset.with_scores({name: column for name, column in scores.items() if name in asked})


def image_scorer(dataset: Any, model: Any, *, batch_size: int) -> Scorer | None:
    """What the pass computes for the image scorer; None where the scores are columns already, or nothing can be scored.

    Pictures are preferred to stored embeddings, since nobody can see which encoder made those.
    """
    labels = image_labels(dataset, model)
    if not labels:
        return None
    if hasattr(model, "member_columns"):
        columns = tuple(f"{ROLE}:{column}" for column in model.member_columns)
        return Scorer(ROLE, columns, labels, CombinedScores(model), batch_size)
    if hasattr(model, "columns"):
        return None
    if hasattr(model, "score_images") and "image" in dataset:
        return Scorer(ROLE, "image", labels, PictureScores(model), batch_size)
    return Scorer(ROLE, "embedding", labels, EmbeddingScores(model), batch_size)


class EmbeddingScores:
    """Picklable scorer of an Arrow list array of embeddings; rows without a direction have no score."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def __call__(self, values: pa.Array) -> Array:
        scores = np.full((len(values), len(self.model.labels)), np.nan, dtype=np.float32)
        vectors, valid = unit_rows(embedding_matrix(values, width=self.model.dimension, where="column of embeddings"))
        if valid.any():
            scores[valid] = self.model.score_embeddings(vectors[valid])
        return scores


class CombinedScores:
    """Picklable scorer of several score columns together."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def __call__(self, *columns: pa.Array) -> Array:
        values = np.column_stack([column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False) for column in columns])
        return np.asarray(self.model.combine_columns(values), dtype=np.float32)
