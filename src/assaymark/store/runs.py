"""Run folders: what a run leaves behind, written so that a kill at any moment loses nothing that was finished.

    run.json                        steps, estimates, findings, gates and the resolved plan; rewritten after each step
    tables/STEP.TABLE.parquet       the tables of each result, exactly as they were in memory
    figures/STEP.FIGURE.svg
    artifacts/STEP/...              files that a step hands on
    work/STEP/...                   checkpoints of a step that is not done; deleted when it is
    report.html, card.md, log.jsonl

Every file is written under a temporary name in its own folder, synced, and renamed: a reader sees the old file or the new
one. `run.json` comes last, so a step it calls done has all its files.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from assaymark.errors import RunError
from assaymark.record import GateRecord, RunRecord, StepRecord
from assaymark.result import SCHEMA_VERSION, Estimate, Result

__all__ = ["DiskFull", "RunFolder", "RunInUse", "is_disk_full", "record_from_json", "record_to_json", "write_atomic"]


class DiskFull(RunError):
    """No space left; the finished steps are kept and the run can be resumed."""

    def __init__(self, folder: Path, what: str) -> None:
        super().__init__(
            f"no space left on the device while {what}; finished steps are kept in {folder}: "
            f"free some space, then: assaymark resume {folder}"
        )


class RunInUse(RunError):
    """Another process writes the run."""


def is_disk_full(error: BaseException) -> bool:
    """Whether a full disk or quota is behind an error, however deep in its chain of causes."""
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        if isinstance(link, OSError) and link.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        link = link.__cause__ or link.__context__
    return False


def write_atomic(path: Path, write: bytes | Callable[[Path], object]) -> Path:
    """Write a file so that `path` holds either its old content or the whole new one.

    `write` is the content, or a function that writes it to the temporary path it is given (same folder, same suffix).
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".tmp-{os.getpid()}-{path.name}")
    try:
        if isinstance(write, bytes):
            temporary.write_bytes(write)
        else:
            write(temporary)
        _sync(temporary)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync(path.parent)
    return path


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class RunFolder:
    """One run on disk. Use `create` for a new one and `open` for one that exists."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls, name: str, out: str | Path | None = None, *, root: str | Path = "runs") -> RunFolder:
        """A new folder: `out`, or `root/NAME-TIME` (UTC).

        Raises
        ------
        RunError
            When `out` exists and holds anything, or cannot be made.
        """
        try:
            if out is None:
                return cls(_fresh(Path(root), f"{name}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"))
            path = Path(out)
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(f"cannot make the run folder {out or root}: {error.strerror}; give another with --out") from None
        if any(path.iterdir()):
            is_run = (path / "run.json").exists()
            mend = f"it holds a run; continue that with: assaymark resume {path}, or " if is_run else ""
            raise RunError(f"{path} is not empty: {mend}give another with --out")
        return cls(path)

    @classmethod
    def open(cls, path: str | Path) -> RunFolder:
        """An existing run folder (its `run.json` will do as well)."""
        path = Path(path)
        path = path.parent if path.name == "run.json" else path
        if not (path / "run.json").is_file():
            raise RunError(f"{path} is not a run: it holds no run.json")
        return cls(path)

    @property
    def log_path(self) -> Path:
        return self.path / "log.jsonl"

    def work(self, step: str) -> Path:
        return self.path / "work" / step

    def log(self, event: str, **facts: Any) -> None:
        """Append one JSON object to `log.jsonl`; one write, so that lines of two threads do not mix."""
        entry = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "event": event, **facts}
        line = json.dumps(entry, default=str, ensure_ascii=False) + "\n"
        descriptor = os.open(self.log_path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(descriptor, line.encode("utf-8", "backslashreplace"))
        finally:
            os.close(descriptor)

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the run for writing; the system lets go of it when the process ends, however it ends."""
        import fcntl

        with open(self.path / ".lock", "a+", encoding="ascii") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                handle.seek(0)
                owner = handle.read().strip() or "unknown"
                raise RunInUse(f"{self.path} is being written by process {owner}: wait for it, or stop it") from None
            handle.truncate(0)
            handle.write(str(os.getpid()))
            handle.flush()
            yield

    def save(self, record: RunRecord) -> None:
        """Rewrite `run.json`."""
        text = json.dumps(record_to_json(record), indent=1, ensure_ascii=False, allow_nan=False, default=_json_default)
        write_atomic(self.path / "run.json", text.encode("utf-8", "backslashreplace"))

    def load(self) -> RunRecord:
        """The run with all its results and tables.

        Raises
        ------
        RunError
            When `run.json` is damaged or of another version, or a table of a finished step is missing.
        """
        try:
            content = json.loads((self.path / "run.json").read_bytes())
        except (OSError, ValueError) as error:
            raise RunError(f"{self.path / 'run.json'} cannot be read: {error}") from None
        return record_from_json(content, self.path)

    def save_tables(self, step: str, result: Result) -> None:
        """Write the tables of a step."""
        import pyarrow.parquet as pq

        for table in result.tables.values():
            target = self.path / "tables" / f"{step}.{table.name}.parquet"
            write_atomic(target, lambda path, data=table.data: pq.write_table(data, path, compression="zstd"))  # type: ignore[misc]

    def save_figure(self, step: str, figure: str, svg: str) -> None:
        """Write one drawing of a step."""
        write_atomic(self.path / "figures" / f"{step}.{figure}.svg", svg.encode())

    def finish_step(self, step: str) -> None:
        """Delete the checkpoints of a step that is done."""
        shutil.rmtree(self.work(step), ignore_errors=True)
        with contextlib.suppress(OSError):
            (self.path / "work").rmdir()

    def clean(self) -> None:
        """Delete what a killed writer left under temporary names."""
        for pattern in (".tmp-*", "tables/.tmp-*", "figures/.tmp-*"):
            for left in self.path.glob(pattern):
                left.unlink(missing_ok=True)

    def discard(self) -> bool:
        """Remove a run that holds nothing worth keeping (no table, artifact or checkpoint); True when it is gone.

        A run that another process writes is that process's own, however little it holds yet.
        """
        ours = {"run.json", "log.jsonl", ".lock"}
        try:
            with self.lock():
                files = [path for path in self.path.rglob("*") if not path.is_dir()]
                if any(path.parent != self.path or path.name not in ours for path in files):
                    return False
                shutil.rmtree(self.path, ignore_errors=True)
        except (RunError, OSError):
            return False
        return not self.path.exists()


def _fresh(root: Path, name: str) -> Path:
    """A folder that did not exist: two runs started in the same second get names of their own."""
    for attempt in range(1, 1000):
        path = root / (name if attempt == 1 else f"{name}-{attempt}")
        try:
            path.mkdir(parents=True)
        except FileExistsError:
            continue
        return path
    raise RunError(f"{root} holds a thousand runs of this second; give a folder with --out")


def _json_default(value: Any) -> Any:
    if hasattr(value, "tolist"):  # numpy scalars and arrays inside settings
        return value.tolist()
    return str(value)


def record_to_json(record: RunRecord) -> dict[str, Any]:
    """JSON-ready dictionary of a run; the tables' data stay in their Parquet files."""
    return {
        "schema_version": SCHEMA_VERSION,
        "name": record.name,
        "version": record.version,
        "started": record.started,
        "seconds": record.seconds,
        "seed": record.seed,
        "reveal": record.reveal,
        "exit_code": record.exit_code,
        "steps": [
            {
                "id": step.id,
                "audit": step.audit,
                "kind": step.kind,
                "status": step.status,
                "error": step.error,
                "result": step.result.to_json() if step.result is not None else None,
            }
            for step in record.steps
        ],
        "gates": [
            {**{k: v for k, v in asdict(gate).items() if k != "estimate"}, "estimate": _estimate_json(gate.estimate)}
            for gate in record.gates
        ],
        "plan": dict(record.plan),
    }


def _estimate_json(estimate: Estimate | None) -> dict[str, Any] | None:
    if estimate is None:
        return None
    infinite = {float("inf"): "Infinity", float("-inf"): "-Infinity"}
    return {k: infinite.get(v, v) if isinstance(v, float) else v for k, v in asdict(estimate).items()}


def record_from_json(content: Any, folder: Path) -> RunRecord:
    """Inverse of `record_to_json`; table data are read from `folder`."""
    version = content.get("schema_version") if isinstance(content, dict) else None
    if version != SCHEMA_VERSION:
        raise RunError(
            f"{folder} has schema version {version!r}, this assaymark reads {SCHEMA_VERSION}: "
            "read it with the assaymark that wrote it, or run the plan again"
        )
    try:
        steps = tuple(_step_from_json(step, folder) for step in content["steps"])
        gates = tuple(
            GateRecord(**{**gate, "estimate": Estimate(**gate["estimate"]) if gate["estimate"] else None})
            for gate in content["gates"]
        )
        own = {key: content[key] for key in ("name", "version", "started", "seconds", "seed", "plan", "reveal")}
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(f"{folder / 'run.json'} is damaged ({type(error).__name__}: {error}); run the plan again") from None
    return RunRecord(steps=steps, gates=gates, **own)


def _step_from_json(step: dict[str, Any], folder: Path) -> StepRecord:
    record = StepRecord(step["id"], step["audit"], step["kind"], step["status"], None, step["error"])
    content = step["result"]
    if content is None:
        return record
    tables = {t["name"]: _read_table(folder / "tables" / f"{record.id}.{t['name']}.parquet") for t in content["tables"]}
    return replace(record, result=Result.from_json(cast(dict[str, Any], content), tables))


def _read_table(path: Path) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        # A file handle, not the path: pyarrow would read "a=b" folders of the path as partition columns.
        with open(path, "rb") as handle:
            return pq.read_table(handle)
    except (OSError, pa.ArrowInvalid) as error:
        raise RunError(f"{path} belongs to a finished step and cannot be read ({error}); run the plan again") from None
