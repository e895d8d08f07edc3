"""What a classifier of images answers with: the probabilities of all its labels, or of "unsafe" alone."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.errors import ConfigError, ModelError, UnknownName
from assaymark.models.label_maps import reviewed_map, unsafe_probability
from assaymark.models.spec import ModelSpec

__all__ = ["LabelReduction", "reduce_labels"]

UNSAFE = "unsafe"


class _UnknownLabel(UnknownName, ModelError):
    pass


class LabelReduction(NamedTuple):
    """Labels of a model and what becomes of them; `positive` is empty where all labels are kept."""

    model_labels: tuple[str, ...]
    model_multi_label: bool
    positive: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def labels(self) -> tuple[str, ...]:
        return (UNSAFE,) if self.positive else self.model_labels

    @property
    def multi_label(self) -> bool:
        return bool(self.positive) or self.model_multi_label

    def __call__(self, scores: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Scores of the model's labels, shape (n, n_model_labels), as scores of `labels`, shape (n, n_labels)."""
        if not self.positive:
            return scores
        unsafe = unsafe_probability(
            scores, labels=self.model_labels, positive=self.positive, multi_label=self.model_multi_label
        )
        return unsafe[:, None]


def reduce_labels(spec: ModelSpec, labels: tuple[str, ...], multi_label: bool) -> LabelReduction:
    """The reduction that a spec and the reviewed table ask for.

    Option `unsafe=a,b` names the positive labels, `unsafe=none` keeps all labels; without it the table decides, and labels
    that it does not know are kept, with a note.

    Raises
    ------
    ModelError
        `unsafe` names a label that the model does not have.
    """
    stated = spec.names("unsafe")
    if [name.lower() for name in stated] == ["none"]:
        return LabelReduction(labels, multi_label, (), ())
    if stated:
        return _reduced(spec, labels, multi_label, _known(spec, stated, labels), "")
    if "unsafe" in spec.options:
        raise ConfigError(f"model {spec.text}: unsafe= names no label; write unsafe=none to keep all of {', '.join(labels)}")
    entry = reviewed_map(labels)
    if entry is not None:
        positive = tuple(label for label in labels if label.strip().lower() in entry.positive)
        return _reduced(spec, labels, multi_label, positive, entry.note)
    if UNSAFE in labels:
        return LabelReduction(labels, multi_label, (), ())
    shown = ", ".join(labels[:6]) + (", ..." if len(labels) > 6 else "")
    note = f"{spec.text}: no reviewed table says which of its labels ({shown}) are unsafe, so it answers with all of them"
    return LabelReduction(labels, multi_label, (), (f"{note}; name the unsafe ones with unsafe=a,b",))


def _known(spec: ModelSpec, stated: tuple[str, ...], labels: tuple[str, ...]) -> tuple[str, ...]:
    by_lower = {label.strip().lower(): label for label in labels}
    for name in stated:
        if name.lower() not in by_lower:
            raise _UnknownLabel("label", name, labels, mend=f"(model {spec.text})")
    wanted = {name.lower() for name in stated}
    return tuple(label for lower, label in by_lower.items() if lower in wanted)


def _reduced(
    spec: ModelSpec, labels: tuple[str, ...], multi_label: bool, positive: tuple[str, ...], remark: str
) -> LabelReduction:
    how = "the maximum" if multi_label else "the sum"
    of = f"{how} of {', '.join(positive)}" if len(positive) > 1 else positive[0]
    note = f"{spec.text}: 'unsafe' is its {of}" if len(positive) == 1 else f"{spec.text}: 'unsafe' is {of}"
    return LabelReduction(labels, multi_label, positive, (f"{note}; {remark}" if remark else note,))
