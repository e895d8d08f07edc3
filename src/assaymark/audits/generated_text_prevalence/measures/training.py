"""The detector trained here: its training texts, its folder among the files of the step, and the model that scores with it."""

from __future__ import annotations

from pathlib import Path
from tempfile import mkdtemp
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.audit import Context, ModelRole
from assaymark.audits.generated_text_prevalence.config import GeneratedTextPrevalenceConfig
from assaymark.audits.generated_text_prevalence.detectors import TRAINED
from assaymark.audits.generated_text_prevalence.measures.detector_training import (
    DetectorSettings,
    TrainedDetector,
    train_detector,
)
from assaymark.audits.generated_text_prevalence.probes.labelled import LabelledTexts
from assaymark.errors import InputError
from assaymark.models.opening import open_role

__all__ = ["Trained", "train"]


class Trained(NamedTuple):
    """`model` scores texts; `folder` is relative to the step's files, empty where nothing is kept."""

    model: Any
    found: TrainedDetector
    kept: bool


def train(
    rows: LabelledTexts,
    unit: npt.NDArray[np.str_],
    training: npt.NDArray[np.bool_],
    config: GeneratedTextPrevalenceConfig,
    context: Context,
) -> Trained | str:
    """Train on some of the labelled texts; a sentence says why not where they are too few."""
    model = context.require("trainee")
    kept = context.artifacts is not None
    folder = (context.artifacts if context.artifacts is not None else Path(mkdtemp(prefix="assaymark-"))) / TRAINED
    chosen = np.flatnonzero(training & (rows.words > 0))
    settings = DetectorSettings(
        epochs=config.train_epochs,
        batch_size=config.train_batch,
        accumulate=config.train_accumulate,
        lr=config.train_rate,
        max_tokens=config.train_tokens,
    )
    try:
        with context.progress.task("training a detector", unit="steps") as task:
            found = train_detector(
                model,
                [rows.texts[row] for row in chosen],
                rows.label[chosen],
                unit[chosen].tolist(),
                folder=folder,
                settings=settings,
                rng=context.rng("training"),
                seed=context.seed,
                device=context.device,
                work=None if context.work is None else context.work / "training",
                task=task,
            )
    except InputError as error:
        return str(error)
    role = ModelRole(f"detector.{TRAINED}", "the detector trained here", any_of=("scores-texts",))
    scorer = open_role(
        role,
        f"hf:{found.folder}",
        cache=context.cache,
        device=context.device,
        batch_size=context.batch_size,
        allowance=context.budget.allowance,
    )
    return Trained(scorer, found, kept)
