"""Pairs whose embeddings are given: any framework can be audited, without a model and without pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from assaymark.audits.clip_memorization.config import ClipMemorizationConfig
from assaymark.audits.clip_memorization.measures.scoring import HeldOut, ModelScores, Scores
from assaymark.audits.clip_memorization.method.alignment import alignment
from assaymark.audits.clip_memorization.method.towers import view_distance
from assaymark.audits.clip_memorization.reading import Pool
from assaymark.errors import InputError, SchemaError
from assaymark.result import Flow

__all__ = ["COLUMNS", "score_stored", "write_embeddings"]

COLUMNS = ("image_f", "text_f", "image_g", "text_g")
Floats = npt.NDArray[np.float32]


def write_embeddings(path: Path | str, ids: list[str], **arrays: Any) -> None:
    """Write the input `embeddings` from arrays.

    Parameters
    ----------
    path : of the Parquet file
    ids : list of n str
        Of the pairs, as in the input `pairs`.
    arrays : image_f, text_f, image_g, text_g; shape (n, K, d) or (n, d)
        The same K views under both models; texts may have one view. Rows need not have unit length.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if set(arrays) != set(COLUMNS):
        raise InputError(f"embeddings are {', '.join(COLUMNS)}; given: {', '.join(sorted(arrays)) or 'none'}")
    columns = {name: [row.ravel() for row in np.asarray(array, dtype=np.float32)] for name, array in arrays.items()}
    kinds = {name: pa.array(rows, pa.list_(pa.float32())) for name, rows in columns.items()}
    pq.write_table(pa.table({"id": ids, **kinds}), path)


def score_stored(pool: Pool, tests: Pool, stored: Any, config: ClipMemorizationConfig, task: Any) -> Scores:
    """Scores of pairs from the input `embeddings`; held-out pairs are those of `tests`, by their first view.

    Raises
    ------
    SchemaError
        A column is missing, or rows are of different length.
    InputError
        Not a whole number of views.
    """
    stored.require("id", *COLUMNS)
    table = stored.read()
    ids = [str(value) for value in table.column(stored.mapping["id"]).to_pylist()]
    place = {identity: row for row, identity in enumerate(ids)}
    arrays = {name: _matrix(table.column(name).to_pylist(), name) for name in COLUMNS}
    arrays = {name: _unit_views(arrays, name, config.embedded_views) for name in COLUMNS}
    known, held = (np.array([row for row, i in enumerate(part.ids) if i in place], dtype=np.int64) for part in (pool, tests))
    here, readable = pool.take(known), tests.take(held)
    rows, test_rows = (np.array([place[i] for i in part.ids], dtype=np.int64) for part in (here, readable))
    models, held_out = {}, {}
    for name in ("f", "g"):
        images, texts = arrays[f"image_{name}"], arrays[f"text_{name}"]
        held_out[name] = HeldOut(images[test_rows, 0], texts[test_rows, 0], np.arange(len(test_rows)))
        u, v = images[rows], texts[rows]
        aligned = alignment(u, v, means=held_out[name].means)
        models[name] = ModelScores(*aligned, view_distance(u), view_distance(v), u[:, 0], v[:, 0])
        task.advance(len(rows))
    lost = len(pool) - len(here)
    flow = Flow("pairs chosen to be scored", len(pool), len(here), failed={"no embedding": lost} if lost else {}, unit="pairs")
    return Scores(here, models, readable, held_out, flow, 0)


def _matrix(rows: list[Any], name: str) -> Floats:
    """Lists of numbers as rows of a matrix; a null list is NaN."""
    lengths = {len(row) for row in rows if row is not None}
    if len(lengths) > 1:
        raise SchemaError(f"input 'embeddings': rows of {name} have {' and '.join(map(str, sorted(lengths)[:2]))} numbers")
    blank = np.full(lengths.pop() if lengths else 0, np.nan, np.float32)
    return np.stack([blank if row is None else np.asarray(row, np.float32) for row in rows]) if rows else blank[None][:0]


def _unit_views(arrays: dict[str, Floats], name: str, views: int) -> Floats:
    """Unit rows, shape (n, K, d): d comes from the pictures of the model, whose views are stated."""
    width, images = arrays[name].shape[1], arrays[f"image_{name[-1]}"].shape[1]
    dimension = images // views
    if images % views or (dimension and width % dimension):
        raise InputError(
            f"input 'embeddings': {name} has {width} numbers a row, which is no whole number of views of {images / views:g}: "
            "set embedded_views to the views in a row"
        )
    shaped = arrays[name].reshape(len(arrays[name]), -1, dimension) if dimension else arrays[name][:, None]
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(shaped / np.linalg.norm(shaped, axis=2, keepdims=True), dtype=np.float32)
