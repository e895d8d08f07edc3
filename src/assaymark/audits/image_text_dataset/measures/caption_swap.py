"""Caption swaps: cosines of one picture with a benign and with a harmful caption, given or computed."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.audit import Context
from assaymark.audits.image_text_dataset.config import ImageTextDatasetConfig
from assaymark.audits.image_text_dataset.data import COSINE_COLUMNS, SWAP_COLUMNS, required_columns
from assaymark.audits.image_text_dataset.method.caption_swap import AxisSwap, pair_cosines, swap_by_axis
from assaymark.data.images import decode_image
from assaymark.errors import InputError

__all__ = ["Swaps", "measure_swaps"]


class Swaps(NamedTuple):
    axes: dict[str, AxisSwap]
    total: int
    unreadable: int


def measure_swaps(table: Any, encoder: Any, config: ImageTextDatasetConfig, context: Context) -> Swaps:
    """`table` has image, benign, harmful[, axis], or instead of the captions their cosines cos_benign and cos_harmful."""
    names = set(table.column_names)
    given = names >= set(COSINE_COLUMNS)
    required_columns(table, ("image", *(COSINE_COLUMNS if given else SWAP_COLUMNS)), "swaps")
    images = np.array([str(value) for value in table.column("image").to_pylist()], dtype=object)
    axes = table.column("axis").to_pylist() if "axis" in names else ["all"] * len(images)
    if given:
        benign, harmful = (np.array(table.column(c).to_pylist(), dtype=float) for c in COSINE_COLUMNS)
    elif encoder is None:
        raise InputError("swaps: no cosines given (cos_benign, cos_harmful), so a model is needed: --model dual_encoder=SPEC")
    else:
        benign, harmful = _cosines(table, images, encoder)
    answers = swap_by_axis(
        benign,
        harmful,
        images,
        np.array([str(axis) for axis in axes], dtype=object),
        rng=context.rng("caption swap"),
        tau=config.tau,
        confidence=config.confidence,
        resamples=config.resamples,
    )
    lost = int((np.isnan(benign) | np.isnan(harmful)).sum())
    return Swaps(answers, len(images), lost)


def _cosines(table: Any, images: npt.NDArray[Any], encoder: Any) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Each picture and each caption is embedded once; a picture that cannot be decoded gives NaN."""
    paths, which = np.unique(images.astype(str), return_inverse=True)
    vectors = np.full((len(paths), encoder.dimension), np.nan)
    pictures, readable = [], []
    for i, path in enumerate(paths):
        try:
            pictures.append(decode_image(path))
            readable.append(i)
        except InputError:  # counted by the caller through the NaN cosine
            continue
    if pictures:
        vectors[readable] = encoder.embed_images(pictures)
    captions = {c: [str(v) for v in table.column(c).to_pylist()] for c in SWAP_COLUMNS}
    texts = sorted({text for values in captions.values() for text in values})
    place = {text: i for i, text in enumerate(texts)}
    embedded = np.asarray(encoder.embed_texts(texts)) if texts else np.zeros((0, encoder.dimension))
    benign, harmful = (pair_cosines(vectors[which], embedded[[place[t] for t in captions[c]]]) for c in SWAP_COLUMNS)
    return benign, harmful
