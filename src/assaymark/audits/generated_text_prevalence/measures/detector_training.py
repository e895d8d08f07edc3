"""A detector of machine-written posts of one's own: a language model fine-tuned end to end (OSM-Det, [1]).

References
----------
.. [1] Sun, Zhang, Shen, Zhang, Liu, Backes, Zhang, He. Are we in the AI-generated text world already? Quantifying and
   monitoring AIGT on social media. ACL 2025; numbers of the published training script.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from assaymark.errors import ConfigError, InputError
from assaymark.result import Estimate

if TYPE_CHECKING:
    from assaymark.audit import Task
    from assaymark.training import TrainingOutcome

__all__ = ["LABELS", "DetectorSettings", "Epoch", "TrainedDetector", "held_out_groups", "train_detector", "weighted_f1"]

LABELS = ("Human-written", "AI-generated")
FEWEST_TEXTS = 20
"""Below this neither side of a split says anything."""
_SAVE_EVERY = 1_000  # steps, where an epoch is longer; about ten minutes of the published training
_EVALUATED_TOGETHER = 4  # times the batch of training: without gradients that much fits
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class DetectorSettings:
    """How a detector is trained; every default is that of the published script.

    The script pads every text to 4,096 tokens; here a batch is as wide as its longest text, which changes no logit and costs a
    fraction. Its trainer leaves biases and scales out of weight decay, which here applies to all weights: at this rate and
    decay that shrinks a scale by about 2 % over the 190,000 steps of the published training.
    """

    epochs: int = 10  # script
    batch_size: int = 5  # script, per device
    accumulate: int = 8  # script: 40 texts a step
    lr: float = 2e-5  # script
    weight_decay: float = 0.01  # script
    warmup: float = 0.0  # default of its trainer: straight down from the first step
    clip: float = 1.0  # default of its trainer
    max_tokens: int = 4096  # script; the model's own limit where that is smaller
    validation: float = 0.1  # script
    split_seed: int = 42  # script
    by_length: bool = True  # ours: texts of similar length share a batch
    precision: str = "no"

    def __post_init__(self) -> None:
        if not 0 < self.validation <= 0.5:
            raise ConfigError(f"validation is {self.validation}; it is a share of the texts, over 0 and at most 0.5")
        if self.max_tokens < 8:
            raise ConfigError(f"max_tokens is {self.max_tokens}; a text of under 8 tokens says nothing about its author")
        if self.epochs < 1 or self.batch_size < 1:
            raise ConfigError(f"epochs and batch_size must be at least 1, not {self.epochs} and {self.batch_size}")


class TrainsTexts(Protocol):
    """What is used of a model with the capability trains-texts."""

    fingerprint: str

    def encode_texts(self, texts: Sequence[str], *, max_tokens: int | None = None) -> list[npt.NDArray[np.int32]]: ...

    def classifier_module(self, labels: Sequence[str], *, seed: int) -> Any: ...

    def save_classifier(self, module: Any, folder: Path, labels: Sequence[str], *, max_tokens: int | None = None) -> None: ...


class Epoch(NamedTuple):
    """One epoch, from 1: mean loss of its steps, and weighted F1 on the validation texts after it."""

    number: int
    loss: float
    weighted_f1: float


class TrainedDetector(NamedTuple):
    """A detector on disk, and how well it does on the texts that it was not trained on.

    Attributes
    ----------
    folder : Path
        Its path is a model spec (scores-texts), with the labels `LABELS`.
    history : tuple of Epoch
    chosen_epoch : int
        The one with the largest weighted F1, whose weights were kept.
    metrics : dict of str to Estimate
        "accuracy", "weighted_f1", "sensitivity" (AI-generated texts found) and "false_positive_rate" on the validation texts,
        with intervals over sources. The epoch was chosen on the same texts, so they are a little too good: measure the
        detector on texts of its own before relying on it.
    training_texts, validation_texts : int
    outcome : TrainingOutcome
    """

    folder: Path
    history: tuple[Epoch, ...]
    chosen_epoch: int
    metrics: dict[str, Estimate]
    training_texts: int
    validation_texts: int
    outcome: TrainingOutcome


def train_detector(
    model: TrainsTexts,
    texts: Sequence[str],
    labels: npt.ArrayLike,
    groups: Sequence[Any],
    *,
    folder: Path,
    settings: DetectorSettings | None = None,
    rng: np.random.Generator,
    seed: int,
    device: str = "cpu",
    work: Path | None = None,
    task: Task | None = None,
) -> TrainedDetector:
    """Fine-tune a fresh classifier on texts by people and by machines, and keep the epoch with the best weighted F1.

    Parameters
    ----------
    model : adapter with the capability trains-texts
        Its own weights are not touched.
    texts : sequence of n str
    labels : array_like, shape (n,)
        1 (or True) for AI-generated.
    groups : sequence of n
        Source of each text. A human text and what machines made of it have one source, and stay on one side of the split.
    folder : Path
        Where the detector is written.
    rng : numpy Generator
        For the intervals; training draws from `seed`.
    work : Path, optional
        Folder for checkpoints: a killed call, made again, continues and ends equal.
    task : progress task, optional
        Advanced by 1 a step.

    Raises
    ------
    InputError
        Too few texts or sources, an empty text, or one class only, in all or on one side of the split.
    """
    import torch

    from assaymark.training import TokenBatches, sequence_outputs, train

    settings = settings or DetectorSettings()
    machine, sources = _checked(texts, labels, groups)
    held_out = held_out_groups(sources, share=settings.validation, seed=settings.split_seed)
    _check_sides(machine, held_out)
    tokens = model.encode_texts(texts, max_tokens=settings.max_tokens)
    kept, tested = np.flatnonzero(~held_out), np.flatnonzero(held_out)
    checked = [tokens[row] for row in tested]
    targets = torch.from_numpy(machine[kept].astype(np.int64))
    batches = TokenBatches(
        [tokens[row] for row in kept], targets, size=settings.batch_size, seed=seed, by_length=settings.by_length
    )
    per_epoch = math.ceil(batches.steps_per_epoch / settings.accumulate)
    if task is not None:
        task.expect(settings.epochs * per_epoch)

    def called(module: Any) -> Bools:
        logits = sequence_outputs(module, checked, batch_size=_EVALUATED_TOGETHER * settings.batch_size)
        return np.asarray(logits[:, 1] > logits[:, 0])

    module = model.classifier_module(LABELS, seed=seed)
    outcome = train(
        module,
        lambda network, batch: torch.nn.functional.cross_entropy(network(batch[0], batch[1]), batch[2]),
        batches,
        epochs=settings.epochs,
        lr=settings.lr,
        weight_decay=settings.weight_decay,
        schedule="linear",
        warmup=settings.warmup,
        accumulate=settings.accumulate,
        clip=settings.clip,
        validate=lambda network: -float(weighted_f1(np.ones((1, len(tested))), called(network), machine[tested])[0]),
        seed=seed,
        device=device,
        precision=settings.precision,
        checkpoints=work,
        every=min(per_epoch, _SAVE_EVERY),
        data_id=_data_id(model, tokens, machine, held_out, settings) if work is not None else "",
        task=task,
    )
    model.save_classifier(module, folder, LABELS, max_tokens=settings.max_tokens)
    answers = called(_moved(module, device))
    metrics = _metrics(answers, machine[tested], sources[tested], rng=rng)
    history, chosen = _history(outcome, per_epoch)
    return TrainedDetector(folder, history, chosen, metrics, len(kept), len(tested), outcome)


def held_out_groups(sources: npt.NDArray[np.int64], *, share: float, seed: int) -> Bools:
    """Rows to validate on: whole sources in seeded random order, until they hold `share` of the rows.

    Parameters
    ----------
    sources : array, shape (n,), in [0, number of sources)
    share : float in (0, 1)

    Returns
    -------
    array of bool, shape (n,)
    """
    sizes = np.bincount(sources)
    order = np.random.default_rng(seed).permutation(len(sizes))
    before = np.cumsum(sizes[order]) - sizes[order]
    chosen = np.zeros(len(sizes), dtype=bool)
    chosen[order[before < round(share * len(sources))]] = True
    return np.asarray(chosen[sources])


def weighted_f1(weights: npt.ArrayLike, called: npt.ArrayLike, machine: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """F1 of each class, averaged with the class sizes as weights (the published criterion).

    Parameters
    ----------
    weights : array_like, shape (b, n)
        Of each text, in b resamples at once.
    called, machine : array_like of bool, shape (n,)
        What the detector said, and what is so.

    Returns
    -------
    array, shape (b,), in [0, 1]
    """
    said, true = np.asarray(called, dtype=bool), np.asarray(machine, dtype=bool)
    cells = np.column_stack([said & true, said & ~true, ~said & true, ~said & ~true]).astype(np.float64)
    tp, fp, fn, tn = (np.asarray(weights, dtype=np.float64) @ cells).T
    scores = []
    for right, size in ((tp, tp + fn), (tn, tn + fp)):
        parts = 2 * right + fp + fn  # 0 only for a class that is not there, whose weight is 0 too
        scores.append(size * np.divide(2 * right, parts, out=np.zeros_like(parts), where=parts > 0))
    return np.asarray((scores[0] + scores[1]) / (tp + fp + fn + tn))


def _checked(texts: Sequence[str], labels: npt.ArrayLike, groups: Sequence[Any]) -> tuple[Bools, npt.NDArray[np.int64]]:
    """Labels as truth values and sources as numbers, after a look at all three."""
    given = np.asarray(labels)
    if not len(texts) == len(given) == len(groups):
        raise ValueError(f"{len(texts)} texts, {len(given)} labels and {len(groups)} groups: one of each a text is needed")
    if len(texts) < FEWEST_TEXTS:
        raise InputError(f"{len(texts)} texts are too few to train a detector on; it takes {FEWEST_TEXTS}, better thousands")
    if not np.isin(given, (0, 1)).all():
        raise InputError("labels must be 0 (written by people) or 1 (AI-generated)")
    empty = [row for row, text in enumerate(texts) if not text or not text.strip()]
    if empty:
        raise InputError(f"{len(empty)} texts are empty, the first in row {empty[0]}; leave them out")
    machine = given.astype(bool)
    if machine.all() or not machine.any():
        raise InputError(f"all texts are {LABELS[int(machine[0])]}; a detector learns from both kinds")
    # By name, not by place: the split must not depend on the order of the rows.
    return machine, np.unique(np.asarray(groups).astype(str), return_inverse=True)[1].astype(np.int64)


def _check_sides(machine: Bools, held_out: Bools) -> None:
    for side, rows in (("training", ~held_out), ("validation", held_out)):
        kinds = len(np.unique(machine[rows]))
        if kinds < 2:
            holds = "nothing" if kinds == 0 else f"only {LABELS[int(machine[rows][0])]} texts"
            raise InputError(
                f"the {side} side of the split holds {holds}: there are too few sources, or each has texts of one kind; give "
                "more sources, or another split_seed"
            )
    if held_out.mean() > 0.5:
        raise InputError("one source holds over half of the texts; give the texts finer groups")


def _metrics(called: Bools, machine: Bools, sources: npt.NDArray[np.int64], *, rng: np.random.Generator) -> dict[str, Estimate]:
    from assaymark.stats.resampling import bootstrap_statistic

    accuracy = _rate(called == machine, sources, rng=rng)
    f1 = bootstrap_statistic(
        [called, machine], weighted_f1, rng=rng, clusters=sources, takes_weights=True, confidence=0.95, unit="share"
    )
    return {
        "accuracy": accuracy,
        # Without an error both are 1, and a bootstrap sees no spread.
        "weighted_f1": accuracy if (called == machine).all() else f1,
        "sensitivity": _rate(called[machine], sources[machine], rng=rng),
        "false_positive_rate": _rate(called[~machine], sources[~machine], rng=rng),
    }


def _rate(hits: Bools, sources: npt.NDArray[np.int64], *, rng: np.random.Generator) -> Estimate:
    """Share of hits, sources resampled; at 0 or 1, where a bootstrap sees no spread, Wilson for that many sources."""
    from assaymark.stats.intervals import wilson
    from assaymark.stats.resampling import bootstrap_mean

    if hits.any() and not hits.all():
        return bootstrap_mean(hits.astype(np.float64), rng=rng, clusters=sources, unit="share")
    trials = len(np.unique(sources))
    return wilson(trials if hits.any() else 0, trials)


def _history(outcome: TrainingOutcome, per_epoch: int) -> tuple[tuple[Epoch, ...], int]:
    epochs = []
    for validation in outcome.validations:
        number = math.ceil(validation.step / per_epoch)
        losses = outcome.losses[(number - 1) * per_epoch : validation.step]
        epochs.append(Epoch(number, float(losses.mean()), -validation.value))
    return tuple(epochs), math.ceil((outcome.best_step or 0) / per_epoch)


def _moved(module: Any, device: str) -> Any:
    """The module where it was trained: texts of 4,096 tokens take minutes elsewhere."""
    import torch

    return module.to("cuda" if device != "cpu" and torch.cuda.is_available() else "cpu")


def _data_id(
    model: TrainsTexts,
    tokens: Sequence[npt.NDArray[np.int32]],
    machine: Bools,
    held_out: Bools,
    settings: DetectorSettings,
) -> str:
    """Hash of all that decides the result besides the loop's own settings."""
    state = blake2b(f"{model.fingerprint} {settings.batch_size} {settings.by_length}".encode(), digest_size=8)
    state.update(machine.tobytes() + held_out.tobytes())
    for sequence in tokens:
        state.update(len(sequence).to_bytes(4, "little") + sequence.tobytes())
    return state.hexdigest()
