"""What goes into the audit and the cure: a pool of labelled texts, the model behind the service; and planted inputs."""

from __future__ import annotations

from assaymark.audit import InputSpec, ModelRole

__all__ = ["CURE_INPUTS", "CURE_ROLES", "INPUTS", "ROLES", "planting"]

INPUTS = (
    InputSpec(
        "pool", "texts", "labelled texts (text, label) like the demonstrations of the service, which games are drawn from"
    ),
    InputSpec(
        "public", "texts", "texts (text, label) that are nobody's secret, for the recipes redact and public", required=False
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
