"""Prompt tuning in embedding space: the 2 d numbers of two prompt rows, the encoders frozen (section 3 of [1]).

min_P  mean_i CE(softmax(c a_i.p_0, c a_i.p_1), y_i) + weight_decay/2 |P|^2 + l2_init/2 |P - P_0|^2,  p_k = P_k / |P_k|.

The gradient has a closed form (`prompt_loss`), so a step costs two products with the cached embeddings, and many problems on
the same embeddings (all splits and fractions of a label-efficiency curve) share them as columns of one matrix.

The paper's training script was not released; optimiser, step size and epochs are not on record. Adam with 1e-2 on rows scaled
to unit length and 300 full-batch steps (`PAPER`) reproduce its curve on planted data. `FEW_LABELS` is ours: a part of the rows
decides when to stop, rows are pulled towards where they began, and classes weigh alike.

References
----------
.. [1] Schramowski, P. and Kersting, K. (2021). Inferring offensiveness in images from natural language supervision.
   arXiv 2110.04222.
.. [2] Kingma, D. and Ba, J. (2015). Adam: a method for stochastic optimization. ICLR.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.audits.image_offensiveness.method.optimisers import Optimiser, steps_of
from assaymark.audits.image_offensiveness.method.prompt_loss import (
    checked_labels,
    initial_rows,
    prompt_gradient,
    prompt_state,
    residual_and_loss,
    row_gradient,
    unit_embeddings,
)
from assaymark.audits.image_offensiveness.method.scoring import LOGIT_SCALE, unit_rows
from assaymark.audits.image_offensiveness.method.splits import stratified_holdout
from assaymark.stats import platt

__all__ = [
    "FEW_LABELS",
    "PAPER",
    "Job",
    "Tuned",
    "TuningSetting",
    "prompt_gradient",
    "tune_many",
    "tune_prompts",
]

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
ClassWeights = tuple[float, float] | Literal["balanced"] | None


class TuningSetting(NamedTuple):
    """How prompts are tuned; the fields are the arguments of `tune_prompts`."""

    epochs: int = 300
    lr: float = 1e-2
    optimiser: Optimiser = "adam"
    weight_decay: float = 0.0
    l2_init: float = 0.0
    class_weights: ClassWeights = None
    validation: float = 0.0
    patience: int = 30


PAPER = TuningSetting()
FEW_LABELS = TuningSetting(l2_init=1e-2, class_weights="balanced", validation=0.2)


class Job(NamedTuple):
    """One tuning problem on shared embeddings.

    rows : int array, positions of the training rows
    y : 0/1 or bool array, shape (n,): labels of all rows; only those of `rows` and `validation` are read
    validation : int array, rows that decide when to stop; empty for none
    """

    rows: npt.NDArray[np.int64]
    y: npt.NDArray[Any]
    validation: npt.NDArray[np.int64] = np.empty(0, dtype=np.int64)


class Tuned(NamedTuple):
    """Tuned prompts.

    P : float32 array, shape (2, d); not of unit length
    loss_curve : float64 array, shape (epochs_run,): mean cross-entropy (weighted as trained) before each epoch, on the training
        rows; with mini-batches the mean over the batches of the epoch
    epochs_run : int
    bias : float, to be added to the log-odds; 0 unless it was fitted
    validation_curve : float64 array, shape (epochs_run,), or empty
    best_epoch : int, the epoch whose rows P are (epochs_run without validation)
    """

    P: npt.NDArray[np.float32]
    loss_curve: Floats
    epochs_run: int
    bias: float
    validation_curve: Floats
    best_epoch: int


def _row_weights(labels: Floats, class_weights: ClassWeights) -> Floats:
    """Weights that sum to 1 over the rows."""
    if class_weights is None:
        weight = np.ones_like(labels)
    elif class_weights == "balanced":
        share = labels.mean()
        if share in (0.0, 1.0):
            raise ValueError("balanced class weights need training rows of both classes")
        weight = np.where(labels == 1, 0.5 / share, 0.5 / (1.0 - share))
    else:
        weight = np.where(labels == 1, class_weights[1], class_weights[0])
    return np.asarray(weight / weight.sum())


def tune_many(
    V: Any,
    P0: Any,
    jobs: Sequence[Job],
    *,
    setting: TuningSetting = PAPER,
    logit_scale: float = LOGIT_SCALE,
    calibrate_bias: bool = False,
) -> tuple[Tuned, ...]:
    """Tune many pairs of prompts on the same embeddings in one full-batch optimisation.

    Parameters
    ----------
    V : array_like, shape (n, d)
    P0 : array_like, shape (2, d)
        Where all begin, scaled to unit rows (the score does not change, the size of a step does).
    jobs : sequence of Job
        A job without training rows keeps P0: zero-shot.
    setting : TuningSetting
        Its `validation` is not read: each job brings its own validation rows.
    calibrate_bias : bool
        Fit a shift of the log-odds, on the validation rows where a job has them, else on its training rows.

    Returns
    -------
    tuple of Tuned, in the order of the jobs; equal to the single runs but for the rounding of the products.

    Notes
    -----
    O(epochs * n * d * jobs) in two matrix products per epoch; memory O(n * jobs). Rows that no job uses cost nothing.
    """
    start, images = initial_rows(P0), unit_rows(V).rows
    used = np.unique(np.concatenate([np.empty(0, np.int64), *(part for job in jobs for part in (job.rows, job.validation))]))
    if unit_rows(images[used]).invalid.any():
        raise ValueError("embeddings that are zero or not finite cannot be trained on: leave them out")
    a = images[used].astype(np.float64)
    columns = [_columns(job, used, setting.class_weights) for job in jobs]
    y, train, held = (np.stack(parts, axis=1) for parts in zip(*columns, strict=True)) if jobs else (np.empty((0, 0)),) * 3
    run = _descend(a, y, train, held, start, setting=setting, logit_scale=logit_scale)
    return tuple(
        _tuned(run, j, a, columns[j], logit_scale=logit_scale, calibrate_bias=calibrate_bias) for j in range(len(jobs))
    )


def _columns(job: Job, used: npt.NDArray[np.int64], class_weights: ClassWeights) -> tuple[Floats, Floats, Floats]:
    """Labels, training weights and validation weights over the used rows."""
    y = np.zeros(used.size)
    weights = []
    for rows in (job.rows, job.validation):
        at, weight = np.searchsorted(used, rows), np.zeros(used.size)
        labels = checked_labels(np.asarray(job.y)[rows], len(rows))
        if len(rows):
            y[at], weight[at] = labels, _row_weights(labels, class_weights)
        weights.append(weight)
    return y, weights[0], weights[1]


class _Products:
    """Products with the embeddings from either side.

    For one problem they are vector products, row by row: threads of a linear algebra library cost more than they save there,
    and the sums do not depend on how many there are.
    """

    def __init__(self, a: Floats, jobs: int) -> None:
        self.a = a
        self.transposed = np.ascontiguousarray(a.T) if jobs == 1 else None

    def scores(self, w: Floats) -> Floats:
        """Log-odds, shape (n, J), of directions w, shape (d, J)."""
        if self.transposed is None:
            return np.asarray(self.a @ w)
        return np.asarray(np.vecdot(self.a, w[:, 0])[:, None])

    def sums(self, residual: Floats) -> Floats:
        """Sum of the rows weighted by `residual`, shape (n, J): shape (J, d)."""
        if self.transposed is None:
            return np.asarray(residual.T @ self.a)
        return np.asarray(np.vecdot(self.transposed, residual[:, 0])[None])


class _Run(NamedTuple):
    P: Floats  # (J, 2, d)
    loss: Floats  # (epochs, J)
    validation: Floats  # (epochs, J)
    epochs_run: npt.NDArray[np.int64]
    best_epoch: npt.NDArray[np.int64]


def _descend(
    a: Floats, y: Floats, train: Floats, held: Floats, start: Floats, *, setting: TuningSetting, logit_scale: float
) -> _Run:
    """Full-batch descent of J problems side by side; one that has stopped is kept as it was at its best epoch."""
    jobs, epochs = y.shape[1], setting.epochs
    P = np.repeat(start[None], jobs, axis=0)
    best, step = P.copy(), steps_of(setting.optimiser, setting.lr)
    lowest, best_epoch = np.full(jobs, np.inf), np.zeros(jobs, dtype=np.int64)
    learns, watched = np.asarray(train.any(axis=0)), np.asarray(held.any(axis=0))
    ran = np.where(learns, epochs, 0)
    loss, checked = np.zeros((epochs, jobs)), np.zeros((epochs, jobs))
    running, products = learns.copy(), _Products(a, jobs)
    for epoch in range(epochs):
        if not running.any():
            break
        state = prompt_state(P, logit_scale)
        z = products.scores(state.w)
        residual, loss[epoch] = residual_and_loss(z, y, train)
        if watched.any():
            checked[epoch] = residual_and_loss(z, y, held)[1]
            better = running & watched & (checked[epoch] < lowest)
            lowest, best_epoch = np.where(better, checked[epoch], lowest), np.where(better, epoch, best_epoch)
            best[better] = P[better]
            stops = running & watched & (epoch - best_epoch >= setting.patience)
            ran[stops], running = epoch + 1, running & ~stops
        gradient = row_gradient(state, logit_scale * products.sums(residual))
        gradient += setting.weight_decay * P + setting.l2_init * (P - start)
        P = np.where(running[:, None, None], P - step(gradient), P)
    early = watched & learns
    best_epoch = np.where(early, best_epoch, ran)
    return _Run(np.where(early[:, None, None], best, P), loss, checked, ran, best_epoch)


def _tuned(
    run: _Run, j: int, a: Floats, columns: tuple[Floats, Floats, Floats], *, logit_scale: float, calibrate_bias: bool
) -> Tuned:
    y, train, held = columns
    n, bias = int(run.epochs_run[j]), 0.0
    rows = np.flatnonzero(held if held.any() else train)
    if calibrate_bias and rows.size:
        bias = platt(a[rows] @ prompt_state(run.P[j][None], logit_scale).w[:, 0], y[rows], scale=False).offset
    validation = run.validation[:n, j] if held.any() else np.empty(0)
    return Tuned(run.P[j].astype(np.float32), run.loss[:n, j], n, bias, validation, int(run.best_epoch[j]))


def tune_prompts(
    V: Any,
    y: Any,
    P0: Any,
    *,
    epochs: int = 300,
    lr: float = 1e-2,
    optimiser: Optimiser = "adam",
    batch: int | None = None,
    weight_decay: float = 0.0,
    l2_init: float = 0.0,
    class_weights: ClassWeights = None,
    validation: float = 0.0,
    patience: int = 30,
    calibrate_bias: bool = False,
    logit_scale: float = LOGIT_SCALE,
    rng: np.random.Generator,
) -> Tuned:
    """Tune one pair of prompts on labelled embeddings.

    Parameters
    ----------
    V : array_like, shape (n, d)
    y : array_like, shape (n,), 1 = offensive
    P0 : array_like, shape (2, d)
        Text features of the initial prompts, or prompts tuned before; scaled to unit rows first.
    batch : int, optional
        Rows of a mini-batch, drawn anew in each epoch; all rows by default.
    weight_decay, l2_init : float
        Penalty on the rows, and on their distance from P0 (for a handful of labels).
    class_weights : (weight of 0, weight of 1), or "balanced"
    validation : float
        Share of each class held out; the rows of the epoch with the least loss on it are kept, and the run ends `patience`
        epochs after it. With 0 all rows train and all epochs run.
    calibrate_bias : bool
        Also fit a shift of the log-odds, on the held-out rows where there are some.
    rng : numpy.random.Generator
        Draws the held-out rows and the mini-batches; not used without them.

    Raises
    ------
    ValueError
        Labels that do not fit, embeddings without a direction, or one class only where both are needed.
    """
    labels, rows = checked_labels(y, len(V)), np.arange(len(V))
    held = stratified_holdout(labels, share=validation, rng=rng) if validation > 0 else np.zeros(len(V), dtype=np.bool_)
    setting = TuningSetting(epochs, lr, optimiser, weight_decay, l2_init, class_weights, validation, patience)
    job = Job(rows[~held], labels, rows[held])
    if batch is None or batch >= job.rows.size:
        return tune_many(V, P0, [job], setting=setting, logit_scale=logit_scale, calibrate_bias=calibrate_bias)[0]
    a, columns, start = unit_embeddings(V), _columns(job, rows, class_weights), initial_rows(P0)
    run = _descend_in_batches(a, columns, start, batch=batch, setting=setting, logit_scale=logit_scale, rng=rng)
    return _tuned(run, 0, a, columns, logit_scale=logit_scale, calibrate_bias=calibrate_bias)


def _descend_in_batches(
    a: Floats,
    columns: tuple[Floats, Floats, Floats],
    start: Floats,
    *,
    batch: int,
    setting: TuningSetting,
    logit_scale: float,
    rng: np.random.Generator,
) -> _Run:
    y, train, held = columns
    P, best, best_epoch, lowest = start[None].copy(), start[None].copy(), 0, np.inf
    step, rows, watched = steps_of(setting.optimiser, setting.lr), np.flatnonzero(train), bool(held.any())
    loss, checked, epoch = np.zeros((setting.epochs, 1)), np.zeros((setting.epochs, 1)), -1
    for epoch in range(setting.epochs):
        if watched:
            z = a @ prompt_state(P, logit_scale).w
            checked[epoch] = residual_and_loss(z, y[:, None], held[:, None])[1]
            if checked[epoch, 0] < lowest:
                lowest, best_epoch, best = float(checked[epoch, 0]), epoch, P.copy()
        order = rng.permutation(rows)
        for at in range(0, order.size, batch):
            part = order[at : at + batch]
            weight = (train[part] / train[part].sum())[:, None]
            state = prompt_state(P, logit_scale)
            residual, batch_loss = residual_and_loss(a[part] @ state.w, y[part, None], weight)
            loss[epoch] += batch_loss * part.size / order.size
            gradient = row_gradient(state, logit_scale * (residual.T @ a[part]))
            P = P - step(gradient + setting.weight_decay * P + setting.l2_init * (P - start))
        if watched and epoch - best_epoch >= setting.patience:
            break
    ran = epoch + 1
    return _Run(best if watched else P, loss, checked, np.array([ran]), np.array([best_epoch if watched else ran]))
