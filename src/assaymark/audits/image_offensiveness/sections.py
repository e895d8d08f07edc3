"""From inputs, prompts and one reading to the sections of the result, in reading order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.audit import Context
from assaymark.audits.image_offensiveness.config import ImageOffensivenessConfig
from assaymark.audits.image_offensiveness.measures.annotations import count_annotations
from assaymark.audits.image_offensiveness.measures.cross_tuning import ErrorCounts
from assaymark.audits.image_offensiveness.measures.documentation import class_clouds, compare_words, listed_words
from assaymark.audits.image_offensiveness.measures.evaluation import Evaluation, evaluate
from assaymark.audits.image_offensiveness.measures.feature_spaces import feature_spaces, fine_tuned_curves
from assaymark.audits.image_offensiveness.measures.flag_list import compare_flag_list
from assaymark.audits.image_offensiveness.measures.pictures import Sheets, caption_pictures, contact_sheets
from assaymark.audits.image_offensiveness.measures.prompts import (
    prompts_of_file,
    save_prompts,
    start_of_tuning,
    tuned_prompts,
    zero_shot_prompts,
)
from assaymark.audits.image_offensiveness.measures.rated import RatedImages, read_rated, too_few_ratings
from assaymark.audits.image_offensiveness.measures.review import build_queue, write_queue
from assaymark.audits.image_offensiveness.measures.row_names import NAMING, write_shortlist
from assaymark.audits.image_offensiveness.measures.score_file import write_scores
from assaymark.audits.image_offensiveness.measures.verdicts import BestScores, precision_of_best, read_verdicts, reviewed
from assaymark.audits.image_offensiveness.reading import Reading
from assaymark.audits.image_offensiveness.report.datasheet import answer_of, write_datasheet
from assaymark.audits.image_offensiveness.report.evaluation import evaluation_section
from assaymark.audits.image_offensiveness.report.flags import (
    annotation_section,
    class_section,
    flag_section,
    score_tables,
    shortlist_section,
    slice_section,
)
from assaymark.audits.image_offensiveness.report.generated import generated_section
from assaymark.audits.image_offensiveness.report.masking import Mask, mask_of
from assaymark.audits.image_offensiveness.report.overlap import flag_list_section, overlap_section
from assaymark.audits.image_offensiveness.report.prompts import prompt_section
from assaymark.audits.image_offensiveness.report.review import queue_section, sheet_section, verdict_section
from assaymark.audits.image_offensiveness.report.unrated import no_ratings
from assaymark.audits.image_offensiveness.report.words import class_cloud_section, words_section
from assaymark.calibrated import packaged_calibration
from assaymark.errors import AssaymarkError, ConfigError, InputError
from assaymark.models.prompt_files import PromptSet
from assaymark.result import Artifact
from assaymark.section import Section

__all__ = ["Prompts", "calibration_section", "choose_prompts", "datasheet_section", "flag_sections", "rating_sections"]

PACKAGE = "assaymark.audits.image_offensiveness"


class Prompts(NamedTuple):
    """The prompts in use, where they come from, and what was measured on rated images on the way."""

    prompts: PromptSet
    origin: str
    notes: tuple[str, ...]
    rated: RatedImages | None
    evaluation: Evaluation | None


def choose_prompts(inputs: Mapping[str, Any], config: ImageOffensivenessConfig, context: Context) -> Prompts:
    """Prompts of a file, else tuned on the ratings, else the encoder's own texts; rated images are measured with them.

    Raises
    ------
    ConfigError
        None of the three.
    """
    encoder, ratings = context.model("encoder"), inputs.get("ratings")
    given, notes = (
        (None, ()) if config.prompts is None else prompts_of_file(config.prompts, config.prompts_key, config, encoder)
    )
    rated = None
    if ratings is not None:
        rated = read_rated(ratings, encoder, config, context, dimension=None if given is None else given.dimension)
    source = "" if ratings is None else str(ratings.fingerprint)
    if given is not None:
        prompts, origin = given, "file"
    elif rated is not None and rated.trainable:
        start = start_of_tuning(config, encoder, rated, given=None, rng=context.rng("start"))
        prompts = tuned_prompts(rated, start, config, encoder, source=source, rng=context.rng("tuning"))
        origin = "ratings"
    elif encoder is not None and hasattr(encoder, "embed_texts"):
        prompts, origin = zero_shot_prompts(config, encoder), "words"
    else:
        raise _no_prompts(rated, config)
    if rated is None or not len(rated.vectors):
        return Prompts(prompts, origin, notes, rated, None)
    fitted = origin == "ratings" or (bool(source) and prompts.training.get("ratings") == source)
    if fitted and origin == "file":
        notes = (
            *notes,
            "the prompts were tuned on these very ratings: figures come from splits and folds, not from themselves",
        )
    return Prompts(
        prompts, origin, notes, rated, _evaluated(rated, prompts, inputs, config, context, fitted=fitted, origin=origin)
    )


def _no_prompts(rated: RatedImages | None, config: ImageOffensivenessConfig) -> AssaymarkError:
    """Nothing was given to rate with; or ratings were, and they do not suffice."""
    if rated is None:
        return ConfigError(
            "there are no prompts to rate with: give a prompt file (--set prompts=FILE), rated images to tune on (input "
            "ratings), or an encoder that embeds texts (--model encoder=SPEC)"
        )
    return InputError(f"input 'ratings': {too_few_ratings(rated, config)}, or give prompts (--set prompts=FILE)")


def _evaluated(
    rated: RatedImages, prompts: PromptSet, inputs: Mapping[str, Any], config: ImageOffensivenessConfig, context: Context, *,
    fitted: bool, origin: str,
) -> Evaluation:  # fmt: skip
    encoder = context.model("encoder")
    known = prompts if origin == "file" and not fitted and len(prompts.prompts) == 2 else None
    if origin == "words":
        known = None
    start = start_of_tuning(config, encoder, rated, given=known, rng=context.rng("start"))
    spaces = feature_spaces(inputs["ratings"], rated, context)
    found = evaluate(rated, prompts, start, config, context, fitted=fitted, encoder=encoder, features=spaces.vectors)
    tuned = fine_tuned_curves(inputs["ratings"], rated, found.curve, config, context)
    return found._replace(baselines=(*found.baselines, *tuned.curves), notes=(*found.notes, *spaces.notes, *tuned.notes))


def rating_sections(
    sections: Sequence[Section], chosen: Prompts, config: ImageOffensivenessConfig, context: Context
) -> list[Section]:
    """The prompts, and how far they agree with people; `sections` are those of the flags, with what verdicts say."""
    looked_at = any(
        section.estimates["prevalence.reviewed"].n > 0 for section in sections if "prevalence.reviewed" in section.estimates
    )
    first = prompt_section(chosen.prompts, chosen.origin, config, chosen.notes)
    if chosen.origin == "ratings":
        first.artifacts += save_prompts(chosen.prompts, context.artifacts)
    if chosen.rated is None or chosen.evaluation is None:
        return [first, no_ratings(chosen.origin, chosen.prompts, config, looked_at=looked_at)]
    return [first, evaluation_section(chosen.evaluation, chosen.rated, config)]


def flag_sections(
    read: Reading, chosen: Prompts, inputs: Mapping[str, Any], config: ImageOffensivenessConfig, context: Context
) -> list[Section]:
    """What is flagged, where, what it shows, and what people are to look at."""
    mask = mask_of(listed_words(config.bad_words), reveal=context.reveal)
    errors = chosen.evaluation.errors if chosen.evaluation is not None else _errors_of_file(chosen.prompts, config.threshold)
    sections = [
        flag_section(
            read, errors, config, rated=chosen.rated is not None, origin=chosen.origin, rng=context.rng("corrected share")
        ),
        class_section(read, config, mask),
        shortlist_section(read, config, mask),
        overlap_section(read, config),
        slice_section(read.shares, config),
        generated_section(read.generated, config, both=read.nsfw, rng=context.rng("generated")),
        *_review_sections(read, chosen.prompts, inputs, config, context, mask),
    ]
    written = write_scores(read.dataset, chosen.prompts, read.rule, context, most=config.write_scores)
    sections.append(Section(artifacts=[*write_shortlist(read, context), *([written] if written is not None else [])]))
    sections += _annotation_sections(inputs.get("annotations"), read, written, config, context, mask)
    sections += _flag_list_sections(inputs.get("flag_list"), read, written, config, context)
    return [*sections, score_tables(read, sections[0].estimates)]


def _errors_of_file(prompts: PromptSet, threshold: float) -> ErrorCounts | None:
    """What the prompts got wrong when they were tuned, as their file says, where it was counted at this threshold."""
    decision = prompts.decision(threshold)
    if decision.sensitivity is None or decision.specificity is None:
        return None
    return ErrorCounts(decision.sensitivity, decision.specificity)


def _unjoinable(what: str, read: Reading, written: Artifact | None, context: Context) -> Section | None:
    """Why a table that names images cannot be joined with them; None where it can."""
    named = any(concept in read.dataset for concept in NAMING)
    if written is not None and context.artifacts is not None and named:
        return None
    lacking = "the file of scores (a run folder, and write_scores)" if named else "a column of ids, paths or URLs"
    return Section(notes=[f"{what} was given, but joining it with the images needs {lacking}"])


def _flag_list_sections(
    given: Any, read: Reading, written: Artifact | None, config: ImageOffensivenessConfig, context: Context
) -> list[Section]:
    if given is None:
        return []
    if (lack := _unjoinable("a flag list", read, written, context)) is not None:
        return [lack]
    assert written is not None and context.artifacts is not None
    found = compare_flag_list(given.read(), context.artifacts / written.file, confidence=config.confidence)
    return [flag_list_section(found, config)]


def _annotation_sections(
    given: Any, read: Reading, written: Artifact | None, config: ImageOffensivenessConfig, context: Context, mask: Mask
) -> list[Section]:
    if given is None:
        return []
    if (lack := _unjoinable("a table of annotations", read, written, context)) is not None:
        return [lack]
    assert written is not None and context.artifacts is not None
    found = count_annotations(given.read(), context.artifacts / written.file)
    clouds = class_clouds(found.names, found.flagged, most=config.cloud_words)
    drawn = class_cloud_section(clouds, config, mask, folder=context.artifacts, seed=context.seed, what="annotations")
    return [annotation_section(found, config, mask), drawn]


def _review_sections(
    read: Reading, prompts: PromptSet, inputs: Mapping[str, Any], config: ImageOffensivenessConfig, context: Context, mask: Mask
) -> list[Section]:
    queue = build_queue(read.classes, read.edges, per_stratum=config.review_per_stratum, own_classes=config.review_classes)
    verdicts = None
    if inputs.get("verdicts") is not None:
        drawn_from = str(inputs["images"].fingerprint)
        verdicts = read_verdicts(inputs["verdicts"].read(), queue, prompts=prompts.fingerprint, data=drawn_from)
    found = None
    if verdicts is not None and len(verdicts.stratum):
        best = _best_scores(read)
        found = {
            **reviewed(queue, verdicts, threshold=config.threshold, confidence=config.confidence),
            "precision_at_k": precision_of_best(queue, verdicts, best, confidence=config.confidence),
        }
    sections = [queue_section(queue, verdicts, mask), verdict_section(found, verdicts)]
    if context.artifacts is not None:
        sections.append(Section(artifacts=write_queue(queue, inputs["images"], context.artifacts, prompts=prompts.fingerprint)))
    if config.contact_sheet:
        sheets: Sheets = contact_sheets(read.dataset, queue, context.artifacts, most=config.max_images)
        sections.append(sheet_section(sheets, wanted=True))
    captions = caption_pictures(read.dataset, queue, context.model("captioner"), config, context)
    return sections + _word_sections(read, captions, config, context, mask)


def _best_scores(read: Reading) -> BestScores:
    found = read.shortlist
    names = dict(zip(read.classes.keys.tolist(), read.classes.names, strict=True))
    score = 1.0 / (1.0 + np.exp(-np.clip(found.log_odds[found.overall].astype(np.float64), -60, 60)))
    return BestScores(score, [names.get(key, "") for key in found.class_key[found.overall].tolist()])


def _word_sections(
    read: Reading, captions: Any, config: ImageOffensivenessConfig, context: Context, mask: Mask
) -> list[Section]:
    folder, seed = context.artifacts, context.seed
    sections = []
    if captions is not None:
        said = np.array(captions.texts, dtype=object)
        inside, outside = said[captions.flagged].tolist(), said[~captions.flagged].tolist()
        words = compare_words(
            inside, outside, captions.image[captions.flagged], config, source="captions", places=captions.places
        )
        sections.append(words_section(words, config, mask, folder=folder, seed=seed))
        if captions.unreadable:
            sections[-1].notes.append(f"{captions.unreadable:,} pictures could not be read again for captions")
    if read.texts is not None:
        texts = read.texts
        images: npt.NDArray[np.int64] = np.arange(len(texts.flagged))
        words = compare_words(texts.flagged, texts.others, images, config, source="texts", places=texts.places)
        sections.append(words_section(words, config, mask, folder=folder, seed=seed))
        cut = texts.flagged_rows - len(texts.flagged), texts.other_rows - len(texts.others)
        if any(cut):
            sections[-1].notes.append(
                f"words are counted on {len(texts.flagged):,} of {texts.flagged_rows:,} flagged texts and "
                f"{len(texts.others):,} of {texts.other_rows:,} others, those with the smallest hashes"
            )
    if not sections:
        sections.append(words_section(None, config, mask, folder=folder, seed=seed))
    if any(read.classes.names):
        clouds = class_clouds(read.classes.names, read.classes.flagged, most=config.cloud_words)
        sections.append(class_cloud_section(clouds, config, mask, folder=folder, seed=seed))
    return sections


def datasheet_section(
    sections: list[Section], read: Reading, chosen: Prompts, config: ImageOffensivenessConfig, context: Context
) -> Section:
    """The answer to question 16, from what the other sections found."""
    if context.artifacts is None:
        return Section()
    estimates = {name: estimate for section in sections for name, estimate in section.estimates.items()}
    tables = {table.name: table for section in sections for table in section.tables}
    rated_by = ""
    if chosen.rated is not None:
        labels = chosen.rated.labels
        clear = labels.offensive + labels.inoffensive
        rated_by = f"The scores follow {clear:,} images rated by people; say here who they were and when."
    answer = answer_of(
        read.dataset.source, images=read.scores.scored, flagged=read.scores.flagged, threshold=config.threshold,
        rated_by=rated_by, estimates=estimates, tables=tables,
        findings=[finding for section in sections for finding in section.findings],
        false_discovery_rate=config.false_discovery_rate,
    )  # fmt: skip
    return Section(artifacts=write_datasheet(context.artifacts, answer))


def calibration_section() -> Section:
    """How the audit fared on planted truth."""
    table = packaged_calibration(PACKAGE)
    return Section(tables=[table] if table is not None else [])
