"""What a corrected prevalence hangs on: which generator is at work, and the false-positive floor of the true domain.

References
----------
.. [1] Rogan, W. J. and Gladen, B. (1978). Estimating prevalence from the results of a screening test. AJE 107, 71-76.
.. [2] Newcombe, R. G. (1998). Interval estimation for the difference between independent proportions. Stat Med 17, 873-890.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from assaymark.result import Estimate, undefined
from assaymark.stats.checks import percent
from assaymark.stats.intervals import newcombe
from assaymark.stats.prevalence.rates import Rate, rogan_gladen

__all__ = ["FloorAdjusted", "SensitivityBand", "floor_adjusted", "sensitivity_band"]


class SensitivityBand(NamedTuple):
    """Corrected prevalence if all positives came from one generator, for each, and the band that holds them all."""

    band: Estimate
    by_generator: dict[str, Estimate]
    missed: tuple[str, ...]  # generators that the detector does not separate: no band covers them


def sensitivity_band(
    observed: Rate, by_generator: Mapping[str, Rate], specificity: Rate, *, confidence: float = 0.95
) -> SensitivityBand:
    """Rogan-Gladen prevalence for TPR from the least to the greatest over generators.

    Parameters
    ----------
    observed : Rate
        Items called positive, of all items of the stream.
    by_generator : mapping of str to Rate
        True positives of all labelled positives, by generator.
    specificity : Rate
        True negatives of all labelled negatives.

    Returns
    -------
    SensitivityBand
        The band's point uses the pooled TPR; its limits are the least and greatest limits over generators, so they hold the
        truth for any mixture of the generators with the stated confidence or more. Undefined where the pooled TPR does not
        separate, or where no generator is given.

    Notes
    -----
    Generators with TPR - FPR below 0.05 are named in `missed`: what they write goes unseen, and no upper limit holds for it.
    """
    found = {name: rogan_gladen(observed, rate, specificity, confidence=confidence) for name, rate in by_generator.items()}
    method = f"Rogan-Gladen over {len(found)} generators, delta {percent(confidence)}"
    n = int(observed.trials)
    if not found:
        return SensitivityBand(undefined("no generator is given", n=n, method=method, unit="share"), {}, ())
    missed = tuple(name for name, estimate in found.items() if not estimate.defined)
    pooled = Rate(sum(rate.successes for rate in by_generator.values()), sum(rate.trials for rate in by_generator.values()))
    centre = rogan_gladen(observed, pooled, specificity, confidence=confidence)
    if centre.value is None:
        return SensitivityBand(undefined(centre.reason, n=n, method=method, unit="share"), found, missed)
    # the pooled rate lies among those of the generators, but its own limits need not, where one generator is rare
    limits = [(e.low, e.high) for e in (*found.values(), centre) if e.low is not None and e.high is not None]
    if missed:
        method += f" ({len(missed)} that the detector does not separate left out)"
    band = Estimate(centre.value, min(low for low, _ in limits), max(high for _, high in limits), n, method, "share")
    return SensitivityBand(band, found, missed)


class FloorAdjusted(NamedTuple):
    """Two readings of a rate beside the rate of a window in which there was nothing to find."""

    above_floor: Estimate  # percentage points
    corrected: Estimate  # share


def floor_adjusted(observed: Rate, floor: Rate, sensitivity: Rate, *, confidence: float = 0.95) -> FloorAdjusted:
    """Rate minus floor, and Rogan-Gladen with the floor as false-positive rate.

    Parameters
    ----------
    observed : Rate
        Items called positive, of all items of the window that is asked about.
    floor : Rate
        The same in a window before the class existed (before the release of public language models): every call is false, so
        this is the false-positive rate on the true domain, FPR_0.
    sensitivity : Rate
        True positives of all labelled positives.

    Returns
    -------
    FloorAdjusted
        `above_floor`: observed - floor with Newcombe's interval ([2]), biased low by the factor TPR - FPR. `corrected`:
        Rogan-Gladen ([1]) with specificity Rate(n0 - k0, n0), in whose interval the floor's own error enters.
    """
    return FloorAdjusted(
        newcombe(observed.successes, observed.trials, floor.successes, floor.trials, confidence=confidence),
        rogan_gladen(observed, sensitivity, Rate(floor.trials - floor.successes, floor.trials), confidence=confidence),
    )
