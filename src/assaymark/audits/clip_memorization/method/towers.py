"""Which tower remembers: memorization of each tower by itself, and, experimentally, of one tower with the other exchanged.

References
----------
.. [1] Wang et al. Memorization in Self-Supervised Learning Improves Downstream Generalization. ICLR 2024, arXiv 2401.12233.
.. [2] Schoenemann, P. A generalized solution of the orthogonal Procrustes problem. Psychometrika 31, 1966.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.audits.clip_memorization.method.alignment import HeldOutMeans, alignment

__all__ = ["Procrustes", "TowerSwap", "procrustes", "tower_swap", "view_distance"]

Floats = npt.NDArray[np.float64]


class Procrustes(NamedTuple):
    """The rotation that brings one space nearest to another, and what it cannot bring together.

    `rotation`, shape (d, d), maps rows: x @ rotation. `residual` is the squared distance that is left, as a share of that
    without any relation: 0 = the same up to a rotation, about 1 = nothing in common.
    """

    rotation: Floats
    residual: float


class TowerSwap(NamedTuple):
    """What is lost when one tower of f is replaced by that of g, mapped into the space of f.

    `text`, `image` : array, shape (n,): alignment under f minus alignment with the text, or image, tower exchanged;
    `residual` of the map for (image, text). Only as good as the map: experimental.
    """

    text: Floats
    image: Floats
    residual: tuple[float, float]


def view_distance(views: Any) -> Floats:
    """Mean distance between two views of an item (L_align of [1], for unit rows in [0, 2]).

    Parameters
    ----------
    views : array_like, shape (n, K, d), unit rows, K >= 2

    Returns
    -------
    array, shape (n,)
        NaN for a single view.

    Notes
    -----
    O(n K^2 d) over all K (K - 1) / 2 pairs of views. Distances come from differences: from cosines, 2 - 2 cos would lose half
    of the digits of near views.
    """
    x = np.asarray(views, dtype=np.float64)
    first, second = np.triu_indices(x.shape[1], 1)
    if not len(first):
        return np.full(len(x), np.nan)
    total = np.zeros(len(x))
    for a, b in zip(first, second, strict=True):
        total += np.linalg.norm(x[:, a] - x[:, b], axis=1)
    return total / len(first)


def procrustes(source: Any, target: Any) -> Procrustes:
    """Orthogonal map from one embedding space to another, fitted on items that both models were trained on ([2]).

    Parameters
    ----------
    source, target : array_like, shape (n, d)
        Row i of both is the same item.
    """
    x, y = np.asarray(source, dtype=np.float64), np.asarray(target, dtype=np.float64)
    left, _, right = np.linalg.svd(x.T @ y)
    rotation = left @ right
    apart = float((x**2).sum() + (y**2).sum())
    return Procrustes(rotation, float(((x @ rotation - y) ** 2).sum()) / apart if apart else float("nan"))


def tower_swap(
    f: tuple[Any, Any], g: tuple[Any, Any], *, means: HeldOutMeans, maps: tuple[Procrustes, Procrustes]
) -> TowerSwap:
    """Alignment under f minus alignment with one tower of g in its place (ours, experimental).

    Parameters
    ----------
    f, g : pair of arrays, shape (n, K, d): views of pictures and of captions
    means : HeldOutMeans
        Of f, which both sides are compared with.
    maps : pair of Procrustes
        From g's pictures to f's, and from g's captions to f's.
    """
    own = alignment(*f, means=means).total
    images = np.asarray(g[0], dtype=np.float64) @ maps[0].rotation
    texts = np.asarray(g[1], dtype=np.float64) @ maps[1].rotation
    text = own - alignment(f[0], texts, means=means).total
    image = own - alignment(images, f[1], means=means).total
    return TowerSwap(text, image, (maps[0].residual, maps[1].residual))
