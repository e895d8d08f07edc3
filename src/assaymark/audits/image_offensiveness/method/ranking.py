"""Which natural-language prompt separates best before any tuning: templates and word pairs, ranked on rated images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from assaymark.audits.image_offensiveness.method.scoring import LOGIT_SCALE, prompt_direction, unit_rows
from assaymark.result import Estimate
from assaymark.stats import operating_point, roc_auc

__all__ = ["RankedPrompt", "rank_prompts"]


class RankedPrompt(NamedTuple):
    """One pair of prompts on the rated images.

    Attributes
    ----------
    name : str
    position : int, in the order given
    accuracy : Estimate, Wilson
    auroc : Estimate, see `stats.roc_auc`
    balanced_accuracy : float, mean of the two recalls: above accuracy or below it where the prompt leans to one class
    flagged : float, share called offensive; far from the true share means that the prompt leans to one class
    """

    name: str
    position: int
    accuracy: Estimate
    auroc: Estimate
    balanced_accuracy: float
    flagged: float


def rank_prompts(
    prompts: Any,
    names: Sequence[str],
    V: Any,
    y: Any,
    *,
    by: Literal["accuracy", "auroc"] = "accuracy",
    logit_scale: float = LOGIT_SCALE,
    confidence: float = 0.95,
) -> tuple[RankedPrompt, ...]:
    """Pairs of prompts, best first.

    Parameters
    ----------
    prompts : array_like, shape (m, 2, d)
        Text features of the pairs, row 1 the offensive side.
    names : sequence of m str
    V, y : arrays, shapes (n, d) and (n,)
    by : "accuracy" or "auroc"
        Ties go to the other of the two, then to the order given.

    Notes
    -----
    The figures of the winner are those of the best of m on these images, and too good by what selection gains: measure the
    prompt that is kept on other images. O(n d m) in one matrix product.
    """
    pairs = np.asarray(prompts, dtype=np.float64)
    if pairs.ndim != 3 or pairs.shape[1] != 2 or len(names) != len(pairs):
        raise ValueError(f"prompts of shape {pairs.shape} and {len(names)} names: expected (m, 2, d) and m")
    labels = np.asarray(y) == 1
    images = unit_rows(V)
    rows, labels = images.rows[~images.invalid], labels[~images.invalid]
    scores = rows @ np.stack([prompt_direction(pair, logit_scale=logit_scale) for pair in pairs], axis=1)
    ranked = [_measured(name, j, scores[:, j], labels, confidence) for j, name in enumerate(names)]
    other = "auroc" if by == "accuracy" else "accuracy"
    return tuple(sorted(ranked, key=lambda prompt: (-_point(prompt, by), -_point(prompt, other), prompt.position)))


def _point(prompt: RankedPrompt, figure: str) -> float:
    value = getattr(prompt, figure).value
    return -1.0 if value is None else float(value)


def _measured(name: str, position: int, scores: Any, labels: Any, confidence: float) -> RankedPrompt:
    point = operating_point(scores, labels, float(np.nextafter(np.float32(0), np.float32(1))), confidence=confidence)
    recalls = [rate for rate in (point.tpr.value, None if point.fpr.value is None else 1 - point.fpr.value) if rate is not None]
    return RankedPrompt(
        name,
        position,
        point.accuracy,
        roc_auc(scores, labels, confidence=confidence),
        float(np.mean(recalls)) if recalls else float("nan"),
        float(np.mean(scores > 0)) if len(scores) else float("nan"),
    )
