"""The one pass over the images: which scorer, which probes, and what became of every row."""

from __future__ import annotations

from typing import Any, NamedTuple

from assaymark.audit import Context
from assaymark.audits.image_offensiveness.columns import content_of, embedding_width, with_texts
from assaymark.audits.image_offensiveness.config import ImageOffensivenessConfig
from assaymark.audits.image_offensiveness.method.review import SCORE_EDGES
from assaymark.audits.image_offensiveness.probes.classes import ClassCounts, ClassProbe
from assaymark.audits.image_offensiveness.probes.groups import GroupCounts, GroupProbe
from assaymark.audits.image_offensiveness.probes.rule import LABELS, FlagRule
from assaymark.audits.image_offensiveness.probes.scores import ScoreCounts, ScoreProbe
from assaymark.audits.image_offensiveness.probes.shortlist import Shortlist, ShortlistProbe
from assaymark.audits.image_offensiveness.probes.texts import TextProbe, TextSample
from assaymark.audits.image_offensiveness.scoring import REASONS, SCALED, OffensivenessScores
from assaymark.data.dataset import Dataset
from assaymark.data.probe import Probe
from assaymark.data.scan import ScanOutcome, Scorer, scan
from assaymark.errors import ConfigError, InputError, ModelError
from assaymark.models.prompt_files import PromptSet
from assaymark.result import Flow

__all__ = ["Reading", "read_images"]

NSFW_THRESHOLD = 0.5
_SLICE, _PROMPT = "slice:", "prompt:"


class Reading(NamedTuple):
    """Answers of the probes, and the data set as it was read (with its further columns).

    `shares` holds counts by value of each slice column, `generated` those by prompt; `nsfw` says whether another detector
    scored the rows.
    """

    scores: ScoreCounts
    classes: ClassCounts
    shortlist: Shortlist
    texts: TextSample | None
    shares: dict[str, GroupCounts]
    generated: GroupCounts | None
    nsfw: bool
    nsfw_threshold: float
    rule: FlagRule
    edges: tuple[float, ...]
    dataset: Dataset
    flows: tuple[Flow, ...]
    notes: tuple[str, ...]


class _Detector(NamedTuple):
    """The model nsfw: inside the scorer, or a column of the data set; the labels of it that count; its threshold."""

    model: Any
    columns: tuple[int, ...]
    column: str
    threshold: float


def read_images(dataset: Dataset, prompts: PromptSet, config: ImageOffensivenessConfig, context: Context) -> Reading:
    """Score every row once, and let all probes look at the scores.

    Raises
    ------
    SchemaError, InputError
        Neither embeddings nor pictures; pictures without an encoder; embeddings of another width than the prompts.
    ModelError
        Pictures, and an encoder of texts alone.
    """
    encoder = context.model("encoder")
    content = content_of(dataset, encoder, name="images")
    _check_width(dataset, content, prompts)
    detector = _detector(context.model("nsfw"), content, config)
    texts = {f"{_SLICE}{name}": name for name in config.slices}
    texts |= {f"{_PROMPT}{config.prompt_column}": config.prompt_column} if config.prompt_column else {}
    read = with_texts(dataset, texts)
    labels: tuple[str, ...] = LABELS
    if detector is not None and detector.column:
        read = read.with_scores({"q16.nsfw": detector.column})
        labels = LABELS[:-1]
    threshold = detector.threshold if detector is not None else NSFW_THRESHOLD
    rule = FlagRule(config.threshold, tuple(sorted(config.class_thresholds.items())))
    edges = tuple(edge for edge in sorted({*SCORE_EDGES, config.threshold}) if 0 < edge < 1)
    probes = _probes(read, rule, edges, texts, threshold, config)
    scores = OffensivenessScores(
        prompts.prompts,
        logit_scale=prompts.logit_scale,
        encoder=encoder if content == "image" else None,
        nsfw=detector.model if detector is not None and not detector.column else None,
        nsfw_columns=detector.columns if detector is not None else (),
        labels=labels,
    )
    size = context.batch_size if content == "image" else max(context.batch_size, 8_192)
    checkpoint = None if context.work is None else context.work / "images"
    with context.progress.task("scoring images", dataset.rows, "images") as task:
        outcome = scan(
            read, probes, engine=context.engine, scorers=[Scorer("q16", content, labels, scores, size)],
            checkpoint=checkpoint, task=task, log=context.log,
        )  # fmt: skip
    return _reading(outcome, read, detector, threshold, rule, edges)


def _check_width(dataset: Dataset, content: str, prompts: PromptSet) -> None:
    if content == "embedding":
        width = embedding_width(dataset)
        if width is not None and width != prompts.dimension:
            made_for = f" ({prompts.encoder})" if prompts.encoder else ""
            tuned = ", as the ratings have that they were tuned on" if prompts.training.get("ratings") else ""
            raise InputError(
                f"input 'images': embeddings of {width} numbers, but the prompts have {prompts.dimension}{tuned}; give "
                f"embeddings of the encoder that the prompts were made for{made_for}"
            )


def _detector(model: Any, content: str, config: ImageOffensivenessConfig) -> _Detector | None:
    if model is None:
        return None
    decision = getattr(model, "decision", None)
    own = NSFW_THRESHOLD if decision is None else float(decision.threshold)
    threshold = own if config.nsfw_threshold is None else config.nsfw_threshold
    labels = tuple(model.labels)
    if config.nsfw_label and config.nsfw_label not in labels:
        raise ConfigError(
            f"setting 'nsfw_label': the model nsfw has no label {config.nsfw_label!r}; it has {', '.join(labels)}"
        )
    if not config.nsfw_label and len(labels) > 1 and not model.multi_label:
        raise ConfigError(
            f"the labels of the model nsfw sum to 1 ({', '.join(labels)}): say which one counts with --set nsfw_label=LABEL"
        )
    counted = tuple(i for i, label in enumerate(labels) if not config.nsfw_label or label == config.nsfw_label)
    if hasattr(model, "columns"):
        if len(counted) > 1:
            raise ConfigError("the model nsfw reads several columns: give one, column:NAME, or set nsfw_label")
        return _Detector(model, counted, model.columns[counted[0]], threshold)
    wanted = "score_embeddings" if content == "embedding" else "score_images"
    if not hasattr(model, wanted) and not hasattr(model, "score_embeddings"):
        what = "stored embeddings" if content == "embedding" else "pictures"
        raise ModelError(f"the model nsfw ({model.spec}) cannot score {what}, which input 'images' holds")
    return _Detector(model, counted, "", threshold)


def _probes(
    dataset: Dataset, rule: FlagRule, edges: tuple[float, ...], texts: dict[str, str], nsfw_threshold: float,
    config: ImageOffensivenessConfig,
) -> list[Probe]:  # fmt: skip
    probes: list[Probe] = [
        ScoreProbe(rule, nsfw_threshold=nsfw_threshold),
        ClassProbe(rule, edges, per_stratum=config.review_per_stratum),
        ShortlistProbe(rule, size=config.shortlist, per_class=config.per_class),
    ]
    if "text" in dataset:
        probes.append(TextProbe(rule, size=config.text_sample))
    return probes + [GroupProbe(name, name, rule, nsfw_threshold=nsfw_threshold) for name in texts]


def _reading(
    outcome: ScanOutcome,
    dataset: Dataset,
    detector: _Detector | None,
    threshold: float,
    rule: FlagRule,
    edges: tuple[float, ...],
) -> Reading:
    found = outcome.answers
    scores: ScoreCounts = found["scores"]
    generated = [answer for name, answer in found.items() if name.startswith(_PROMPT)]
    scaled = int(scores.states[SCALED])
    notes = list(outcome.notes)
    if scaled:
        notes.append(f"{scaled:,} of {scores.scored:,} embeddings did not have unit length and were normalised")
    unknown = {name for name, _ in rule.class_thresholds} - set(found["classes"].names)
    if unknown:
        notes.append(
            f"{len(unknown)} of the {len(rule.class_thresholds)} classes that class_thresholds names do not occur, so their "
            "thresholds changed nothing: the names have to be those of the data"
        )
    if detector is not None and scores.scored and not int(scores.overlap.sum()):
        notes.append("the other detector (nsfw) gave no image a score that is a number: nothing is compared with it")
    if detector is None:
        notes.append(
            "no other detector was given (--model nsfw=SPEC): these prompts find threat, violence and disgust, and hardly any "
            "sexual content"
        )
    return Reading(
        scores,
        found["classes"],
        found["shortlist"],
        found.get("texts"),
        {name.removeprefix(_SLICE): answer for name, answer in found.items() if name.startswith(_SLICE)},
        generated[0] if generated else None,
        detector is not None,
        threshold,
        rule,
        edges,
        dataset,
        (_flow(outcome.flow, scores), *outcome.flows[1:]),
        tuple(notes),
    )


def _flow(read: Flow, scores: ScoreCounts) -> Flow:
    """Rows that were read but could not be scored leave with their reason."""
    skipped = {reason: int(scores.states[code]) for code, reason in REASONS.items() if scores.states[code]}
    return Flow(read.source, read.total, scores.scored, skipped, dict(read.failed), unit="images")
