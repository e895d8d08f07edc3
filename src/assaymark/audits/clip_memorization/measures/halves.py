"""Memory of every pair at once, from models that are trained here on random halves of the pool."""

from __future__ import annotations

from hashlib import blake2b
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from assaymark.audit import Context
from assaymark.audits.clip_memorization.config import ClipMemorizationConfig
from assaymark.audits.clip_memorization.measures.encoding import Encoder
from assaymark.audits.clip_memorization.measures.scoring import score_pairs
from assaymark.audits.clip_memorization.measures.wordings import wordings_of
from assaymark.audits.clip_memorization.reading import Pool
from assaymark.audits.clip_memorization.training import Trainable, clip_recipe, told_captions
from assaymark.models.opening import open_model
from assaymark.stats import subsampled_scores
from assaymark.stats.memorization.subsampling import SubsampledScores

if TYPE_CHECKING:
    from assaymark.leave_out import Subsampled

__all__ = ["HalfScores", "score_by_halves"]


class HalfScores(NamedTuple):
    """Pairs, what the models say of them, and how many models there are."""

    pool: Pool
    found: SubsampledScores
    models: int


def score_by_halves(
    prepared: Trainable, pool: Pool, tests: Pool, config: ClipMemorizationConfig, context: Context
) -> HalfScores:
    """Alignment of every pair under the models that were trained on it, minus that under the others.

    Parameters
    ----------
    prepared : pairs with their pixels, of which each model sees a random half; held-out ones are taken out
    pool : pairs to score, among them
    tests : held-out pairs behind the two mean terms

    Notes
    -----
    `config.subsampled` trainings. A run that was killed goes on with the training in which it was.
    """
    with TemporaryDirectory(prefix="assaymark-halves-") as temporary:
        halves = _trained(prepared, tests, config, context, context.work or Path(temporary))
        encoders = {
            f"half {number}": Encoder(open_model(spec, device=context.device, batch_size=context.batch_size))
            for number, spec in enumerate(halves.specs)
        }
        told = told_captions(config)
        scores = score_pairs(pool, wordings_of(pool, told, seed=context.seed), tests, encoders, told, context)
    place = {one: column for column, one in enumerate(halves.ids)}
    columns = np.array([place[one] for one in scores.pool.ids], dtype=np.int64)
    values = np.stack([scores.models[name].alignment.total for name in encoders])
    return HalfScores(scores.pool, subsampled_scores(values, halves.member[:, columns]), len(encoders))


def _trained(prepared: Trainable, tests: Pool, config: ClipMemorizationConfig, context: Context, above: Path) -> Subsampled:
    """The models, in a folder named after what decides them."""
    from assaymark.leave_out import train_subsampled
    from assaymark.leave_out.clip_trainer import ClipTrainer

    held = set(tests.ids)
    ids = [one for one in prepared.pool.ids if one not in held]
    given = {"captions": prepared.pool.captions, "ids": prepared.pool.ids, "sets": prepared.pool.sets.tolist()}
    recipe = clip_recipe(config)
    identity = ClipTrainer(prepared.pixels, recipe=recipe, **given).identity()
    name = blake2b(repr((identity, ids, context.seed)).encode("utf-8", "replace"), digest_size=8).hexdigest()
    folder = above / f"halves-{name}"
    trainer = ClipTrainer(prepared.pixels, recipe=recipe, device=context.device, folder=folder / "models", **given)
    with context.progress.task("training on halves", config.subsampled, "models") as task:
        return train_subsampled(trainer, ids=ids, models=config.subsampled, seed=context.seed, folder=folder, task=task)
