"""Which classes of a published image detector count as unsafe: the one reviewed table.

A detector is known by the *set* of its labels. The order of its outputs is never assumed: adapters read it from the model's
own configuration, so that a permuted `id2label` changes nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["DETECTORS", "LABEL_MAPS", "NUDENET_CLASSES", "Detector", "LabelMap", "reviewed_map", "unsafe_probability"]


class LabelMap(NamedTuple):
    """A set of labels and those of them that count as unsafe, all in lower case.

    `note` is for the reader of a report: what the choice leaves in or out.
    """

    labels: frozenset[str]
    positive: frozenset[str]
    note: str = ""


class Detector(NamedTuple):
    """A published detector: where its labels are stated, and how far they were verified.

    `status` is "checked" where labels and order were compared with the published model, "remembered" where they come from
    its documentation as we know it. Either way the set found in the model itself decides, not this table.
    """

    labels: tuple[str, ...]
    source: str
    status: str


NUDENET_CLASSES = (
    "FEMALE_GENITALIA_COVERED",
    "FACE_FEMALE",
    "BUTTOCKS_EXPOSED",
    "FEMALE_BREAST_EXPOSED",
    "FEMALE_GENITALIA_EXPOSED",
    "MALE_BREAST_EXPOSED",
    "ANUS_EXPOSED",
    "FEET_EXPOSED",
    "BELLY_COVERED",
    "FEET_COVERED",
    "ARMPITS_COVERED",
    "ARMPITS_EXPOSED",
    "FACE_MALE",
    "BELLY_EXPOSED",
    "MALE_GENITALIA_EXPOSED",
    "ANUS_COVERED",
    "FEMALE_BREAST_COVERED",
    "BUTTOCKS_COVERED",
)
"""Outputs 4 to 21 of NudeNet version 3, in its order (the ONNX file names none)."""

_FIVE = ("drawings", "hentai", "neutral", "porn", "sexy")


def _map(labels: Collection[str], positive: Collection[str], note: str = "") -> LabelMap:
    return LabelMap(frozenset(map(str.lower, labels)), frozenset(map(str.lower, positive)), note)


LABEL_MAPS: tuple[LabelMap, ...] = (
    _map(("normal", "nsfw"), ("nsfw",)),
    _map(("sfw", "nsfw"), ("nsfw",)),
    _map(
        ("neutral", "low", "medium", "high"),
        ("medium", "high"),
        "'low' (suggestive) counts as safe; unsafe=low,medium,high counts it too",
    ),
    _map(_FIVE, ("hentai", "porn", "sexy"), "'sexy' counts as unsafe; unsafe=hentai,porn leaves it out"),
    _map(("nsfw",), ("nsfw",)),
    _map(
        NUDENET_CLASSES,
        (
            "FEMALE_GENITALIA_EXPOSED",
            "MALE_GENITALIA_EXPOSED",
            "ANUS_EXPOSED",
            "BUTTOCKS_EXPOSED",
            "FEMALE_BREAST_EXPOSED",
        ),
        "exposed male breasts, feet, bellies and armpits count as safe",
    ),
)
"""Sets of labels that were reviewed; each occurs once."""

DETECTORS: Mapping[str, Detector] = MappingProxyType(
    {
        "Falconsai/nsfw_image_detection": Detector(("normal", "nsfw"), "config.json of the hub model", "checked"),
        "AdamCodd/vit-base-nsfw-detector": Detector(("sfw", "nsfw"), "hub model card", "remembered"),
        "Marqo/nsfw-image-detection-384": Detector(("NSFW", "SFW"), "hub model card; order in its config", "remembered"),
        "Freepik/nsfw_image_detector": Detector(("neutral", "low", "medium", "high"), "hub model card", "remembered"),
        "LukeJacob2023/nsfw-image-detector": Detector(_FIVE, "hub model card", "remembered"),
        "keras 5-class (MobileNet v2 224, Inception v3 299)": Detector(_FIVE, "class list of the released models", "checked"),
        "Yahoo open_nsfw": Detector(("nsfw",), "released Caffe network: second of two softmax outputs", "remembered"),
        "NudeNet v3": Detector(NUDENET_CLASSES, "label list of the released package", "checked"),
    }
)
"""Published detectors by hub id, or by name where they have none."""


def reviewed_map(labels: Collection[str]) -> LabelMap | None:
    """The reviewed entry for a set of labels, in any order and case; None where there is none."""
    wanted = frozenset(label.strip().lower() for label in labels)
    return next((entry for entry in LABEL_MAPS if entry.labels == wanted), None)


def unsafe_probability(
    scores: npt.ArrayLike, *, labels: Sequence[str], positive: Collection[str], multi_label: bool
) -> npt.NDArray[np.float32]:
    """Probability that an image is unsafe, from the probabilities of a detector's classes.

    Parameters
    ----------
    scores : array, shape (n, n_labels), in [0, 1]
        Columns in the order of `labels`.
    labels : sequence of str
    positive : collection of str
        Labels that count as unsafe; case does not matter.
    multi_label : bool
        Whether labels are probabilities on their own.

    Returns
    -------
    array, shape (n,), in [0, 1]
        The sum over the positive classes where the classes exclude one another (softmax), else the maximum: the
        probabilities of labels that can hold at once do not add up. NaN where a positive score is NaN.

    Raises
    ------
    ValueError
        `positive` is empty, or names a label that is not there; or columns and labels differ in number.
    """
    values = np.asarray(scores, dtype=np.float64)
    lower = [label.strip().lower() for label in labels]
    wanted = {label.strip().lower() for label in positive}
    if values.ndim != 2 or values.shape[1] != len(lower):
        raise ValueError(f"scores of shape {values.shape} do not fit {len(lower)} labels")
    if not wanted or not wanted <= set(lower):
        raise ValueError(f"positive labels {sorted(wanted)} are not all among {sorted(lower)}, or none is given")
    columns = values[:, [index for index, label in enumerate(lower) if label in wanted]]
    combined: npt.NDArray[np.float64] = columns.max(axis=1) if multi_label else columns.sum(axis=1)
    return np.clip(combined, 0.0, 1.0).astype(np.float32)
