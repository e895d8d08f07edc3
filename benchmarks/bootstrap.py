"""Speed of the vectorised bootstrap beside loops that draw as many resamples of the same size.

Two peers, named in the note of each row:

* item loop: plain Python, one resample after the other, one item after the other: draw an index, add its value to the sum
  (`for resample: for item: total += values[rng.integers(n)]`). This is the loop that the target of 50 times is about.
* resample loop: Python over resamples, numpy within each (`values[rng.integers(n, size=n)].mean()`), as a careful script does.
  It does the same array work and can only be beaten by not drawing every item, so it has no target.

A peer is timed on a few of the resamples and scaled to all of them, as its time is proportional to their number.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from assaymark.stats import bootstrap_mean, bootstrap_ratio
from benchmarks import Row, Target, best_seconds

RESAMPLES = 1000
FloatArray = npt.NDArray[np.float64]


def item_loop(top: FloatArray, bottom: FloatArray, *, rng: np.random.Generator, resamples: int) -> list[float]:
    """Ratios of sums over resamples, item by item."""
    n, tops, bottoms = len(top), top.tolist(), bottom.tolist()
    ratios = []
    for _ in range(resamples):
        numerator = denominator = 0.0
        for _ in range(n):
            pick = int(rng.integers(n))
            numerator += tops[pick]
            denominator += bottoms[pick]
        ratios.append(numerator / denominator)
    return ratios


def resample_loop(top: FloatArray, bottom: FloatArray, *, rng: np.random.Generator, resamples: int) -> list[float]:
    """Ratios of sums over resamples, numpy within each resample."""
    n = len(top)
    picks = (rng.integers(n, size=n) for _ in range(resamples))
    return [float(top[pick].sum() / bottom[pick].sum()) for pick in picks]


def cluster_loop(
    values: FloatArray, clusters: npt.NDArray[np.int64], *, rng: np.random.Generator, resamples: int
) -> list[float]:
    """Means over resamples of clusters whose rows are put together each time."""
    members = [values[clusters == label] for label in np.unique(clusters)]
    picks = (rng.integers(len(members), size=len(members)) for _ in range(resamples))
    return [float(np.concatenate([members[i] for i in pick]).mean()) for pick in picks]


def _row(case: str, ours: Callable[[], object], peer: Callable[[int], object], timed: int, note: str) -> Row:
    own = best_seconds(ours)
    other = best_seconds(lambda: peer(timed), repeats=1) * RESAMPLES / timed
    target = Target("times", ">=", 50) if note.startswith("item loop") else None
    return Row(f"bootstrap, {case}", own, other, "s", f"peer: {note}, {RESAMPLES:,} resamples, timed on {timed}", target)


def _both_loops(case: str, ours: Callable[[], object], top: FloatArray, bottom: FloatArray) -> list[Row]:
    """Rows beside the item loop and the resample loop."""
    rng = np.random.default_rng(2)
    few = max(1, 30_000 // top.size)

    def items(resamples: int) -> list[float]:
        return item_loop(top, bottom, rng=rng, resamples=resamples)

    def resamples_of_arrays(resamples: int) -> list[float]:
        return resample_loop(top, bottom, rng=rng, resamples=resamples)

    return [
        _row(case, ours, items, few, "item loop"),
        _row(case, ours, resamples_of_arrays, min(20 * few, RESAMPLES), "resample loop"),
    ]


def run(quick: bool = False) -> list[Row]:
    """One row for each case and peer."""
    generator, rng = np.random.default_rng(0), np.random.default_rng(1)
    n, m = (10_000, 1_000) if quick else (100_000, 10_000)
    share, clusters = (generator.random(n) < 0.003).astype(np.float64), np.arange(n) * 100 // n
    values, weights = generator.normal(size=m), generator.gamma(1.0, size=m)
    hits, rows_of_shard = (generator.poisson(rate, size=128).astype(np.float64) for rate in (300.0, 1e5))

    def clustered(resamples: int) -> list[float]:
        return cluster_loop(share, clusters, rng=rng, resamples=resamples)

    return [
        *_both_loops(f"share, n = {n:,}", lambda: bootstrap_mean(share, rng=rng), share, np.ones(n)),
        _row(
            f"share, n = {n:,}, 100 clusters",
            lambda: bootstrap_mean(share, rng=rng, clusters=clusters),
            clustered,
            50,
            "resample loop over clusters",
        ),
        *_both_loops("ratio of shards, n = 128", lambda: bootstrap_ratio(hits, rows_of_shard, rng=rng), hits, rows_of_shard),
        *_both_loops(f"mean, n = {m:,}", lambda: bootstrap_mean(values, rng=rng), values, np.ones(m)),
        *_both_loops(
            f"weighted mean, n = {m:,}",
            lambda: bootstrap_mean(values, rng=rng, weights=weights),
            values * weights,
            weights,
        ),
    ]
