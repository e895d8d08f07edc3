"""Which label of a published detector of machine-written text says "machine": the one reviewed table.

The first detectors have the machine at index 0, later ones at index 1. A detector is therefore known by the *set* of its
labels, and the order of its outputs, which adapters read from the model's own configuration, is never assumed.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from types import MappingProxyType

from assaymark.models.label_maps import Detector

__all__ = ["HUMAN_LABELS", "MACHINE_LABELS", "TEXT_DETECTORS", "machine_label"]

MACHINE_LABELS = frozenset(
    {
        *("machine", "machine-written", "machine-generated", "machine-made"),
        *("ai", "ai-generated", "ai-written", "ai-text", "artificial"),
        *("generated", "synthetic", "fake", "bot"),
        *("gpt", "gpt-2", "gpt2", "gpt-3", "gpt-4", "chatgpt", "llm", "llm-generated", "llm-written", "lm", "model"),
    }
)
"""Labels that mean "written by a machine", in lower case, with hyphens for spaces and underscores."""

HUMAN_LABELS = frozenset(
    {
        *("human", "human-written", "human-generated", "human-made", "human-text", "human-authored"),
        *("real", "original", "natural", "authentic", "person", "people", "hwt"),
    }
)
"""Labels that mean "written by a person"."""

TEXT_DETECTORS: Mapping[str, Detector] = MappingProxyType(
    {
        "openai-community/roberta-base-openai-detector": Detector(
            ("Fake", "Real"), "config.json of the hub model; index 0 is Fake", "checked"
        ),
        "openai-community/roberta-large-openai-detector": Detector(
            ("Fake", "Real"), "config.json of the hub model; index 0 is Fake", "remembered"
        ),
        "Hello-SimpleAI/chatgpt-detector-roberta": Detector(("Human", "ChatGPT"), "config.json of the hub model", "remembered"),
        "tarryzhang/OSM-Det": Detector(("Human-written", "AI-generated"), "hub model card", "remembered"),
    }
)
"""Published detectors by hub id, labels in the order of their outputs.

Detectors of *false news* say "fake" and "real" too: labels cannot tell what a model was trained for.
"""


def machine_label(labels: Collection[str]) -> str | None:
    """The label, as it is written, that says "machine".

    Parameters
    ----------
    labels : collection of str
        All labels of a detector, in any order and case.

    Returns
    -------
    str or None
        None unless exactly one label means "machine" and every other one "human": LABEL_0 and LABEL_1 say nothing, and of
        several kinds of machine none is the whole. A setting has to tell then. A single output named for the machine stands.
    """
    plain = {label: _plain(label) for label in labels}
    machine = [label for label, name in plain.items() if name in MACHINE_LABELS]
    others = [name for name in plain.values() if name not in MACHINE_LABELS]
    known = len(machine) == 1 and all(name in HUMAN_LABELS for name in others)
    return machine[0] if known else None


def _plain(label: str) -> str:
    return "-".join(label.strip().lower().replace("_", " ").replace("-", " ").split())
