"""The audit on scripted models and stored embeddings: what it says, hides, refuses and counts."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from assaymark.audits.clip_memorization.audit import ClipMemorization
from assaymark.audits.clip_memorization.data import planted_pairs, planting
from assaymark.audits.clip_memorization.measures.encoding import Encoder
from assaymark.audits.clip_memorization.measures.stored import write_embeddings
from assaymark.audits.clip_memorization.measures.wordings import cut_captions, text_views
from assaymark.errors import AssaymarkError, ConfigError, InputError, ModelError, SchemaError
from assaymark.execution import execute
from assaymark.models.opening import open_model
from assaymark.result import Result

F = "fake:memorizing-dual-encoder?trained=SC&seed=1"
G = "fake:memorizing-dual-encoder?trained=SI&seed=2"
SETTINGS = {"views": 2, "augmentation": "shift", "resamples": 100, "listed": 5, "units": False}


def pairs(**changes: Any) -> pa.Table:
    return pa.table({**planted_pairs(3, candidates=40), **changes})


def audited(table: Any, *, models: dict[str, str] | None = None, folder: Path | None = None, **settings: Any) -> Result:
    inputs = table if isinstance(table, dict) else {"pairs": table}
    given = {"model": F, "reference": G} if models is None else models
    return execute(ClipMemorization, inputs=inputs, models=given, settings={**SETTINGS, **settings}, folder=folder)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> tuple[Result, Path]:
    """The pairs under both models, as they are."""
    folder = tmp_path_factory.mktemp("plain")
    return audited(pairs(), folder=folder), folder


def test_scores_file_and_pictures_are_left(plain: tuple[Result, Path]) -> None:
    result, folder = plain
    scores = pq.read_table(folder / "artifacts" / "clip-memorization" / "scores.parquet")
    terms = sum(scores.column(name).to_numpy() for name in ("pair", "image", "text"))
    assert np.allclose(terms, scores.column("raw").to_numpy())
    assert not any(str(value).startswith("pair-") for value in scores.column("id").to_pylist()), "ids are hashes"
    assert {"scores", "most_remembered", "least_remembered"} <= set(result.artifacts)


def test_ranking_puts_wrong_captions_first_and_hides_them(plain: tuple[Result, Path]) -> None:
    result, _ = plain
    rows = result.tables["pairs"].rows()
    most = [row for row in rows if row["rank"].startswith("most")]
    assert sum(bool(row["wrong"]) for row in most) >= 3
    assert not any("item" in row["caption"] or row["id"].startswith("pair-") for row in rows)


def test_one_model_gives_proxies_and_no_clipmem() -> None:
    result = audited(pairs(), models={"model": F})
    assert not result["clipmem.candidates"].defined and result["proxy.similarity"].defined
    assert any("proxies" in finding.sentence for finding in result.findings)
    assert "set_tests" not in result.tables and "wrong_captions.auc.similarity_f" in result.estimates


def test_independent_model_is_one_more_detector() -> None:
    result = audited(pairs(), models={"model": F, "reference": G, "independent": "fake:memorizing-dual-encoder?seed=9"})
    assert (result["wrong_captions.auc.similarity_independent"].value or 0) > 0.95


def test_views_become_pictures_for_a_model_that_takes_no_pixels() -> None:
    model = open_model("fake:dual-encoder")
    encoder = Encoder(model)
    images = [PIL.Image.open(io.BytesIO(one)).convert("RGB") for one in planted_pairs(3, candidates=2)["image"]]
    pixels = encoder.pixels(images)
    assert not encoder.takes_pixels and pixels.shape == (len(images), 3, 224, 224) and 0 <= pixels.min() < pixels.max() <= 1
    assert np.allclose(encoder.embed_pixels(pixels), model.embed_images([image.resize((224, 224)) for image in images]))


def test_candidate_in_both_trainings_is_refused() -> None:
    table = pairs()
    again = table.slice(25, 1).set_column(3, "set", pa.array(["I"]))
    with pytest.raises(InputError, match="another set"):
        audited(pa.concat_tables([table, again]))


def test_copies_of_a_picture_in_another_set_are_left_out_and_counted() -> None:
    columns = planted_pairs(3, candidates=40)
    first = columns["set"].index("C")
    columns["image"][first] = columns["image"][0]  # a picture of S
    result = audited(pa.table(columns))
    assert result.flows[0].skipped == {"its very picture is in another set": 1}
    assert result.flows[0].used == len(columns["id"]) - 1
    kept = audited(pa.table(columns), find_copies=False)
    assert kept.flows[0].used == len(columns["id"])


def test_models_without_sets_are_refused() -> None:
    with pytest.raises(InputError, match="no pair has a set"):
        audited(pairs().drop_columns(["set"]))


def test_sets_may_come_from_a_table_beside(plain: tuple[Result, Path]) -> None:
    table = pairs()
    split = table.select(["id", "set"])
    beside = audited({"pairs": table.drop_columns(["set"]), "split": split})
    assert beside["clipmem.raw.candidates"] == plain[0]["clipmem.raw.candidates"]
    with pytest.raises(InputError, match="no set"):
        audited({"pairs": table, "split": pa.table({"id": ["x"], "set": ["Q"]})})


def test_several_rows_of_a_picture_are_one_pair(plain: tuple[Result, Path]) -> None:
    table = pairs()
    rows = [{**row, "text": caption} for row in table.to_pylist() for caption in row["captions"]]
    long = pa.Table.from_pylist(rows).drop_columns(["captions"])
    result = audited(long)
    assert result["clipmem.raw.candidates"].value == pytest.approx(plain[0]["clipmem.raw.candidates"].value)
    assert result.flows[0].total == 3 * table.num_rows


def test_held_out_pairs_must_be_held_out() -> None:
    with pytest.raises(InputError, match="held-out"):
        audited({"pairs": pairs(), "test": pairs()})


@pytest.mark.parametrize(
    ("models", "error"),
    [
        ({"model": F, "reference": F}, "are the same"),
        ({"model": F, "reference": "fake:dual-encoder"}, "205 and 32"),
        ({"reference": G}, "no model to compare"),
        ({"model": "fake:text-keywords"}, "lacks"),
    ],
)
def test_models_that_are_no_pair_are_refused(models: dict[str, str], error: str) -> None:
    with pytest.raises((ModelError, AssaymarkError), match=error):
        audited(pairs(), models=models)


def test_wrong_settings_are_named() -> None:
    with pytest.raises(ConfigError, match="template"):
        audited(pairs(), templates=["a photo"])
    with pytest.raises(SchemaError, match="flag"):
        audited(pairs(), wrong_column="flags")
    with pytest.raises(AssaymarkError, match="shift"):
        audited(pairs(), augmentation="shifts")


def test_pictures_of_mixed_size_and_broken_ones_are_said() -> None:
    columns = planted_pairs(3, candidates=40)
    buffer = io.BytesIO()
    PIL.Image.open(io.BytesIO(columns["image"][30])).resize((32, 32), PIL.Image.Resampling.NEAREST).save(buffer, "PNG")
    columns["image"][30], columns["image"][31], columns["image"][32] = buffer.getvalue(), b"nothing", None
    result = audited(pa.table(columns))
    assert any("2 sizes" in note for note in result.notes)
    assert sum(result.flows[-1].failed.values()) == 2


def test_one_caption_a_picture_is_said() -> None:
    columns = planted_pairs(3, candidates=40)
    columns["captions"] = [own[:1] for own in columns["captions"]]
    result = audited(pa.table(columns))
    assert any("one caption" in note for note in result.notes)
    assert not result["towers.text"].defined


class ShortSighted:
    """Reads the first three words of a caption."""

    spec, fingerprint, dimension, logit_scale = "short", "short", 8, 1.0

    def embed_texts(self, texts: list[str]) -> np.ndarray:
        rows = [np.random.default_rng(abs(hash(" ".join(text.split()[:3]))) % 2**32).standard_normal(8) for text in texts]
        return np.array(rows, np.float32)


def test_captions_beyond_the_context_are_counted() -> None:
    found = cut_captions(["a b", "a b c", "a b c d", "a b c e"], Encoder(ShortSighted()), most=10)
    assert (found.cut, found.tested) == (3, 4), "three words fill the context: nothing that follows is read"


def test_text_views_depend_on_the_pair_alone() -> None:
    wordings = [["x", "y", "z"], ["u"], ["v", "w"]]
    drawn = text_views(["a", "b", "c"], wordings, views=6, seed=0)
    assert np.array_equal(text_views(["c", "a"], [wordings[2], wordings[0]], views=6, seed=0), drawn[[2, 0]])
    assert (drawn < [[3], [1], [2]]).all() and not np.array_equal(text_views(["a"], wordings[:1], views=6, seed=1), drawn[:1])


def stored(folder: Path, *, views: int) -> tuple[pa.Table, Path, dict[str, np.ndarray]]:
    """Embeddings in which f has a pair term that is higher by .25 on the candidates."""
    rng = np.random.default_rng(8)
    table = pairs().drop_columns(["image"])
    sets, n, d = np.array(table.column("set").to_pylist()), table.num_rows, 16
    u = rng.standard_normal((n, views, d))
    u /= np.linalg.norm(u, axis=2, keepdims=True)
    across = rng.standard_normal((n, views, d))
    across -= (across * u).sum(2, keepdims=True) * u
    across /= np.linalg.norm(across, axis=2, keepdims=True)
    arrays = {}
    for name, more in (("f", 0.25 * (sets == "C")), ("g", 0.0 * n)):
        cosine = (0.2 + more)[:, None, None] if name == "f" else np.full((n, 1, 1), 0.2)
        arrays |= {f"image_{name}": u, f"text_{name}": cosine * u + np.sqrt(1 - cosine**2) * across}
    path = folder / "embeddings.parquet"
    write_embeddings(path, table.column("id").to_pylist(), **arrays)
    return table, path, arrays


def test_stored_embeddings_need_neither_models_nor_pictures(tmp_path: Path) -> None:
    table, path, _ = stored(tmp_path, views=2)
    result = audited({"pairs": table, "embeddings": str(path)}, models={}, embedded_views=2)
    assert result["clipmem.terms.pair"].value == pytest.approx(0.25, abs=1e-5)
    with pytest.raises(InputError, match="embedded_views"):
        audited({"pairs": table, "embeddings": str(path)}, models={}, embedded_views=3)


def test_a_hole_in_stored_embeddings_is_counted(tmp_path: Path) -> None:
    table, path, arrays = stored(tmp_path, views=1)
    keep = 110
    write_embeddings(path, table.column("id").to_pylist()[:keep], **{name: a[:keep] for name, a in arrays.items()})
    result = audited({"pairs": table, "embeddings": str(path)}, models={})
    lost = sum(flow.failed.get("no embedding", 0) for flow in result.flows)
    assert 0 < lost <= 10, "ten external pairs have none, and some of these are held out"


def test_scripted_models_have_the_stated_memory(tmp_path: Path) -> None:
    from assaymark.models.fake_memorizing import CONCEPT_WEIGHT, memory_strength

    planting(0, tmp_path, null=False, full=False)
    columns = planted_pairs(0, candidates=40)
    images = [PIL.Image.open(io.BytesIO(one)) for one in columns["image"]]
    f = open_model("fake:memorizing-dual-encoder?trained=SC&noise=0")
    u, v = f.embed_images(images), f.embed_texts([own[0] for own in columns["captions"]])
    numbers = [int(identity.rpartition("-")[2]) for identity in columns["id"]]
    seen = np.isin(columns["set"], ["S", "C"])
    right = CONCEPT_WEIGHT * ~np.array(columns["wrong"])
    expected = right + memory_strength(numbers, columns["wrong"]) * seen
    assert np.abs((u * v).sum(1) - expected).max() < 1e-5
    assert np.allclose(np.linalg.norm(u, axis=1), 1.0, atol=1e-5) and np.allclose(np.linalg.norm(v, axis=1), 1.0, atol=1e-5)
    with pytest.raises(ConfigError):
        open_model("fake:memorizing-dual-encoder?trained=X")
