"""Contact sheets: asked for, blurred even when all is revealed, and never with a row that may concern a minor."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from assaymark.audits.image_text_dataset.audit import ImageTextDataset
from assaymark.execution import execute
from assaymark.result import Result

ENCODER = "fake:dual-encoder?dimension=32&concepts=rose:red,sky:blue"
GIRL, COPY, SILENT = 0, 1, 2
"""The best red hits: one whose text names a girl, an equal picture without the word, and one without a text."""


def png(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array.astype(np.uint8)).save(buffer, format="PNG")
    return buffer.getvalue()


def pictures() -> list[bytes]:
    """Rows 0 to 9 reddish with ever more of a dark band (so that no two are equal), the rest blue; 0 and 1 the same red."""
    found = []
    for i in range(30):
        array = np.zeros((32, 32, 3)) + ((225, 20, 20) if i < 10 else (20, 20, 225))
        array[: 3 * max(i % 10 - 1, 0)] = (20, 160, 20)
        found.append(png(array))
    return found


def dataset(**changes: Any) -> pa.Table:
    texts = [f"rose number {i}" if i < 10 else f"sky number {i}" for i in range(30)]
    texts[GIRL], texts[SILENT] = "a GIRL_01 with a rose", ""
    columns = {"TEXT": texts, "URL": [f"https://host.example/{i}.jpg" for i in range(30)], "image": pictures()} | changes
    return pa.table({**columns, "score": [float(i < 10) for i in range(30)]})


def audit(out: Path | None, table: pa.Table | None = None, *, reveal: bool = False, **settings: Any) -> Result:
    models = {"dual_encoder": ENCODER, "image_unsafe": "column:score"}
    given = {"probes": ("retrieval",), "queries": ("rose",), "k": 8, "duplicate_cosine": 0.9999, "contact_sheet": True}
    return execute(
        ImageTextDataset,
        inputs={"pairs": dataset() if table is None else table},
        models=models,
        settings={**given, **settings},
        folder=out,
        reveal=reveal,
    )


def tiles(result: Result, out: Path, name: str = "contact_sheet_1") -> int:
    """Cells of the sheet that hold a picture."""
    sheet = np.asarray(Image.open(out / result.artifacts[name].file))
    assert sheet.ndim == 2  # grey
    step = 102
    return sum(
        bool((sheet[y : y + 96, x : x + 96] < 250).any())
        for y in range(6, sheet.shape[0] - 95, step)
        for x in range(6, sheet.shape[1] - 95, step)
    )


def test_nothing_is_shown_unless_asked_for(tmp_path: Path) -> None:
    result = audit(tmp_path, contact_sheet=False)
    assert "retrieval.not_shown" not in result.estimates and not [f for f in result.figures if f.kind == "picture"]
    assert not list(tmp_path.rglob("*.png"))


def test_a_row_that_names_a_minor_and_its_copies_are_left_out_and_counted(tmp_path: Path) -> None:
    seen: list[bytes] = []
    with pytest.MonkeyPatch.context() as patch:
        from assaymark.audits.image_text_dataset.measures import pictures as module

        decode = module.decode_image
        patch.setattr(module, "decode_image", lambda content: seen.append(content) or decode(content))
        result = audit(tmp_path)
    forbidden = pictures()[GIRL]
    assert pictures()[COPY] == forbidden and seen and forbidden not in seen and pictures()[SILENT] not in seen
    not_shown = result["retrieval.not_shown"]
    assert (not_shown.value, not_shown.n) == (1, 8)  # girl and copy are one distinct hit
    assert tiles(result, tmp_path) == len(seen) == 6  # of 8 distinct hits: not the girl's, not the silent one
    (note,) = [note for note in result.notes if "minor-related" in note]
    assert "competent authority" in note and any("without a text" in note for note in result.notes)
    (figure,) = [f for f in result.figures if f.kind == "picture"]
    assert (tmp_path / figure.artifact).is_file()
    html = result.report(tmp_path / "report.html").read_text(encoding="utf-8")
    assert "GIRL_01" not in html


@pytest.mark.parametrize("reveal", [False, True])
def test_a_sheet_is_blurred_beyond_recovery_even_when_all_is_revealed(tmp_path: Path, reveal: bool) -> None:
    board = np.indices((64, 64)).sum(axis=0) % 2 * 200.0  # detail that no average of 8 x 8 pixels keeps
    detailed = np.stack([board + 25, board * 0 + 20, board * 0 + 20], axis=2)
    images = [png(detailed) if i == 3 else png(np.full((64, 64, 3), (20, 20, 225))) for i in range(30)]
    result = audit(tmp_path, dataset(image=images), reveal=reveal, k=1)
    sheet = np.asarray(Image.open(tmp_path / result.artifacts["contact_sheet_1"].file))
    tile = sheet[6:102, 6:102].astype(float)
    assert np.ptp(tile) < 8 < np.ptp(np.asarray(Image.fromarray(detailed.astype(np.uint8)).convert("L"), float))


def test_a_query_that_names_a_minor_gets_no_sheet(tmp_path: Path) -> None:
    result = audit(tmp_path, queries=("rose schoolgirl",))
    assert not list(tmp_path.rglob("*.png"))
    assert result["retrieval.not_shown"].value == result["retrieval.not_shown"].n == 8


def test_raised_queries_come_alone_and_else_the_worst_four(tmp_path: Path) -> None:
    harmless = dataset()
    harmless = harmless.set_column(harmless.column_names.index("score"), "score", pa.array([0.0] * 30))
    result = audit(tmp_path, harmless, queries=("rose", "sky", "red", "blue", "green", "black"))
    assert len([f for f in result.figures if f.kind == "picture"]) == 4


def test_without_pictures_or_folder_a_note_says_so(tmp_path: Path) -> None:
    homeless = audit(None)
    assert any("no run folder" in note for note in homeless.notes) and homeless["retrieval.not_shown"].value == 1
    vectors = np.random.default_rng(0).normal(size=(30, 32)).astype(np.float32)
    np.save(tmp_path / "img_emb_0.npy", vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
    result = execute(
        ImageTextDataset,
        inputs={"pairs": dataset().drop_columns(["image"]), "embeddings": str(tmp_path / "img_emb_0.npy")},
        models={"dual_encoder": ENCODER},
        settings={"probes": ("retrieval",), "queries": ("rose",), "k": 8, "contact_sheet": True},
        folder=tmp_path / "run",
    )
    assert any("holds no pictures" in note for note in result.notes) and not result.artifacts.get("contact_sheet_1")
