"""What a dual encoder is good for, on arrays: zero-shot classification, retrieval both ways, and a linear probe."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.result import Estimate, undefined
from assaymark.stats import probe_hits, probe_strength, wilson

__all__ = ["LinearProbe", "Recall", "linear_probe", "retrieval_recall", "zero_shot_accuracy", "zero_shot_classes"]

Floats = npt.NDArray[np.float64]
STEPS = 200
"""Of the regression of a probe, at most."""


class Recall(NamedTuple):
    """Share of queries whose own partner is among the `k` nearest, in one direction ("image to text" or "text to image")."""

    direction: str
    k: int
    recall: Estimate
    chance: float


class LinearProbe(NamedTuple):
    """Accuracy on test items, and the inverse L2 strength that the validation part chose (NaN where undefined)."""

    accuracy: Estimate
    strength: float


def zero_shot_classes(prompts: Any) -> Floats:
    """Directions of classes: mean of the unit embeddings of a class's prompts, scaled to unit length.

    Parameters
    ----------
    prompts : array_like, shape (classes, templates, d), unit rows

    Returns
    -------
    array, shape (classes, d)
    """
    mean = np.asarray(prompts, dtype=np.float64).mean(axis=1)
    length = np.linalg.norm(mean, axis=1, keepdims=True)
    return np.asarray(mean / np.where(length > 0, length, 1.0))


def zero_shot_accuracy(images: Any, classes: Any, labels: Any, *, confidence: float = 0.95) -> Estimate:
    """Share of pictures whose nearest class direction is their own.

    Parameters
    ----------
    images : array_like, shape (n, d); classes : shape (classes, d); labels : int, shape (n,)
        An exact tie between classes counts by its share. A picture without a finite embedding is left out.
    """
    logits = np.asarray(images, dtype=np.float64) @ np.asarray(classes, dtype=np.float64).T
    known = np.isfinite(logits).all(axis=1)
    if not known.any():
        reason = "pictures or prompts have no finite embedding" if logits.size else "no labelled picture"
        return undefined(reason, unit="share")
    logits, labels = logits[known], np.asarray(labels)[known]
    best = logits == logits.max(axis=1, keepdims=True)
    own = best[np.arange(len(logits)), labels] / best.sum(axis=1)
    return wilson(float(own.sum()), len(own), confidence=confidence)


def retrieval_recall(
    images: Any, texts: Any, owners: Any, *, depths: tuple[int, ...] = (1, 5, 10), confidence: float = 0.95
) -> tuple[Recall, ...]:
    """R@k in both directions, where a picture may have several captions.

    Parameters
    ----------
    images : array_like, shape (n, d), unit rows
    texts : array_like, shape (m, d), unit rows
    owners : array_like of int, shape (m,)
        Row in `images` that a caption belongs to.
    depths : tuple of int

    Returns
    -------
    tuple of Recall
        From a picture to any of its captions, and from a caption to its picture. Exact ties count as if in random order.

    Notes
    -----
    O(n m d) time, O(n m) memory: for test parts of some thousands.
    """
    u, v = np.asarray(images, dtype=np.float64), np.asarray(texts, dtype=np.float64)
    owner = np.asarray(owners, dtype=np.int64)
    own = owner[None, :] == np.arange(len(u))[:, None]
    similarity = u @ v.T
    found = []
    for direction, matrix, right in (("image to text", similarity, own), ("text to image", similarity.T, own.T)):
        asked = right.any(axis=1)
        ahead, tied = _ahead(matrix[asked], right[asked]) if asked.any() else (np.zeros(0), np.zeros(0))
        partners = right.sum(axis=1)[asked]
        for k in depths:
            if not asked.any():
                found.append(Recall(direction, k, undefined("no pair to look for", unit="share"), float("nan")))
                continue
            hits = np.clip((k - ahead) / (tied + 1), 0.0, 1.0)
            chance = float(np.mean(1 - _missed_by_chance(matrix.shape[1], partners, k)))
            found.append(Recall(direction, k, wilson(float(hits.sum()), len(hits), confidence=confidence), chance))
    return tuple(found)


def _ahead(matrix: Floats, right: npt.NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Wrong partners nearer than the nearest right one, and those exactly as near."""
    best = np.where(right, matrix, -np.inf).max(axis=1, keepdims=True)
    return ((matrix > best) & ~right).sum(axis=1).astype(float), ((matrix == best) & ~right).sum(axis=1).astype(float)


def _missed_by_chance(total: int, partners: npt.NDArray[np.int64], k: int) -> Floats:
    """P(none of the partners is among k drawn without replacement)."""
    from scipy.stats import hypergeom

    return np.asarray(hypergeom.pmf(0, total, partners, min(k, total)), dtype=np.float64)


def linear_probe(train: Any, validation: Any, test: Any, *, confidence: float = 0.95) -> LinearProbe:
    """Accuracy of a multinomial logistic regression on frozen, standardised features.

    Parameters
    ----------
    train, validation, test : pair of arrays, (features of shape (n, d), labels of shape (n,))
        The L2 strength is chosen on the validation part; the regression is then fitted on train and validation together.
        Rows that are not finite are left out.
    """
    (x, y), (x_val, y_val), (x_test, y_test) = (_finite(*part) for part in (train, validation, test))
    if len(np.unique(y)) < 2 or not len(y_val) or not len(y_test):
        return LinearProbe(undefined("fewer than two classes, or a part without items", unit="share"), float("nan"))
    chosen = probe_strength(x, y, x_val, y_val, steps=STEPS)
    whole = np.concatenate([x, x_val]), np.concatenate([y, y_val])
    hits = probe_hits(*whole, x_test, y_test, strength=chosen, steps=STEPS)
    return LinearProbe(wilson(int(hits.sum()), len(y_test), confidence=confidence), chosen)


def _finite(features: Any, labels: Any) -> tuple[Floats, npt.NDArray[Any]]:
    x = np.asarray(features, dtype=np.float64)
    known = np.isfinite(x).all(axis=1) if x.ndim == 2 else np.zeros(len(x), bool)
    return x[known], np.asarray(labels)[known]
