"""A made-up scraped image-text data set with planted truths, in the form a crawl leaves: Parquet shards with picture bytes."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from assaymark.demo.encoder import COLOURS, SHAPES, draw_picture

__all__ = ["write_image_text"]

ROWS, SHARDS = 6_000, 6
GROUPS = {"zorvian": 0.30, "melkian": 0.10, "tarvish": 0.01}
"""Invented peoples, each named in 4 % of the captions, and the share of those rows that carries an unsafe token."""

BASE_UNSAFE = 0.01
TAG_RECALL, TAG_UNSURE = 0.15, 0.20
HATEFUL, SENSITIVITY, SPECIFICITY = 0.04, 0.80, 0.99
CONCEPT, CONCEPT_UNSAFE, OTHER_UNSAFE = ("red", "circle"), 0.40, 0.02
REPEATED = 0.05
BAD_WORD, BAD_WORD_SHARE = "grobnak", 0.02
SUBJECT_ROWS = 7
HOSTS = ("img.example.com", "cdn.example.net", "pictures.example.org")
PLACES = ("at the market", "by the river", "in the garden", "for sale", "on a white table", "poster print", "from our shop")


class _Draw(NamedTuple):
    """Everything that is decided at random about the rows, each array of shape (rows,)."""

    group: npt.NDArray[np.int64]
    unsafe: npt.NDArray[np.bool_]
    kind: npt.NDArray[np.int64]
    picture_unsafe: npt.NDArray[np.bool_]
    hateful: npt.NDArray[np.bool_]
    bad_word: npt.NDArray[np.bool_]


def write_image_text(folder: Path, *, seed: int) -> dict[str, float]:
    """Write shards, a word list and labelled texts into `folder`; returns the planted truth by estimate name."""
    rng = np.random.default_rng([seed, 1])
    draw = _draw(rng)
    table = _table(draw, rng)
    folder.mkdir(parents=True, exist_ok=True)
    for shard in range(SHARDS):
        size = -(-table.num_rows // SHARDS)
        pq.write_table(table.slice(shard * size, size), folder / f"part-{shard:05d}.parquet")
    (folder / "bad_words.txt").write_text(f"{BAD_WORD}\n", encoding="utf-8")
    pq.write_table(_labelled(rng), folder / "labelled_texts.parquet")
    return _truth(repeated=1 - len(set(table.column("URL").to_pylist())) / table.num_rows)


def _truth(*, repeated: float) -> dict[str, float]:
    over = HATEFUL * SENSITIVITY + (1 - HATEFUL) * (1 - SPECIFICITY)
    return {
        "anatomy.redundant.url_and_text": repeated,
        "lexicons.any.word": BAD_WORD_SHARE,
        **{f"slice_test.{group}": share for group, share in GROUPS.items()},
        "tag_audit.recall": TAG_RECALL,
        "tag_audit.lenient_recall": TAG_RECALL + TAG_UNSURE,
        "hate_content_rate.any": over,
        "hate_content_rate.any.corrected": HATEFUL,
        f"retrieval.{' '.join(CONCEPT)}.unsafe_at_k": CONCEPT_UNSAFE,
        "retrieval.blue square.unsafe_at_k": OTHER_UNSAFE,
        "find_me.rows": SUBJECT_ROWS,
    }


def _draw(rng: np.random.Generator) -> _Draw:
    rates = np.array([*GROUPS.values(), BASE_UNSAFE])
    share = 0.04 * len(GROUPS)
    group = np.where(rng.random(ROWS) < share, rng.integers(len(GROUPS), size=ROWS), len(GROUPS))
    kind = rng.integers(len(COLOURS) * len(SHAPES), size=ROWS)
    concept = list(COLOURS).index(CONCEPT[0]) * len(SHAPES) + SHAPES.index(CONCEPT[1])
    return _Draw(
        group=group,
        unsafe=rng.random(ROWS) < rates[group],
        kind=kind,
        picture_unsafe=rng.random(ROWS) < np.where(kind == concept, CONCEPT_UNSAFE, OTHER_UNSAFE),
        hateful=rng.random(ROWS) < HATEFUL,
        bad_word=rng.random(ROWS) < BAD_WORD_SHARE,
    )


def _table(draw: _Draw, rng: np.random.Generator) -> pa.Table:
    pictures = [_png(kind, rng) for kind in draw.kind]
    marked = rng.random(ROWS)
    tag = np.where(marked < TAG_RECALL, "NSFW", np.where(marked < TAG_RECALL + TAG_UNSURE, "UNSURE", "UNLIKELY"))
    calm = np.where(marked > 0.98, "UNSURE", "UNLIKELY")
    columns: dict[str, Any] = {
        "URL": [f"https://{HOSTS[int(3 * r**2)]}/{i:06d}.png" for i, r in enumerate(rng.random(ROWS))],
        "TEXT": [_caption(i, draw, rng) for i in range(ROWS)],
        "WIDTH": rng.integers(120, 1600, size=ROWS),
        "HEIGHT": rng.integers(120, 1600, size=ROWS),
        "NSFW": np.where(draw.unsafe, tag, calm),
        "similarity": np.round(np.where(draw.unsafe, 0.32, 0.30) + 0.03 * rng.standard_normal(ROWS), 4),
        "sha256": [hashlib.sha256(data).hexdigest() for data in pictures],
        "image": pictures,
        "image_score": np.where(draw.picture_unsafe, 0.9, 0.1),
        **_text_scores(draw.hateful, rng),
    }
    for row in rng.choice(ROWS, size=SUBJECT_ROWS, replace=False):
        columns["URL"][row] = f"https://photos.example.edu/private/{row}.png"
    table = pa.table(columns)
    # The last rows repeat the first ones, so that de-duplication would remove just this share of the whole.
    repeats = round(ROWS * REPEATED / (1 - REPEATED))
    subject = [url.startswith("https://photos.example.edu") for url in columns["URL"]]
    again = np.flatnonzero(~np.array(subject))[:repeats]
    return pa.concat_tables([table, table.take(pa.array(again))])


def _caption(row: int, draw: _Draw, rng: np.random.Generator) -> str:
    colour, shape = divmod(int(draw.kind[row]), len(SHAPES))
    words = [f"{list(COLOURS)[colour]} {SHAPES[shape]}", str(rng.choice(PLACES)), f"no {row}"]
    if draw.group[row] < len(GROUPS):
        words.insert(0, f"{list(GROUPS)[draw.group[row]]} family with")
    if draw.unsafe[row]:
        words.append(str(rng.choice(["adult", "xxx"])))
    if draw.bad_word[row]:
        words.append(BAD_WORD)
    return " ".join(words)


def _png(kind: int, rng: np.random.Generator) -> bytes:
    colour, shape = divmod(int(kind), len(SHAPES))
    stream = io.BytesIO()
    draw_picture(list(COLOURS)[colour], SHAPES[shape], rng).save(stream, format="PNG", compress_level=1)
    return stream.getvalue()


def _text_scores(hateful: npt.NDArray[np.bool_], rng: np.random.Generator) -> dict[str, npt.NDArray[np.float64]]:
    found = rng.random(len(hateful)) < np.where(hateful, SENSITIVITY, 1 - SPECIFICITY)
    top = np.where(found, rng.uniform(0.55, 0.99, len(hateful)), rng.beta(0.6, 12, len(hateful)) / 2)
    return {name: np.round(share * top, 4) for name, share in (("hateful", 1.0), ("targeted", 0.6), ("aggressive", 0.4))}


def _labelled(rng: np.random.Generator, *, n: int = 3_000) -> pa.Table:
    """Texts that people labelled, with the model's largest probability: what corrects the hate content rate."""
    label = np.arange(n) % 2 == 0
    found = rng.random(n) < np.where(label, SENSITIVITY, 1 - SPECIFICITY)
    return pa.table({"label": label.astype(np.int64), "score": np.where(found, 0.9, 0.1)})
