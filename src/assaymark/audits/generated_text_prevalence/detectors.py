"""Detectors: what each model in the role `detector` says about a text, as scores that rise with machine-writing."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.audits.generated_text_prevalence.config import GeneratedTextPrevalenceConfig
from assaymark.audits.generated_text_prevalence.method.token_detectors import TOKEN_DETECTORS, TokenDetector
from assaymark.audits.generated_text_prevalence.method.word_mixture import WordOccurrence
from assaymark.errors import ConfigError, ModelError, UnknownName
from assaymark.models.detector_labels import machine_label

__all__ = ["PERTURBATION_COLUMNS", "TRAINED", "WORDS", "Detector", "Family", "Member", "plan_detectors"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class _Column:
    """A column of the summary that is a score already; picklable."""

    name: str

    def __call__(self, summary: Mapping[str, Any]) -> Floats:
        return np.asarray(summary[self.name], np.float64)


TRAINED = "trained"
"""Name of the detector that is trained here, and of its artifact."""

WORDS = "words"
"""Name of the detector that is made of the words of the labelled texts."""

PERTURBATION_COLUMNS = ("detectgpt", "detectgpt_z", "npr")
"""Columns that rewriting adds to those of a language model."""

PERTURBATION_DETECTORS = (
    TokenDetector("detectgpt", ("detectgpt",), _Column("detectgpt"), "as is", {}, "Mitchell et al. 2023, d"),
    TokenDetector("detectgpt-z", ("detectgpt_z",), _Column("detectgpt_z"), "as is", {}, "the same, d / sd"),
    TokenDetector("npr", ("npr",), _Column("npr"), "as is", {}, "Su et al. 2023"),
)


class Member(NamedTuple):
    """A model and the columns that its answers become.

    `kind` is "tokens" (a language model), "classifier", "words" or "columns" (precomputed scores); `columns` are named
    `MEMBER.COLUMN`.
    """

    name: str
    model: Any
    kind: str
    columns: tuple[str, ...]


@dataclass(frozen=True)
class Detector:
    """One score of a text.

    Attributes
    ----------
    name : str
        `MEMBER` for a classifier or a column, `MEMBER.SCORE` for a score of a language model.
    member : str
    columns : tuple of str
        What it reads.
    rule : TokenDetector or None
        How a language model's answers become a score; None where the column is the score.
    bounded : bool
        A probability already.
    family : str
        For the benchmark: metric-based, model-based, word-based or precomputed.
    """

    name: str
    member: str
    columns: tuple[str, ...]
    rule: TokenDetector | None = None
    bounded: bool = False
    family: str = "metric-based"

    def raw(self, columns: Mapping[str, Floats]) -> Floats:
        """Shape (n,), or (n, k) for a score of several numbers; NaN where there is none."""
        if self.rule is None:
            return np.asarray(columns[self.columns[0]], np.float64)
        named = {column.rpartition(".")[2]: np.asarray(columns[column], np.float64) for column in self.columns}
        return self.rule.score(named)


class Family(NamedTuple):
    """All detectors, and the models behind them."""

    members: tuple[Member, ...]
    detectors: tuple[Detector, ...]
    notes: tuple[str, ...]

    def member_of(self, detector: Detector) -> Member:
        return next(member for member in self.members if member.name == detector.member)


def plan_detectors(
    models: Mapping[str, Any], filler: Any, config: GeneratedTextPrevalenceConfig, *, coming: Collection[str] = ()
) -> Family:
    """What can be computed with the given models.

    Parameters
    ----------
    coming : collection of str
        Names of detectors that will be made from the labelled texts.

    Raises
    ------
    ModelError
        A classifier of which no label is known to mean machine-written.
    ConfigError
        `perturbations` without a model in the role span_filler, or the reverse; a token detector that no model can give.
    UnknownName
        A name in `token_detectors`, `machine_label` or `detector` that does not exist.
    """
    _check_names(models, config)
    _check_rewriting(models, filler, config)
    members: list[Member] = []
    detectors: list[Detector] = []
    for name, model in models.items():
        if isinstance(model, WordOccurrence):
            member, found = _words(name, model)
        elif hasattr(model, "token_columns"):
            member, found = _language_model(name, model, filler, config)
        elif hasattr(model, "columns"):
            member, found = _column(name, model, config)
        else:
            member, found = _classifier(name, model, config)
        members.append(member)
        detectors += found
    asked = {detector.name.rpartition(".")[2] for detector in detectors if detector.rule is not None}
    missing = [name for name in config.token_detectors if name not in asked]
    if missing:
        needs = next(item.needs for item in _known() if item.name == missing[0])
        raise ConfigError(
            f"setting 'token_detectors': no model in the role detector gives {missing[0]!r}, which needs {', '.join(needs)}"
        )
    names = [detector.name for detector in detectors]
    if config.detector and config.detector not in names and config.detector not in coming:
        raise UnknownName("detector", config.detector, names, mend="(setting 'detector')")
    return Family(
        tuple(members), tuple(detectors), tuple(note for model in models.values() for note in getattr(model, "notes", ()))
    )


def _known() -> tuple[TokenDetector, ...]:
    return (*TOKEN_DETECTORS, *PERTURBATION_DETECTORS)


def _check_names(models: Mapping[str, Any], config: GeneratedTextPrevalenceConfig) -> None:
    dotted = next((name for name in models if "." in name), None)
    if dotted is not None:
        raise ModelError(f"--model detector.{dotted}: a detector's name holds no dot; call it {dotted.replace('.', '-')}")
    for name in config.token_detectors:
        if name not in {item.name for item in _known()}:
            raise UnknownName("token detector", name, [item.name for item in _known()], mend="(setting 'token_detectors')")
    for name in config.machine_label:
        if name not in models:
            raise UnknownName("detector", name, list(models) or ["none was given"], mend="(setting 'machine_label')")


def _check_rewriting(models: Mapping[str, Any], filler: Any, config: GeneratedTextPrevalenceConfig) -> None:
    if config.perturbations and filler is None:
        raise ConfigError("setting 'perturbations': rewriting texts needs a model: give one with --model span_filler=SPEC")
    if filler is not None and not config.perturbations:
        raise ConfigError("the model in the role span_filler is used only with a number of rewritings: --set perturbations=10")
    if config.perturbations and not any(hasattr(model, "token_columns") for model in models.values()):
        raise ConfigError("setting 'perturbations': only a language model scores rewritten texts, and no detector is one")


def _language_model(name: str, model: Any, filler: Any, config: GeneratedTextPrevalenceConfig) -> tuple[Member, list[Detector]]:
    own = tuple(model.token_columns)
    rewritten = PERTURBATION_COLUMNS if config.perturbations and filler is not None else ()
    available = {*own, *rewritten}
    detectors = [
        Detector(f"{name}.{item.name}", name, tuple(f"{name}.{column}" for column in item.needs), item)
        for item in _known()
        if set(item.needs) <= available and (not config.token_detectors or item.name in config.token_detectors)
    ]
    return Member(name, model, "tokens", tuple(f"{name}.{column}" for column in (*own, *rewritten))), detectors


def _column(name: str, model: Any, config: GeneratedTextPrevalenceConfig) -> tuple[Member, list[Detector]]:
    label = config.machine_label.get(name) or (model.labels[0] if len(model.labels) == 1 else machine_label(model.labels))
    column = f"{name}.{_chosen(name, label, model.labels)}"
    return Member(name, model, "columns", (column,)), [Detector(name, name, (column,), family="precomputed")]


def _words(name: str, model: WordOccurrence) -> tuple[Member, list[Detector]]:
    column = f"{name}.log_ratio"
    return Member(name, model, "words", (column,)), [Detector(name, name, (column,), family="word-based")]


def _classifier(name: str, model: Any, config: GeneratedTextPrevalenceConfig) -> tuple[Member, list[Detector]]:
    label = config.machine_label.get(name) or machine_label(model.labels)
    column = f"{name}.{_chosen(name, label, model.labels)}"
    return (
        Member(name, model, "classifier", tuple(f"{name}.{label}" for label in model.labels)),
        [Detector(name, name, (column,), bounded=True, family="model-based")],
    )


def _chosen(name: str, label: str | None, labels: Sequence[str]) -> str:
    if label is None:
        raise ModelError(
            f"detector {name}: which of its labels ({', '.join(labels)}) means machine-written? Say so with "
            f"--set 'machine_label={{{name}: LABEL}}'"
        )
    by_lower = {known.strip().lower(): known for known in labels}
    if label.strip().lower() not in by_lower:
        raise UnknownName("label", label, labels, mend=f"(setting 'machine_label', detector {name})")
    return by_lower[label.strip().lower()]
