"""UnitMem of the layers of both towers, and of other image encoders beside them: one pass over some training pairs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.audit import Context
from assaymark.audits.clip_memorization.config import ClipMemorizationConfig
from assaymark.audits.clip_memorization.measures.scoring import BLOCK, picture_blocks
from assaymark.audits.clip_memorization.reading import NO_SET, Pool, chosen_by_id
from assaymark.models.layer_patterns import UnmatchedPattern, matching_layers
from assaymark.models.protocols import Layer
from assaymark.models.unit_activations import UnitAverages
from assaymark.stats.memorization.units import UnitMemorization, unit_memorization_of

__all__ = ["TOWERS", "LayerUnits", "TowerUnits", "measure_units", "unit_pairs"]

TOWERS = ("image", "text", "supervised", "self_supervised")
"""Both towers of the audited model, and the encoders that its image tower is set beside."""


class LayerUnits(NamedTuple):
    """Units of one layer."""

    layer: Layer
    units: UnitMemorization


class TowerUnits(NamedTuple):
    """What was measured.

    Attributes
    ----------
    towers : {name of TOWERS: its layers in forward order}
    pairs : int
        That units are compared on, the same for all towers.
    views : {"image": float, "text": float}
        Mean number of views of a picture and of a caption.
    """

    towers: dict[str, tuple[LayerUnits, ...]]
    pairs: int
    views: dict[str, float]


def unit_pairs(pool: Pool, config: ClipMemorizationConfig, *, seed: int) -> npt.NDArray[np.int64]:
    """Positions of the pairs that units are compared on: some that the model was trained on, of all where no sets are known."""
    trained = np.flatnonzero(np.isin(pool.sets, ["S", "C"]) if (pool.sets != NO_SET).any() else np.ones(len(pool), bool))
    return chosen_by_id(pool.ids, trained, most=config.unit_pairs, seed=seed)


def measure_units(
    pool: Pool,
    wordings: Sequence[Sequence[str]],
    models: Mapping[str, Any],
    config: ClipMemorizationConfig,
    context: Context,
) -> TowerUnits:
    """UnitMem over all pairs of a pool.

    Parameters
    ----------
    wordings : of each pair, its text views: the first `views` of them, once each
    models : {"image", "text", "supervised", "self_supervised"} to models that record activations, any of them
        The image models see the same draws of the augmentation.

    Raises
    ------
    ModelError
        A pattern that fits no layer of any tower.

    Notes
    -----
    K forward passes a picture and image model, one a wording. The mean over all wordings is what draws among them tend to.
    Memory: one output of a layer, and a few numbers a unit.
    """
    layers = _chosen_layers(
        {name: model.text_layers if name == "text" else model.layers for name, model in models.items()}, config.unit_layers
    )
    averages = {
        name: UnitAverages(layers[name], rectify=config.rectify, padded=name == "text") for name in models if layers[name]
    }
    start = pairs = texts = 0
    with context.progress.task("looking into layers", len(pool), "pairs") as task:
        for part, pictures in picture_blocks(pool, min(BLOCK, max(context.batch_size, 1))):
            own = [wordings[start + row][: config.views] for row in pictures.positions.tolist()]
            here = part.take(pictures.positions)
            if len(here):
                _add_pictures(averages, models, here, pictures.images, config, context)
                _add_texts(averages, models, here, own, context)
            start, pairs, texts = start + len(part), pairs + len(here), texts + sum(map(len, own))
            task.advance(len(part))
    found = {name: tuple(_layer_units(one)) for name, one in averages.items()}
    return TowerUnits(found, pairs, {"image": float(config.views), "text": texts / pairs if pairs else 0.0})


def _chosen_layers(towers: Mapping[str, Sequence[Layer]], patterns: Sequence[str]) -> dict[str, tuple[Layer, ...]]:
    """A pattern has to fit in one tower, not in all: dotted names differ between them."""
    fitting: dict[str, list[str]] = {name: [] for name in towers}
    for pattern in patterns:
        for name, layers in towers.items():
            try:
                matching_layers(layers, [pattern])
            except UnmatchedPattern:
                continue
            fitting[name].append(pattern)
        if towers and not any(pattern in own for own in fitting.values()):
            matching_layers([layer for layers in towers.values() for layer in layers], [pattern])
    return {name: matching_layers(towers[name], own) if own else () for name, own in fitting.items()}


def _keys(pool: Pool) -> npt.NDArray[np.int64]:
    digests = b"".join(blake2b(one.encode("utf-8", "replace"), digest_size=8).digest() for one in pool.ids)
    return np.frombuffer(digests, dtype=np.int64)


def _add_pictures(
    averages: Mapping[str, UnitAverages], models: Mapping[str, Any], pool: Pool, images: list[Any],
    config: ClipMemorizationConfig, context: Context,
) -> None:  # fmt: skip
    from assaymark.training.augmentation_spec import augmentation
    from assaymark.training.views import views

    spec = augmentation(config.augmentation)
    for name, found in averages.items():
        if name == "text":
            continue
        pixels = models[name].raw_pixels(images)
        for k in range(config.views):
            models[name].record(
                views(pixels, ids=pool.ids, draw=k, seed=context.seed, spec=spec), list(found.layers), found.add
            )
        found.close(_keys(pool), views=config.views)


def _add_texts(
    averages: Mapping[str, UnitAverages], models: Mapping[str, Any], pool: Pool, wordings: Sequence[Sequence[str]],
    context: Context,
) -> None:  # fmt: skip
    found = averages.get("text")
    if found is None:
        return
    counts = np.array([len(own) for own in wordings])
    texts, items = [text for own in wordings for text in own], np.repeat(np.arange(len(pool)), counts)
    for start in range(0, len(texts), max(context.batch_size, 1)):
        part = slice(start, start + max(context.batch_size, 1))

        def visit(name: str, output: Any, rows: Any = items[part]) -> None:
            found.add(name, output, items=rows, count=len(pool))

        models["text"].record_texts(texts[part], list(found.layers), visit)
    found.close(_keys(pool), views=counts)


def _layer_units(averages: UnitAverages) -> Iterator[LayerUnits]:
    for name, layer in averages.layers.items():
        if name in averages.states:
            yield LayerUnits(layer, unit_memorization_of(averages.states[name]))
