"""What goes into the audit and the cure: a pool of labelled texts, the model behind the service; and planted inputs."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from assaymark.audit import InputSpec, ModelRole, Planting

__all__ = ["CURE_INPUTS", "CURE_ROLES", "INPUTS", "ROLES", "planting"]

INPUTS = (
    InputSpec(
        "pool", "texts", "labelled texts (text, label) like the demonstrations of the service, which games are drawn from"
    ),
    InputSpec(
        "public", "texts", "texts (text, label) that are nobody's secret, for the recipes redact and nearest_public",
        required=False,
    ),
)  # fmt: skip

ROLES = (
    ModelRole(
        "service",
        "the language model behind the service: generates text; with log-probabilities the reference attack runs too",
        all_of=("generates-text",),
        any_of=("scores-continuations",),
        required=True,
    ),
    ModelRole(
        "shadow", "the same or a like model, which the attacker has to fit thresholds on; default: the service itself",
        all_of=("generates-text",), any_of=("scores-continuations",),
    ),
    ModelRole("sentences", "embeds sentences, for semantic similarity of continuations", any_of=("embeds-texts",)),
    ModelRole("paraphraser", "rewrites demonstrations, for the recipe paraphrase", any_of=("generates-text",)),
    ModelRole("writer", "writes private demonstrations anew, for the recipe synthetic", any_of=("predicts-tokens",)),
)  # fmt: skip

CURE_INPUTS, CURE_ROLES = INPUTS, ROLES

TRIALS, FULL_TRIALS, SHADOWS = 150, 500, 250


def planting(seed: int, folder: Path, *, null: bool, full: bool) -> Planting:
    """Made-up sentences, and a service that leaks them by fixed probabilities (not at all, as the null).

    Truth: the advantage of every attack at its best threshold, by the closed forms of `method.exact`.
    """
    from assaymark.audits.icl_membership.method.exact import ScriptedRates, exact_advantages
    from assaymark.audits.icl_membership.planted import NullService, ScriptedService, planted_pool

    drawn = planted_pool(seed, 2_000 if full else 800)
    path = folder / "pool.parquet"
    pq.write_table(pa.table({"text": drawn.texts, "label": drawn.labels}), path)
    truth = exact_advantages(ScriptedRates().null() if null else ScriptedRates())
    known = {f"advantage.{name}": getattr(truth, name) for name in ("gap", "inquiry", "repeat", "brainwash")}
    settings = {
        "trials": FULL_TRIALS if full else TRIALS,
        "shadow_trials": SHADOWS,
        "resamples": 400,
        "demonstrations": [6],
    }
    service = NullService if null else ScriptedService
    return Planting({"pool": str(path)}, known, settings, {"service": f"py:{service.__module__}:{service.__name__}"}, null)
