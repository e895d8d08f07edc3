"""Combine made-up detectors whose quality is known, and see what weights buy, what they cannot, and how they are fooled.

    python examples/scorer_mixture.py            # seconds on a CPU, no network

Three planted score tables, each fitted on 400 rows and judged on 4,000. Unequal: four fair detectors and two weak, over-confident
ones that err together. Equal: five detectors of one quality. Learnt: the first detector knows the fitting rows by heart.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

import assaymark as am
from assaymark.audits.scorer_mixture.planted import PlantedScores, planted_scores
from assaymark.result import Result

WAYS = {
    "best single detector": "best_single.accuracy",
    "average, cut at 0.5": "midpoint.average.accuracy",
    "least squares (the paper), cut at 0.5": "midpoint.ols.accuracy",
    "with an intercept, threshold fitted": "mixture.accuracy",
}


def audit(drawn: PlantedScores, split: np.ndarray, **settings: str) -> Result:
    columns = {name: pa.array(drawn.scores[:, i]) for i, name in enumerate(drawn.names)}
    table = pa.table({"label": drawn.labels, "split": split, **columns})
    return am.audit("scorer-mixture", table, compare=["ols", "ols_intercept"], resamples=200, **settings)


def show(title: str, result: Result) -> None:
    print(f"\n{title}")
    for way, name in WAYS.items():
        print(f"  {way:38}{result[name]}")


def main() -> None:
    fit_first = np.where(np.arange(4_400) < 400, "fit", "test")
    unequal = audit(planted_scores(0, 4_400, experiment="A"), fit_first)
    show("Unequal detectors", unequal)
    print("  weights                              ", end="")
    print(", ".join(f"{unequal[f'weights.network_{i}'].value:.2f}" for i in range(1, 7)))
    show("Equal detectors: weights cannot win", audit(planted_scores(0, 4_400, experiment="E"), fit_first))

    drawn = planted_scores(0, 4_800, experiment="C")
    fooled = audit(drawn, np.where(drawn.trained_on, "train", "test"), source="train")
    show("The first detector was trained on the fitting rows", fooled)
    print(f"  its weight                            {fooled['weights.network_1']}")
    print(f"  {fooled.findings[0].severity}: {fooled.findings[0].sentence}")


if __name__ == "__main__":
    main()
