"""What the safety tag is worth: agreement with other signals, and the harm left after filtering by it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.audits.image_text_dataset.method.admission import ShareCurve, histogram_at_least, share_curve
from assaymark.result import Estimate, undefined
from assaymark.stats import Rate, risk_ratio, rogan_gladen, wilson

__all__ = [
    "FilterCurve",
    "Residual",
    "TagAgreement",
    "TagCross",
    "residual_by_punsafe",
    "residual_by_tag",
    "tag_agreement",
    "tag_cross",
]

Counts = npt.NDArray[np.int64]


class TagCross(NamedTuple):
    """Tag x flag. `rates` is P(flag | tag), arrays (n_tags, n_flags)."""

    tags: tuple[str, ...]
    flags: tuple[str, ...]
    rates: ShareCurve


def tag_cross(
    rows: npt.ArrayLike, flagged: npt.ArrayLike, *, tags: Sequence[str], flags: Sequence[str], confidence: float = 0.95
) -> TagCross:
    """Row-normalised cross-table with Wilson limits.

    Parameters
    ----------
    rows : int array, shape (n_tags,) or (n_tags, n_flags)
        Rows per tag; the second form where flags could not be computed for all rows.
    flagged : int array, shape (n_tags, n_flags)
    """
    flagged = np.asarray(flagged, np.int64).reshape(len(tags), len(flags))
    rows = np.asarray(rows, np.int64)
    rows = np.broadcast_to(rows[:, None] if rows.ndim == 1 else rows, flagged.shape)
    return TagCross(tuple(tags), tuple(flags), share_curve(flagged, rows, confidence=confidence))


class TagAgreement(NamedTuple):
    """The tag as a detector of a flag: `precision` P(flag | positive tag), `recall` P(positive tag | flag)."""

    precision: Estimate
    recall: Estimate


def tag_agreement(
    rows: npt.ArrayLike,
    flagged: npt.ArrayLike,
    *,
    tags: Sequence[str],
    positive: Sequence[str] = ("NSFW",),
    confidence: float = 0.95,
) -> TagAgreement:
    """Precision and recall of the tag values in `positive` (strict: NSFW; lenient: NSFW and UNSURE) for one flag.

    Parameters
    ----------
    rows, flagged : int array, shape (n_tags,)
    """
    n, k = np.asarray(rows, np.int64), np.asarray(flagged, np.int64)
    marked = np.isin(np.asarray(tags, dtype=object), list(positive))
    found = int(k[marked].sum())
    return TagAgreement(
        wilson(found, int(n[marked].sum()), confidence=confidence), wilson(found, int(k.sum()), confidence=confidence)
    )


class Residual(NamedTuple):
    """Harm left after a filter.

    Attributes
    ----------
    kept : share of rows that the filter keeps
    harm_before, harm_after : share of flagged rows in the whole table, and among the kept rows
    ratio : kept rows' harm rate over the removed rows' rate (1: the filter does not look at this harm)
    survives : share of the flagged rows that are kept
    corrected : `harm_after` corrected for the flag's own sensitivity and specificity (Rogan-Gladen), if they were given
    """

    kept: Estimate
    harm_before: Estimate
    harm_after: Estimate
    ratio: Estimate
    survives: Estimate
    corrected: Estimate


def _residual(
    n: int,
    k: int,
    kept_n: int,
    kept_k: int,
    sensitivity: Rate | None,
    specificity: Rate | None,
    rng: np.random.Generator | None,
    confidence: float,
) -> Residual:
    if sensitivity is None or specificity is None:
        corrected = undefined("the flag's sensitivity and specificity are not known", n=kept_n, unit="share")
    else:
        method: Literal["bootstrap", "delta"] = "bootstrap" if rng is not None else "delta"
        corrected = rogan_gladen(Rate(kept_k, kept_n), sensitivity, specificity, method=method, rng=rng, confidence=confidence)
    return Residual(
        wilson(kept_n, n, confidence=confidence),
        wilson(k, n, confidence=confidence),
        wilson(kept_k, kept_n, confidence=confidence),
        risk_ratio(kept_k, kept_n, k - kept_k, n - kept_n, confidence=confidence),
        wilson(kept_k, k, confidence=confidence),
        corrected,
    )


def residual_by_tag(
    rows: npt.ArrayLike,
    flagged: npt.ArrayLike,
    *,
    tags: Sequence[str],
    keep: Sequence[str] = ("UNLIKELY",),
    sensitivity: Rate | None = None,
    specificity: Rate | None = None,
    rng: np.random.Generator | None = None,
    confidence: float = 0.95,
) -> Residual:
    """Harm left when only rows with a tag in `keep` are kept.

    Parameters
    ----------
    rows, flagged : int array, shape (n_tags,)
        Rows and flagged (for example: hateful) rows per tag.
    sensitivity, specificity : Rate, optional
        The flag's own quality on a labelled sample.
    """
    n, k = np.asarray(rows, np.int64), np.asarray(flagged, np.int64)
    kept = np.isin(np.asarray(tags, dtype=object), list(keep))
    return _residual(
        int(n.sum()), int(k.sum()), int(n[kept].sum()), int(k[kept].sum()), sensitivity, specificity, rng, confidence
    )


class FilterCurve(NamedTuple):
    """Residual harm over the cut c: rows with punsafe < c are kept."""

    cut: npt.NDArray[np.float64]
    kept: ShareCurve
    harm_after: ShareCurve
    survives: ShareCurve
    points: tuple[Residual, ...]


def residual_by_punsafe(
    rows: npt.ArrayLike,
    flagged: npt.ArrayLike,
    edges: npt.ArrayLike,
    cut: npt.ArrayLike,
    *,
    sensitivity: Rate | None = None,
    specificity: Rate | None = None,
    rng: np.random.Generator | None = None,
    confidence: float = 0.95,
) -> FilterCurve:
    """Harm left when rows are kept up to an image classifier's punsafe, for a grid of cuts.

    Parameters
    ----------
    rows, flagged : int array, shape (n_bins,)
        Histograms of punsafe over all rows, and over flagged rows; bins [edge_i, edge_i+1), the last one closed.
    cut : array, shape (n_cuts,), edges of the histogram

    Notes
    -----
    With bins closed below, the rule is punsafe < c; it differs from punsafe <= c only by rows exactly at c. A cut at the last
    edge keeps everything.
    """
    n, k = np.asarray(rows, np.int64), np.asarray(flagged, np.int64)
    cuts = np.atleast_1d(np.asarray(cut, np.float64))
    kept_n, kept_k = (x.sum() - histogram_at_least(x, edges, cuts) for x in (n, k))
    points = tuple(
        _residual(int(n.sum()), int(k.sum()), int(a), int(b), sensitivity, specificity, rng, confidence)
        for a, b in zip(kept_n, kept_k, strict=True)
    )

    def curve(successes: npt.ArrayLike, trials: npt.ArrayLike) -> ShareCurve:
        return share_curve(successes, trials, confidence=confidence)

    return FilterCurve(cuts, curve(kept_n, n.sum()), curve(kept_k, kept_n), curve(kept_k, k.sum()), points)
