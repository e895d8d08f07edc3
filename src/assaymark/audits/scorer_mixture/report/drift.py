"""Have the scorers changed since the weights were fitted? Scores in production against those of the labelled rows."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from assaymark.audits.scorer_mixture.method.drift import score_drift, score_histogram
from assaymark.audits.scorer_mixture.probes.histograms import BINS
from assaymark.audits.scorer_mixture.study import Study
from assaymark.result import Column, Figure, Finding, Table, format_interval
from assaymark.section import Section, interval_columns, interval_values

__all__ = ["drift_section"]

SHIFTED = 0.25
"""Population stability index above which a change is customarily called large."""


def drift_section(study: Study, production: Mapping[str, npt.NDArray[np.int64]]) -> Section:
    """Drift of each scorer of the mixture.

    Parameters
    ----------
    production : counts in `BINS` bins by scorer
    """
    section = Section()
    shown = dict(zip(study.fitting.names, study.names, strict=True))
    rows = []
    for i, scorer in enumerate(study.fitting.names):
        if scorer not in production or not production[scorer].any():
            section.notes.append(f"production has no scores of {scorer}")
            continue
        before = score_histogram(study.fitting.scores[:, i], bins=BINS)
        found = score_drift(
            before,
            production[scorer],
            rng=study.rng(f"drift {scorer}"),
            resamples=study.config.resamples,
            confidence=study.config.confidence,
        )
        section.estimates |= {f"drift.{shown[scorer]}.psi": found.psi, f"drift.{shown[scorer]}.ks": found.ks}
        rows.append((shown[scorer], found, before, production[scorer]))
    if not rows:
        return section
    values = {
        "scorer": [name for name, *_ in rows],
        **interval_values("psi", [found.psi for _, found, _, _ in rows]),
        "by_chance": [found.psi_by_chance if np.isfinite(found.psi_by_chance) else None for _, found, _, _ in rows],
        **interval_values("ks", [found.ks for _, found, _, _ in rows]),
        "p_value": [found.ks_p if np.isfinite(found.ks_p) else None for _, found, _, _ in rows],
        "rows": [int(after.sum()) for *_, after in rows],
    }
    columns = (
        Column("scorer", "label"),
        *interval_columns("psi", "number", "population stability index"),
        Column("by_chance", "number", "expected without any change"),
        *interval_columns("ks", "number", "Kolmogorov-Smirnov distance"),
        Column("p_value", "p_value", "p (no change)"),
        Column("rows", "count", "scores in production"),
    )
    section.tables.append(Table.of("drift", "Scores in production against the labelled rows", values, columns))
    section.figures.append(
        Figure(
            "drift", "How much each scorer has moved", "intervals", table="drift", x="scorer", y="psi", low="psi_low",
            high="psi_high", reference=((SHIFTED, "customarily large"),), y_title="population stability index",
        )
    )  # fmt: skip
    moved = [(name, found) for name, found, *_ in rows if (found.psi.low or 0.0) > SHIFTED]
    if moved:
        name, found = max(moved, key=lambda item: item[1].psi.value or 0.0)
        others = f" (and {len(moved) - 1} more scorers)" if len(moved) > 1 else ""
        section.findings.append(
            Finding(
                "warning",
                f"The scores of {name}{others} are distributed differently in production: population stability index "
                f"{format_interval(found.psi)}.",
                tuple(f"drift.{moved_name}.psi" for moved_name, _ in moved),
                ("drift",),
                "The weights and the threshold hold for images like the labelled ones: label some of the new ones and fit "
                "again.",
            )
        )
    section.notes.append(
        "a change of scores can be a change of what is shown to the scorers, such as another share of unsafe images"
    )
    return section
