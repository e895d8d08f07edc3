"""Fitting a mixture of scorers beside scikit-learn: seconds, memory, accuracy; exact Shapley shares; skin rules.

`python -m benchmarks.scorer_mixture stream SHARDS ROWS` is one streamed fit in a process of its own: it prints seconds and the
peak memory. `... fit ours|peer ROWS` prints what one fit in memory adds to the memory that the table takes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from assaymark.audits.scorer_mixture.method.attribution import shapley_accuracy
from assaymark.audits.scorer_mixture.method.inference import hc_from_blocks, robust_inference
from assaymark.audits.scorer_mixture.method.moments import Moments, merge_all, moments
from assaymark.audits.scorer_mixture.method.skin import fit_histogram, histogram_skin, rgb_rule, skin_score, ycbcr_box
from assaymark.audits.scorer_mixture.method.weights import ols, ols_from_moments
from assaymark.audits.scorer_mixture.planted import planted_scores
from benchmarks import Row, Target, best_seconds, peak_megabytes

NETWORKS = 10
SHARD_ROWS = 200_000
REPOSITORY = Path(__file__).resolve().parents[1]


def scores(rows: int, *, seed: int = 0, dtype: type = np.float64) -> tuple[np.ndarray, np.ndarray]:
    """Networks of rising quality with independent errors."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, rows)
    found = np.empty((rows, NETWORKS), dtype=dtype)
    quality = np.linspace(0.2, 1.4, NETWORKS)
    for start in range(0, rows, 50_000):  # in parts, so that making the table takes little more memory than the table
        signs = 2.0 * y[start : start + 50_000, None] - 1.0
        found[start : start + 50_000] = 1.0 / (1.0 + np.exp(-(quality * signs + rng.standard_normal((len(signs), NETWORKS)))))
    return found, y


def run(quick: bool = False) -> list[Row]:
    """All rows of the table."""
    rows = [*least_squares(quick), memory(quick), *streaming(quick), *stacking(quick), shapley(quick), *skin(quick)]
    return [row._replace(target=None) for row in rows] if quick else rows


def least_squares(quick: bool) -> list[Row]:
    """One fit in memory, with and without the standard errors."""
    from sklearn.linear_model import LinearRegression

    n = 20_000 if quick else 1_000_000
    F, y = scores(n)
    target = y.astype(np.float64)
    rows = []
    for intercept in (False, True):
        peer = LinearRegression(fit_intercept=intercept)
        fit = ols(F, y, intercept=intercept)
        peer.fit(F, target)
        apart = float(np.abs(fit.weights - peer.coef_).max())
        seconds = best_seconds(partial(ols, F, y, intercept=intercept))
        theirs = best_seconds(partial(peer.fit, F, target))
        note = f"peer: scikit-learn LinearRegression; {n:,} x {NETWORKS}; weights differ by {apart:.1e}"
        form = "with an intercept" if intercept else "the paper's form"
        rows.append(Row(f"least squares, {form}", seconds, theirs, "s", note, Target("ours", "<=", 0.5)))
    seconds = best_seconds(lambda: ols_from_moments(moments(F, y), intercept=True))
    rows.append(Row("least squares from moments", seconds, theirs, "s", f"peer: the same; {n:,} x {NETWORKS}"))
    errors = best_seconds(partial(robust_inference, F, y, fit, intercept=True))
    return [*rows, Row("HC3 standard errors, two passes", errors, None, "s", f"{n:,} x {NETWORKS}")]


class Shards:
    """Float32 shards that are made when they are read, so that reading them costs no memory; each can be read again."""

    def __init__(self, blocks: int, rows: int) -> None:
        self.blocks, self.rows = blocks, rows

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        F, y = scores(self.rows, dtype=np.float32)
        for shard in range(self.blocks):
            # another order of columns and a shift make another shard without the cost of drawing it
            yield np.roll(F, shard % NETWORKS, axis=1), y


def streaming(quick: bool) -> list[Row]:
    """Moments of many shards against few: seconds, and how much the peak memory grows."""
    rows, few, many = (2_000, 2, 4) if quick else (SHARD_ROWS, 10, 50)
    found = {blocks: _alone("stream", blocks, rows) for blocks in (few, many)}
    size = f"{many * rows:,} x {NETWORKS} float32 in {many} shards"
    note = f"peer: {few} shards of the same size; the table would be {many * rows * NETWORKS * 4 / 1e6:,.0f} MB"
    return [
        Row(f"streamed least squares, {size}", found[many]["seconds"], None, "s", "moments of each shard, merged"),
        Row(f"streamed HC3 errors, {size}", found[many]["errors"], None, "s", "two further passes, the shards being made anew"),
        Row(
            f"peak memory of the stream, {many} shards",
            found[many]["megabytes"],
            found[few]["megabytes"],
            "MB",
            note,
            Target("ratio", "<=", 1.1),
        ),
    ]


def memory(quick: bool) -> Row:
    """What a fit in memory takes beside the table."""
    n = 20_000 if quick else 1_000_000
    ours, peer = (_alone("fit", who, n)["megabytes"] for who in ("ours", "peer"))
    note = f"peer: scikit-learn LinearRegression; {n:,} x {NETWORKS} float32, a table of {n * NETWORKS * 4 / 1e6:,.0f} MB"
    return Row("memory that a fit adds", ours, peer, "MB", note)


def _alone(*request: object) -> dict[str, float]:
    """Answer of this module in a process of its own."""
    paths = os.pathsep.join([str(REPOSITORY / "src"), str(REPOSITORY), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-m", "benchmarks.scorer_mixture", *map(str, request)]
    done = subprocess.run(
        command, cwd=REPOSITORY, env={**os.environ, "PYTHONPATH": paths}, check=True, capture_output=True, text=True
    )
    return dict(json.loads(done.stdout.splitlines()[-1]))


def stream(blocks: int, rows: int) -> dict[str, float]:
    """One streamed fit and its standard errors in this process."""
    shards = Shards(blocks, rows)
    spent = 0.0
    total: Moments | None = None
    for F, y in shards:
        start = time.perf_counter()
        part = moments(F, y)
        total = part if total is None else merge_all((total, part))
        spent += time.perf_counter() - start
    assert total is not None
    fit = ols_from_moments(total, intercept=True)
    start = time.perf_counter()
    hc_from_blocks(shards, fit, intercept=True)
    return {"seconds": spent, "errors": time.perf_counter() - start, "megabytes": peak_megabytes()}


def fit_in_memory(who: str, rows: int) -> dict[str, float]:
    """Growth of the peak memory through one fit, imports and a first small fit already paid."""
    from sklearn.linear_model import LinearRegression

    F, y = scores(rows, dtype=np.float32)
    target = y.astype(np.float32)

    def fit(n: int) -> None:
        if who == "ours":
            ols(F[:n], target[:n], intercept=True)
        else:
            LinearRegression().fit(F[:n], target[:n])

    fit(1000)
    before = peak_megabytes()
    fit(rows)
    return {"megabytes": peak_megabytes() - before}


def stacking(quick: bool) -> list[Row]:
    """Weights on held-out scores beside scikit-learn's stacking of the same columns, which refits its members in five folds."""
    from sklearn.ensemble import StackingClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer

    n = 2_000 if quick else 50_000
    drawn = planted_scores(0, 2 * n, experiment="A")
    F, y, G, z = drawn.scores[:n], drawn.labels[:n], drawn.scores[n:], drawn.labels[n:]
    members = [
        (name, make_pipeline(FunctionTransformer(partial(_column, number=i)), LogisticRegression()))
        for i, name in enumerate(drawn.names)
    ]
    peer = StackingClassifier(members, LogisticRegression(), cv=5)
    theirs = best_seconds(lambda: peer.fit(F, y), repeats=1)
    seconds = best_seconds(partial(ols, F, y, intercept=True))
    fit = ols(F, y, intercept=True)
    ours = float(np.mean((G @ fit.weights + fit.intercept >= 0.5) == z))
    note = f"peer: scikit-learn StackingClassifier, logistic members on one score each; experiment A, {n:,} x {F.shape[1]}"
    return [
        Row("fit of a mixture", seconds, theirs, "s", note),
        Row("test accuracy of the mixture", ours, float(peer.score(G, z)), "share", note + "; more is better"),
    ]


def _column(F: np.ndarray, *, number: int) -> np.ndarray:
    return F[:, [number]]


def shapley(quick: bool) -> Row:
    """All 2^10 coalitions."""
    n = 2_000 if quick else 100_000
    F, y = scores(n)
    of = moments(F, y)
    seconds = best_seconds(partial(shapley_accuracy, of, F, y))
    return Row("exact Shapley shares", seconds, None, "s", f"1,024 fits, {n:,} evaluation rows", Target("ours", "<=", 5))


def skin(quick: bool) -> list[Row]:
    """Pixel rules on one megapixel."""
    side = 200 if quick else 1000
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (side, side, 3), dtype=np.uint8)
    pixels = image.reshape(-1, 3)
    model = fit_histogram(pixels, rgb_rule(pixels))
    cases = {
        "RGB rule": partial(rgb_rule, image),
        "YCbCr box": partial(ycbcr_box, image),
        "Bayes histogram": partial(histogram_skin, image, model),
        "image score with components": partial(skin_score, image),
    }
    rows = []
    for name, case in cases.items():
        target = Target("ours", "<=", 0.05) if name in ("RGB rule", "YCbCr box") else None
        rows.append(Row(f"skin, {name}", best_seconds(case, repeats=5), None, "s", f"{side * side:,} random pixels", target))
    return rows


if __name__ == "__main__":
    mode, what, size = sys.argv[1], sys.argv[2], int(sys.argv[3])
    answer = stream(int(what), size) if mode == "stream" else fit_in_memory(what, size)
    sys.stdout.write(json.dumps(answer) + "\n")
