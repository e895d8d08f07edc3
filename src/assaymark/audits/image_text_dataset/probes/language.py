"""A row-order-independent sample of distinct texts whose language is guessed when the data set does not say it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from assaymark.audits.image_text_dataset.probes.sample import bottom_order, hash_strings
from assaymark.audits.image_text_dataset.probes.vocabulary import blank_texts, texts
from assaymark.data.lexicon_text import string_buffer
from assaymark.data.probe import Batch, Probe

__all__ = ["LANGUAGES", "LanguageProbe"]

LANGUAGES = (
    "ar",
    "cs",
    "da",
    "de",
    "en",
    "eo",
    "es",
    "fa",
    "fi",
    "fr",
    "he",
    "hi",
    "hu",
    "id",
    "it",
    "ja",
    "ko",
    "nl",
    "no",
    "pl",
    "pt",
    "ro",
    "ru",
    "sv",
    "th",
    "tr",
    "uk",
    "vi",
    "zh",
)
"""Candidates of the guess. Short alt-texts drift to rare languages when all 97 of the model are allowed."""

LONGEST = 1000
"""Characters of a text that are looked at."""


class LanguageProbe(Probe):
    """`finalize` gives guessed language -> texts of the sample. A weak label: alt-texts are short and full of names."""

    name = "language"
    columns = ("text",)

    def __init__(self, *, size: int) -> None:
        self.size = size

    def aggregate(self, batch: Batch) -> Mapping[str, Any]:
        values = texts(batch)
        rows = np.flatnonzero(~blank_texts(batch))
        keys = batch.once("text hash", lambda: hash_strings(values))
        columns = {"keys": keys[rows], **{name: batch.numbers(name)[rows].astype(np.int64) for name in ("shard", "row")}}
        kept = bottom_order(columns, self.size)
        chosen = values.take(pa.array(rows[kept]))
        return {**_rows(columns, kept), **_packed(pc.utf8_slice_codeunits(chosen, 0, LONGEST))}

    def combine(self, states: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        columns = {name: np.concatenate([state[name] for state in states]) for name in ("keys", "shard", "row")}
        kept = bottom_order(columns, self.size)
        chosen = pa.concat_arrays([_unpacked(state) for state in states]).take(pa.array(kept))
        return {**_rows(columns, kept), **_packed(chosen)}

    def finalize(self, state: Mapping[str, Any]) -> dict[str, int]:
        identify = _identifier()
        return dict(Counter(identify(text)[0] for text in _unpacked(state).to_pylist()).most_common())


def _rows(columns: Mapping[str, npt.NDArray[Any]], kept: npt.NDArray[np.int64]) -> dict[str, Any]:
    return {name: values[kept] for name, values in columns.items()}


@cache
def _identifier() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    model = LanguageIdentifier.from_model_file(MODEL_FILE)
    model.set_languages(LANGUAGES)
    return model.classify


def _packed(values: pa.Array) -> dict[str, Any]:
    """Strings as one byte array and their offsets, the form that a probe state may hold."""
    buffer = string_buffer(values)
    return {"bytes": buffer.data, "offsets": buffer.edges}


def _unpacked(state: Mapping[str, Any]) -> pa.Array:
    offsets, raw = np.asarray(state["offsets"], np.int64), np.asarray(state["bytes"], np.uint8)
    return pa.LargeStringArray.from_buffers(len(offsets) - 1, pa.py_buffer(offsets), pa.py_buffer(raw))
