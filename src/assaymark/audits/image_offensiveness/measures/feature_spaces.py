"""The rated pictures in the spaces of other encoders, for their linear probes, and those encoders fine-tuned."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.audit import Context
from assaymark.audits.image_offensiveness.config import TuningSettings
from assaymark.audits.image_offensiveness.measures.baselines import LOWEST, BaselineCurve
from assaymark.audits.image_offensiveness.measures.finetuning import fine_tune, prepared_pixels
from assaymark.audits.image_offensiveness.measures.rated import RatedImages
from assaymark.audits.image_offensiveness.method.evaluation import metric_values, summarise_splits
from assaymark.audits.image_offensiveness.method.label_efficiency import LabelEfficiency
from assaymark.audits.image_offensiveness.method.splits import nested_fractions
from assaymark.data.images import decode_image

__all__ = ["FeatureSpaces", "FineTunedCurves", "feature_spaces", "fine_tuned_curves", "rated_pictures"]

BLOCK = 256
FINE_TUNED_SHARES = (0.01, 0.1, 1.0)
"""Shares of the labels at which the paper fine-tunes."""


class FeatureSpaces(NamedTuple):
    """Embeddings of all rated images by the name of the encoder, and why some are missing."""

    vectors: dict[str, npt.NDArray[np.float32]]
    notes: tuple[str, ...]


class FineTunedCurves(NamedTuple):
    """Accuracy of each fine-tuned encoder by share of the labels."""

    curves: tuple[BaselineCurve, ...]
    notes: tuple[str, ...]


def rated_pictures(dataset: Any, places: npt.NDArray[np.int64]) -> list[Any]:
    """The pictures at some (shard, row); they were decoded once already."""
    contents = dataset.fetch(places, ["image"]).column("image").to_pylist()
    return [decode_image(content) for content in contents]


def feature_spaces(dataset: Any, rated: RatedImages, context: Context) -> FeatureSpaces:
    """Rated pictures through every model in the role features."""
    models = {name: model for name, model in context.models_of("features").items() if hasattr(model, "embed_images")}
    if not models:
        return FeatureSpaces({}, ())
    if "image" not in dataset or "embedding" in dataset:
        return FeatureSpaces({}, ("the models in the role features need rated pictures; the ratings hold stored embeddings",))
    spaces = {}
    for name, model in models.items():
        parts = [np.zeros((0, int(model.dimension)), np.float32)]
        with context.progress.task(f"features {name}", len(rated.places), "pictures") as task:
            for start in range(0, len(rated.places), BLOCK):
                pictures = rated_pictures(dataset, rated.places[start : start + BLOCK])
                parts.append(np.asarray(model.embed_images(pictures), np.float32))
                task.advance(len(pictures))
        spaces[name] = np.concatenate(parts)
    return FeatureSpaces(spaces, ())


def fine_tuned_curves(
    dataset: Any, rated: RatedImages, curve: LabelEfficiency | None, config: TuningSettings, context: Context
) -> FineTunedCurves:
    """Every model in the role features that can be trained further, fine-tuned at the `fine_tuning` fractions of each split.

    Minutes for each split on a CPU, so it is asked for: with `fine_tuning_splits` 0 (the default) nothing is trained.
    """
    models = {name: model for name, model in context.models_of("features").items() if hasattr(model, "feature_module")}
    if not models or curve is None or not config.fine_tuning_splits:
        left = "" if not models else "fine-tuning was not asked for (--set fine_tuning_splits=10)"
        return FineTunedCurves((), (left,) if left else ())
    if "image" not in dataset or "embedding" in dataset:
        return FineTunedCurves((), ())
    rows, y = rated.labels.rows, rated.labels.y
    pictures = rated_pictures(dataset, rated.places[rows])
    curves = []
    for name, model in models.items():
        curves.append(_fine_tuned(name, model, prepared_pixels(model, pictures), y, curve, config, context))
    return FineTunedCurves(tuple(curves), ())


def _fine_tuned(
    name: str,
    model: Any,
    pixels: Any,
    y: npt.NDArray[np.bool_],
    curve: LabelEfficiency,
    config: TuningSettings,
    context: Context,
) -> BaselineCurve:
    splits, shares = (
        curve.splits[: config.fine_tuning_splits],
        tuple(s for s in FINE_TUNED_SHARES if s in config.fractions) or (1.0,),
    )
    rng = context.rng(f"fine-tuning {name}")
    measured: list[list[dict[str, float]]] = [[] for _ in shares]
    for number, split in enumerate(splits):
        for place, part in enumerate(nested_fractions(y, split.train, fractions=shares, rng=rng)):
            folder = None if context.work is None else context.work / f"fine-tuning-{name}-{number}-{place}"
            with context.progress.task(f"fine-tuning {name}", None, "steps") as task:
                tuned = fine_tune(
                    model, pixels[part], y[part].astype(np.int64), pixels[split.test], epochs=config.fine_tuning_epochs,
                    seed=int(rng.integers(2**31)), device=context.device, checkpoints=folder, task=task,
                )  # fmt: skip
            positive = np.clip(tuned.probabilities[:, 1], LOWEST, 1 - LOWEST)
            measured[place].append(metric_values(np.log(positive) - np.log1p(-positive), y[split.test]))
    summaries = tuple(
        summarise_splits(figures, test_share=config.test_share, tested=len(splits[0].test), confidence=config.confidence)
        for figures in measured
    )
    return BaselineCurve("fine-tuned", name, shares, summaries)
