"""Rated and labelled pictures with a planted meaning of "offensive": red. Nothing about red is; that makes it a plant."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from assaymark.demo.encoder import COLOURS, SHAPES, draw_picture

__all__ = ["OFFENSIVE", "offensive_share", "write_pictures"]

OFFENSIVE = "red"

RATED, LABELLED = 300, 600


def write_pictures(folder: Path, *, seed: int) -> None:
    """Write `rated.parquet` (pictures and mean ratings from 1 to 5) and `labelled.parquet` (pictures and labels)."""
    rng = np.random.default_rng([seed, 2])
    folder.mkdir(parents=True, exist_ok=True)
    offensive = rng.random(RATED) < 0.4
    mean = np.where(offensive, 1.9, 4.0) + 0.35 * rng.standard_normal(RATED)
    ratings = {"image": _pictures(offensive, rng), "rating": np.clip(mean, 1, 5).round(2)}
    pq.write_table(pa.table(ratings), folder / "rated.parquet")
    offensive = rng.random(LABELLED) < 0.5
    labels = {"image": _pictures(offensive, rng), "label": np.where(offensive, "unsafe", "safe")}
    pq.write_table(pa.table(labels), folder / "labelled.parquet")


def offensive_share(*shards: Path) -> float:
    """Share of red pictures in shards of the data set, whose captions name the colour of each."""
    texts = pa.concat_tables([pq.read_table(shard, columns=["TEXT"]) for shard in shards]).column("TEXT")
    return float(pc.mean(pc.match_substring_regex(texts, rf"\b{OFFENSIVE}\b").cast(pa.float64())).as_py())


def _pictures(offensive: np.ndarray, rng: np.random.Generator) -> list[bytes]:
    others = [colour for colour in COLOURS if colour != OFFENSIVE]
    contents = []
    for red in offensive:
        stream = io.BytesIO()
        colour = OFFENSIVE if red else str(rng.choice(others))
        draw_picture(colour, str(rng.choice(SHAPES)), rng).save(stream, format="PNG", compress_level=1)
        contents.append(stream.getvalue())
    return contents
