"""What the attacks achieve against the scripted service, in closed form: the truth that an audit of it must find."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["ExactAdvantages", "ScriptedRates", "brainwash_rates", "exact_advantages"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class ScriptedRates:
    """How the scripted service treats members and others; pairs are (member, non-member).

    Attributes
    ----------
    gap : P(the label it says is right)
    inquiry : P(it says that it has seen the text)
    repeat : P(it continues a member with its true rest); all else it continues with a made-up one, which is never the true one
    brainwash_least, brainwash_rate : repetitions are least + Poisson(rate), at most `brainwash_most`
    """

    gap: tuple[float, float] = (0.95, 0.70)
    inquiry: tuple[float, float] = (0.60, 0.10)
    repeat: float = 0.90
    brainwash_least: tuple[int, int] = (3, 1)
    brainwash_rate: tuple[float, float] = (1.0, 0.5)
    brainwash_most: int = 10

    def null(self) -> ScriptedRates:
        """A service to which members are like any other text."""
        return replace(
            self,
            gap=(self.gap[1],) * 2,
            inquiry=(self.inquiry[1],) * 2,
            repeat=0.0,
            brainwash_least=(self.brainwash_least[1],) * 2,
            brainwash_rate=(self.brainwash_rate[1],) * 2,
        )


class ExactAdvantages(NamedTuple):
    """TPR - FPR of each attack: GAP and Inquiry as they are, Repeat at any threshold between a made-up and the true rest,
    Brainwash at its best threshold.
    """

    gap: float
    inquiry: float
    repeat: float
    brainwash: float


def brainwash_rates(rates: ScriptedRates, threshold: npt.ArrayLike) -> tuple[Floats, Floats]:
    """TPR and FPR of "member iff repetitions >= threshold", each of the shape of `threshold`.

    P(min(least + Poisson(rate), most) >= t) = P(Poisson(rate) >= t - least) for t <= most, and 0 above.
    """
    from scipy.stats import poisson

    cut = np.ceil(np.asarray(threshold, dtype=np.float64))
    tpr, fpr = (
        np.where(cut <= rates.brainwash_most, poisson.sf(cut - least - 1, rate), 0.0)
        for least, rate in zip(rates.brainwash_least, rates.brainwash_rate, strict=True)
    )
    return tpr, fpr


def exact_advantages(rates: ScriptedRates | None = None) -> ExactAdvantages:
    """Advantages of the attacks on a service with these rates.

    Examples
    --------
    >>> [round(advantage, 3) for advantage in exact_advantages()]
    [0.25, 0.5, 0.9, 0.91]
    """
    given = rates or ScriptedRates()
    tpr, fpr = brainwash_rates(given, np.arange(given.brainwash_most + 2))
    gap, inquiry = (pair[0] - pair[1] for pair in (given.gap, given.inquiry))
    return ExactAdvantages(gap, inquiry, given.repeat, float((tpr - fpr).max()))
