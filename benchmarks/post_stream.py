"""A stream of dated posts with precomputed scores through the whole audit: seconds, memory, what of it is the estimating.

The peer is a data frame that knows counts alone: pandas reads the same files, sorts posts by platform and month, and divides
the called by all. It has no errors of the detector, no interval and no cell that is left out.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks import Row, Target
from benchmarks._material import REPOSITORY

START, STOP, RELEASE = 1_640_995_200, 1_730_332_800, 1_669_766_400  # January 2022, October 2024, November 2022


def run(quick: bool = False) -> list[Row]:
    """Rows of the table: two platforms of 10^6 posts each, in 2 and in 20 shards. Quick: of 10^4, and no targets."""
    posts = 20_000 if quick else 2_000_000
    with tempfile.TemporaryDirectory(prefix="assaymark-bench-") as folder:
        root = Path(folder)
        for shards in (2, 20):
            write_posts(root / str(shards), posts, shards)
        write_labelled(root / "labelled.parquet")
        few, many = (measured("audit", root, shards) for shards in (2, 20))
        peer = measured("pandas", root, 20)
        small = write_posts(root / "small", posts // 100, 2)
        estimating = measured("audit", root, small)
    note = f"{posts:,} posts on two platforms, 34 months, 20 shards, eight methods, 1,000 resamples"
    rows = [
        Row(
            "post stream, scores to report",
            many["seconds"],
            peer["seconds"],
            "s",
            f"peer: pandas, counts alone; {note}",
            Target("ours", "<=", 20),
        ),
        Row(
            "post stream, a hundredth of it",
            estimating["seconds"],
            None,
            "s",
            "the estimating: it does not grow with the posts",
        ),
        Row("post stream, peak memory", many["megabytes"], few["megabytes"], "MB", "peer: the same posts in 2 shards"),
        Row("post stream, peak memory", many["megabytes"], peer["megabytes"], "MB", "peer: pandas, counts alone"),
    ]
    return [row._replace(target=None) for row in rows] if quick else rows


def write_posts(folder: Path, posts: int, shards: int) -> str:
    """Shards of posts whose machine-written share rises from the release on; returns the name of the folder."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for shard in range(shards):
        size = posts // shards
        moment = rng.integers(START, STOP, size)
        machine = rng.random(size) < np.clip((moment - RELEASE) / (STOP - RELEASE), 0, 1) * 0.3
        table = {
            "id": np.arange(shard * size, (shard + 1) * size),
            "created_at": moment.astype("M8[s]"),
            "platform": np.where(rng.random(size) < 0.5, "A", "B"),
            "score": scores(machine, rng),
        }
        pq.write_table(pa.table(table), folder / f"part-{shard:03d}.parquet")
    return folder.name


def scores(machine: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return 1 / (1 + np.exp(-3 * (rng.standard_normal(machine.size) + np.where(machine, 1.5, -1.5))))


def write_labelled(path: Path) -> None:
    machine = np.arange(2_000) % 2 == 1
    pq.write_table(pa.table({"label": machine.astype(int), "score": scores(machine, np.random.default_rng(1))}), path)


def measured(what: str, root: Path, folder: int | str) -> dict[str, Any]:
    """Seconds and megabytes of a process of its own, imports left out of the seconds."""
    command = [sys.executable, "-m", "benchmarks.post_stream", what, str(root / str(folder)), str(root / "labelled.parquet")]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def audit(folder: str, labelled: str) -> None:
    import assaymark as am

    am.audit(
        "generated-text-prevalence",
        {"posts": f"{folder}/*.parquet", "labelled": labelled},
        models={"detector.score": "column:score"},
    ).report(f"{folder}/report.html")


def count_with_pandas(folder: str, labelled: str) -> None:
    import pandas as pd

    del labelled
    posts = pd.concat([pd.read_parquet(path) for path in sorted(Path(folder).glob("*.parquet"))])
    month = posts["created_at"].dt.to_period("M")
    (posts["score"] >= 0.5).groupby([posts["platform"], month]).mean()


if __name__ == "__main__":
    import assaymark.audits.generated_text_prevalence.audit  # noqa: F401 - imports are not what is timed
    from benchmarks import peak_megabytes

    began = time.perf_counter()
    {"audit": audit, "pandas": count_with_pandas}[sys.argv[1]](*sys.argv[2:])
    print(json.dumps({"seconds": time.perf_counter() - began, "megabytes": peak_megabytes()}))
