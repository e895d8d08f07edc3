"""From inputs and models to scores: which pairs are scored, which are held out, and under which models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.audit import Context
from assaymark.audits.clip_memorization.config import ClipMemorizationConfig, ScoringSettings
from assaymark.audits.clip_memorization.measures.encoding import Encoder, check_pair
from assaymark.audits.clip_memorization.measures.scoring import Scores, score_pairs
from assaymark.audits.clip_memorization.measures.stored import score_stored
from assaymark.audits.clip_memorization.measures.tower_units import TowerUnits, measure_units, unit_pairs
from assaymark.audits.clip_memorization.measures.wordings import CutCaptions, cut_captions, wordings_of
from assaymark.audits.clip_memorization.reading import NO_SET, Pool, chosen_by_id, read_pool, sets_of_split
from assaymark.audits.clip_memorization.report.training import training_section
from assaymark.audits.clip_memorization.training import (
    Trainable,
    clip_recipe,
    open_pair,
    told_captions,
    train_models,
    trainable,
)
from assaymark.errors import InputError, ModelError
from assaymark.section import Section

__all__ = ["Chosen", "Material", "choose_pairs", "given_encoders", "measure", "model_notes", "read_material", "trained_here"]


class Material(NamedTuple):
    """The pairs of the inputs: those that may be scored, and the held-out ones where they are an input of their own."""

    pool: Pool
    tests: Pool | None


class Chosen(NamedTuple):
    """Pairs to score and pairs held out, disjoint."""

    pool: Pool
    tests: Pool


def read_material(inputs: Mapping[str, Any], config: ScoringSettings, context: Context) -> Material:
    """Read pairs, sets and held-out pairs.

    Raises
    ------
    InputError
        A pair stands in two sets; a held-out pair is one of the pairs.
    """
    split = None if inputs.get("split") is None else sets_of_split(inputs["split"])
    pool = read_pool(inputs["pairs"], config, context, name="pairs", split=split)
    if inputs.get("test") is None:
        return Material(pool, None)
    tests = read_pool(inputs["test"], config, context, name="test")
    both = set(pool.ids) & set(tests.ids)
    if both:
        raise InputError(f"input 'test': {len(both):,} of its pairs are in the input 'pairs' too; held-out pairs are in no set")
    return Material(pool, tests)


def choose_pairs(material: Material, config: ScoringSettings, *, seed: int) -> Chosen:
    """At most `points` candidates and `others` of each other set, and at most `test_items` held-out pairs.

    All by a hash of the id: the choice does not depend on the order of rows.
    """
    pool, tests = material
    external = np.flatnonzero(pool.sets == "E")
    if tests is None:
        # Without sets nothing is known to be external: some pairs have to stand in for those that no model saw.
        reserve = external if (pool.sets != NO_SET).any() else np.arange(len(pool))
        most = min(config.test_items, round(config.test_share * len(reserve)))
        held = chosen_by_id(pool.ids, reserve, most=most, seed=seed)
        tests = pool.take(held)
    else:
        held = np.zeros(0, np.int64)
        tests = tests.take(chosen_by_id(tests.ids, np.arange(len(tests)), most=config.test_items, seed=seed))
    rows = []
    for letter in ("S", "C", "I", "E", NO_SET):
        own = np.setdiff1d(np.flatnonzero(pool.sets == letter), held)
        rows.append(chosen_by_id(pool.ids, own, most=config.points if letter in ("C", NO_SET) else config.others, seed=seed))
    return Chosen(pool.take(np.sort(np.concatenate(rows))), tests)


def given_encoders(context: Context) -> dict[str, Encoder]:
    """The models that were given: "f", "g", "independent".

    Raises
    ------
    ModelError
        A reference without a model, or two that are no trainings of one architecture.
    """
    roles = {"f": "model", "g": "reference", "independent": "independent"}
    found = {name: _dual(model, role) for name, role in roles.items() if (model := context.model(role)) is not None}
    if "g" in found and "f" not in found:
        raise ModelError("there is a reference and no model to compare with it: give the audited one as --model model=SPEC")
    if "f" in found and "g" in found:
        check_pair(found["f"], found["g"])
    return found


def _dual(model: Any, role: str) -> Encoder:
    """A model that shows its layers alone would fit the role too, since that is what a further capability looks like."""
    lacking = [name for name in ("embeds-images", "embeds-texts") if name not in model.capabilities]
    if lacking:
        raise ModelError(f"model {model.spec} cannot take the role {role!r}: it lacks {' and '.join(lacking)}")
    return Encoder(model)


def model_notes(encoders: Mapping[str, Encoder], context: Context) -> list[str]:
    """What is to be known of the models, once they were used: what is wrong with weights shows when they are loaded."""
    others = (context.model(role) for role in ("supervised", "self_supervised"))
    models = [*(encoder.model for encoder in encoders.values()), *(model for model in others if model is not None)]
    return [note for model in models for note in getattr(model, "notes", ())]


class TrainedHere(NamedTuple):
    """Pairs with their sets, both models, what is to be said of their training, settings for them, and what was trained on."""

    material: Material
    encoders: dict[str, Encoder]
    sections: list[Section]
    config: ClipMemorizationConfig
    prepared: Trainable


def trained_here(material: Material, config: ClipMemorizationConfig, context: Context) -> TrainedHere:
    """A pair of models trained on the pairs, and what is to be said and handed on of it.

    Its folder is an artifact, so that a later run names its models; without a run folder it is a temporary one.
    """
    prepared = trainable(material.pool, config, context)
    folder = context.artifacts / "pair" if context.artifacts is not None else Path(mkdtemp(prefix="assaymark-pair-"))
    with context.progress.task("training two models", None, "steps") as task:
        pair = train_models(prepared, clip_recipe(config), seed=context.seed, folder=folder, device=context.device, task=task)
    encoders = open_pair(pair, device=context.device, batch_size=context.batch_size)
    section = training_section(pair.record, prepared.unreadable, prepared.split_here, kept=context.artifacts is not None)
    return TrainedHere(Material(prepared.pool, material.tests), encoders, [section], told_captions(config), prepared)


class Measured(NamedTuple):
    """Scores, captions that are cut (None: not looked for), and units (None: no model that can be looked into)."""

    scores: Scores
    cut: CutCaptions | None
    units: TowerUnits | None = None


def measure(
    chosen: Chosen, encoders: Mapping[str, Encoder], inputs: Mapping[str, Any], config: ClipMemorizationConfig, context: Context
) -> Measured:
    """Scores from models, or from stored embeddings where these are an input.

    Raises
    ------
    InputError
        Two models, and no pair that only the first was trained on.
    SchemaError
        Models, and no pictures.
    """
    pool, tests = chosen
    if inputs.get("embeddings") is not None:
        with context.progress.task("reading embeddings", 2 * len(pool), "pairs") as task:
            return Measured(score_stored(pool, tests, inputs["embeddings"], config, task), None)
    pool.dataset.require("image")
    if "g" in encoders and len(pool) and not (pool.sets != NO_SET).any():
        raise InputError(
            "input 'pairs': no pair has a set, so nobody knows which of them only the model was trained on: give a column "
            f"{config.set_column!r} with S, C, I or E, or the input split (id, set)"
        )
    cut = cut_captions([c for own in pool.captions for c in own], encoders["f"], most=config.check_captions)
    wordings = wordings_of(pool, config, paraphraser=context.model("paraphraser"), seed=context.seed)
    scores = score_pairs(pool, wordings, tests, encoders, config, context)
    return Measured(scores, cut, _units(pool, wordings, encoders["f"].model, config, context) if config.units else None)


def _units(
    pool: Pool, wordings: Sequence[Sequence[str]], model: Any, config: ClipMemorizationConfig, context: Context
) -> TowerUnits | None:
    """Units of what can be looked into: both towers of the model, and encoders that its image tower is set beside."""
    models = {name: model for name, has in (("image", "layers"), ("text", "text_layers")) if hasattr(model, has)}
    models |= {role: given for role in ("supervised", "self_supervised") if (given := context.model(role)) is not None}
    rows = unit_pairs(pool, config, seed=context.seed)
    return measure_units(pool.take(rows), [wordings[row] for row in rows], models, config, context) if models else None


def with_sets(pool: Pool, sets: npt.NDArray[Any]) -> Pool:
    """The pool with other sets, in its order."""
    return replace(pool, sets=np.asarray(sets, dtype="U1"))
