"""Inputs for the room of machine-written posts, and how it is called: precomputed scores, the cheapest settings."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from image_rooms import outcome_of
from outcomes import Outcome

ROOM = "generated-text-prevalence"
COLUMN = ("--model", "detector.d=column:score")
QUICK = (
    "min_words=0",
    "resamples=100",
    "permutations=99",
    "texts=0",
    "words=0",
    "near_duplicates=0",
    "methods=[cc, pacc]",
    "bins=64",
)
WORDS = np.array(["red", "blue", "car", "house", "river", "stone", "bread", "music", "green", "sky", "road", "cloud"])
_RUNS = itertools.count()
_FOLDERS: dict[int, str] = {}


def scores(machine: np.ndarray, seed: int) -> list[float]:
    """A probability that knows something of who wrote each text."""
    noise = np.random.default_rng([seed, 5]).normal(size=machine.size)
    return np.clip(0.3 + 0.4 * machine + 0.15 * noise, 0, 1).tolist()


def texts(n: int, seed: int, words: int = 12) -> list[str]:
    rng = np.random.default_rng([seed, 7])
    return [" ".join(row) for row in rng.choice(WORDS, (n, words))]


def posts(n: int = 240, **changes: Any) -> dict[str, Any]:
    """Posts of twelve months, six on each side of the release; a third of the later ones are machine-written.

    A change to None takes a column away.
    """
    month = np.arange(n) % 12
    machine = (np.random.default_rng(1).random(n) < 0.35) & (month >= 6)
    columns = {
        "id": [f"p{i}" for i in range(n)],
        "created_at": [f"{2022 + (m + 5) // 12}-{(m + 5) % 12 + 1:02}-10T12:00:00Z" for m in month.tolist()],
        "platform": [("A", "B")[i // 12 % 2] for i in range(n)],
        "score": scores(machine, 1),
        **changes,
    }
    return {name: values for name, values in columns.items() if values is not None}


def labelled(n: int = 160, **changes: Any) -> dict[str, Any]:
    """As many texts of people as of machines."""
    machine = np.arange(n) % 2 == 1
    columns = {
        "text": texts(n, 3),
        "label": np.where(machine, "machine", "human").tolist(),
        "score": scores(machine, 2),
        "source_id": [f"s{i}" for i in range(n)],
        **changes,
    }
    return {name: values for name, values in columns.items() if values is not None}


def write(path: str, columns: dict[str, Any]) -> str:
    pq.write_table(pa.table(columns), path)
    return path


def audited(
    command: Any,
    table: dict[str, Any] | None = None,
    known: dict[str, Any] | None = None,
    *more: object,
    settings: tuple[str, ...] = (),
    model: tuple[str, ...] = COLUMN,
) -> Outcome:
    """One audit through the command line of posts and labelled texts; `done.result` is what its run.json holds."""
    inputs = [write("posts.parquet", posts() if table is None else table)]
    inputs += [f"labelled={write('labelled.parquet', known)}"] if known is not None else []
    return called(command, *inputs, *more, settings=settings, model=model)


def called(
    command: Any, *arguments: object, settings: tuple[str, ...] = (), model: tuple[str, ...] = COLUMN, out: str = ""
) -> Outcome:
    folder = out or f"run{next(_RUNS)}"
    given = {setting.partition("=")[0]: setting for setting in (*QUICK, *settings)}
    words = [word for setting in given.values() for word in ("--set", setting)]
    done = outcome_of(command("audit", ROOM, *arguments, *model, *words, "--quiet", "--out", folder), folder)
    _FOLDERS[id(done.result)] = folder
    return done


def flow(done: Outcome, unit: str = "posts") -> dict[str, Any]:
    assert done.result is not None, done
    found = next(flow for flow in done.result["flows"] if flow["unit"] == unit)
    assert found["total"] == found["used"] + sum(found["skipped"].values()) + sum(found["failed"].values())
    return found


def rows(done: Outcome, name: str) -> list[dict[str, Any]]:
    """A table of that run."""
    (path,) = Path(_FOLDERS[id(done.result)], "tables").glob(f"*.{name}.parquet")
    found: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    return found


def said(done: Outcome) -> str:
    """All findings, with their advice."""
    assert done.result is not None, done
    return "\n".join(f"{finding['sentence']} {finding.get('advice', '')}" for finding in done.result["findings"])


def undefined(done: Outcome, *names: str) -> set[str]:
    """The reasons of estimates that must have no number."""
    found = [done.estimate(name) for name in names]
    for estimate in found:
        assert estimate["value"] is None and estimate["low"] is None and estimate["reason"], estimate
    return {str(estimate["reason"]) for estimate in found}


def without_numbers(done: Outcome, prefix: str) -> None:
    """No estimate whose name begins so has a number."""
    names = [item["name"] for item in done.result["estimates"] if item["name"].startswith(prefix)]
    assert names
    undefined(done, *names)
