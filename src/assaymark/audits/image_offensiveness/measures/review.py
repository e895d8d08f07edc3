"""The review queue that people get: some images of every stratum, a stratum being a score bin of a class."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from assaymark.audits.image_offensiveness.measures.row_names import row_names
from assaymark.audits.image_offensiveness.probes.classes import ClassCounts, StratumSample
from assaymark.data.dataset import Dataset
from assaymark.result import Artifact

__all__ = ["OTHER", "Queue", "bin_names", "build_queue", "write_queue"]

Ints = npt.NDArray[np.int64]

OTHER = "(other classes)"
QUEUE = "review_queue"
COLUMNS = ("shard", "row", "score_bin", "class", "copies", "flagged", "score")


class Queue(NamedTuple):
    """Strata and the rows to look at.

    Attributes
    ----------
    classes : list of str: classes with strata of their own, and `OTHER` last where more were pooled
    sizes : int64 array, shape (bins, classes): scored rows of each stratum
    lower : float64 array, shape (bins,): least score of each bin
    stratum : int64 array, shape (rows,): bin * classes + class
    bin, class_code, shard, row, copies, flagged : int64 arrays; score : float64 array
    """

    classes: list[str]
    bins: list[str]
    lower: npt.NDArray[np.float64]
    sizes: Ints
    stratum: Ints
    bin: Ints
    class_code: Ints
    shard: Ints
    row: Ints
    copies: Ints
    flagged: Ints
    score: npt.NDArray[np.float64]


def bin_names(edges: tuple[float, ...]) -> list[str]:
    """Names of the score bins between inner edges."""
    limits = (0.0, *edges, 1.0)
    return [f"{low:g} to {high:g}" for low, high in itertools.pairwise(limits)]


def build_queue(counts: ClassCounts, edges: tuple[float, ...], *, per_stratum: int, own_classes: int) -> Queue:
    """Strata of the classes with most flags, all other classes pooled; the smallest hashes of each stratum are its sample.

    The smallest hashes of a union lie among the smallest of its parts, so pooling keeps the sample random.
    """
    order = np.lexsort((counts.keys, -counts.bins.sum(axis=1), -counts.flagged))
    own = order[:own_classes] if len(order) > own_classes + 1 else order
    names = [counts.names[i] for i in own]
    pooled = len(own) < len(counts.names)
    code_of = dict(zip(counts.keys[own].tolist(), range(len(own)), strict=True))
    width = len(own) + pooled
    sizes = np.zeros((len(edges) + 1, max(width, 1)), dtype=np.int64)
    sizes[:, : len(own)] = counts.bins[own].T
    if pooled:
        rest = np.setdiff1d(np.arange(len(counts.names)), own)
        sizes[:, len(own)] = counts.bins[rest].sum(axis=0)
        names = [*names, OTHER]
    sample = counts.sample
    codes = np.array([code_of.get(key, len(own)) for key in sample.class_key.tolist()], dtype=np.int64)
    stratum = sample.bin * max(width, 1) + codes
    ranked = np.lexsort((sample.key, stratum))
    stratum_sorted = stratum[ranked]
    rank = np.arange(len(ranked)) - np.searchsorted(stratum_sorted, stratum_sorted)
    kept = ranked[rank < per_stratum]
    return _queue(names or [""], edges, sizes, stratum, codes, sample, kept)


def _queue(
    names: list[str], edges: tuple[float, ...], sizes: Ints, stratum: Ints, codes: Ints, sample: StratumSample, kept: Ints
) -> Queue:
    score = 1.0 / (1.0 + np.exp(-np.clip(sample.log_odds[kept].astype(np.float64), -60, 60)))
    return Queue(
        names,
        bin_names(edges),
        np.array([0.0, *edges]),
        sizes,
        stratum[kept],
        sample.bin[kept],
        codes[kept],
        sample.shard[kept],
        sample.row[kept],
        sample.copies[kept],
        sample.flagged[kept],
        score,
    )


def write_queue(queue: Queue, dataset: Dataset, folder: Path, *, prompts: str) -> list[Artifact]:
    """`review_queue.parquet` and `.csv`: one line an image, with an empty verdict. They name rows, so they are private.

    The fingerprints of prompts and data set go with them: other prompts put the same images into other strata, and of other
    images the verdicts say nothing.
    """
    table = pa.table(
        {
            "shard": queue.shard,
            "row": queue.row,
            **row_names(dataset, queue.shard, queue.row),
            "score_bin": [queue.bins[i] for i in queue.bin],
            "class": [queue.classes[i] for i in queue.class_code],
            "copies": queue.copies,
            "flagged": queue.flagged,
            "score": np.round(queue.score, 6),
            "prompts": [prompts] * len(queue.row),
            "data": [dataset.fingerprint] * len(queue.row),
            "verdict": pa.array([""] * len(queue.row), pa.string()),
        }
    )
    from pyarrow import csv

    pq.write_table(table, folder / f"{QUEUE}.parquet")
    csv.write_csv(table, folder / f"{QUEUE}.csv")
    text = "images to look at: fill in verdict (1 offensive, 0 not) and give the file back as the input verdicts"
    return [
        Artifact(QUEUE, "table", f"{QUEUE}.parquet", text, private=True),
        Artifact(f"{QUEUE}_csv", "table", f"{QUEUE}.csv", f"{text}, as a spreadsheet", private=True),
    ]
