"""What a remote detector will be asked is stated before the first question."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import assaymark as am
from assaymark.errors import BudgetExceeded

POSTS, LABELLED = 1_500, 300


class RemoteDetector:
    """Calls a text machine-written by a word in it; counts what it is asked."""

    spec, fingerprint = "py:remote", "remote detector of a test"
    labels, multi_label, remote = ("machine", "human"), False, True

    def __init__(self) -> None:
        self.asked = 0

    def score_texts(self, texts: Any) -> Any:
        self.asked += len(texts)
        machine = np.array([0.9 if "delve" in text else 0.1 for text in texts], np.float32)
        return np.column_stack([machine, 1 - machine])


def inputs() -> dict[str, pa.Table]:
    def text(number: int, machine: bool) -> str:
        return " ".join([f"word{number}", "delve" if machine else "dig", *("plain words of a long enough post " * 9).split()])

    machine = [number % 3 == 0 for number in range(POSTS)]
    posts = {
        "text": [text(number, flag) for number, flag in enumerate(machine)],
        "created_at": [f"2023-{1 + number % 12:02d}-10" for number in range(POSTS)],
    }
    labelled = {
        "text": [text(10_000 + number, number % 2 == 0) for number in range(LABELLED)],
        "label": ["machine" if number % 2 == 0 else "human" for number in range(LABELLED)],
    }
    return {"posts": pa.table(posts), "labelled": pa.table(labelled)}


def test_more_questions_than_the_budget_are_refused_before_the_first() -> None:
    detector = RemoteDetector()
    with pytest.raises(BudgetExceeded, match=rf"(?s)at most {POSTS + LABELLED:,} queries.*budget={POSTS + LABELLED}"):
        am.audit("generated-text-prevalence", inputs(), models={"detector.far": detector})
    assert detector.asked == 0


def test_the_announced_number_is_enough() -> None:
    detector = RemoteDetector()
    am.audit("generated-text-prevalence", inputs(), models={"detector.far": detector}, budget=POSTS + LABELLED, resamples=100)
    assert 0 < detector.asked <= POSTS + LABELLED
