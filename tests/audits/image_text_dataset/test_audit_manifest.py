"""A removal manifest held against a later release: what is gone, what stayed, what came back with other bytes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assaymark.audits.image_text_dataset.audit import ImageTextDataset
from assaymark.audits.image_text_dataset.probes.manifest import near_hashes
from assaymark.errors import InputError, SchemaError
from assaymark.execution import execute
from assaymark.report.redaction import leaks
from assaymark.result import Result

ROWS, LISTED = 400, 40
GONE, KEPT, DRIFTED, MOVED = range(20), range(20, 30), range(30, 36), range(36, 40)
"""Of the listed rows: gone; there as they were; there with other bytes at a new address; the same address, another picture."""


def dataset() -> pa.Table:
    rng = np.random.default_rng(3)
    hashes = rng.integers(1, 2**63, size=ROWS, dtype=np.uint64)
    return pa.table(
        {
            "URL": [f"https://host{i % 7}.example/folder/{i}.jpg" for i in range(ROWS)],
            "TEXT": [f"photo {i}" for i in range(ROWS)],
            "sha256": [f"{i + 1:064x}" for i in range(ROWS)],
            "md5": [f"{i + 1:032x}" for i in range(ROWS)],
            "phash": [f"{h:016x}" for h in hashes],
        }
    )


def manifest() -> pa.Table:
    return dataset().slice(0, LISTED).rename_columns(["url", "text", "sha256", "md5", "phash"])


def release() -> pa.Table:
    """The data set after an attempt at removal, in another order."""
    rows = dataset().to_pylist()
    for i in DRIFTED:
        rows[i] |= {"sha256": f"{i + 5000:064x}", "URL": f"https://mirror.example/{i}.jpg"}
        rows[i]["phash"] = f"{int(rows[i]['phash'], 16) ^ 0b1010:016x}"
    for i in MOVED:
        rows[i] |= {"sha256": f"{i + 5000:064x}", "phash": f"{~int(rows[i]['phash'], 16) % 2**64:016x}"}
    kept = [row for i, row in enumerate(rows) if i not in GONE]
    order = np.random.default_rng(0).permutation(len(kept))
    return pa.Table.from_pylist([kept[i] for i in order])


def check(pairs: Any, removed: Any, out: Path | None = None, **settings: Any) -> Result:
    return execute(
        ImageTextDataset,
        inputs={"pairs": pairs, "removed": removed},
        settings={"probes": ("removal_check",), **settings},
        folder=out,
    )


def found_by(result: Result) -> dict[str, int]:
    return {row["found_by"]: row["entries"] for row in result.tables["removal_check"].rows()}


def test_what_was_left_in_the_release_is_found_by_its_strongest_evidence(tmp_path: Path) -> None:
    result = check(release(), manifest(), tmp_path)
    assert found_by(result) == {"sha256": len(KEPT), "url": len(MOVED), "phash": len(DRIFTED), "gone": len(GONE)}
    removed, drifted = result["removal.removed"], result["removal.drifted"]
    assert (removed.value, removed.n) == (0.5, LISTED) and removed.low < 0.5 < removed.high
    assert drifted.value == pytest.approx(0.5) and drifted.n == LISTED - len(GONE)
    (finding,) = [f for f in result.findings if "removal_check" in f.tables]
    assert finding.severity == "warning" and "20 of 40 rows" in finding.sentence
    remaining = pq.read_table(tmp_path / result.artifacts["removal_remaining"].file)
    assert result.artifacts["removal_remaining"].private
    names = {release().column("TEXT")[row].as_py() for row in remaining.column("row").to_pylist()}
    assert names == {f"photo {i}" for i in (*KEPT, *DRIFTED, *MOVED)} and remaining.num_rows == 20


def test_a_release_without_the_rows_is_cleared() -> None:
    result = check(dataset().slice(LISTED), manifest())
    assert result["removal.removed"].value == 1.0 and not result["removal.drifted"].defined
    (finding,) = [f for f in result.findings if "removal_check" in f.tables]
    assert finding.severity == "good" and "removal_remaining" not in result.tables and not result.artifacts


def test_the_answer_does_not_depend_on_shards_or_order(tmp_path: Path) -> None:
    whole = check(release(), manifest())
    for i, start in enumerate((300, 0, 150)):
        pq.write_table(release().slice(start, 150), tmp_path / f"{i}.parquet")
    parts = check(str(tmp_path / "*.parquet"), manifest().take(list(range(LISTED))[::-1]))
    assert found_by(parts) == found_by(whole)
    assert [parts[n] for n in ("removal.removed", "removal.drifted")] == [
        whole[n] for n in ("removal.removed", "removal.drifted")
    ]


def test_the_manifest_that_the_audit_writes_checks_a_later_release(tmp_path: Path) -> None:
    find = ("domain=host3.example", "url=https://host3.example/folder/3.jpg")
    first = execute(
        ImageTextDataset, inputs={"pairs": dataset()}, settings={"probes": ("find_me",), "find": find}, folder=tmp_path
    )
    written = tmp_path / first.artifacts["removal_manifest"].file
    table = pq.read_table(written)
    assert {"url", "sha256", "md5", "phash"} <= set(table.column_names)
    expected = dataset().take(table.column("row"))
    assert table.column("sha256").to_pylist() == expected.column("sha256").to_pylist()
    assert table.column("url").to_pylist() == expected.column("URL").to_pylist()
    listed = len(range(3, ROWS, 7))
    assert table.num_rows == listed + 1  # one row was asked for twice, and is one entry
    unchanged = check(dataset(), str(written))
    assert unchanged["removal.removed"].value == 0 and unchanged["removal.removed"].n == listed
    cured = check(dataset().take([i for i in range(ROWS) if i % 7 != 3]), str(written))
    assert cured["removal.removed"].value == 1


def test_no_hash_and_no_address_stands_in_the_report(tmp_path: Path) -> None:
    result = check(release(), manifest(), tmp_path)
    secrets = [v for name in ("url", "sha256", "phash") for v in manifest().column(name).to_pylist()]
    for kind in ("html", "md", "json"):
        text = result.report(tmp_path / f"report.{kind}").read_text(encoding="utf-8")
        assert not leaks(text) and not [s for s in secrets if s in text]
    assert not [s for s in secrets if s in json.dumps(result.tables["removal_remaining"].rows())]


def test_entries_without_comparable_evidence_are_not_called_gone() -> None:
    listed = pa.table({"sha256": [f"{1:064x}", None, ""], "url": [None, "https://host1.example/folder/1.jpg", None]})
    both = check(dataset(), listed)
    assert both["removal.removed"].n == 2 and both["removal.removed"].value == 0
    assert any("1 of 3 entries could not be looked for" in note for note in both.notes)
    assert any("5 to 15 %" in note for note in both.notes)
    hashless = check(dataset().set_column(2, "sha256", pa.nulls(ROWS, pa.string())), listed.select(["sha256"]))
    assert not hashless["removal.removed"].defined and "removal_check" not in hashless.tables
    absent = check(dataset().select(["TEXT"]), listed)
    assert "removal.removed" not in absent.estimates
    assert any("removal_check was left out: no column for sha256, url" in note for note in absent.notes)


def test_unread_files_and_missing_hashes_are_no_clearance(tmp_path: Path) -> None:
    cured = dataset().slice(LISTED)
    pq.write_table(cured, tmp_path / "0.parquet")
    whole = tmp_path / "1.parquet"
    pq.write_table(cured, whole, compression="none")
    content = bytearray(whole.read_bytes())
    content[8:2_000] = b"\xff" * 1_992  # the footer is sound, the pages are not
    whole.write_bytes(content)
    result = check(str(tmp_path / "*.parquet"), manifest())
    (finding,) = [f for f in result.findings if "removal_check" in f.tables]
    assert finding.severity == "note" and "1 files of the release could not be read" in finding.sentence
    sparse = cured.set_column(2, "sha256", pa.array([None if i % 2 else f"{i:064x}" for i in range(cured.num_rows)]))
    assert any("180 of 360 rows of the release have no sha256" in note for note in check(sparse, manifest()).notes)


def test_entries_that_share_a_hash_are_all_there_and_copies_are_counted() -> None:
    copies = pa.concat_tables([dataset().slice(0, 1)] * 100 + [dataset().slice(1)])
    listed = pa.table({"sha256": [f"{1:064x}"] * 2, "url": ["https://a.example/1", "https://a.example/2"]})
    result = check(copies, listed)
    assert result["removal.removed"].value == 0 and result["removal.removed"].n == 2
    assert [row["rows"] for row in result.tables["removal_remaining"].rows()] == [100, 100]


def test_a_flat_picture_or_a_missing_hash_matches_nothing() -> None:
    listed = pa.table({"phash": [f"{0:016x}", f"{1:016x}"]})
    pairs = pa.table({"TEXT": ["a", "b", "c"], "phash": [f"{0:016x}", None, f"{2**63 + 30:016x}"]})
    result = check(pairs, listed)
    assert result["removal.removed"].value == 1 and result["removal.removed"].n == 1


def test_a_manifest_that_cannot_be_checked_is_refused() -> None:
    with pytest.raises(SchemaError, match=r"'removed'.*sha256.*url.*phash.*columns: shard, row"):
        check(dataset(), pa.table({"shard": [0], "row": [1]}))
    with pytest.raises(InputError, match="'phash', row 1: not 16 hexadecimal digits"):
        check(dataset(), pa.table({"phash": [f"{5:016x}", "abc"]}))
    empty = check(dataset(), pa.table({"sha256": pa.array([], pa.string())}))
    assert any("holds no hash and no address" in note for note in empty.notes)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), distance=st.integers(0, 16))
def test_near_hashes_are_those_of_a_comparison_of_all_pairs(seed: int, distance: int) -> None:
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, 2**64, size=9, dtype=np.uint64)
    flips = np.array([np.bitwise_or.reduce(np.uint64(1) << rng.integers(0, 64, size=rng.integers(1, 20), dtype=np.uint64))
                      for _ in range(60)])  # fmt: skip
    hashes = targets[rng.integers(0, 9, size=60)] ^ flips
    place, target = near_hashes(hashes, targets, distance=distance)
    expected = np.argwhere(np.bitwise_count(hashes[:, None] ^ targets[None, :]) <= distance)
    assert np.array_equal(np.stack([place, target], axis=1), expected)
