"""Labelled texts of people and machines, from any of the formats in which such sets are published.

=========  ==============================================================================================
plain      rows with a text and a label (AIGTBench), or with a text and the model that wrote it
RAID       rows with `generation` and `model`, where the model "human" marks human texts
DetectGPT  JSON `{"original": [...], "sampled": [...]}`, pairs by index, named DOMAIN_GENERATOR.raw_data.json
M4         rows with `human_text`, `machine_text`, `model`, `source`
HC3        rows with `question`, `human_answers`, `chatgpt_answers` (lists), `source`
=========  ==============================================================================================

The first two have a row for each text and are read where they lie, however large. The others are unfolded into a table in
memory, which suits their sizes (about a gigabyte at most).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from assaymark.data.dataset import Dataset, open_input
from assaymark.data.readers.base import MALFORMED, Unreadable
from assaymark.data.schema import conform
from assaymark.errors import InputError, SchemaError

__all__ = ["HUMAN_LABELS", "MACHINE_LABELS", "NEITHER", "LabelRule", "LabelledTexts", "Layout", "labelled_texts"]

HUMAN_LABELS = frozenset({"0", "human", "human-written", "hwt", "real", "false"})
MACHINE_LABELS = frozenset({"1", "ai", "machine", "ai-generated", "generated", "fake", "gpt", "chatgpt", "aigt", "true"})

NEITHER = -1
"""Code of a label that says neither "human" nor "machine", or is missing."""

Layout = Literal["plain", "RAID", "DetectGPT", "M4", "HC3"]

MOST_BYTES = 2 << 30
KEY_WORDS, SHARED_WORDS = 12, 10
_CARRIED = ("created_at", "split", "language", "topic", "prompt_style")
_ENDINGS = re.compile(r"(\.raw_data)?\.(jsonl?|ndjson|csv|tsv|parquet|pq)(\.(gz|bz2|zst))?$", re.IGNORECASE)


@dataclass(frozen=True)
class LabelRule:
    """Which values of a label column mean a human and which a machine author.

    Attributes
    ----------
    human, machine : frozenset of str
        In lower case. Without any of `machine`, whatever is not human is a machine: the column holds names of models.
    """

    human: frozenset[str] = HUMAN_LABELS
    machine: frozenset[str] = field(default=MACHINE_LABELS)

    def codes(self, column: pa.Array | pa.ChunkedArray) -> npt.NDArray[np.int8]:
        """1 machine, 0 human, `NEITHER`, shape (n,).

        Case, spaces around a word and the ".0" of a number that was stored as a float do not count.
        """
        if isinstance(column, pa.ChunkedArray):
            column = column.combine_chunks()
        encoded = column.cast(pa.large_string()).dictionary_encode(null_encoding="encode")
        known = np.array([self._code(value) for value in encoded.dictionary.to_pylist()] or [NEITHER], np.int8)
        codes: npt.NDArray[np.int8] = known[encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)]
        return codes

    def _code(self, value: str | None) -> int:
        word = (value or "").strip().casefold().removesuffix(".0")
        if word in self.human:
            return 0
        return 1 if word in self.machine or (word and not self.machine) else NEITHER


class LabelledTexts(NamedTuple):
    """A data set of kind "posts" whose concept `label` is read by `rule`, and the layout it was found in.

    A set that was unfolded has the labels "human" and "machine", and a column `origin`: the name of the file without its
    ending. Texts of one `source_id` belong together and must not be split up between training and test.
    """

    dataset: Dataset
    rule: LabelRule
    layout: Layout


def labelled_texts(value: Any, *, name: str = "labelled", schema: str | Mapping[str, str] = "auto") -> LabelledTexts:
    """Open a set of labelled texts in any of the layouts above; its columns say which.

    Parameters
    ----------
    value : Dataset of kind "posts", or whatever `open_input` takes (several files as a list or a pattern)
    name, schema : see `open_input`

    Raises
    ------
    SchemaError
        The columns fit no layout.
    InputError
        Nothing there, a pair of a file breaks while it is read, or a set to be unfolded is larger than memory should hold.
    """
    dataset = value if isinstance(value, Dataset) else open_input("posts", value, name=name, schema=schema)
    assert isinstance(dataset, Dataset), "only the kind embeddings opens as something else"
    columns = dataset.columns
    if "text" in dataset and "label" in dataset:
        return LabelledTexts(dataset, LabelRule(), "plain")
    if "generation" in columns and "model" in columns:
        return LabelledTexts(_raid(dataset), LabelRule(machine=frozenset()), "RAID")
    for layout, wanted in (("DetectGPT", _DETECTGPT), ("M4", _M4), ("HC3", _HC3)):
        if set(wanted) <= set(columns):
            return LabelledTexts(_unfolded(dataset, layout), LabelRule(), layout)  # type: ignore[arg-type]
    if "label" in dataset:  # scores in place of texts
        return LabelledTexts(dataset, LabelRule(), "plain")
    if "text" in dataset and "generator" in dataset:
        labelled = replace(dataset, mapping={**dataset.mapping, "label": dataset.mapping["generator"]})
        return LabelledTexts(labelled, LabelRule(machine=frozenset()), "plain")
    raise SchemaError(
        f"{dataset.source}: no labelled texts (columns: {', '.join(list(columns)[:12])}); give a text and a label (named with "
        "--column label=COLUMN), or RAID's model and generation, original and sampled, human_text and machine_text, or "
        "human_answers and chatgpt_answers"
    )


_DETECTGPT = ("original", "sampled")
_M4 = ("human_text", "machine_text")
_HC3 = ("human_answers", "chatgpt_answers")


def _raid(dataset: Dataset) -> Dataset:
    mapping = {**dataset.mapping, "label": "model", "generator": "model"}
    mapping.setdefault("text", "generation")
    if "domain" in dataset.columns:
        mapping.setdefault("platform", "domain")
    return replace(dataset, mapping=mapping)


class _Text(NamedTuple):
    text: str
    label: str
    generator: str | None
    platform: str | None
    source_id: str
    origin: str | None
    carried: tuple[str | None, ...]


def _unfolded(dataset: Dataset, layout: str) -> Dataset:
    """A data set in memory with a row for each text."""
    size = sum(shard.size for shard in dataset.shards)
    if size > MOST_BYTES:
        raise InputError(
            f"{dataset.source}: pairs in the layout of {layout} are unfolded in memory, and {size >> 30} GiB are too much; "
            "store a row for each text, with the columns text and label"
        )
    carried = [concept for concept in _CARRIED if concept in dataset]
    texts: list[_Text] = []
    broken = lacking = alike = 0
    for rows, origin in _rows(dataset, carried):
        for number, row in enumerate(rows):
            if row is None:
                broken += 1
                continue
            found = list(_LAYOUTS[layout](row, origin, f"{origin}:{number}", tuple(row[concept] for concept in carried)))
            lacking += len({text.label for text in found}) < 2
            alike += _begin_alike(found)
            texts += found
    names = [*_Text._fields[:-1], *carried]
    columns = list(zip(*(text[:-1] + text.carried for text in texts), strict=True)) or [()] * len(names)
    table = pa.table({name: pa.array(column, pa.large_string()) for name, column in zip(names, columns, strict=True)})
    opened = open_input("posts", table, name="labelled")
    assert isinstance(opened, Dataset)
    notes = (*dataset.notes, f"{dataset.source} holds pairs ({layout}), which were unfolded into {len(texts):,} texts")
    notes += (f"rows that could not be read, such as half a line: {broken:,}",) if broken else ()
    notes += (f"rows that lack the human or the machine text: {lacking:,}",) if lacking else ()
    if alike:
        notes += (f"pairs whose machine text begins with the same {SHARED_WORDS} words as the human one: {alike:,}",)
    return replace(opened, source=dataset.source, notes=notes, failed=dict(dataset.failed))


def _rows(dataset: Dataset, carried: list[str]) -> Iterator[tuple[list[dict[str, Any] | None], str | None]]:
    """Rows of each file under the file's own names and those of the carried concepts, with the file's origin.

    None stands for a row that cannot be read.
    """
    for shard in dataset.shards:
        rows: list[dict[str, Any] | None] = []
        try:
            for part in dataset.reader.parts(shard):
                for raw in dataset.reader.read(part, list(dataset.columns)):
                    columns = {name: column.to_pylist() for name, column in raw.columns.items()}
                    for concept in carried:
                        column = raw.columns.get(dataset.mapping[concept])
                        whole = [None] * raw.rows if column is None else conform(column, concept, "posts").to_pylist()
                        columns[concept] = whole
                    broken = np.zeros(raw.rows, bool) if raw.defects is None else (raw.defects & MALFORMED) > 0
                    read = zip(broken.tolist(), zip(*columns.values(), strict=True), strict=True)
                    rows += [None if bad else dict(zip(columns, values, strict=True)) for bad, values in read]
        except Unreadable as error:
            raise InputError(f"{error.path} cannot be read: {error.reason}") from None
        yield rows, None if dataset.format == "arrow" else _ENDINGS.sub("", shard.path.rpartition("/")[2])


def _of_detectgpt(row: Mapping[str, Any], origin: str | None, name: str, carried: tuple[str | None, ...]) -> Iterator[_Text]:
    domain, _, generator = (origin or "").rpartition("_")
    human = row.get("original")
    place = (domain or None, _key(human, name), origin, carried)
    yield from _pair(human, row.get("sampled"), generator if domain else None, place)


def _of_m4(row: Mapping[str, Any], origin: str | None, name: str, carried: tuple[str | None, ...]) -> Iterator[_Text]:
    human = row.get("human_text")
    place = (row.get("source"), _key(human, name), origin, carried)
    yield from _pair(human, row.get("machine_text"), row.get("model"), place)


def _of_hc3(row: Mapping[str, Any], origin: str | None, name: str, carried: tuple[str | None, ...]) -> Iterator[_Text]:
    place = (row.get("source"), _key(row.get("question"), name), origin, carried)
    for column in sorted(column for column in row if column.endswith("_answers")):
        writer = column.removesuffix("_answers")
        for answer in _answers(row[column]):
            human = writer == "human"
            yield from _pair(answer if human else None, None if human else answer, None if human else writer, place)


_LAYOUTS = {"DetectGPT": _of_detectgpt, "M4": _of_m4, "HC3": _of_hc3}


def _pair(human: Any, machine: Any, generator: str | None, place: tuple[Any, ...]) -> Iterator[_Text]:
    """The texts of a pair that are there."""
    for text, label, model in ((human, "human", None), (machine, "machine", generator)):
        if isinstance(text, str) and text.strip():
            yield _Text(text, label, model, *place)


def _begin_alike(found: list[_Text]) -> bool:
    """Whether a pair shares its prompt: a detector then scores words of a human in the machine's text."""
    if [text.label for text in found] != ["human", "machine"]:
        return False
    human, machine = (text.text.split()[:SHARED_WORDS] for text in found)
    return human == machine and len(human) == SHARED_WORDS


def _answers(value: Any) -> list[Any]:
    """Answers of a list, which the files of JSON lines bring as JSON text."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return [value]
    return value if isinstance(value, list) else [value]


def _key(text: Any, name: str) -> str:
    """The same for texts that begin alike: sets cut one article to several lengths, after those of the machines' texts."""
    words = text.casefold().split()[:KEY_WORDS] if isinstance(text, str) else []
    return hashlib.blake2b(" ".join(words).encode(), digest_size=8).hexdigest() if words else name
