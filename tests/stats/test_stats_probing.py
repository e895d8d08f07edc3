"""Linear probes: which rows they get right, and the strength that a validation part chooses."""

from __future__ import annotations

import numpy as np

from assaymark.stats import PROBE_STRENGTHS, probe_hits, probe_strength


def test_a_probe_finds_classes_and_says_which_rows_it_got_right() -> None:
    rng = np.random.default_rng(1)
    labels = np.repeat([0, 1, 2], 40)
    points = rng.normal(size=(120, 6)) + 4 * np.eye(6)[labels]
    order = rng.permutation(120)
    train, test = order[:60], order[60:]
    assert probe_hits(points[train], labels[train], points[test], labels[test]).mean() > 0.95
    assert probe_hits(points[:3], ["x"] * 3, points[:2], ["x", "y"]).tolist() == [True, False]


def test_the_strength_of_a_probe_is_what_validates_best() -> None:
    rng = np.random.default_rng(2)
    labels = np.arange(90) % 3
    points = rng.normal(size=(90, 5)) + 2 * np.eye(5)[labels]
    parts = (points[:30], labels[:30], points[30:60], labels[30:60])
    hits = [probe_hits(*parts, strength=strength).sum() for strength in PROBE_STRENGTHS]
    assert probe_strength(*parts) == PROBE_STRENGTHS[int(np.argmax(hits))]
