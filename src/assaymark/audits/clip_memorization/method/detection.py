"""Wrong captions among the candidates: how high a score ranks them, beside the baselines that need no memorization.

A detector is a score that is larger the more suspicious a pair is. CLIPMem is one; the others are the similarity of picture
and caption (low = suspicious) under the audited model, under the reference, which never saw the candidates, and under any
independent model; the training loss of the audited model; and chance.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.result import Estimate, undefined
from assaymark.stats import auroc_difference, roc_auc, wilson

__all__ = ["Detection", "contrastive_losses", "detections", "recall_at"]

Floats = npt.NDArray[np.float64]
BLOCK = 1024


class Detection(NamedTuple):
    """How one detector finds wrong captions.

    Attributes
    ----------
    detector : str
    auc : Estimate
        P(a wrong caption scores higher than a right one).
    recall : Estimate
        Wrong captions among the k highest scores, as a share of all wrong ones; k in `depth`.
    depth : int
    against : Estimate
        AUC minus that of the first detector, paired over the pairs; undefined for the first itself.
    """

    detector: str
    auc: Estimate
    recall: Estimate
    depth: int
    against: Estimate


def contrastive_losses(images: Any, texts: Any, *, logit_scale: float) -> Floats:
    """Loss of each pair among the given ones: the symmetric InfoNCE of the training, row by row.

    Parameters
    ----------
    images, texts : array_like, shape (n, d), unit rows
        Row i of both is a pair; every other row is a wrong partner.
    logit_scale : float
        What cosines are multiplied by.

    Returns
    -------
    array, shape (n,), in nats

    Notes
    -----
    O(n^2 d) time, O(block x n) memory.
    """
    from scipy.special import logsumexp

    u, v = np.asarray(images, dtype=np.float64), np.asarray(texts, dtype=np.float64)
    own = logit_scale * np.einsum("nd,nd->n", u, v)
    rows, columns = np.empty(len(u)), np.empty(len(u))
    for start in range(0, len(u), BLOCK):
        block = slice(start, start + BLOCK)
        rows[block] = logsumexp(logit_scale * (u[block] @ v.T), axis=1)
        columns[block] = logsumexp(logit_scale * (v[block] @ u.T), axis=1)
    return np.asarray((rows + columns) / 2 - own)


def recall_at(scores: Any, wrong: Any, *, depth: int, confidence: float = 0.95) -> Estimate:
    """Share of the wrong ones that are among the `depth` highest scores; ties at the border count by their share."""
    values, flags = np.asarray(scores, dtype=np.float64), np.asarray(wrong, dtype=bool)
    total = int(flags.sum())
    if not total or not depth:
        return undefined("no pair is known to be wrong" if depth else "nothing is looked at", unit="share")
    border = np.sort(values)[::-1][min(depth, len(values)) - 1]
    above, at = values > border, values == border
    hits = float((flags & above).sum()) + float((flags & at).sum()) * (depth - int(above.sum())) / int(at.sum())
    return wilson(min(hits, total), total, confidence=confidence)


def detections(
    scores: Mapping[str, Any], wrong: Any, *, depth: int | None = None, confidence: float = 0.95
) -> tuple[Detection, ...]:
    """Every detector on the same pairs.

    Parameters
    ----------
    scores : mapping of detector to array, shape (n,)
        Larger = more suspicious; a pair without a score under one of them is left out of all.
    wrong : array_like of bool, shape (n,)
        Pairs whose caption is known to be wrong.
    depth : int, optional
        How many of the highest scores are looked at; default: as many as are wrong.
    """
    columns = {name: np.asarray(values, dtype=np.float64) for name, values in scores.items()}
    flags = np.asarray(wrong, dtype=bool)
    complete = np.logical_and.reduce([np.isfinite(values) for values in columns.values()]) if columns else np.ones(0, bool)
    flags = flags[complete]
    k = int(flags.sum()) if depth is None else min(depth, len(flags))
    first, found = next(iter(columns), ""), []
    for name, values in columns.items():
        kept = values[complete]
        against = (
            undefined("compared with itself")
            if name == first
            else auroc_difference(kept, columns[first][complete], flags, confidence=confidence)
        )
        auc = roc_auc(kept, flags, confidence=confidence)
        found.append(Detection(name, auc, recall_at(kept, flags, depth=k, confidence=confidence), k, against))
    return tuple(found)
