"""Cross-tabulation of the data set's own NSFW tag, or punsafe, with every flag we can compute."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.audits.image_text_dataset.probes.hate_content import tag_codes, toxic_flag
from assaymark.audits.image_text_dataset.probes.vocabulary import Vocabulary
from assaymark.data.probe import Batch, Probe

__all__ = ["TagCounts", "TagProbe", "flags_of"]


class TagCounts(NamedTuple):
    """For each flag (weak unsafe label, lexicon, text toxicity, image, human label): counts by tag and punsafe."""

    flags: tuple[str, ...]
    tags: dict[str, dict[str, tuple[int, int]]]  # flag -> tag -> (rows where the flag is known, rows flagged)
    cutoffs: npt.NDArray[np.float64]
    below: dict[str, npt.NDArray[np.int64]]  # flag -> (2, n_cutoffs): known rows and flagged rows with punsafe <= cut-off
    rows: int
    totals: dict[str, tuple[int, int]]  # flag -> (rows where the flag is known, rows flagged)


class FlagSource(NamedTuple):
    """Which scores stand behind the flags; an empty label list means that there is none."""

    vocabulary: Vocabulary
    text_labels: tuple[str, ...] = ()
    image_labels: tuple[str, ...] = ()
    theta: float = 0.5
    image_threshold: float = 0.5


def flags_of(batch: Batch, source: FlagSource) -> dict[str, npt.NDArray[np.float64]]:
    """0/1 per row for each available flag, NaN where unknown."""
    flags: dict[str, npt.NDArray[np.float64]] = {}
    if "text" in batch:
        flags["unsafe tokens"] = source.vocabulary.unsafe(batch).astype(float)
        if source.vocabulary.lexicons:
            flags["lexicon"] = source.vocabulary.lexicon_flag(batch).astype(float)
    if source.text_labels:
        flags["text toxicity"] = toxic_flag(batch, "text_toxicity", source.text_labels, source.theta)
    if source.image_labels:
        flags["image"] = toxic_flag(batch, "image_unsafe", source.image_labels, source.image_threshold)
    if "label" in batch:
        flags["human label"] = human_label(batch)
    return flags


def human_label(batch: Batch) -> npt.NDArray[np.float64]:
    """A `label` column of 0/1 or true/false; anything else is unknown."""
    values = batch.column("label").to_pylist()
    read = {"1": 1.0, "true": 1.0, "1.0": 1.0, "0": 0.0, "false": 0.0, "0.0": 0.0}
    return np.array([read.get(str(value).strip().lower(), np.nan) for value in values], dtype=float)


class TagProbe(Probe):
    name = "tag_audit"

    def __init__(self, source: FlagSource, *, cutoffs: Sequence[float]) -> None:
        scores = [f"text_toxicity.{x}" for x in source.text_labels] + [f"image_unsafe.{x}" for x in source.image_labels]
        self.optional = ("text", "url", "tag", "punsafe", "label", *scores)
        self.source, self.cutoffs = source, np.asarray(sorted(cutoffs), dtype=float)

    def aggregate(self, batch: Batch) -> Mapping[str, Any]:
        state: dict[str, Any] = {"rows": batch.rows, "known": {}, "flagged": {}, "total": {}, "total_flagged": {}}
        flags = flags_of(batch, self.source)
        names, codes = tag_codes(batch) if "tag" in batch else ([], np.zeros(0, np.int64))
        punsafe = batch.numbers("punsafe") if "punsafe" in batch else None
        for flag, values in flags.items():
            known, hit = ~np.isnan(values), values == 1
            state["total"][flag], state["total_flagged"][flag] = int(known.sum()), int(hit.sum())
            for i, tag in enumerate(names):
                inside = codes == i
                state["known"][f"{flag}|{tag}"] = int((inside & known).sum())
                state["flagged"][f"{flag}|{tag}"] = int((inside & hit).sum())
            if punsafe is not None:
                kept = punsafe[:, None] <= self.cutoffs  # NaN compares false: a row without punsafe is not kept
                counts = np.stack([(kept & known[:, None]).sum(axis=0), (kept & hit[:, None]).sum(axis=0)])
                state[f"below|{flag}"] = counts.astype(np.int64)
        return state

    def finalize(self, state: Mapping[str, Any]) -> TagCounts:
        tags: dict[str, dict[str, tuple[int, int]]] = {}
        for key, known in sorted(state["known"].items()):
            flag, _, tag = key.partition("|")
            tags.setdefault(flag, {})[tag] = (int(known), int(state["flagged"].get(key, 0)))
        below = {key.partition("|")[2]: value for key, value in state.items() if key.startswith("below|")}
        flags = tuple(dict.fromkeys([*tags, *below]))
        totals = {flag: (int(n), int(state["total_flagged"].get(flag, 0))) for flag, n in sorted(state["total"].items())}
        return TagCounts(flags, tags, self.cutoffs, below, int(state["rows"]), totals)
