"""Synthetic score tables whose answer is known: planted experiments A, B, C and E of the scorer mixture.

The label y is a fair coin, s = 2y - 1, and network k gives p_k = sigmoid(c_k (q_k s + e_k)) with normal errors e_k: q is its
quality, c how sure of itself it is. For A and E the moments of the population are integrals in one or two dimensions, so the
weights that an endless sample would give are known to many digits.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import expit, ndtr

from assaymark.audits.scorer_mixture.method.moments import Moments
from assaymark.audits.scorer_mixture.method.weights import ols_from_moments

__all__ = [
    "FIT_ROWS",
    "MEMORISER_QUALITY",
    "TEST_ROWS",
    "Experiment",
    "PlantedScores",
    "Population",
    "planted_scores",
    "population_moments",
    "population_weights",
]

Floats = npt.NDArray[np.float64]
Experiment = Literal["A", "B", "C", "E"]

FIT_ROWS, TEST_ROWS = 400, 4000
"""Rows of the published experiments: the weights are fitted on the first, judged on the second."""

COMMON, OWN = 0.95, 0.3
"""Experiment A: e_5 and e_6 are 0.95 times a common error and 0.3 times an own one."""
COPY_NOISE = 1e-6
"""Experiment B: standard deviation of what tells the copy from the original."""
MEMORISER_QUALITY = 0.3
"""Experiment C: quality of network 0 on rows that it was not trained on."""


class _Design(NamedTuple):
    """Qualities, self-assurance, and the networks that share an error."""

    quality: tuple[float, ...]
    sureness: tuple[float, ...]
    shared: tuple[int, ...] = ()


_A = _Design((1.6, 1.4, 1.1, 0.9, 0.25, 0.25), (1.0, 1.0, 1.0, 1.0, 4.0, 4.0), (4, 5))
_C = _Design((MEMORISER_QUALITY, 1.4, 1.1, 0.9), (1.0,) * 4)
_E = _Design((1.1,) * 5, (1.0,) * 5)
_DESIGNS: dict[str, _Design] = {"A": _A, "B": _A, "C": _C, "E": _E}


class PlantedScores(NamedTuple):
    """A score table.

    Attributes
    ----------
    scores : array, shape (n, k), in [0, 1]
    labels : int64 array, shape (n,), 0/1
    names : tuple of k str
    trained_on : bool array, shape (n,)
        Rows that network 0 was trained on, and that it gives back by heart (experiment C); elsewhere False.
    experiment : str
    null : bool
    """

    scores: Floats
    labels: npt.NDArray[np.int64]
    names: tuple[str, ...]
    trained_on: npt.NDArray[np.bool_]
    experiment: str
    null: bool


def _design_of(experiment: str, *, null: bool) -> _Design:
    if experiment not in _DESIGNS:
        raise ValueError(f"experiment {experiment!r} is none of {', '.join(_DESIGNS)}")
    design = _DESIGNS[experiment]
    if null and experiment == "A":
        return _Design((1.1,) * 6, (1.0,) * 6)
    return design


def planted_scores(seed: int, n: int, *, experiment: Experiment = "A", null: bool = False) -> PlantedScores:
    """Draw a score table.

    Parameters
    ----------
    n : int
        Rows, independent of one another. In experiment C the first half of them, but at most `FIT_ROWS`, are rows that
        network 0 was trained on.
    experiment : "A", "B", "C" or "E"
        A: six networks of unequal quality, two of them weak, over-confident and wrong together. B: A, and a copy of network 0
        that differs by noise of 1e-6. C: a poor network 0 that knows its training rows by heart, and three fair ones. E: five
        equally good networks that err independently.
    null : bool
        Without what the experiment plants: A with six equally good independent networks, B without the copy, C with nothing
        learnt by heart. E is the null of A as it is: no weights can beat the average.
    """
    design = _design_of(experiment, null=null)
    rng = np.random.default_rng([seed, ord(experiment)])
    k = len(design.quality)
    labels = rng.integers(0, 2, n)
    errors = rng.standard_normal((n, k))
    common = rng.standard_normal((n, 1))
    shared = list(design.shared)
    errors[:, shared] = COMMON * common + OWN * errors[:, shared]
    signs = 2.0 * labels[:, None] - 1.0
    scores = expit(np.array(design.sureness) * (np.array(design.quality) * signs + errors))
    trained_on = np.zeros(n, dtype=bool)
    if experiment == "B" and not null:
        copy = scores[:, :1] + COPY_NOISE * rng.standard_normal((n, 1))
        scores = np.column_stack([scores, np.clip(copy, 0.0, 1.0)])
    if experiment == "C" and not null:
        trained_on[: min(n // 2, FIT_ROWS)] = True
        scores[trained_on, 0] = labels[trained_on]
    names = tuple(f"network_{i + 1}" for i in range(scores.shape[1]))
    return PlantedScores(scores, labels, names, trained_on, experiment, null)


class Population(NamedTuple):
    """What an endless sample of an experiment would give.

    Attributes
    ----------
    weights : array, shape (k,); intercept : float
        Least squares on the population.
    single_accuracies : array, shape (k,)
        Phi(q / sd of the error): the score is above 0.5 exactly when q s + e > 0.
    moments : Moments
        Of one row in expectation.
    """

    weights: Floats
    intercept: float
    single_accuracies: Floats
    moments: Moments


def population_moments(experiment: Literal["A", "E"], *, null: bool = False) -> Moments:
    """Expected moments of one row, by the trapezoidal rule (exact to about 1e-12 for these integrands).

    Given the label the networks are independent, but for the two that share an error, which are independent given the label and
    the common error.
    """
    if experiment not in ("A", "E"):
        raise ValueError("only experiments A and E have a population in closed form")
    design = _design_of(experiment, null=null)
    k = len(design.quality)
    xtx, xty = np.zeros((k + 1, k + 1)), np.zeros(k + 1)
    for y in (0, 1):
        first, second = _given_label(design, 2.0 * y - 1.0)
        block = np.zeros((k + 1, k + 1))
        block[:k, :k] = second
        block[:k, k] = block[k, :k] = first
        block[k, k] = 1.0
        xtx += 0.5 * block
        xty += 0.5 * y * block[:, k]
    return Moments(1.0, 1, xtx, xty, 0.5)


def _given_label(design: _Design, s: float) -> tuple[Floats, Floats]:
    """E[p_k | y] and E[p_k p_l | y]."""
    z, mass = _normal_grid()
    k = len(design.quality)
    # conditional means over the own error, at each value of the common error, shape (k, grid)
    given_common = np.empty((k, len(z)))
    squares = np.empty(k)
    for i, (q, c) in enumerate(zip(design.quality, design.sureness, strict=True)):
        if i in design.shared:
            scores = expit(c * (q * s + COMMON * z[:, None] + OWN * z))
            given_common[i] = scores @ mass
            squares[i] = mass @ (scores**2 @ mass)
        else:
            scores = expit(c * (q * s + z))
            given_common[i] = float(scores @ mass)
            squares[i] = float(scores**2 @ mass)
    second = (given_common * mass) @ given_common.T
    np.fill_diagonal(second, squares)
    return given_common @ mass, second


def _normal_grid() -> tuple[Floats, Floats]:
    """Points and probabilities of a standard normal variable on [-9, 9]."""
    z = np.linspace(-9.0, 9.0, 1201)
    mass = np.exp(-0.5 * z * z)
    return z, mass / mass.sum()


def population_weights(experiment: Literal["A", "E"], *, intercept: bool = False, null: bool = False) -> Population:
    """Least-squares weights and single accuracies of the population of experiment A or E."""
    of = population_moments(experiment, null=null)
    fit = ols_from_moments(of, intercept=intercept)
    design = _design_of(experiment, null=null)
    sd = np.array([math.hypot(COMMON, OWN) if i in design.shared else 1.0 for i in range(len(design.quality))])
    return Population(fit.weights, fit.intercept, np.asarray(ndtr(np.array(design.quality) / sd)), of)
