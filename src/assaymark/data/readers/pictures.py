"""Pictures with their texts: WebDataset archives and folders of image files."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar, Self

import numpy as np
import pyarrow as pa

from assaymark.data.readers.base import DECODED, MALFORMED, Part, Peek, RawBatch, Reader, Shard, guard, open_stream
from assaymark.data.readers.jsonlines import json_columns, json_types

__all__ = ["IMAGE_SUFFIXES", "ImageFolderReader", "WebDatasetReader"]

IMAGE_SUFFIXES = frozenset({"jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff"})
PEEK_SAMPLES = 50
BATCH_SAMPLES, BATCH_BYTES = 4096, 64 << 20


class _WholeInfo(tarfile.TarInfo):
    """Headers of an archive that must be whole: tarfile itself takes a damaged header, or a cut, for the end."""

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> Self:
        try:
            return super().fromtarfile(archive)
        except tarfile.HeaderError as error:
            # The two blocks of zeros that close an archive are reported in the same way; only they are an end.
            if type(error).__name__ == "EOFHeaderError":
                raise
            cut = type(error).__name__ in ("EmptyHeaderError", "TruncatedHeaderError")
            if cut and not archive.offset:
                raise tarfile.ReadError("is empty") from None
            raise tarfile.ReadError("is cut off" if cut else f"is damaged at byte {archive.offset}") from None


class WebDatasetReader(Reader):
    """Tar archives whose members share a key: `{key}.jpg`, `{key}.txt`, `{key}.json` are one row.

    Members of a json file become columns of their own; the picture, whatever its ending, is the column `image`.
    """

    format: ClassVar[str] = "webdataset"

    def __init__(self) -> None:
        self.types: dict[str, dict[str, str]] = {}

    def peek(self, shard: Shard) -> Peek:
        records: list[dict[str, Any]] = []
        with guard(shard.path):
            for record, _ in self._samples(shard.path, None):
                records.append(record)
                if len(records) >= PEEK_SAMPLES:
                    break
        pictures = any("image" in record for record in records)
        types = json_types([{name: value for name, value in record.items() if name != "image"} for record in records])
        self.types[shard.path] = types
        return Peek(types | ({"image": "binary"} if pictures else {}), None if records else 0)

    def read(self, part: Part, columns: Sequence[str]) -> Iterator[RawBatch]:
        path, first = part.shard.path, 0
        types = {name: kind for name, kind in self.types[path].items() if name in columns}
        with guard(path):
            for records in _batches(self._samples(path, set(columns))):
                arrays = json_columns([record for record, _ in records], types)
                if "image" in columns:
                    arrays["image"] = pa.array([record.get("image") for record, _ in records], pa.large_binary())
                defects = np.array([bits for _, bits in records], np.uint8)
                yield RawBatch(arrays, len(records), first, defects if defects.any() else None)
                first += len(records)

    @staticmethod
    def _samples(path: str, columns: set[str] | None) -> Iterator[tuple[dict[str, Any], int]]:
        """One record and its defects per key; members whose columns nobody asked for are not read (`columns` None: all)."""
        record: dict[str, Any] = {}
        bits = 0
        with open_stream(path) as stream, tarfile.open(fileobj=stream, mode="r|", tarinfo=_WholeInfo) as archive:
            for member in archive:
                folder, _, base = member.name.rpartition("/")
                stem, dot, ending = base.partition(".")
                if not member.isfile() or not dot or not stem:
                    continue
                key = f"{folder}/{stem}" if folder else stem
                if record and record["__key__"] != key:
                    yield record, bits
                    record, bits = {}, 0
                record["__key__"] = key
                bits |= _member(record, archive, member, ending.lower(), columns)
        if record:
            yield record, bits


def _member(
    record: dict[str, Any], archive: tarfile.TarFile, member: tarfile.TarInfo, ending: str, columns: set[str] | None
) -> int:
    """Read one member into the record; returns defects."""
    if ending in IMAGE_SUFFIXES and columns is not None and "image" not in columns:
        return 0
    handle = archive.extractfile(member)
    content = handle.read() if handle is not None else b""
    if ending in IMAGE_SUFFIXES:
        record["image"] = content
        return 0
    if ending not in ("txt", "cls", "json", "caption", "url"):
        return 0
    text = content.decode("utf-8", "replace")
    bits = DECODED if "\ufffd" in text and "\ufffd".encode() not in content else 0
    if ending != "json":
        record[ending] = text.rstrip("\r\n")
        return bits
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError):
        return bits | MALFORMED
    if not isinstance(fields, dict):
        return bits | MALFORMED
    for name, value in fields.items():
        record.setdefault(name, value)
    return bits


def _batches(samples: Iterator[tuple[dict[str, Any], int]]) -> Iterator[list[tuple[dict[str, Any], int]]]:
    """Lists of samples, bounded in number and in bytes of pictures."""
    batch: list[tuple[dict[str, Any], int]] = []
    size = 0
    for sample in samples:
        batch.append(sample)
        size += len(sample[0].get("image", b""))
        if len(batch) >= BATCH_SAMPLES or size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


class ImageFolderReader(Reader):
    """Image files under a folder; the label is the name of the folder a file lies in (none directly under the root).

    A text file with the name of a picture (`cat.txt` beside `cat.jpg`) is its text.
    """

    format: ClassVar[str] = "images"

    def peek(self, shard: Shard) -> Peek:
        return Peek(
            {"path": "string", "label": "string", "image": "binary", "txt": "string"}, len(shard.files), (len(shard.files),)
        )

    def read(self, part: Part, columns: Sequence[str]) -> Iterator[RawBatch]:
        root, files = Path(part.shard.path.partition("#")[0]), part.shard.files
        step = 64 if "image" in columns else 1024
        for first in range(0, len(files), step):
            block = files[first : first + step]
            arrays: dict[str, pa.Array] = {}
            if "path" in columns:
                arrays["path"] = pa.array(block, pa.large_string())
            if "label" in columns:
                labels = [PurePosixPath(file).parent.name or None for file in block]
                arrays["label"] = pa.array(labels, pa.large_string())
            if "txt" in columns:
                arrays["txt"] = pa.array([_sidecar(root / file) for file in block], pa.large_string())
            if "image" in columns:
                arrays["image"] = pa.array([_content(root / file) for file in block], pa.large_binary())
            yield RawBatch(arrays, len(block), first)


def _content(picture: Path) -> bytes | None:
    """Bytes of a picture; null where it cannot be read, so that one file does not cost its block."""
    try:
        return picture.read_bytes()
    except OSError:
        return None


def _sidecar(picture: Path) -> str | None:
    text = picture.with_suffix(".txt")
    return text.read_bytes().decode("utf-8", "replace").rstrip("\r\n") if text.is_file() else None
