"""Matrices in .npy files and .npz archives, from sources that need not be trusted: no objects, no surprises in the shape."""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from assaymark.errors import InputError, SchemaError, UnsafeFile, nearest

__all__ = ["array_shape", "open_array", "shard_number"]

KEYS = ("l14_img", "b32_img", "l14_txt", "b32_txt")
"""Arrays of a DataComp archive, the preferred first."""


def shard_number(file: Path) -> tuple[int, str]:
    """What shards are sorted by: the number at the end of the name (-1 and the name where there is none)."""
    match = re.search(r"(\d+)$", file.stem)
    return int(match[1]) if match else -1, "" if match else file.stem


def open_array(file: Path, key: str = "") -> npt.NDArray[Any]:
    """The matrix of a .npy file, mapped into memory, or of an .npz archive, loaded.

    Parameters
    ----------
    file : path
    key : array of an archive (default: the first of `KEYS` that it holds, or its only one)

    Raises
    ------
    UnsafeFile
        The file holds Python objects, whose loading could run code.
    InputError, SchemaError
        Damaged; not a matrix of numbers; no such array.
    """
    with _array_errors(file):
        if file.suffix == ".npz":
            with np.load(file, allow_pickle=False) as archive:
                array = np.asarray(archive[_archived(file, archive.files, key)])
        elif file.suffix == ".npy":
            array = np.load(file, mmap_mode="r", allow_pickle=False)
        else:
            raise InputError(f"{file}: embeddings are .npy, .npz or .parquet files")
    _check_matrix(file, array.shape, array.dtype)
    return array


def array_shape(file: Path, key: str = "") -> tuple[int, int]:
    """(rows, dimension) of a .npy or .npz file from its header alone; raises what `open_array` would."""
    if file.suffix != ".npz":
        rows, width = open_array(file, key).shape  # mapped, not read
        return int(rows), int(width)
    with _array_errors(file), zipfile.ZipFile(file) as archive:
        names = [name.removesuffix(".npy") for name in archive.namelist()]
        with archive.open(f"{_archived(file, names, key)}.npy") as member:
            version = np.lib.format.read_magic(member)
            read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}.get(version)
            if read is None:
                raise ValueError(f"array format {version}")
            shape, _, dtype = read(member)
    if dtype.hasobject:
        raise _holds_objects(file)
    _check_matrix(file, shape, dtype)
    return int(shape[0]), int(shape[1])


@contextmanager
def _array_errors(file: Path) -> Iterator[None]:
    """What numpy raises for a bad file, as our errors."""
    try:
        yield
    except ValueError as error:
        if "object" in str(error).lower() or "pickle" in str(error).lower():
            raise _holds_objects(file) from None
        raise InputError(f"{file}: damaged array file ({error})") from None
    except (OSError, EOFError, KeyError, zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
        raise InputError(f"{file}: damaged array file ({error})") from None


def _holds_objects(file: Path) -> UnsafeFile:
    return UnsafeFile(f"{file}: holds pickled Python objects, which can run code; store it as a plain float array")


def _check_matrix(file: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    if len(shape) != 2 or dtype.kind not in "fiu":
        raise SchemaError(f"{file}: an array of {dtype} with shape {shape}; embeddings are numbers of shape (rows, dimension)")


def _archived(file: Path, names: Sequence[str], key: str) -> str:
    """Name of the array to read from an archive."""
    chosen = key or next((name for name in KEYS if name in names), names[0] if len(names) == 1 else "")
    if chosen not in names:
        raise SchemaError(f"{file}: no array {chosen!r}{nearest(chosen, names)}; it holds {', '.join(names)}")
    return chosen
