"""One numpy array out of a pickle, without running anything that the file asks for.

Some published vectors are pickles. A pickle is a program: it names functions and calls them. Here it meets none of Python's:
each of the few names that an array needs is answered with a stand-in of ours, which only takes numbers and bytes, and every
other name is refused before it is looked up. The array is then built from its bytes by ourselves.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from assaymark.errors import InputError, UnsafeFile

__all__ = ["MOST_BYTES", "read_pickled_array"]

MOST_BYTES = 64 << 20
MOST_OPCODES = 1_000
"""An array takes about forty; positions in the memo are bounded alike, since the unpickler reserves memory up to them."""

_NUMERIC = "fiub"
_REFERENCES = ("PERSID", "BINPERSID", "EXT1", "EXT2", "EXT4", "NEXT_BUFFER", "READONLY_BUFFER")
_DAMAGED = (
    pickle.UnpicklingError, EOFError, ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError, MemoryError,
    RecursionError,
)  # fmt: skip


def read_pickled_array(path: str | PathLike[str], *, most_bytes: int = MOST_BYTES) -> npt.NDArray[Any]:
    """The array that a pickle of any protocol (0 to 5, Python 2 included) holds.

    Parameters
    ----------
    path : file written by ``pickle.dump(array, file)``
    most_bytes : larger files are refused before they are read

    Returns
    -------
    array
        Floating, integer or boolean, in native byte order; a copy that can be written to.

    Raises
    ------
    UnsafeFile
        The file names anything but the parts of an array, refers to objects outside itself, is longer than `most_bytes`, or
        is no plain program of one array. Nothing that it names has been imported or called.
    InputError
        Not there, not a pickle, damaged, or not one numeric array (lists, tuples and dicts of arrays are refused too).

    Notes
    -----
    O(size). The opcodes are checked before the first is executed.
    """
    where = Path(path)
    content = _content(where, most_bytes)
    _check_opcodes(content, where)
    try:
        found = _ArrayUnpickler(content, where).load()
    except _DAMAGED as error:
        raise InputError(f"{where}: damaged, or not the pickle of an array ({_reason(error)})") from None
    if not isinstance(found, _Array) or found.value is None:
        raise InputError(f"{where}: holds {_kind(found)}, not one numeric array; store the array alone, best as .npy")
    return found.value


def _content(where: Path, most_bytes: int) -> bytes:
    try:
        size = where.stat().st_size
        if size > most_bytes:
            raise UnsafeFile(f"{where}: {size:,} bytes exceed the limit of {most_bytes:,} for a pickle; store it as .npy")
        return where.read_bytes()
    except OSError as error:
        raise InputError(f"{where}: cannot be read ({error.strerror or error})") from None


def _check_opcodes(content: bytes, where: Path) -> None:
    """Refuse programs that are long, reach outside the file, or announce more than they hold."""
    try:
        for count, (opcode, argument, _) in enumerate(pickletools.genops(content)):
            if opcode.name in _REFERENCES:
                raise UnsafeFile(f"{where}: refers to an object outside the file ({opcode.name}); store it as .npy")
            far = "PUT" in opcode.name and isinstance(argument, int) and argument >= MOST_OPCODES
            if count >= MOST_OPCODES or far:
                raise UnsafeFile(f"{where}: a pickle of more steps than an array takes; store it as .npy")
    except (ValueError, UnicodeError, OverflowError) as error:
        raise InputError(f"{where}: not a pickle, or cut off ({_reason(error)})") from None


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:120] or type(error).__name__


def _kind(found: object) -> str:
    return f"a {type(found).__name__}" if isinstance(found, list | tuple | dict | str | int | float) else "something else"


class _DType:
    """Stand-in for a dtype: a code such as "f2", then its byte order."""

    __slots__ = ("code", "order")

    def __init__(self, code: str) -> None:
        if not isinstance(code, str) or code[:1] not in _NUMERIC or not code[1:].isdigit():
            raise ValueError(f"an array of {str(code)[:20]!r} is not numeric")
        self.code, self.order = code, "="

    def __setstate__(self, state: Any) -> None:
        order, *structure = state[1:5]
        if order not in ("<", ">", "|", "=") or structure != [None, None, None]:
            raise ValueError("a structured array is not numeric")
        self.order = order

    def numpy(self) -> np.dtype[Any]:
        return np.dtype(self.code).newbyteorder(self.order)  # type: ignore[arg-type]


class _Array:
    """Stand-in for an array: `value` is there once its state has come."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value: npt.NDArray[Any] | None = None

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, fortran, raw = state
        self.value = _assemble(raw, dtype, shape, "F" if fortran else "C")


def _assemble(raw: Any, dtype: Any, shape: Any, order: Any) -> npt.NDArray[Any]:
    # Python 2 wrote bytes as what is read as text here, one character a byte.
    data = raw.encode("latin-1") if isinstance(raw, str) else bytes(raw) if isinstance(raw, bytes | bytearray) else None
    if data is None or not isinstance(dtype, _DType) or order not in ("C", "F"):
        raise ValueError("an array's state is not bytes of a numeric type")
    kind = dtype.numpy()
    if not isinstance(shape, tuple) or not all(type(side) is int and side >= 0 for side in shape):
        raise ValueError("an array's shape is not whole numbers")
    if math.prod(shape) * kind.itemsize != len(data):
        raise ValueError(f"{len(data):,} bytes for an array of shape {shape} and type {kind}")
    array = np.frombuffer(data, kind).reshape(shape, order=order)
    return array.astype(kind.newbyteorder("="))


# Answers to names. Instances without attributes, so that a program can change nothing about them by setting their state.
class _Reconstruct:
    __slots__ = ()

    def __call__(self, kind: Any, shape: Any, code: Any) -> _Array:
        if not isinstance(kind, _NDArray):
            raise ValueError("an array of a class of its own")
        return _Array()


class _FromBuffer:
    """Protocol 5."""

    __slots__ = ()

    def __call__(self, raw: Any, dtype: Any, shape: Any, order: Any) -> _Array:
        array = _Array()
        array.value = _assemble(raw, dtype, shape, order)
        return array


class _NDArray:
    __slots__ = ()


class _MakeDType:
    __slots__ = ()

    def __call__(self, code: Any, align: Any = False, copy: Any = False) -> _DType:
        return _DType(code)


class _Encode:
    """How protocols 0 to 2 write bytes: text, one character a byte."""

    __slots__ = ()

    def __call__(self, text: Any, encoding: Any) -> bytes:
        if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
            raise ValueError("bytes that are not written as latin-1")
        return text.encode("latin-1")


class _NoBytes:
    """How protocols 0 to 2 write no bytes at all."""

    __slots__ = ()

    def __call__(self) -> bytes:
        return b""


_NAMES: dict[str, Any] = {
    "numpy.ndarray": _NDArray(),
    "numpy.dtype": _MakeDType(),
    "_codecs.encode": _Encode(),
    "__builtin__.bytes": _NoBytes(),
    "builtins.bytes": _NoBytes(),
    **{f"numpy.{core}.multiarray._reconstruct": _Reconstruct() for core in ("core", "_core")},
    **{f"numpy.{core}.numeric._frombuffer": _FromBuffer() for core in ("core", "_core")},
}
"""Everything that a program may name. numpy moved its core in version 2; files of both are about."""


class _ArrayUnpickler(pickle.Unpickler):
    def __init__(self, content: bytes, where: Path) -> None:
        super().__init__(io.BytesIO(content), fix_imports=False, encoding="latin-1")
        self.where = where

    def find_class(self, module: str, name: str) -> Any:
        """The stand-in of an allowed name; never an import."""
        full = f"{module}.{name}"
        if full not in _NAMES:
            raise UnsafeFile(f"{self.where}: a pickle that asks for {full[:80]!r}, which could run code; it was not loaded")
        return _NAMES[full]
