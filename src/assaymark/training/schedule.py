"""Learning rates as functions of the step: no state to save, nothing to replay when a training is continued."""

from __future__ import annotations

import math

from assaymark.errors import UnknownName

__all__ = ["SCHEDULES", "schedule_factor"]

SCHEDULES = ("constant", "cosine", "linear", "one-cycle")
_WARM_UP, _START, _END = 0.3, 1 / 25, 1 / 250_000


def schedule_factor(schedule: str, step: int, *, steps: int, warmup: float = 0.0) -> float:
    """Factor on the largest learning rate at a step counted from 0, of `steps`.

    Parameters
    ----------
    schedule : {"constant", "cosine", "linear", "one-cycle"}
        cosine: (1 + cos(pi step / steps)) / 2, from 1 towards 0 [1]. linear: up from 0 within the warm-up, then down towards 0
        along straight lines [3]. one-cycle: up from 1/25 within the first 30 %, then down to 1/250,000, along cosines [2].
    warmup : float in [0, 1)
        Share of the steps, rounded up to whole ones, in which "linear" and "cosine" rise along a straight line first.

    References
    ----------
    .. [1] Loshchilov, Hutter. SGDR: Stochastic gradient descent with warm restarts. ICLR 2017, eq. 5.
    .. [2] Smith, Topin. Super-convergence. 2018; numbers of `torch.optim.lr_scheduler.OneCycleLR`.
    .. [3] `transformers.get_linear_schedule_with_warmup`, the default of its trainer, which has no warm-up.
    """
    if schedule == "constant":
        return 1.0
    if schedule in ("cosine", "linear"):
        rising = math.ceil(warmup * steps)
        if step < rising:
            return step / rising
        if schedule == "linear":
            return (steps - step) / (steps - rising)
        return 0.5 * (1.0 + math.cos(math.pi * (step - rising) / (steps - rising)))
    if schedule != "one-cycle":
        raise UnknownName("schedule", schedule, SCHEDULES)
    peak = _WARM_UP * steps - 1
    if step <= peak:
        return _between(_START, 1.0, step / peak)
    return _between(1.0, _END, (step - peak) / max(steps - 1 - peak, 1e-9))


def _between(start: float, end: float, share: float) -> float:
    return end + (start - end) / 2.0 * (1.0 + math.cos(math.pi * share))
