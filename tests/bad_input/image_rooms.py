"""Inputs for the two rooms that look at pictures, and how they are called: the cheapest settings, one folder a run."""

from __future__ import annotations

import io
import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from outcomes import Outcome
from PIL import Image

RED, BLUE = (220, 30, 30), (40, 60, 220)
ENCODER = ("--model", "encoder=fake:dual-encoder?dimension=32&concepts=negative:red,positive:blue")
SHARP = ("--model", "scorer.sharp=fake:image-scorer?unsafe=red&sensitivity=0.95&specificity=0.9&seed=1")
DULL = ("--model", "scorer.dull=fake:image-scorer?unsafe=red&sensitivity=0.75&specificity=0.8&seed=2")
QUICK = {
    "image-offensiveness": ("resamples=100", "splits=2", "fractions=[0, 1]", "epochs=10"),
    "scorer-mixture": ("resamples=100", "compare=[ols]", "examples=3"),
}
WIDTH = 32
_RUNS = itertools.count()

Floats = npt.NDArray[np.float32]


def settings(room: str) -> tuple[str, ...]:
    return tuple(word for setting in QUICK[room] for word in ("--set", setting))


def outcome_of(done: Outcome, folder: Path | str, step: int = 0) -> Outcome:
    record = Path(folder, "run.json")
    result = json.loads(record.read_text())["steps"][step].get("result") if record.exists() else None
    return done._replace(result=result)


def call(command: Any, room: str, *arguments: object, kind: str = "audit", out: str = "") -> Outcome:
    """One audit of a room through the command line; `done.result` is what its run.json holds."""
    folder = out or f"run{next(_RUNS)}"
    return outcome_of(command(kind, room, *arguments, *settings(room), "--quiet", "--out", folder), folder)


def flow(done: Outcome, unit: str = "rows") -> dict[str, Any]:
    assert done.result is not None, done
    found = next(flow for flow in done.result["flows"] if flow["unit"] == unit)
    assert found["total"] == found["used"] + sum(found["skipped"].values()) + sum(found["failed"].values())
    return found


def artifact(done: Outcome, name: str, folder: str) -> Path:
    assert done.result is not None, done
    return Path(folder, next(item["file"] for item in done.result["artifacts"] if item["name"] == name))


def write(path: str, **columns: Any) -> str:
    pq.write_table(pa.table(columns), path)
    return path


def unit_vectors(n: int, *, seed: int = 0, width: int = WIDTH) -> Floats:
    rows = np.random.default_rng(seed).normal(size=(n, width))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def as_lists(rows: Any) -> pa.Array:
    """Embeddings of any widths as an Arrow column; None is a missing one."""
    return pa.array([None if row is None else np.asarray(row).tolist() for row in rows], pa.list_(pa.float32()))


def prompt_file(path: str = "prompts.npy", *, width: int = WIDTH) -> tuple[str, str]:
    np.save(path, unit_vectors(2, seed=9, width=width))
    return "--set", f"prompts={path}"


def picture(colour: tuple[int, int, int], seed: int, side: int = 40) -> bytes:
    """One colour with noise that makes each picture its own."""
    noise = np.random.default_rng(seed).integers(-20, 21, (side, side, 3))
    kept = io.BytesIO()
    Image.fromarray(np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8)).save(kept, "PNG")
    return kept.getvalue()


def labelled_pictures(n: int, *, first: int = 0) -> dict[str, Any]:
    label = [(first + i) % 2 for i in range(n)]
    content = [picture(RED if y else BLUE, first + i) for i, y in enumerate(label)]
    return {"image": pa.array(content, pa.binary()), "label": label}


def scored(n: int = 300, **changes: Any) -> dict[str, Any]:
    """A label and two scorers that know something of it."""
    rng = np.random.default_rng(1)
    label = np.arange(n) % 2
    scores = {name: np.clip(0.35 + 0.3 * label + 0.25 * rng.normal(size=n), 0, 1) for name in "ab"}
    return {"label": label, **scores, **changes}
