"""What is checked before an audit runs, the user's secret, and what provenance may and may not say."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

from assaymark.audit import AuditInfo, InputSpec, ModelRole
from assaymark.errors import ConfigError, EngineError, InputError, MissingExtra, ModelError, UnknownName
from assaymark.execution import _describe_input, _describe_model, cache_folder, execute, user_salt
from assaymark.preconditions import check_engine, check_extras, check_inputs, check_roles

INFO = AuditInfo(
    "a",
    "A",
    "?",
    "-",
    (InputSpec("x", "table", "the x"), InputSpec("y", "images", "the y"), InputSpec("z", "table", "more", required=False)),
    (ModelRole("judge", "judges", required=True), ModelRole("other", "helps")),
    needs=("no_such_part",),
)


def test_missing_inputs_are_all_named() -> None:
    with pytest.raises(InputError, match=r"inputs x \(table\): the x; y \(images\): the y"):
        check_inputs(INFO, ["z"])
    with pytest.raises(UnknownName, match="input 'w'"):
        check_inputs(INFO, ["w", "x", "y"])
    check_inputs(INFO, ["x", "y"])


def test_roles() -> None:
    with pytest.raises(ModelError, match="'judge'"):
        check_roles(INFO, {"other": "hf:x"})
    with pytest.raises(UnknownName, match="did you mean 'judge'"):
        check_roles(INFO, {"jugde": "hf:x"})
    check_roles(INFO, {"judge": "hf:x"})


def test_engines(monkeypatch) -> None:
    for engine in ("local", "ray", "ray://head:10001"):
        check_engine(engine)
    for engine in ("", "Local", "spark", "ray://", "ray://a/b", "ray://a b"):
        with pytest.raises(EngineError):
            check_engine(engine)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"assaymark\[cluster\]"):
        check_engine("ray://head:1")


def test_missing_extra_is_the_install_line() -> None:
    with pytest.raises(MissingExtra, match=r"pip install 'assaymark\[no_such_part\]'"):
        check_extras(INFO)


def test_checks_come_before_anything_is_opened(toys, monkeypatch) -> None:
    from toy_audits import ToyMean

    monkeypatch.setattr("assaymark.data.open_input", lambda *a, **k: pytest.fail("opened"))
    with pytest.raises(ConfigError):
        execute(ToyMean, inputs={"values": "x"}, settings={"levle": 1})
    with pytest.raises(EngineError):
        execute(ToyMean, inputs={"values": "x"}, engine="spark")
    with pytest.raises(UnknownName):
        execute(ToyMean, inputs={"values": "x"}, models={"judge": "hf:x"})


def test_schema_and_models_reach_the_openers(toys, monkeypatch) -> None:
    import toy_audits

    seen = {}

    def open_input(kind, value, *, name, schema):
        seen[name] = (kind, schema)
        return toy_audits.OpenedTable(value, schema)

    monkeypatch.setattr("assaymark.data.open_input", open_input)
    table = pa.table({"x": [1.0]})
    inputs = {"values": {"path": table, "schema": {"x": "y"}}, "labels": table}
    result = execute(toy_audits.ToyMean, inputs=inputs, models={"scorer": "hf:m"}, seed=3)
    assert seen == {"values": ("table", {"x": "y"}), "labels": ("table", "auto")}
    assert result.provenance.models == {"scorer": {"spec": "hf:m", "fingerprint": "f00d", "calls": 0}}
    assert result.provenance.libraries["numpy"]
    assert result.artifacts == {}


def test_artifact_outside_the_step_is_a_defect(toys, tmp_path) -> None:
    import toy_audits

    from assaymark.result import Artifact, Result

    class Escapes(toy_audits.ToyMean):
        def run(self, inputs, context):
            (context.artifacts / "../../out").write_text("x")
            return Result("toy-mean", "x", {}, artifacts={"a": Artifact("a", "data", "../../out")})

    with pytest.raises(ValueError, match="did not leave"):
        execute(Escapes, inputs={"values": pa.table({"x": [1.0]})}, folder=tmp_path)


def test_provenance_holds_no_credentials() -> None:
    class Opened:
        source, format, rows, fingerprint, shards = "s3://key:secret@bucket/x?X-Amz-Signature=1", "parquet", 3, "f", (1, 2)

    class Model:
        spec, fingerprint, calls = "openai:m@https://user:pass@host/v1", "f", 2

    assert _describe_input(Opened()) == {
        "source": "s3://bucket/x",
        "format": "parquet",
        "rows": 3,
        "fingerprint": "f",
        "files": 2,
    }
    assert _describe_model(Model())["spec"] == "openai:m@https://host/v1"


def test_salt_is_private_stable_and_can_be_given(tmp_path, monkeypatch) -> None:
    monkeypatch.delenv("ASSAYMARK_SALT", raising=False)
    monkeypatch.setenv("ASSAYMARK_CACHE", str(tmp_path / "deep" / "cache"))
    first = user_salt()
    assert len(first) == 32
    assert user_salt() == first
    assert stat.S_IMODE((cache_folder() / "salt").stat().st_mode) == 0o600
    assert [path.name for path in cache_folder().iterdir()] == ["salt"]
    monkeypatch.setenv("ASSAYMARK_SALT", "given")
    assert user_salt() == b"given"
    monkeypatch.delenv("ASSAYMARK_SALT")
    (cache_folder() / "salt").write_bytes(b"")
    with pytest.raises(InputError, match="damaged"):
        user_salt()


def test_cache_folder_follows_the_environment(monkeypatch) -> None:
    monkeypatch.delenv("ASSAYMARK_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    assert cache_folder() == Path("/x/assaymark")


def test_importing_the_package_loads_nothing_heavy() -> None:
    script = (
        "import sys, time; t = time.perf_counter(); import assaymark; print(time.perf_counter() - t);"
        "print([m for m in ('numpy','pydantic','pyarrow','torch','daft','duckdb','scipy','typer') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=os.environ, check=True)
    seconds, modules = done.stdout.splitlines()
    print(f"import assaymark: {float(seconds) * 1000:.1f} ms")
    assert modules == "[]"


def test_all_public_names_exist() -> None:
    import assaymark

    for name in assaymark.__all__:
        assert getattr(assaymark, name) is not None
        assert name in dir(assaymark)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = assaymark.nothing
