"""What private generation of demonstrations guarantees, and how much noise a wanted guarantee costs.

References
----------
.. [1] Tang, X. et al. (2024). Privacy-preserving in-context learning with differentially private few-shot generation. ICLR;
   arXiv:2309.11765.
.. [2] Ding, Z. et al. (2021). The permute-and-flip mechanism is identical to report-noisy-max with exponential noise.
   arXiv:2105.07260 (epsilon of that noise: McKenna and Sheldon, NeurIPS 2020).
.. [3] Dwork, C. and Roth, A. (2014). The algorithmic foundations of differential privacy, section 3.4 (exponential mechanism;
   the same as the noisy maximum with Gumbel noise).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from assaymark.audits.icl_membership.method.defences.records import NO_GUARANTEE, Guarantee
from assaymark.stats.privacy_accounting import (
    Accountant,
    gaussian_epsilon,
    gaussian_noise_multiplier,
    pure_epsilon,
    pure_step_epsilon,
)

__all__ = ["Generation", "Noise", "generation_guarantee", "l2_sensitivity", "max_sensitivity", "noise_multiplier_for"]

Noise = Literal["gaussian", "gumbel", "exponential"]


@dataclass(frozen=True)
class Generation:
    """How demonstrations are generated; nothing here may be chosen by looking at the private examples.

    Attributes
    ----------
    noise_multiplier : float >= 0
        Scale of the noise over the sensitivity of the mean of the groups: the standard deviation over `l2_sensitivity`
        (Gaussian), or the scale over `max_sensitivity` (Gumbel, exponential). 0: no noise, no guarantee. With Gaussian noise it
        is the sigma that [1] accounts for; the official code adds M / sqrt(2) times as much noise.
    noise : {"gaussian", "gumbel", "exponential"}
    groups : int >= 1
        Disjoint groups of private examples, M of [1] (10 for AG News there).
    top_k : int >= 1
        Tokens that the public prompt makes most probable; no others are generated (K = 100 in [1]).
    sampling_rate : float in (0, 1]
        Each private example takes part in a token with this probability.
    longest : int >= 1
        Tokens of one generated text, at most. The guarantee counts all of them, whenever the text ends.
    end : str
        Text that ends a generated text.
    delta : float in (0, 1)
        Of the guarantee with Gaussian noise; 0 holds for the others.
    accountant : {"pld", "rdp"}
        Of Gaussian noise. "pld" agrees with the one of [1]; "rdp" is looser.
    """

    noise_multiplier: float
    noise: Noise = "gaussian"
    groups: int = 10
    top_k: int = 100
    sampling_rate: float = 1.0
    longest: int = 100
    end: str = "\n"
    delta: float = 1e-5
    accountant: Accountant = "pld"

    def __post_init__(self) -> None:
        if self.noise not in get_args(Noise):
            raise ValueError(f"noise {self.noise!r}: one of {', '.join(get_args(Noise))}")
        if min(self.groups, self.top_k, self.longest) < 1 or not self.end:
            raise ValueError("groups, top_k and longest are at least 1, and end is not empty")
        if not self.noise_multiplier >= 0.0 or not 0.0 < self.sampling_rate <= 1.0 or not 0.0 < self.delta < 1.0:
            raise ValueError("noise_multiplier >= 0, sampling_rate in (0, 1], delta in (0, 1)")

    @property
    def noise_scale(self) -> float:
        """Standard deviation (Gaussian) or scale of the noise on the mean of the groups."""
        sensitivity = l2_sensitivity(self.groups) if self.noise == "gaussian" else max_sensitivity(self.groups)
        return self.noise_multiplier * sensitivity


def l2_sensitivity(groups: int) -> float:
    """Most that the mean of the groups' distributions moves with one example, in Euclidean norm: sqrt(2) / M.

    Notes
    -----
    An example is in one group, so that one of M rows changes, from p to p'. Both lie in the simplex (or below it), hence
    |p - p'|^2 = |p|^2 + |p'|^2 - 2 p.p' <= 1 + 1 - 0, with equality for two different tokens of probability 1. The same bound
    holds whether the example is added, removed or replaced, as long as the others keep their groups.
    """
    return math.sqrt(2.0) / groups


def max_sensitivity(groups: int) -> float:
    """Most that one token's entry of the mean of the groups moves with one example: 1 / M, entries being in [0, 1]."""
    return 1.0 / groups


def _steps(settings: Generation, examples_per_label: int) -> int:
    return settings.longest * examples_per_label


def generation_guarantee(settings: Generation, *, examples_per_label: int) -> Guarantee:
    """Guarantee of generating at most so many examples of each label.

    Parameters
    ----------
    settings : Generation
    examples_per_label : int >= 0
        Most generated examples of one label. Labels compose in parallel: an example takes part in those of its label only.

    Returns
    -------
    Guarantee
        None without noise.

    Notes
    -----
    Gaussian noise: accounting of T = longest x examples releases, of which the token is a function. Noisy maximum:
    entries of the mean can rise and fall by `max_sensitivity` at once, so noise of scale b makes a token 2 max_sensitivity /
    b = 2 / multiplier private ([2], [3]); T of them compose as pure privacy.

    Raises
    ------
    MissingExtra
        With Gaussian noise, where the library for accounting is not installed.
    """
    if settings.noise_multiplier == 0.0:
        return NO_GUARANTEE
    steps = _steps(settings, examples_per_label)
    # sampling at random gains against addition and removal only
    relation = "for one example added or removed"
    if settings.sampling_rate == 1.0:
        relation = "for one example added, removed or replaced by another of its label"
    if settings.noise == "gaussian":
        epsilon = gaussian_epsilon(
            settings.noise_multiplier,
            steps=steps,
            delta=settings.delta,
            sampling_rate=settings.sampling_rate,
            accountant=settings.accountant,
        )
        return Guarantee(epsilon, settings.delta, relation)
    step = 2.0 / settings.noise_multiplier
    return Guarantee(pure_epsilon(step, steps=steps, sampling_rate=settings.sampling_rate), 0.0, relation)


def noise_multiplier_for(epsilon: float, *, settings: Generation, examples_per_label: int) -> float:
    """Least noise multiplier with which `generation_guarantee` is at most `epsilon`.

    Parameters
    ----------
    settings : Generation
        Its own `noise_multiplier` does not matter.
    """
    steps, rate = _steps(settings, examples_per_label), settings.sampling_rate
    if settings.noise == "gaussian":
        return gaussian_noise_multiplier(
            epsilon, steps=steps, delta=settings.delta, sampling_rate=rate, accountant=settings.accountant
        )
    return 2.0 / pure_step_epsilon(epsilon, steps=steps, sampling_rate=rate)
