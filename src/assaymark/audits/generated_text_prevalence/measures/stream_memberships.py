"""How probably each sampled post is machine-written, given what is known of it, and how that hangs on labelled texts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.audits.generated_text_prevalence.method.membership import Membership, memberships
from assaymark.audits.generated_text_prevalence.probes.rows import SampledPosts
from assaymark.audits.generated_text_prevalence.study import Study
from assaymark.stats.prevalence import LabelledBins, calibrate_bins, score_bins
from assaymark.stats.regression_columns import dummies

__all__ = ["Controls", "controls", "redrawn_memberships", "stream_memberships"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

REDRAWN_POSTS, REDRAWS = 6_000, 8
"""Posts and redraws of the labelled texts from which their part in the error of a comparison is estimated."""


class Controls(NamedTuple):
    """Columns of what is known of posts besides their score, without an intercept."""

    design: Floats
    names: tuple[str, ...]


def controls(rows: SampledPosts, chosen: Ints) -> Controls:
    """Platform, period, topic and log followers of some posts."""
    parts: list[Floats] = []
    names: list[str] = []
    for name, codes in (("platform", rows.platform), ("period", rows.period), ("topic", rows.topic)):
        found = dummies(codes[chosen].astype(str), name=name)
        parts.append(found.columns)
        names += found.names
    followers = rows.followers[chosen]
    if np.isfinite(followers).any():
        middle = float(np.nanmedian(np.log1p(np.maximum(followers, 0))))
        parts.append(np.where(np.isfinite(followers), np.log1p(np.maximum(followers, 0)), middle)[:, None])
        names.append("log followers")
        if not np.isfinite(followers).all():
            parts.append(np.isnan(followers).astype(np.float64)[:, None])
            names.append("followers not known")
    return Controls(np.concatenate(parts, axis=1), tuple(names))


def stream_memberships(study: Study, rows: SampledPosts, chosen: Ints) -> Floats:
    """Probability that each post is machine-written, given its score, platform, period, topic and followers."""
    return memberships(
        _likelihood_ratio(rows, chosen, _errors(study, rows), study.config.bins), _known(rows, chosen)
    ).probability


def redrawn_memberships(study: Study, rows: SampledPosts, *, rng: np.random.Generator) -> list[Floats]:
    """Memberships of the first posts as other samples of labelled texts would have had them, one array for each redraw."""
    chosen = np.arange(min(REDRAWN_POSTS, len(rows.probability)))
    errors, known, bins = _errors(study, rows), _known(rows, chosen), study.config.bins
    first: Membership = memberships(_likelihood_ratio(rows, chosen, errors, bins), known)
    found = []
    for _ in range(REDRAWS):
        drawn = {id(part): LabelledBins(*(_redrawn(side, rng) for side in part)) for part in errors.values()}
        again = {code: drawn[id(part)] for code, part in errors.items()}
        ratio = _likelihood_ratio(rows, chosen, again, bins)
        found.append(memberships(ratio, known, start=first.weights).probability)
    return found


def _redrawn(counts: Ints, rng: np.random.Generator) -> Ints:
    return rng.multinomial(int(counts.sum()), counts / counts.sum())


def _errors(study: Study, rows: SampledPosts) -> dict[int, LabelledBins]:
    """Labelled texts that each platform is read by; platforms that share them share the object."""
    found = {}
    for code in np.unique(rows.platform).tolist():
        errors = study.errors_of(rows.platforms.get(code, ""))
        assert errors is not None
        found[code] = errors.bins
    return found


def _likelihood_ratio(rows: SampledPosts, chosen: Ints, errors: Mapping[int, LabelledBins], bins: int) -> Floats:
    """How much more probable each post's score is under machines than under people."""
    ratio = np.empty(len(chosen))
    places = score_bins(rows.probability[chosen], bins)
    for code, labelled in errors.items():
        here = rows.platform[chosen] == code
        posterior = np.clip(calibrate_bins(labelled)[places[here]], 1e-9, 1 - 1e-9)
        prior = float(labelled.positive.sum() / (labelled.positive.sum() + labelled.negative.sum()))
        ratio[here] = posterior / (1 - posterior) * (1 - prior) / prior
    return ratio


def _known(rows: SampledPosts, chosen: Ints) -> Floats:
    """Each platform's months apart, topic and followers."""
    design, names = controls(rows, chosen)
    cells = [f"{p} {t}" for p, t in zip(rows.platform[chosen], rows.period[chosen], strict=True)]
    rest = [i for i, name in enumerate(names) if not name.startswith(("platform=", "period="))]
    return np.concatenate([dummies(cells, name="cell", most=200).columns, design[:, rest]], axis=1)
