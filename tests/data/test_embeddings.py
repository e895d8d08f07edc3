"""Stored embeddings of every layout; norms; unsafe and damaged files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from assaymark.data.embeddings import open_embeddings
from assaymark.errors import InputError, SchemaError, UnsafeFile


def _unit(rows: int, width: int, seed: int = 0) -> np.ndarray:
    values = np.random.default_rng(seed).normal(size=(rows, width))
    return values / np.linalg.norm(values, axis=1, keepdims=True)


def _read(opened) -> np.ndarray:
    blocks = list(opened.blocks(7))
    assert [block.offset for block in blocks] == list(np.cumsum([0, *(len(b.vectors) for b in blocks[:-1])]))
    return np.concatenate([block.vectors for block in blocks])


def test_numbered_shards_in_numeric_order_with_their_metadata(tmp_path: Path) -> None:
    truth = _unit(33, 6).astype(np.float16)
    for k, part in zip((0, 2, 10), np.split(truth, [10, 20]), strict=True):
        np.save(tmp_path / f"img_emb_{k}.npy", part)
        pq.write_table(pa.table({"caption": ["x"] * len(part)}), tmp_path / f"metadata_{k}.parquet")
    opened = open_embeddings(tmp_path)
    assert (opened.n, opened.dimension) == (33, 6)
    out = _read(opened)
    assert out.dtype == np.float32
    np.testing.assert_allclose(out, truth, atol=2e-3)
    np.testing.assert_allclose(np.linalg.norm(out, axis=1), 1, atol=1e-6)
    assert [file.name for file in opened.metadata] == ["metadata_0.parquet", "metadata_2.parquet", "metadata_10.parquet"]
    assert opened.norms.unit == 33 and opened.norms.notes() == ()
    assert isinstance(opened.arrays[0], np.memmap)


def test_archive_keys_and_list_columns(tmp_path: Path) -> None:
    a, b = _unit(5, 4, 1), _unit(5, 3, 2)
    np.savez(tmp_path / "x.npz", b32_img=b.astype("f2"), l14_img=a.astype("f2"))
    assert open_embeddings(tmp_path / "x.npz").dimension == 4
    assert open_embeddings(tmp_path / "x.npz", key="b32_img").dimension == 3
    with pytest.raises(SchemaError, match=r"b32_imgs.*'b32_img'"):
        open_embeddings(tmp_path / "x.npz", key="b32_imgs")
    pq.write_table(pa.table({"t": ["c"] * 5, "embedding": [*a[:4].tolist(), None]}), tmp_path / "x.parquet")
    opened = open_embeddings(tmp_path / "x.parquet")
    np.testing.assert_allclose(_read(opened)[:4], a[:4], atol=1e-6)
    assert opened.norms.non_finite == 1


def test_norms_are_checked_mended_and_counted(tmp_path: Path) -> None:
    values = _unit(6, 4).astype(np.float32)
    values[1] *= 3
    values[2] = 0
    values[3, 1] = np.nan
    values[4] *= 1e-30
    np.save(tmp_path / "e.npy", values)
    opened = open_embeddings(tmp_path / "e.npy")
    (block,) = opened.blocks()
    assert block.valid.tolist() == [True, True, False, False, True, True]
    np.testing.assert_allclose(np.linalg.norm(block.vectors[block.valid], axis=1), 1, atol=1e-6)
    assert not block.vectors[~block.valid].any()
    norms = opened.norms
    assert (norms.rows, norms.unit, norms.scaled, norms.zero, norms.non_finite) == (6, 2, 2, 1, 1)
    assert len(norms.notes()) == 2


def test_large_half_precision_values_do_not_overflow(tmp_path: Path) -> None:
    np.save(tmp_path / "e.npy", np.full((2, 8), 60_000, np.float16))
    (block,) = open_embeddings(tmp_path / "e.npy").blocks()
    np.testing.assert_allclose(block.vectors, 1 / np.sqrt(8), atol=1e-6)


def test_objects_are_refused_and_damage_is_named(tmp_path: Path) -> None:
    np.save(tmp_path / "o.npy", np.array([{}, {}]), allow_pickle=True)
    np.savez(tmp_path / "o.npz", l14_img=np.array([{}]))
    for name in ("o.npy", "o.npz"):
        with pytest.raises(UnsafeFile, match="objects"):
            open_embeddings(tmp_path / name)
    np.save(tmp_path / "cut.npy", _unit(50, 8))
    (tmp_path / "cut.npy").write_bytes((tmp_path / "cut.npy").read_bytes()[:500])
    (tmp_path / "junk.npz").write_bytes(b"PK\x03\x04 nothing")
    (tmp_path / "junk.parquet").write_bytes(b"PAR1 nothing")
    for name in ("cut.npy", "junk.npz", "junk.parquet"):
        with pytest.raises(InputError, match=name):
            open_embeddings(tmp_path / name)
    with pytest.raises(InputError, match=r"cut.np does not exist.*'cut.npy'"):
        open_embeddings(tmp_path / "cut.np")


def test_width_and_shape_mismatches(tmp_path: Path) -> None:
    np.save(tmp_path / "img_emb_0.npy", _unit(3, 4))
    np.save(tmp_path / "img_emb_1.npy", _unit(3, 5))
    with pytest.raises(SchemaError, match=r"img_emb_1.npy: embeddings of 5 numbers, but img_emb_0.npy has 4"):
        open_embeddings(tmp_path)
    np.save(tmp_path / "flat.npy", np.ones(4))
    with pytest.raises(SchemaError, match="shape"):
        open_embeddings(tmp_path / "flat.npy")
    pq.write_table(pa.table({"embedding": [[1.0, 0.0], [1.0]]}), tmp_path / "e.parquet")
    with pytest.raises(SchemaError, match="embedding of 1 numbers among those of 2"):
        list(open_embeddings(tmp_path / "e.parquet").blocks())
