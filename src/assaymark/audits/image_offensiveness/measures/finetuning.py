"""The baseline that trains everything: an image encoder with a linear head, all weights fine-tuned ([1], table of baselines).

On few hundred images this is worse than tuning two prompts or probing frozen features; to show it is what it is for.

References
----------
.. [1] Schramowski, Kersting. Inferring offensiveness in images from natural-language supervision. arXiv 2110.04222. Optimiser,
   rate and length are not on record; ours are choices.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from assaymark.errors import ConfigError

if TYPE_CHECKING:
    from PIL.Image import Image

    from assaymark.audit import Task
    from assaymark.training import TrainingOutcome

__all__ = ["FineTuned", "TrainsImages", "fine_tune", "prepared_pixels"]

FEWEST_HELD_OUT = 8
"""With fewer images to validate on, early stopping would follow chance; the last weights are taken then."""


class TrainsImages(Protocol):
    """What is used of a model with the capability trains-images."""

    fingerprint: str
    dimension: int

    def feature_module(self) -> Any: ...

    def prepare_images(self, images: Sequence[Image]) -> Any: ...


class FineTuned(NamedTuple):
    """Probabilities of the test images, and how the training went.

    Attributes
    ----------
    probabilities : array, shape (n_test, n_classes), float64
    outcome : TrainingOutcome
    """

    probabilities: npt.NDArray[np.float64]
    outcome: TrainingOutcome


def prepared_pixels(model: TrainsImages, images: Sequence[Image], *, batch_size: int = 256) -> Any:
    """What the model's module takes, for all images: float32 tensor, shape (n, 3, height, width), 0.6 MB an image of 224 x 224.

    Prepare once, and pick rows for each split.
    """
    import torch

    if not len(images):
        raise ConfigError("there are no images to prepare")
    return torch.cat([model.prepare_images(images[start : start + batch_size]) for start in range(0, len(images), batch_size)])


def fine_tune(
    model: TrainsImages,
    pixels: Any,
    labels: npt.NDArray[np.int64],
    test_pixels: Any,
    *,
    classes: int = 2,
    epochs: int = 10,
    lr: float = 5e-5,
    weight_decay: float = 0.01,
    batch_size: int = 32,
    validation: float = 0.1,
    patience: int | None = 3,
    seed: int,
    device: str = "cpu",
    precision: str = "no",
    checkpoints: Path | None = None,
    task: Task | None = None,
) -> FineTuned:
    """Fine-tune a fresh copy of the encoder and a linear head with cross-entropy, and score the test images.

    Parameters
    ----------
    model : adapter with the capability trains-images
        Its own weights are not touched.
    pixels, test_pixels : tensor, shape (n, 3, height, width)
        See `prepared_pixels`.
    labels : array of int, shape (n,), in [0, classes)
    validation : float in [0, 1)
        Share of the training images, class by class, on which training is stopped; none where that is under 8 images.
    checkpoints : Path, optional
        An interrupted call, made again, continues and ends equal.

    Raises
    ------
    ConfigError
        Labels out of range, of another length, or of one class only.
    """
    import torch

    from assaymark.training import TensorBatches, module_outputs, train

    labels = np.asarray(labels, dtype=np.int64)
    _check(labels, len(pixels), classes)
    held_out = _held_out(labels, share=validation, seed=seed)
    target = torch.tensor(labels)
    network = _classifier(model, classes)
    weights = torch.tensor(_class_weights(labels[~held_out], classes), dtype=torch.float32)

    def objective(module: Any, batch: Any) -> Any:
        logits = module(batch[0])
        return torch.nn.functional.cross_entropy(logits, batch[1], weight=weights.to(logits.device))

    def validate(module: Any) -> float:
        logits = torch.from_numpy(module_outputs(module, pixels[held_out], batch_size=batch_size))
        return float(torch.nn.functional.cross_entropy(logits, target[held_out], weight=weights))

    outcome = train(
        network,
        objective,
        TensorBatches(pixels[~held_out], target[~held_out], size=batch_size, seed=seed),
        epochs=epochs,
        lr=lr,
        weight_decay=weight_decay,
        clip=1.0,
        validate=validate if held_out.any() else None,
        patience=patience,
        seed=seed,
        device=device,
        precision=precision,
        checkpoints=checkpoints,
        data_id=_data_id(model, pixels, labels, held_out, batch_size) if checkpoints is not None else "",
        task=task,
    )
    logits = module_outputs(network, test_pixels, batch_size=batch_size).astype(np.float64)
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return FineTuned(powers / powers.sum(axis=1, keepdims=True), outcome)


def _classifier(model: TrainsImages, classes: int) -> Any:
    """Encoder and head as one module. Nothing random is drawn."""
    import torch
    from torch import nn

    with torch.random.fork_rng():  # the constructor draws weights, which are overwritten
        head = nn.Linear(model.dimension, classes)
    # From zero: a random head would push the encoder in random directions before it has learnt anything itself.
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    return nn.Sequential(model.feature_module(), head)


def _check(labels: npt.NDArray[np.int64], rows: int, classes: int) -> None:
    if len(labels) != rows:
        raise ConfigError(f"{rows} images and {len(labels)} labels: one label an image is needed")
    present = np.unique(labels)
    if len(present) < 2:
        raise ConfigError("the labels hold one class only; there is nothing to learn")
    if present[0] < 0 or present[-1] >= classes:
        raise ConfigError(f"labels run from {present[0]} to {present[-1]}; they must be within 0 to {classes - 1}")


def _held_out(labels: npt.NDArray[np.int64], *, share: float, seed: int) -> npt.NDArray[np.bool_]:
    """The same share of every class, or nothing where that is too few images."""
    chosen = np.zeros(len(labels), dtype=bool)
    rng = np.random.default_rng(seed)
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        chosen[rng.permutation(rows)[: round(share * len(rows))]] = True
    return chosen if chosen.sum() >= FEWEST_HELD_OUT else np.zeros_like(chosen)


def _class_weights(labels: npt.NDArray[np.int64], classes: int) -> npt.NDArray[np.float64]:
    """n / (classes n_c): every class counts the same."""
    counts = np.bincount(labels, minlength=classes)
    return np.divide(len(labels), classes * counts, out=np.zeros(classes), where=counts > 0)


def _data_id(
    model: TrainsImages, pixels: Any, labels: npt.NDArray[np.int64], held_out: npt.NDArray[np.bool_], batch_size: int
) -> str:
    """Hash of all that decides the result besides the loop's own settings."""
    from hashlib import blake2b

    state = blake2b(f"{model.fingerprint} {batch_size} {tuple(pixels.shape)}".encode(), digest_size=8)
    state.update(held_out.tobytes())
    state.update(np.ascontiguousarray(pixels.numpy()).data)
    state.update(labels.tobytes())
    return state.hexdigest()
