"""Counts behind the hate content rate: exceedances, score sums and per-shard counts of a text classifier."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from assaymark.audits.image_text_dataset.probes.vocabulary import blank_texts
from assaymark.data.probe import Batch, Probe, add_states

__all__ = ["HateContentCounts", "HateContentProbe", "toxic_flag"]

Ints = npt.NDArray[np.int64]


class HateContentCounts(NamedTuple):
    """`labels` ends with "any" (the largest of the labels). Axes: label, threshold, shard."""

    labels: tuple[str, ...]
    thresholds: npt.NDArray[np.float64]
    n: int
    empty: int
    unscored: int
    exceeding: Ints  # (n_labels, n_thresholds)
    score_sums: npt.NDArray[np.float64]  # (n_labels,)
    score_squares: npt.NDArray[np.float64]  # (n_labels,)
    shards: Ints  # (n_shards,)
    shard_n: Ints  # (n_shards,)
    shard_exceeding: Ints  # (n_shards, n_labels) at theta
    tags: dict[str, tuple[int, int, float, float]]  # tag -> n, texts over theta, sum and sum of squares of the max score


def scores_of(batch: Batch, role: str, labels: tuple[str, ...]) -> npt.NDArray[np.float64]:
    """Scores with the running maximum as last column, shape (rows, n_labels + 1); NaN where a text was not scored."""

    def stack() -> npt.NDArray[np.float64]:
        columns = np.stack([batch.numbers(f"{role}.{label}") for label in labels], axis=1)  # (rows, labels)
        return np.concatenate([columns, columns.max(axis=1, keepdims=True)], axis=1)

    return batch.once(("scores", role), stack)


def toxic_flag(batch: Batch, role: str, labels: tuple[str, ...], theta: float) -> npt.NDArray[np.float64]:
    """QF = 1[max_j P_j > theta] as 0/1, NaN where the text was not scored (2311.03449)."""
    highest = scores_of(batch, role, labels)[:, -1]
    return np.where(np.isnan(highest), np.nan, (highest > theta).astype(float))


class HateContentProbe(Probe):
    """Needs the score columns `text_toxicity.<label>`; counts sampled rows only.

    An empty text is in n with score 0 (`empty="zero"`, as published) or leaves the denominator (`"exclude"`).
    """

    name = "hate_content"
    optional = ("tag",)

    def __init__(self, labels: tuple[str, ...], *, thresholds: Sequence[float], theta: float, empty: str = "zero") -> None:
        self.labels, self.theta, self.empty = labels, theta, empty
        self.columns = ("text", *(f"text_toxicity.{label}" for label in labels))
        self.thresholds = np.asarray(sorted({*thresholds, theta}))

    def aggregate(self, batch: Batch) -> Mapping[str, Any]:
        scores = scores_of(batch, "text_toxicity", self.labels)
        sampled = np.ones(batch.rows, bool) if "sampled" not in batch else batch.numbers("sampled").astype(bool)
        blank = blank_texts(batch) & sampled
        missing = np.isnan(scores[:, -1]) & sampled & ~blank
        counted = sampled & ~missing & (~blank if self.empty == "exclude" else True)
        kept = np.where(blank[:, None], 0.0, np.nan_to_num(scores))[counted]  # (n, labels + 1)
        over = kept > self.theta
        shard = batch.numbers("shard")[counted].astype(np.int64)
        state: dict[str, Any] = {
            "n": int(counted.sum()),
            "empty": int(blank.sum()),
            "unscored": int(missing.sum()),
            "exceeding": (kept[:, :, None] > self.thresholds).sum(axis=0, dtype=np.int64),
            "sums": np.rint(kept * 1e6).astype(np.int64).sum(axis=0),  # millionths: integers add exactly in any order
            "squares": np.rint(kept**2 * 1e6).astype(np.int64).sum(axis=0),
            **_by_shard(shard, over),
        }
        tags = _counts_by_tag(batch, counted, over[:, -1], kept[:, -1])
        return {**state, **tags}

    def combine(self, states: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        merged = add_states([{k: v for k, v in s.items() if not k.startswith("shard")} for s in states])
        shards = np.concatenate([s["shard"] for s in states])
        ids, where = np.unique(shards, return_inverse=True)
        for name in ("shard_n", "shard_over"):
            values = np.concatenate([s[name] for s in states])
            total = np.zeros((len(ids), *values.shape[1:]), dtype=np.int64)
            np.add.at(total, where, values)
            merged[name] = total
        return {**merged, "shard": ids}

    def finalize(self, state: Mapping[str, Any]) -> HateContentCounts:
        tags = {
            t: (n, state["tag_over"].get(t, 0), state["tag_sum"].get(t, 0) / 1e6, state["tag_square"].get(t, 0) / 1e6)
            for t, n in sorted(state["tag_n"].items())
        }
        return HateContentCounts(
            (*self.labels, "any"),
            self.thresholds,
            int(state["n"]),
            int(state["empty"]),
            int(state["unscored"]),
            state["exceeding"],
            state["sums"] / 1e6,
            state["squares"] / 1e6,
            state["shard"],
            state["shard_n"],
            state["shard_over"],
            tags,
        )


def _by_shard(shard: Ints, over: npt.NDArray[np.bool_]) -> dict[str, Ints]:
    ids, where = np.unique(shard, return_inverse=True)
    counts = np.zeros((len(ids), over.shape[1]), dtype=np.int64)
    np.add.at(counts, where, over.astype(np.int64))
    return {"shard": ids, "shard_n": np.bincount(where, minlength=len(ids)).astype(np.int64), "shard_over": counts}


def _counts_by_tag(
    batch: Batch, counted: npt.NDArray[np.bool_], over: npt.NDArray[np.bool_], highest: npt.NDArray[np.float64]
) -> dict[str, dict[str, int]]:
    """Per tag: n, texts over theta, and the sums of the largest score and its square in millionths."""
    if "tag" not in batch:
        return {name: {} for name in ("tag_n", "tag_over", "tag_sum", "tag_square")}
    names, where = tag_codes(batch)
    present = np.bincount(where[counted], minlength=len(names)) > 0

    def per_tag(weights: npt.NDArray[Any] | None) -> dict[str, int]:
        totals = np.bincount(where[counted], weights=weights, minlength=len(names))
        return {tag: int(total) for tag, total, there in zip(names, totals, present, strict=True) if there}

    return {
        "tag_n": per_tag(None),
        "tag_over": per_tag(over),
        "tag_sum": per_tag(np.rint(highest * 1e6)),
        "tag_square": per_tag(np.rint(highest**2 * 1e6)),
    }


def tag_codes(batch: Batch) -> tuple[list[str], Ints]:
    """Tag values in upper case ("" and null are "EMPTY") and the code of each row."""

    def codes() -> tuple[list[str], Ints]:
        column = pc.fill_null(pc.utf8_upper(pc.utf8_trim_whitespace(batch.column("tag").cast("string"))), "")
        encoded = column.dictionary_encode()
        names = [value or "EMPTY" for value in encoded.dictionary.to_pylist()]
        return names, encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)

    return batch.once("tag codes", codes)
