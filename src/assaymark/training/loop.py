"""The training loop.

Everything that is drawn is a function of seed and batch number: the data order (`Batches.at`), the augmentation, and what
layers such as dropout draw. A continued training therefore needs weights, optimiser and position only, and on one machine it
ends equal, bit for bit, to one that was never interrupted (on a GPU as far as its kernels are deterministic).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict
from hashlib import blake2b
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from assaymark.errors import ConfigError
from assaymark.training.checkpoint import SavedState, read_state, write_state
from assaymark.training.order import Batches, micro_batches, step_seed
from assaymark.training.outcome import TrainingOutcome, Validation
from assaymark.training.schedule import schedule_factor
from assaymark.training.session import accelerated, seed_step
from assaymark.training.settings import Settings

__all__ = ["Advance", "Augment", "Objective", "train"]

Objective = Callable[[Any, Any], torch.Tensor]
Augment = Callable[[Any, np.random.Generator], Any]
_STEPS_BETWEEN_LOOKS = 100  # reading a loss waits for the GPU


class Advance(Protocol):
    """What is used of a progress task (`assaymark.audit.Task`)."""

    def advance(self, amount: int = 1) -> None: ...


def train(
    module: Any,
    objective: Objective,
    batches: Batches,
    *,
    epochs: int | None = None,
    steps: int | None = None,
    optimiser: str = "adamw",
    lr: float = 1e-3,
    weight_decay: float = 0.0,
    momentum: float = 0.9,
    schedule: str = "cosine",
    warmup: float = 0.0,
    accumulate: int = 1,
    clip: float | None = None,
    augment: Augment | None = None,
    validate: Callable[[Any], float] | None = None,
    validate_every: int | None = None,
    patience: int | None = None,
    seed: int,
    device: str = "cpu",
    precision: str = "no",
    checkpoints: Path | None = None,
    every: int | None = None,
    data_id: str = "",
    task: Advance | None = None,
) -> TrainingOutcome:
    """Train a module in place; afterwards it is in evaluation mode, on the device it came from.

    Parameters
    ----------
    module : torch module
        Parameters with `requires_grad` are trained. Build it under a seed of its own: only the loop is seeded here. What it
        has to do after each update (moving averages of its weights) is its method `after_step(step, *, steps)`, if it has one.
    objective : callable (module, batch) -> scalar tensor
        The mean loss of a batch. It must call the module itself when training runs on several processes.
    batches : Batches
        Read by position; moved to the device here.
    epochs, steps : int
        Length; exactly one of them. A step is one update of the weights.
    optimiser : {"adamw", "adamw-fused", "sgd"}
        The fused one rounds otherwise and takes a third of the time for its step, which counts for small networks. With `lr` as
        the largest learning rate of the `schedule` ("cosine", "constant", "linear", "one-cycle"); `momentum` is
        for sgd, `warmup` (a share of the steps) for linear and cosine.
    accumulate : int
        Batches in a step, for large batches in little memory. The gradient of a step is the mean over its batches, each with
        the weight of its rows (the length of its first tensor): that of one batch of all rows, where the loss is a mean over
        rows. The last step of an epoch has the batches that are left.
    clip : float, optional
        Largest norm of the gradient.
    augment : callable (batch, rng) -> batch, optional
        Applied on the device, with a numpy Generator that is a function of seed, step and process.
    validate : callable (module) -> float, optional
        Smaller is better. Called in evaluation mode without gradients every `validate_every` steps (default: an epoch) and at
        the end; the weights of the smallest value are restored. After `patience` values without improvement training stops.
    device : {"cpu", "cuda", "auto"}
        Under `accelerate launch` or torchrun each process trains on its part of every batch (gradients are averaged; batch
        normalisation sees one part).
    precision : {"no", "bf16", "fp16"}
        Of the forward pass; weights stay as they are.
    checkpoints : Path, optional
        Folder for the state, written every `every` steps (default: an epoch) and at the end. A state found there is
        continued; a finished one is returned.
    data_id : str
        Hash or name of the data, kept in the checkpoint beside the settings: with another one it is not continued.
    task : progress task, optional
        Advanced by 1 a step.

    Raises
    ------
    ConfigError
        Settings out of range, or a loss that is not finite (with the step and the mend).
    RunError
        The checkpoint is damaged or belongs to other settings.
    """
    if (epochs is None) == (steps is None):
        raise ConfigError("give the length of a training as epochs or as steps, one of the two")
    per_epoch = math.ceil(batches.steps_per_epoch / max(accumulate, 1))
    total = steps if steps is not None else (epochs or 0) * per_epoch
    cadence = validate_every or min(per_epoch, total)
    settings = Settings(
        *(total, optimiser, lr, weight_decay, momentum, schedule, clip, seed, precision, cadence, patience, data_id),
        warmup=warmup,
        accumulate=accumulate,
    )
    home, attributes = next(module.parameters()).device, set(vars(module))
    with accelerated(device, precision) as accelerator:
        run = _Run(accelerator, module, objective, batches, settings, validate, augment)
        try:
            run.resume(checkpoints, task)
            run.go(checkpoints, every or min(per_epoch, total), task)
        finally:
            for name in set(vars(module)) - attributes:  # accelerate's marks, and its wrapper around forward
                delattr(module, name)
            module.to(home).eval()
    return run.outcome()


class _Run:
    """One training in progress."""

    def __init__(
        self,
        accelerator: Any,
        module: Any,
        objective: Objective,
        batches: Batches,
        settings: Settings,
        validate: Callable[[Any], float] | None,
        augment: Augment | None,
    ) -> None:
        self._accelerator, self._module, self._objective = accelerator, module, objective
        self._batches, self._settings, self._validate, self._augment = batches, settings, validate, augment
        self._rank, self._world = accelerator.process_index, accelerator.num_processes
        optimiser = settings.new_optimiser(module.to(accelerator.device))
        self._parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
        self._wrapped, accelerated_optimiser = accelerator.prepare(module, optimiser)
        self._optimiser = optimiser
        # accelerate's optimiser searches the disk for another library in every step. Only the scaling of fp16 needs it;
        # gradients of several processes are averaged on the way back.
        self._update = optimiser.step if accelerator.scaler is None else accelerated_optimiser.step
        self._after_step = getattr(module, "after_step", None)
        self._step = 0
        self._losses: list[float] = []
        self._unread: list[torch.Tensor] = []
        self._validations: list[Validation] = []
        self._best: dict[str, torch.Tensor] = {}
        self._finished = False
        self._resumed_from: int | None = None

    # -- the loop -----------------------------------------------------------------------------------------------------------

    def go(self, folder: Path | None, every: int, task: Advance | None) -> None:
        settings = self._settings
        self._wrapped.train()
        while not self._finished:
            self._unread.append(self._one_step())
            self._step += 1
            self._finished = self._step == settings.steps
            validated = self._validate is not None and (self._finished or self._step % settings.validate_every == 0)
            saved = folder is not None and (self._finished or self._step % every == 0)
            if validated or saved or self._finished or len(self._unread) == _STEPS_BETWEEN_LOOKS:
                self._read_losses()
            if validated:
                self._finished |= self._validated_enough()
            if self._finished and self._best:
                self._module.load_state_dict(self._best)
            if folder is not None and (saved or self._finished):
                self._save(folder)
            if task is not None:
                task.advance()

    def _one_step(self) -> torch.Tensor:
        settings = self._settings
        rate = settings.lr * schedule_factor(settings.schedule, self._step, steps=settings.steps, warmup=settings.warmup)
        for group in self._optimiser.param_groups:
            group["lr"] = rate
        self._optimiser.zero_grad()
        loss = self._gradient(micro_batches(self._step, per_epoch=self._batches.steps_per_epoch, together=settings.accumulate))
        if settings.clip is not None:
            self._accelerator.clip_grad_norm_(self._parameters, settings.clip)
        self._update()
        if self._after_step is not None:
            self._after_step(self._step + 1, steps=settings.steps)
        return loss

    def _gradient(self, numbers: range) -> torch.Tensor:
        """Gradients of the mean loss over the batches of a step, left in the parameters; returns that loss."""
        parts = [self._batches.at(number, rank=self._rank, world=self._world) for number in numbers]
        rows = [_rows(part) for part in parts] if len(parts) > 1 else [1]
        losses = []
        for number, part, share in zip(numbers, parts, rows, strict=True):
            # Processes exchange gradients once a step, on the way back of its last batch.
            alone = self._accelerator.no_sync(self._wrapped) if number != numbers[-1] else nullcontext()
            with alone:
                loss = self._loss(part, number)
                if len(parts) > 1:
                    loss = loss * (share / sum(rows))
                self._accelerator.backward(loss)
            losses.append(loss.detach())
        return torch.stack(losses).sum()

    def _loss(self, batch: Any, number: int) -> torch.Tensor:
        device = self._accelerator.device
        batch = _placed(batch, device)
        seed = step_seed(self._settings.seed, number, rank=self._rank)
        if self._augment is not None:
            batch = self._augment(batch, np.random.default_rng(seed))
        seed_step(seed, device)
        if self._settings.precision == "no":
            return self._objective(self._wrapped, batch)
        with self._accelerator.autocast():
            return self._objective(self._wrapped, batch)

    def _read_losses(self) -> None:
        losses = torch.stack(self._unread).double()
        if self._world > 1:
            losses = self._accelerator.reduce(losses, reduction="mean")
        self._losses += losses.tolist()
        self._unread.clear()
        for step, loss in enumerate(self._losses[-len(losses) :], len(self._losses) - len(losses) + 1):
            if not math.isfinite(loss):
                mend = f"lower the learning rate ({self._settings.lr:g}) or clip the gradient"
                raise ConfigError(f"the loss is {loss} at step {step} of {self._settings.steps}: {mend}")

    def _validated_enough(self) -> bool:
        """Validate, remember the best weights, and say whether patience is at its end."""
        assert self._validate is not None
        self._wrapped.eval()
        with torch.no_grad():
            value = float(self._validate(self._module))
        self._wrapped.train()
        if self._world > 1:  # all processes must agree on when to stop
            shared = self._accelerator.reduce(
                torch.tensor([value], device=self._accelerator.device, dtype=torch.float64), "mean"
            )
            value = float(shared)
        best = min((v.value for v in self._validations), default=math.inf)
        self._validations.append(Validation(self._step, math.inf if math.isnan(value) else value))
        if value < best or not self._best:
            self._best = {name: tensor.detach().cpu().clone() for name, tensor in self._module.state_dict().items()}
        patience = self._settings.patience
        return patience is not None and len(self._validations) - 1 - self._best_index() >= patience

    def _best_index(self) -> int:
        values = [validation.value for validation in self._validations]
        return values.index(min(values))

    # -- what is kept -------------------------------------------------------------------------------------------------------

    def _identity(self) -> dict[str, Any]:
        shapes = repr([(name, tuple(tensor.shape)) for name, tensor in self._module.state_dict().items()])
        weights = blake2b(shapes.encode(), digest_size=8).hexdigest()
        return {**asdict(self._settings), "weights": weights, "processes": self._world}

    def _save(self, folder: Path) -> None:
        if self._accelerator.is_main_process:
            tensors = {f"module.{name}": tensor for name, tensor in self._module.state_dict().items()}
            tensors |= {f"best.{name}": tensor for name, tensor in self._best.items()}
            for parameter, state in self._optimiser.state_dict()["state"].items():
                tensors |= {f"optimiser.{parameter}.{name}": t for name, t in state.items() if isinstance(t, torch.Tensor)}
            tensors["losses"] = torch.tensor(self._losses, dtype=torch.float64)
            scaler = self._accelerator.scaler
            facts = {
                "identity": self._identity(),
                "finished": self._finished,
                "validations": self._validations,
                "scaler": scaler.state_dict() if scaler is not None else None,
            }
            write_state(folder, SavedState(tensors, facts))
        self._accelerator.wait_for_everyone()

    def resume(self, folder: Path | None, task: Advance | None) -> None:
        """Take up the state in a folder, if there is one."""
        saved = read_state(folder, identity=self._identity()) if folder is not None else None
        if saved is None:
            return
        self._module.load_state_dict(saved.part("module"))
        self._best = saved.part("best")
        self._losses = saved.tensors["losses"].tolist()
        self._validations = [Validation(int(step), float(value)) for step, value in saved.facts["validations"]]
        self._step = self._resumed_from = len(self._losses)
        self._finished = bool(saved.facts["finished"])
        state: dict[int, dict[str, torch.Tensor]] = {}
        for name, tensor in saved.part("optimiser").items():
            parameter, _, entry = name.partition(".")
            state.setdefault(int(parameter), {})[entry] = tensor
        self._optimiser.load_state_dict({**self._optimiser.state_dict(), "state": state})
        if saved.facts["scaler"] is not None and self._accelerator.scaler is not None:
            self._accelerator.scaler.load_state_dict(saved.facts["scaler"])
        if task is not None:
            task.advance(self._step)

    def outcome(self) -> TrainingOutcome:
        best = self._validations[self._best_index()].step if self._validations else None
        early = self._step < self._settings.steps
        return TrainingOutcome(np.array(self._losses), tuple(self._validations), best, early, self._resumed_from)


def _rows(batch: Any) -> int:
    """Length of the first tensor of a batch."""
    while not isinstance(batch, torch.Tensor):
        batch = next(iter(batch.values())) if isinstance(batch, dict) else batch[0]
    return len(batch)


def _placed(batch: Any, device: torch.device) -> Any:
    """Tensors of a batch on the device, inside tuples, lists and mappings."""
    if isinstance(batch, torch.Tensor):
        return batch.to(device, non_blocking=True)
    if isinstance(batch, dict):
        return {name: _placed(value, device) for name, value in batch.items()}
    if isinstance(batch, (tuple, list)):
        return type(batch)(_placed(value, device) for value in batch)
    return batch
