"""Bytes of probe states (JSON header and raw little-endian buffers, no pickle) and digests of probe settings."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from assaymark.data.probe import State
from assaymark.errors import InputError

__all__ = ["decode_state", "digest", "encode_state"]

MAGIC = b"AMST1\n"


def encode_state(state: State) -> bytes:
    """Bytes of a state: arrays keep dtype and shape, counters the order and type of their keys, floats every bit.

    Raises
    ------
    TypeError
        A value that is no array, number, text, flag, counter, or list of those.
    """
    buffers: list[bytes] = []
    header = json.dumps(_describe(state, buffers, ""), ensure_ascii=True, separators=(",", ":")).encode()
    return b"".join([MAGIC, struct.pack("<Q", len(header)), header, *buffers])


def _describe(value: Any, buffers: list[bytes], where: str) -> Any:
    """JSON of a value; an array becomes its dtype, shape and length, its bytes go to `buffers`."""
    if isinstance(value, np.ndarray):
        if value.dtype.kind not in "biufcSUM":
            raise TypeError(f"state {where!r}: arrays of {value.dtype} cannot be stored")
        raw = np.ascontiguousarray(value, dtype=value.dtype.newbyteorder("<")).tobytes()
        buffers.append(raw)
        return {"a": [value.dtype.newbyteorder("<").str, list(value.shape), len(raw)]}
    if isinstance(value, np.generic):
        return {"g": _describe(np.asarray(value), buffers, where)}
    if isinstance(value, bytes):
        buffers.append(value)
        return {"b": len(value)}
    if isinstance(value, float):
        return {"f": value.hex()}
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, str):
        return {"s": value}
    if type(value) is dict and set(map(type, value)) <= {str} and set(map(type, value.values())) <= {int}:
        return {"c": value}  # a counter is JSON as it stands; those of many keys are most of what is stored
    if isinstance(value, Mapping):
        pairs = [[_describe(key, buffers, where), _describe(item, buffers, f"{where}.{key}")] for key, item in value.items()]
        return {"m": pairs}
    if isinstance(value, tuple):
        return {"t": [_describe(item, buffers, where) for item in value]}
    if isinstance(value, list):
        return [_describe(item, buffers, where) for item in value]
    raise TypeError(f"state {where!r}: a {type(value).__name__} cannot be stored; use arrays, numbers or counters")


def decode_state(data: bytes) -> dict[str, Any]:
    """The state that `encode_state` wrote; `InputError` for bytes that it did not write."""
    view = memoryview(data)
    try:
        if bytes(view[: len(MAGIC)]) != MAGIC:
            raise ValueError("not a stored state")
        start = len(MAGIC) + 8
        (length,) = struct.unpack("<Q", view[len(MAGIC) : start])
        reader = _Buffers(view, start + length)
        state = _rebuild(json.loads(bytes(view[start : start + length])), reader)
        if reader.at != len(view) or not isinstance(state, dict):
            raise ValueError("truncated or followed by something else")
    except (ValueError, KeyError, TypeError, struct.error, RecursionError) as error:
        raise InputError(f"a stored state is damaged: {error}") from None
    return state


class _Buffers:
    """Hands out the buffers one after another, in the order in which the header mentions them."""

    def __init__(self, view: memoryview, at: int) -> None:
        self.view, self.at = view, at

    def take(self, length: int) -> memoryview:
        if length < 0 or self.at + length > len(self.view):
            raise ValueError("truncated")
        self.at += length
        return self.view[self.at - length : self.at]


def _rebuild(node: Any, buffers: _Buffers) -> Any:
    if isinstance(node, list):
        return [_rebuild(item, buffers) for item in node]
    if not isinstance(node, dict):
        return node
    ((kind, content),) = node.items()
    if kind == "a":
        name, shape, length = content
        dtype = np.dtype(name)
        if dtype.hasobject:
            raise ValueError("an array of objects")
        array: npt.NDArray[Any] = np.frombuffer(bytes(buffers.take(length)), dtype).reshape(shape)
        return array.astype(dtype.newbyteorder("="), copy=True)
    if kind == "c":
        return dict(content)
    if kind == "g":
        return _rebuild(content, buffers)[()]
    if kind == "b":
        return bytes(buffers.take(content))
    if kind == "m":
        return {_rebuild(key, buffers): _rebuild(item, buffers) for key, item in content}
    if kind == "t":
        return tuple(_rebuild(item, buffers) for item in content)
    return float.fromhex(content) if kind == "f" else {"s": content}[kind]


def digest(value: Any) -> str:
    """Hash of an object's settings, equal in every process: sets and dicts are sorted, objects go by class and fields.

    An object with a `fingerprint` goes by that (a model, a data set). It tells whether a checkpoint belongs to these probes.
    """
    out = hashlib.sha256()
    _feed(out, value, ())
    return out.hexdigest()


def _feed(out: Any, value: Any, above: tuple[int, ...]) -> None:
    out.update(f"<{type(value).__module__}.{type(value).__qualname__}>".encode())
    if id(value) in above:
        return
    above = (*above, id(value))
    if value is None or isinstance(value, bool | int | float | complex | str | bytes):
        out.update(repr(value).encode("utf-8", "surrogatepass"))
    elif isinstance(value, np.ndarray):
        out.update(
            repr((value.dtype.str, value.shape)).encode()
            + (b"" if value.dtype.hasobject else np.ascontiguousarray(value).tobytes())
        )
    elif isinstance(value, np.generic):
        out.update(value.tobytes())
    elif isinstance(value, pa.Array | pa.ChunkedArray | pa.Table):
        out.update(repr(value.to_pylist()).encode("utf-8", "surrogatepass"))
    elif isinstance(value, set | frozenset):
        for part in sorted(digest(item) for item in value):
            out.update(part.encode())
    elif isinstance(value, Mapping):
        for part in sorted(digest(key) + digest(item) for key, item in value.items()):
            out.update(part.encode())
    elif isinstance(value, Sequence):
        for item in value:
            _feed(out, item, above)
    elif isinstance(getattr(value, "fingerprint", None), str):
        out.update(value.fingerprint.encode())
    elif isinstance(value, type) or (callable(value) and hasattr(value, "__qualname__")):
        out.update(f"{value.__module__}.{value.__qualname__}".encode())
    else:
        _feed_object(out, value, above)


def _feed_object(out: Any, value: Any, above: tuple[int, ...]) -> None:
    """Fields of an object; what has none goes by how it is pickled (it is never unpickled here)."""
    slots = [name for kind in type(value).__mro__ for name in getattr(kind, "__slots__", ()) if hasattr(value, name)]
    fields = {name: getattr(value, name) for name in slots if name != "__weakref__"} | dict(getattr(value, "__dict__", {}))
    if not fields:
        reduced = value.__reduce_ex__(2)
        _feed(out, reduced if isinstance(reduced, str) else list(reduced[1:3]), above)
        return
    for name in sorted(fields):
        out.update(name.encode())
        _feed(out, fields[name], above)
