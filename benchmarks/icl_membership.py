"""The search for the number of wrong statements by bisection beside a linear scan, and an audit that is repeated."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from assaymark.audits.icl_membership.audit import IclMembership
from assaymark.audits.icl_membership.induction import InductionModel
from assaymark.audits.icl_membership.method.brainwash import BrainwashSearch
from assaymark.audits.icl_membership.planted import planted_pool
from assaymark.execution import execute
from assaymark.store.cache import ModelCache
from benchmarks import Row, Target

PAIRS = 20_000
REPETITIONS = (10, 30, 100)


def run(quick: bool = False) -> list[Row]:
    """All rows of the table."""
    rows = [*search_rows(1_000 if quick else PAIRS), *audit_rows(20 if quick else 200)]
    return [row._replace(target=None) for row in rows] if quick else rows


def search_rows(pairs: int) -> list[Row]:
    """Questions for a pair of target and wrong label; labels give way after 1 + Poisson(3) statements."""
    rng = np.random.default_rng(0)
    withstood = 1 + rng.poisson(3.0, size=pairs)
    rows = []
    for most in REPETITIONS:
        found = {how: searched(withstood, most, how) for how in ("bisect", "linear")}
        asked = {how: float(search.questions_asked.mean()) for how, search in found.items()}
        note = f"peer: one statement more each time; J = {most}, {pairs:,} pairs, the check of the bisection included"
        rows.append(Row(f"questions a wrong label, J = {most}", asked["bisect"], asked["linear"], "questions", note))
        same = int((found["bisect"].iterations == found["linear"].iterations).sum())
        rows.append(Row(f"same number found, J = {most}", same, pairs, "pairs", "monotone services", Target("ratio", ">=", 1)))
    steps = searched(np.full(pairs, 200), REPETITIONS[0], "bisect").questions_asked.max()
    rows.append(Row("most questions a wrong label, J = 10", int(steps), 11, "questions", "peer: a linear scan to its end"))
    return rows


def searched(withstood: np.ndarray, most: int, how: Any) -> BrainwashSearch:
    search = BrainwashSearch(np.arange(withstood.size), np.zeros(withstood.size, np.int64), most=most, search=how)
    while not search.finished:
        asked = search.questions()
        search.answer(asked.repetitions >= withstood[asked.pair])
    return search


def audit_rows(games: int) -> list[Row]:
    """An audit, and the same again: every answer comes out of the cache."""
    import pyarrow as pa

    drawn = planted_pool(1, 1_000)
    pool = pa.table({"text": drawn.texts, "label": drawn.labels})
    settings = {"trials": games, "shadow_trials": 50, "similarity": "token_f1"}
    found = []
    with tempfile.TemporaryDirectory() as folder:
        cache = ModelCache(Path(folder) / "answers.sqlite")
        for _ in range(2):
            start = time.perf_counter()
            result = execute(
                IclMembership,
                inputs={"pool": pool},
                models={"service": InductionModel()},
                settings=settings,
                seed=0,
                cache=cache,
            )
            calls = sum(int(facts["calls"]) for facts in result.provenance.models.values())
            found.append((time.perf_counter() - start, calls, result.fingerprint()))
        cache.close()
    (first, asked, one), (second, again, other) = found
    note = f"{games} games, 50 shadow games, the copying model; peer: the first run, {asked:,} answers computed"
    return [
        Row("model calls of a repeated audit", again, asked, "calls", note, Target("ours", "<=", 0)),
        Row("time of a repeated audit", second, first, "s", "peer: the first run"),
        Row("same result", int(one == other), 1, "fingerprints", "peer: the first run", Target("ratio", ">=", 1)),
    ]
