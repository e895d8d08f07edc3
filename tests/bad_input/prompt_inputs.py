"""Pools for the room of prompts with examples, and how it is called: a scripted service, few games, no figures."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from image_rooms import outcome_of
from outcomes import Outcome

from assaymark.audits.icl_membership.planted import planted_pool

ROOM = "icl-membership"
SCRIPTED = "py:assaymark.audits.icl_membership.planted:ScriptedService"
QUICK = ("trials=6", "shadow_trials=10", "resamples=100", "demonstrations=2", "control=false", "hard_negatives=false")
CURE = (*QUICK[:4], "recipes=[scrub]", "data=none", "transforms=false", "utility_queries=10")
ATTACKS = ("gap", "inquiry", "repeat", "brainwash", "hybrid")
_RUNS = itertools.count()


def pool(n: int = 40, **changes: Any) -> dict[str, Any]:
    """Sentences that the scripted service knows, with their labels."""
    drawn = planted_pool(5, n)
    return {"text": drawn.texts, "label": drawn.labels, **changes}


def labelled(labels: list[str | None], **changes: Any) -> dict[str, Any]:
    """The same sentences with other labels, in turn."""
    return pool(label=[labels[i % len(labels)] for i in range(40)], **changes)


def write(path: str, columns: dict[str, Any]) -> str:
    pq.write_table(pa.table(columns), path)
    return path


def attacked(
    command: Any,
    columns: dict[str, Any] | None = None,
    *more: object,
    settings: tuple[str, ...] = (),
    service: str = SCRIPTED,
    kind: str = "audit",
    out: str = "",
) -> Outcome:
    """One audit, or with `kind` the mitigation, through the command line; `done.result` is what its run.json holds."""
    folder = out or f"run{next(_RUNS)}"
    path = write("pool.parquet", pool() if columns is None else columns)
    given = {setting.partition("=")[0]: setting for setting in (*(QUICK if kind == "audit" else CURE), *settings)}
    words = [word for setting in given.values() for word in ("--set", setting)]
    arguments = (kind, ROOM, path, *more, "--model", f"service={service}", *words, "--quiet", "--out", folder)
    return outcome_of(command(*arguments), folder)


def table(done: Outcome, folder: str, name: str) -> list[dict[str, Any]]:
    assert done.result is not None, done
    (path,) = Path(folder, "tables").glob(f"*.{name}.parquet")
    found: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    return found


def advantages(done: Outcome) -> dict[str, Any]:
    """Estimates of the attacks of the audit."""
    assert done.result is not None, done
    found = {item["name"]: item for item in done.result["estimates"]}
    return {name: found[f"advantage.{name}"] for name in ATTACKS if f"advantage.{name}" in found}


def told(folder: str) -> dict[str, Any]:
    """All that a run says of the data: estimates, findings, notes, flows."""
    result: dict[str, Any] = json.loads(Path(folder, "run.json").read_text())["steps"][0]["result"]
    del result["provenance"]
    return result


def same(one: str, other: str) -> None:
    """Two runs give the same numbers, tables and findings."""
    assert told(one) == told(other)
    names = {path.name for path in Path(one, "tables").iterdir()}
    assert names == {path.name for path in Path(other, "tables").iterdir()}
    for name in names:
        assert pq.read_table(Path(one, "tables", name)) == pq.read_table(Path(other, "tables", name))
