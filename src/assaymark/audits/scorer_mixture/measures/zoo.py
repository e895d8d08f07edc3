"""A zoo of small convolutional networks: varied layouts, trained from scratch, and scored out of fold ([1], base networks).

The weights of a mixture must be fitted on scores of images that the networks have not learnt: an over-fitted network looks
perfect where it learnt and receives all the weight. `out_of_fold_scores` gives such scores for every labelled image.

References
----------
.. [1] Al-Shabi, Connie, Teoh. Smart content recognition from images using a mixture of convolutional neural networks.
   arXiv 1612.09506. The layouts are not on record there; this family is a choice of ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.audits.scorer_mixture.measures.networks import (
    Job,
    Recipe,
    TrainedNetwork,
    network_scores,
    resized_pixels,
    train_network,
)
from assaymark.audits.scorer_mixture.method.splits import fold_numbers
from assaymark.errors import ConfigError
from assaymark.models.convnet import ACTIVATIONS, ConvNetSpec, save_convnet

if TYPE_CHECKING:
    from assaymark.audit import Task

__all__ = [
    "OutOfFold",
    "out_of_fold_scores",
    "train_zoo",
    "zoo_scores",
    "zoo_specs",
]

Images = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]
Scores = npt.NDArray[np.float64]
UNSAFE = ("unsafe",)


class OutOfFold(NamedTuple):
    """Scores to fit weights on, and the networks to use them with.

    Attributes
    ----------
    scores : array, shape (n, n_networks), or (n, n_networks, classes)
        Of each image, by networks that never saw it (neither to learn from nor to stop at).
    folds : array, shape (n,)
    networks : tuple of TrainedNetwork
        Trained on all images; what the fitted weights are used with.
    """

    scores: Scores
    folds: Labels
    networks: tuple[TrainedNetwork, ...]


def zoo_specs(
    n: int,
    *,
    input_size: int,
    seed: int,
    classes: int = 1,
    depths: Sequence[int] = (3, 4, 5),
    widths: Sequence[int] = (16, 32, 64),
    kernels: Sequence[int] = (3, 5),
) -> tuple[ConvNetSpec, ...]:
    """Layouts of n networks, all different as long as there are different ones, in a seeded order.

    Depths that the input does not outlast (2^depth pixels) are left out.

    Raises
    ------
    ConfigError
        No depth fits the input.
    """
    fitting = [depth for depth in depths if 2**depth <= input_size]
    if n < 1 or not fitting:
        raise ConfigError(f"{n} networks of depth {min(depths)} or more for {input_size} pixels: there is no such zoo")
    family = [
        ConvNetSpec(depth, width, kernel, activation, input_size, classes)
        for depth, width, kernel, activation in product(fitting, widths, kernels, ACTIVATIONS)
    ]
    order = np.random.default_rng([seed, n]).permutation(len(family))
    return tuple(family[order[i % len(family)]] for i in range(n))


def _folds(labels: Labels, *, k: int, seed: int, groups: npt.NDArray[Any] | None) -> Labels:
    """Fold of each image; raises `ConfigError` where a class, or the groups, cannot be spread over k folds."""
    counts = np.unique(labels, return_counts=True)[1]
    units = len(labels) if groups is None else len(np.unique(groups))
    if len(counts) < 2:
        raise ConfigError("the labels hold one class only; there is nothing to learn")
    if k < 2 or counts.min() < k or units < k:
        raise ConfigError(f"{k} folds need {k} images of each class and {k} groups; there are {counts.min()} and {units}")
    return fold_numbers(labels, folds=k, rng=np.random.default_rng(seed), groups=groups)


def train_zoo(
    images: Images,
    labels: Labels,
    specs: Sequence[ConvNetSpec],
    *,
    epochs: int,
    lr: float = 1e-3,
    seed: int,
    recipe: Recipe | None = None,
    groups: npt.NDArray[Any] | None = None,
    names: Sequence[str] | None = None,
    folder: Path | None = None,
    work: Path | None = None,
    task: Task | None = None,
) -> tuple[TrainedNetwork, ...]:
    """Train each network from its own initialisation, in its own data order, with its own validation images.

    Parameters
    ----------
    images : array, shape (n, h, w, 3), uint8
    labels : array of int, shape (n,) or (n_networks, n)
        1 is unsafe; for several classes their numbers. One row a network where networks learn from different labels.
    specs : sequence of ConvNetSpec
        Images are resized to each one's input.
    groups : array, shape (n,), optional
        Near-duplicates and the like: a group is never on both sides of the validation split.
    names : sequence of str, optional
        Of the outputs; default "unsafe", or the numbers of the classes.
    folder : Path, optional
        For `network_<i>.safetensors` (model spec `convnet:...`).
    work : Path, optional
        For checkpoints: an interrupted call, made again, continues and ends equal.
    task : progress task, optional
        Advanced by 1 a step.

    Raises
    ------
    ConfigError
        Labels that do not fit the outputs, or one class only.
    """
    recipe = recipe or Recipe()
    labels = np.broadcast_to(np.asarray(labels, dtype=np.int64), (len(specs), len(images)))
    sizes: dict[int, Any] = {}  # resized once for all networks of one input size
    networks = []
    for i, (spec, target) in enumerate(zip(specs, labels, strict=True)):
        if spec.input_size not in sizes:
            sizes[spec.input_size] = resized_pixels(images, spec.input_size)
        job = Job(spec, epochs, lr, _network_seed(seed, i), recipe)
        held_out = _held_out(target, share=job.recipe.validation, seed=job.seed, groups=groups)
        place = work and work / f"network_{i}"
        network = train_network(job, sizes[spec.input_size], target, held_out=held_out, work=place, task=task)
        if folder is not None:
            network = network._replace(path=folder / f"network_{i}.safetensors")
            _save(network, names)
        networks.append(network)
    return tuple(networks)


def out_of_fold_scores(
    images: Images,
    labels: Labels,
    specs: Sequence[ConvNetSpec],
    *,
    epochs: int,
    lr: float = 1e-3,
    seed: int,
    k: int = 5,
    groups: npt.NDArray[Any] | None = None,
    recipe: Recipe | None = None,
    names: Sequence[str] | None = None,
    folder: Path | None = None,
    work: Path | None = None,
    task: Task | None = None,
) -> OutOfFold:
    """Score every image by networks that never saw it, then train the networks on all images.

    Parameters are those of `train_zoo`; `k` is the number of folds. Trains (k + 1) n_networks networks.
    """
    folds = _folds(labels, k=k, seed=seed, groups=groups)
    parts: list[tuple[npt.NDArray[np.intp], Scores]] = []
    for fold in range(k):
        seen, unseen = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        networks = train_zoo(
            images[seen],
            labels[seen],
            specs,
            epochs=epochs,
            lr=lr,
            seed=_network_seed(seed, fold + 1),
            recipe=recipe,
            groups=None if groups is None else groups[seen],
            work=work and work / f"fold_{fold}",
            task=task,
        )
        parts.append((unseen, zoo_scores(networks, images[unseen])))
    scores = np.empty((len(images), *parts[0][1].shape[1:]))
    for rows, values in parts:
        scores[rows] = values
    final = train_zoo(
        images,
        labels,
        specs,
        epochs=epochs,
        lr=lr,
        seed=seed,
        recipe=recipe,
        groups=groups,
        names=names,
        folder=folder,
        work=work and work / "all",
        task=task,
    )
    return OutOfFold(scores, folds, final)


def zoo_scores(networks: Sequence[TrainedNetwork], images: Images) -> Scores:
    """Probabilities, shape (n, n_networks) for one output, (n, n_networks, classes) for several."""
    sizes = {size: resized_pixels(images, size) for size in {network.spec.input_size for network in networks}}
    return np.stack([network_scores(network, sizes[network.spec.input_size]) for network in networks], axis=1)


def _held_out(labels: Labels, *, share: float, seed: int, groups: npt.NDArray[Any] | None) -> npt.NDArray[np.bool_]:
    """One of about 1/share stratified folds; fewer, larger folds where images or groups are few."""
    most = int(np.unique(labels, return_counts=True)[1].min())
    if groups is not None:
        most = min(most, len(np.unique(groups)))
    return np.equal(_folds(labels, k=max(2, min(round(1 / share), most)), seed=seed, groups=groups), 0)


def _save(network: TrainedNetwork, names: Sequence[str] | None) -> None:
    assert network.path is not None
    classes = network.spec.classes
    labels = tuple(names or (UNSAFE if classes == 1 else map(str, range(classes))))
    if len(labels) != classes:
        raise ConfigError(f"{len(labels)} names for a network with {classes} outputs")
    save_convnet(network.path, network.module, spec=network.spec, labels=labels, mean=network.mean, std=network.std)


def _network_seed(seed: int, number: int) -> int:
    from assaymark.training.order import step_seed

    return step_seed(seed, number)
