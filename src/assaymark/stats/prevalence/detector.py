"""What the labelled items say of a detector, and every quantifier applied with it."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.stats.checks import FloatArray
from assaymark.stats.prevalence.binned import LabelledBins, regrouped
from assaymark.stats.prevalence.calibration import CalibrationMethod, calibrate_bins
from assaymark.stats.prevalence.quantifiers import (
    HISTOGRAMS,
    MIXTURE_BINS,
    adjusted,
    cc,
    dys,
    emq,
    hdy,
    mle,
    pcc,
    threshold_bin,
)

__all__ = ["MATCHING", "METHODS", "TITLES", "Detector", "Setting", "detector_of", "shares"]

TITLES = {
    "cc": "CC",
    "acc": "ACC",
    "pcc": "PCC",
    "pacc": "PACC",
    "emq": "EMQ",
    "hdy": "HDy",
    "dys": "DyS",
    "mle": "mixture MLE",
}
METHODS = tuple(TITLES)
MATCHING = ("hdy", "dys", "mle")
LINEAR = ("acc", "pacc")
"""Methods that solve a line, whose answers before clipping can be subtracted and averaged."""
ITEMS_PER_BIN = 50


class Setting(NamedTuple):
    """Choices that hold for points and draws alike."""

    threshold: float
    first_called: int
    calibration: CalibrationMethod
    histograms: tuple[int, ...]
    mixture_bins: int

    @classmethod
    def of(cls, bins: int, labelled: int, threshold: float, calibration: CalibrationMethod) -> Setting:
        """For so many bins and labelled items of the smaller class.

        Noise in the class histograms pulls the methods that match them towards the middle, the more the finer they are: only
        those with 50 labelled items of the smaller class for each bin are used; the coarsest always stays.
        """
        most = min(bins, max(labelled // ITEMS_PER_BIN, HISTOGRAMS[0]))
        histograms = tuple(size for size in HISTOGRAMS if size <= most) or (bins,)
        return cls(threshold, threshold_bin(threshold, bins), calibration, histograms, min(MIXTURE_BINS, histograms[-1]))


class Detector(NamedTuple):
    """One row for each resample of the labelled items (one for the items themselves)."""

    posterior: FloatArray  # (rows, bins)
    histograms: LabelledBins  # (rows, the finest histogram)
    rates: tuple[FloatArray, FloatArray]  # FPR and TPR, (rows,)
    means: tuple[FloatArray, FloatArray]  # mean posterior of negatives and of positives, (rows,)
    prior: float


def detector_of(labelled: LabelledBins, setting: Setting) -> Detector:
    """From labelled counts of shape (bins,) or (rows, bins)."""
    rows = LabelledBins(*(np.atleast_2d(np.asarray(part)) for part in labelled))
    posterior = calibrate_bins(rows, setting.calibration)
    return Detector(
        posterior,
        LabelledBins(*(regrouped(part, setting.histograms[-1]) for part in rows)),
        (cc(rows.negative, threshold=setting.threshold), cc(rows.positive, threshold=setting.threshold)),
        (pcc(rows.negative, posterior), pcc(rows.positive, posterior)),
        float(rows.prior[0]),
    )


def shares(
    method: str,
    counts: npt.NDArray[Any],
    detector: Detector | None,
    setting: Setting,
    *,
    called: FloatArray | None = None,
    posterior: FloatArray | None = None,
    clip: bool = True,
) -> FloatArray:
    """Prevalence of each row of counts, shape (rows,), the detector having one row or as many.

    Parameters
    ----------
    counts : array, shape (rows, bins or wider groups of them)
    called : array, shape (rows,), optional
        Share called positive, where the counts are too coarse to say.
    posterior : array, shape (rows, groups), optional
        Where the counts are coarser than the detector's bins.
    clip : bool
        Of the methods in `LINEAR`: to [0, 1].
    """
    if method in ("cc", "acc"):
        observed = cc(counts, threshold=setting.threshold) if called is None else called
        if method == "cc":
            return observed
    assert detector is not None
    s = detector.posterior if posterior is None else posterior
    match method:
        case "acc":
            return adjusted(observed, *detector.rates, clip=clip)
        case "pcc":
            return pcc(counts, s)
        case "pacc":
            return adjusted(pcc(counts, s), *detector.means, clip=clip)
        case "emq":
            return emq(counts, s, detector.prior)
        case "hdy":
            return hdy(detector.histograms, counts, histograms=setting.histograms)
        case "dys":
            return dys(detector.histograms, counts, histograms=setting.histograms)
        case _:
            return mle(detector.histograms, counts, bins=setting.mixture_bins)
