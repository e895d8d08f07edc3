"""Each tower by itself, and with the other one exchanged for that of the reference."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.audits.clip_memorization.measures.scoring import Scores
from assaymark.audits.clip_memorization.method.towers import procrustes, tower_swap
from assaymark.stats.memorization.scores import ssl_memorization

__all__ = ["TowerScores", "tower_scores"]

Floats = npt.NDArray[np.float64]
FEWEST = 2
"""Shared pairs for each dimension of the space that a rotation is fitted to; fewer would fit it to noise."""


class TowerScores(NamedTuple):
    """Of n pairs: SSLMem of the image and of the text tower, and what the exchange of one tower takes away.

    `swap_image`, `swap_text` are NaN, and `residual` says why in `reason`, where no rotation could be fitted.
    """

    image: Floats
    text: Floats
    swap_image: Floats
    swap_text: Floats
    residual: tuple[float, float]
    reason: str


def tower_scores(scores: Scores) -> TowerScores:
    """Unimodal SSLMem from the distances of views, and the swap of towers over a rotation that is fitted on shared pairs."""
    f, g = scores.models["f"], scores.models["g"]
    image, text = (ssl_memorization(getattr(f, side), getattr(g, side)) for side in ("image_distance", "text_distance"))
    nothing = np.full(len(image), np.nan)
    shared = (scores.pool.sets == "S") & np.isfinite(f.first_text).all(axis=1) & np.isfinite(g.first_text).all(axis=1)
    dimension = f.first_image.shape[1]
    if shared.sum() < FEWEST * dimension:
        reason = f"{int(shared.sum())} shared pairs are too few to fit a rotation of {dimension} dimensions"
        return TowerScores(image, text, nothing, nothing, (float("nan"), float("nan")), reason)
    maps = tuple(procrustes(getattr(g, side)[shared], getattr(f, side)[shared]) for side in ("first_image", "first_text"))
    swap = tower_swap(
        (f.first_image[:, None], f.first_text[:, None]),
        (g.first_image[:, None], g.first_text[:, None]),
        means=scores.held_out["f"].means,
        maps=(maps[0], maps[1]),
    )
    return TowerScores(image, text, swap.image, swap.text, swap.residual, "")
