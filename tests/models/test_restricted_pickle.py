"""Pickled arrays of every protocol are read; nothing that a pickle asks for ever runs."""

from __future__ import annotations

import io
import os
import pickle
import pickletools
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from assaymark.errors import InputError, UnsafeFile
from assaymark.models.restricted_pickle import read_pickled_array

PROTOCOLS = range(6)
ARRAYS = {
    "float16 prompts": np.random.default_rng(0).normal(size=(2, 512)).astype(np.float16),
    "fortran": np.asfortranarray(np.arange(12.0).reshape(3, 4)),
    "big endian": np.arange(6, dtype=">i4").reshape(2, 3),
    "strided": np.arange(20.0)[::3],
    "booleans": np.array([[True, False]]),
    "one number": np.array(2.5),
    "empty": np.zeros((0, 4), np.float32),
}


def dumped(tmp_path: Path, value: Any, protocol: int) -> Path:
    path = tmp_path / "x.pkl"
    path.write_bytes(pickle.dumps(value, protocol=protocol))
    return path


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("name", ARRAYS)
def test_arrays_of_every_protocol(tmp_path: Path, name: str, protocol: int) -> None:
    array = ARRAYS[name]
    found = read_pickled_array(dumped(tmp_path, array, protocol))
    np.testing.assert_array_equal(found, array)
    assert found.dtype == array.dtype.newbyteorder("=") and found.dtype.isnative and found.flags.writeable


def test_names_of_both_numpy_versions_and_of_python_2(tmp_path: Path) -> None:
    array = ARRAYS["float16 prompts"]
    for protocol in (0, 2):
        old = pickle.dumps(array, protocol=protocol).replace(b"numpy._core", b"numpy.core")
        assert b"numpy.core" in old
        (tmp_path / "old.pkl").write_bytes(old)
        np.testing.assert_array_equal(read_pickled_array(tmp_path / "old.pkl"), array)
    # As Python 2 wrote it: the bytes as a byte string (BINSTRING), in place of the call that decodes them.
    raw = np.array([1.0, 2.0], "<f4").tobytes()
    text = (
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01K\x02\x85"
        b"cnumpy\ndtype\nU\x02f4K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89U"
        + bytes([len(raw)]) + raw + b"tb."
    )  # fmt: skip
    (tmp_path / "two.pkl").write_bytes(text)
    np.testing.assert_array_equal(read_pickled_array(tmp_path / "two.pkl"), [1, 2])


class Payload:
    """Calls `function(*arguments)` when it is unpickled without care."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_planted_payloads_are_refused_and_do_not_run(tmp_path: Path, protocol: int) -> None:
    mark = tmp_path / "ran"
    payloads = {
        "system": Payload(os.system, f"touch {mark}"),
        "eval": Payload(eval, f"open({str(mark)!r}, 'w')"),
        "exec": Payload(exec, f"open({str(mark)!r}, 'w')"),
        "Popen": Payload(subprocess.Popen, ["touch", str(mark)]),
        "numpy.load": Payload(np.load, str(mark)),
        "numpy.fromfile": Payload(np.fromfile, str(mark)),
    }
    for name, payload in payloads.items():
        for value in (payload, [ARRAYS["booleans"], payload], {"a": payload}, (ARRAYS["strided"], payload)):
            with pytest.raises(UnsafeFile, match=name.rpartition(".")[2]):
                read_pickled_array(dumped(tmp_path, value, protocol))
    assert not mark.exists()
    # The payload is real: an unrestricted reader runs it.
    pickle.loads(pickle.dumps(payloads["exec"], protocol=protocol))
    assert mark.exists()


def test_dotted_and_stacked_names_are_refused_before_they_are_imported(tmp_path: Path) -> None:
    programs = [
        b"\x80\x04\x8c\x05numpy\x8c\x0endarray.tofile\x93.",  # attribute of an allowed name
        b"\x80\x04\x8c\x16numpy._core.multiarray\x8c\x04load\x93.",
        b"(ios\nsystem\n.",  # INST
        b"(S'true'\nios\nsystem\n.",
        b"cantigravity\nfly\n.",
        b"\x80\x02c_codecs\ndecode\n.",
    ]
    for program in programs:
        (tmp_path / "x.pkl").write_bytes(program)
        with pytest.raises(UnsafeFile, match="could run code"):
            read_pickled_array(tmp_path / "x.pkl")
    assert "antigravity" not in sys.modules


def test_allowed_names_cannot_be_misused(tmp_path: Path) -> None:
    dtype = b"cnumpy\ndtype\n"
    shell = b"cnumpy.core.multiarray\n_reconstruct\n"
    programs = {
        "an object array": pickle.dumps(np.array([None]), protocol=2),
        "a text array": pickle.dumps(np.array(["a"]), protocol=2),
        "a structured array": pickle.dumps(np.zeros(2, [("a", "f4")]), protocol=2),
        "dates": pickle.dumps(np.zeros(2, "M8[s]"), protocol=2),
        "another codec": b"c_codecs\nencode\n(Va\nVzlib\ntR.",
        "state set on a stand-in": shell + b"(dS'x'\nI1\nsb.",
        "slot state set on a stand-in": shell + b"(N(dS'__call__'\nI1\nstb.",
        "state set on the class": b"cnumpy\nndarray\n(dS'x'\nI1\nsb.",
        "bytes of a size": b"cbuiltins\nbytes\n(I99999999999\ntR.",
        "new object of a stand-in": b"\x80\x02cnumpy\nndarray\n)\x81.",
        "array that never gets its state": shell + b"(cnumpy\nndarray\n(I0\ntVb\ntR.",
        "array of a list": shell + b"((ltR.",
        "endless shape": pickle.dumps(np.zeros(4), protocol=2).replace(b"K\x04\x85", b"J\xff\xff\xff\x7f\x85"),
        "negative shape": pickle.dumps(np.zeros(4), protocol=2).replace(b"K\x04\x85", b"J\xff\xff\xff\xff\x85"),
        "a list": pickle.dumps([np.zeros(2), np.zeros(2)]),
        "a dict": pickle.dumps({"a": np.zeros(2)}),
        "a number": pickle.dumps(3),
        "a name alone": dtype + b".",
    }
    for name, program in programs.items():
        (tmp_path / "x.pkl").write_bytes(program)
        with pytest.raises(InputError, match=r"x\.pkl"):
            print(name, read_pickled_array(tmp_path / "x.pkl"))
    np.testing.assert_array_equal(read_pickled_array(dumped(tmp_path, np.ones(3), 2)), np.ones(3))  # nothing was spoilt


def test_programs_that_would_take_memory_or_reach_outside(tmp_path: Path) -> None:
    programs = {
        "a far place in the memo": b"\x80\x02K\x01r" + struct.pack("<I", 2**31) + b".",
        "many steps": b"\x80\x02" + b"K\x010" * 2_000 + b"K\x01.",
        "persistent": b"Psomewhere\n.",
        "extension": b"\x80\x02\x82\x01.",
        "out of band": b"\x80\x05\x97.",
    }
    for name, program in programs.items():
        (tmp_path / "x.pkl").write_bytes(program)
        with pytest.raises(UnsafeFile):
            print(name, read_pickled_array(tmp_path / "x.pkl"))
    (tmp_path / "x.pkl").write_bytes(b"\x80\x05\x96" + struct.pack("<Q", 2**40) + b"ab.")  # a bytearray of a terabyte
    with pytest.raises(InputError, match="cut off"):
        read_pickled_array(tmp_path / "x.pkl")
    with pytest.raises(UnsafeFile, match="limit of 1,000"):
        read_pickled_array(dumped(tmp_path, np.zeros(1000), 4), most_bytes=1000)


def test_damage_never_escapes_as_anything_but_an_input_error(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    for protocol in PROTOCOLS:
        whole = pickle.dumps(np.arange(6.0).reshape(2, 3), protocol=protocol)
        for trial in range(150):
            content = bytearray(whole)
            for at in rng.integers(0, len(content), 1 + trial % 4):
                content[at] = rng.integers(0, 256)
            (tmp_path / "x.pkl").write_bytes(bytes(content[: rng.integers(1, len(content) + 1)] if trial % 3 else content))
            try:
                assert read_pickled_array(tmp_path / "x.pkl").dtype.kind in "fiub"
            except InputError:
                continue
    for content in (b"", b"not a pickle", b"PK\x03\x04 zip"):
        (tmp_path / "x.pkl").write_bytes(content)
        with pytest.raises(InputError):
            read_pickled_array(tmp_path / "x.pkl")
    with pytest.raises(InputError, match="cannot be read"):
        read_pickled_array(tmp_path / "absent.pkl")


def test_an_array_takes_few_steps() -> None:
    steps = [len(list(pickletools.genops(io.BytesIO(pickle.dumps(a, protocol=k))))) for a in ARRAYS.values() for k in PROTOCOLS]
    assert max(steps) < 100
