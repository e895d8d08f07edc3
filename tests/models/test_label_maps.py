from __future__ import annotations

from itertools import permutations
from pathlib import Path

import numpy as np
import pytest

from assaymark.models.label_maps import DETECTORS, LABEL_MAPS, NUDENET_CLASSES, reviewed_map, unsafe_probability

FIVE = ("drawings", "hentai", "neutral", "porn", "sexy")


def test_every_published_detector_is_in_the_table_whatever_the_order() -> None:
    rng = np.random.default_rng(0)
    for name, detector in DETECTORS.items():
        shuffled = [str(label) for label in rng.permutation(detector.labels)]
        found = reviewed_map(shuffled)
        assert found is not None, name
        assert found is reviewed_map([label.swapcase() for label in shuffled])
        assert detector.status in ("checked", "remembered")


def test_entries_are_sound() -> None:
    assert len({entry.labels for entry in LABEL_MAPS}) == len(LABEL_MAPS)
    for entry in LABEL_MAPS:
        assert entry.positive
        assert entry.positive <= entry.labels
    assert len(NUDENET_CLASSES) == len(set(NUDENET_CLASSES)) == 18
    nudenet = reviewed_map(NUDENET_CLASSES)
    assert nudenet is not None
    assert all(label.endswith("_exposed") for label in nudenet.positive)
    assert len(nudenet.positive) == 5


@pytest.mark.parametrize("labels", [("cat", "dog"), ("porn", "neutral"), ("LABEL_0", "LABEL_1"), (), (*FIVE, "other")])
def test_unknown_sets_are_not_guessed(labels: tuple[str, ...]) -> None:
    assert reviewed_map(labels) is None


def test_softmax_classes_are_summed_in_any_order() -> None:
    rng = np.random.default_rng(1)
    scores = rng.dirichlet(np.ones(5), size=50)
    expected = [row[1] + row[3] + row[4] for row in scores]
    entry = reviewed_map(FIVE)
    assert entry is not None
    for order in permutations(range(5)):
        labels = [FIVE[index].upper() for index in order]
        found = unsafe_probability(scores[:, order], labels=labels, positive=entry.positive, multi_label=False)
        np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_independent_labels_give_the_maximum() -> None:
    scores = np.array([[0.9, 0.8, 0.1], [0.0, 0.2, 0.99], [0.0, np.nan, 0.3]])
    found = unsafe_probability(scores, labels=("a", "b", "c"), positive=("A", "b"), multi_label=True)
    np.testing.assert_allclose(found, [0.9, 0.2, np.nan], rtol=1e-6)


def test_sums_stay_probabilities() -> None:
    assert unsafe_probability([[0.6, 0.4 + 1e-6]], labels=("a", "b"), positive=("a", "b"), multi_label=False) == 1.0
    assert unsafe_probability(np.empty((0, 2)), labels=("a", "b"), positive=("a",), multi_label=False).shape == (0,)


@pytest.mark.parametrize(("labels", "positive"), [(("a", "b"), ()), (("a", "b"), ("c",)), (("a",), ("a",))])
def test_misfits_are_refused(labels: tuple[str, ...], positive: tuple[str, ...]) -> None:
    with pytest.raises(ValueError):
        unsafe_probability(np.ones((2, 2)), labels=labels, positive=positive, multi_label=False)


def test_the_page_on_models_lists_every_detector_with_its_unsafe_classes() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "models.md").read_text(encoding="utf-8")
    table = page.split("which of their classes are unsafe")[1]
    rows = {line.split(" | ")[0].strip("| "): line for line in table.splitlines() if line.startswith("| ")}
    for name, detector in DETECTORS.items():
        row = next((line for key, line in rows.items() if name.split(" ")[0].lower() in key.lower()), None)
        assert row is not None and detector.status in row, name
        entry = reviewed_map(detector.labels)
        if entry is not None and 1 < len(detector.labels) < 10:
            assert sorted(row.split(" | ")[2].lower().split(", ")) == sorted(entry.positive), name
