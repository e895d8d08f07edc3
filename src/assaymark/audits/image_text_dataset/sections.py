"""From what was read and measured to the sections of the result, in reading order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from assaymark.audit import Context
from assaymark.audits.image_text_dataset.config import ImageTextDatasetConfig
from assaymark.audits.image_text_dataset.measures.caption_swap import measure_swaps
from assaymark.audits.image_text_dataset.measures.collection import (
    Collection,
    embed_rows,
    given_embeddings,
    near_duplicate_images,
)
from assaymark.audits.image_text_dataset.measures.comparison import compare
from assaymark.audits.image_text_dataset.measures.faces import measure_faces
from assaymark.audits.image_text_dataset.measures.label_space import measure_labels
from assaymark.audits.image_text_dataset.measures.pictures import contact_sheets
from assaymark.audits.image_text_dataset.measures.removal import measure_removal, write_remaining
from assaymark.audits.image_text_dataset.measures.retrieval import measure_retrieval
from assaymark.audits.image_text_dataset.measures.subjects import (
    Subjects,
    find_pictures,
    shown_requests,
    unsearched,
    write_manifest,
)
from assaymark.audits.image_text_dataset.method.slices import slice_test
from assaymark.audits.image_text_dataset.probes.vocabulary import Vocabulary
from assaymark.audits.image_text_dataset.reading import detector_counts
from assaymark.audits.image_text_dataset.report.admission import admission_section
from assaymark.audits.image_text_dataset.report.anatomy import anatomy_section, duplicate_section, near_duplicate_section
from assaymark.audits.image_text_dataset.report.datasheet import write_datasheet
from assaymark.audits.image_text_dataset.report.hate import DetectorError, comparison_section, hate_section
from assaymark.audits.image_text_dataset.report.names import harmful_words, shown_texts
from assaymark.audits.image_text_dataset.report.people import (
    faces_section,
    find_section,
    labels_section,
    removal_section,
)
from assaymark.audits.image_text_dataset.report.search import add_sheets, retrieval_section, swap_section
from assaymark.audits.image_text_dataset.report.tags import tag_section
from assaymark.audits.image_text_dataset.report.words import example_section, lexicon_section, slice_section
from assaymark.calibrated import packaged_calibration
from assaymark.data.scan import ScanOutcome
from assaymark.section import Section
from assaymark.stats.prevalence import Rate

__all__ = ["calibration", "datasheet", "side_sections", "table_sections"]


def table_sections(
    read: ScanOutcome,
    baseline: ScanOutcome | None,
    pairs: Any,
    inputs: Mapping[str, Any],
    words: Vocabulary,
    config: ImageTextDatasetConfig,
    context: Context,
) -> list[Section]:
    """Sections of the probes that ran."""
    found = read.answers
    sections = []
    if "anatomy" in found:
        sections.append(anatomy_section(found["anatomy"], found.get("language", {}), config, rng=context.rng("anatomy")))
        sections.append(duplicate_section(found["duplicates"], config))
    if "lexicons" in found:
        counts = found["lexicons"]
        sections.append(lexicon_section(counts, words, config))
        if len(counts.example_rows):
            sections.append(
                example_section(pairs.fetch(zip(counts.example_shards, counts.example_rows, strict=True), ["text"]))
            )
    if "slice_test" in found:
        counts = found["slice_test"]
        test = slice_test(counts.n, counts.k, n_total=counts.rows, k_total=counts.unsafe, confidence=config.confidence)
        sections.append(slice_section(counts, test, words, config, reveal=context.reveal))
    if "tag_audit" in found:
        sections.append(tag_section(found["tag_audit"], config, rng=context.rng("tag audit")))
    if "hate_content" in found:
        error = _detector_error(inputs.get("calibration"), config, context)
        sections.append(hate_section(found["hate_content"], config, error=error, rng=context.rng("hate content")))
        if baseline is not None:
            total = config.total_rows or read.rows
            sections.append(
                comparison_section(compare(found["hate_content"], baseline.answers["hate_content"], config, total=total))
            )
    if "admission" in found:
        sections.append(admission_section(found["admission"], words, config, reveal=context.reveal))
    return sections


def _detector_error(calibration: Any, config: ImageTextDatasetConfig, context: Context) -> DetectorError | None:
    if calibration is None:
        return None
    counts = detector_counts(calibration.read(), context.model("text_toxicity"), config)
    return DetectorError(Rate(*counts["sensitivity"]), Rate(*counts["specificity"]))


def side_sections(
    read: ScanOutcome,
    inputs: Mapping[str, Any],
    pairs: Any,
    words: Vocabulary,
    plan: Subjects,
    config: ImageTextDatasetConfig,
    context: Context,
) -> list[Section]:
    """Sections of the measurements that need a model or an input of their own."""
    encoder = context.model("dual_encoder")
    sections: list[Section] = []
    collection = _collection(inputs, pairs, plan, config, context)
    if collection is not None and len(collection.rows) and "anatomy" in config.probes:
        sections.append(
            near_duplicate_section(near_duplicate_images(collection, config, context), len(collection.rows), config)
        )
    if plan.queries and "search" in read.answers and "retrieval" in config.probes:
        sections.append(_retrieval(read, pairs, words, plan, collection, config, context))
    if "swaps" in inputs and "caption_swap" in config.probes:
        sections.append(swap_section(measure_swaps(inputs["swaps"].read(), encoder, config, context), config))
    if "faces" in inputs and "downstream" in config.probes:
        other = inputs["faces_baseline"].read() if "faces_baseline" in inputs else None
        sections.append(faces_section(measure_faces(inputs["faces"].read(), other, encoder, config, context)))
    if "classes" in inputs and "label_space" in config.probes:
        sections.append(
            labels_section(measure_labels(inputs["classes"].read(), words.lexicons, config), config, reveal=context.reveal)
        )
    if "find_me" in read.answers:
        sections.append(_subjects(read, pairs, plan, collection, config, context))
    if "removal_check" in read.answers and plan.removed is not None:
        removal = measure_removal(plan.removed, read.answers["removal_check"], pairs, config)
        listed = context.artifacts is not None and len(removal.remaining) > 0
        remaining = write_remaining(removal, pairs, context.artifacts) if listed and context.artifacts else None
        sections.append(removal_section(removal, remaining, rows=read.rows, unread=len(pairs.failed)))
    return sections


def _collection(
    inputs: Mapping[str, Any], pairs: Any, plan: Subjects, config: ImageTextDatasetConfig, context: Context
) -> Collection | None:
    """Embeddings are needed for queries and for wanted pictures, and only then."""
    encoder = context.model("dual_encoder")
    if encoder is None or not (plan.queries or any(request.kind == "image" for request in plan.wanted)):
        return None
    if "embeddings" in inputs:
        return given_embeddings(inputs["embeddings"], pairs)
    return embed_rows(pairs, encoder, context, most=config.max_images) if "image" in pairs else None


def _retrieval(
    read: ScanOutcome,
    pairs: Any,
    words: Vocabulary,
    plan: Subjects,
    collection: Collection | None,
    config: ImageTextDatasetConfig,
    context: Context,
) -> Section:
    if collection is None or not len(collection.rows):
        reason = "give --model dual_encoder=SPEC and embeddings or images"
        if collection is not None and collection.unreadable:
            reason = f"none of {collection.unreadable:,} pictures could be decoded"
        return Section(notes=[f"retrieval was left out: {reason}"])
    found = measure_retrieval(
        plan.queries,
        collection,
        pairs,
        read.answers["search"],
        encoder=context.model("dual_encoder"),
        scorer=context.model("image_unsafe"),
        vocabulary=words,
        config=config,
        context=context,
    )
    texts = [query.text for query in plan.queries]
    shown = shown_texts(texts, harmful_words(words.lexicon_terms), reveal=context.reveal)
    names = dict(zip(texts, shown, strict=True))
    section = retrieval_section(found, config, names=names)
    if config.contact_sheet:
        sheets = contact_sheets(found, pairs, names, k=config.k, folder=context.artifacts)
        add_sheets(section, sheets, has_pictures="image" in pairs, has_folder=context.artifacts is not None)
    if collection.unreadable:
        section.notes.append(f"retrieval: {collection.unreadable:,} pictures could not be decoded")
    return section


def _subjects(
    read: ScanOutcome,
    pairs: Any,
    plan: Subjects,
    collection: Collection | None,
    config: ImageTextDatasetConfig,
    context: Context,
) -> Section:
    matches = find_pictures(plan.wanted, read.answers["find_me"], collection, context.model("dual_encoder"), config)
    requests = shown_requests(plan.wanted, context)
    manifest = None
    if context.artifacts is not None and len(matches.row):
        manifest = write_manifest(plan.wanted, matches, requests, pairs, context.artifacts)
    skipped = unsearched(plan.wanted, pairs, collection)
    return find_section(matches, plan.wanted, requests, manifest, skipped, rows=read.rows)


def datasheet(sections: list[Section], context: Context) -> Section:
    """The datasheet document, when there is a folder to leave it in."""
    if context.artifacts is None:
        return Section()
    estimates = {name: estimate for section in sections for name, estimate in section.estimates.items()}
    findings = [finding for section in sections for finding in section.findings]
    methods = [sentence for section in sections for sentence in section.methods]
    notes = [note for section in sections for note in section.notes]
    return Section(artifacts=[write_datasheet(context.artifacts, estimates, findings, methods, notes)])


def calibration() -> Section:
    """How this audit does on planted truth, as measured before release."""
    table = packaged_calibration(__package__)
    return Section(tables=[] if table is None else [table])
