"""64-bit hashes of rows: the same in every batch, process and order, so that samples and splits made of them are too."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

__all__ = ["Coded", "Keys", "coded", "hash_column", "mixed"]

Keys = npt.NDArray[np.uint64]

_GOLDEN, _MIX1, _MIX2 = (np.uint64(c) for c in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))


def mixed(values: Keys) -> Keys:
    """Finaliser of splitmix64: every bit of the input changes every bit of the output with probability 1/2."""
    with np.errstate(over="ignore"):
        z = values + _GOLDEN
        z = (z ^ (z >> np.uint64(30))) * _MIX1
        z = (z ^ (z >> np.uint64(27))) * _MIX2
    return np.asarray(z ^ (z >> np.uint64(31)), dtype=np.uint64)


def hash_column(column: pa.Array) -> Keys:
    """64-bit hash of each value of an Arrow column; missing ones hash alike. O(total length)."""
    kind = column.type
    if pa.types.is_floating(kind):
        return _hash_numbers(column.to_numpy(zero_copy_only=False))
    if pa.types.is_large_list(kind) or pa.types.is_list(kind):
        values: list[Any] = [
            b"" if row is None else np.asarray(row, np.float32).tobytes() for row in column.to_numpy(zero_copy_only=False)
        ]
    elif pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        values = [value or b"" for value in column.to_pylist()]
    else:
        values = [f"t{value}" if value is not None else "" for value in column.to_pylist()]
    objects = np.empty(len(values), dtype=object)
    objects[:] = values
    return np.asarray(pd.util.hash_array(objects, categorize=False), dtype=np.uint64)


def _hash_numbers(values: npt.NDArray[np.floating]) -> Keys:
    numbers = np.asarray(values, dtype=np.float64) + 0.0  # -0.0 becomes 0.0
    bits = numbers.view(np.uint64).copy()
    bits[np.isnan(numbers)] = np.uint64(0x7FF8000000000000)
    return mixed(bits)


class Coded(NamedTuple):
    """`codes` (n,) int64 >= 0, 0 where the value is missing or blank; `names` is {value: code} of the values that occur."""

    codes: npt.NDArray[np.int64]
    names: dict[str, int]


def coded(column: pa.Array, *, longest: int = 40) -> Coded:
    """Code of each value of a column of names, by its hash: equal in every batch, so that counts by code can be merged.

    Parameters
    ----------
    longest : int
        Characters of the longest name; longer ones are cut and end in digits of their code, so that they stay apart. The code
        is that of the whole value.
    """
    encoded = column.dictionary_encode()
    written = [str(value).strip() if value is not None else "" for value in encoded.dictionary.to_pylist()]
    codes = (hash_column(encoded.dictionary) >> np.uint64(1)).astype(np.int64)
    codes[[not name for name in written]] = 0
    index = encoded.indices.fill_null(len(codes)).to_numpy(zero_copy_only=False)
    rows = np.append(codes, 0)[index]
    return Coded(rows, {_cut(name, int(code), longest): int(code) for name, code in zip(written, codes, strict=True) if code})


def _cut(name: str, code: int, longest: int) -> str:
    return name if len(name) <= longest else f"{name[: longest - 7]}… {code & 0xFFFFF:05x}"
