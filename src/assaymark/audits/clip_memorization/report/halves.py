"""Scores from models on random halves of the pairs, with their errors, beside CLIPMem of the one pair of models."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from assaymark.audit import Context
from assaymark.audits.clip_memorization.config import ClipMemorizationConfig
from assaymark.audits.clip_memorization.measures.halves import HalfScores
from assaymark.audits.clip_memorization.report.sets import WORDS, mean_of
from assaymark.report.redaction import hash_content
from assaymark.result import Artifact, Column, Estimate, Figure, Finding, Table, format_interval, undefined
from assaymark.section import Section, interval_columns, interval_values
from assaymark.stats import roc_auc, spearman, wilson

__all__ = ["half_section"]

RECOMMENDED = 8
ERRORS = 2.0
"""Standard errors above 0 from which a pair is said to be remembered."""

DRAWN = 500
Floats = npt.NDArray[np.float64]


def half_section(scores: HalfScores, raw: dict[str, float], config: ClipMemorizationConfig, context: Context) -> Section:
    """Means by set, pairs beyond their error, rank correlation with CLIPMem, and a file with all scores.

    Parameters
    ----------
    raw : CLIPMem by id; empty without a reference
    """
    section, found = Section(), scores.found
    values, sets = found.score, scores.pool.sets
    known = np.isfinite(found.score) & np.isfinite(found.standard_error)
    beyond = known & (found.score > ERRORS * found.standard_error)
    section.estimates["subsampled.mean"] = mean_of(values, "pairs", config=config, rng=context.rng("halves"))
    section.estimates["subsampled.beyond_error"] = wilson(int(beyond.sum()), int(known.sum()), confidence=config.confidence)
    own = np.array([raw.get(one, np.nan) for one in scores.pool.ids])
    section.estimates["subsampled.rank_correlation"] = _correlation(own, values, sets == "C", config)
    section.estimates["subsampled.wrong_captions.auc"] = _wrong(scores, config)
    section.tables += [_by_set(scores, known, beyond, config, context), _beside(own, values, sets == "C")]
    section.figures.append(
        Figure(
            "subsampled", "One pair of models, and models on halves", "points", table="subsampled_pairs", x="raw", y="score",
            x_title="CLIPMem of the pair of models, raw", y_title="score of the models on halves",
        )
    )  # fmt: skip
    _say(section, scores)
    if context.artifacts is not None:
        section.artifacts.append(_written(scores, context))
    return section


def _correlation(raw: Floats, values: Floats, candidates: Any, config: ClipMemorizationConfig) -> Estimate:
    both = candidates & np.isfinite(raw) & np.isfinite(values)
    if both.sum() < 4:
        return undefined(f"{int(both.sum())} candidates have both scores", n=int(both.sum()))
    return spearman(raw[both], values[both], confidence=config.confidence)


def _wrong(scores: HalfScores, config: ClipMemorizationConfig) -> Estimate:
    wrong = scores.pool.wrong
    if wrong is None:
        return undefined("no caption is flagged as wrong or right")
    known = np.isfinite(scores.found.score)
    return roc_auc(scores.found.score[known], wrong[known], confidence=config.confidence)


def _by_set(scores: HalfScores, known: Any, beyond: Any, config: ClipMemorizationConfig, context: Context) -> Table:
    found, sets = scores.found, scores.pool.sets
    letters = [letter for letter in (*WORDS, "") if (sets == letter).any()]
    names = {**WORDS, "": "no set"}
    means = [
        mean_of(found.score[sets == letter], f"{names[letter]} pairs", config=config, rng=context.rng(f"halves {letter}"))
        for letter in letters
    ]
    shares = [
        wilson(int(beyond[sets == letter].sum()), int(known[sets == letter].sum()), confidence=config.confidence)
        for letter in letters
    ]
    errors = [found.standard_error[(sets == letter) & known] for letter in letters]
    values: dict[str, Any] = {
        "set": [names[letter] for letter in letters],
        "pairs": [int((sets == letter).sum()) for letter in letters],
        "unscored": [int((~known[sets == letter]).sum()) for letter in letters],
        **interval_values("score", means),
        "error": [float(own.mean()) if len(own) else None for own in errors],
        **interval_values("beyond", shares),
    }
    columns = (
        Column("set", "label"), Column("pairs", "count"), Column("unscored", "count", "of them without a score or error"),
        *interval_columns("score", "number", "mean score"), Column("error", "number", "mean standard error of one score"),
        *interval_columns("beyond", "share", f"above {ERRORS:g} standard errors"),
    )  # fmt: skip
    note = "Every pair is in about half of the trainings, whatever its set: the sets are those of the one pair of models."
    return Table.of("subsampled", f"Scores of {scores.models} models on random halves", values, columns, description=note)


def _beside(raw: Floats, values: Floats, candidates: Any) -> Table:
    """Both scores of the candidates, at most `DRAWN` of them: the pool is in the order of a hash."""
    rows = np.flatnonzero(candidates & np.isfinite(raw) & np.isfinite(values))[:DRAWN]
    columns = (Column("raw", "number", "CLIPMem, raw"), Column("score", "number", "score by halves"))
    data = {"raw": raw[rows], "score": values[rows]}
    return Table.of("subsampled_pairs", "Candidates by both ways to score", data, columns)


def _say(section: Section, scores: HalfScores) -> None:
    correlation = section.estimates["subsampled.rank_correlation"]
    share = format_interval(section.estimates["subsampled.beyond_error"])
    told = f"; their ranks go with those of CLIPMem of the candidates by {format_interval(correlation)}"
    section.findings.append(
        Finding(
            "note",
            f"By {scores.models} models on random halves, {share} of the pairs are remembered beyond {ERRORS:g} standard "
            f"errors{told if correlation.defined else ''}.",
            ("subsampled.beyond_error", "subsampled.rank_correlation"),
            ("subsampled",),
        )
    )
    if scores.models < RECOMMENDED:
        section.notes.append(
            f"{scores.models} models on halves are few: errors of single scores are rough below {RECOMMENDED} (subsampled)"
        )
    section.methods.append(
        f"Scores by halves (Feldman and Zhang): mean alignment of a pair under those of {scores.models} models that were "
        "trained on it, minus that under the others, with the errors of both means; here the randomness of training is in the "
        "error. The models see fewer pairs than the audited one, and external pairs too."
    )


def _written(scores: HalfScores, context: Context) -> Artifact:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pool, found = scores.pool, scores.found
    ids = pool.ids if context.reveal else [hash_content(one, context.salt) for one in pool.ids]
    columns: dict[str, Any] = {"id": ids, "set": pool.sets.tolist(), **found._asdict()}
    assert context.artifacts is not None
    pq.write_table(pa.table(columns), context.artifacts / "subsampled.parquet")
    what = "score and standard error of every pair, by models on random halves"
    return Artifact("subsampled", "table", "subsampled.parquet", what, private=True)
