"""Vectors around prototypes, some of them atypical, and small encoders trained on them: memorization that trains in seconds.

The planted experiment of the method: what is atypical is known, and so is who trained on what. Sets as in the audit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.stats.memorization.four_sets import SETS

__all__ = ["FULL", "SMALL", "VectorWorld", "WorldSize", "alignments", "encoder_on", "vector_world"]

Floats = npt.NDArray[np.float64]

PROTOTYPES, DIMENSIONS, WIDTHS = 10, 64, (256, 256, 256, 64)
INLIER, OUTLIER, OUTLIERS = 0.35, 1.06, 0.15
PROJECTION, HIDDEN, TEMPERATURE, RATE, BATCH = 32, 64, 0.1, 1e-3, 100


class WorldSize(NamedTuple):
    """Vectors of each set, passes of the training, pairs of views."""

    sizes: dict[str, int]
    epochs: int
    views: int


FULL = WorldSize({"S": 450, "C": 150, "I": 150, "E": 150}, 150, 20)
SMALL = WorldSize({"S": 150, "C": 100, "I": 100, "E": 100}, 80, 10)


@dataclass(frozen=True)
class VectorWorld:
    """Vectors.

    Attributes
    ----------
    x : float32 array, shape (n, 64)
    sets, label : int64 arrays, shape (n,)
        Place in "SCIE"; prototype (of an outlier: drawn at random).
    outlier : bool array, shape (n,)
    size : WorldSize
    seed : int
    """

    x: npt.NDArray[np.float32]
    sets: npt.NDArray[np.int64]
    label: npt.NDArray[np.int64]
    outlier: npt.NDArray[np.bool_]
    size: WorldSize
    seed: int

    def rows(self, letters: str) -> npt.NDArray[np.int64]:
        """Rows of some sets."""
        return np.flatnonzero(np.isin(self.sets, [SETS.index(letter) for letter in letters]))


def vector_world(seed: int, *, size: WorldSize = FULL) -> VectorWorld:
    """Inliers lie near one of ten prototypes; outliers anywhere at the same distance from the origin."""
    rng = np.random.default_rng([seed, 0x71])
    prototypes = rng.standard_normal((PROTOTYPES, DIMENSIONS))
    n = sum(size.sizes.values())
    label = rng.integers(PROTOTYPES, size=n)
    outlier = rng.random(n) < OUTLIERS
    noise = rng.standard_normal((n, DIMENSIONS))
    x = np.where(outlier[:, None], OUTLIER * noise, prototypes[label] + INLIER * noise)
    sets = np.repeat(np.arange(len(SETS)), [size.sizes[letter] for letter in SETS])
    return VectorWorld(x.astype(np.float32), sets, label, outlier, size, seed)


def encoder_on(world: VectorWorld, letters: str, *, seed: int = 0, objective: str = "simclr") -> Any:
    """A perceptron trained on some sets; equal seeds start from equal weights."""
    import torch

    from assaymark.models.encoder_architectures import new_encoder
    from assaymark.training import TensorBatches, train
    from assaymark.training.augmentation_spec import augmentation
    from assaymark.training.objectives import ssl_module
    from assaymark.training.objectives.encoder_training import own_loss
    from assaymark.training.views import Views

    rows = world.rows(letters)
    start = 1_000 * world.seed + seed
    encoder = new_encoder("mlp", seed=start, inputs=DIMENSIONS, widths=WIDTHS)
    options: dict[str, Any] = (
        {"classes": PROTOTYPES}
        if objective == "supervised"
        else {"projection": PROJECTION, "hidden": HIDDEN, "temperature": TEMPERATURE}
    )
    module = ssl_module(encoder, objective, dimension=WIDTHS[-1], seed=start + 1, **options)
    batches = TensorBatches(torch.from_numpy(world.x[rows]), torch.from_numpy(world.label[rows]), size=BATCH, seed=start + 2)
    train(
        module, own_loss, batches, epochs=world.size.epochs, lr=RATE, schedule="constant",
        augment=Views(augmentation("vector"), module.views), seed=start + 3,
    )  # fmt: skip
    return module.encoder.eval()


class Alignments(NamedTuple):
    """Mean distance of views of every vector at every layer, (layers, n); mean activations, one (n, units) for each layer."""

    align: Floats
    activations: list[Floats]


def alignments(world: VectorWorld, encoder: Any) -> Alignments:
    """The same views for every encoder of a world."""
    import torch

    from assaymark.audits.encoder_memorization.method.alignment import alignment_distances
    from assaymark.training.augmentation_spec import augmentation
    from assaymark.training.views import views

    x, ids, spec = torch.from_numpy(world.x), np.arange(len(world.x)), augmentation("vector")
    align = np.zeros((len(WIDTHS), len(x)))
    activations: list[Any] = [0.0] * len(WIDTHS)
    with torch.inference_mode():
        for view in range(world.size.views):
            hidden = torch.cat([views(x, ids=ids, draw=2 * view + side, seed=world.seed, spec=spec) for side in (0, 1)])
            for layer in range(len(WIDTHS)):
                hidden = encoder.body[2 * layer + 1](encoder.body[2 * layer](hidden))
                first, second = hidden.chunk(2)
                align[layer] += alignment_distances(first, second).double().numpy()
                activations[layer] = activations[layer] + first.double().numpy()
    return Alignments(align / world.size.views, [total / world.size.views for total in activations])
