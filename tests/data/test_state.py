"""Bytes of probe states, and digests of settings."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from assaymark.data.state import decode_state, digest, encode_state
from assaymark.errors import InputError

VALUES = st.one_of(
    st.integers(-(2**80), 2**80),
    st.floats(allow_nan=False),
    st.text(),
    st.binary(),
    st.booleans(),
    st.none(),
    st.dictionaries(st.text(), st.integers()),
    st.dictionaries(st.tuples(st.integers(), st.text()), st.integers(), max_size=3),
    st.lists(st.tuples(st.integers(), st.text()), max_size=3),
)


@given(st.dictionaries(st.text(min_size=1), VALUES, max_size=5))
@settings(max_examples=60, deadline=None)
def test_states_come_back_as_they_were(state: dict) -> None:
    assert decode_state(encode_state(state)) == state


@given(
    hnp.arrays(
        st.sampled_from([np.int64, np.float32, np.bool_, np.uint8, ">i4", "U3"]), hnp.array_shapes(min_dims=0, min_side=0)
    )
)
@settings(max_examples=40, deadline=None)
def test_arrays_keep_shape_type_and_bits(array: np.ndarray) -> None:
    out = decode_state(encode_state({"a": array}))["a"]
    assert out.shape == array.shape and out.dtype == array.dtype.newbyteorder("=")
    np.testing.assert_array_equal(out, array)
    out[...] = 0  # writable, and not a view of the bytes


def test_special_floats_and_numpy_scalars() -> None:
    out = decode_state(encode_state({"f": [float("inf"), float("nan"), -0.0, 0.1], "n": np.int64(3)}))
    assert out["f"][0] == float("inf") and np.isnan(out["f"][1]) and str(out["f"][2]) == "-0.0" and out["f"][3] == 0.1
    assert isinstance(out["n"], np.int64)


def test_objects_are_refused_and_damage_is_noticed() -> None:
    for bad in (object(), {1, 2}, np.array([{}])):
        with pytest.raises(TypeError, match="cannot be stored"):
            encode_state({"x": bad})
    good = encode_state({"a": np.arange(5), "b": {"k": 1}})
    for damaged in (good[:-1], good + b"x", b"", b"junk" * 9, good[:20]):
        with pytest.raises(InputError, match="damaged"):
            decode_state(damaged)


@dataclass
class Settings:
    words: frozenset[str]
    numbers: np.ndarray
    other: dict


def test_digest_follows_the_settings_and_nothing_else() -> None:
    a = Settings(frozenset({"x", "y", "z"}), np.arange(3), {"a": 1, "b": 2})
    same = Settings(frozenset({"z", "y", "x"}), np.arange(3), {"b": 2, "a": 1})
    assert digest(a) == digest(same)
    for other in (
        Settings(frozenset({"x"}), np.arange(3), {"a": 1, "b": 2}),
        Settings(a.words, np.arange(3.0), a.other),
        Settings(a.words, a.numbers, {"a": 1, "b": 3}),
    ):
        assert digest(other) != digest(a)
    assert digest("1") != digest(1) and digest([1, 23]) != digest([12, 3])


def test_digest_is_equal_in_another_process() -> None:
    code = "from assaymark.data.state import digest; print(digest({'s': frozenset('abcdef'), 'n': [1, 2.5, None]}))"
    seen = {
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={**os.environ, "PYTHONHASHSEED": seed}
        ).stdout
        for seed in ("1", "2")
    }
    assert len(seen) == 1
