"""Do posts that a detector calls a machine's differ in style from the others, and by how much?

The label is the detector's, so that each side holds posts of the other: differences shrink towards 0. Weighting by the
posterior instead of cutting it at 1/2 uses what the detector is unsure of, and shrinks them too; `corrected_difference` undoes
the shrinking where the detector's predictive values are known.

References
----------
.. [1] Cohen, J. (1988). Statistical Power Analysis for the Behavioral Sciences, section 2.2.
.. [2] Hedges, L. V. and Olkin, I. (1985). Statistical Methods for Meta-Analysis, section 5.B.
.. [3] Zou, G. Y. and Donner, A. (2008). Construction of confidence limits about effect measures: a general approach.
   Statistics in Medicine 27, 1693-1702.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.result import Estimate, Unit, undefined
from assaymark.stats import percentile_estimate, resampled_sums

__all__ = ["StyleDifference", "compare_styles", "corrected_difference"]

Floats = npt.NDArray[np.float64]
Labelling = Literal["hard", "soft"]
_FIGURES = ("machine", "human", "difference", "standardised")
_SUMS = 6
"""Sums of each measure: weight, weight * x, weight * x^2, of machine and of human posts."""


class StyleDifference(NamedTuple):
    """One measure on both sides.

    Attributes
    ----------
    measure : its name
    machine, human : weighted mean of the posts of each side
    difference : machine - human, in the unit of the measure
    standardised : difference / sqrt of the mean of both variances (Cohen's d, [1]); comparable over measures
    posts : posts with a value and a probability
    left_out : posts without
    """

    measure: str
    machine: Estimate
    human: Estimate
    difference: Estimate
    standardised: Estimate
    posts: int
    left_out: int


def compare_styles(
    measures: Mapping[str, Any],
    machine_probability: Any,
    *,
    labelling: Labelling = "hard",
    threshold: float = 0.5,
    weights: Any = None,
    units: Mapping[str, Unit] | None = None,
    rng: np.random.Generator,
    resamples: int = 1000,
    confidence: float = 0.95,
) -> tuple[StyleDifference, ...]:
    """Means and differences of each measure between machine and human posts.

    Parameters
    ----------
    measures : mapping of name -> array_like, shape (n,); NaN where a post has none
    machine_probability : array_like, shape (n,), in [0, 1]
        P(machine) of each post, or its label 0 or 1; NaN where it has none.
    labelling : "hard" or "soft"
        "hard" puts a post on one side, machine at or above `threshold`. "soft" lets it count on the machine side with its
        probability p and on the human side with 1 - p.
    weights : array_like, shape (n,), >= 0, optional
        Of the posts, e.g. posts of the stratum for each one sampled.
    units : mapping of name -> unit, optional; "number" by default
    rng : numpy.random.Generator

    Returns
    -------
    tuple of StyleDifference
        In the order of `measures`. Undefined where fewer than two posts are on a side (soft: where their weights come to
        nothing), the standardised one also where a measure does not vary.

    Notes
    -----
    All four are read off six weighted sums, whose bootstrap over posts is one matrix product for all measures together: their
    intervals come from the same resamples. O(resamples * n * measures) time, O(n * measures) memory: of very many posts give a
    sample.
    """
    p = np.asarray(machine_probability, dtype=np.float64)
    share = np.ones(p.shape) if weights is None else np.asarray(weights, dtype=np.float64)
    if p.ndim != 1 or share.shape != p.shape:
        raise ValueError(f"probabilities of shape {p.shape} and weights of shape {share.shape}: expected one length")
    if ((p < 0) | (p > 1)).any() or not (share >= 0).all():
        raise ValueError("probabilities lie in [0, 1], and weights are 0 or more")
    side = p if labelling == "soft" else np.where(np.isnan(p), np.nan, p >= threshold)
    blocks = [_sums(name, np.asarray(values, dtype=np.float64), side, share) for name, values in measures.items()]
    if not blocks:
        return ()
    columns = np.concatenate([block.columns for block in blocks], axis=1)
    draws = resampled_sums(columns, rng=rng, resamples=resamples) if len(p) > 1 else np.full((2, columns.shape[1]), np.nan)
    found = []
    for i, (name, block) in enumerate(zip(measures, blocks, strict=True)):
        mine = slice(_SUMS * i, _SUMS * (i + 1))
        estimates = _estimates(block, draws[:, mine], (units or {}).get(name, "number"), resamples, confidence)
        found.append(StyleDifference(name, **estimates, posts=block.posts, left_out=len(p) - block.posts))
    return tuple(found)


class _Block(NamedTuple):
    """Weighted values of one measure, (n, 6), centred so that squares do not cancel; posts on each side."""

    columns: Floats
    centre: float
    posts: int
    on_side: tuple[int, int]


def _sums(name: str, values: Floats, side: Floats, share: Floats) -> _Block:
    if values.shape != side.shape:
        raise ValueError(f"measure {name!r}: {values.shape} values but {side.shape} probabilities")
    known = np.isfinite(values) & np.isfinite(side)
    centre = float(values[known].mean()) if known.any() else 0.0
    x = np.where(known, values - centre, 0.0)
    columns = []
    for part in (side, 1.0 - side):
        weight = np.where(known, part * share, 0.0)
        columns += [weight, weight * x, weight * x * x]
    on_side = int((columns[0] > 0).sum()), int((columns[3] > 0).sum())
    return _Block(np.column_stack(columns), centre, int(known.sum()), on_side)


def _moments(sums: Floats, centre: float) -> tuple[Floats, Floats, Floats, Floats]:
    """Machine mean, human mean, difference, standardised difference of sums of shape (..., 6); NaN where undefined."""
    with np.errstate(invalid="ignore", divide="ignore"):
        means = [sums[..., at + 1] / sums[..., at] for at in (0, 3)]
        variances = [sums[..., at + 2] / sums[..., at] - mean**2 for at, mean in zip((0, 3), means, strict=True)]
        spread = np.sqrt(np.maximum(sum(variances) / 2.0, 0.0))
        difference = means[0] - means[1]
        # equal values leave a variance of rounding
        flat = spread <= 1e-9 * max(abs(centre), 1e-300)
        return means[0] + centre, means[1] + centre, difference, np.where(flat, np.nan, difference / spread)


def _estimates(block: _Block, draws: Floats, unit: Unit, resamples: int, confidence: float) -> dict[str, Estimate]:
    method = f"bootstrap {100 * confidence:g} % over posts, {resamples} resamples"
    gap: Unit = "percentage points" if unit == "share" else unit
    units: tuple[Unit, ...] = (unit, unit, gap, "number")
    few = [name for name, posts in zip(("machine", "human"), block.on_side, strict=True) if posts < 2]
    if few:
        reason = f"fewer than 2 {' and '.join(few)} posts have this measure"
        return {name: undefined(reason, n=block.posts, method=method, unit=u) for name, u in zip(_FIGURES, units, strict=True)}
    points, drawn = _moments(block.columns.sum(axis=0), block.centre), _moments(draws, block.centre)
    posts = (block.on_side[0], block.on_side[1], block.posts, block.posts)
    return {
        name: percentile_estimate(float(point), values, n=n, method=method, unit=u, confidence=confidence)
        for name, point, values, n, u in zip(_FIGURES, points, drawn, posts, units, strict=True)
    }


class _Numbers(NamedTuple):
    value: float
    low: float
    high: float


def _numbers(estimate: Estimate) -> _Numbers:
    """Of a defined estimate."""
    return _Numbers(*(float("nan") if x is None else x for x in (estimate.value, estimate.low, estimate.high)))


def corrected_difference(difference: Estimate, ppv: Estimate, npv: Estimate) -> Estimate:
    """The difference between true machine and true human posts, from that between posts called so.

    Parameters
    ----------
    difference : Estimate
        Of hard labels, from `compare_styles`.
    ppv, npv : Estimate
        Share of the posts called machine that are a machine's, and of those called human that are a human's, in the audited
        posts (not in the benchmark: both depend on the prevalence).

    Returns
    -------
    Estimate
        difference / (PPV + NPV - 1), which holds when, among true machine posts and among true human posts, the measure does
        not depend on how the post was called. It often does: machine posts of a "human" style are missed more often, and the
        correction then goes too far. Undefined where PPV + NPV is not surely above 1.

    Notes
    -----
    Limits are recovered from those of difference and divisor ([3]) on the logarithmic scale when the difference is surely not
    0, and otherwise are the limits of the difference by the smallest divisor, which is too wide rather than too narrow.
    """
    method = "difference / (PPV + NPV - 1), limits recovered from both"
    for part, name in ((difference, "the difference"), (ppv, "PPV"), (npv, "NPV")):
        if not part.defined:
            return undefined(f"{name} is undefined: {part.reason}", n=difference.n, method=method, unit=difference.unit)
    (point, low, high), p, q = (_numbers(part) for part in (difference, ppv, npv))
    j = p.value + q.value - 1.0
    below, above = np.hypot(p.value - p.low, q.value - q.low), np.hypot(p.high - p.value, q.high - q.value)
    if j - below <= 0:
        reason = "PPV + NPV is not surely above 1: the calls say too little about the posts"
        return undefined(reason, n=difference.n, method=method, unit=difference.unit)
    least, most = j - below, min(j + above, 1.0)
    if low > 0 or high < 0:
        sign, (near, far) = (1.0, (low, high)) if low > 0 else (-1.0, (-high, -low))
        size = abs(point)
        down = np.hypot(np.log(size / near), np.log(most / j))
        up = np.hypot(np.log(far / size), np.log(j / least))
        ends = sign * size / j * np.exp(-down), sign * size / j * np.exp(up)
        return Estimate(point / j, min(ends), max(ends), difference.n, method, difference.unit)
    return Estimate(point / j, low / least, high / least, difference.n, method, difference.unit)
