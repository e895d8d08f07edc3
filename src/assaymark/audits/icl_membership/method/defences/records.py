"""What goes into a defence and what comes out of it: demonstrations, conversations, changes, guarantees."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.audits.icl_membership.method.prompts import Demonstration

__all__ = [
    "NO_GUARANTEE",
    "Change",
    "DataDefence",
    "Guarantee",
    "OutputDefence",
    "released",
]


class Guarantee(NamedTuple):
    """What is proved about a recipe: epsilon and delta of differential privacy, or nothing.

    Attributes
    ----------
    epsilon : float or None
        None: no formal guarantee, however well the recipe does against the attacks that were tried.
    delta : float or None
    relation : str
        Which two sets of demonstrations count as neighbours.
    """

    epsilon: float | None = None
    delta: float | None = None
    relation: str = ""

    @property
    def formal(self) -> bool:
        """Whether anything is proved at all."""
        return self.epsilon is not None and bool(np.isfinite(self.epsilon))

    def __str__(self) -> str:
        if not self.formal:
            return "no formal guarantee"
        return f"({self.epsilon:.3g}, {self.delta:.3g})-differential privacy, {self.relation}"


NO_GUARANTEE = Guarantee()


class Change(NamedTuple):
    """One entry of the record of a data defence; it holds no text, so that it may be logged.

    Attributes
    ----------
    source : int
        Position of the demonstration that was changed; -1 where no single one was (a synthetic demonstration).
    action : str
        What was done: "redacted", "paraphrased", "kept", "replaced", "emptied", "generated" or "left out".
    measure : float or None
        What the recipe measures of it; its docstring says what. None where there is nothing to measure.
    reason : str
        Why the demonstration was left out, else empty.
    """

    source: int
    action: str
    measure: float | None = None
    reason: str = ""


class DataDefence(NamedTuple):
    """Demonstrations after a data defence.

    Attributes
    ----------
    demonstrations : tuple of (text, label)
        What is put into the prompt in place of the private ones. Fewer than before where some were left out.
    changes : tuple of Change
    guarantee : Guarantee
    undefined : str or None
        Why the recipe could not be carried out at all; then there are no demonstrations, and the private ones must not be used
        in their place.
    """

    demonstrations: tuple[Demonstration, ...]
    changes: tuple[Change, ...]
    guarantee: Guarantee = NO_GUARANTEE
    undefined: str | None = None


class OutputDefence(NamedTuple):
    """Replies after an output defence.

    Attributes
    ----------
    replies : tuple of str, one for each reply that went in
    acted : array of bool, shape (n,)
        Where the reply was replaced.
    reasons : tuple of str
        What made the recipe act; empty where it did not.
    """

    replies: tuple[str, ...]
    acted: npt.NDArray[np.bool_]
    reasons: tuple[str, ...]


def released(replies: list[str] | tuple[str, ...], replacements: list[str | None], reasons: list[str]) -> OutputDefence:
    """Replies with their replacements (None keeps one); a replacement equal to its reply is no action."""
    chosen = tuple(old if new is None else new for old, new in zip(replies, replacements, strict=True))
    acted = np.array([old != new for old, new in zip(replies, chosen, strict=True)], dtype=np.bool_)
    return OutputDefence(chosen, acted, tuple(why if act else "" for why, act in zip(reasons, acted.tolist(), strict=True)))
