"""From the input to the texts that games are drawn from: read once, without near-duplicates, in two disjoint halves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from assaymark.audit import Context
from assaymark.audits.icl_membership.config import ServiceConfig
from assaymark.audits.icl_membership.probes.pool import BEYOND, PoolProbe, PoolTexts
from assaymark.audits.icl_membership.wording import check_names, label_words
from assaymark.data.hashing import mixed
from assaymark.data.near_text import near_duplicate_groups
from assaymark.data.scan import scan
from assaymark.errors import ConfigError, InputError, nearest
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
        Rows of the two halves: games that count are drawn from the first, games that fit thresholds from the second; empty
        where no games are drawn.
    lack : str
        Why no game can be drawn from the texts; empty where it can.
    """

    key: npt.NDArray[np.uint64]
    text: list[str]
    label: npt.NDArray[np.int64]
    names: tuple[str, ...]
    target: npt.NDArray[np.int64]
    shadow: npt.NDArray[np.int64]
    flow: Flow
    notes: tuple[str, ...]
    lack: str = ""


def read_pool(dataset: Any, config: ServiceConfig, context: Context, *, needed: int) -> Pool:
    """Texts of the input "pool"; `needed` is how many each half must have at least, else there is a `lack`.

    Raises
    ------
    ConfigError
        Labels that do not fit the settings.
    """
    found = _read(dataset, config, context, "pool")
    odd = tuple(check_names(found.names, config)) if len(found.names) > 1 else ()
    shadow = (mixed(found.key ^ np.uint64(0x5AD0)) & np.uint64(1)).astype(bool)
    halves = np.flatnonzero(~shadow), np.flatnonzero(shadow)
    few = _few(config.trials, len(halves[0]), "judge"), _few(config.shadow_trials, len(halves[1]), "fit thresholds")
    notes = (*found.notes, *odd, *(note for note in few if note))
    return replace(found, target=halves[0], shadow=halves[1], notes=notes, lack=_lack(found, halves, needed))


def _lack(found: Pool, halves: Sequence[npt.NDArray[np.int64]], needed: int) -> str:
    if len(found.names) < 2:
        has = f"the one label {found.names[0]!r}" if found.names else "no labelled text"
        return f"the pool has {has}; a service that classifies needs at least two labels"
    for half, what in zip(halves, ("that are attacked", "that fit thresholds"), strict=True):
        if len(half) < needed:
            return (
                f"of {len(found.text):,} different texts {len(half):,} fall to the half {what}, and {needed:,} are needed "
                "(demonstrations and others); give more texts, or fewer demonstrations"
            )
    return ""


def _few(games: int, texts: int, what: str) -> str:
    """Games are drawn anew, as many as are asked for, out of however few texts."""
    if games <= texts:
        return ""
    return (
        f"{games:,} games that {what} draw on {texts:,} texts, so that texts come again: intervals hold for other prompts of "
        "these texts"
    )


def read_public(dataset: Any, config: ServiceConfig, context: Context) -> Pool | None:
    """Texts that are nobody's secret, where there are any; no game is drawn from them."""
    if dataset is None:
        return None
    found = _read(dataset, config, context, "public")
    if not found.text:
        raise InputError(f"input 'public': {dataset.source} has no labelled text; give some, or leave the input out")
    return found


def _read(dataset: Any, config: ServiceConfig, context: Context, name: str) -> Pool:
    """Different texts with the words for their labels, not divided yet."""
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
    if name == "pool":
        _check_label_words(found, config)
    single = _single(found.text, config, context)
    words = label_words([found.label[row] for row in single], config)
    names = _names(words)
    skipped = {**found.skipped, NEAR: len(found.text) - len(single)}
    flow = outcome.flow
    used = flow.used - sum(skipped.values())
    nothing = np.zeros(0, np.int64)
    return Pool(
        found.key[single],
        [found.text[row] for row in single],
        np.array([names.index(word) for word in words], np.int64),
        names,
        nothing,
        nothing,
        Flow(flow.source, flow.total, used, {**flow.skipped, **{k: n for k, n in skipped.items() if n}}, flow.failed),
        (*dataset.notes, *outcome.notes),
    )


def _check_label_words(found: PoolTexts, config: ServiceConfig) -> None:
    """A setting about a label that no text has is a slip of the pen; of a pool that was cut nobody knows."""
    labels = set(found.label)
    for label in config.label_words:
        if label not in labels and not found.skipped[BEYOND]:
            raise ConfigError(f"setting 'label_words': no text of the pool has the label {label!r}{nearest(label, labels)}")


def _single(texts: Sequence[str], config: ServiceConfig, context: Context) -> npt.NDArray[np.int64]:
    """Rows without a near-duplicate before them: an outsider that nearly is a member would corrupt the truth."""
    if not config.near_duplicates:
        return np.arange(len(texts))
    groups = near_duplicate_groups(texts, threshold=config.near_duplicates, seed=context.seed)
    return np.flatnonzero(groups == np.arange(len(texts)))


def _names(words: Sequence[str]) -> tuple[str, ...]:
    counts = Counter(words)
    return tuple(sorted(counts, key=lambda word: (-counts[word], word)))
