"""Alignment of every scored pair under every model, block by block over common views; nothing but sums outlives a block."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.audit import Context
from assaymark.audits.clip_memorization.config import ScoringSettings
from assaymark.audits.clip_memorization.measures.encoding import Encoder
from assaymark.audits.clip_memorization.measures.wordings import text_views
from assaymark.audits.clip_memorization.method.alignment import Alignment, HeldOutMeans, alignment, held_out_means
from assaymark.audits.clip_memorization.method.towers import view_distance
from assaymark.audits.clip_memorization.reading import Pool
from assaymark.result import Flow

__all__ = ["HeldOut", "ModelScores", "Scores", "embed_held_out", "picture_blocks", "score_pairs"]

Floats = npt.NDArray[np.float64]
BLOCK, FETCHED = 64, 512


@dataclass(frozen=True)
class ModelScores:
    """What one model says of n pairs.

    Attributes
    ----------
    pair, image_to_tests, text_to_tests, view_sd : array, shape (n,): see `method.alignment.Alignment`
    image_distance, text_distance : array, shape (n,)
        Mean distance between two views in one tower; NaN where there is one view.
    first_image, first_text : array, shape (n, dimension): embeddings of the first view
    """

    pair: Floats
    image_to_tests: Floats
    text_to_tests: Floats
    view_sd: Floats
    image_distance: Floats
    text_distance: Floats
    first_image: npt.NDArray[np.float32]
    first_text: npt.NDArray[np.float32]

    @property
    def alignment(self) -> Alignment:
        return Alignment(self.pair, self.image_to_tests, self.text_to_tests, self.view_sd)


class HeldOut(NamedTuple):
    """Held-out pairs under one model: pictures, captions, and the row of the picture that a caption belongs to."""

    images: npt.NDArray[np.float32]
    texts: npt.NDArray[np.float32]
    owners: npt.NDArray[np.int64]

    @property
    def means(self) -> HeldOutMeans:
        """Of pictures and of the first caption of each: several captions of one picture would count it several times."""
        first = np.unique(self.owners, return_index=True)[1]
        return held_out_means(self.images, self.texts[first])


class Scores(NamedTuple):
    """Scored pairs (those with a picture), what each model says of them, the held-out pairs, and what became of all."""

    pool: Pool
    models: dict[str, ModelScores]
    tests: Pool
    held_out: dict[str, HeldOut]
    flow: Flow
    sizes: int


class _Pictures(NamedTuple):
    positions: npt.NDArray[np.int64]  # of the pairs of the block that have a picture
    images: list[Any]
    failed: dict[str, int]
    sizes: set[tuple[int, int]]


def _decoded(encoded: Sequence[bytes | None]) -> _Pictures:
    from assaymark.data.decoding import decode_batch

    found = decode_batch(encoded)
    return _Pictures(found.positions, list(found.pictures), dict(found.reasons), {image.size for image in found.pictures})


def picture_blocks(pool: Pool, size: int = BLOCK) -> Iterator[tuple[Pool, _Pictures]]:
    """Consecutive parts of a pool with their decoded pictures; `FETCHED` encoded ones are read at once."""
    for first in range(0, len(pool), FETCHED):
        chunk = pool.take(np.arange(first, min(first + FETCHED, len(pool))))
        rows = chunk.dataset.fetch([(int(shard), int(row)) for shard, row in chunk.places], ["image"])
        encoded = rows.column("image").to_pylist()
        for start in range(0, len(chunk), size):
            block = np.arange(start, min(start + size, len(chunk)))
            yield chunk.take(block), _decoded(encoded[start : start + size])


def embed_held_out(tests: Pool, encoders: Mapping[str, Encoder], task: Any) -> tuple[Pool, dict[str, HeldOut]]:
    """The held-out pairs that can be read, and both sides of each under every model, without augmentation."""
    images: dict[str, list[Any]] = {name: [] for name in encoders}
    kept: list[int] = []
    start = 0
    for part, pictures in picture_blocks(tests):
        kept += (start + pictures.positions).tolist()
        start += len(part)
        for name, encoder in encoders.items():
            images[name].append(encoder.embed_images(pictures.images))
        task.advance(len(part))
    readable = tests.take(np.array(kept, dtype=np.int64))
    captions = [caption for own in readable.captions for caption in own]
    owners = np.repeat(np.arange(len(readable)), [len(own) for own in readable.captions])
    found = {}
    for name, encoder in encoders.items():
        rows = np.concatenate(images[name]) if images[name] else np.zeros((0, encoder.dimension), np.float32)
        found[name] = HeldOut(rows, encoder.embed_texts(captions), owners)
    return readable, found


def score_pairs(
    pool: Pool,
    wordings: Sequence[Sequence[str]],
    tests: Pool,
    encoders: Mapping[str, Encoder],
    config: ScoringSettings,
    context: Context,
) -> Scores:
    """Score the pairs of a pool under all models.

    Parameters
    ----------
    wordings : of each pair, what its text views draw from
    tests : held-out pairs, disjoint from the pool

    Notes
    -----
    K (picture + text) forward passes a pair and model. Views are drawn by id, view and seed, so that all models see the same
    ones in any order. Memory: one block of pictures, and two embeddings a pair and model. Finished blocks are kept in the work
    folder, and a run that was killed goes on behind them.
    """
    order = np.lexsort((pool.places[:, 1], pool.places[:, 0]))  # as they lie in the files, so that each part is read once
    pool, wordings = pool.take(order), [wordings[row] for row in order]
    views = text_views(pool.ids, wordings, views=config.views, seed=context.seed)
    blocks: list[dict[str, Any]] = []
    kept: list[int] = []
    failed: dict[str, int] = {}
    sizes: set[tuple[int, int]] = set()
    # A run that is stopped by a signal leaves whole blocks behind, since they are renamed into place.
    store = _BlockStore(context.work, _identity(encoders, tests, config, context.seed))
    with context.progress.task("scoring pairs", len(tests) + len(pool), "pairs") as task:
        readable, held_out = embed_held_out(tests, encoders, task)
        means = {name: found.means for name, found in held_out.items()}
        start = 0
        for part, pictures in picture_blocks(pool, min(BLOCK, max(context.batch_size, 1))):
            rows = start + pictures.positions
            here = pool.take(rows)
            found = store.load(here.ids)
            if found is None:
                found = _block(
                    here, [wordings[r] for r in rows], views[rows], pictures.images, encoders, means, config, context.seed
                )
                store.save(here.ids, found)
            blocks.append(found)
            kept += rows.tolist()
            sizes |= pictures.sizes
            for reason, count in pictures.failed.items():
                failed[reason] = failed.get(reason, 0) + count
            start += len(part)
            task.advance(len(part))
    flow = Flow("pairs chosen to be scored", len(pool), len(kept), failed=failed, unit="pairs")
    joined = {name: _joined(blocks, name, encoder.dimension) for name, encoder in encoders.items()}
    scored = pool.take(np.array(kept, dtype=np.int64))
    back = np.argsort(order[kept], kind="stable")  # by id again: what is drawn later depends on the order
    models = {name: ModelScores(*(getattr(m, field.name)[back] for field in fields(m))) for name, m in joined.items()}
    return Scores(scored.take(back), models, readable, held_out, flow, len(sizes))


def _block(
    pool: Pool,
    wordings: Sequence[Sequence[str]],
    drawn: npt.NDArray[np.int64],
    images: list[Any],
    encoders: Mapping[str, Encoder],
    means: Mapping[str, HeldOutMeans],
    config: ScoringSettings,
    seed: int,
) -> dict[str, Any]:
    """Columns of `ModelScores` by "model.field" for one block of pairs."""
    from assaymark.training.augmentation_spec import augmentation
    from assaymark.training.views import views

    spec = augmentation(config.augmentation)
    texts = [own[k] for own, row in zip(wordings, drawn, strict=True) for k in row]
    found: dict[str, Any] = {}
    for name, encoder in encoders.items():
        shape = (len(pool), -1, encoder.dimension)
        v = encoder.embed_texts(texts).reshape(len(pool), drawn.shape[1], encoder.dimension)
        pixels = encoder.pixels(images)
        u = np.zeros((len(pool), config.views, encoder.dimension), np.float32)
        for k in range(config.views if len(pool) else 0):
            u[:, k] = encoder.embed_pixels(views(pixels, ids=pool.ids, draw=k, seed=seed, spec=spec)).reshape(shape)[:, 0]
        aligned = alignment(u, v, means=means[name])
        columns = (*aligned, view_distance(u), view_distance(v), u[:, 0], v[:, 0])
        found |= {f"{name}.{field.name}": column for field, column in zip(fields(ModelScores), columns, strict=True)}
    return found


def _joined(blocks: list[dict[str, Any]], name: str, dimension: int) -> ModelScores:
    columns: list[Any] = []
    for field in fields(ModelScores):
        parts = [block[f"{name}.{field.name}"] for block in blocks]
        wide = field.name.startswith("first_")
        empty = np.zeros((0, dimension), np.float32) if wide else np.zeros(0)
        columns.append(np.concatenate(parts) if parts else empty)
    return ModelScores(*columns)


def _identity(encoders: Mapping[str, Encoder], tests: Pool, config: ScoringSettings, seed: int) -> str:
    models = [(name, encoder.fingerprint) for name, encoder in encoders.items()]
    held_out = blake2b("\n".join(tests.ids).encode("utf-8", "replace"), digest_size=8).hexdigest()
    return repr((1, models, held_out, config.views, config.augmentation, config.text_views, config.paraphrases, seed))


class _BlockStore:
    """Finished blocks in the work folder, each under a hash of what decides its numbers."""

    def __init__(self, folder: Path | None, identity: str) -> None:
        self._folder = None if folder is None else folder / "blocks"
        self._identity = identity
        if self._folder is not None:
            self._folder.mkdir(parents=True, exist_ok=True)

    def _path(self, ids: list[str]) -> Path | None:
        digest = blake2b(repr((self._identity, ids)).encode("utf-8", "replace"), digest_size=12).hexdigest()
        return None if self._folder is None else self._folder / f"{digest}.npz"

    def load(self, ids: list[str]) -> dict[str, Any] | None:
        path = self._path(ids)
        if path is None or not path.exists():
            return None
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}

    def save(self, ids: list[str], found: dict[str, Any]) -> None:
        path = self._path(ids)
        if path is None:
            return
        with path.with_suffix(".part").open("wb") as file:
            np.savez(file, **found)
        path.with_suffix(".part").replace(path)
