"""Planted experiment D: real networks on synthetic textures, some of them with bad labels.

A picture holds a soft blob on a random background. Class 1: the blob is striped; class 0: it is mottled and coarser, with the
same mean and contrast. No colour and no place tells the classes apart, so that a network has to learn the texture.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.audits.scorer_mixture.measures.networks import Recipe
from assaymark.audits.scorer_mixture.measures.zoo import train_zoo, zoo_scores
from assaymark.models.convnet import ConvNetSpec

if TYPE_CHECKING:
    from assaymark.audit import Task

__all__ = ["BROKEN", "SOUND", "PlantedTextures", "TextureScores", "planted_textures", "texture_scores"]

SIDE = 32
NOISE = 0.1
"""Share of wrong labels from which the last two networks learn."""
SOUND, BROKEN = slice(0, 5), slice(1, 6)
LAYOUTS = ((3, 8, 3, "relu"), (2, 12, 3, "prelu"), (3, 8, 3, "prelu"), (2, 8, 5, "relu"), (3, 12, 3, "relu"))
"""Depth, width, kernel and activation of the five networks."""


class PlantedTextures(NamedTuple):
    """Images (n, 32, 32, 3), uint8, and labels (n,): 1 striped, 0 mottled."""

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]


class TextureScores(NamedTuple):
    """Scores (n, 6) of networks on images that none of them learnt from: for fitting weights, and for testing them.

    Columns 0 to 4 are the sound zoo; column 5 is a broken network, which learnt from shuffled labels. `SOUND` and `BROKEN` pick
    the five networks of either experiment.
    """

    fit: npt.NDArray[np.float64]
    fit_labels: npt.NDArray[np.int64]
    test: npt.NDArray[np.float64]
    test_labels: npt.NDArray[np.int64]


def planted_textures(seed: int, n: int, *, contrast: float = 50.0, grain: float = 20.0) -> PlantedTextures:
    """Draw n pictures, half of them striped.

    Parameters
    ----------
    contrast : float
        Root mean square of the texture, in grey levels.
    grain : float
        Standard deviation of the noise over the whole picture, in grey levels.
    """
    rng = np.random.default_rng([seed, n])
    labels = rng.permutation(np.arange(n) % 2)
    y, x = np.mgrid[:SIDE, :SIDE].astype(np.float32)
    column = (slice(None), None, None)
    angle, phase = rng.uniform(0, np.pi, n)[column], rng.uniform(0, 2 * np.pi, n)[column]
    wave = 2 * np.pi / rng.uniform(3.0, 6.0, n)[column]
    stripes = np.sqrt(2) * np.sin(wave * (x * np.cos(angle) + y * np.sin(angle)) + phase)
    texture = np.where(labels[column] == 1, stripes, _mottled(rng, n))
    center = rng.uniform(10, 22, (2, n))[:, :, None, None]
    radius = rng.uniform(6, 11, n)[column]
    blob = np.exp(-0.5 * ((y - center[0]) ** 2 + (x - center[1]) ** 2) / radius**2)
    ground = rng.uniform(70, 185, (n, 1, 1, 3)) + _gradient(rng, n)[..., None]
    tint = rng.uniform(0.6, 1.0, (n, 1, 1, 3))
    pictures = ground + contrast * (texture * blob)[..., None] * tint + rng.normal(0, grain, (n, SIDE, SIDE, 3))
    return PlantedTextures(np.clip(pictures, 0, 255).astype(np.uint8), labels.astype(np.int64))


def texture_scores(
    seed: int,
    *,
    train: int = 500,
    fit: int = 300,
    test: int = 800,
    epochs: int = 3,
    lr: float = 5e-3,
    layouts: Sequence[tuple[int, int, int, str]] = LAYOUTS,
    task: Task | None = None,
) -> TextureScores:
    """Train six tiny networks and score images they never saw.

    Layouts and seeds differ; of the last two sound ones 10 % of the labels are wrong. The broken one has the first layout.

    Expected (mean over seeds): weights by least squares are no worse than the average and the best single network by more than
    0.005 accuracy, and better than the average where one network is broken.
    """
    rng = np.random.default_rng([seed, 4])
    images, labels = planted_textures(seed, train + fit + test)
    given = np.tile(labels[:train], (len(layouts) + 1, 1))
    for network in (len(layouts) - 2, len(layouts) - 1):
        wrong = rng.choice(train, size=round(NOISE * train), replace=False)
        given[network, wrong] = 1 - given[network, wrong]
    given[-1] = rng.permutation(given[-1])
    specs = [
        ConvNetSpec(depth, width, kernel, activation, input_size=SIDE)
        for depth, width, kernel, activation in (*layouts, layouts[0])
    ]
    # Crops and colours are drawn anew in each picture already.
    recipe = Recipe(batch_size=16, patience=None, augment=False)
    networks = train_zoo(images[:train], given, specs, epochs=epochs, lr=lr, seed=seed, recipe=recipe, task=task)
    scores = zoo_scores(networks, images[train:])
    return TextureScores(scores[:fit], labels[train : train + fit], scores[fit:], labels[train + fit :])


def _mottled(rng: np.random.Generator, n: int) -> npt.NDArray[np.float64]:
    """Noise of lower frequencies than the stripes and without direction, shape (n, 32, 32), mean 0 and variance 1."""
    fy, fx = np.fft.fftfreq(SIDE)[:, None], np.fft.rfftfreq(SIDE)
    frequency = np.hypot(fy, fx)
    band = ((frequency >= 1 / 12) & (frequency <= 1 / 6)).astype(float)
    noise = np.fft.irfft2(np.fft.rfft2(rng.normal(size=(n, SIDE, SIDE))) * band, s=(SIDE, SIDE))
    return np.asarray(noise / noise.std(axis=(1, 2), keepdims=True))


def _gradient(rng: np.random.Generator, n: int) -> npt.NDArray[np.float64]:
    """Light from a random side, up to 25 grey levels, shape (n, 32, 32)."""
    slope = rng.uniform(-25, 25, (2, n))[:, :, None, None]
    ramp = np.linspace(-1, 1, SIDE)
    return np.asarray(slope[0] * ramp[:, None] + slope[1] * ramp)
