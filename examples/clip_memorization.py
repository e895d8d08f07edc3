"""What a small CLIP remembers: planted pairs first, or pictograms with some captions wrong on purpose.

    python examples/clip_memorization.py                   # scripted models with a known memory, seconds
    python examples/clip_memorization.py FOLDER OUT        # a pair of models is trained on real pictures, two minutes
    python examples/clip_memorization.py FOLDER OUT cure   # 24 pairs, trained to remember less, a quarter of an hour

FOLDER holds images_32.npz (array images, n x 32 x 32 x 3) and captions.jsonl (name and keywords of each); OUT gets a run with
its report: the audit clip-memorization, or the trainings that remember less.
"""

from __future__ import annotations

import io
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pyarrow as pa
import pyarrow.parquet as pq

import assaymark as am
from assaymark.audits.clip_memorization.audit import ClipMemorization
from assaymark.result import Result

SIZES = {"S": 480, "C": 120, "I": 120, "E": 70}
WRONG = 0.15
TRAINING: dict[str, Any] = {
    "side": 32, "patch": 8, "epochs": 100, "lr": 1e-3, "batch": 64, "text_length": 12, "captions": "one",
    "templates": ["{}"], "points": 1_000, "test_share": 0.5,
}  # fmt: skip
CURE: dict[str, Any] = {
    **TRAINING, "epochs": 50, "batch": 128, "views": 5, "seeds": 3,  # a third of the steps, for 24 pairs of models
    "recipes": ["captions", "text-noise", "remove"], "noise": [0.05, 0.15, 0.3], "removed": [30],
}  # fmt: skip


def pictogram_pairs(folder: Path, out: Path, *, seed: int) -> dict[str, str]:
    """Pairs with sets, 15 % of those that are trained on with the captions of another picture; the rest is held out."""
    images = np.load(folder / "images_32.npz")["images"]
    told = [json.loads(line) for line in (folder / "captions.jsonl").read_text(encoding="utf-8").splitlines()]
    captions = [list(dict.fromkeys([row["name"], *row["keywords"]])) for row in told]
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(images))
    letters = np.repeat([*SIZES, "T"], [*SIZES.values(), len(images) - sum(SIZES.values())])
    wrong = (rng.random(len(order)) < WRONG) & np.isin(letters, list("SCI"))
    given = {int(row): captions[row] for row in order}
    swapped = order[wrong]
    given |= {int(row): captions[other] for row, other in zip(swapped, np.roll(swapped, 1), strict=True)}
    rows = []
    for row, letter, flag in zip(order.tolist(), letters.tolist(), wrong.tolist(), strict=True):
        buffer = io.BytesIO()
        PIL.Image.fromarray(images[row]).save(buffer, "PNG")
        rows.append(
            {"id": f"pictogram {row}", "image": buffer.getvalue(), "captions": given[row], "set": letter, "wrong": flag}
        )
    out.mkdir(parents=True, exist_ok=True)
    for name, keep in (("pairs", lambda letter: letter != "T"), ("test", lambda letter: letter == "T")):
        chosen = [{**row, "set": row["set"] if name == "pairs" else None} for row in rows if keep(row["set"])]
        pq.write_table(pa.Table.from_pylist(chosen), out / f"{name}.parquet")
    return {name: str(out / f"{name}.parquet") for name in ("pairs", "test")}


def show(result: Result, *tables: str) -> None:
    for finding in result.findings:
        print(f"{finding.severity:8} {finding.sentence}")
    for name in tables:
        print(f"\n{result.tables[name].title}\n{result.tables[name].to_pandas().round(3).to_string(index=False)}")


def real_pictures(folder: Path, out: Path) -> None:
    inputs = pictogram_pairs(folder, out / "data", seed=21)
    result = am.audit("clip-memorization", inputs, seed=21, out=out / "audit", subsampled=8, **TRAINING)
    show(result, "training", "sets", "set_tests", "wrong_captions", "utility", "subsampled", "units")
    for name in ("subsampled.rank_correlation", "subsampled.wrong_captions.auc", "unitmem.text_minus_image"):
        print(f"{name:32} {result[name]}")


def trained_to_remember_less(folder: Path, out: Path, settings: dict[str, Any]) -> Result:
    """Several captions, noise on texts and removal beside plain training, with intervals over seeds, paired."""
    inputs = pictogram_pairs(folder, out / "data", seed=41)
    result = am.mitigate("clip-memorization", inputs, seed=41, out=out / "cure", **settings)
    show(result)
    print("\n| training | CLIPMem, calibrated | less than plain by | pictures found (R@5) | more than plain by, points |")
    print("|---|---|---|---|---|")
    for row in result.tables["trainings"].rows():
        cells = [
            interval(row, "memorization"),
            interval(row, "less"),
            interval(row, "utility", 100),
            interval(row, "more", 100),
        ]
        print(f"| {row['training']} | {' | '.join(cells)} |")
    return result


def interval(row: dict[str, Any], name: str, scale: float = 1.0) -> str:
    """A number with its interval, from the three columns of a table."""
    if row[name] is None:
        return "-"
    value, low, high = (scale * row[key] for key in (name, f"{name}_low", f"{name}_high"))
    digits = 2 if scale == 1 else 1
    return f"{value:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def planted_pairs() -> None:
    with tempfile.TemporaryDirectory() as folder:
        planting = ClipMemorization.planted(0, Path(folder))
        result = am.audit(
            "clip-memorization", planting.inputs, models=planting.models, seed=0, out=Path(folder) / "run", **planting.settings
        )
        show(result, "sets", "wrong_captions")
        for name, truth in planting.truth.items():
            print(f"{name:32} planted {truth:6.3f}   found {result[name]}")


if __name__ == "__main__":
    if len(sys.argv) == 4:
        trained_to_remember_less(Path(sys.argv[1]), Path(sys.argv[2]), CURE)
    elif len(sys.argv) == 3:
        real_pictures(Path(sys.argv[1]), Path(sys.argv[2]))
    else:
        planted_pairs()
