"""Models as scorers of a scan: a picture is decoded once and shown to all of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from assaymark.audits.scorer_mixture.method.skin import rgb_rule, skin_score, ycbcr_box
from assaymark.data.images import decode_image
from assaymark.data.scan import Scorer
from assaymark.errors import InputError, ModelError

__all__ = ["SKIN", "SKIN_RULES", "MemberScores", "check_models", "member_scorer"]

SKIN_RULES = {"rgb_rule": rgb_rule, "ycbcr_box": ycbcr_box}
"""Fixed rules that say of a pixel whether it is skin."""

SKIN = tuple(f"skin:{rule}" for rule in SKIN_RULES)
"""Columns of the fixed skin-colour rules among the answers of a scan."""

Array = npt.NDArray[np.float32]


def check_models(models: Mapping[str, Any]) -> None:
    """Raise `ModelError` for a scorer whose answer is not one probability of being unsafe."""
    for name, model in models.items():
        if len(model.labels) != 1:
            raise ModelError(
                f"scorer {name!r} ({model.spec}) has the labels {', '.join(model.labels)}; say which count as unsafe: "
                f"?unsafe={model.labels[-1]}"
            )


def member_scorer(models: Mapping[str, Any], content: str, *, skin: bool, batch_size: int) -> Scorer | None:
    """All models, and the skin rules where asked for, as one scorer named `members`; None when there is nothing to ask."""
    rules = SKIN if skin and content == "image" else ()
    labels = (*models, *rules)
    if not labels:
        return None
    return Scorer("members", content, labels, MemberScores(dict(models), content, len(rules)), batch_size)


class MemberScores:
    """Picklable: answers of shape (n, models + rules); a row of NaN for a picture that cannot be decoded."""

    def __init__(self, models: dict[str, Any], content: str, rules: int) -> None:
        self.models, self.content, self.rules = models, content, rules

    def __call__(self, values: pa.Array) -> Array:
        answers = np.full((len(values), len(self.models) + self.rules), np.nan, dtype=np.float32)
        if self.content == "embedding":
            return self._of_embeddings(values, answers)
        places, pictures = [], []
        for place, data in enumerate(values.to_pylist()):
            try:
                pictures.append(decode_image(data or b""))
                places.append(place)
            except InputError:  # the missing score is counted
                continue
        if pictures:
            for column, model in enumerate(self.models.values()):
                answers[places, column] = model.score_images(pictures)[:, 0]
            for place, picture in zip(places, pictures, strict=True):
                if self.rules:
                    answers[place, len(self.models) :] = _skin(picture)
        return answers

    def _of_embeddings(self, values: pa.Array, answers: Array) -> Array:
        rows = values.to_numpy(zero_copy_only=False)
        for column, model in enumerate(self.models.values()):
            width = int(model.dimension)
            right = [i for i, row in enumerate(rows) if row is not None and len(row) == width and np.isfinite(row).all()]
            if not right:
                continue
            vectors = np.stack([np.asarray(rows[i], dtype=np.float32) for i in right])
            norms = np.linalg.norm(vectors, axis=1, keepdims=True)
            answers[right, column] = model.score_embeddings(vectors / np.where(norms > 0, norms, 1.0))[:, 0]
        return answers


def _skin(picture: Any) -> list[float]:
    pixels = np.asarray(picture, dtype=np.uint8)
    return [skin_score(pixels, rule=rule).probability for rule in SKIN_RULES.values()]
