"""Models as scorers of a scan: a picture is decoded once and shown to all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from assaymark.audits.scorer_mixture.config import ScorerMixtureConfig
from assaymark.audits.scorer_mixture.method.skin import rgb_rule, skin_score, ycbcr_box
from assaymark.data.decoding import PictureScores, Views
from assaymark.data.scan import Scorer
from assaymark.errors import ModelError

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["MEMBERS", "SKIN", "SKIN_RULES", "EmbeddingScores", "Together", "check_models", "member_scorer", "picture_views"]

MEMBERS = "members"
"""Name of the one scorer of a scan; its columns are `members.NAME`."""

SKIN_RULES = {"rgb_rule": rgb_rule, "ycbcr_box": ycbcr_box}
"""Fixed rules that say of a pixel whether it is skin."""

SKIN = tuple(f"skin:{rule}" for rule in SKIN_RULES)
"""Columns of these rules among the answers of a scan."""

Array = npt.NDArray[np.float32]


def picture_views(config: ScorerMixtureConfig) -> Views:
    """Which pictures are looked at, and how many views of each."""
    return Views(frames=config.frames, tile_ratio=config.tile_ratio, least_side=config.least_side)


def check_models(models: Mapping[str, Any]) -> None:
    """Raise `ModelError` for a scorer whose answer is not one probability of being unsafe."""
    for name, model in models.items():
        if len(model.labels) != 1:
            raise ModelError(
                f"scorer {name!r} ({model.spec}) has the labels {', '.join(model.labels)}; say which of them count as unsafe, "
                f"as ?unsafe={model.labels[-1]}"
            )


def member_scorer(
    models: Mapping[str, Any], content: str, *, config: ScorerMixtureConfig, skin: bool, batch_size: int
) -> Scorer | None:
    """All models, and the skin rules where asked for, as one scorer; None when there is nothing to look at.

    Pictures get a further column `skipped` that says why one could not be scored (`data.decoding.PictureScores`).
    """
    if content == "embedding":
        return Scorer(MEMBERS, content, tuple(models), EmbeddingScores(dict(models)), batch_size)
    if content != "image":
        return None
    scores = PictureScores(Together(dict(models), SKIN if skin else ()), views=picture_views(config), with_reason=True)
    return Scorer(MEMBERS, content, scores.labels, scores, batch_size)


class Together:
    """Several scorers of pictures as one; picklable."""

    def __init__(self, models: dict[str, Any], rules: Sequence[str]) -> None:
        self.models, self.rules = models, tuple(rules)
        self.labels = (*models, *rules)

    def score_images(self, images: Sequence[Image]) -> Array:
        """Shape (n, models + rules)."""
        answers = np.empty((len(images), len(self.labels)), dtype=np.float32)
        for column, model in enumerate(self.models.values()):
            if len(images):
                answers[:, column] = model.score_images(images)[:, 0]
        for column, rule in enumerate(self.rules, start=len(self.models)):
            mask = SKIN_RULES[rule.partition(":")[2]]
            answers[:, column] = [skin_score(np.asarray(image, np.uint8), rule=mask).probability for image in images]
        return answers


class EmbeddingScores:
    """Scorers of stored embeddings; a row of another width, or without a direction, has no score. Rows are normalised."""

    def __init__(self, models: dict[str, Any]) -> None:
        self.models = models

    def __call__(self, values: pa.Array) -> Array:
        rows = values.to_numpy(zero_copy_only=False)
        answers = np.full((len(rows), len(self.models)), np.nan, dtype=np.float32)
        for column, model in enumerate(self.models.values()):
            right = [i for i, row in enumerate(rows) if row is not None and len(row) == int(model.dimension)]
            if not right:
                continue
            vectors = np.stack([np.asarray(rows[i], dtype=np.float32) for i in right])
            norms = np.linalg.norm(vectors, axis=1)
            held = np.isfinite(norms) & (norms > 0)
            if held.any():
                places = np.array(right)[held]
                answers[places, column] = model.score_embeddings(vectors[held] / norms[held, None])[:, 0]
        return answers
