"""Scores of rated images from prompts that never saw them: each fold is scored by prompts tuned on the others."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import logit

from assaymark.audits.image_offensiveness.measures.prompts import Start
from assaymark.audits.image_offensiveness.method.scoring import log_odds, prompt_direction
from assaymark.audits.image_offensiveness.method.splits import stratified_holdout
from assaymark.audits.image_offensiveness.method.tuning import Job, TuningSetting, tune_many
from assaymark.stats import Platt, platt

__all__ = ["Calibrated", "ErrorCounts", "calibrated_log_odds", "cross_tuned", "error_counts", "folds_of"]

Ints = npt.NDArray[np.int64]


class ErrorCounts(NamedTuple):
    """(found, offensive) and (passed, inoffensive) images at a threshold."""

    sensitivity: tuple[int, int]
    specificity: tuple[int, int]


class Calibrated(NamedTuple):
    """Log-odds that can be read as probabilities.

    platt : the map fitted on all rows, for new images
    held_out : float64 array, shape (n,): log-odds of each row by a map that was fitted on the half without it
    """

    platt: Platt
    held_out: npt.NDArray[np.float64]


def calibrated_log_odds(scores: Any, y: Any, groups: Ints, *, rng: np.random.Generator) -> Calibrated | None:
    """Platt's map of log-odds, judged on the half that did not fit it; None where there are too few groups for two halves."""
    values, labels = np.asarray(scores, dtype=np.float64), np.asarray(y) == 1
    halves = folds_of(labels, groups, test_share=0.5, rng=rng)
    if not len(halves) or any(len(set(labels[halves == k].tolist())) < 2 for k in (0, 1)):
        return None
    held_out = np.empty(len(values))
    for k in (0, 1):
        held_out[halves == k] = platt(values[halves != k], labels[halves != k]).apply(values[halves == k])
    return Calibrated(platt(values, labels), held_out)


def folds_of(y: Any, groups: Ints, *, test_share: float, rng: np.random.Generator) -> Ints:
    """Fold of each row; groups stay together and classes are spread evenly. Empty where there are too few groups of a class."""
    from sklearn.model_selection import StratifiedGroupKFold

    labels = np.asarray(y) == 1
    wanted = max(2, round(1 / test_share))
    count = min(wanted, *(len(np.unique(groups[labels == k])) for k in (False, True)))
    if count < 2:
        return np.zeros(0, np.int64)
    splitter = StratifiedGroupKFold(count, shuffle=True, random_state=int(rng.integers(2**31)))
    folds = np.zeros(len(labels), np.int64)
    for k, (_, test) in enumerate(splitter.split(np.zeros(len(labels)), labels, groups)):
        folds[test] = k
    return folds


def cross_tuned(
    vectors: npt.NDArray[np.float32],
    y: Any,
    groups: Ints,
    start: Start,
    *,
    setting: TuningSetting,
    test_share: float,
    rng: np.random.Generator,
) -> npt.NDArray[np.float64] | None:
    """Log-odds of each row from prompts tuned on the folds without it; None where the images cannot be divided.

    All folds are tuned in one optimisation. A fold whose training rows lack a class makes the whole undefined.
    """
    labels = np.asarray(y) == 1
    folds = folds_of(labels, groups, test_share=test_share, rng=rng)
    if not len(folds):
        return None
    jobs = []
    for k in range(int(folds.max()) + 1):
        rows = np.flatnonzero(folds != k)
        counts = np.bincount(labels[rows].astype(np.int64), minlength=2)
        if counts.min() == 0:
            return None
        if setting.validation > 0 and counts.min() >= 2:
            held = stratified_holdout(labels[rows], share=setting.validation, rng=rng)
            jobs.append(Job(rows[~held], labels, rows[held]))
        else:
            jobs.append(Job(rows, labels))
    scores = np.empty(len(labels))
    for k, tuned in enumerate(tune_many(vectors, start.prompts, jobs, setting=setting, logit_scale=start.logit_scale)):
        direction = prompt_direction(tuned.P, logit_scale=start.logit_scale)
        scores[folds == k] = log_odds(vectors[folds == k], direction).log_odds
    return scores


def error_counts(scores: Any, y: Any, *, threshold: float) -> ErrorCounts:
    """What a threshold on the score finds and passes: log-odds at or above logit(threshold), and above 0, are flagged."""
    labels, values = np.asarray(y) == 1, np.asarray(scores, dtype=np.float64)
    with np.errstate(divide="ignore"):
        called = (values > 0) & (values >= logit(threshold))
    return ErrorCounts(
        (int((called & labels).sum()), int(labels.sum())), (int((~called & ~labels).sum()), int((~labels).sum()))
    )
