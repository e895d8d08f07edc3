"""Counts and histograms of the scores, what un-normalised prompts would decide, and what another detector sees."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.audits.image_offensiveness.probes.rule import COLUMNS, FlagRule
from assaymark.data.probe import Batch, Probe, State

__all__ = ["LOG_ODDS_EDGES", "SCORE_BINS", "ScoreCounts", "ScoreProbe"]

Ints = npt.NDArray[np.int64]

LOG_ODDS_EDGES = np.linspace(-40.0, 40.0, 81)
"""Edges of the histogram of log-odds; the outer cells hold what lies beyond."""
SCORE_BINS = 20
STATES = 64
VERY_SURE = 0.99


class ScoreCounts(NamedTuple):
    """`states[code]` counts rows by what became of them; the four cells of `overlap` are (not) flagged x (not) nsfw.

    `by_state` of images without a score stay out of everything else.
    """

    states: Ints  # (STATES,)
    scored: int
    flagged: int
    very_sure: int
    decided: int
    official: int
    differing: int
    log_odds: Ints  # (cells,)
    scores: Ints  # (SCORE_BINS,)
    overlap: Ints  # (2, 2)


class ScoreProbe(Probe):
    name = "scores"
    columns = COLUMNS
    optional = ("label",)

    def __init__(self, rule: FlagRule, *, nsfw_threshold: float) -> None:
        self.rule, self.nsfw_threshold = rule, nsfw_threshold

    def aggregate(self, batch: Batch) -> State:
        rows = self.rule.rows(batch)
        known, log_odds = rows.known, rows.log_odds[rows.known].astype(np.float64)
        states = np.nan_to_num(batch.numbers("q16.state"), nan=0.0).astype(np.int64)
        score = 1.0 / (1.0 + np.exp(-np.clip(log_odds, -60, 60)))
        both = known & np.isfinite(rows.nsfw)
        cells = 2 * rows.flagged[both] + (rows.nsfw[both] > self.nsfw_threshold)
        return {
            "states": np.bincount(np.minimum(states, STATES - 1), minlength=STATES).astype(np.int64),
            "scored": int(known.sum()),
            "flagged": int(rows.flagged.sum()),
            "very_sure": int((rows.flagged[known] & (score >= VERY_SURE)).sum()),
            "decided": int(rows.decision.sum()),
            "official": int(rows.official.sum()),
            "differing": int((rows.decision != rows.official).sum()),
            "log_odds": np.bincount(np.digitize(log_odds, LOG_ODDS_EDGES), minlength=len(LOG_ODDS_EDGES) + 1).astype(np.int64),
            "scores": np.bincount(
                np.minimum((score * SCORE_BINS).astype(np.int64), SCORE_BINS - 1), minlength=SCORE_BINS
            ).astype(np.int64),
            "overlap": np.bincount(cells, minlength=4).astype(np.int64),
        }

    def finalize(self, state: State) -> ScoreCounts:
        arrays: dict[str, Any] = dict(state)
        arrays["overlap"] = np.asarray(arrays["overlap"]).reshape(2, 2)
        return ScoreCounts(**arrays)
