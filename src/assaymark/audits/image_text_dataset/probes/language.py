"""A row-order-independent sample of distinct texts whose language is guessed when the data set does not say it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from assaymark.audits.image_text_dataset.probes.sample import bottom_rows, hash_strings, merge_bottom
from assaymark.audits.image_text_dataset.probes.vocabulary import blank_texts, texts
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
        state = bottom_rows(batch, keys, rows, self.size)
        place = _place(batch.numbers("shard"), batch.numbers("row"))
        order = np.argsort(place)
        chosen = order[np.searchsorted(place, _place(state["shard"], state["row"]), sorter=order)]
        return {**state, **_packed(pc.utf8_slice_codeunits(values.take(pa.array(chosen)), 0, LONGEST))}

    def combine(self, states: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        kept = merge_bottom(states, self.size)
        place = {
            (int(s), int(r)): (i, j)
            for i, state in enumerate(states)
            for j, (s, r) in enumerate(zip(state["shard"], state["row"], strict=True))
        }
        unpacked = [_unpacked(state) for state in states]
        chosen = [place[(int(s), int(r))] for s, r in zip(kept["shard"], kept["row"], strict=True)]
        return {**kept, **_packed(pa.array([unpacked[i][j] for i, j in chosen], pa.large_string()))}

    def finalize(self, state: Mapping[str, Any]) -> dict[str, int]:
        identify = _identifier()
        return dict(Counter(identify(text)[0] for text in _unpacked(state)).most_common())


def _place(shard: npt.NDArray[Any], row: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    return shard.astype(np.int64) << 40 | row.astype(np.int64)


@cache
def _identifier() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    model = LanguageIdentifier.from_model_file(MODEL_FILE)
    model.set_languages(LANGUAGES)
    return model.classify


def _packed(values: pa.Array) -> dict[str, Any]:
    """Strings as one byte array and their offsets, the form that a probe state may hold."""
    encoded = [value.encode("utf-8", "surrogatepass") for value in values.to_pylist()]
    return {
        "bytes": np.frombuffer(b"".join(encoded), dtype=np.uint8),
        "offsets": np.cumsum([0, *map(len, encoded)]).astype(np.int64),
    }


def _unpacked(state: Mapping[str, Any]) -> list[str]:
    raw, offsets = np.asarray(state["bytes"], dtype=np.uint8).tobytes(), state["offsets"]
    return [raw[a:b].decode("utf-8", "replace") for a, b in pairwise(offsets.tolist())]
