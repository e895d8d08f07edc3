"""Pairs of models of which one has seen the candidates and the other has not: what memorization is measured against.

A pool of items is split once (`split_pool`) into shared items that both models train on, candidates for the first, independent
ones for the second in their place, and external ones for neither. `train_encoder_pair` and `train_clip_pair` train the two
alike and leave a folder that says how; `train_pair` does it with a trainer of the user's; `train_subsampled` trains several
models on random halves. All can be killed and continued.
"""

from __future__ import annotations

from typing import Any

from assaymark.errors import MissingExtra

__all__ = [
    "SIZES",
    "ClipRecipe",
    "EncoderRecipe",
    "PoolSplit",
    "Subsampled",
    "TrainedPair",
    "checked_sets",
    "content_digests",
    "split_pool",
    "train_clip_pair",
    "train_encoder_pair",
    "train_pair",
    "train_subsampled",
]

_HOMES = {
    "ClipRecipe": "recipes",
    "EncoderRecipe": "recipes",
    "PoolSplit": "split",
    "SIZES": "split",
    "Subsampled": "subsampled",
    "TrainedPair": "trained_pair",
    "checked_sets": "split",
    "content_digests": "split",
    "split_pool": "split",
    "train_clip_pair": "clip_trainer",
    "train_encoder_pair": "encoder_trainer",
    "train_pair": "trained_pair",
    "train_subsampled": "subsampled",
}
_WITH_TORCH = ("clip_trainer", "encoder_trainer")


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(name)
    from importlib import import_module

    if _HOMES[name] in _WITH_TORCH:
        try:
            import torch  # noqa: F401 - these modules cannot be imported without it
        except ImportError as error:
            raise MissingExtra("vision", "training a network") from error
    return getattr(import_module(f"assaymark.leave_out.{_HOMES[name]}"), name)
