"""Scoring, prompt tuning and contrastive terms beside the way they were done: float16 einsum, one run each, list membership."""

from __future__ import annotations

import time
from functools import partial

import numpy as np

from assaymark.audits.image_offensiveness.method.scoring import log_odds, prompt_direction
from assaymark.audits.image_offensiveness.method.terms import log_odds_z, paper_chi_square
from assaymark.audits.image_offensiveness.method.tokens import TermCounts
from assaymark.audits.image_offensiveness.method.tuning import Job, tune_many, tune_prompts
from benchmarks import Row, Target, best_seconds

THREADS = 2


def scoring_rows(quick: bool) -> list[Row]:
    rng = np.random.default_rng(0)
    rows = []
    n, d = (5_000, 768) if quick else (200_000, 768)
    V = rng.standard_normal((n, d), dtype=np.float32)
    V /= np.linalg.norm(V, axis=1, keepdims=True)
    P, half = rng.standard_normal((2, d)), V.astype(np.float16)
    w, prompts = prompt_direction(P), (P / np.linalg.norm(P, axis=1, keepdims=True)).astype(np.float16)
    ours = best_seconds(lambda: log_odds(half, w, threads=THREADS))
    einsum = best_seconds(lambda: np.einsum("nd,kd->nk", half, prompts), repeats=2)
    note = f"peer: numpy einsum of both prompts in float16; {n:,} x {d} float16 incl. cast and norms, {THREADS} threads"
    rows.append(Row("scores of stored embeddings", ours, einsum, "s", note, None if quick else Target("ours", "<=", 0.4)))
    exact = half.astype(np.float64) @ w.astype(np.float64) / np.linalg.norm(half.astype(np.float64), axis=1)
    error = float(np.abs(log_odds(half, w).log_odds - exact).max())
    rows.append(Row("largest error of the log-odds", error, None, "", "against float64", Target("ours", "<=", 1e-4)))
    n, d = (20_000, 512) if quick else (1_000_000, 512)
    V = rng.standard_normal((n, d), dtype=np.float32)
    w = prompt_direction(rng.standard_normal((2, d)))
    ours, product = best_seconds(lambda: log_odds(V, w, threads=THREADS)), best_seconds(lambda: V @ w)
    note = f"peer: V @ w, neither norms nor checks; {n:,} x {d} float32, {THREADS} threads"
    rows.append(Row("scores in memory", ours, product, "s", note, None if quick else Target("ours", "<=", 2.0)))
    return rows


def tuning_rows(quick: bool) -> list[Row]:
    rng = np.random.default_rng(1)
    n, d, epochs, jobs = (300, 64, 30, 4) if quick else (1_500, 512, 300, 20)
    y = rng.random(n) < 0.43
    V = rng.standard_normal((n, d), dtype=np.float32)
    V[:, 0] += np.where(y, 3.0, -3.0)
    P0 = rng.standard_normal((2, d))
    single = partial(tune_prompts, V, y, P0, epochs=epochs, rng=rng)
    seconds = best_seconds(single)
    note = f"no peer: the training script was not released; {n:,} x {d}, {epochs} full-batch steps"
    rows = [Row("prompt tuning", seconds, None, "s", note, None if quick else Target("ours", "<=", 1.0))]
    problems = [Job(np.sort(rng.permutation(n)[: n * 9 // 10]), y) for _ in range(jobs)]
    together = best_seconds(lambda: tune_many(V, P0, problems, setting=_setting(epochs)), repeats=2)
    note = f"peer: ours, one after the other; {jobs} problems on shared embeddings"
    rows.append(Row("many tunings in one", together, jobs * seconds, "s", note, None if quick else Target("times", ">=", 1.5)))
    return rows


def _setting(epochs: int):
    from assaymark.audits.image_offensiveness.method.tuning import PAPER

    return PAPER._replace(epochs=epochs)


def quadratic_chi_square(flagged: TermCounts, reference: TermCounts) -> dict[str, float]:
    """The rule of the paper with a look-up in a list for every word."""
    terms, counts = list(reference.terms), list(reference.counts)
    top, reference_top = max(flagged.counts), max(counts)
    weights = {}
    for term, count in zip(flagged.terms, flagged.counts, strict=True):
        observed = count / top
        expected = counts[terms.index(term)] / reference_top if term in terms else 100.0
        weights[term] = (observed - expected) ** 2 / expected if observed >= expected else 0.0
    return weights


def term_rows(quick: bool) -> list[Row]:
    rng = np.random.default_rng(2)
    size = 2_000 if quick else 20_000
    words = np.array([f"w{i:06d}" for i in range(size * 5 // 4)])
    sides = [np.sort(rng.permutation(words)[:size]) for _ in range(2)]
    flagged, reference = (TermCounts(tuple(side.tolist()), rng.zipf(1.5, size).clip(max=10**6)) for side in sides)
    start = time.perf_counter()
    theirs = quadratic_chi_square(flagged, reference)
    slow = time.perf_counter() - start
    fast = best_seconds(lambda: paper_chi_square(flagged, reference))
    note = f"peer: the same rule with list membership; vocabularies of {size:,} words"
    rows = [Row("contrastive chi-square", fast, slow, "s", note, None if quick else Target("times", ">=", 20))]
    ours = paper_chi_square(flagged, reference)
    same = sum(bool(np.isclose(w, theirs[t], rtol=1e-12, atol=0)) for t, w in zip(ours.terms, ours.weight, strict=True))
    rows.append(Row("equal chi-square weights", same, len(theirs), "terms", "relative 1e-12", Target("ratio", ">=", 1)))
    seconds = best_seconds(lambda: log_odds_z(flagged, reference))
    rows.append(Row("log-odds with prior", seconds, None, "s", f"z, p and adjusted p; vocabularies of {size:,} words"))
    return rows


def run(quick: bool = False) -> list[Row]:
    """Rows of speed and fidelity."""
    return [*scoring_rows(quick), *tuning_rows(quick), *term_rows(quick)]
