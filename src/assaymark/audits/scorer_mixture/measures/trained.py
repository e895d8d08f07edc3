"""Networks trained on the pictures of the input, as further scorers: out-of-fold scores where weights are fitted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import count, islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.audit import Context
from assaymark.audits.scorer_mixture.config import ScorerMixtureConfig
from assaymark.audits.scorer_mixture.measures.members import picture_views
from assaymark.audits.scorer_mixture.probes.row_keys import TEST
from assaymark.audits.scorer_mixture.reading import Rows
from assaymark.data.dataset import Dataset
from assaymark.data.decoding import decode_batch
from assaymark.errors import SchemaError

__all__ = ["Trained", "train_scorers"]

BATCH = 256
MOST_PICTURES = 50_000
"""Pictures held in memory for training, as 8-bit squares: 64 x 64 pixels of so many are 600 MB."""

STEPS = 16
"""Least steps of an epoch, where there are pictures enough for them."""


class Trained(NamedTuple):
    """Rows with the networks as scorers; their model specs by name, empty where no folder was given for their files."""

    rows: Rows
    specs: dict[str, str]
    notes: tuple[str, ...]


def train_scorers(
    rows: Rows, dataset: Dataset, config: ScorerMixtureConfig, context: Context, *, folder: Path | None
) -> Trained:
    """Train `config.zoo` networks on the rows that are not for testing.

    Fitting rows get scores of networks that never saw them (k folds), test rows those of networks trained on all other rows,
    which are the ones that are kept.

    Raises
    ------
    SchemaError
        The input has no pictures.
    """
    from assaymark.audits.scorer_mixture.measures.networks import Recipe
    from assaymark.audits.scorer_mixture.measures.zoo import out_of_fold_scores, zoo_scores, zoo_specs

    if "image" not in dataset:
        raise SchemaError(f"{dataset.source} holds no pictures: networks cannot be trained on it (setting zoo)")
    places, images = _pictures(rows, dataset, config, context)
    label, test = rows.label[places] == 1, rows.sample.split[places] == TEST
    names = _new_names(config.zoo, taken=rows.names)
    scores = np.full((len(rows.label), config.zoo), np.nan)
    counts = int(label[~test].sum()), int((~label[~test]).sum())
    if min(counts) < 2 * config.zoo_folds:
        note = f"no network was trained: {min(counts)} pictures of one kind are too few for {config.zoo_folds} folds"
        return Trained(rows, {}, (note,))
    specs = zoo_specs(config.zoo, input_size=config.zoo_size, seed=context.seed)
    with context.progress.task("training networks", unit="steps") as task:
        found = out_of_fold_scores(
            images[~test],
            label[~test].astype(np.int64),
            specs,
            epochs=config.zoo_epochs,
            seed=context.seed,
            k=config.zoo_folds,
            groups=_copies(rows, places[~test]),
            recipe=Recipe(batch_size=_batch_size(int((~test).sum()))),
            folder=folder,
            work=None if context.work is None else context.work / "zoo",
            task=task,
        )
    scores[places[~test]] = found.scores
    if test.any():
        scores[places[test]] = zoo_scores(found.networks, images[test])
    specs_by_name = {
        name: f"convnet:{network.path}" for name, network in zip(names, found.networks, strict=True) if network.path is not None
    }
    grown = rows.with_networks(names, scores)
    lost = int((~np.isfinite(scores).any(axis=1)).sum())
    notes = (f"{lost} rows beyond the first {MOST_PICTURES:,} pictures were not shown to the trained networks",) if lost else ()
    return Trained(_with_a_score(grown), specs_by_name, notes)


def _batch_size(pictures: int) -> int:
    """Pictures of a step: few of few, since an epoch of one or two steps teaches a network nothing."""
    return max(8, min(64, pictures // STEPS))


def _new_names(n: int, *, taken: Sequence[str]) -> tuple[str, ...]:
    free = (name for number in count(1) if (name := f"trained_{number}") not in taken)
    return tuple(islice(free, n))


def _pictures(
    rows: Rows, dataset: Dataset, config: ScorerMixtureConfig, context: Context
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint8]]:
    """Places of the rows whose picture can be decoded, and the pictures as squares."""
    from PIL.Image import Resampling

    sample, side = rows.sample, config.zoo_size
    views = replace(picture_views(config), frames=1, tile_ratio=0.0)
    kept: list[int] = []
    images: list[npt.NDArray[np.uint8]] = []
    wanted = min(len(sample.row), MOST_PICTURES)
    with context.progress.task("decoding pictures", total=wanted, unit="images") as task:
        for start in range(0, wanted, BATCH):
            block = np.arange(start, min(start + BATCH, wanted))
            table = dataset.fetch(zip(sample.shard[block], sample.row[block], strict=True), ["image"])
            decoded = decode_batch(table.column("image").combine_chunks(), views=views)
            for place, picture in zip(decoded.positions, decoded.pictures, strict=True):
                kept.append(int(block[place]))
                images.append(np.asarray(picture.convert("RGB").resize((side, side), Resampling.BILINEAR), np.uint8))
            task.advance(len(block))
    stacked = np.stack(images) if images else np.zeros((0, side, side, 3), np.uint8)
    return np.array(kept, dtype=np.int64), stacked


def _copies(rows: Rows, places: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Number of each row's content: copies of one picture stay on one side of every fold."""
    _, number = np.unique(rows.sample.unit[places], return_inverse=True)
    return np.asarray(number, dtype=np.int64)


def _with_a_score(rows: Rows) -> Rows:
    """Rows that no scorer scored would carry nothing: they are left out of the counts as well."""
    from assaymark.audits.scorer_mixture.reading import without_rows

    empty = np.asarray(~np.isfinite(rows.scores).any(axis=1))
    return without_rows(rows, empty, reason="no score") if empty.any() else rows
