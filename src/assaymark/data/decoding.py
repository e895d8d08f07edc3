"""Encoded pictures in bulk: what a scan hands over becomes RGB pictures, and what cannot is counted by reason.

A picture that cannot be decoded costs itself only. A value may become several pictures, frames of an animation or tiles of a
strip; each is scored, and the largest score is the value's.
"""

from __future__ import annotations

import os
import warnings
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from assaymark.data.images import DAMAGED, EMPTY, MAX_PIXELS, NOT_AN_IMAGE, TOO_MANY_PIXELS, PictureError, decode_frames

if TYPE_CHECKING:
    import pyarrow as pa
    from PIL.Image import Image

__all__ = ["MISSING", "Decoded", "PictureScores", "Views", "decode_batch", "reduce_maximum", "too_small"]

MISSING = "missing"
MOST_WORKERS = 8
MOST_TILES = 16
FEW = 4
"""Pictures below which threads cost more than they bring."""


def too_small(least_side: int) -> str:
    """Reason of a picture whose shorter side is below `least_side`."""
    return f"smaller than {least_side} pixels"


@dataclass(frozen=True)
class Views:
    """What becomes of one encoded picture.

    Attributes
    ----------
    frames : int
        Frames of an animation, evenly spaced; 1 is the first alone.
    tile_ratio : float
        A picture more than this many times as long as wide is cut along its length into at most `MOST_TILES` overlapping
        tiles that cover it (an encoder would otherwise see its centre only); 0 never cuts.
    least_side : int
        Pictures with a shorter side below this are left out: icons that say nothing.
    reduce_to : int
        See `images.decode_frames`; keeps a batch of large photographs small. 0 leaves pictures at their size.
    max_pixels : int
        Larger pictures are refused from their header.
    """

    frames: int = 1
    tile_ratio: float = 0.0
    least_side: int = 0
    reduce_to: int = 1024
    max_pixels: int = MAX_PIXELS

    def reasons(self) -> tuple[str, ...]:
        """Every reason for which a picture can be left out, in a fixed order."""
        return (MISSING, EMPTY, NOT_AN_IMAGE, DAMAGED, TOO_MANY_PIXELS, too_small(self.least_side))


@dataclass(frozen=True, eq=False)
class Decoded:
    """The pictures of a batch of `n` values.

    Attributes
    ----------
    pictures : list of PIL.Image.Image
        RGB; in the order of the values, several for a value with several views.
    positions : array of int, shape (len(pictures),), not falling
        Which value each picture comes from.
    skipped : dict
        Position of each value without a picture, and why.
    """

    n: int
    pictures: list[Image]
    positions: npt.NDArray[np.int64]
    skipped: dict[int, str]

    @property
    def reasons(self) -> dict[str, int]:
        """How many values were left out for which reason."""
        return dict(sorted(Counter(self.skipped.values()).items()))

    @property
    def readable(self) -> npt.NDArray[np.int64]:
        """Positions of the values that have a picture, rising."""
        return np.unique(self.positions)


def decode_batch(
    values: pa.Array | Sequence[bytes | None], *, views: Views | None = None, workers: int | None = None
) -> Decoded:
    """Decode many encoded pictures on several threads.

    Parameters
    ----------
    values : Arrow array of binaries, or a sequence of bytes; None is "missing"
    views : what becomes of each; by default one upright picture at its own size
    workers : threads; by default one for each core this process may use, at most `MOST_WORKERS`

    Notes
    -----
    Decoders run outside Python's lock, so threads are enough. Memory holds all pictures of the batch at once: with
    `views.reduce_to` their shorter side is below twice that.
    """
    views = Views(reduce_to=0) if views is None else views
    contents = values if isinstance(values, Sequence) else values.to_pylist()
    workers = _cores() if workers is None else workers

    def one(content: bytes | None) -> list[Image] | str:
        return _views_of(content, views)

    # Python's warnings are one list for all threads, so they are silenced once, around them.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if workers <= 1 or len(contents) < FEW:
            answers = [one(content) for content in contents]
        else:
            with ThreadPoolExecutor(workers) as pool:
                answers = list(pool.map(one, contents))
    counts = [0 if isinstance(answer, str) else len(answer) for answer in answers]
    return Decoded(
        len(answers),
        [picture for answer in answers if not isinstance(answer, str) for picture in answer],
        np.repeat(np.arange(len(answers)), counts),
        {position: answer for position, answer in enumerate(answers) if isinstance(answer, str)},
    )


def _cores() -> int:
    here = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(here, MOST_WORKERS)


def _views_of(content: bytes | None, views: Views) -> list[Image] | str:
    """The pictures of one value, or why there is none."""
    if content is None:
        return MISSING
    try:
        pictures = decode_frames(
            content, frames=views.frames, max_pixels=views.max_pixels, reduce_to=views.reduce_to, where="picture"
        )
    except PictureError as error:
        return error.reason
    if min(pictures[0].size) < views.least_side:
        return too_small(views.least_side)
    if not views.tile_ratio:
        return pictures
    return [tile for picture in pictures for tile in _tiles(picture, views.tile_ratio)]


def _tiles(picture: Image, ratio: float) -> list[Image]:
    width, height = picture.size
    long, short = max(width, height), min(width, height)
    if long <= ratio * short:
        return [picture]
    count = min(-(-long // short), MOST_TILES)
    length = max(short, -(-long // count))
    starts = np.linspace(0, long - length, count).round().astype(int).tolist()
    boxes = [(at, 0, at + length, height) if width > height else (0, at, width, at + length) for at in starts]
    return [picture.crop(box) for box in boxes]


def reduce_maximum(scores: npt.NDArray[Any], positions: npt.NDArray[np.int64], n: int) -> npt.NDArray[np.float32]:
    """Largest score over the views of each value.

    Parameters
    ----------
    scores : array, shape (views,) or (views, labels); NaN where a view could not be scored
    positions : array of int, shape (views,), in [0, n)
    n : number of values

    Returns
    -------
    array, shape (n,) or (n, labels), float32
        NaN where a value has no view with a score.
    """
    found = np.asarray(scores, np.float32)
    out = np.full((n, *found.shape[1:]), np.nan, np.float32)
    np.fmax.at(out, positions, found)
    return out


class PictureScores:
    """Picklable scorer of encoded pictures for a scan: `Scorer(name, "image", scores.labels, scores)`.

    Parameters
    ----------
    model : has `labels` and `score_images(pictures) -> (n, n_labels)`
    views : what becomes of each picture; the largest score of its views is its score
    with_reason : adds the column `skipped`, so that a probe can count what was left out and why: 0 where the picture was
        scored, else 1 plus the place of the reason in `views.reasons()`

    Notes
    -----
    A picture without a score is NaN, never 0. Views are handed to the model at most as many at a time as there are values.
    """

    def __init__(self, model: Any, *, views: Views | None = None, with_reason: bool = False) -> None:
        self.model, self.views, self.with_reason = model, Views() if views is None else views, with_reason

    @property
    def labels(self) -> tuple[str, ...]:
        return (*self.model.labels, *(("skipped",) if self.with_reason else ()))

    def __call__(self, values: pa.Array) -> npt.NDArray[np.float32]:
        decoded = decode_batch(values, views=self.views)
        n, width = len(values), len(self.model.labels)
        blocks = [
            np.asarray(self.model.score_images(decoded.pictures[start : start + n]), np.float32)
            for start in range(0, len(decoded.pictures), max(n, 1))
        ]
        scores = np.concatenate([np.empty((0, width), np.float32), *blocks])
        out = reduce_maximum(scores, decoded.positions, n)
        if not self.with_reason:
            return out
        codes = {reason: code for code, reason in enumerate(self.views.reasons(), start=1)}
        skipped = [codes[decoded.skipped[k]] if k in decoded.skipped else 0 for k in range(n)]
        return np.column_stack([out, np.array(skipped, np.float32)])
