"""Somebody else's list beside the flags: the form without a header, file names in folders, and what cannot be joined."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.stats import spearmanr

from assaymark.audits.image_offensiveness.audit import ImageOffensiveness
from assaymark.audits.image_offensiveness.measures.flag_list import compare_flag_list, read_flag_list
from assaymark.data.dataset import open_input
from assaymark.errors import SchemaError
from assaymark.execution import execute
from assaymark.models.prompt_files import PromptSet


def scores(folder: Path, names: list[str], flagged: set[int]) -> Path:
    log_odds = [4.0 + i / 10 if i in flagged else -4.0 - i / 10 for i in range(len(names))]
    table = {"id": names, "log_odds": log_odds, "flag": [i in flagged for i in range(len(names))]}
    pq.write_table(pa.table(table), folder / "scores.parquet")
    return folder / "scores.parquet"


def test_the_first_row_of_a_list_without_a_header_is_an_image(tmp_path: Path) -> None:
    published = tmp_path / "list.csv"
    published.write_text("off,3,0.99,a/p3.JPEG\noff,4,0.91,a/p4.JPEG\ntoxic,9,0.95,b/p9.JPEG\n")
    names, values = read_flag_list(open_input("table", published, name="flag_list").read())
    assert [name.rpartition("/")[2] for name in names] == ["p3.JPEG", "p4.JPEG", "p9.JPEG"]
    assert values.tolist() == [0.99, 0.91, 0.95]


def test_cells_and_order_against_a_plain_count(tmp_path: Path) -> None:
    file = scores(tmp_path, [f"/data/val/p{i}.JPEG" for i in range(10)], {0, 1, 2, 3})
    table = pa.table(
        {"file": ["p2.JPEG", "x/p3.JPEG", "p7.JPEG", "elsewhere.JPEG", None], "score": [0.9, 0.8, 0.95, 0.99, 1.0]}
    )
    found = compare_flag_list(table, file, confidence=0.95)
    pair = found.agreement.pairs[0]
    assert (found.listed, found.matched) == (4, 3)
    assert (pair.both, pair.first_only, pair.second_only, pair.neither) == (2, 2, 1, 5)
    assert pair.first_finds.value == pytest.approx(2 / 3)
    assert not found.correlation.defined  # three pairs
    every = pa.table({"file": [f"p{i}.JPEG" for i in range(10)], "score": np.linspace(1, 0, 10)})
    own = pq.read_table(file).column("log_odds").to_pylist()
    correlation = compare_flag_list(every, file, confidence=0.95).correlation
    assert correlation.value == pytest.approx(spearmanr(own, np.linspace(1, 0, 10)).statistic)


def test_file_names_that_occur_in_several_folders_need_their_folders(tmp_path: Path) -> None:
    file = scores(tmp_path, ["cat/0.png", "cat/1.png", "mask/0.png"], {2})
    found = compare_flag_list(pa.table({"path": ["mask/0.png", "cat/1.png"]}), file, confidence=0.95)
    assert found.matched == 2 and found.agreement.pairs[0].both == 1
    assert not compare_flag_list(pa.table({"path": ["0.png"]}), file, confidence=0.95).matched


def test_a_table_that_names_no_images_is_refused() -> None:
    with pytest.raises(SchemaError, match="no column that names the images"):
        read_flag_list(pa.table({"colour": ["red"], "score": [0.5]}))


def test_the_audit_compares_and_says_what_it_lacks(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((40, 8)).astype(np.float32)
    PromptSet(np.eye(2, 8, dtype=np.float32)).save(tmp_path / "prompts.safetensors")
    images = pa.table({"embedding": vectors.tolist(), "id": [f"p{i}" for i in range(40)]})
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    flagged = 100 * (unit[:, 1] - unit[:, 0]) >= np.log(9)
    listed = pa.table({"id": [f"p{i}" for i in range(10)]})

    def audit(table: pa.Table, name: str):  # type: ignore[no-untyped-def]
        settings = {"prompts": tmp_path / "prompts.safetensors"}
        return execute(
            ImageOffensiveness, inputs={"images": table, "flag_list": listed}, settings=settings, folder=tmp_path / name
        )

    result = audit(images, "named")
    assert result["flag_list.found"].value == pytest.approx(flagged[:10].mean()) and result["flag_list.found"].n == 10
    cells = {row["region"]: row["images"] for row in result.tables["flag_list"].rows()}
    assert cells["prompts only"] == flagged[10:].sum() and sum(cells.values()) == 40
    unnamed = audit(images.drop_columns(["id"]), "unnamed")
    assert any("needs a column of ids, paths or URLs" in note for note in unnamed.notes)
