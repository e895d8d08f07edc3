"""Training one small convolutional network from scratch: preprocessing, balanced loss, early stopping."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.errors import ConfigError
from assaymark.models.convnet import ConvNetSpec, build_convnet, network_pixels

if TYPE_CHECKING:
    from assaymark.audit import Task
    from assaymark.training import TrainingOutcome

__all__ = ["Job", "Recipe", "TrainedNetwork", "network_scores", "resized_pixels", "train_network"]

Images = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]
Scores = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Recipe:
    """How each network is trained; the card's choices. `validation` is the share of images held out for early stopping.

    With `balanced` both classes weigh the same in the loss, so that scores are probabilities in a balanced population.
    """

    optimiser: str = "adamw"
    weight_decay: float = 5e-4
    batch_size: int = 64
    validation: float = 0.1
    patience: int | None = 5
    augment: bool = True
    balanced: bool = True
    device: str = "cpu"
    precision: str = "no"


class TrainedNetwork(NamedTuple):
    """A network in evaluation mode; `mean` and `std` are per channel, of pixels in [0, 1]. `path`: its file, where saved."""

    spec: ConvNetSpec
    module: Any
    mean: tuple[float, ...]
    std: tuple[float, ...]
    outcome: TrainingOutcome
    path: Path | None


class Job(NamedTuple):
    """One network to be trained: layout, length, largest learning rate, and the seed of all that is drawn."""

    spec: ConvNetSpec
    epochs: int
    lr: float
    seed: int
    recipe: Recipe


def train_network(
    job: Job,
    pixels: Any,
    labels: Labels,
    *,
    held_out: npt.NDArray[np.bool_],
    work: Path | None = None,
    task: Task | None = None,
) -> TrainedNetwork:
    """Train one network on the rows that are not held out, and keep the weights that suit the held-out ones best.

    Parameters
    ----------
    pixels : tensor, shape (n, 3, h, w), uint8, of the network's input size
    labels : array of int, shape (n,)
    held_out : array of bool, shape (n,)
        Rows for early stopping: the cross-entropy there is the validation, after each epoch.
    work : Path, optional
        For checkpoints.

    Raises
    ------
    ConfigError
        Labels that the outputs cannot express.
    """
    import torch

    from assaymark.training import TensorBatches, train
    from assaymark.training.augment import Augmentation

    spec, recipe = job.spec, job.recipe
    _check_labels(labels, spec)
    mean, std = _channel_moments(pixels[~held_out])
    prepare = _normaliser(mean, std)
    target = torch.tensor(labels)
    weights = _class_weights(labels[~held_out], max(spec.classes, 2)) if recipe.balanced else np.ones(max(spec.classes, 2))
    loss = _loss(spec, torch.from_numpy(weights).float())
    module = build_convnet(spec, seed=job.seed)
    valid_pixels, valid_target = pixels[held_out], target[held_out]

    def validate(network: Any) -> float:
        device = next(network.parameters()).device
        outputs = [network(prepare(part.to(device))) for part in valid_pixels.split(256)]
        return float(loss(torch.cat(outputs), valid_target.to(device)))

    augment = Augmentation(padding=max(1, spec.input_size // 16)) if recipe.augment else None
    outcome = train(
        module,
        lambda network, batch: loss(network(prepare(batch[0])), batch[1]),
        TensorBatches(pixels[~held_out], target[~held_out], size=recipe.batch_size, seed=job.seed),
        epochs=job.epochs,
        lr=job.lr,
        optimiser=recipe.optimiser,
        weight_decay=recipe.weight_decay,
        augment=augment,
        validate=validate,
        patience=recipe.patience,
        seed=job.seed,
        device=recipe.device,
        precision=recipe.precision,
        checkpoints=work,
        data_id=_data_id(job, pixels, labels, held_out) if work is not None else "",
        task=task,
    )
    return TrainedNetwork(spec, module, mean, std, outcome, None)


def network_scores(network: TrainedNetwork, pixels: Any) -> Scores:
    """Probabilities of one network, shape (n,) or (n, classes), for a tensor of its input size: (n, 3, h, w), uint8."""
    from assaymark.training import module_outputs

    logits = module_outputs(network.module, pixels, prepare=_normaliser(network.mean, network.std)).astype(np.float64)
    if network.spec.classes == 1:
        return np.asarray(np.exp(-np.logaddexp(0.0, -logits[:, 0])))
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def _check_labels(labels: Labels, spec: ConvNetSpec) -> None:
    highest = max(spec.classes, 2) - 1
    if labels.min() < 0 or labels.max() > highest:
        raise ConfigError(
            f"labels run from {labels.min()} to {labels.max()}, but a network with {spec.classes} outputs learns 0 to {highest}"
        )


def _loss(spec: ConvNetSpec, class_weights: Any) -> Any:
    """Weighted mean cross-entropy of logits (n, classes) against labels (n,), both as training and validation use it."""
    from torch.nn import functional

    def loss(logits: Any, labels: Any) -> Any:
        weights = class_weights.to(logits.device)
        if spec.classes > 1:
            return functional.cross_entropy(logits, labels, weight=weights)
        rows = weights[labels]
        losses = functional.binary_cross_entropy_with_logits(logits[:, 0], labels.to(logits.dtype), reduction="none")
        return (losses * rows).sum() / rows.sum()

    return loss


def _class_weights(labels: Labels, classes: int) -> Scores:
    """n / (classes n_c): every class counts the same. Classes without images weigh nothing."""
    counts = np.bincount(labels, minlength=classes)
    return np.divide(len(labels), classes * counts, out=np.zeros(classes), where=counts > 0)


def resized_pixels(images: Images, size: int) -> Any:
    """Tensor (n, 3, size, size), uint8, resized as the saved network will resize what it is shown."""
    import torch
    from PIL import Image

    if images.ndim != 4 or images.shape[3] != 3 or images.dtype != np.uint8:
        raise ConfigError(f"images must be uint8 of shape (n, h, w, 3), not {images.dtype} of shape {images.shape}")
    if images.shape[1:3] != (size, size):
        images = network_pixels([Image.fromarray(image) for image in images], size)
    return torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))


def _channel_moments(pixels: Any) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel, from its histogram: exact, and no copy of the pixels in floats."""
    import torch

    means, deviations = [], []
    levels = np.arange(256) / 255.0
    for channel in range(3):
        shares = torch.bincount(pixels[:, channel].flatten().int(), minlength=256).numpy() / pixels[:, channel].numel()
        mean = float(shares @ levels)
        means.append(mean)
        deviations.append(max(float(np.sqrt(shares @ (levels - mean) ** 2)), 1 / 255))
    return tuple(means), tuple(deviations)


def _normaliser(mean: Sequence[float], std: Sequence[float]) -> Any:
    """Pixels (n, 3, h, w), uint8 or in [0, 1], to what the network takes."""
    import torch

    center, scale = (torch.tensor(values, dtype=torch.float32)[:, None, None] for values in (mean, std))

    def normalise(pixels: Any) -> Any:
        scaled = pixels if pixels.is_floating_point() else pixels.float() / 255.0
        return (scaled - center.to(pixels.device)) / scale.to(pixels.device)

    return normalise


def _data_id(job: Job, pixels: Any, labels: Labels, held_out: npt.NDArray[np.bool_]) -> str:
    """Hash of all that decides the network besides the loop's own settings."""
    state = blake2b(repr((asdict(job.spec), asdict(job.recipe))).encode(), digest_size=8)
    state.update(np.ascontiguousarray(pixels.numpy()).data)
    state.update(held_out.tobytes())
    state.update(np.ascontiguousarray(labels).tobytes())
    return state.hexdigest()
