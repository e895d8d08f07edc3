"""`open_input`: whatever a user points at becomes a `Dataset` of shards whose columns are known by concept."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from os import PathLike
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from assaymark.data.embeddings import Embeddings, open_embeddings
from assaymark.data.locations import Found, find
from assaymark.data.readers.base import NOT_A_NUMBER, Part, Peek, RawBatch, Reader, Shard, Unreadable, as_text, open_file
from assaymark.data.readers.picture_paths import with_pictures_of_paths
from assaymark.data.schema import (
    OWN_NAMES,
    aliases_of,
    can_hold,
    conform,
    missing_message,
    numbers_from_text,
    numbers_of,
    resolve,
)
from assaymark.errors import InputError, SchemaError, nearest

__all__ = ["ConceptBatch", "Dataset", "Shard", "arrow_type", "left_out", "open_input"]

KINDS = ("pairs", "images", "texts", "posts", "table", "embeddings")
HASHED_FILES, HASHED_BYTES = 4096, 1 << 16
NAMED_FILES = 20


class ConceptBatch(NamedTuple):
    """Rows of one shard under concept names, all of fixed Arrow types; `defects` are the bits of `readers.base`, or None."""

    table: pa.RecordBatch
    first: int
    defects: npt.NDArray[np.uint8] | None


@dataclass(eq=False)
class Dataset:
    """An opened input. Nothing but names, sizes and a few rows has been read.

    Attributes
    ----------
    source, format : str
        What the user pointed at; "parquet", "csv", "tsv", "jsonl", "json", "webdataset", "images", "arrays" or
        "arrow".
    shards : tuple of Shard
        In a fixed order (sorted by path); a row is named by (shard index, row number in the shard).
    mapping, columns : dict
        Concept to column, column to type.
    rows : int or None
        None where the format does not say before it is read.
    notes, failed
        What a reader of the result should know; files that could not be read, with the reason. A scan adds to `failed`.
    unfit : dict
        Concepts whose column is of a type that they cannot have, with the sentence that says so.
    """

    source: str
    format: str
    kind: str
    shards: tuple[Shard, ...]
    mapping: dict[str, str]
    columns: dict[str, str]
    reader: Reader
    rows: int | None = None
    notes: tuple[str, ...] = ()
    failed: dict[str, str] = field(default_factory=dict)
    fingerprint: str = ""
    scores: frozenset[str] = frozenset()
    unfit: dict[str, str] = field(default_factory=dict)

    def __contains__(self, concept: object) -> bool:
        return concept in self.mapping

    def require(self, *concepts: str) -> None:
        """Raise `SchemaError` for the first concept without a column, naming the candidates."""
        for concept in concepts:
            if concept in self.unfit:
                raise SchemaError(f"{self.source}: {self.unfit[concept]}")
            if concept not in self.mapping:
                headerless = self.format in ("csv", "tsv") and self.columns and not self.mapping
                header = "; is its first line a header?" if headerless else ""
                raise SchemaError(missing_message(concept, list(self.columns), self.source, self.kind) + header)

    def with_scores(self, columns: Mapping[str, str]) -> Dataset:
        """The same data with score columns known by further names (`{"text_toxicity.hateful": "hateful"}`), read as numbers.

        Raises
        ------
        SchemaError
            For a column that is not there.
        """
        for column in columns.values():
            if column not in self.columns:
                raise SchemaError(
                    f"{self.source}: no score column {column!r}{nearest(column, self.columns)}; "
                    f"columns: {', '.join(self.columns)}"
                )
        return replace(self, mapping={**self.mapping, **columns}, scores=self.scores | set(columns))

    def read(self) -> pa.Table:
        """All rows and columns in memory: for the small tables beside a data set, never for the data set itself.

        Raises
        ------
        InputError
            A file that breaks while it is read: of a small table nothing may be missing.
        """
        names = list(self.columns)
        own = replace(self, mapping={name: name for name in names}, kind="table")
        try:
            parts = [
                batch.table for shard in self.shards for part in self.reader.parts(shard) for batch in own.batches(part, names)
            ]
        except Unreadable as error:
            raise InputError(f"{error.path} cannot be read: {error.reason}") from None
        return pa.Table.from_batches(parts, schema=own.schema(names))

    def schema(self, concepts: Sequence[str]) -> pa.Schema:
        return pa.schema([(concept, arrow_type(concept, self)) for concept in concepts])

    def batches(self, part: Part, concepts: Sequence[str]) -> Iterator[ConceptBatch]:
        """Rows of a part in order; a concept whose column this file lacks is null. `Unreadable` where the file breaks."""
        wanted = {concept: self.mapping[concept] for concept in concepts}
        for raw in self.reader.read(part, list(dict.fromkeys(wanted.values()))):
            yield self._named(raw, wanted)

    def stored_batches(self, part: Part, concepts: Sequence[str]) -> Iterator[tuple[RawBatch, ConceptBatch]]:
        """Every column of the file under its own name, beside the concepts read off it: for steps that hand rows on."""
        wanted = {concept: self.mapping[concept] for concept in concepts}
        for raw in self.reader.read(part, list(self.columns)):
            yield raw, self._named(raw, wanted)

    def _named(self, raw: RawBatch, wanted: Mapping[str, str]) -> ConceptBatch:
        arrays, defects = [], raw.defects
        for concept, column in wanted.items():
            target = arrow_type(concept, self)
            if column not in raw.columns:
                arrays.append(pa.nulls(raw.rows, target))
                continue
            try:
                array, lost = _fit(raw.columns[column], self._concept(concept, target), target)
            except SchemaError as error:
                raise SchemaError(f"column {column!r}: {error}") from None
            arrays.append(array)
            if lost is not None:
                defects = lost if defects is None else defects | lost
        schema = self.schema(list(wanted))
        table = pa.RecordBatch.from_arrays(arrays, schema=schema) if arrays else pa.record_batch({"": pa.nulls(raw.rows)})
        return ConceptBatch(table, raw.first, defects)

    def _concept(self, name: str, target: pa.DataType) -> tuple[str, str]:
        """The concept that a column is read as, with the kind that it belongs to; none for a column under its own name."""
        known = name in aliases_of(self.kind) and target == _concept_type(name, self.kind)
        return (name if known else "", self.kind)

    def fetch(self, row_ids: Iterable[tuple[int, int]], concepts: Sequence[str]) -> pa.Table:
        """A few rows by (shard, row), in the order asked for, with `shard` and `row` in front.

        Reads, of each shard concerned, only the row groups that hold one of them (whole shards where the format has no groups).
        The rows of a file that breaks are null, and the file is added to `failed` and `notes`: a scan of other columns may have
        found nothing wrong with it.
        """
        self.require(*concepts)
        ids = [(int(shard), int(row)) for shard, row in row_ids]
        found: dict[tuple[int, int], pa.RecordBatch] = {}
        by_index = {shard.index: shard for shard in self.shards}
        for index in sorted({shard for shard, _ in ids}):
            if index not in by_index:
                raise InputError(f"{self.source}: no shard {index}; it has {len(self.shards)}")
            rows = np.unique([row for shard, row in ids if shard == index])
            try:
                found |= self._pick(by_index[index], rows, concepts)
            except Unreadable as error:
                self.failed[error.path] = error.reason
                self.notes = tuple(dict.fromkeys((*self.notes, *left_out({error.path: error.reason}))))
                blank = pa.RecordBatch.from_pylist([{}], schema=self.schema(concepts))
                found |= {(index, int(row)): blank for row in rows}
        missing = [key for key in ids if key not in found]
        if missing:
            raise InputError(f"{self.source}: no row {missing[0][1]} in shard {missing[0][0]}")
        schema = pa.schema([("shard", pa.int32()), ("row", pa.int64()), *self.schema(concepts)])
        data = pa.Table.from_batches([found[key] for key in ids], schema=self.schema(concepts))
        keys = [pa.array([shard for shard, _ in ids], pa.int32()), pa.array([row for _, row in ids], pa.int64())]
        return pa.Table.from_arrays([*keys, *data.columns], schema=schema)

    def _pick(
        self, shard: Shard, rows: npt.NDArray[np.int64], concepts: Sequence[str]
    ) -> dict[tuple[int, int], pa.RecordBatch]:
        found: dict[tuple[int, int], pa.RecordBatch] = {}
        parts = self.reader.parts(shard)
        ends = [part.first for part in parts[1:]] + [np.iinfo(np.int64).max]
        for part, end in zip(parts, ends, strict=True):
            if not ((rows >= part.first) & (rows < end)).any():
                continue
            for batch in self.batches(part, concepts):
                here = rows[(rows >= batch.first) & (rows < batch.first + batch.table.num_rows)]
                found |= {(shard.index, int(row)): batch.table.slice(int(row) - batch.first, 1) for row in here}
        return found

    def count(self, shard: Shard) -> int:
        """Rows of a shard, read through where the format does not store the number."""
        if shard.rows is not None:
            return shard.rows
        return sum(batch.rows for part in self.reader.parts(shard) for batch in self.reader.read(part, ()))


def arrow_type(concept: str, dataset: Dataset) -> pa.DataType:
    """The one type of a concept throughout a data set."""
    column = dataset.mapping[concept]
    if dataset.kind == "posts":
        if concept not in aliases_of("posts") and concept not in dataset.scores:
            return _stored_type(dataset.columns[column])
    elif dataset.kind == "table" and concept == column:
        return _stored_type(dataset.columns[column])
    return pa.float64() if concept in dataset.scores else _concept_type(concept, dataset.kind)


def _stored_type(name: str) -> pa.DataType:
    """Columns without a concept: float64, int64 or bool as stored, lists of text or of numbers, everything else as text."""
    if name.startswith(("int", "uint")):
        return pa.int64()
    if name in ("double", "float", "halffloat") or name.startswith("decimal"):
        return pa.float64()
    if name.startswith(("list<", "large_list<", "fixed_size_list<")):
        return pa.large_list(pa.large_string() if "string" in name else pa.float32())
    return {"bool": pa.bool_(), "binary": pa.large_binary(), "large_binary": pa.large_binary()}.get(name, pa.large_string())


def _fit(column: pa.Array, concept: tuple[str, str], target: pa.DataType) -> tuple[pa.Array, npt.NDArray[np.uint8] | None]:
    """The column in the type of its concept; text that should be a number and is not becomes null, and is marked."""
    if target == pa.float64() and pa.types.is_large_string(column.type):
        numbers = numbers_from_text(column)
        lost = pc.and_(pc.is_null(numbers), pc.greater(pc.fill_null(pc.utf8_length(column), 0), 0)).to_numpy(
            zero_copy_only=False
        )
        return numbers, np.where(lost, NOT_A_NUMBER, 0).astype(np.uint8) if lost.any() else None
    if pa.types.is_large_string(target) and (pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type)):
        return as_text(column)
    fitted = conform(column, *concept)
    if fitted.type != target:
        try:
            fitted = fitted.cast(target, safe=False)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise SchemaError(f"{fitted.type} in one file, {target} in others ({error})") from None
    return fitted, None


def _concept_type(concept: str, kind: str) -> pa.DataType:
    if concept in numbers_of(kind):
        return pa.float64()
    if kind == "posts":
        return pa.large_string()
    return {"image": pa.large_binary(), "embedding": pa.large_list(pa.float32())}.get(concept, pa.large_string())


def open_input(kind: str, value: Any, *, name: str, schema: str | Mapping[str, str] = "auto") -> Dataset | Embeddings:
    """Open an input of an audit.

    Parameters
    ----------
    kind : "pairs", "images", "texts", "posts", "table" or "embeddings"
    value : path, glob, folder, list of paths, URL (s3://, gs://, hf://), pyarrow.Table or pandas.DataFrame. Of kind "images"
        also local .npy and .npz files of embeddings, with the tables beside them; a local table that names pictures brings them
    name : name of the input, for messages
    schema : "auto", a name in `schema.SCHEMAS`, or {concept: column}

    Raises
    ------
    InputError
        Nothing there, nothing readable, or a mixture of formats.
    SchemaError
        The schema asks for columns that are missing.
    """
    if kind not in KINDS:
        raise InputError(f"input {name!r}: unknown kind {kind!r}; known: {', '.join(KINDS)}")
    if kind == "embeddings" and isinstance(value, (str, PathLike)):
        return open_embeddings(value)
    found = find(value, kind, name=name, schema=schema)
    shards, peeks, failed = _peek_all(found)
    if not shards:
        path, reason = next(iter(failed.items()))
        several = f"none of {len(failed)} files can be read; the first, " if len(failed) > 1 else ""
        raise InputError(f"input {name!r}: {several}{path}: {reason}")
    columns = _merge_types(peeks)
    mapping = resolve(list(columns), schema, kind=kind, where=found.source) if columns else {}
    unfit = {} if kind == "table" else _unfit(mapping, columns, kind)
    mapping = {concept: column for concept, column in mapping.items() if concept not in unfit}
    rows = sum(shard.rows for shard in shards if shard.rows is not None)
    known = all(shard.rows is not None for shard in shards)
    notes = [*found.notes, *found.reader.notes(), *(f"{reason}; it is not used" for reason in unfit.values())]
    notes += _notes(mapping, columns, shards, failed, rows if known else None)
    opened = Dataset(
        found.source, found.reader.format, kind, shards, mapping, columns, found.reader, rows if known else None,
        tuple(notes), failed, _fingerprint(found, shards, mapping), unfit=unfit,
    )  # fmt: skip
    return with_pictures_of_paths(opened) if kind == "images" else opened


def _peek_all(found: Found) -> tuple[tuple[Shard, ...], list[Peek], dict[str, str]]:
    shards, peeks, failed = [], [], {}
    for index, (path, size, files) in enumerate(found.files):
        shard = Shard(index, path, None, size, files=files)
        try:
            peek = found.reader.peek(shard)
        except Unreadable as error:
            failed[path] = error.reason
            continue
        shards.append(Shard(index, path, peek.rows, size, tuple(peek.columns), peek.groups, files))
        peeks.append(peek)
    return tuple(shards), peeks, failed


def _unfit(mapping: Mapping[str, str], columns: Mapping[str, str], kind: str) -> dict[str, str]:
    return {
        concept: f"column {column!r} holds {columns[column]}, which cannot be {concept!r}"
        for concept, column in mapping.items()
        if (kind not in OWN_NAMES or concept in aliases_of(kind)) and not can_hold(concept, columns[column], kind)
    }


def left_out(failed: Mapping[str, str]) -> Iterator[str]:
    """One sentence for each file that could not be read; of many, the first `NAMED_FILES` and how many more."""
    for path, reason in sorted(failed.items())[:NAMED_FILES]:
        yield f"{path} was left out: {reason.removeprefix(f'{path}: ')}"
    if len(failed) > NAMED_FILES:
        yield f"{len(failed) - NAMED_FILES:,} more files could not be read and were left out"


def _merge_types(peeks: Sequence[Peek]) -> dict[str, str]:
    """Type of each column over all files: the common one; numbers of several types are double, everything else text."""
    types: dict[str, set[str]] = {}
    for peek in peeks:
        for column, kind in peek.columns.items():
            types.setdefault(column, set()).add(kind)
    return {column: _common(kinds - {"null"}) for column, kinds in types.items()}


def _common(kinds: set[str]) -> str:
    if len(kinds) == 1:
        return next(iter(kinds))
    numeric = kinds and all(kind.startswith(("int", "uint", "double", "float", "halffloat")) for kind in kinds)
    return "double" if numeric else "string"


def _notes(
    mapping: Mapping[str, str], columns: Mapping[str, str], shards: Sequence[Shard], failed: Mapping[str, str], rows: int | None
) -> Iterator[str]:
    if rows == 0:
        yield "the input holds no rows"
    yield from left_out(failed)
    column = mapping.get("id")
    if column and columns[column] in ("double", "float"):
        yield f"column {column} stores ids as inexact floating-point numbers; rows are named by shard and row number"
    named: set[str] = set()
    for concept, column in mapping.items():
        lacking = [shard for shard in shards if shard.columns and column not in shard.columns]
        if lacking and column not in named:
            named.add(column)
            yield f"column {column} ({concept}) is missing in {len(lacking)} of {len(shards)} files"


def _fingerprint(found: Found, shards: Sequence[Shard], mapping: Mapping[str, str]) -> str:
    """Hash of what is read: sizes, rows and both ends of each local file, not where it lies."""
    digest = hashlib.sha256(repr((found.reader.format, sorted(mapping.items()))).encode())
    for shard in shards:
        digest.update(repr((shard.path.rpartition("/")[2], shard.size, shard.rows, shard.files)).encode())
        if found.table is None and not shard.files and "://" not in shard.path and len(shards) <= HASHED_FILES:
            digest.update(_ends(shard.path, shard.size))
        for path in found.reader.beside(shard):
            digest.update(_ends(path, os.path.getsize(path)))
    if found.table is not None:
        for column in found.table.columns:
            for chunk in column.chunks:
                digest.update(repr(chunk.type).encode())
                sink = pa.BufferOutputStream()
                with pa.ipc.new_stream(sink, pa.schema([("", chunk.type)])) as writer:
                    writer.write_batch(pa.RecordBatch.from_arrays([chunk], names=[""]))
                digest.update(sink.getvalue())
    return digest.hexdigest()


def _ends(path: str, size: int) -> bytes:
    if not size:
        return b""
    with open_file(path) as file:
        head = file.read(HASHED_BYTES)
        file.seek(max(0, size - HASHED_BYTES))
        return bytes(head) + bytes(file.read(HASHED_BYTES))
