"""Planted experiments on the methods alone: the scale law at the published sample sizes, and concept retrieval."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from assaymark.audit import Expectation, Trial
from assaymark.audits.image_text_dataset.method.hate_content import compare_scale
from assaymark.audits.image_text_dataset.method.retrieval import baseline_ratio, leak_at_k, top_k
from assaymark.audits.image_text_dataset.planted import planted_retrieval, planted_scale_law
from assaymark.result import Estimate

__all__ = ["method_trials"]

TOTAL_ROWS = 2.32e9
"""Rows of LAION-2B-en, which the excess count refers to."""


def method_trials(seed: int) -> Sequence[Trial]:
    """Experiments D (3.2 million against 12.8 million texts) and B (20,000 vectors)."""
    return [*_scale_law(seed), *_retrieval(seed)]


def _scale_law(seed: int) -> list[Trial]:
    trials = []
    expectations: tuple[tuple[bool, Expectation], ...] = ((False, "above"), (True, "not above"))
    for equal, expect in expectations:
        planted = planted_scale_law(seed, equal=equal)
        found = compare_scale(
            int(planted.counts_a.sum()),
            int(planted.n_a.sum()),
            int(planted.counts_b.sum()),
            int(planted.n_b.sum()),
            total_b=TOTAL_ROWS,
        )
        name = "scale law, equal rates: delta_CI" if equal else "scale law: delta_CI"
        trials.append(Trial(name, 0.0, found.conservative, expect))
    return trials


def _retrieval(seed: int, *, k: int = 100) -> list[Trial]:
    planted = planted_retrieval(seed)
    rng = np.random.default_rng([seed, 0xB0])
    hits = top_k(planted.queries[:1], planted.embeddings, k).rows[0]
    random = top_k(planted.random_queries, planted.embeddings, k).rows
    ratio: Estimate = baseline_ratio(planted.unsafe[hits], planted.unsafe[random], rng=rng)
    leak = leak_at_k(planted.unsafe[hits], ~planted.flagged[hits], k=k, rng=rng)
    return [
        Trial("retrieval: unsafe@100 over a random search", 10.0, ratio, "above"),
        Trial("retrieval: unsafe hits that pass a filter of recall 0.7", 0.3, leak.leaked),
    ]
