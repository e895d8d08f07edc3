"""What a training leaves behind besides the trained module."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["TrainingOutcome", "Validation"]


class Validation(NamedTuple):
    """Value of the validation after `step` steps; smaller is better."""

    step: int
    value: float


class TrainingOutcome(NamedTuple):
    """Curves of a training, and where they come from.

    Attributes
    ----------
    losses : array, shape (steps,), float64
        Loss of every step, those before an interruption included.
    validations : tuple of Validation
    best_step : int or None
        Steps after which the validation was smallest; the module holds the weights of that moment. None without validation.
    stopped_early : bool
        The validation did not improve for `patience` times, and the remaining steps were not made.
    resumed_from : int or None
        Steps that an earlier, interrupted call had made.
    """

    losses: npt.NDArray[np.float64]
    validations: tuple[Validation, ...]
    best_step: int | None
    stopped_early: bool
    resumed_from: int | None

    @property
    def steps(self) -> int:
        return len(self.losses)
