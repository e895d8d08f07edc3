"""Which pictures does an encoder remember, and where? Scripted encoders, or a pair that is trained on handwritten digits.

    python examples/encoder_memorization.py                          # planted pictures (seconds on a CPU, no network)
    python examples/encoder_memorization.py FOLDER OUT               # MNIST, fully connected encoders (a minute or two)
    python examples/encoder_memorization.py FOLDER OUT resnet9       # the same with ResNet9 of width 8, or vit (some minutes)

FOLDER holds t10k-images-idx3-ubyte.gz and t10k-labels-idx1-ubyte.gz. Of the first 1,600 digits every tenth is turned into its
negative, upside down: pictures of which we know that they are atypical. Two encoders are trained with SimCLR, one on S and C,
the reference on S and I, and the audit asks which pictures the encoder remembers, in which layers and units; then its units are
pruned. The same with your own pictures, where the audit trains the pair, or with encoders that you have:

    assaymark audit encoder-memorization OUT/digits.parquet --out run
    assaymark audit encoder-memorization OUT/digits.parquet --model encoder=f.safetensors --model reference=g.safetensors
"""

from __future__ import annotations

import gzip
import io
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pyarrow as pa
import pyarrow.parquet as pq

import assaymark as am
from assaymark.audits.encoder_memorization.data import planting
from assaymark.console import progress_for
from assaymark.execution import user_salt
from assaymark.report.redaction import hash_content
from assaymark.result import Result
from assaymark.stats import roc_auc

SIZES = {"S": 700, "C": 300, "I": 300, "E": 300}
EVERY = 10  # every tenth digit is atypical
SHARED = {"batch": 100, "lr": 1e-3}
RECIPES: dict[str, dict[str, Any]] = {
    "mlp": {
        "augmentation": "vector",
        "recipe": {
            **SHARED, "architecture": "mlp", "epochs": 150, "architecture_options": {"widths": [256, 256, 256, 64]},
            "objective_options": {"temperature": 0.1, "projection": 32},
        },
    },
    "vit": {
        "augmentation": "vector",
        "recipe": {
            **SHARED, "architecture": "vit", "epochs": 60,
            "architecture_options": {"patch": 4, "width": 32, "depth": 3, "heads": 2},
            "objective_options": {"temperature": 0.1, "projection": 32},
        },
    },
    "resnet9": {
        "augmentation": "crop-flip",
        "recipe": {
            **SHARED, "epochs": 100, "architecture_options": {"width": 8}, "objective_options": {"temperature": 0.1},
        },
    },
}  # fmt: skip


def main(folder: Path | None, out: Path, architecture: str) -> None:
    if folder is None:
        made = planting(0, out)
        show(am.audit("encoder-memorization", dict(made.inputs), models=dict(made.models), **made.settings))
        return
    digits = write_digits(folder, out / "digits.parquet")
    settings: dict[str, Any] = {**RECIPES[architecture], "norm": "bound", "side": 16}
    found = am.audit("encoder-memorization", digits, out=out / "audit", seed=3, progress=progress_for(quiet=False), **settings)
    show(found)
    atypical(pq.read_table(out / "audit" / found.artifacts["points"].file))
    pair = {name: f"encoder:{out / 'audit' / found.artifacts[name].file}" for name in ("encoder", "reference")}
    cure = am.mitigate(
        "encoder-memorization",
        digits,
        models=pair,
        seed=3,
        progress=progress_for(quiet=False),
        augmentation=settings["augmentation"],
    )
    print("\n| silenced | units | accuracy | SSLMem | change of SSLMem |\n|---|---|---|---|---|")
    for row in cure.tables["variants"].rows():
        change = "" if row["sslmem_change"] is None else interval(row, "sslmem_change")
        print(f"| {row['variant']} | {row['parts']} | {100 * row['accuracy']:.1f} % | {interval(row, 'sslmem')} | {change} |")


def show(found: Result) -> None:
    """Sets, layers and units."""
    print("| set | pictures | SSLMem |\n|---|---|---|")
    for row in found.tables["sets"].rows():
        print(f"| {row['set']} | {row['points']} | {interval(row, 'sslmem')} |")
    print(f"\ncandidates beyond external pictures: {found['sslmem.calibrated']}; rank AUC {found['sslmem.auc']}\n")
    units = {row["layer"]: row for row in found.tables["unit_layers"].rows()}
    print("| layer | LayerMem | Delta | calibrated | units | UnitMem | ClassMem |\n|---|---|---|---|---|---|---|")
    for row in found.tables["layers"].rows():
        unit = units[row["layer"]]
        shown = [interval(row, name) for name in ("layermem", "delta", "calibrated")]
        shown += [str(unit["units"]), *("-" if unit[name] is None else f"{unit[name]:.2f}" for name in ("unitmem", "classmem"))]
        print(f"| {row['layer']} | {' | '.join(shown)} |")
    print(f"\nunits above the diagonal: {found['unitmem.share_above_classmem']}")


def interval(row: dict[str, Any], name: str) -> str:
    """A number with its interval, from the three columns of a table."""
    if row[name] is None:
        return "-"
    return f"{row[name]:.4f} ({row[f'{name}_low']:.4f} to {row[f'{name}_high']:.4f})"


def atypical(points: pa.Table) -> None:
    """How well the scores of the representation tell atypical candidates from the others."""
    salt = user_salt()
    odd = {hash_content(f"d{number}", salt) for number in range(0, sum(SIZES.values()), EVERY)}
    for letter in ("C", "E"):
        rows = [row for row in points.to_pylist() if row["layer"] == "representation" and row["set"] == letter]
        found = roc_auc([row["raw"] for row in rows], [row["id"] in odd for row in rows])
        print(f"atypical above others by SSLMem, set {letter}: {found}")


def write_digits(folder: Path, path: Path) -> Path:
    images = unpacked(folder / "t10k-images-idx3-ubyte.gz", offset=16).reshape(-1, 28, 28)
    labels = unpacked(folder / "t10k-labels-idx1-ubyte.gz", offset=8)
    n = sum(SIZES.values())
    contents = []
    for number in range(n):
        pixels = 255 - images[number][::-1] if number % EVERY == 0 else images[number]
        stream = io.BytesIO()
        PIL.Image.fromarray(np.ascontiguousarray(pixels)).save(stream, "PNG")
        contents.append(stream.getvalue())
    sets = np.random.default_rng(0).permutation(np.repeat(list(SIZES), list(SIZES.values())))
    columns = {
        "id": [f"d{k}" for k in range(n)],
        "image": contents,
        "label": [str(v) for v in labels[:n]],
        "set": sets.tolist(),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({**columns, "set": sets.tolist()}), path)
    return path


def unpacked(path: Path, *, offset: int) -> np.ndarray:
    with gzip.open(path) as file:
        return np.frombuffer(file.read(), np.uint8, offset=offset)


if __name__ == "__main__":
    if len(sys.argv) > 2:
        main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3] if len(sys.argv) > 3 else "mlp")
    else:
        with tempfile.TemporaryDirectory() as scratch:
            main(None, Path(scratch), "")
