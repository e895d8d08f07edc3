"""What a detector can and cannot count: streams of known composition, mixed from texts whose authors are known.

python examples/detector_scores.py SCORES.csv [streams]

SCORES.csv has the columns detector, label (0 human, 1 machine) and score, and may have source_model. Half of the texts of each
detector calibrate it; streams of 500 posts are mixed from the other half, with a true share of 0, 5, 20 and 60 %. Shown are one
stream of each (percent, with the 95 % interval), and how often the interval held the truth over many, each with a new division.
"""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd

from assaymark.audits.generated_text_prevalence.method.score_calibration import calibrate_score
from assaymark.result import Estimate
from assaymark.stats import LabelledBins, bin_counts, quantify, roc_auc

SHARES = (0.0, 0.05, 0.2, 0.6)
METHODS = ("cc", "acc", "pacc", "emq", "hdy")
POSTS, BINS = 500, 1024


def main(path: str, streams: int = 100) -> None:
    table = pd.read_csv(path)
    areas(table)
    for name, rows in table.groupby("detector"):
        report(str(name), rows["score"].to_numpy(), rows["label"].to_numpy(), streams)


def areas(table: pd.DataFrame) -> None:
    """AUROC by generator, as published tables have it."""
    print(f"{'detector':52} {'generator':16} AUROC")
    for (name, generator), rows in table.groupby(["detector", table.get("source_model", pd.Series("all", index=table.index))]):
        print(f"{name:52} {generator:16} {roc_auc(rows['score'], rows['label'])}")


def report(name: str, scores: np.ndarray, labels: np.ndarray, streams: int) -> None:
    rng = np.random.default_rng(0)
    held = {method: np.zeros(len(SHARES)) for method in METHODS}
    known = dict.fromkeys(METHODS, 0)
    print(f"\n{name}")
    for stream in range(streams):
        labelled, pools = divided(scores, labels, rng)
        found = quantify(
            labelled, np.stack([mixed(pools, share, rng) for share in SHARES]), rng=rng, methods=METHODS, resamples=400
        )
        for method, estimates in found.estimates.items():
            known[method] += estimates[0].defined
            inside = [e.low is not None and e.low <= share <= e.high for e, share in zip(estimates, SHARES, strict=True)]
            held[method] += np.array(inside)
        if stream == 0:
            for method, estimates in found.estimates.items():
                print(
                    f"  {method:5}",
                    " | ".join(f"true {share:.0%}: {short(e)}" for share, e in zip(SHARES, estimates, strict=True)),
                )
    for method in METHODS:
        parts = [
            f"{share:.0%}: {count / known[method]:.0%}"
            for share, count in zip(SHARES, held[method], strict=True)
            if known[method]
        ]
        print(f"  {method:5} truth held, of {known[method]:3} streams it is defined in:", "  ".join(parts) or "-")


def short(estimate: Estimate) -> str:
    if estimate.value is None or estimate.low is None or estimate.high is None:
        return "undefined"
    return f"{100 * estimate.value:.0f} ({100 * estimate.low:.0f}-{100 * estimate.high:.0f})"


def divided(scores: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> tuple[LabelledBins, list[np.ndarray]]:
    """A quarter of the texts fits the score's logistic regression, a quarter measures its errors, half are for the streams."""
    part = rng.integers(4, size=len(scores))
    probability = calibrate_score(scores[part == 0], labels[part == 0]).probability(scores)
    sides = [probability[(part == 1) & (labels == kind)] for kind in (0, 1)]
    labelled = LabelledBins(*(bin_counts(side, BINS) for side in sides))
    return labelled, [probability[(part > 1) & (labels == kind)] for kind in (0, 1)]


def mixed(pools: list[np.ndarray], share: float, rng: np.random.Generator) -> np.ndarray:
    """Bin counts of a stream with just this share of machine-written posts."""
    machine = round(POSTS * share)
    drawn = [rng.choice(pools[0], POSTS - machine), rng.choice(pools[1], machine)]
    return bin_counts(np.concatenate(drawn), BINS)


if __name__ == "__main__":
    main(sys.argv[1], *(int(word) for word in sys.argv[2:3]))
