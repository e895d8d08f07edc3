"""From what a user writes (path, glob, folder, list, URL, table) to the files of one format."""

from __future__ import annotations

import glob as globbing
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.fs as pafs

from assaymark.data.array_files import shard_number
from assaymark.data.readers.arrays import ARRAY_SUFFIXES, ArrayReader, tables_beside
from assaymark.data.readers.base import Reader, locate
from assaymark.data.readers.delimited import CsvReader, TsvReader
from assaymark.data.readers.json_files import JsonReader
from assaymark.data.readers.jsonlines import JsonLinesReader
from assaymark.data.readers.memory import MemoryReader
from assaymark.data.readers.parquet import ParquetReader
from assaymark.data.readers.pictures import IMAGE_SUFFIXES, ImageFolderReader, WebDatasetReader
from assaymark.data.schema import SCHEMAS
from assaymark.errors import InputError, UnsafeFile, is_fetch_failure, nearest

__all__ = ["Found", "find", "missing"]

FORMATS = {
    "parquet": "parquet", "pq": "parquet", "csv": "csv", "tsv": "tsv", "jsonl": "jsonl", "ndjson": "jsonl", "tar": "webdataset",
} | dict.fromkeys(IMAGE_SUFFIXES, "images")  # fmt: skip
_PICKLES = (".pkl", ".pickle", ".joblib", ".pt", ".pth")
COMPRESSED = {"gz", "bz2", "zst"}
FOLDER_SHARD = 2048

File = tuple[str, int, tuple[str, ...]]
"""Path, size in bytes, and, for a block of a picture folder, the files in it."""


class Found(NamedTuple):
    """Files of one format and the reader for them; `table` where the input is in memory."""

    source: str
    reader: Reader
    files: list[File]
    notes: tuple[str, ...] = ()
    table: pa.Table | None = None


def find(value: Any, kind: str, *, name: str, schema: str | Mapping[str, str]) -> Found:
    """Files and their reader; `InputError` says what is not there."""
    if isinstance(value, pa.Table | pa.RecordBatch) or hasattr(value, "to_records"):
        return _in_memory(value, name)
    if isinstance(value, str | os.PathLike):
        return _choose(*_expand(os.fspath(value), name), kind, name, schema)
    if isinstance(value, Sequence) and value and all(isinstance(item, str | os.PathLike) for item in value):
        files: list[File] = []
        for item in value:
            files += _expand(os.fspath(item), name)[1]
        unique = sorted(dict.fromkeys(files))
        found = _choose(f"{len(unique)} files", unique, None, kind, name, schema)
        repeated = len(files) - len(unique)
        return (
            found._replace(notes=(*found.notes, f"{repeated} files were named twice and are read once")) if repeated else found
        )
    raise InputError(
        f"input {name!r}: cannot open {type(value).__name__ if value != [] else 'an empty list'}; "
        "give a path, a glob, a folder, a list of paths, an Arrow table or a pandas frame"
    )


def _in_memory(value: Any, name: str) -> Found:
    if isinstance(value, pa.RecordBatch):
        value = pa.Table.from_batches([value])
    elif not isinstance(value, pa.Table):
        try:
            value = pa.Table.from_pandas(value, preserve_index=False)
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            raise InputError(
                f"input {name!r}: the frame has a column of mixed types ({str(error)[:200]}); make it text"
            ) from None
    return Found("a table in memory", MemoryReader(value), [("memory", value.nbytes, ())], table=value)


def _expand(text: str, name: str) -> tuple[str, list[File], str | None]:
    """Source, files, and the folder they were found in (None unless one folder was given)."""
    if "://" in text:
        return _expand_remote(text, name)
    if not text:
        raise InputError(f"input {name!r}: the path is empty")
    path = os.path.expanduser(text)
    if os.path.isdir(path):
        files = [file for file in _walk(path) if not _ignored(os.path.relpath(file, path))]
        if not files:
            raise InputError(f"input {name!r}: the folder {path} holds no files")
        return path, [(file, os.path.getsize(file), ()) for file in files], path
    if os.path.isfile(path):
        return path, [(path, os.path.getsize(path), ())], None
    if globbing.has_magic(path):
        files = sorted(file for file in globbing.glob(path, recursive=True) if os.path.isfile(file))
        if files:
            return path, [(file, os.path.getsize(file), ()) for file in files], None
    raise missing(path, name)


def missing(path: str, name: str) -> InputError:
    """What to say of a local path where no file or folder is: the nearest name beside it, or what stands there instead."""
    if globbing.has_magic(path):
        return InputError(f"input {name!r}: {path} matches no file")
    if os.path.lexists(path):
        what = "neither a file nor a folder" if os.path.exists(path) else "a link that leads nowhere"
        return InputError(f"input {name!r}: {path} is {what}")
    parent = Path(path).parent
    hint = nearest(Path(path).name, os.listdir(parent)) if parent.is_dir() else f" (nor does {parent})"
    return InputError(f"input {name!r}: {path} does not exist{hint}")


def _walk(folder: str) -> list[str]:
    # A pipe or device would be waited for, and a link to nowhere cannot be opened: regular files only.
    paths = (os.path.join(root, file) for root, _, files in os.walk(folder) for file in files)
    return sorted(path for path in paths if os.path.isfile(path))


def _ignored(relative: str) -> bool:
    """Hidden files, markers such as _SUCCESS, and the statistics that img2dataset writes beside its parts."""
    return any(part.startswith((".", "_")) for part in relative.split(os.sep)) or relative.endswith("_stats.json")


def _expand_remote(url: str, name: str) -> tuple[str, list[File], str | None]:
    import fnmatch

    try:
        system, inner = locate(url)
    except OSError as error:
        raise _unreached(url, name, error) from None
    scheme = url.partition("://")[0]
    prefix = "/" if scheme == "file" and not inner.startswith("/") else ""
    wild = globbing.has_magic(inner)
    base = inner.split("*")[0].split("?")[0].split("[")[0].rpartition("/")[0] if wild else inner
    try:
        info = system.get_file_info(base)
        if info.type == pafs.FileType.File:
            return url, [(url, info.size or 0, ())], None
        listed = system.get_file_info(pafs.FileSelector(base, recursive=True))
    except Exception as error:
        if not isinstance(error, OSError) and not is_fetch_failure(error):
            raise
        raise _unreached(url, name, error) from None
    found = [
        item for item in listed if item.type == pafs.FileType.File and not _ignored(item.path.removeprefix(base).strip("/"))
    ]
    if wild:
        found = [item for item in found if fnmatch.fnmatch(item.path, inner)]
    if not found:
        raise InputError(f"input {name!r}: nothing readable at {url}")
    files: list[File] = [(f"{scheme}://{prefix}{item.path}", item.size or 0, ()) for item in found]
    return url, sorted(files), None if wild else url


def _unreached(url: str, name: str, error: Exception) -> InputError:
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    return InputError(f"input {name!r}: {url} cannot be reached: {reason}; check the address, the network and your access")


def _format(path: str) -> str | None:
    endings = path.rpartition("/")[2].lower().split(".")
    if len(endings) > 2 and endings[-1] in COMPRESSED and endings[-2] in ("csv", "tsv", "jsonl", "ndjson", "tar"):
        return FORMATS[endings[-2]]
    return FORMATS.get(endings[-1]) if len(endings) > 1 else None


def _choose(source: str, files: list[File], folder: str | None, kind: str, name: str, schema: str | Mapping[str, str]) -> Found:
    if kind == "images" and (arrays := _arrays(files)):
        return _choose_arrays(source, files, arrays, name)
    formats = Counter(form for path, _, _ in files if (form := _format(path)))
    if not formats and (whole := [file for file in files if _is_json(file[0])]):
        return _choose_json(source, files, whole)
    pickles = [path for path, _, _ in files if path.lower().endswith(_PICKLES)]
    if not formats and pickles:
        raise UnsafeFile(f"input {name!r}: {pickles[0]} is a pickle, which can run code when it is opened; store it as Parquet")
    if not formats:
        endings = sorted({os.path.basename(path).rpartition(".")[2] for path, _, _ in files})[:5]
        known = ", ".join(sorted([*FORMATS, "json"]))
        raise InputError(f"input {name!r}: {source}: no file of a known format (found: {', '.join(endings)}); known: {known}")
    notes: list[str] = []
    form = _one_format(formats, kind, source, name, notes)
    chosen = [file for file in files if _format(file[0]) == form]
    others = len(files) - sum(formats.values())
    if others and form != "images":
        notes.append(f"{others} files of other kinds in {source} are not read")
    if form == "images":
        chosen = _blocks(chosen, folder)
    return Found(source, _reader(form, schema), chosen, tuple(notes))


def _is_json(path: str) -> bool:
    endings = path.rpartition("/")[2].lower().split(".")[1:]
    return endings[-1:] == ["json"] or (endings[-2:-1] == ["json"] and endings[-1] in COMPRESSED)


def _choose_json(source: str, files: Sequence[File], chosen: list[File]) -> Found:
    """JSON in one piece, where nothing else can be meant: beside data of another format such a file describes them."""
    others = len(files) - len(chosen)
    return Found(source, JsonReader(), chosen, (f"{others} files of other kinds in {source} are not read",) if others else ())


def _arrays(files: Sequence[File]) -> list[File]:
    """Stored embeddings, where nothing else is there that could be meant: no pictures, and no tables but those beside them.

    Of a folder that holds embeddings of the pictures and of their texts, those of the pictures.
    """
    arrays = [file for file in files if file[0].rpartition(".")[2].lower() in ARRAY_SUFFIXES]
    tables = set(tables_beside(path for path, _, _ in arrays).values()) if arrays else set()
    if any(_format(path) and path not in tables for path, _, _ in files):
        return []
    for prefix in ("img_emb_", "text_emb_"):
        chosen = [file for file in arrays if os.path.basename(file[0]).startswith(prefix)]
        if chosen:
            return chosen
    return arrays


def _choose_arrays(source: str, files: Sequence[File], arrays: list[File], name: str) -> Found:
    remote = next((path for path, _, _ in arrays if "://" in path), None)
    if remote is not None:
        raise InputError(f"input {name!r}: {remote}: arrays are mapped from local files; copy them here, or store Parquet")
    kinds = Counter(path.rpartition(".")[2].lower() for path, _, _ in arrays)
    if len(kinds) > 1:
        raise InputError(f"input {name!r}: {source} mixes .npy and .npz files; name one kind with a glob: '*.npy'")
    tables = tables_beside(path for path, _, _ in arrays)
    others = len(files) - len(arrays) - len(set(tables.values()) & {path for path, _, _ in files})
    notes = (f"{others} files of other kinds in {source} are not read",) if others else ()
    ordered = sorted(arrays, key=lambda file: (shard_number(Path(file[0])), file[0]))
    return Found(source, ArrayReader(tables), ordered, notes)


def _one_format(formats: Counter[str], kind: str, source: str, name: str, notes: list[str]) -> str:
    """The format to read. The tables beside archives of img2dataset hold the same rows; pictures are in the archives."""
    if set(formats) == {"parquet", "webdataset"}:
        form = "webdataset" if kind == "images" else "parquet"
        notes.append(f"{source} holds archives and their tables; the {'archives' if kind == 'images' else 'tables'} are read")
        return form
    if len(formats) > 1:
        listed = ", ".join(f"{count} {form}" for form, count in formats.most_common())
        raise InputError(
            f"input {name!r}: {source} mixes formats ({listed}); name one with a glob: '*.{formats.most_common(1)[0][0]}'"
        )
    return next(iter(formats))


def _reader(form: str, schema: str | Mapping[str, str]) -> Reader:
    order = (
        [names[0] for names in SCHEMAS[schema].values()] if isinstance(schema, str) and schema in ("cc3m", "cc12m") else None
    )
    if form in ("csv", "tsv"):
        return (CsvReader if form == "csv" else TsvReader)(order)
    plain: dict[str, type[Reader]] = {
        "parquet": ParquetReader, "jsonl": JsonLinesReader, "webdataset": WebDatasetReader, "images": ImageFolderReader,
    }  # fmt: skip
    return plain[form]()


def _blocks(files: list[File], folder: str | None) -> list[File]:
    """A picture folder in blocks of `FOLDER_SHARD` files, each a shard."""
    root = folder or os.path.commonpath([os.path.dirname(path) or "." for path, _, _ in files])
    blocks: list[File] = []
    for start in range(0, len(files), FOLDER_SHARD):
        block = files[start : start + FOLDER_SHARD]
        names = tuple(Path(os.path.relpath(path, root)).as_posix() for path, _, _ in block)
        blocks.append(
            (
                f"{root}#{start // FOLDER_SHARD:05d}" if len(files) > FOLDER_SHARD else root,
                sum(size for _, size, _ in block),
                names,
            )
        )
    return blocks
