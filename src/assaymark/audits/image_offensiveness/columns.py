"""Columns of an input that are no concept of every data set: ratings, raters, slices, prompts of generated images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow.compute as pc

from assaymark.data.dataset import Dataset
from assaymark.errors import InputError, ModelError, SchemaError, nearest

__all__ = ["content_of", "embedding_width", "with_texts"]


def with_texts(dataset: Dataset, columns: Mapping[str, str]) -> Dataset:
    """The data set with further columns known as texts, `{name: column}`.

    Raises
    ------
    SchemaError
        For a column that is not there.
    """
    for column in columns.values():
        if column not in dataset.columns:
            hint = nearest(column, dataset.columns) or f"; columns: {', '.join(dataset.columns)}"
            raise SchemaError(f"{dataset.source}: no column {column!r}{hint}")
    return replace(dataset, mapping={**dataset.mapping, **columns})


def content_of(dataset: Dataset, encoder: Any, *, name: str) -> str:
    """The concept that is scored: stored embeddings where there are any, else pictures, which need an encoder.

    Raises
    ------
    SchemaError, InputError
        Neither of the two, or pictures and no encoder.
    ModelError
        Pictures, and an encoder of texts alone.
    """
    if "embedding" in dataset:
        return "embedding"
    if "image" not in dataset:
        dataset.require("embedding" if "image" not in dataset.unfit else "image")
    if encoder is None:
        raise InputError(
            f"input {name!r} holds pictures: give the encoder that the prompts belong to, --model encoder=SPEC, or give stored "
            "embeddings (a list column 'embedding', .npy or .npz)"
        )
    if not hasattr(encoder, "embed_images"):
        raise ModelError(f"model {encoder.spec} does not embed images, which the pictures of input {name!r} need")
    return "image"


def embedding_width(dataset: Dataset) -> int | None:
    """Numbers in most of the first stored embeddings; None where no row holds one."""
    for shard in dataset.shards:
        if shard.path in dataset.failed:
            continue
        for part in dataset.reader.parts(shard):
            for batch in dataset.batches(part, ["embedding"]):
                widths = pc.fill_null(pc.list_value_length(batch.table.column(0)), 0).to_numpy(zero_copy_only=False)
                if widths.any():
                    return int(np.bincount(widths[widths > 0]).argmax())
    return None
