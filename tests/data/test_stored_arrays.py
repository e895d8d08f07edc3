"""Stored embeddings as rows of a data set: the one pass serves them like any other table."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from assaymark.data.dataset import Dataset, open_input
from assaymark.data.embeddings import Norms, embedding_matrix, open_embeddings, unit_rows
from assaymark.data.probe import Batch, Probe
from assaymark.data.readers import arrays as reading
from assaymark.data.scan import Scorer, scan
from assaymark.errors import InputError, SchemaError, UnsafeFile

BATCH = 16
WIDTH = 6


def matrix(rows: int, seed: int = 0, width: int = WIDTH) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(rows, width)).astype(np.float16)


def images(value: Any) -> Dataset:
    return open_input("images", value, name="images")


class Scores(Probe):
    """Scores by row, as the scan hands them on."""

    name: ClassVar[str] = "scores"
    columns = ("head.s",)

    def aggregate(self, batch: Batch) -> dict[str, Any]:
        keys = batch.column("shard").to_numpy() * 1_000_000 + batch.column("row").to_numpy()
        return {"all": {str(key): float(score) for key, score in zip(keys, batch.numbers("head.s"), strict=True)}}

    def finalize(self, state: Any) -> dict[int, float]:
        return {int(key): score for key, score in sorted(state["all"].items(), key=lambda item: int(item[0]))}


def head(values: pa.Array) -> np.ndarray:
    vectors, valid = unit_rows(embedding_matrix(values, width=WIDTH))
    return np.where(valid, vectors @ np.arange(WIDTH, dtype=np.float32), np.nan)[:, None].astype(np.float32)


def scored(dataset: Dataset) -> list[float]:
    answer = scan(dataset, [Scores()], scorers=[Scorer("head", "embedding", ("s",), head, batch_size=BATCH)])
    assert answer.flow.used == dataset.rows
    return list(answer.answers["scores"].values())


def oneshot(array: np.ndarray) -> np.ndarray:
    unit = array.astype(np.float64) / np.linalg.norm(array.astype(np.float64), axis=1, keepdims=True)
    return unit @ np.arange(WIDTH)


@pytest.mark.parametrize("rows", [0, 1, BATCH - 1, BATCH, BATCH + 1, 3 * BATCH + 5])
@pytest.mark.parametrize("form", ["npy", "npz"])
def test_the_pass_scores_all_rows_in_blocks_as_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: int, form: str
) -> None:
    monkeypatch.setattr(reading, "PART_ROWS", BATCH)
    monkeypatch.setattr(reading, "BATCH_BYTES", 4 * WIDTH * 5)  # five rows at a time
    array = matrix(rows)
    if form == "npy":
        np.save(tmp_path / "x.npy", array)
    else:
        np.savez(tmp_path / "x.npz", l14_img=array, b32_img=matrix(rows, 1, 4))
    dataset = images(tmp_path / f"x.{form}")
    assert (dataset.format, dataset.rows, "embedding" in dataset) == ("arrays", rows, True)
    np.testing.assert_allclose(scored(dataset), oneshot(array), atol=1e-5)


def test_shards_in_numeric_order_with_the_tables_beside_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "PART_ROWS", 7)
    sizes = {0: 10, 2: 25, 10: 4}
    for k, rows in sizes.items():
        np.save(tmp_path / f"img_emb_{k}.npy", matrix(rows, k))
        np.save(tmp_path / f"text_emb_{k}.npy", matrix(rows, 100 + k))
        columns = {
            "caption": [f"c{k}-{i}" for i in range(rows)],
            "key": [f"{k}-{i}" for i in range(rows)],
            "label": [("cat", "dog")[i % 2] for i in range(rows)],
            "moral_mean": np.arange(rows) / 10,
        }
        table = pa.table(columns)
        pq.write_table(table, tmp_path / f"metadata_{k}.parquet", row_group_size=4)
    dataset = images(tmp_path)
    assert [Path(shard.path).name for shard in dataset.shards] == [f"img_emb_{k}.npy" for k in sizes]
    assert {"embedding", "text", "id", "label"} <= set(dataset.mapping) and "moral_mean" in dataset.columns
    assert "3 files of other kinds" in dataset.notes[0]
    np.testing.assert_allclose(scored(dataset), np.concatenate([oneshot(matrix(n, k)) for k, n in sizes.items()]), atol=1e-5)
    found = dataset.fetch([(1, 24), (2, 0), (1, 3)], ["text", "embedding", "label"])
    assert found["text"].to_pylist() == ["c2-24", "c10-0", "c2-3"]
    expected = [matrix(25, 2)[24], matrix(4, 10)[0], matrix(25, 2)[3]]
    np.testing.assert_array_equal(np.array(found["embedding"].to_pylist(), np.float16), expected)
    assert dataset.fetch([(1, 11)], ["id"])["id"].to_pylist() == ["2-11"]
    table = open_input("images", tmp_path, name="i").with_scores({"r": "moral_mean"}).fetch([(1, 24)], ["r"])
    assert table["r"].to_pylist() == [2.4]
    again = pickle.loads(pickle.dumps(dataset.reader))  # travels to workers
    assert again.columns == dataset.reader.columns


def test_datacomp_archives_and_folders_of_clip_retrieval(tmp_path: Path) -> None:
    (tmp_path / "dc").mkdir()
    for k in range(2):
        np.savez(tmp_path / f"dc/part{k}.npz", l14_img=matrix(5, k), b32_img=matrix(5, 9, 4))
        pq.write_table(pa.table({"uid": [f"{k}{i}" for i in range(5)], "text": ["t"] * 5}), tmp_path / f"dc/part{k}.parquet")
    dataset = images(tmp_path / "dc")
    assert dataset.rows == 10 and {"id", "text", "embedding"} <= set(dataset.mapping)
    assert dataset.fetch([(1, 3)], ["id"])["id"].to_pylist() == ["13"]
    for part in ("img_emb", "text_emb", "metadata"):
        (tmp_path / "cr" / part).mkdir(parents=True)
    np.save(tmp_path / "cr/img_emb/img_emb_0000.npy", matrix(3))
    np.save(tmp_path / "cr/text_emb/text_emb_0000.npy", matrix(3, 1))
    pq.write_table(pa.table({"caption": list("abc")}), tmp_path / "cr/metadata/metadata_0000.parquet")
    for value in (tmp_path / "cr", tmp_path / "cr/img_emb", tmp_path / "cr/img_emb/img_emb_0000.npy"):
        dataset = images(value)
        assert dataset.fetch([(0, 2)], ["text"])["text"].to_pylist() == ["c"]
    assert images(str(tmp_path / "cr/img_emb/*.npy")).rows == 3


def test_same_messages_as_embeddings_of_their_own_kind(tmp_path: Path) -> None:
    np.save(tmp_path / "o.npy", np.array([{}, {}]), allow_pickle=True)
    np.savez(tmp_path / "o.npz", l14_img=np.array([{}]))
    np.save(tmp_path / "flat.npy", np.ones(4))
    np.savez(tmp_path / "flat.npz", l14_img=np.ones(4))
    np.savez(tmp_path / "names.npz", a=matrix(3), b=matrix(3))
    np.save(tmp_path / "cut.npy", matrix(50))
    (tmp_path / "cut.npy").write_bytes((tmp_path / "cut.npy").read_bytes()[:200])
    (tmp_path / "junk.npy").write_bytes(b"nothing")
    (tmp_path / "junk.npz").write_bytes(b"PK\x03\x04 nothing")
    for name in ("o.npy", "o.npz", "flat.npy", "flat.npz", "names.npz", "cut.npy", "junk.npy", "junk.npz"):
        with pytest.raises(InputError) as own:
            open_embeddings(tmp_path / name)
        with pytest.raises(InputError) as rows:
            images(tmp_path / name)
        assert str(own.value).partition(": ")[2] in str(rows.value), name
        assert isinstance(rows.value, UnsafeFile) == isinstance(own.value, UnsafeFile)
    (tmp_path / "s").mkdir()
    np.save(tmp_path / "s/img_emb_0.npy", matrix(3))
    np.save(tmp_path / "s/img_emb_1.npy", matrix(3, width=5))
    with pytest.raises(SchemaError, match=r"img_emb_1.npy: embeddings of 5 numbers, but img_emb_0.npy has 6"):
        images(tmp_path / "s")


def test_damage_in_one_shard_is_counted_and_a_short_table_refused(tmp_path: Path) -> None:
    for k in range(3):
        np.savez(tmp_path / f"part{k}.npz", l14_img=matrix(2_000, k))
    content = bytearray((tmp_path / "part1.npz").read_bytes())
    content[20_000] ^= 0xFF  # the header is whole, the numbers are not
    (tmp_path / "part1.npz").write_bytes(bytes(content))
    dataset = images(tmp_path)
    outcome = scan(dataset, [Scores()], scorers=[Scorer("head", "embedding", ("s",), head)])
    assert outcome.rows == 4_000 and outcome.flow.failed == {"unreadable file": 2_000}
    assert [Path(path).name for path in outcome.failed] == ["part1.npz"]
    pq.write_table(pa.table({"text": ["t"] * 1_999}), tmp_path / "part2.parquet")
    with pytest.raises(SchemaError, match=r"part2.parquet: 1,999 rows for the 2,000 embeddings of part2.npz"):
        images(tmp_path)


def test_what_else_lies_there_decides(tmp_path: Path) -> None:
    np.save(tmp_path / "img_emb_0.npy", matrix(3))
    pq.write_table(pa.table({"text": ["a"], "url": ["u"]}), tmp_path / "pairs.parquet")
    assert images(tmp_path).format == "parquet"  # a table that belongs to no array is what is meant
    with pytest.raises(InputError, match="no file of a known format"):
        open_input("texts", tmp_path / "img_emb_0.npy", name="t")
    np.savez(tmp_path / "x.npz", l14_img=matrix(3))
    np.save(tmp_path / "y.npy", matrix(3))
    with pytest.raises(InputError, match=r"mixes \.npy and \.npz"):
        images([tmp_path / "x.npz", tmp_path / "y.npy"])
    assert open_embeddings(tmp_path / "x.npz").n == 3
    assert open_input("embeddings", tmp_path / "x.npz", name="e").n == 3


def test_content_of_array_and_table_decide_the_fingerprint(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", matrix(3))
    pq.write_table(pa.table({"text": list("abc")}), tmp_path / "x.parquet")
    before = images(tmp_path / "x.npy").fingerprint
    assert images(tmp_path / "x.npy").fingerprint == before
    pq.write_table(pa.table({"text": list("abd")}), tmp_path / "x.parquet")
    after = images(tmp_path / "x.npy").fingerprint
    assert after != before
    np.save(tmp_path / "x.npy", matrix(3, 1))
    assert images(tmp_path / "x.npy").fingerprint != after


def test_rows_without_a_direction_are_marked() -> None:
    column = pa.array([[3.0, 4.0], None, [0.0, 0.0], [np.nan, 1.0], [1.0, 0.0]], pa.large_list(pa.float32()))
    norms = Norms()
    vectors, valid = unit_rows(embedding_matrix(column, width=2), norms=norms)
    assert valid.tolist() == [True, False, False, False, True]
    np.testing.assert_allclose(vectors, [[0.6, 0.8], [0, 0], [0, 0], [0, 0], [1, 0]], atol=1e-7)
    assert (norms.scaled, norms.unit, norms.zero, norms.non_finite) == (1, 1, 1, 2)
    with pytest.raises(SchemaError, match="an embedding of 2 numbers among those of 3"):
        embedding_matrix(column, width=3, where="x.parquet")
