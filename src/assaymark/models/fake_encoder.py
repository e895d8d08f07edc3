"""A scripted image encoder that remembers what it was told to, for tests, calibration and demonstrations.

It reads pictures that `marked_picture` makes: red and green hold a number that survives crops and flips, blue is a ramp, so
that its mean tells one crop from another. The number decides to which set of a leave-out pair the picture belongs, whether it
is atypical, and its class. Layers other than the first put out a direction that turns with the crop, by an angle that is known.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.errors import ConfigError
from assaymark.models.convnet import network_pixels
from assaymark.models.fake import spec_fingerprint
from assaymark.models.protocols import Layer, Visit
from assaymark.models.spec import ModelSpec

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = [
    "CLASSES",
    "DEPTHS",
    "NUMBERS",
    "SIDE",
    "FakeMemorizingEncoder",
    "MarkedFacts",
    "expected_alignment",
    "marked_facts",
    "marked_picture",
]

SIDE, NUMBERS, CLASSES = 16, 1 << 16, 3
SETS = "SCIE"
DEPTHS = {
    "blocks.0.attention": 0.25,
    "blocks.0.mlp": 0.5,
    "blocks.1.attention": 0.6,
    "blocks.1.mlp": 0.9,
    "representation": 1.0,
}
"""Layers that turn with the crop, and how much of an unseen atypical picture's further angle they show."""

ANGLE = 0.4
"""Angle, in radians, over which a typical picture turns."""

_OWNED, _UNITS = 6, 12
_TURNS = 61.0  # how often the mean of blue runs through [0, 1): enough for a crop to give an even number
_MIX = np.uint64(0x9E3779B97F4A7C15)


class MarkedFacts(NamedTuple):
    """What numbers stand for: place in "SCIE", whether atypical (half of them are), class in 0..2; arrays of shape (n,)."""

    sets: npt.NDArray[np.int64]
    atypical: npt.NDArray[np.bool_]
    labels: npt.NDArray[np.int64]


def marked_facts(numbers: npt.ArrayLike) -> MarkedFacts:
    """Facts of numbers in [0, 65,536)."""
    n = np.asarray(numbers, np.int64)
    return MarkedFacts(n % len(SETS), _even(n, 1) < 0.5, n // len(SETS) % CLASSES)


def marked_picture(number: int) -> Image:
    """A picture of 16 x 16 pixels that says its number."""
    import PIL.Image

    pixels = np.empty((SIDE, SIDE, 3), np.uint8)
    pixels[..., 0], pixels[..., 1] = divmod(number, 256)
    pixels[..., 2] = np.linspace(10, 245, SIDE).round().astype(np.uint8)
    return PIL.Image.fromarray(pixels)


def expected_alignment(angle: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Mean distance of the directions of two views that turn independently and evenly over `angle` radians.

    E 2 sin(angle |u - v| / 2) = 4 / b (1 - sin b / b) with b = angle / 2.
    """
    b = np.asarray(angle, np.float64) / 2.0
    return np.asarray(4.0 / b * (1.0 - np.sin(b) / b))


def _even(numbers: npt.NDArray[np.int64], purpose: int) -> npt.NDArray[np.float64]:
    """One number in [0, 1) for each number and purpose (splitmix64)."""
    with np.errstate(over="ignore"):
        z = numbers.astype(np.uint64) + _MIX * np.uint64(2 * purpose + 1)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    return (z >> np.uint64(11)).astype(np.float64) / 2.0**53


class FakeMemorizingEncoder:
    """`fake:memorizing-encoder?seen=SC&memory=0.5`: aligns views of atypical pictures worse unless it was trained on them.

    Options: `seen`, letters of the sets that it was trained on; `memory`, the further angle of an atypical picture that it has
    not seen, in radians (0: it remembers nothing); `noise`, standard deviation of each picture's own angle under this model
    (0.05), drawn by `seed`; `offset`, an angle for every picture. The first layer, `stem`, has twelve units: six that react to
    one picture each, whose numbers `owners=17|4|...` gives, with 1, and to all others with 0, .1, ..., .5; three that react to
    one class with 4 and to others with 1; two that are constant, and one that is dead.
    """

    def __init__(self, spec: ModelSpec) -> None:
        spec.check_options(("seen", "memory", "noise", "offset", "owners", "seed"))
        self.spec, self.fingerprint = spec.text, spec_fingerprint(spec)
        self._seen = spec.options.get("seen", "SC").upper()
        if set(self._seen) - set(SETS):
            raise ConfigError(f"model {spec.text}: seen={self._seen} must be made of the letters {SETS}")
        self._memory, self._noise = spec.number("memory", 0.5), spec.number("noise", 0.05)
        self._offset, self._seed = spec.number("offset", 0.0), spec.integer("seed", 0)
        self._owners = [int(number) for number in spec.options.get("owners", "").split("|") if number][:_OWNED]
        self.dimension = 4
        stem = Layer("stem", "convolution", None, (_UNITS, 2, 2), rectified=True)
        blocks = tuple(
            Layer(name, name.rpartition(".")[2], int(name.split(".")[1]), (2, self.dimension), rectified=False)
            for name in DEPTHS
            if name != "representation"
        )
        self.layers = (stem, *blocks, Layer("representation", "representation", None, (self.dimension,), rectified=False))

    def raw_pixels(self, images: Sequence[Image]) -> Any:
        import torch

        pixels = network_pixels(images, SIDE).astype(np.float32) / 255.0
        return torch.from_numpy(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)))

    def record(self, pixels: Any, layers: Sequence[str], visit: Visit) -> None:
        import torch

        colours = pixels.double().mean(dim=(2, 3)).cpu().numpy()
        number = (np.rint(255 * colours[:, 0]) * 256 + np.rint(255 * colours[:, 1])).astype(np.int64)
        turn = _TURNS * colours[:, 2] % 1.0
        for layer in self.layers:
            if layer.name not in layers:
                continue
            output = self.units(number) if layer.name == "stem" else self._directions(number, turn, DEPTHS[layer.name])
            extent = output.reshape(len(output), *((_UNITS, 1, 1) if layer.name == "stem" else (1, -1)[-len(layer.shape) :]))
            visit(layer.name, torch.from_numpy(np.broadcast_to(extent, (len(output), *layer.shape)).copy()))

    def units(self, number: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """What the units of the first layer put out for pictures with these numbers, in any view: shape (n, 12)."""
        numbers = np.asarray(number, np.int64)
        found = np.zeros((len(numbers), _UNITS), np.float32)
        for unit in range(_OWNED):
            found[:, unit] = unit / 10
            if unit < len(self._owners):
                found[numbers == self._owners[unit], unit] = 1.0
        labels = marked_facts(numbers).labels
        found[:, _OWNED : _OWNED + CLASSES] = np.where(labels[:, None] == np.arange(CLASSES), 4.0, 1.0)
        found[:, -2:] = 1.0
        return found

    def _directions(self, number: npt.NDArray[np.int64], turn: npt.NDArray[np.float64], depth: float) -> Any:
        """Unit vectors in the plane, shape (n, dimension)."""
        facts = marked_facts(number)
        unseen = np.array([mark not in self._seen for mark in SETS])[facts.sets]
        own = np.sqrt(12.0) * self._noise * (_even(number, 17 + self._seed) - 0.5)
        angle = (ANGLE + own + self._offset + depth * self._memory * (facts.atypical & unseen)) * turn
        zeros = np.zeros_like(angle)
        return np.stack([np.cos(angle), np.sin(angle), zeros, zeros], axis=1).astype(np.float32)
