"""How well a model aligns a picture with its caption, and CLIPMem: how much better than a model that never saw the pair.

References
----------
.. [1] Wang et al. Captured by Captions: On Memorization and its Mitigation in CLIP Models. ICLR 2025, arXiv 2502.07830, eq. 3
   and 4.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.stats import calibrated_scores, normalised_scores
from assaymark.stats.memorization.normalisation import Normalisation

__all__ = [
    "BOUND",
    "Alignment",
    "ClipMem",
    "HeldOutMeans",
    "alignment",
    "clip_memorization",
    "held_out_means",
    "joined_alignments",
]

Floats = npt.NDArray[np.float64]

BOUND = 6.0
"""Largest |raw CLIPMem|: each of the three terms of both models lies in [-1, 1]."""


class HeldOutMeans(NamedTuple):
    """Mean embeddings of held-out pictures and captions, shape (d,) each.

    They stand for all N items, since cosines are linear.
    """

    images: Floats
    texts: Floats


class Alignment(NamedTuple):
    """Of n pairs under one model; NaN where a pair has no embedding.

    Attributes
    ----------
    pair : array, shape (n,), in [-1, 1]
        Mean cosine of picture and caption over their views.
    image_to_tests, text_to_tests : array, shape (n,), in [-1, 1]
        Mean cosine of the picture with held-out captions, and of the caption with held-out pictures.
    view_sd : array, shape (n,)
        Standard deviation of the alignment over views, 0 for a single one.
    """

    pair: Floats
    image_to_tests: Floats
    text_to_tests: Floats
    view_sd: Floats

    @property
    def total(self) -> Floats:
        """L_align of eq. 3 of [1], in [-3, 3]; larger = better aligned."""
        return self.pair - self.image_to_tests - self.text_to_tests


class ClipMem(NamedTuple):
    """CLIPMem of n pairs and what it is made of.

    Attributes
    ----------
    raw : array, shape (n,), in [-6, 6]
        A_f - A_g (eq. 4 of [1]): positive = remembered by f, negative = by g, NaN where a pair could not be scored.
    pair, image, text : array, shape (n,)
        Contributions of the three terms; they sum to `raw`. `image` and `text` are those of pushing away from held-out items.
    normalised : array, shape (n,)
        A view of `raw`, see `assaymark.stats.normalised_scores`.
    calibrated : array, shape (n,)
        `raw` minus the mean over the external set: without the offset that two trainings have in common on all pairs (ours).
    view_error : array, shape (n,)
        Standard error of `raw` from the drawn views.
    """

    raw: Floats
    pair: Floats
    image: Floats
    text: Floats
    normalised: Floats
    calibrated: Floats
    view_error: Floats


def held_out_means(images: Any, texts: Any) -> HeldOutMeans:
    """Mean embeddings of the held-out test items of one model.

    Parameters
    ----------
    images, texts : array_like, shape (N, d) and (M, d), unit rows
        A row with NaN is left out: a caption that holds nothing to embed.
    """
    found = []
    for rows in (images, texts):
        array = np.asarray(rows, dtype=np.float64)
        kept = array[np.isfinite(array).all(axis=1)]
        found.append(kept.mean(axis=0) if len(kept) else np.full(array.shape[1], np.nan))
    return HeldOutMeans(*found)


def alignment(images: Any, texts: Any, *, means: HeldOutMeans) -> Alignment:
    """L_align of pairs under one model, term by term (eq. 3 of [1]).

    Parameters
    ----------
    images, texts : array_like, shape (n, K, d), unit rows
        Embeddings of K views of each picture and caption, view by view together. One of them may have a single view, which then
        meets all views of the other.
    means : HeldOutMeans
        Of the same model.

    Returns
    -------
    Alignment

    Notes
    -----
    O(n K d): the mean cosine with N held-out items is the cosine with their mean embedding, not N cosines (exact, because rows
    have unit length). Sums are in double precision.
    """
    u, v = np.asarray(images, dtype=np.float64), np.asarray(texts, dtype=np.float64)
    views = np.broadcast_shapes(u.shape[1:2], v.shape[1:2])
    pair = np.einsum("nkd,nkd->nk", *np.broadcast_arrays(u, v))
    to_texts = np.broadcast_to(u @ means.texts, (len(u), *views))
    to_images = np.broadcast_to(v @ means.images, (len(v), *views))
    spread = (pair - to_texts - to_images).std(axis=1, ddof=1) if views[0] > 1 else np.zeros(len(u))
    return Alignment(pair.mean(axis=1), to_texts.mean(axis=1), to_images.mean(axis=1), spread)


def joined_alignments(parts: list[Alignment]) -> Alignment:
    """Alignments of consecutive batches as one."""
    return Alignment(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def clip_memorization(f: Alignment, g: Alignment, *, sets: Any, views: int, normalisation: Normalisation = "range") -> ClipMem:
    """CLIPMem of pairs from their alignment under the audited model f and the reference g (eq. 4 of [1]).

    Parameters
    ----------
    f, g : Alignment
        Of the same pairs, views and held-out items; with other views for g the noise of both adds up.
    sets : array_like of str, shape (n,)
        S, C, I or E of each pair. "official_range" takes its scale from C, all other ways from every scored pair.
    views : int
        K, behind `view_error`.
    normalisation : str

    Returns
    -------
    ClipMem
    """
    letters = np.asarray(sets)
    pair = f.pair - g.pair
    image, text = g.image_to_tests - f.image_to_tests, g.text_to_tests - f.text_to_tests
    raw = pair + image + text
    reference = raw[letters == "C"] if normalisation == "official_range" else raw
    normalised = normalised_scores(raw, by=normalisation, bound=BOUND, reference=reference)
    error = np.sqrt((f.view_sd**2 + g.view_sd**2) / views)
    return ClipMem(raw, pair, image, text, normalised, calibrated_scores(raw, letters), error)
