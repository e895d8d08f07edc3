"""Before the posts are read: labelled texts, machine-written twins, a detector trained on them, and the detectors' errors."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.audit import Context
from assaymark.audits.generated_text_prevalence.config import GeneratedTextPrevalenceConfig
from assaymark.audits.generated_text_prevalence.detectors import TRAINED, WORDS, Family, plan_detectors
from assaymark.audits.generated_text_prevalence.labelled import (
    Labelled,
    ReadRows,
    Units,
    join_units,
    read_labelled,
    score_labelled,
)
from assaymark.audits.generated_text_prevalence.measures.fitting import Counter, Fitting, fit_detectors, published_counter
from assaymark.audits.generated_text_prevalence.measures.perturbing import Rewriting
from assaymark.audits.generated_text_prevalence.measures.twins import Twins, add_twins
from assaymark.audits.generated_text_prevalence.method.source_split import split_by_source
from assaymark.audits.generated_text_prevalence.method.word_mixture import fit_words
from assaymark.audits.generated_text_prevalence.planning import announce
from assaymark.audits.generated_text_prevalence.scoring import score_columns
from assaymark.errors import ConfigError, ModelError
from assaymark.result import Flow

__all__ = ["Annotated", "Fitted", "Prepared", "fit", "prepare", "read_annotated"]


@dataclass(frozen=True)
class Prepared:
    """What the labelled input became.

    Attributes
    ----------
    rows : ReadRows or None
    units : Units or None
    family : Family
        All detectors, the trained one among them.
    twins, trained
        What was written by models in the role generator, and the detector trained here.
    training : bool array, shape (n,), or None
        Texts that a detector was trained on: they neither fit nor measure anything else.
    """

    rows: ReadRows | None
    units: Units | None
    family: Family
    twins: Twins | None = None
    trained: Any = None
    training: npt.NDArray[np.bool_] | None = None
    flows: tuple[Flow, ...] = ()
    notes: tuple[str, ...] = ()


class Fitted(NamedTuple):
    """The detector that counts, and its errors; `reason` says why there is none, or why nothing can be corrected."""

    counter: Counter | None
    fitting: Fitting | None
    reason: str


def prepare(inputs: Mapping[str, Any], config: GeneratedTextPrevalenceConfig, context: Context) -> Prepared:
    """Read the labelled texts, let generators write twins, train a detector: each only where it was asked for."""
    filler = context.model("span_filler")
    models = context.models_of("detector")
    coming = _coming(models, config, context)
    family = plan_detectors(models, filler, config, coming=coming)
    _check_posts(inputs["posts"], family, config, coming=coming)
    announce(inputs, family, config, context)
    source, generators = inputs.get("labelled"), context.models_of("generator")
    if source is None:
        wanting = {
            "a model in the role generator": bool(generators),
            "a model in the role trainee": TRAINED in coming,
            "the setting word_detector": WORDS in coming,
        }
        for what, given in wanting.items():
            if given:
                raise ModelError(f"{what} works on labelled texts: give them with labelled=FILE")
        return Prepared(None, None, family)
    read = read_labelled(source, family, config, context, name="labelled")
    twins = add_twins(read.rows, generators, config, context) if generators else None
    if twins is not None:
        read = read._replace(rows=twins.rows)
    units = join_units(read.rows, config, context)
    prepared = Prepared(read, units, family, twins, flows=(read.flow,), notes=read.notes)
    return _made_here(prepared, models, coming, config, context) if coming else prepared


def _coming(models: Mapping[str, Any], config: GeneratedTextPrevalenceConfig, context: Context) -> list[str]:
    """Detectors that are made from the labelled texts."""
    coming = [TRAINED] * bool(context.model("trainee")) + [WORDS] * config.word_detector
    for name in coming:
        if name in models:
            raise ConfigError(f"the name detector.{name} is that of a detector made here; give the model another one")
    return coming


def _check_posts(posts: Any, family: Family, config: GeneratedTextPrevalenceConfig, *, coming: Collection[str]) -> None:
    """What the pass over the posts will need, before any model is asked."""
    posts.require("created_at")
    named = {detector.member for detector in family.detectors if detector.name == config.detector}
    members = [member for member in family.members if not named or member.name in named]
    posts.with_scores(score_columns(family._replace(members=tuple(members))))
    if any(member.kind != "columns" for member in members) or (coming and not named):
        posts.require("text")


def _made_here(
    prepared: Prepared,
    models: Mapping[str, Any],
    coming: Collection[str],
    config: GeneratedTextPrevalenceConfig,
    context: Context,
) -> Prepared:
    """Half of the sources that are not for testing make the detectors; the other half calibrates these and all others."""
    assert prepared.rows is not None and prepared.units is not None
    rows, unit = prepared.rows.rows, prepared.units.unit
    test = split_by_source(unit, share=config.test_share, seed=context.seed)
    training = ~test & split_by_source(unit, share=0.5, seed=context.seed + 1)
    made: dict[str, Any] = {}
    trained, notes = None, prepared.notes
    if TRAINED in coming:
        from assaymark.audits.generated_text_prevalence.measures.training import train

        found = train(rows, unit, training, config, context)
        if isinstance(found, str):
            notes = (*notes, f"no detector was trained: {found}")
        else:
            trained, made[TRAINED] = found, found.model
    if WORDS in coming:
        label = rows.label[training]
        if label.any() and not label.all():
            made[WORDS] = fit_words([rows.texts[row] for row in np.flatnonzero(training)], label)
        else:
            notes = (*notes, "no detector was made of words: the texts for it are of one kind")
    family = plan_detectors({**models, **made}, context.model("span_filler"), config)
    return replace(prepared, family=family, trained=trained, training=training, notes=notes)


def fit(prepared: Prepared, config: GeneratedTextPrevalenceConfig, context: Context, *, rewriting: Rewriting | None) -> Fitted:
    """Calibrate and measure the detectors, and choose the one that counts."""
    family = prepared.family
    if not family.detectors:
        return Fitted(None, None, "no detector was given (--model detector.NAME=SPEC)")
    if prepared.rows is None or prepared.units is None:
        counter = published_counter(family, config)
        if isinstance(counter, str):
            return Fitted(None, None, counter)
        return Fitted(counter, None, "no labelled texts were given to measure the detector's errors (labelled=FILE)")
    labelled = score_labelled(prepared.rows.rows, prepared.units, family, context, rewriting=rewriting, name="labelled")
    fitting = fit_detectors(labelled, family, config, seed=context.seed, training=prepared.training)
    if isinstance(fitting, str):
        counter = published_counter(family, config)
        return Fitted(None if isinstance(counter, str) else counter, None, fitting)
    return Fitted(fitting.scores[fitting.chosen].counter, fitting, "")


class Annotated(NamedTuple):
    """A random sample of the stream that people labelled: labels, the detector's probabilities, and where the rows went."""

    labelled: Labelled
    probability: npt.NDArray[np.float64]
    flow: Flow
    notes: tuple[str, ...]


def read_annotated(
    dataset: Any,
    counter: Counter,
    family: Family,
    config: GeneratedTextPrevalenceConfig,
    context: Context,
    *,
    rewriting: Rewriting | None,
) -> Annotated:
    """The annotated sample with the probabilities of the detector that counts."""
    member = family.member_of(counter.detector)
    alone = Family((member,), (counter.detector,), ())
    read = read_labelled(dataset, alone, config, context, name="annotated")
    units = Units(read.rows.unit.astype(str), 0)
    labelled = score_labelled(read.rows, units, alone, context, rewriting=rewriting, name="annotated")
    return Annotated(labelled, counter(labelled.columns), read.flow, read.notes)
