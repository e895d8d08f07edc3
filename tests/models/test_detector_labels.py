from __future__ import annotations

import pytest

from assaymark.models.detector_labels import HUMAN_LABELS, MACHINE_LABELS, TEXT_DETECTORS, machine_label


@pytest.mark.parametrize(
    ("labels", "machine"),
    [
        (("Fake", "Real"), "Fake"),
        (("Human", "ChatGPT"), "ChatGPT"),
        (("Human-written", "AI-generated"), "AI-generated"),
        (("human_written", "ai generated"), "ai generated"),
        (("HUMAN", "Machine"), "Machine"),
        (("llm", "human"), "llm"),
        (("bot", "human"), "bot"),
        (("ai",), "ai"),
        (("LABEL_0", "LABEL_1"), None),
        (("human", "LABEL_1"), None),
        (("human", "gpt", "llm"), None),
        (("human",), None),
        (("toxic", "fake"), None),
        ((), None),
    ],
)
def test_the_set_of_labels_decides(labels: tuple[str, ...], machine: str | None) -> None:
    assert machine_label(labels) == machine
    assert machine_label(labels[::-1]) == machine


def test_every_listed_detector_has_a_direction() -> None:
    assert {machine_label(detector.labels) for detector in TEXT_DETECTORS.values()} == {"Fake", "ChatGPT", "AI-generated"}
    assert {detector.status for detector in TEXT_DETECTORS.values()} <= {"checked", "remembered"}
    assert TEXT_DETECTORS["openai-community/roberta-base-openai-detector"].labels[0] == "Fake"  # inverted
    assert TEXT_DETECTORS["tarryzhang/OSM-Det"].labels[1] == "AI-generated"


def test_no_label_means_both() -> None:
    assert not MACHINE_LABELS & HUMAN_LABELS
    for label in MACHINE_LABELS | HUMAN_LABELS:
        assert label == "-".join(label.lower().replace("_", " ").replace("-", " ").split())
