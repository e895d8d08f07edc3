"""Class names and image counts against word lists."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from assaymark.audits.image_text_dataset.config import ImageTextDatasetConfig
from assaymark.audits.image_text_dataset.data import required_columns
from assaymark.audits.image_text_dataset.method.label_space import LabelSpace, label_space
from assaymark.data.lexicon import Lexicon, Matcher, Term, load_lexicons

__all__ = ["Labels", "measure_labels"]


class Labels(NamedTuple):
    space: LabelSpace
    names: tuple[str, ...]
    images: tuple[int, ...]
    reasons: tuple[str, ...]
    marked: np.ndarray  # (n_classes, n_reasons)


def measure_labels(table: Any, lexicons: tuple[Lexicon, ...], config: ImageTextDatasetConfig) -> Labels:
    """`table` has class and count; reasons are the categories of the lexicons and of `class_blocklist`."""
    required_columns(table, ("class", "count"), "classes")
    lists = (*lexicons, *_blocklists(config.class_blocklist))
    names = [str(value) for value in table.column("class").to_pylist()]
    counts = np.array([int(value or 0) for value in table.column("count").to_pylist()], dtype=np.int64)
    terms = [term for lexicon in lists for term in lexicon.terms]
    reasons = tuple(sorted({term.category or "blocklist" for term in terms})) or ("blocklist",)
    marked = np.zeros((len(names), len(reasons)), dtype=bool)
    if terms:
        spelled = [name.replace("_", " ").replace("-", " ") for name in names]
        hits = Matcher(lists, mode="word").find(pa.array(spelled, pa.large_string()))
        column = np.array([reasons.index(term.category or "blocklist") for term in terms])
        marked[hits.rows, column[hits.terms]] = True
    return Labels(
        label_space(marked, counts, confidence=config.confidence), tuple(names), tuple(counts.tolist()), reasons, marked
    )


def _blocklists(settings: tuple[str, ...]) -> list[Lexicon]:
    files = [setting for setting in settings if Path(setting).suffix in (".txt", ".csv", ".json")]
    words = tuple(Term(setting, category="blocklist") for setting in settings if setting not in files)
    loaded = [lexicon for file in files for lexicon in load_lexicons(file)]
    return [*loaded, *([Lexicon.of("blocklist", words)] if words else [])]
