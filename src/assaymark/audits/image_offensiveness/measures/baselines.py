"""What else could be done with the same ratings: linear probe, logistic regression and nearest neighbours on frozen features.

They are measured on the splits of the prompts, so that all figures are of the same test images.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.audits.image_offensiveness.method.evaluation import MetricSummary, metric_values, summarise_splits
from assaymark.audits.image_offensiveness.method.splits import Split, nested_fractions

__all__ = ["BASELINES", "LOWEST", "BaselineCurve", "baseline_curve"]

Floats = npt.NDArray[np.float64]

NEIGHBOURS = 10
LOWEST = 1e-6


class BaselineCurve(NamedTuple):
    """One method on one space: figures over splits at each fraction of the training images."""

    method: str
    space: str
    fractions: tuple[float, ...]
    summaries: tuple[dict[str, MetricSummary], ...]


def _linear_probe() -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression(C=1e3, max_iter=300))


def _logistic_regression() -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=10.0, max_iter=300)


def _nearest_neighbours() -> Any:
    from sklearn.neighbors import KNeighborsClassifier

    return KNeighborsClassifier(NEIGHBOURS, weights="distance")


BASELINES: Mapping[str, Callable[[], Any]] = {
    "linear probe": _linear_probe,
    "logistic regression": _logistic_regression,
    "nearest neighbours": _nearest_neighbours,
}
"""Name to classifier: a linear layer that is practically without penalty on standardised features, as a network's head is
trained; a ridge-penalised one on unit rows; and ten neighbours."""


def baseline_curve(
    method: str,
    space: str,
    vectors: npt.NDArray[np.float32],
    y: Any,
    splits: Sequence[Split],
    *,
    fractions: Sequence[float],
    test_share: float,
    confidence: float,
    rng: np.random.Generator,
) -> BaselineCurve:
    """Figures of one baseline over the given splits; a fraction of 0 has none and is left out."""
    labels = np.asarray(y) == 1
    shares = tuple(share for share in fractions if share > 0)
    measured: list[list[dict[str, float]]] = [[] for _ in shares]
    for split in splits:
        parts = nested_fractions(labels, split.train, fractions=shares, rng=rng)
        for place, part in enumerate(parts):
            scores = _scores(method, vectors[part], labels[part], vectors[split.test])
            measured[place].append(metric_values(scores, labels[split.test]))
    return BaselineCurve(
        method,
        space,
        shares,
        tuple(
            summarise_splits(figures, test_share=test_share, tested=len(splits[0].test), confidence=confidence)
            for figures in measured
        ),
    )


def _scores(method: str, train: npt.NDArray[np.float32], y: npt.NDArray[np.bool_], test: npt.NDArray[np.float32]) -> Floats:
    """Log-odds of the test rows."""
    classifier = BASELINES[method]()
    if method == "nearest neighbours":
        classifier.set_params(n_neighbors=min(NEIGHBOURS, len(train)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a solver that stops at its last step is no news here
        classifier.fit(train, y)
    positive = np.clip(classifier.predict_proba(test)[:, 1], LOWEST, 1 - LOWEST)
    return np.asarray(np.log(positive) - np.log1p(-positive), dtype=np.float64)
