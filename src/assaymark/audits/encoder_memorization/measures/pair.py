"""The two encoders of an audit: those that were given, or a pair that is trained here on the sets of the input."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from assaymark.audit import Context
from assaymark.audits.encoder_memorization.config import EncoderMemorizationConfig
from assaymark.audits.encoder_memorization.probes.points import NO_SET
from assaymark.audits.encoder_memorization.reading import Points, SetTable, blocks, read_points
from assaymark.errors import ConfigError, InputError, ModelError, nearest
from assaymark.result import Artifact
from assaymark.stats.memorization.four_sets import SETS

__all__ = ["Pair", "encoders_of"]

EVERYTHING = 1 << 40
FOLDER = "pair"


class Pair(NamedTuple):
    """Models, the sets and settings that go with them, and what is handed on; `notes` are those of a training here.

    `folder` holds weights that nobody keeps; it goes when the pair does.
    """

    encoder: Any
    reference: Any
    split: SetTable | None
    config: EncoderMemorizationConfig
    artifacts: Sequence[Artifact] = ()
    notes: Sequence[str] = ()
    folder: Any = None


def encoders_of(dataset: Any, split: SetTable | None, config: EncoderMemorizationConfig, context: Context) -> Pair:
    """The given models; without any, a pair that is trained on the pictures.

    Raises
    ------
    ModelError
        A reference without an encoder.
    ConfigError
        A recipe that does not exist.
    """
    encoder, reference = context.model("encoder"), context.model("reference")
    if encoder is None and reference is not None:
        raise ModelError("a reference was given without the encoder that it is compared with: add --model encoder=SPEC")
    if encoder is None:
        return _trained(dataset, split, config, context)
    return Pair(encoder, reference, split, config)


def _trained(dataset: Any, split: SetTable | None, config: EncoderMemorizationConfig, context: Context) -> Pair:
    """Train f on S and C and g on S and I, from equal weights; a killed training goes on where it was."""
    from assaymark.leave_out import train_encoder_pair
    from assaymark.models import open_model

    recipe = _recipe(config)
    whole = config.model_copy(update={"unit_points": EVERYTHING})
    given = split is not None or config.set_column in dataset.columns
    points = read_points(dataset, split, whole, context, candidates=EVERYTHING, others=EVERYTHING, scored=given, step="pool")
    pixels, read = _pool(dataset, points, config, context)
    sets = _sets(points, read, config, context)
    kept = None if context.artifacts is not None else tempfile.TemporaryDirectory()
    folder = Path(kept.name) if kept is not None else Path(context.artifacts or "") / FOLDER
    labelled = config.objective == "supervised"
    with context.progress.task("training a pair", unit="steps") as task, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # what it warns of stands in its record, and becomes a note
        pair = train_encoder_pair(
            pixels,
            ids=[str(key) for key in points.key[read].tolist()],
            sets=[SETS[number] if number >= 0 else "" for number in sets],
            labels=[points.classes[number] for number in points.label[read]] if labelled else None,
            recipe=recipe,
            seed=context.seed,
            folder=folder,
            device=context.device,
            task=task,
        )
    specs = (pair.with_candidates, pair.without_candidates)
    encoder, reference = (open_model(spec, batch_size=context.batch_size) for spec in specs)
    trained = f"a pair was trained here: {config.objective}, {recipe.epochs} epochs, {len(read):,} pictures in all"
    return Pair(
        encoder,
        reference,
        SetTable(points.key[read].view(np.uint64), sets),
        config,
        _artifacts() if kept is None else (),
        (trained, *pair.record["warnings"]),
        kept,
    )


def _recipe(config: EncoderMemorizationConfig) -> Any:
    from dataclasses import fields

    from assaymark.leave_out import EncoderRecipe

    known = [field.name for field in fields(EncoderRecipe) if field.name not in ("objective", "augmentation")]
    for name in config.recipe:
        if name not in known:
            hint = nearest(name, known) or f"; known: {', '.join(known)}"
            raise ConfigError(f"setting 'recipe': no part {name!r}{hint}")
    return EncoderRecipe.of(config.objective, **{**config.recipe, "augmentation": config.augmentation})


def _pool(dataset: Any, points: Points, config: EncoderMemorizationConfig, context: Context) -> tuple[Any, Any]:
    """Pixels of all pictures that can be read, uint8 of shape (n, 3, side, side), and the positions of their points."""
    import torch

    from assaymark.models.convnet import network_pixels

    parts, read = [], []
    with context.progress.task("reading pictures", total=len(points), unit="pictures") as task:
        for block in blocks(dataset, points, size=context.batch_size):
            parts.append(torch.from_numpy(network_pixels(block.pictures, config.side)).permute(0, 3, 1, 2))
            read.append(block.positions)
            task.advance(len(block.positions) + len(block.unread))
    positions = np.concatenate(read) if read else np.zeros(0, np.int64)
    if len(positions) < 8:
        raise InputError(
            f"{dataset.source}: {len(positions)} pictures are too few to train a pair on; give --model encoder=SPEC"
        )
    order = np.argsort(points.key[positions])
    return torch.cat(parts)[torch.from_numpy(order)].contiguous(), positions[order]


def _sets(points: Points, read: Any, config: EncoderMemorizationConfig, context: Context) -> Any:
    """Sets as the input has them; where it names none, a split by the hash of each picture's key."""
    given = points.sets[read]
    if (given != NO_SET).any():
        return given
    from assaymark.leave_out import split_pool

    split = split_pool([str(key) for key in points.key[read].tolist()], sizes=config.split_sizes, seed=context.seed)
    return np.array([SETS.index(letter) if letter else NO_SET for letter in split.sets], np.int64)


def _artifacts() -> tuple[Artifact, ...]:
    return (
        Artifact("encoder", "model", f"{FOLDER}/with.safetensors", "encoder, trained on S and C"),
        Artifact("reference", "model", f"{FOLDER}/without.safetensors", "reference, trained on S and I"),
        Artifact("pair", "data", FOLDER, "both encoders, who is in which set, and how they were trained", private=True),
    )
