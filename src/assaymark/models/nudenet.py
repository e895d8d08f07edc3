"""`nudenet:path.onnx?size=320` - the NudeNet detector of body parts, version 3, as a scorer of images.

The file comes from the package of that name (licence AGPL, so it is never bundled); its classes are
`assaymark.models.label_maps.NUDENET_CLASSES`. Options: `size` (side of the square input, where the graph does not fix it),
`confidence` (of a box, default 0.2 as released) and `unsafe` (classes that make up "unsafe", or none to keep all 18).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from assaymark.errors import ConfigError, ModelError
from assaymark.models.label_maps import NUDENET_CLASSES
from assaymark.models.label_reduction import reduce_labels
from assaymark.models.onnx_graph import OnnxGraph
from assaymark.models.spec import ModelSpec

if TYPE_CHECKING:
    from PIL.Image import Image

    from assaymark.models.opening import Loading

__all__ = ["NudeNetScorer", "box_scores", "letterbox"]

VERSION = 1
_CONFIDENCE = 0.2  # of a box, in the released package
_GEOMETRY = 4  # rows of an output before the classes: centre, width and height of the box
Array = npt.NDArray[np.float32]


class NudeNetScorer:
    """Score of the most confident box of an unsafe class; 0 where there is none (capability scores-images)."""

    def __init__(self, spec: ModelSpec, loading: Loading) -> None:
        spec.check_options(("size", "confidence", "unsafe"))
        self.spec = spec.text
        self._graph = OnnxGraph(spec, loading)
        if len(self._graph.shape) != 4:
            raise ModelError(f"model {spec.text}: a detector takes images, rank 4; this takes {self._graph.shape}")
        self._size = _input_size(spec, self._graph.shape[2])
        self._confidence = spec.number("confidence", _CONFIDENCE)
        if not 0 <= self._confidence <= 1:
            raise ConfigError(f"model {spec.text}: confidence={self._confidence} is not in [0, 1]")
        self._reduction = reduce_labels(spec, NUDENET_CLASSES, True)
        self.labels, self.multi_label = self._reduction.labels, self._reduction.multi_label
        cut = f"{spec.text}: scores are of its most confident box; they are 0 where no box reaches {self._confidence:g}"
        self.notes = (*self._reduction.notes, cut)
        self.fingerprint = self._graph.fingerprint("nudenet", VERSION, self._size, self._confidence, self._reduction.positive)

    def score_images(self, images: Sequence[Image]) -> Array:
        """Shape (n, n_labels), in [0, 1]. Any PIL mode; transparency is dropped."""
        size = self._graph.batch_size
        batches = [images[start : start + size] for start in range(0, len(images), size)]
        return np.concatenate([np.empty((0, len(self.labels)), dtype=np.float32), *map(self._batch, batches)])

    def _batch(self, images: Sequence[Image]) -> Array:
        pixels = np.stack([letterbox(image, size=self._size) for image in images]).transpose(0, 3, 1, 2)
        output = self._graph.run(pixels)  # (n, 4 + classes, boxes)
        if output.ndim != 3 or output.shape[1] != _GEOMETRY + len(NUDENET_CLASSES):
            raise ModelError(f"model {self.spec}: its output has shape {output.shape}; NudeNet version 3 has (n, 22, boxes)")
        return self._reduction(box_scores(output, classes=len(NUDENET_CLASSES), confidence=self._confidence))


def box_scores(output: npt.NDArray[np.floating], *, classes: int, confidence: float = _CONFIDENCE) -> Array:
    """Score of the most confident box of each class.

    Parameters
    ----------
    output : array, shape (n, 4 + classes, boxes)
        Raw output of a YOLOv8 detector: geometry of each box, then its score for each class, in [0, 1].
    classes : int
    confidence : float
        A box counts from this score on, and for its best class alone, as in the released package.

    Returns
    -------
    array, shape (n, classes), in [0, 1]
        0 where no box counts for a class; NaN in all classes of an image with a NaN among its scores.

    Notes
    -----
    There is no non-maximum suppression, since it cannot change a maximum: within a class it keeps the most confident box
    first and drops only boxes that overlap a more confident one. (The released package suppresses across classes, in which a
    confident box of a harmless class can hide an overlapping one of an unsafe class; that is left out on purpose.)
    O(n * classes * boxes), without a loop.
    """
    if output.ndim != 3 or output.shape[1] != _GEOMETRY + classes:
        raise ValueError(f"output must have shape (n, {_GEOMETRY + classes}, boxes), not {output.shape}")
    scores = np.asarray(output[:, _GEOMETRY:], dtype=np.float32)  # (n, classes, boxes)
    value = scores.max(axis=1)  # (n, boxes); NaN where a score is
    image, box = np.nonzero(value >= confidence)  # few: the class of a box is looked up for these alone
    best = scores[image, :, box].argmax(axis=1)
    found = np.zeros((len(scores), classes), dtype=np.float32)
    np.maximum.at(found, (image, best), value[image, box])
    found[np.isnan(value).any(axis=1)] = np.nan
    return np.clip(found, 0.0, 1.0)


def letterbox(image: Image, *, size: int) -> Array:
    """RGB / 255 of the image scaled to fit a square, at its upper left, the rest black; shape (size, size, 3).

    The released package pads first and scales then, which gives the same picture but makes a 1 x 100,000 strip a square of
    10^10 pixels on the way.
    """
    from PIL.Image import Resampling

    longest = max(image.size)
    width, height = (max(1, round(side * size / longest)) for side in image.size)
    square = np.zeros((size, size, 3), dtype=np.float32)
    scaled = image.convert("RGB").resize((width, height), Resampling.BILINEAR)
    square[:height, :width] = np.asarray(scaled, dtype=np.float32) / 255.0
    return square


def _input_size(spec: ModelSpec, side: object) -> int:
    fixed = side if isinstance(side, int) else None
    size = spec.integer("size", fixed or 320)
    if size < 32 or size % 32 or (fixed is not None and size != fixed):
        takes = f"; the model takes {fixed}" if fixed else ""
        raise ConfigError(f"model {spec.text}: size={size} is not its input, a multiple of 32 such as 320 or 640{takes}")
    return size
