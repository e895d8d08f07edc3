"""How good a detector is, in cells: overall, by platform, by generator, by length (the protocol of AIGTBench, [1]).

References
----------
.. [1] Sun, Z. et al. (2025). Are we in the AI-generated text world already? Quantifying and monitoring AIGT on social media.
   ACL.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.result import Estimate, undefined
from assaymark.stats import expected_calibration_error, mean_f1_from_counts, roc_auc, tpr_at_fpr, wilson

__all__ = ["LENGTH_EDGES", "Cell", "Grouping", "benchmark_cells", "length_grouping"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

LENGTH_EDGES = (50, 100, 200, 400, 800)
"""Words; AIGTBench has most texts below 400, with peaks near 50 and 270, and a tail beyond 1,200."""


class Grouping(NamedTuple):
    """Groups of the texts.

    Attributes
    ----------
    by : what they are, e.g. "platform"
    codes : array of int, shape (n,); position in `names`, -1 for a text of no group
    names : sequence of str
    against_all_humans : whether a group's machine texts are judged against the human texts of *all* groups: a generator has no
        human texts of its own
    """

    by: str
    codes: Ints
    names: Sequence[str]
    against_all_humans: bool = False


class Cell(NamedTuple):
    """A detector on the texts of one cell.

    Attributes
    ----------
    by, group : the grouping and the group; ("overall", "") for all texts
    humans, machines : texts with a score
    left_out : texts without one
    accuracy, weighted_f1, macro_f1, fpr : at the threshold
    auroc, tpr_at_1_fpr, tpr_at_5_fpr : of the scores, whatever the threshold
    ece : calibration error of the probabilities; undefined for scores that are none
    """

    by: str
    group: str
    humans: int
    machines: int
    left_out: int
    accuracy: Estimate
    weighted_f1: Estimate
    macro_f1: Estimate
    auroc: Estimate
    tpr_at_1_fpr: Estimate
    tpr_at_5_fpr: Estimate
    fpr: Estimate
    ece: Estimate


def length_grouping(words: Any, *, edges: Sequence[float] = LENGTH_EDGES) -> Grouping:
    """Buckets of length in words: below the first edge, from it to below the next, ..., from the last.

    Parameters
    ----------
    words : array_like, shape (n,), >= 0; a missing length is in no bucket
    edges : rising
    """
    lengths, cuts = np.asarray(words, dtype=np.float64), np.asarray(edges, dtype=np.float64)
    if not cuts.size or (np.diff(cuts) <= 0).any():
        raise ValueError(f"edges {tuple(edges)}: expected rising numbers of words")
    codes = np.where(np.isnan(lengths), -1, np.searchsorted(cuts, lengths, side="right"))
    inner = (f"{low:g} to {high - 1:g} words" for low, high in pairwise(cuts))
    return Grouping("length", codes, (f"below {cuts[0]:g} words", *inner, f"{cuts[-1]:g} words and more"))


def benchmark_cells(
    scores: Any,
    labels: Any,
    *,
    threshold: float,
    probability: Any = None,
    groupings: Sequence[Grouping] = (),
    rng: np.random.Generator,
    resamples: int = 1000,
    confidence: float = 0.95,
) -> tuple[Cell, ...]:
    """All measures of a detector in each cell.

    Parameters
    ----------
    scores : array_like, shape (n,)
        Higher says machine; a text is called a machine's at or above `threshold`. Texts without a score (NaN, infinite) are
        left out and counted.
    labels : array_like, shape (n,), 0 human, 1 machine
    probability : array_like, shape (n,), in [0, 1], optional
        For the calibration error: give the scores again where they are probabilities.
    groupings : platform, generator, length, ... ; groups without texts have no cell
    rng : numpy.random.Generator
        For the intervals of TPR at a fixed FPR and of the calibration error.

    Returns
    -------
    tuple of Cell
        The cell of all texts first, then by grouping.

    Notes
    -----
    O(cells * resamples * n): 1,000 resamples of 80,000 texts take some seconds for a cell.
    """
    score, machine = np.asarray(scores, dtype=np.float64), np.asarray(labels) == 1
    given = None if probability is None else np.asarray(probability, dtype=np.float64)
    for name, values in (("labels", machine), ("probabilities", given)):
        if values is not None and values.shape != score.shape:
            raise ValueError(f"{score.shape} scores but {name} of shape {values.shape}")
    cells = []
    for by, group, member in _members(machine, groupings):
        held = np.flatnonzero(member & np.isfinite(score))
        chances = None if given is None else given[held]
        measures = _measures(score[held], machine[held], chances, threshold, rng, resamples, confidence)
        machines = int(machine[held].sum())
        cells.append(Cell(by, group, held.size - machines, machines, int(member.sum()) - held.size, *measures))
    return tuple(cells)


def _members(machine: Mask, groupings: Sequence[Grouping]) -> Iterator[tuple[str, str, Mask]]:
    """The texts of each cell that has any."""
    yield "overall", "", np.ones(machine.shape, dtype=np.bool_)
    for grouping in groupings:
        codes = np.asarray(grouping.codes)
        if codes.shape != machine.shape:
            raise ValueError(f"{machine.shape} texts but codes of {grouping.by} of shape {codes.shape}")
        for code, name in enumerate(grouping.names):
            member = codes == code
            if grouping.against_all_humans:
                member &= machine
            if member.any():
                yield grouping.by, name, member | ~machine if grouping.against_all_humans else member


def _measures(
    score: Floats,
    machine: Mask,
    probability: Floats | None,
    threshold: float,
    rng: np.random.Generator,
    resamples: int,
    confidence: float,
) -> tuple[Estimate, ...]:
    """The measures of one cell, in the order of `Cell`."""
    called = score >= threshold
    tp, fp = int((called & machine).sum()), int((called & ~machine).sum())
    fn, tn = int(machine.sum()) - tp, int((~machine).sum()) - fp
    if probability is None:
        ece = undefined("the scores are not probabilities", n=score.size)
    else:
        known = np.isfinite(probability)
        ece = expected_calibration_error(
            probability[known], machine[known], rng=rng, resamples=resamples, confidence=confidence
        )
    return (
        wilson(tp + tn, score.size, confidence=confidence),
        mean_f1_from_counts(tp, fp, fn, tn, weighting="weighted", confidence=confidence),
        mean_f1_from_counts(tp, fp, fn, tn, weighting="macro", confidence=confidence),
        roc_auc(score, machine, confidence=confidence),
        *(
            tpr_at_fpr(score, machine, limit, rng=rng, resamples=resamples, confidence=confidence)
            if score.size > 1
            else undefined("fewer than 2 texts have a score", n=score.size, unit="share")
            for limit in (0.01, 0.05)
        ),
        wilson(fp, fp + tn, confidence=confidence),
        ece,
    )
