"""Which prompts rate the images: those of a file, tuned on ratings, or the encoder's own texts; and where a tuning starts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.audits.image_offensiveness.config import TuningSettings
from assaymark.audits.image_offensiveness.measures.rated import RatedImages, labelled_only
from assaymark.audits.image_offensiveness.method.ranking import RankedPrompt, rank_prompts
from assaymark.audits.image_offensiveness.method.scoring import LOGIT_SCALE
from assaymark.audits.image_offensiveness.method.tuning import FEW_LABELS, PAPER, TuningSetting, tune_prompts
from assaymark.errors import ConfigError, ModelError
from assaymark.models.prompt_files import LABELS, PromptSet, load_prompts
from assaymark.result import Artifact

__all__ = [
    "Start",
    "prompts_of_file",
    "rank_on_ratings",
    "save_prompts",
    "start_of_tuning",
    "tuned_prompts",
    "tuning_setting",
    "zero_shot_prompts",
]

Floats = npt.NDArray[np.float64]


class Start(NamedTuple):
    """Where a tuning begins.

    prompts : float array, shape (2, d)
    kind : "words", "file", or "neutral": the mean embedding in both rows, which decides nothing
    template, words : the sentence and the pair of words; empty where there are none
    """

    prompts: npt.NDArray[Any]
    kind: Literal["words", "file", "neutral"]
    logit_scale: float
    template: str = ""
    words: tuple[str, ...] = ()

    @property
    def decides(self) -> bool:
        """Whether there is such a thing as zero-shot here."""
        return self.kind != "neutral"


def tuning_setting(config: TuningSettings) -> TuningSetting:
    """The tuning that the settings name."""
    return (PAPER if config.tuning == "paper" else FEW_LABELS)._replace(epochs=config.epochs, lr=config.lr)


def embeds_texts(encoder: Any) -> bool:
    """Whether an encoder, if there is one, can make prompts from words."""
    return encoder is not None and hasattr(encoder, "embed_texts")


def text_scale(config: TuningSettings, encoder: Any) -> float:
    """Logit scale of prompts made here: the setting, else the encoder's own, else CLIP's."""
    return float(config.logit_scale or getattr(encoder, "logit_scale", None) or LOGIT_SCALE)


def prompts_of_file(path: str, key: str, config: TuningSettings, encoder: Any) -> tuple[PromptSet, tuple[str, ...]]:
    """Prompts of a file, and what the reader of a report should know about their fit to the encoder.

    Raises
    ------
    ModelError
        They were made for another encoder.
    """
    prompts = load_prompts(path, key=key)
    if config.logit_scale is not None:
        prompts = replace(prompts, logit_scale=config.logit_scale)
    if encoder is None:
        made_for = prompts.encoder or "an encoder that their file does not name"
        return prompts, (f"the prompts belong to {made_for}; the stored embeddings are taken to be of the same",)
    note = prompts.check_encoder(fingerprint=encoder.fingerprint, dimension=int(encoder.dimension), name=encoder.spec)
    return prompts, (note,) if note else ()


def zero_shot_prompts(config: TuningSettings, encoder: Any) -> PromptSet:
    """The words of the settings in their template, as the encoder embeds them."""
    if not embeds_texts(encoder):
        raise ModelError("zero-shot prompts need an encoder that embeds texts: --model encoder=SPEC")
    texts = [config.template.format(word) for word in config.words]
    labels = LABELS if len(texts) == 2 else (*LABELS, "neutral")
    return PromptSet(
        np.asarray(encoder.embed_texts(texts), dtype=np.float32),
        encoder=encoder.spec,
        encoder_fingerprint=encoder.fingerprint,
        template=config.template,
        words=config.words,
        labels=labels,
        logit_scale=text_scale(config, encoder),
        threshold=config.threshold,
    )


def start_of_tuning(
    config: TuningSettings, encoder: Any, rated: RatedImages, *, given: PromptSet | None, rng: np.random.Generator
) -> Start:
    """The given prompts, else the words (of the settings, or those that rank best), else a start that knows nothing.

    Notes
    -----
    Without texts both rows are the mean embedding of the rated images with a little noise (which no label enters): the first
    steps move them apart, and what they would decide before that means nothing.
    """
    if given is not None:
        if len(given.prompts) != 2:
            raise ConfigError(
                "tuning starts from two prompts; the given file has a neutral row, which zero-shot rating alone can use"
            )
        return Start(given.prompts, "file", given.logit_scale)
    if embeds_texts(encoder):
        template, words = config.template, config.words[:2]
        if config.start == "best" and (ranked := rank_on_ratings(rated, config, encoder)):
            template, words = _grid(config)[ranked[0].position]
        texts = np.asarray(encoder.embed_texts([template.format(word) for word in words]), dtype=np.float32)
        return Start(texts, "words", text_scale(config, encoder), template, tuple(words))
    middle = rated.vectors.mean(axis=0, dtype=np.float64)
    noise = rng.normal(size=(2, rated.vectors.shape[1])) / np.sqrt(rated.vectors.shape[1])
    return Start(middle / np.linalg.norm(middle) + 0.05 * noise, "neutral", text_scale(config, encoder))


def tuned_prompts(
    rated: RatedImages, start: Start, config: TuningSettings, encoder: Any, *, source: str, rng: np.random.Generator
) -> PromptSet:
    """Prompts tuned on all labelled images; their training summary says on what, not how well (see `cross_tuning`)."""
    vectors, y, _ = labelled_only(rated)
    tuned = tune_prompts(vectors, y, start.prompts, **tuning_setting(config)._asdict(), logit_scale=start.logit_scale, rng=rng)
    training = {
        "ratings": source,
        "offensive": rated.labels.offensive,
        "inoffensive": rated.labels.inoffensive,
        "low": config.low,
        "high": config.high,
        "start": start.kind,
        "tuning": config.tuning,
        "epochs": tuned.epochs_run,
        "lr": config.lr,
        "last_loss": round(float(tuned.loss_curve[-1]), 6) if len(tuned.loss_curve) else None,
    }
    return PromptSet(
        tuned.P,
        encoder=encoder.spec if encoder is not None else "",
        encoder_fingerprint=encoder.fingerprint if encoder is not None else "",
        template=start.template,
        words=start.words,
        logit_scale=start.logit_scale,
        threshold=config.threshold,
        training=training,
    )


def save_prompts(prompts: PromptSet, folder: Path | None) -> list[Artifact]:
    """The artifact `prompts`; nothing without a folder to put it in."""
    if folder is None:
        return []
    prompts.save(folder / "prompts.safetensors")
    text = "tuned prompts: the setting prompts of the audit, and a scorer of images or embeddings"
    return [Artifact("prompts", "model", "prompts.safetensors", text)]


def _grid(config: TuningSettings) -> list[tuple[str, tuple[str, str]]]:
    return [(template, pair) for template in config.rank_templates for pair in config.rank_words]


def rank_on_ratings(rated: RatedImages, config: TuningSettings, encoder: Any) -> tuple[RankedPrompt, ...]:
    """All templates with all pairs of words, best first; empty where the encoder embeds no texts."""
    if not embeds_texts(encoder) or not rated.trainable:
        return ()
    grid = _grid(config)
    texts = [template.format(word) for template, pair in grid for word in pair]
    prompts = np.asarray(encoder.embed_texts(texts), dtype=np.float64).reshape(len(grid), 2, -1)
    names = [template.format("/".join(pair)) for template, pair in grid]
    vectors, y, _ = labelled_only(rated)
    return rank_prompts(
        prompts, names, vectors, y, by="auroc", logit_scale=text_scale(config, encoder), confidence=config.confidence
    )
