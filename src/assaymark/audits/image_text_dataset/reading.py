"""Which probes can run on the given inputs, and the one pass over the data that runs them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from assaymark.audit import Context
from assaymark.audits.image_text_dataset.config import PROBES, ImageTextDatasetConfig, WordSettings
from assaymark.audits.image_text_dataset.image_scores import image_labels, image_scorer, with_image_columns
from assaymark.audits.image_text_dataset.measures.queries import Query
from assaymark.audits.image_text_dataset.probes.admission import AdmissionProbe
from assaymark.audits.image_text_dataset.probes.anatomy import AnatomyProbe
from assaymark.audits.image_text_dataset.probes.duplicates import DuplicateProbe
from assaymark.audits.image_text_dataset.probes.find_me import FindProbe, Wanted
from assaymark.audits.image_text_dataset.probes.hate_content import HateContentProbe
from assaymark.audits.image_text_dataset.probes.language import LanguageProbe
from assaymark.audits.image_text_dataset.probes.lexicons import LexiconProbe
from assaymark.audits.image_text_dataset.probes.manifest import EVIDENCE, Evidence, ManifestProbe
from assaymark.audits.image_text_dataset.probes.search import SearchProbe
from assaymark.audits.image_text_dataset.probes.slice_test import SliceProbe
from assaymark.audits.image_text_dataset.probes.tag_audit import FlagSource, TagProbe
from assaymark.audits.image_text_dataset.probes.vocabulary import Vocabulary
from assaymark.data.lexicon import Lexicon, Normalisation, Term, load_lexicon, load_lexicons
from assaymark.data.probe import Probe
from assaymark.data.scan import Sample, ScanOutcome, Scorer, scan
from assaymark.errors import ConfigError, InputError, nearest

__all__ = ["Choice", "build_vocabulary", "check_probes", "choose_probes", "read_pairs"]


def check_probes(config: ImageTextDatasetConfig) -> None:
    """Raise `ConfigError` for a probe name that does not exist."""
    for name in config.probes:
        if name not in PROBES:
            raise ConfigError(
                f"setting 'probes': unknown probe {name!r}{nearest(name, PROBES) or '; known: ' + ', '.join(PROBES)}"
            )


def build_vocabulary(config: WordSettings) -> Vocabulary:
    """All words of the settings, loaded and compiled."""
    return Vocabulary(
        lexicons=tuple(lexicon for path in config.lexicons for lexicon in load_lexicons(path)),
        slices=tuple(_slice_terms(config.terms)),
        unsafe=tuple(lexicon for path in config.unsafe_lexicons for lexicon in load_lexicons(path)),
        term_mode=config.term_mode,
        unsafe_mode=config.unsafe_mode,
        normalise=Normalisation(nfkc=config.nfkc, zero_width=config.zero_width, leetspeak=config.leetspeak),
    )


def _slice_terms(settings: tuple[str, ...]) -> list[Term]:
    """Terms of files and single words, the first of each spelling kept."""
    found: dict[str, Term] = {}
    for setting in settings:
        is_list = setting == "identity-en" or Path(setting).suffix in (".csv", ".txt", ".json")
        lexicon = load_lexicon(setting) if is_list else Lexicon.of("terms", [Term(setting, category="terms")])
        for term in lexicon.terms:
            found.setdefault(term.term, term)
    return list(found.values())


class Choice(NamedTuple):
    """Probes that can run, the scorers they need, and why others were left out."""

    probes: tuple[Probe, ...]
    scorers: tuple[Scorer, ...]
    notes: tuple[str, ...]


def choose_probes(
    dataset: Any,
    words: Vocabulary,
    wanted: tuple[Wanted, ...],
    queries: tuple[Query, ...],
    config: ImageTextDatasetConfig,
    context: Context,
    *,
    removed: Evidence | None = None,
) -> Choice:
    """A probe runs when the data set has what it needs; otherwise a note says what is missing."""
    text, image = context.model("text_toxicity"), context.model("image_unsafe")
    source = FlagSource(
        words,
        tuple(text.labels) if text is not None and "text" in dataset else (),
        image_labels(dataset, image),
        config.theta,
        config.image_cut,
    )
    offers: dict[str, tuple[list[Probe], str]] = {
        "anatomy": ([AnatomyProbe(), DuplicateProbe()], ""),
        "lexicons": (
            [LexiconProbe(words, examples=config.examples)],
            "" if words.lexicons else "no lexicons given (--set lexicons=...)",
        ),
        "slice_test": ([SliceProbe(words)], "" if words.slices else "no terms given"),
        "tag_audit": (
            [TagProbe(source, cutoffs=config.punsafe_grid)],
            "" if {"tag", "punsafe"} & set(dataset.mapping) or source.image_labels else "no safety tag or punsafe column",
        ),
        "hate_content": (
            [HateContentProbe(source.text_labels, thresholds=config.theta_grid, theta=config.theta, empty=config.empty_text)],
            "" if source.text_labels else "no text model given (--model text_toxicity=SPEC)",
        ),
        "admission": ([AdmissionProbe(words, encoders=further_encoders(dataset, config))], ""),
        "retrieval": (
            [SearchProbe([q.text for q in queries], k=config.k)] if queries else [],
            "" if queries else "no queries given",
        ),
        "find_me": ([FindProbe(wanted, distance=config.find_distance)], "" if wanted else "nobody asked to be found"),
        "removal_check": (
            [ManifestProbe(removed or Evidence(), distance=config.find_distance)],
            _unchecked(removed, dataset),
        ),
    }
    probes: list[Probe] = []
    notes: list[str] = []
    scored = {f"text_toxicity.{label}" for label in source.text_labels}
    for name, (candidates, missing) in offers.items():
        if name not in config.probes:
            continue
        lacking = [c for probe in candidates for c in probe.columns if c not in dataset and c not in scored]
        if missing or lacking:
            notes.append(f"{name} was left out: {missing or 'no column for ' + ', '.join(dict.fromkeys(lacking))}")
        else:
            probes += candidates
    if config.language_sample and "anatomy" in config.probes and "text" in dataset and "language" not in dataset:
        probes.append(LanguageProbe(size=config.language_sample))
    images = image_scorer(dataset, image, batch_size=context.batch_size)
    return Choice(tuple(probes), tuple(_scorers(source, text, images, probes, context)), tuple(notes))


DATACOMP_SIMILARITIES = ("clip_b32_similarity_score", "clip_l14_similarity_score")


def further_encoders(dataset: Any, config: ImageTextDatasetConfig) -> tuple[str, ...]:
    """Similarity columns beside the one that is audited: those of the settings, else what DataComp writes."""
    own = dataset.mapping.get("similarity")
    found = config.encoder_columns or tuple(column for column in DATACOMP_SIMILARITIES if column in dataset.columns)
    return tuple(column for column in found if column != own)


def _unchecked(removed: Evidence | None, dataset: Any) -> str:
    """Why a removal manifest cannot be held against the data set, if so."""
    if removed is None:
        return "no removal manifest given (input removed)"
    held = [name for name, values in zip(EVIDENCE, removed, strict=True) if values]
    if not held:
        return "the removal manifest holds no hash and no address"
    return "" if any(name in dataset for name in held) else f"no column for {', '.join(held)}"


def _scorers(source: FlagSource, text: Any, images: Scorer | None, probes: list[Probe], context: Context) -> list[Scorer]:
    names = {probe.name for probe in probes}
    scorers = []
    if source.text_labels and not hasattr(text, "columns") and names & {"hate_content", "tag_audit"}:
        scorers.append(Scorer("text_toxicity", "text", source.text_labels, TextScores(text), context.batch_size))
    if images is not None and "tag_audit" in names:
        scorers.append(images)
    return scorers


class TextScores:
    """Picklable scorer of an Arrow array of texts; an empty text has no score."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def __call__(self, values: pa.Array) -> npt.NDArray[np.float32]:
        texts = [value or "" for value in values.to_pylist()]
        scores = np.full((len(texts), len(self.model.labels)), np.nan, dtype=np.float32)
        filled = [i for i, text in enumerate(texts) if text.strip()]
        if filled:
            scores[filled] = self.model.score_texts([texts[i] for i in filled])
        return scores


def read_pairs(dataset: Any, choice: Choice, config: ImageTextDatasetConfig, context: Context, *, name: str) -> ScanOutcome:
    """The one pass. Score columns that the data set already holds stand in for their models."""
    asked = {column for probe in choice.probes for column in (*probe.columns, *probe.optional)}
    text = context.model("text_toxicity")
    if text is not None and hasattr(text, "columns"):
        scores = {f"text_toxicity.{label}": c for label, c in zip(text.labels, text.columns, strict=True)}
        dataset = dataset.with_scores({name: column for name, column in scores.items() if name in asked})
    dataset = with_image_columns(dataset, context.model("image_unsafe"), asked)
    dataset = dataset.with_scores(
        {f"similarity.{c}": c for probe in choice.probes if isinstance(probe, AdmissionProbe) for c in probe.encoders}
    )
    sampled = bool(config.sample_rows) and any(probe.name == "hate_content" for probe in choice.probes)
    checkpoint = None if context.work is None else context.work / name
    with context.progress.task(f"reading {name}", total=dataset.rows, unit="rows") as task:
        return scan(
            dataset,
            choice.probes,
            engine=context.engine,
            scorers=choice.scorers,
            sample=Sample(config.sample_rows, context.seed) if sampled else None,
            checkpoint=checkpoint,
            task=task,
            log=context.log,
        )


def detector_counts(table: pa.Table, model: Any, config: ImageTextDatasetConfig) -> Mapping[str, tuple[int, int]]:
    """[found, harmful] and [passed, harmless] of the text model on labelled texts: columns label, and score or text."""
    from assaymark.audits.image_text_dataset.data import required_columns

    required_columns(table, ("label", "score" if model is None or "score" in table.column_names else "text"), "calibration")
    labels = np.array([str(v).strip().lower() in ("1", "1.0", "true") for v in table.column("label").to_pylist()])
    if "score" in table.column_names:
        scores = pc.cast(table.column("score"), pa.float64(), safe=False).to_numpy()
    elif hasattr(model, "score_texts"):
        scores = np.asarray(model.score_texts([v or "" for v in table.column("text").to_pylist()]), dtype=float).max(axis=1)
    else:
        raise InputError("calibration: the text model reads columns, so give its largest probability in a column 'score'")
    known = np.isfinite(scores)
    over, labels = scores[known] > config.theta, labels[known]
    return {
        "sensitivity": (int((over & labels).sum()), int(labels.sum())),
        "specificity": (int((~over & ~labels).sum()), int((~labels).sum())),
    }
