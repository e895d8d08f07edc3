"""Quantification beside quapy, prediction-powered means beside ppi-python: seconds, error, coverage, the same numbers.

Scores are posteriors of two normals d' = 1.5 apart. quapy's bootstrap resamples the stream alone (that of the labelled items
stops with an error in 0.2.3); ours resamples both, in one thread, from the scores: binning is timed.
"""

from __future__ import annotations

import json
import tempfile
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from assaymark.stats import (
    LabelledBins,
    Quantification,
    bin_counts,
    labelled_bins,
    ppi_mean,
    predictions_of_bins,
    quantify,
)
from benchmarks import Row, Target, best_seconds
from benchmarks._peers import ask

SEPARATION = 1.5
PREVALENCE = 0.1
RESAMPLES = 1000
METHODS = {"PACC": "pacc", "EMQ": "emq"}
EVERY = ("cc", "acc", "pcc", "pacc", "emq", "hdy")
NO_PEER = "; the peers are not installed"


class Sizes(NamedTuple):
    """Streams with the resamples that the peer is timed on; trials of coverage and their resamples; cells of the table."""

    streams: tuple[tuple[int, int], ...]
    trials: int
    trial_resamples: int
    cells: int

    @property
    def middle(self) -> int:
        return self.streams[len(self.streams) // 2][0]


FULL = Sizes(((10_000, 200), (100_000, 40), (1_000_000, 8)), 100, 100, 68)
QUICK = Sizes(((2_000, 8),), 3, 8, 4)


def posteriors(rng: np.random.Generator, labels: np.ndarray) -> np.ndarray:
    margin = SEPARATION * (rng.standard_normal(labels.size) + SEPARATION * labels) - SEPARATION**2 / 2
    return 1.0 / (1.0 + np.exp(-margin))


def stream(rng: np.random.Generator, items: int, prevalence: float = PREVALENCE) -> np.ndarray:
    return posteriors(rng, (rng.random(items) < prevalence).astype(int))


def run(quick: bool = False) -> list[Row]:
    """All rows of the table."""
    sizes = QUICK if quick else FULL
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 500)
    labelled = posteriors(rng, labels)
    streams = {n: stream(rng, n) for n, _ in sizes.streams}
    half = np.repeat([0, 1], 100)
    known = np.stack([posteriors(rng, half) for _ in range(sizes.trials)])
    trials = np.stack([stream(rng, 2000) for _ in range(sizes.trials)])
    y = (rng.random(500) < PREVALENCE).astype(int)
    f = posteriors(rng, y)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        arrays = {"labelled": labelled, "labels": labels, "trials_labelled": known, "trials": trials}
        arrays |= {"ppi_labels": y.astype(float), "ppi_predictions": f} | {f"stream_{n}": s for n, s in streams.items()}
        for key, array in arrays.items():
            np.save(folder / f"{key}.npy", array)
        request = {"speed": sizes.streams, "resamples": RESAMPLES, "trial_resamples": sizes.trial_resamples}
        (folder / "request.json").write_text(json.dumps(request | {"ppi": sizes.middle}))
        peer = ask("_prevalence_peer.py", folder)
    counts = labelled_bins(labelled, labels)
    rows = [
        *speed(counts, streams, sizes, peer),
        *accuracy([labelled_bins(s, half) for s in known], trials, sizes, peer),
        *prediction_powered(y, f, streams[sizes.middle], peer),
        *many_cells(counts, sizes),
    ]
    return [row._replace(target=None) for row in rows] if quick else rows


def quantified(
    labelled: LabelledBins, scores: np.ndarray, methods: tuple[str, ...], resamples: int = RESAMPLES
) -> Quantification:
    """The posteriors taken as they are, as quapy takes them."""
    rng = np.random.default_rng(1)
    return quantify(labelled, bin_counts(scores)[None], rng=rng, methods=methods, resamples=resamples, calibration="none")


def speed(labelled: LabelledBins, streams: dict[int, np.ndarray], sizes: Sizes, peer: Any) -> list[Row]:
    """Seconds of an interval, and the points."""
    rows = []
    for title, method in METHODS.items():
        for n, _ in sizes.streams:
            other = peer["speed"][f"{title} {n}"] if peer else {}
            seconds = best_seconds(partial(quantified, labelled, streams[n], (method,)))
            point = float(quantified(labelled, streams[n], (method,), 2).points[method][0])
            timed = f"timed on {other['timed']:.0f}, all cores" if peer else NO_PEER[2:]
            note = f"peer: quapy AggregativeBootstrap, stream alone, {RESAMPLES:,} resamples, {timed}; ours: both sources"
            target = Target("times", ">=", 100) if n == sizes.middle else None
            rows.append(Row(f"{title} interval, n = {n:,}", seconds, other.get("seconds"), "s", note, target))
            note = "peer: quapy; the ratio should be 1 (1,024 bins against scores; its EM stops at 1e-4)"
            rows.append(Row(f"{title} point, n = {n:,}", point, other.get("point"), "share", note))
    return rows


def accuracy(known: list[LabelledBins], trials: np.ndarray, sizes: Sizes, peer: Any) -> list[Row]:
    """Mean absolute error and coverage where the labelled sample is small."""
    rows = []
    size = f"100 + 100 labelled items, 2,000 items, prevalence {PREVALENCE:g}, {sizes.trials} trials"
    for title, method in METHODS.items():
        found = [
            quantified(k, s, (method,), sizes.trial_resamples).estimates[method][0] for k, s in zip(known, trials, strict=True)
        ]
        ours = np.array([(e.value, e.low, e.high) for e in found])
        theirs = np.array(peer["trials"][title]) if peer else None
        error = [None if x is None else float(np.abs(x[:, 0] - PREVALENCE).mean()) for x in (ours, theirs)]
        held = [
            None if x is None else float(np.mean((x[:, 1] <= PREVALENCE) & (x[:, 2] >= PREVALENCE))) for x in (ours, theirs)
        ]
        assert error[0] is not None and held[0] is not None
        note = f"peer: quapy; {size}{'' if peer else NO_PEER}"
        rows.append(Row(f"{title} mean absolute error", error[0], error[1], "share", note + "; less is better"))
        rows.append(
            Row(
                f"{title} coverage of 95 % intervals",
                held[0],
                held[1],
                "share",
                note + ", the stream alone; nearer to 0.95 is better",
            )
        )
    return rows


def prediction_powered(y: np.ndarray, f: np.ndarray, rest: np.ndarray, peer: Any) -> list[Row]:
    """The same point and limits as ppi-python, and the time; from bins the unlabelled side costs nothing."""
    other = peer["ppi"] if peer else {}
    found = ppi_mean(y, f, rest)
    note = f"peer: ppi-python ppi_mean_ci, lam tuned; {y.size:,} labels, {rest.size:,} predictions{'' if peer else NO_PEER}"
    rows = []
    for name, value in (("point", found.value), ("low", found.low), ("high", found.high)):
        assert value is not None
        apart = f"; apart by {abs(value - other[name]):.1e}" if peer else ""
        rows.append(Row(f"PPI++ {name}", value, other.get(name), "share", note + apart))
    rows.append(Row("PPI++ interval", best_seconds(partial(ppi_mean, y, f, rest)), other.get("seconds"), "s", note))
    summary = predictions_of_bins(bin_counts(rest))
    binned = best_seconds(partial(ppi_mean, y, f, summary))
    return [*rows, Row("PPI++ interval from a summary", binned, other.get("seconds"), "s", note)]


def many_cells(labelled: LabelledBins, sizes: Sizes) -> list[Row]:
    """A table of months and platforms, all methods, posteriors calibrated anew in each resample."""
    rng = np.random.default_rng(2)
    cells = np.stack([bin_counts(stream(rng, 24_000, p)) for p in np.linspace(0.02, 0.4, sizes.cells)])
    note = f"{', '.join(EVERY)}; 24,000 items a cell, {RESAMPLES:,} resamples, calibrated in each; one thread"
    rows = []
    for count, limit in ((sizes.cells, 5.0), (1, 0.3)):
        seconds = best_seconds(partial(quantify, labelled, cells[:count], rng=rng, methods=EVERY))
        rows.append(Row(f"all methods, {count} cell{'s' * (count > 1)}", seconds, None, "s", note, Target("ours", "<=", limit)))
    return rows
