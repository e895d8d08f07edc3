"""Pairs of image encoders: the same weights at the start, the same number of steps, and other items in one place."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import torch

from assaymark.errors import ConfigError, InputError
from assaymark.leave_out.recipes import EncoderRecipe
from assaymark.leave_out.split import content_digests
from assaymark.leave_out.trained_pair import Fitted, Steps, TrainedPair, train_built_in
from assaymark.models.encoder_architectures import new_encoder
from assaymark.models.trained_encoder import save_encoder
from assaymark.training.augmentation_spec import augmentation
from assaymark.training.loop import train
from assaymark.training.objectives import ssl_module
from assaymark.training.objectives.encoder_training import own_loss
from assaymark.training.objectives.nt_xent import pairs_found
from assaymark.training.order import TensorBatches
from assaymark.training.views import Views, views

__all__ = ["EncoderTrainer", "train_encoder_pair"]

_MEAN = _STD = (0.5, 0.5, 0.5)  # public code of Wang et al. (NeurIPS 2024)
_CHECKED, _TOGETHER = 1024, 256


def train_encoder_pair(
    pixels: torch.Tensor,
    *,
    ids: Sequence[str],
    sets: Sequence[str],
    labels: Sequence[Any] | None = None,
    recipe: EncoderRecipe | None = None,
    seed: int,
    folder: Path,
    device: str = "cpu",
    task: Steps | None = None,
) -> TrainedPair:
    """Two encoders, f on S and C, g on S and I, as `encoder:` files in a folder that says how they were trained.

    Parameters
    ----------
    pixels : tensor, shape (n, 3 or 1, side, side), uint8 or in [0, 1]; or vectors, shape (n, d), for architecture mlp
        In memory: a million pictures of 32 pixels take 3 GB.
    ids, sets : sequences of n str
        As `split_pool` gives them; "" is in no set.
    labels : sequence of n, optional
        For objective supervised.
    recipe : EncoderRecipe
        Default: SimCLR on a ResNet9 as published.
    seed : int
        Of first weights, data order and augmentation, the same for both.
    folder : Path
        Gets with.safetensors, without.safetensors, split.parquet and pair.json. A killed call is continued from its
        checkpoints and ends equal; a finished folder is returned as it is.
    device : {"cpu", "cuda", "auto"}
    task : progress task, optional
        Advanced by 1 a step, of both trainings.

    Returns
    -------
    TrainedPair
        `record["with"]["check"]` has the contrastive accuracy on items of S and of E, beside chance and an untrained encoder;
        a warning is given and recorded where the training shows no effect, since nothing can have been memorized then.

    Raises
    ------
    InputError
        Copies of one item are in different sets, or pictures that are not square.
    RunError
        The folder belongs to another pair.
    """
    trainer = EncoderTrainer(pixels, ids=ids, labels=labels, recipe=recipe or EncoderRecipe(), device=device, sets=sets)
    return train_built_in(trainer, ids=ids, sets=sets, contents=content_digests(pixels), seed=seed, folder=folder, task=task)


class EncoderTrainer:
    """Trains encoders of one recipe on items of one pool; called with ids and a seed it gives a model spec.

    Parameters
    ----------
    pixels, ids, labels, recipe, device
        See `train_encoder_pair`.
    sets : sequence of n str, optional
        Which items to check a model on: those of E, and as many of S.
    folder : Path, optional
        For models that are asked for by a call, under a name that their items and seed decide.
    """

    def __init__(
        self,
        pixels: torch.Tensor,
        *,
        ids: Sequence[str],
        labels: Sequence[Any] | None = None,
        recipe: EncoderRecipe,
        device: str = "cpu",
        sets: Sequence[str] | None = None,
        folder: Path | None = None,
    ) -> None:
        self._pixels, self._ids, self._recipe, self._device, self._folder = _checked(pixels), list(ids), recipe, device, folder
        self._rows = {one: row for row, one in enumerate(ids)}
        self._spec = augmentation(recipe.augmentation)
        self._labels, self._classes = _numbered(labels, recipe)
        letters = sets if sets is not None else [""] * len(ids)
        self._checked_on = {
            name: sorted(one for one, letter in zip(ids, letters, strict=True) if letter == set_)[:_CHECKED]
            for name, set_ in (("shared", "S"), ("external", "E"))
        }

    def identity(self) -> dict[str, Any]:
        contents = dict(zip(self._ids, content_digests(self._pixels), strict=True))
        data = blake2b(b"".join(one.encode() + contents[one] for one in sorted(contents)), digest_size=16)
        if self._labels is not None:
            data.update(self._labels[[self._rows[one] for one in sorted(contents)]].numpy().tobytes())
        return {
            "kind": "encoder",
            "recipe": self._recipe.as_dict(),
            "augmentation": self._spec.as_dict(),
            "data": data.hexdigest(),
        }

    def steps(self, rows: int) -> int:
        return self._recipe.epochs * max(rows // self._recipe.batch, 1)

    def __call__(self, ids: Sequence[str], seed: int) -> str:
        if self._folder is None:
            raise ConfigError("this trainer was given no folder for models that are asked for by a call; give it one")
        name = blake2b("\0".join([str(seed), *ids]).encode(), digest_size=8).hexdigest()
        out = self._folder / name
        if not out.with_suffix(".safetensors").is_file():
            self.fit(ids, seed=seed, out=out, checkpoints=out, steps=self.steps(len(ids)), task=None)
            shutil.rmtree(out)
        return f"encoder:{out.with_suffix('.safetensors')}"

    def fit(self, ids: Sequence[str], *, seed: int, out: Path, checkpoints: Path, steps: int, task: Steps | None) -> Fitted:
        recipe = self._recipe
        encoder = new_encoder(recipe.architecture, seed=seed, **self._architecture_options())
        before = self._check(encoder, seed=seed)
        options = dict(recipe.objective_options) | ({"classes": self._classes} if recipe.objective == "supervised" else {})
        if self._pixels.ndim == 4:
            options |= {"mean": _MEAN, "std": _STD}
        module = ssl_module(encoder, recipe.objective, dimension=encoder.dimension, seed=seed, **options)
        rows = torch.tensor([self._rows[one] for one in ids])
        tensors = [self._pixels[rows]] + ([self._labels[rows]] if module.labelled and self._labels is not None else [])
        outcome = train(
            module,
            own_loss,
            TensorBatches(*tensors, size=recipe.batch, seed=seed, drop_last=True),
            steps=steps,
            optimiser=recipe.optimiser,
            lr=recipe.lr,
            weight_decay=recipe.weight_decay,
            schedule=recipe.schedule,
            warmup=recipe.warmup,
            augment=Views(self._spec, module.views),
            seed=seed,
            device=self._device,
            checkpoints=checkpoints,
            every=max(steps // 10, 1),
            task=task,
        )
        check = {
            name: {**found, "untrained": before[name]["accuracy"]}
            for name, found in self._check(module.encoder, seed=seed).items()
        }
        facts = {
            "recipe": recipe.as_dict(),
            "augmentation": self._spec.as_dict(),
            "seed": seed,
            "items": len(ids),
            "steps": steps,
        }
        pictures = self._pixels.ndim == 4
        path = out.with_suffix(".safetensors")
        save_encoder(
            path, module.encoder, mean=_MEAN if pictures else (0, 0, 0), std=_STD if pictures else (1, 1, 1), facts=facts
        )
        return Fitted(f"encoder:{path}", outcome.losses, {"check": check}, _doubts(check, recipe))

    def _architecture_options(self) -> dict[str, Any]:
        given = {"input_size": self._pixels.shape[-1]} if self._pixels.ndim == 4 else {"inputs": self._pixels.shape[1]}
        return {**given, **self._recipe.architecture_options}

    def _check(self, encoder: Any, *, seed: int) -> dict[str, dict[str, float]]:
        """Contrastive accuracy of representations on shared and external items, in evaluation mode."""
        return {name: self._pairs_found(encoder, ids, seed=seed) for name, ids in self._checked_on.items() if len(ids) > 1}

    def _pairs_found(self, encoder: Any, ids: Sequence[str], *, seed: int) -> dict[str, float]:
        device, was_training = next(encoder.parameters()).device, encoder.training
        encoder.eval()
        found, chances = [], []
        parts = np.array_split(np.array([self._rows[one] for one in ids]), -(-len(ids) // _TOGETHER))
        with torch.inference_mode():
            for rows in parts:
                pixels, keys = self._pixels[torch.from_numpy(rows)].to(device), [self._ids[row] for row in rows]
                both = [views(pixels, ids=keys, draw=draw, seed=seed, spec=self._spec) for draw in (0, 1)]
                if pixels.ndim == 4:
                    both = [(view - 0.5) / 0.5 for view in both]
                found.append(float(pairs_found(encoder(both[0]), encoder(both[1]))) * len(rows))
                chances.append(len(rows) / (2 * len(rows) - 1))
        encoder.train(was_training)
        return {"accuracy": sum(found) / len(ids), "chance": sum(chances) / len(ids), "n": len(ids)}


def _checked(pixels: torch.Tensor) -> torch.Tensor:
    if pixels.ndim == 2:
        return pixels.float()
    if pixels.ndim != 4 or pixels.shape[1] not in (1, 3) or pixels.shape[2] != pixels.shape[3]:
        shape = tuple(pixels.shape)
        raise InputError(f"pictures have shape {shape}; (n, 3 or 1, side, side) is needed: resize them to squares of one size")
    return pixels.expand(-1, 3, -1, -1)


def _numbered(labels: Sequence[Any] | None, recipe: EncoderRecipe) -> tuple[torch.Tensor | None, int]:
    """Labels as whole numbers from 0, and how many there are."""
    if labels is None:
        if recipe.objective == "supervised":
            raise ConfigError("objective supervised needs labels, and there are none; name their column, or use simclr")
        return None, 0
    names, numbers = np.unique(np.asarray(labels), return_inverse=True)
    return torch.from_numpy(numbers.astype(np.int64)), len(names)


def _doubts(check: dict[str, dict[str, float]], recipe: EncoderRecipe) -> tuple[str, ...]:
    """What speaks against a training long enough to have stored anything. Masked autoencoders never learn to find views."""
    found = check.get("external", check.get("shared"))
    if found is None or recipe.objective in ("mae", "supervised"):
        return ()
    accuracy, untrained, chance = found["accuracy"], found["untrained"], found["chance"]
    error = 2 * (accuracy * (1 - accuracy) / found["n"]) ** 0.5
    if accuracy >= 1 or accuracy > max(untrained, chance) + error:
        return ()
    return (
        f"the encoder is hardly trained: it finds {accuracy:.0%} of the views of unseen items, before it {untrained:.0%} "
        f"(chance {chance:.1%}); give it more epochs ({recipe.epochs}) before measuring memory",
    )
