"""Annotations of the flagged images: an image may have several, in a table of their own, as OpenImages publishes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from assaymark.errors import SchemaError, nearest

__all__ = ["Annotations", "count_annotations"]

ID_NAMES = ("id", "image_id", "ImageID")
LABEL_NAMES = ("label", "class", "LabelName", "DisplayName")


class Annotations(NamedTuple):
    """Images and flagged images by label; `matched` of `images` scored images have an annotation."""

    names: list[str]
    n: npt.NDArray[np.int64]
    flagged: npt.NDArray[np.int64]
    matched: int
    images: int


def count_annotations(table: pa.Table, scores: Path) -> Annotations:
    """Join the annotations with the file of scores by image id; each label counts once for an image.

    Raises
    ------
    SchemaError
        The annotations lack a column of ids or labels.
    """
    key, label = _column(table, ID_NAMES), _column(table, LABEL_NAMES)
    scored = pq.read_table(scores, columns=["id", "flag"])
    pairs = pa.table({"id": table.column(key).cast(pa.large_string()), "label": table.column(label).cast(pa.large_string())})
    pairs = pairs.filter(pc.and_(pc.is_valid(pairs["id"]), pc.is_valid(pairs["label"]))).group_by(["id", "label"]).aggregate([])
    known = scored.filter(pc.is_valid(scored["id"])).group_by("id").aggregate([("flag", "max")])
    joined = pairs.join(known, "id", join_type="inner")
    counts = joined.append_column("one", pa.array(np.ones(joined.num_rows, np.int64)))
    counts = counts.append_column("hit", counts["flag_max"].cast(pa.int64()))
    counts = counts.group_by("label").aggregate([("one", "sum"), ("hit", "sum")]).sort_by("label")
    matched = len(pc.unique(joined["id"]))
    return Annotations(
        counts["label"].to_pylist(),
        np.asarray(counts["one_sum"].to_numpy(), dtype=np.int64),
        np.asarray(counts["hit_sum"].to_numpy(), dtype=np.int64),
        matched,
        scored.num_rows,
    )


def _column(table: pa.Table, names: tuple[str, ...]) -> str:
    found: Any = next((name for name in names if name in table.column_names), None)
    if found is None:
        hint = nearest(names[0], table.column_names) or f"; columns: {', '.join(table.column_names)}"
        raise SchemaError(f"input 'annotations': no column {' or '.join(map(repr, names))}{hint}")
    return str(found)
