"""Are the classes of a labelled image set themselves offensive or not imageable?"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.result import Estimate
from assaymark.stats import wilson

__all__ = ["LabelSpace", "ReasonShare", "label_space"]


class ReasonShare(NamedTuple):
    """Classes and images that one reason (slur, offensive, not imageable, blocked synset) marks."""

    classes: Estimate
    images: int


class LabelSpace(NamedTuple):
    """Answer for a label space.

    Attributes
    ----------
    classes : share of classes with any reason (Wilson: as if the classes were drawn from their source vocabulary)
    images : images in such classes
    image_share : their share of all images, in [0, 1]; NaN without images
    by_reason : one entry per column of the flags
    worst : int64 array of flagged class numbers, most images first (ties: smaller class number)
    """

    classes: Estimate
    images: int
    image_share: float
    by_reason: tuple[ReasonShare, ...]
    worst: npt.NDArray[np.int64]


def label_space(flags: npt.ArrayLike, images: npt.ArrayLike, *, confidence: float = 0.95) -> LabelSpace:
    """Share of flagged classes and the images they hold.

    Parameters
    ----------
    flags : bool array, shape (n_classes, n_reasons)
        Lexicon categories and synset blocklists that mark each class.
    images : int array, shape (n_classes,)
        Images per class. A count over the whole set, not a sample: shares of images carry no interval.
    """
    marks = np.asarray(flags, dtype=bool)
    counts = np.asarray(images, dtype=np.int64)
    if marks.ndim != 2 or len(marks) != len(counts):
        raise ValueError(f"flags of shape {marks.shape} do not fit {len(counts)} classes")
    any_reason = marks.any(axis=1)
    held = int(counts[any_reason].sum())
    total = int(counts.sum())
    flagged = np.flatnonzero(any_reason)
    by_reason = tuple(
        ReasonShare(wilson(int(column.sum()), len(marks), confidence=confidence), int(counts[column].sum()))
        for column in marks.T
    )
    return LabelSpace(
        wilson(len(flagged), len(marks), confidence=confidence),
        held,
        held / total if total else float("nan"),
        by_reason,
        flagged[np.lexsort((flagged, -counts[flagged]))],
    )
