"""The row filter: planted rows go, innocent ones stay, and a group that it thins out is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import assaymark as am
from assaymark.audits.image_text_dataset.method.first_seen import SeenKeys
from assaymark.audits.image_text_dataset.method.subset import subset_difference
from assaymark.audits.image_text_dataset.planted import planted_tables
from assaymark.errors import ConfigError, InputError, SchemaError
from assaymark.stats import wilson

TERMS = [f"z{i}" for i in range(6)]


def write_shards(table: pa.Table, folder: Path, shards: int = 4) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    edges = np.linspace(0, table.num_rows, shards + 1).astype(int)
    for i in range(shards):
        pq.write_table(
            table.slice(edges[i], edges[i + 1] - edges[i]),
            folder / f"part-{i}.parquet",
            row_group_size=500,
            write_page_checksum=True,
        )
    return str(folder / "*.parquet")


def filter_rows(pattern: object, folder: Path | None = None, **settings: object) -> am.Result:
    return am.mitigate("image-text-dataset", pattern, out=folder, terms=TERMS, **settings)


def filtered_table(result: am.Result, folder: Path) -> pa.Table:
    files = sorted((folder / result.artifacts["filtered"].file).glob("*"))
    assert [file.name for file in files] == [f"part-{i:05d}.parquet" for i in range(len(files))]
    return pa.concat_tables([pq.read_table(file) for file in files])


def test_planted_unsafe_rows_go_and_every_other_row_stays_as_it_was(tmp_path: Path) -> None:
    planted = planted_tables(0, 6_000)
    result = filter_rows(write_shards(planted.table, tmp_path / "in"), tmp_path / "run", drop="unsafe")
    kept = filtered_table(result, tmp_path / "run")
    expected = planted.table.filter(pa.array(~planted.unsafe))
    assert planted.decoy[~planted.unsafe].any()
    assert kept.column_names == expected.column_names
    assert kept.to_pylist() == expected.to_pylist()
    assert kept.schema.field("SAMPLE_ID").type == pa.float64() and kept.schema.field("HEIGHT").type == pa.int32()
    assert result["filter.kept"] == wilson(kept.num_rows, 6_000)
    assert result["filter.unsafe.before"].value == planted.unsafe.mean()
    assert result["filter.unsafe.after"].value == 0
    assert result["filter.unsafe.difference"].value == pytest.approx(-planted.unsafe.mean())
    (flow,) = result.flows
    assert (flow.used, dict(flow.skipped)) == (kept.num_rows, {"dropped: unsafe": int(planted.unsafe.sum())})


def test_a_filter_that_thins_out_a_group_is_reported_and_one_that_does_not_is_not(tmp_path: Path) -> None:
    for null in (False, True):
        planted = planted_tables(1, 20_000, null=null)
        result = filter_rows(write_shards(planted.table, tmp_path / str(null)), drop="unsafe")
        named = {name for finding in result.findings for name in finding.estimates if "representation" in name}
        warned = {n for f in result.findings if f.severity == "warning" for n in f.estimates}
        table = {row["term"]: row for row in result.tables["representation"].rows()}
        if null:
            assert not named and any("No group" in finding.sentence for finding in result.findings)
            continue
        assert warned == {"filter.representation.term.z0"}  # keeps 0.66 of its rows: below four fifths of the others' 0.99
        assert "filter.representation.term.z1" in named  # keeps 0.90, but loses ten times as often
        assert not {f"filter.representation.term.z{i}" for i in range(2, 6)} & named
        assert table["z0"]["kept_low"] < 0.66 < table["z0"]["kept_high"]
        assert table["z0"]["after"] < table["z0"]["before"] and table["z0"]["lost_ratio_low"] > 10


def test_manifest_of_the_audit_removes_what_it_names(tmp_path: Path) -> None:
    planted = planted_tables(2, 2_000)
    pattern = write_shards(planted.table, tmp_path / "in")
    audit = am.audit(
        "image-text-dataset", pattern, out=tmp_path / "audit", probes=["find_me"], find=["domain=stock.example"], terms=TERMS
    )
    manifest = tmp_path / "audit" / audit.artifacts["removal_manifest"].file
    result = filter_rows({"pairs": pattern, "manifest": manifest}, tmp_path / "run")
    left = filtered_table(result, tmp_path / "run").column("URL").to_pylist()
    expected = [url for url in planted.table.column("URL").to_pylist() if "//stock.example/" not in url]
    assert left == expected and len(left) < 2_000
    assert result["filter.dropped.manifest"].value == pytest.approx(1 - len(left) / 2_000)


def test_manifest_of_another_data_set_is_refused(tmp_path: Path) -> None:
    pattern = write_shards(planted_tables(2, 400).table, tmp_path / "in")
    for shard, row in ((9, 0), (0, 100), (0, -1)):
        manifest = pa.table({"shard": pa.array([0, shard], pa.int32()), "row": pa.array([row, row], pa.int64())})
        with pytest.raises(InputError, match="manifest"):
            filter_rows({"pairs": pattern, "manifest": manifest})
    with pytest.raises(SchemaError, match="row"):
        filter_rows({"pairs": pattern, "manifest": pa.table({"shard": [0]})})


def test_tag_score_lexicon_and_duplicate_rules(tmp_path: Path) -> None:
    words = tmp_path / "words.txt"
    words.write_text("zqbad\n", encoding="utf-8")
    texts = ["a zqbad b", "fine", "fine", "ZQBADLY", "loud", "other", None, "loud", "fine"]
    table = pa.table(
        {
            "url": ["u1", "u2", "u2", "u4", "u5", "u6", "u7", "u5", None],
            "caption": texts,
            "NSFW": ["UNLIKELY", "unlikely ", "UNLIKELY", "UNLIKELY", "UNLIKELY", "NSFW", "", "UNLIKELY", "UNSURE"],
            "hate": [0.1, 0.1, 0.1, 0.1, 0.9, 0.1, None, 0.5, 0.5],
        }
    )
    rules = {"drop": ["lexicon", "score", "duplicate"], "keep_tags": ["unlikely"], "lexicons": str(words)}
    result = am.mitigate(
        "image-text-dataset", table, models={"text_toxicity": "column:hate"}, out=tmp_path / "run", terms=["fine"], **rules
    )
    kept = filtered_table(result, tmp_path / "run")
    # u5 with 0.9 is dropped by its score, so its second row is the first that is kept; 0.5 is not over 0.5
    assert kept.column("url").to_pylist() == ["u2", "u4", "u5"]
    assert dict(result.flows[0].skipped) == {
        "dropped: tag": 3, "dropped: lexicon": 1, "dropped: score": 1, "dropped: duplicate": 1,
    }  # fmt: skip
    assert result["filter.hate_content.before"].value == 1 / 9 and result["filter.hate_content.after"].value == 0
    assert result["filter.lexicon.before"].value == 1 / 9


def test_a_text_model_is_asked_in_blocks_and_scores_every_row(tmp_path: Path) -> None:
    planted = planted_tables(3, 1_000)
    pattern = write_shards(planted.table, tmp_path / "in")
    spec = "fake:text-keywords?hateful=porn|adult|xxx|sex"
    result = filter_rows(pattern, models={"text_toxicity": spec}, drop="score")
    in_text = planted.unsafe & ~planted.url_only
    assert result["filter.hate_content.after"].value == 0
    assert result["filter.kept"].value == pytest.approx(1 - in_text.mean())


def test_shards_and_row_groups_do_not_matter_and_nothing_is_written_without_a_folder(tmp_path: Path) -> None:
    planted = planted_tables(4, 3_000)
    twice = pa.concat_tables([planted.table, planted.table.slice(0, 1_000)])
    runs = [filter_rows(write_shards(twice, tmp_path / str(n), n), drop=["duplicate", "unsafe"]) for n in (1, 3, 7)]
    assert len({run.fingerprint() for run in runs}) == 1
    assert runs[0]["filter.dropped.duplicate"].value == pytest.approx((~planted.unsafe[:1_000]).mean() * 1_000 / 4_000)
    assert not runs[0].artifacts and any("no file was written" in note for note in runs[0].notes)


def test_a_broken_shard_leaves_neither_rows_nor_keys(tmp_path: Path) -> None:
    table = planted_tables(5, 2_000).table
    pattern = write_shards(pa.concat_tables([table, table]), tmp_path / "in")
    broken = tmp_path / "in" / "part-0.parquet"
    content = bytearray(broken.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 2_000] = b"\x00" * 2_000
    broken.write_bytes(content)
    result = filter_rows(pattern, tmp_path / "run", drop="duplicate")
    files = sorted(file.name for file in (tmp_path / "run" / result.artifacts["filtered"].file).iterdir())
    assert files == ["part-00001.parquet", "part-00002.parquet", "part-00003.parquet"]
    (flow,) = result.flows
    # The twins of the lost shard's rows stay; only those of part 1 (in part 3) are repeated.
    assert dict(flow.failed) == {"unreadable file": 1_000} and dict(flow.skipped) == {"dropped: duplicate": 1_000}


def test_all_rows_dropped_is_critical_and_leaves_an_empty_data_set(tmp_path: Path) -> None:
    table = pa.table({"text": ["sex", "porn"], "url": ["a", "b"]})
    result = filter_rows(table, tmp_path / "run", drop="unsafe")
    assert result.findings[0].severity == "critical"
    assert not result["filter.unsafe.after"].defined and not result["filter.unsafe.difference"].defined
    assert filtered_table(result, tmp_path / "run").num_rows == 0


def test_rules_that_cannot_be_applied_are_named() -> None:
    table = pa.table({"text": ["a"]})
    for settings, error, words in (
        ({}, ConfigError, "nothing to drop"),
        ({"drop": "lexicon"}, ConfigError, "lexicons"),
        ({"drop": "score"}, ConfigError, "text_toxicity"),
        ({"keep_tags": "UNLIKELY"}, SchemaError, "tag"),
        ({"drop": "duplicate"}, SchemaError, "url"),
        ({"drop": "unsave"}, ConfigError, "drop"),
    ):
        with pytest.raises(error, match=words):
            filter_rows(table, **settings)


def test_first_seen_equals_a_set() -> None:
    rng = np.random.default_rng(0)
    seen, known = SeenKeys(), set()
    for size in (0, 1, 700, 3, 50, 900, 20):
        keys = rng.integers(0, 1_500, size).astype(np.uint64)
        expected = []
        for key in keys.tolist():
            expected.append(key not in known)
            known.add(key)
        before = len(seen)
        twin = seen.copy()
        assert seen.first(keys).tolist() == expected
        assert len(seen) == len(known) and len(twin) == before


def test_difference_of_a_subset_covers_what_independent_intervals_would_miss() -> None:
    """Rows are drawn, then filtered at random: the true difference is 0, and the interval must hold its level."""
    rng = np.random.default_rng(1)
    covered, widths = 0, []
    for _ in range(400):
        flagged = rng.random(2_000) < 0.1
        kept = rng.random(2_000) < 0.7
        found = subset_difference(2_000, flagged.sum(), kept.sum(), (flagged & kept).sum())
        assert found.value == pytest.approx(flagged[kept].mean() - flagged.mean())
        covered += found.low <= 0 <= found.high
        widths.append(found.high - found.low)
    assert 365 <= covered <= 395  # 0.95 of 400 within 4 sd; intervals of unrelated samples would cover nearly always
    assert subset_difference(10, 3, 10, 3).value == 0
    assert not subset_difference(10, 3, 0, 0).defined
    with pytest.raises(ValueError, match="not part"):
        subset_difference(10, 3, 5, 4)


def test_every_share_stands_beside_its_limits(tmp_path: Path) -> None:
    planted = planted_tables(0, 2_000)
    result = filter_rows(write_shards(planted.table, tmp_path / "in"), tmp_path / "run", drop="unsafe")
    for table in result.tables.values():
        limited = {column.of for column in table.columns if column.of}
        assert {column.name for column in table.columns if column.kind == "share"} <= limited, table.name
        for column in (c for c in table.columns if c.of):
            for row in table.rows():
                limit, value = row[column.name], row[column.of]
                if None not in (limit, value):
                    assert (limit <= value) if column.kind == "low" else (limit >= value), (table.name, column.name)
