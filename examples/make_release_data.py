"""Write the input of `release_gate.yaml`: a made-up data set with LAION's columns and the scores of a text model.

    python examples/make_release_data.py FOLDER

Of the texts, 2 % are hateful by construction; the planted model finds 0.8 of them, and flags 0.01 of the others.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from assaymark.audits.image_text_dataset.planted import planted_tables

ROWS, SHARDS, HATEFUL = 12_000, 4, 0.02


def write(folder: Path, *, seed: int = 0) -> None:
    rng = np.random.default_rng(seed)
    table = planted_tables(seed, ROWS).table
    found = rng.random(ROWS) < np.where(rng.random(ROWS) < HATEFUL, 0.8, 0.01)
    scores = np.where(found, rng.uniform(0.55, 0.99, ROWS), rng.beta(0.6, 12, ROWS) * 0.5)
    table = table.append_column("hateful", pa.array(scores.astype(np.float32)))
    (folder / "captions").mkdir(parents=True, exist_ok=True)
    for shard in range(SHARDS):
        part = table.slice(shard * ROWS // SHARDS, ROWS // SHARDS)
        pq.write_table(part, folder / "captions" / f"part-{shard:05d}.parquet")
    (folder / "words.txt").write_text("porn\nxxx\n", encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1] if len(sys.argv) > 1 else "."))
