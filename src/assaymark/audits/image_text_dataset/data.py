"""What goes into the audit: the tables beside the image-text pairs, and inputs with a planted answer."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from assaymark.audit import InputSpec, ModelRole, Planting
from assaymark.audits.image_text_dataset.planted import (
    IDENTITY_WORDS,
    PlantedTable,
    planted_caption_swap,
    planted_downstream,
    planted_retrieval,
    planted_tables,
)
from assaymark.errors import SchemaError, nearest

__all__ = ["COSINE_COLUMNS", "INPUTS", "ROLES", "SWAP_COLUMNS", "planting", "required_columns"]

SWAP_COLUMNS = ("benign", "harmful")
COSINE_COLUMNS = ("cos_benign", "cos_harmful")
SCORES = ("hateful", "targeted", "aggressive")

INPUTS = (
    InputSpec("pairs", "pairs", "the data set: texts, and what there is of URLs, sizes, tags, similarities, hashes, images"),
    InputSpec("baseline", "pairs", "a second data set for the scaling comparison of hate content", required=False),
    InputSpec("embeddings", "embeddings", "image embeddings in the order of the rows of pairs", required=False),
    InputSpec(
        "calibration", "table", "labelled texts for the text model's own error: label, and text or score", required=False
    ),
    InputSpec("swaps", "table", "image, benign, harmful[, axis]; or cos_benign, cos_harmful for the captions", required=False),
    InputSpec("faces", "table", "labelled faces: race, gender, and score:<class> columns or image paths", required=False),
    InputSpec("faces_baseline", "table", "the same faces under another encoder, to compare", required=False),
    InputSpec("classes", "table", "label space: class, count", required=False),
    InputSpec(
        "removed",
        "table",
        "removal manifest of an earlier release: are its rows gone? sha256, url and/or phash",
        required=False,
    ),
)

ROLES = (
    ModelRole(
        "text_toxicity",
        "scores texts; several labels are reported one by one and as their largest",
        any_of=("scores-texts", "reads-columns"),
    ),
    ModelRole("dual_encoder", "embeds images and texts in one space", all_of=("embeds-images", "embeds-texts")),
    ModelRole(
        "image_unsafe",
        "scores images or stored embeddings, names score columns, or combines them; tuned prompts and fitted mixtures do",
        any_of=("scores-images", "scores-embeddings", "reads-columns", "combines-columns"),
    ),
)


def required_columns(table: pa.Table, columns: Sequence[str], name: str) -> None:
    """Raise `SchemaError` for the first missing column of a small table, with the nearest one there is."""
    for column in columns:
        if column not in table.column_names:
            hint = nearest(column, table.column_names) or f"; columns: {', '.join(table.column_names)}"
            raise SchemaError(f"input {name!r}: no column {column!r}{hint}")


def planting(seed: int, folder: Path, *, null: bool, full: bool) -> Planting:
    """Experiments A, B, C and E and a text model of known error, as files that the audit reads.

    Experiment D needs millions of draws: see `ImageTextDataset.experiments`.
    """
    rows = 200_000 if full else 6_000
    planted = planted_tables(seed, rows, null=null)
    rng = np.random.default_rng([seed, 0xF])
    table, true_hate = _with_scores(planted.table, rng, prevalence=0.05)
    retrieval, table = _with_concepts(table, seed, null=null)
    table, lexicon = _with_lexicon(table, folder, rng)
    _write_shards(table, folder / "pairs", shards=8)
    baseline, _ = _with_scores(planted_tables(seed + 1_000, rows, null=True).table, rng, prevalence=0.05 if null else 0.03)
    _write_shards(baseline, folder / "baseline", shards=8)
    np.save(folder / "img_emb_0.npy", retrieval)
    inputs: dict[str, Any] = {
        "pairs": str(folder / "pairs" / "*.parquet"),
        "baseline": str(folder / "baseline" / "*.parquet"),
        "embeddings": str(folder / "img_emb_0.npy"),
        "calibration": _calibration(rng),
        "swaps": _swaps(seed, null=null),
    }
    faces, gaps = _faces(seed, null=null)
    settings = {"terms": list(IDENTITY_WORDS), "lexicons": [lexicon], "queries": ["c0", "c1", "c2", "c3"], "resamples": 500}
    models = {
        "text_toxicity": "column:" + ",".join(SCORES),
        "image_unsafe": "column:image_score",
        "dual_encoder": f"fake:dual-encoder?dimension=64&seed={seed}",
    }
    truth = {
        **_table_truth(planted),
        **true_hate,
        **gaps,
        "caption_swap.G1.delta": 0.0 if null else 0.03,
        "caption_swap.G2.delta": 0.0,
    }
    truth["hate_content_compare.ratio"] = 1.0 if null else _exceeding(0.05) / _exceeding(0.03)
    return Planting({**inputs, **faces}, truth, settings, models, null)


def _table_truth(planted: PlantedTable) -> dict[str, float]:
    truth = {f"slice_test.{word}": planted.truth[f"unsafe_rate.{word}"] for word in IDENTITY_WORDS}
    return truth | {
        "tag_audit.recall": planted.truth["tag_recall.strict"],
        "tag_audit.lenient_recall": planted.truth["tag_recall.lenient"],
        "slice_test.url_only": planted.truth["url_only"],
        "lexicons.any.word": 0.01,
    }


SENSITIVITY, SPECIFICITY = 0.8, 0.99


def _exceeding(prevalence: float) -> float:
    """Share of texts that the planted text model puts above 0.5."""
    return prevalence * SENSITIVITY + (1 - prevalence) * (1 - SPECIFICITY)


def _with_scores(table: pa.Table, rng: np.random.Generator, *, prevalence: float) -> tuple[pa.Table, dict[str, float]]:
    """Score columns of a text model that finds 0.8 of the hateful texts and 0.01 of the others."""
    hateful = rng.random(table.num_rows) < prevalence
    found = rng.random(table.num_rows) < np.where(hateful, SENSITIVITY, 1 - SPECIFICITY)
    top = np.where(found, rng.uniform(0.55, 0.99, table.num_rows), rng.beta(0.6, 12, table.num_rows) * 0.5)
    for name, share in zip(SCORES, (1.0, 0.6, 0.4), strict=True):
        table = table.append_column(name, pa.array((top * share).astype(np.float32)))
    return table, {"hate_content_rate.any": _exceeding(prevalence), "hate_content_rate.any.corrected": prevalence}


def _with_concepts(table: pa.Table, seed: int, *, null: bool) -> tuple[np.ndarray, pa.Table]:
    """Embeddings of experiment B, turned so that the fake encoder's texts c0..c3 point at the concepts."""
    from scipy.linalg import orthogonal_procrustes

    from assaymark.models import open_model

    planted = planted_retrieval(seed, n=table.num_rows, null=null)
    words = [f"c{i}" for i in range(planted.queries.shape[0])]
    target = np.asarray(open_model(f"fake:dual-encoder?dimension=64&seed={seed}").embed_texts(words), dtype=float)
    rotation, _ = orthogonal_procrustes(planted.queries, target)
    embeddings = (planted.embeddings @ rotation).astype(np.float16)
    marks = [pc.if_else(pa.array(planted.named[:, i]), f" {word}", "") for i, word in enumerate(words)]
    text = pc.binary_join_element_wise(table.column("TEXT"), *marks, "")
    table = table.set_column(table.column_names.index("TEXT"), "TEXT", text)
    return embeddings, table.append_column("image_score", pa.array(planted.unsafe.astype(np.float32)))


def _with_lexicon(table: pa.Table, folder: Path, rng: np.random.Generator) -> tuple[pa.Table, str]:
    """A made-up bad word in 1 % of the texts, and longer innocent words that contain it in 3 %."""
    path = folder / "made_up.txt"
    path.write_text("zqbad\n", encoding="utf-8")
    draw = rng.random(table.num_rows)
    marks = pa.array(np.where(draw < 0.01, " zqbad", np.where(draw < 0.04, " zqbadly", "")).astype(object), pa.string())
    text = pc.binary_join_element_wise(table.column("TEXT"), marks, "")
    return table.set_column(table.column_names.index("TEXT"), "TEXT", text), str(path)


def _write_shards(table: pa.Table, folder: Path, *, shards: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    edges = np.linspace(0, table.num_rows, shards + 1).astype(int)
    for i, (start, stop) in enumerate(pairwise(edges)):
        pq.write_table(table.slice(start, stop - start), folder / f"part-{i:04d}.parquet")


def _calibration(rng: np.random.Generator, *, n: int = 4_000) -> pa.Table:
    label = np.arange(n) % 2
    found = rng.random(n) < np.where(label == 1, SENSITIVITY, 1 - SPECIFICITY)
    return pa.table({"label": pa.array(label), "score": pa.array(np.where(found, 0.9, 0.1))})


def _swaps(seed: int, *, null: bool) -> pa.Table:
    planted = planted_caption_swap(seed, null=null)
    cosines = {
        name: pa.array((planted.images * side).sum(axis=1))
        for name, side in zip(COSINE_COLUMNS, (planted.benign, planted.harmful), strict=True)
    }
    return pa.table({"image": pa.array([f"picture-{i}" for i in planted.image]), "axis": pa.array(planted.group), **cosines})


def _faces(seed: int, *, null: bool) -> tuple[dict[str, pa.Table], dict[str, float]]:
    from assaymark.audits.image_text_dataset.method.downstream import PAPER_CLASSES

    planted = planted_downstream(seed, null=null)
    groups = {"race": pa.array(planted.race), "gender": pa.array(planted.gender)}

    def table(cosines: np.ndarray) -> pa.Table:
        scores = {f"score:{name}": pa.array(100 * cosines[:, i]) for i, name in enumerate(PAPER_CLASSES)}
        return pa.table({**groups, **scores})

    truth = {"downstream.race.r1.gap": planted.truth["gap_b"]}
    return {"faces": table(planted.scores_b), "faces_baseline": table(planted.scores_a)}, truth
