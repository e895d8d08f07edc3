"""A pair of models trained here, where the user has none: which pictures, which sets, which recipe."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from assaymark.audit import Context
from assaymark.audits.clip_memorization.config import TrainingSettings
from assaymark.audits.clip_memorization.measures.encoding import Encoder
from assaymark.audits.clip_memorization.measures.scoring import picture_blocks
from assaymark.audits.clip_memorization.reading import NO_SET, Pool
from assaymark.errors import InputError

if TYPE_CHECKING:
    from assaymark.leave_out import ClipRecipe, TrainedPair

__all__ = ["Trainable", "clip_recipe", "open_pair", "told_captions", "train_models", "trainable"]

C = TypeVar("C", bound=TrainingSettings)


@dataclass(frozen=True)
class Trainable:
    """Pairs whose pictures could be read, with a set each, and their pixels, shape (n, 3, side, side), uint8."""

    pool: Pool
    pixels: Any
    unreadable: int
    split_here: bool


def trainable(pool: Pool, config: TrainingSettings, context: Context) -> Trainable:
    """Pixels of all pairs, and sets where they have none.

    Raises
    ------
    InputError
        More pairs than are trained on here, or too few for four sets.
    """
    import torch

    from assaymark.leave_out import content_digests, split_pool

    pool.dataset.require("image")
    if len(pool) > config.most_trained:
        raise InputError(
            f"input 'pairs': {len(pool):,} pairs and no model; up to {config.most_trained:,} (most_trained) are trained on "
            "here: give the models as --model model=SPEC and --model reference=SPEC"
        )
    kept, parts, start = [], [], 0
    with context.progress.task("reading pictures", len(pool), "pairs") as task:
        for part, pictures in picture_blocks(pool):
            kept += (start + pictures.positions).tolist()
            parts += [_square(image, config.side) for image in pictures.images]
            start += len(part)
            task.advance(len(part))
    readable = pool.take(np.array(kept, dtype=np.int64))
    pixels = torch.from_numpy(np.stack(parts)) if parts else torch.zeros(0, 3, config.side, config.side, dtype=torch.uint8)
    given = (readable.sets != NO_SET).any()
    if not given and len(readable):
        found = split_pool(readable.ids, sizes=config.sizes, seed=context.seed, contents=content_digests(pixels))
        readable = replace(readable, sets=np.array(found.sets, dtype="U1"))
    lacking = [letter for letter in "SCIE" if not (readable.sets == letter).any()]
    if lacking:
        raise InputError(f"input 'pairs': no readable pair in set {lacking[0]}; training a pair of models needs S, C, I and E")
    return Trainable(readable, pixels, len(pool) - len(readable), not given)


def _square(image: Any, side: int) -> Any:
    from PIL import ImageOps

    return np.asarray(ImageOps.fit(image.convert("RGB"), (side, side)), dtype=np.uint8).transpose(2, 0, 1).copy()


def clip_recipe(config: TrainingSettings, **changes: Any) -> ClipRecipe:
    """The training that the settings describe, with changes by the names of its fields."""
    from assaymark.leave_out import ClipRecipe

    names = ("patch", "hidden", "layers", "heads", "dimension", "text_length", "epochs", "batch", "lr", "weight_decay",
             "augmentation", "captions")  # fmt: skip
    return ClipRecipe(**{**{name: getattr(config, name) for name in names}, **changes})


def told_captions(config: C) -> C:
    """Settings for models that are trained here: one that was shown first captions alone has not been trained on others."""
    if config.captions == "one" and config.text_views == "captions":
        return config.model_copy(update={"text_views": "first"})
    return config


def train_models(
    material: Trainable,
    recipe: ClipRecipe,
    *,
    seed: int,
    folder: Path,
    device: str,
    task: Any,
    drop: Collection[str] = (),
    recaption: Mapping[str, list[str]] | None = None,
) -> TrainedPair:
    """Both models in a folder; one that was killed goes on, a finished one is returned."""
    import warnings

    from assaymark.leave_out import train_clip_pair

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what they say is in the record, and goes into the report from there
        return train_clip_pair(
            material.pixels,
            captions=material.pool.captions,
            ids=material.pool.ids,
            sets=material.pool.sets.tolist(),
            recipe=recipe,
            drop=drop,
            recaption=recaption,
            seed=seed,
            folder=folder,
            device=device,
            task=task,
        )


def open_pair(pair: TrainedPair, *, device: str, batch_size: int) -> dict[str, Encoder]:
    """Both models as encoders, "f" and "g"."""
    from assaymark.models.opening import open_model

    specs = {"f": pair.with_candidates, "g": pair.without_candidates}
    return {name: Encoder(open_model(spec, device=device, batch_size=batch_size)) for name, spec in specs.items()}
