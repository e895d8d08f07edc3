"""Object recall (deja vu): does a caption lead to pictures with objects that only its own picture shows?

Not CLIPMem. A caption is looked up among public pictures; if their objects hold what is in its picture but not in the caption
more often than under a reference, the model has remembered the picture. With one model alone, the reference is another text
encoder.

References
----------
.. [1] Jayaraman, Guo, Chaudhuri. Deja Vu Memorization in Vision-Language Models. NeurIPS 2024, arXiv 2402.02103, section 3.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.result import Estimate, undefined
from assaymark.stats import bootstrap_mean, sign_test

__all__ = ["DejaVu", "deja_vu", "object_recall"]

Floats = npt.NDArray[np.float64]


class DejaVu(NamedTuple):
    """Population gap of object recall.

    Attributes
    ----------
    gap : Estimate
        Mean recall under the model minus that under the reference, over pairs.
    favoured : Estimate
        Share of pairs that the model recalls better minus share that the reference does (the population gap of [1]).
    p_value : float
        Exact sign test that both are equally frequent.
    """

    gap: Estimate
    favoured: Estimate
    p_value: float


def object_recall(captions: Any, public: Any, objects: Any, public_objects: Any, *, neighbours: int = 10) -> Floats:
    """Share of a picture's objects that are among those of the public pictures nearest to its caption.

    Parameters
    ----------
    captions : array_like, shape (n, d), unit rows
    public : array_like, shape (m, d), unit rows
        Public pictures in the same space, or, for a text encoder as reference, their captions.
    objects, public_objects : array_like of bool, shapes (n, o) and (m, o)
        What is looked for: objects of a picture that its caption does not name; and objects of the public pictures.
    neighbours : int

    Returns
    -------
    array, shape (n,), in [0, 1]; NaN where nothing is looked for.

    Notes
    -----
    O(n m d).
    """
    similarity = np.asarray(captions, dtype=np.float64) @ np.asarray(public, dtype=np.float64).T
    k = min(neighbours, similarity.shape[1])
    nearest = np.argpartition(-similarity, k - 1, axis=1)[:, :k] if k else np.zeros((len(similarity), 0), np.int64)
    seen = np.asarray(public_objects, dtype=bool)[nearest].any(axis=1)
    wanted = np.asarray(objects, dtype=bool)
    total = wanted.sum(axis=1)
    with np.errstate(invalid="ignore"):
        return np.where(total > 0, (wanted & seen).sum(axis=1) / np.maximum(total, 1), np.nan)


def deja_vu(
    recall: Any, reference: Any, *, rng: np.random.Generator, resamples: int = 1000, confidence: float = 0.95
) -> DejaVu:
    """How much better a model recalls objects than a reference, over the pairs that both can be asked about."""
    f, g = np.asarray(recall, dtype=np.float64), np.asarray(reference, dtype=np.float64)
    both = np.isfinite(f) & np.isfinite(g)
    if both.sum() < 2:
        reason = "fewer than two pairs have an object to look for"
        return DejaVu(undefined(reason, unit="percentage points"), undefined(reason, unit="percentage points"), float("nan"))
    difference = f[both] - g[both]
    options: dict[str, Any] = {"resamples": resamples, "confidence": confidence, "unit": "percentage points"}
    gap = bootstrap_mean(difference, rng=rng, **options)
    return DejaVu(gap, bootstrap_mean(np.sign(difference), rng=rng, **options), sign_test(difference).p_value)
