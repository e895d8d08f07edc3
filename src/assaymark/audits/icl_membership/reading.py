"""From the input to the texts that games are drawn from: read once, without near-duplicates, in two disjoint halves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from assaymark.audit import Context
from assaymark.audits.icl_membership.config import ServiceConfig
from assaymark.audits.icl_membership.probes.pool import PoolProbe, PoolTexts
from assaymark.audits.icl_membership.wording import label_words
from assaymark.data.hashing import mixed
from assaymark.data.near_text import near_duplicate_groups
from assaymark.data.scan import scan
from assaymark.result import Flow

__all__ = ["Pool", "read_pool", "read_public"]

NEAR = "nearly repeats another text"


@dataclass(frozen=True)
class Pool:
    """Texts with labels.

    Attributes
    ----------
    key : uint64 array, shape (n,)
        Hash of each text.
    text : list of str
    label : int array, shape (n,)
        Place in `names`.
    names : tuple of str
        Label words as they stand in the prompt, most frequent first.
    target, shadow : int arrays
        Rows of the two halves: games that count are drawn from the first, games that fit thresholds from the second.
    lack : str
        Why no game can be drawn from the texts; empty where it can.
    """

    key: npt.NDArray[np.uint64]
    text: list[str]
    label: npt.NDArray[np.int64]
    names: tuple[str, ...]
    target: npt.NDArray[np.int64]
    shadow: npt.NDArray[np.int64]
    lack: str
    flow: Flow
    notes: tuple[str, ...]


def read_pool(dataset: Any, config: ServiceConfig, context: Context, *, needed: int, name: str = "pool") -> Pool:
    """Texts of an input; `needed` is how many each half must have at least."""
    dataset.require("text", "label")
    with context.progress.task("reading", total=dataset.rows, unit="texts") as task:
        outcome = scan(
            dataset,
            [PoolProbe(config.max_pool)],
            engine=context.engine,
            checkpoint=None if context.work is None else context.work / name,
            task=task,
            log=context.log,
        )
    found: PoolTexts = outcome.answers["pool"]
    single = _single(found.text, config, context)
    words = label_words([found.label[row] for row in single], config)
    names = _names(words)
    key = found.key[single]
    shadow = (mixed(key ^ np.uint64(0x5AD0)) & np.uint64(1)).astype(bool)
    halves = [np.flatnonzero(~shadow), np.flatnonzero(shadow)]
    skipped = {**found.skipped, NEAR: len(found.text) - len(single)}
    flow = outcome.flow
    used = flow.used - sum(skipped.values())
    return Pool(
        key,
        [found.text[row] for row in single],
        np.array([names.index(word) for word in words]),
        names,
        halves[0],
        halves[1],
        _lack(names, halves, needed),
        Flow(flow.source, flow.total, used, {**flow.skipped, **{k: n for k, n in skipped.items() if n}}, flow.failed),
        (*dataset.notes, *outcome.notes),
    )


def _lack(names: tuple[str, ...], halves: Sequence[npt.NDArray[np.int64]], needed: int) -> str:
    if len(names) < 2:
        has = f"the one label {names[0]!r}" if names else "no text with a label"
        return f"the pool has {has}; a service that classifies needs at least two labels"
    for half, what in zip(halves, ("that are attacked", "that fit thresholds"), strict=True):
        if len(half) < needed:
            whole = sum(map(len, halves))
            return (
                f"of {whole:,} different texts {len(half):,} fall to the half {what}, and {needed:,} are needed "
                "(demonstrations and one outsider): give more texts, or fewer demonstrations"
            )
    return ""


def read_public(dataset: Any, config: ServiceConfig, context: Context) -> Pool | None:
    """Texts that are nobody's secret, where there are any."""
    return None if dataset is None else read_pool(dataset, config, context, needed=0, name="public")


def _single(texts: Sequence[str], config: ServiceConfig, context: Context) -> npt.NDArray[np.int64]:
    """Rows without a near-duplicate before them: an outsider that nearly is a member would corrupt the truth."""
    if not config.near_duplicates:
        return np.arange(len(texts))
    groups = near_duplicate_groups(texts, threshold=config.near_duplicates, seed=context.seed)
    return np.flatnonzero(groups == np.arange(len(texts)))


def _names(words: Sequence[str]) -> tuple[str, ...]:
    counts = Counter(words)
    return tuple(sorted(counts, key=lambda word: (-counts[word], word)))
