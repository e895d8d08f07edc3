"""Step rules of gradient descent, as functions with a memory: `gradient -> what to subtract`.

References
----------
.. [1] Kingma, D. and Ba, J. (2015). Adam: a method for stochastic optimization. ICLR, algorithm 1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
import numpy.typing as npt

__all__ = ["Optimiser", "steps_of"]

Floats = npt.NDArray[np.float64]
Optimiser = Literal["adam", "sgd"]
Step = Callable[[Floats], Floats]


def steps_of(optimiser: Optimiser, lr: float) -> Step:
    """A fresh step rule.

    Parameters
    ----------
    optimiser : "adam" (beta 0.9 and 0.999, epsilon 1e-8, [1]) or "sgd" (momentum 0.9)
    lr : float > 0
    """
    if not lr > 0:
        raise ValueError(f"lr {lr!r} is not above 0")
    if optimiser == "adam":
        return _adam(lr)
    if optimiser == "sgd":
        return _momentum(lr)
    raise ValueError(f"optimiser {optimiser!r} is neither 'adam' nor 'sgd'")


def _adam(lr: float, beta1: float = 0.9, beta2: float = 0.999, epsilon: float = 1e-8) -> Step:
    mean: Floats | float = 0.0
    square: Floats | float = 0.0
    t = 0

    def step(gradient: Floats) -> Floats:
        nonlocal mean, square, t
        t += 1
        mean = beta1 * mean + (1 - beta1) * gradient
        square = beta2 * square + (1 - beta2) * gradient**2
        return np.asarray(lr * (mean / (1 - beta1**t)) / (np.sqrt(square / (1 - beta2**t)) + epsilon))

    return step


def _momentum(lr: float, momentum: float = 0.9) -> Step:
    velocity: Floats | float = 0.0

    def step(gradient: Floats) -> Floats:
        nonlocal velocity
        velocity = momentum * velocity + gradient
        return np.asarray(lr * velocity)

    return step
