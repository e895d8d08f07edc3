"""quapy and ppi-python on saved scores: `python _prevalence_peer.py FOLDER`; runs in the peers' environment, prints JSON.

FOLDER holds request.json and arrays. Scores are posteriors of the positive class; both libraries get them as they are.

* `speed`: the bootstrap of quapy (`AggregativeBootstrap`) on stream_{n}.npy, timed on a few of the resamples and scaled to all,
  as its time is proportional to their number. It resamples the stream alone: its resampling of the labelled items
  (`n_train_samples` above 1) stops with an error in 0.2.3, as it takes an array for a collection.
* `trials`: point and limits for each of trials.npy with its own labelled items, a smaller bootstrap.
* `ppi`: point and limits of ppi-python on labels.npy, predictions.npy and the stream.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np

warnings.filterwarnings("ignore")
sys.path.pop(0)  # this folder has a module named like a library

from ppi_py import ppi_mean_ci, ppi_mean_pointestimate  # noqa: E402
from quapy.method.aggregative import EMQ, PACC  # noqa: E402
from quapy.method.confidence import AggregativeBootstrap  # noqa: E402
from sklearn.linear_model import LogisticRegression  # noqa: E402


def two_columns(scores: np.ndarray) -> np.ndarray:
    return np.column_stack([1.0 - scores, scores])


def fitted(kind: type, scores: np.ndarray, labels: np.ndarray) -> Any:
    """Quantifier after its aggregation has been fitted; of the classifier only the names of the classes are used."""
    classifier = LogisticRegression().fit([[0.0], [1.0]], [0, 1])
    quantifier = kind(classifier, fit_classifier=False, val_split=None)
    quantifier.train_prevalence = np.array([np.mean(labels == 0), np.mean(labels == 1)])
    quantifier.aggregation_fit(two_columns(scores), labels)
    return quantifier


def interval(quantifier: Any, stream: np.ndarray, resamples: int) -> tuple[float, float]:
    """95 % limits of the positive class."""
    boot = AggregativeBootstrap(quantifier, n_test_samples=resamples, random_state=0)
    boot.quantifiers = [quantifier]
    _, region = boot.aggregate_conf(two_columns(stream))
    return float(region.I_low[1]), float(region.I_high[1])


def speed(folder: Path, request: dict[str, Any]) -> dict[str, dict[str, float]]:
    scores, labels = np.load(folder / "labelled.npy"), np.load(folder / "labels.npy")
    found: dict[str, dict[str, float]] = {}
    for kind in (PACC, EMQ):
        quantifier = fitted(kind, scores, labels)
        interval(quantifier, scores, 4)  # starts the workers
        for n, timed in request["speed"]:
            stream = np.load(folder / f"stream_{n}.npy")
            start = time.perf_counter()
            interval(quantifier, stream, timed)
            seconds = (time.perf_counter() - start) * request["resamples"] / timed
            point = float(quantifier.aggregate(two_columns(stream))[1])
            found[f"{kind.__name__} {n}"] = {"seconds": seconds, "point": point, "timed": timed}
    return found


def trials(folder: Path, request: dict[str, Any]) -> dict[str, list[list[float]]]:
    known, streams = np.load(folder / "trials_labelled.npy"), np.load(folder / "trials.npy")
    labels = np.repeat([0, 1], known.shape[1] // 2)
    found: dict[str, list[list[float]]] = {"PACC": [], "EMQ": []}
    for kind in (PACC, EMQ):
        for scores, stream in zip(known, streams, strict=True):
            quantifier = fitted(kind, scores, labels)
            point = float(quantifier.aggregate(two_columns(stream))[1])
            found[kind.__name__].append([point, *interval(quantifier, stream, request["trial_resamples"])])
    return found


def ppi(folder: Path, request: dict[str, Any]) -> dict[str, float]:
    y, f = np.load(folder / "ppi_labels.npy"), np.load(folder / "ppi_predictions.npy")
    rest = np.load(folder / f"stream_{request['ppi']}.npy")
    best = float("inf")
    for _ in range(4):
        start = time.perf_counter()
        low, high = ppi_mean_ci(y, f, rest, alpha=0.05)
        point = ppi_mean_pointestimate(y, f, rest)
        best = min(best, time.perf_counter() - start)
    return {"point": float(np.ravel(point)[0]), "low": float(low[0]), "high": float(high[0]), "seconds": best}


def main(name: str) -> None:
    folder = Path(name)
    request = json.loads((folder / "request.json").read_text())
    answer = {"speed": speed(folder, request), "trials": trials(folder, request), "ppi": ppi(folder, request)}
    sys.stdout.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
