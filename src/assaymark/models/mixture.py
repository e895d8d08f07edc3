"""`mixture:folder` - a fitted mixture of scorers as one scorer of pictures, embeddings or score columns.

Members that are models score what they are given; members that are columns are read from the table, all of them or none.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from assaymark.errors import ModelError, UnsafeFile
from assaymark.models.mixture_file import Mixture, load_mixture
from assaymark.models.spec import ModelSpec

if TYPE_CHECKING:
    from PIL.Image import Image

    from assaymark.models.opening import Loading

__all__ = ["ColumnMixture", "EmbeddingMixture", "ImageMixture", "open_mixture"]

Array = npt.NDArray[np.float32]

_OPENING: ContextVar[tuple[Path, ...]] = ContextVar("mixtures being opened", default=())


class _MixtureScorer:
    """Calibrated probability of the mixture, label "unsafe"; `decision` carries its threshold and measured error."""

    labels = ("unsafe",)
    multi_label = True

    def __init__(self, spec: ModelSpec, mixture: Mixture, members: Sequence[Any] = ()) -> None:
        self.spec, self.mixture, self.members = spec.text, mixture, tuple(members)
        self.decision = mixture.decision()
        self.remote = any(getattr(member, "remote", False) for member in self.members)
        self.fingerprint = "-".join([mixture.fingerprint, *(member.fingerprint for member in self.members)])
        self.notes = tuple(dict.fromkeys(note for member in self.members for note in getattr(member, "notes", ())))

    def _combined(self, values: npt.NDArray[np.float64]) -> Array:
        scores = self.mixture.probability(self.mixture.score(values))
        return scores.astype(np.float32)[:, None]

    def _columns(self, answers: Sequence[Array]) -> npt.NDArray[np.float64]:
        return np.column_stack([np.asarray(answer, dtype=np.float64)[:, 0] for answer in answers])


class ColumnMixture(_MixtureScorer):
    """A mixture whose members are columns of the input table (capability combines-columns)."""

    @property
    def member_columns(self) -> tuple[str, ...]:
        return self.mixture.names

    def combine_columns(self, values: npt.NDArray[np.float64]) -> Array:
        """Shape (n, 1) from values of shape (n, members); NaN rows where too many scores are missing."""
        return self._combined(values)


class ImageMixture(_MixtureScorer):
    """A mixture whose members score pictures (capability scores-images)."""

    def score_images(self, images: Sequence[Image]) -> Array:
        """Shape (n, 1), in [0, 1]. Every member sees the same decoded pictures."""
        if not images:
            return np.empty((0, 1), dtype=np.float32)
        return self._combined(self._columns([member.score_images(images) for member in self.members]))


class EmbeddingMixture(_MixtureScorer):
    """A mixture whose members score stored embeddings of one encoder (capability scores-embeddings)."""

    @property
    def dimension(self) -> int:
        return int(self.members[0].dimension)

    def score_embeddings(self, embeddings: Array) -> Array:
        """Shape (n, 1), in [0, 1]."""
        return self._combined(self._columns([member.score_embeddings(embeddings) for member in self.members]))


def open_mixture(spec: ModelSpec, loading: Loading) -> _MixtureScorer:
    """The mixture of a folder, with its members opened; their relative paths start from that folder.

    Raises
    ------
    ModelError
        Members of which some are columns and some models, or without a common kind of input, or with several labels.
    UnsafeFile
        A member that is Python code, without `?python=true` in the spec.
    """
    spec.check_options(("python",))
    path = spec.path()
    mixture = load_mixture(path)
    named = [member.spec for member in mixture.members]
    if not any(named):
        return ColumnMixture(spec, mixture)
    if not all(named):
        columns = ", ".join(member.name for member in mixture.members if not member.spec)
        raise ModelError(f"model {spec.text}: its members {columns} are columns and the others models; fit it on models alone")
    if not spec.flag("python", False):
        _refuse_code(mixture, spec)
    members = _opened_members(named, path if path.is_dir() else path.parent, spec, loading)
    for member in members:
        labels = getattr(member, "labels", ())
        if len(labels) != 1:
            raise ModelError(f"model {spec.text}: its member {member.spec} has the labels {', '.join(labels)}; one is needed")
    if all(hasattr(member, "score_images") for member in members):
        return ImageMixture(spec, mixture, members)
    widths = {getattr(member, "dimension", 0) for member in members}
    if all(hasattr(member, "score_embeddings") for member in members) and len(widths) == 1:
        return EmbeddingMixture(spec, mixture, members)
    notes = "; ".join(dict.fromkeys(note for member in members for note in getattr(member, "notes", ())))
    why = f" ({notes})" if notes else ""
    raise ModelError(f"model {spec.text}: its members do not all score pictures, nor all embeddings of one width{why}")


def _refuse_code(mixture: Mixture, spec: ModelSpec) -> None:
    """A mixture is a file that may come from anybody; a member of it that is code would run when it is opened."""
    code = next((member for member in mixture.members if member.spec.strip().lower().startswith("py:")), None)
    if code is not None:
        raise UnsafeFile(
            f"model {spec.text}: its member {code.name!r} is Python code ({code.spec}), which runs when it is opened; if you "
            f"trust the file, write mixture:{spec.target}?python=true"
        )


def _opened_members(named: Sequence[str], folder: Path, spec: ModelSpec, loading: Loading) -> list[Any]:
    """The models of the members. One of them may be a mixture itself, but none that is being opened."""
    from assaymark.models.opening import open_model

    outer = _OPENING.get()
    if folder in outer:
        raise ModelError(f"model {spec.text}: this mixture is a member of itself; fit it again on other models")
    token = _OPENING.set((*outer, folder))
    try:
        return [open_model(text, device=loading.device, batch_size=loading.batch_size, base=folder) for text in named]
    finally:
        _OPENING.reset(token)
