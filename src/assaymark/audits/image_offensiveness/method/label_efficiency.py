"""How many labels prompts need: the label-efficiency curve (figure 3 and table 1 of [1]).

References
----------
.. [1] Schramowski, P. and Kersting, K. (2021). Inferring offensiveness in images from natural language supervision.
   arXiv 2110.04222.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.audits.image_offensiveness.method.evaluation import MetricSummary, metric_values, summarise_splits
from assaymark.audits.image_offensiveness.method.scoring import LOGIT_SCALE, log_odds, prompt_direction, unit_rows
from assaymark.audits.image_offensiveness.method.splits import (
    FRACTIONS,
    Split,
    nested_fractions,
    shuffle_splits,
    stratified_holdout,
)
from assaymark.audits.image_offensiveness.method.tuning import PAPER, Job, Tuned, TuningSetting, tune_many

__all__ = ["LabelEfficiency", "label_efficiency", "share_of_gain"]


class LabelEfficiency(NamedTuple):
    """The curve.

    Attributes
    ----------
    fractions : float64 array, shape (f,): share of the training images; 0 is zero-shot
    labels : int64 array, shape (f,): labelled images that it means (the least over splits)
    summaries : tuple of dicts, one per fraction: metric name -> MetricSummary
    splits : tuple of Split
    tuned : tuple of Tuned, fraction by fraction within each split: prompts of split i, fraction j are at i * f + j
    """

    fractions: npt.NDArray[np.float64]
    labels: npt.NDArray[np.int64]
    summaries: tuple[dict[str, MetricSummary], ...]
    splits: tuple[Split, ...]
    tuned: tuple[Tuned, ...]


def label_efficiency(
    V: Any,
    y: Any,
    P0: Any,
    *,
    fractions: Sequence[float] = FRACTIONS,
    splits: int = 10,
    test: float = 0.1,
    groups: Any = None,
    setting: TuningSetting = PAPER,
    logit_scale: float = LOGIT_SCALE,
    confidence: float = 0.95,
    train_labels: Any = None,
    rng: np.random.Generator,
) -> LabelEfficiency:
    """Tune on growing parts of the training images and measure on the held-out ones, over repeated splits.

    Parameters
    ----------
    V : array_like, shape (n, d)
        Embeddings of the labelled images.
    y : array_like, shape (n,), 1 = offensive
    P0 : array_like, shape (2, d)
        Initial prompts; fraction 0 returns their zero-shot figures.
    groups : array_like, shape (n,), optional
        Near duplicates, which are kept on one side of each split.
    setting : TuningSetting
        With `validation` > 0 that share of each training part decides when to stop.
    train_labels : array_like, shape (n,), optional
        Labels to train on instead of `y` (shuffled ones, to see what chance gives); testing is always on `y`.

    Notes
    -----
    All problems are tuned in one optimisation; O(epochs * n * d * splits * fractions).
    """
    labels = np.asarray(y) == 1
    taught = labels if train_labels is None else np.asarray(train_labels) == 1
    images = unit_rows(V).rows
    drawn = shuffle_splits(labels, splits=splits, test=test, groups=groups, rng=rng)
    jobs = [
        _job(part, taught, setting.validation, rng)
        for split in drawn
        for part in nested_fractions(taught, split.train, fractions=fractions, rng=rng)
    ]
    tuned = tune_many(images, P0, jobs, setting=setting, logit_scale=logit_scale)
    width = len(fractions)
    measured = [
        metric_values(
            log_odds(images[split.test], prompt_direction(prompts.P, logit_scale=logit_scale)).log_odds, labels[split.test]
        )
        for split, row in zip(drawn, (tuned[i * width : (i + 1) * width] for i in range(splits)), strict=True)
        for prompts in row
    ]
    sizes = np.array([job.rows.size + job.validation.size for job in jobs]).reshape(splits, width)
    tested = min((split.test.size for split in drawn), default=0)
    summaries = tuple(
        summarise_splits(measured[j::width], test_share=test, tested=tested, confidence=confidence) for j in range(width)
    )
    return LabelEfficiency(np.array(fractions, dtype=np.float64), sizes.min(axis=0), summaries, drawn, tuned)


def _job(part: npt.NDArray[np.int64], y: npt.NDArray[np.bool_], validation: float, rng: np.random.Generator) -> Job:
    """Training part with its validation rows; none where a class has too few rows to give one away."""
    counts = np.bincount(y[part].astype(np.int64), minlength=2)
    if validation <= 0 or counts.min() < 2:
        return Job(part, y)
    held = stratified_holdout(y[part], share=validation, rng=rng)
    return Job(part[~held], y, part[held])


def share_of_gain(curve: LabelEfficiency, fraction: float, *, metric: str = "accuracy") -> float:
    """Gain over zero-shot at `fraction`, as a share of the gain at the largest fraction; NaN where nothing was gained."""
    means = {f: s[metric].estimate.value for f, s in zip(curve.fractions.tolist(), curve.summaries, strict=True)}
    first, some, full = means[0.0], means[fraction], means[max(means)]
    if first is None or some is None or full is None or full == first:
        return float("nan")
    return (some - first) / (full - first)
