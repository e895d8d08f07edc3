"""Pairs of dual encoders, with the mitigations that are options of a training or changes of its data."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import torch

from assaymark.errors import ConfigError, InputError
from assaymark.leave_out.recipes import ClipRecipe
from assaymark.leave_out.split import content_digests
from assaymark.leave_out.trained_pair import Fitted, Steps, TrainedPair, train_built_in
from assaymark.models.small_clip import SPECIAL, SmallClip, new_clip, save_clip, tokens_of
from assaymark.training.augmentation_spec import augmentation
from assaymark.training.dual_encoder import fit_dual_encoder, pair_loss
from assaymark.training.keyed_draws import item_keys
from assaymark.training.pair_batches import PairBatches
from assaymark.training.views import Views, views

__all__ = ["ClipTrainer", "train_clip_pair"]

_CHECKED = 256
_HELD_BACK = 0.1  # of the shared pairs, where patience decides when to stop


def train_clip_pair(
    pixels: torch.Tensor,
    *,
    captions: Sequence[Sequence[str]],
    ids: Sequence[str],
    sets: Sequence[str],
    recipe: ClipRecipe | None = None,
    drop: Collection[str] = (),
    recaption: Mapping[str, Sequence[str]] | None = None,
    seed: int,
    folder: Path,
    device: str = "cpu",
    task: Steps | None = None,
) -> TrainedPair:
    """Two dual encoders, f on S and C, g on S and I, in folders that `hf:` opens.

    Parameters
    ----------
    pixels : tensor, shape (n, 3, side, side) or (n, variants, 3, side, side), uint8
        Variants are seen in turn by epoch (`ClipRecipe.images_per_caption` of them).
    captions : sequence of n sequences of str, none empty
    ids, sets : sequences of n str
        As `split_pool` gives them: split by picture, never by caption.
    recipe : ClipRecipe
    drop : collection of str
        Ids that neither model trains on (M4 of [1]); they are in no set of the result.
    recaption : mapping of id to captions, optional
        In the place of their own (M5).
    seed, folder, device, task
        See `encoder_trainer.train_encoder_pair`; the models are folders here.

    Returns
    -------
    TrainedPair
        `record["with"]["check"]` has the contrastive accuracy (mean of both directions) on pairs of S and of E, and chance.

    References
    ----------
    .. [1] Wang et al. Captured by captions: On memorization and its mitigation in CLIP models. ICLR 2025.
    """
    for one in (*drop, *(recaption or ())):
        if one not in set(ids):
            raise InputError(f"id {one!r}, to be dropped or captioned anew, is not in the pool")
    texts = [list((recaption or {}).get(one, own)) for one, own in zip(ids, captions, strict=True)]
    letters = ["" if one in drop else letter for one, letter in zip(ids, sets, strict=True)]
    trainer = ClipTrainer(pixels, captions=texts, ids=ids, sets=letters, recipe=recipe or ClipRecipe(), device=device)
    contents = content_digests(pixels)
    return train_built_in(trainer, ids=ids, sets=letters, contents=contents, seed=seed, folder=folder, task=task)


class ClipTrainer:
    """Trains dual encoders of one recipe on pairs of one pool; called with ids and a seed it gives a model spec.

    All models know the words of all captions of the pool, so that they have one architecture. Parameters are those of
    `train_clip_pair`; `folder` is for models that are asked for by a call.
    """

    def __init__(
        self,
        pixels: torch.Tensor,
        *,
        captions: Sequence[Sequence[str]],
        ids: Sequence[str],
        recipe: ClipRecipe,
        device: str = "cpu",
        sets: Sequence[str] | None = None,
        folder: Path | None = None,
    ) -> None:
        if (
            pixels.ndim not in (4, 5)
            or pixels.shape[-3] != 3
            or pixels.shape[-1] != pixels.shape[-2]
            or pixels.is_floating_point()
        ):
            shape = tuple(pixels.shape)
            raise InputError(
                f"pictures have shape {shape}; uint8 of shape (n, 3, side, side) is needed: resize them to squares"
            )
        if len(captions) != len(pixels) or not all(captions):
            raise InputError(f"{len(pixels)} pictures need as many lists of captions, and none of them empty")
        self._pixels, self._captions, self._ids = pixels, [list(own) for own in captions], list(ids)
        self._recipe, self._device, self._folder = recipe, device, folder
        self._rows = {one: row for row, one in enumerate(ids)}
        self._sets = dict(zip(ids, sets if sets is not None else [""] * len(ids), strict=True))
        self._spec = augmentation(recipe.augmentation)

    def identity(self) -> dict[str, Any]:
        contents = content_digests(self._pixels)
        data = blake2b(digest_size=16)
        for one in sorted(self._ids):
            data.update(
                b"\0".join([one.encode(), contents[self._rows[one]], *map(str.encode, self._captions[self._rows[one]])])
            )
        augmentations = {"augmentation": self._spec.as_dict()}
        return {"kind": "clip", "recipe": self._recipe.as_dict(), **augmentations, "data": data.hexdigest()}

    def steps(self, rows: int) -> int:
        return self._recipe.epochs * max(rows // self._recipe.batch, 1)

    def __call__(self, ids: Sequence[str], seed: int) -> str:
        if self._folder is None:
            raise ConfigError("this trainer was given no folder for models that are asked for by a call; give it one")
        out = self._folder / blake2b("\0".join([str(seed), *ids]).encode(), digest_size=8).hexdigest()
        if not out.is_dir():
            checkpoints = out.with_name(f"{out.name}-training")
            self.fit(ids, seed=seed, out=out, checkpoints=checkpoints, steps=self.steps(len(ids)), task=None)
            shutil.rmtree(checkpoints)
        return f"hf:{out}"

    def fit(self, ids: Sequence[str], *, seed: int, out: Path, checkpoints: Path, steps: int, task: Steps | None) -> Fitted:
        recipe, clip = self._recipe, self._untrained(seed)
        scale = {"mean": clip.images.image_mean, "std": clip.images.image_std}
        held_back = self._held_back() if recipe.patience is not None else frozenset()
        learnt = [one for one in ids if one not in held_back]
        outcome = fit_dual_encoder(
            clip.model,
            self._batches(clip, learnt, seed=seed),
            **scale,
            text_noise=recipe.text_noise,
            renormalise=recipe.renormalise,
            token_masking=recipe.token_masking,
            blank=SPECIAL.index("<unk>"),
            kept=[SPECIAL.index(mark) for mark in ("<pad>", "<start>", "<end>")],
            steps=steps,
            lr=recipe.lr,
            weight_decay=recipe.weight_decay,
            schedule=recipe.schedule,
            warmup=recipe.warmup,
            clip=recipe.clip,
            augment=Views(self._spec, count=1),
            validate=self._validation(clip, sorted(held_back)[:_CHECKED]) if held_back else None,
            validate_every=max(steps // recipe.epochs, 1) if held_back else None,
            patience=recipe.patience,
            seed=seed,
            device=self._device,
            checkpoints=checkpoints,
            every=max(steps // 10, 1),
            task=task,
        )
        if task is not None:
            task.advance(steps - outcome.steps)
        check = self._check(clip)
        _save_whole(clip, out)
        facts = {"check": check, "stopped_early": outcome.stopped_early, "best_step": outcome.best_step}
        return Fitted(f"hf:{out}", outcome.losses, facts, (*self._unfit_captions(clip), *_doubts(check, recipe)))

    def _untrained(self, seed: int) -> SmallClip:
        recipe = self._recipe
        shape = {name: getattr(recipe, name) for name in ("patch", "hidden", "layers", "heads", "dimension", "text_length")}
        clip = new_clip([text for own in self._captions for text in own], side=self._pixels.shape[-1], seed=seed, **shape)
        clip.model.logit_scale.data.fill_(math.log(1 / recipe.temperature))
        clip.model.logit_scale.requires_grad_(recipe.learn_temperature)
        return clip

    def _batches(self, clip: SmallClip, ids: Sequence[str], *, seed: int) -> PairBatches:
        rows = [self._rows[one] for one in ids]
        return PairBatches(
            self._variants(ids, seed=seed),
            [self._captions[row] for row in rows],
            tokens=partial(tokens_of, clip),
            size=self._recipe.batch,
            seed=seed,
            choice=self._recipe.captions,
        )

    def _variants(self, ids: Sequence[str], *, seed: int) -> torch.Tensor:
        """Pictures, or several of each: those given, or the picture and fixed strong changes of it."""
        pixels, wanted = self._pixels[[self._rows[one] for one in ids]], self._recipe.images_per_caption
        if pixels.ndim == 5:
            if pixels.shape[1] < wanted:
                raise ConfigError(
                    f"images_per_caption is {wanted}; the pictures come in {pixels.shape[1]} variants: use as many"
                )
            return pixels[:, :wanted] if wanted > 1 else pixels[:, 0]
        if wanted == 1:
            return pixels
        spec, keys = augmentation(self._recipe.variant_augmentation), item_keys(ids)
        made = [views(pixels, ids=keys, draw=number, seed=seed, spec=spec) for number in range(1, wanted)]
        return torch.stack([pixels, *((one * 255).round().to(torch.uint8) for one in made)], dim=1)

    def _held_back(self) -> frozenset[str]:
        shared = sorted(one for one, letter in self._sets.items() if letter == "S")
        keys = {one: blake2b(one.encode(), digest_size=8).digest() for one in shared}
        return frozenset(sorted(shared, key=keys.__getitem__)[: max(round(_HELD_BACK * len(shared)), 2)])

    def _first_captions(self, clip: SmallClip, ids: Sequence[str]) -> tuple[torch.Tensor, ...]:
        """Pictures with their first captions, as one batch of `fit_dual_encoder`."""
        rows = [self._rows[one] for one in ids]
        texts = [self._captions[row][0] for row in rows]
        fit = torch.tensor([[text in self._captions[row] for text in texts] for row in rows])
        pixels = self._pixels[rows]
        return (pixels[:, 0] if pixels.ndim == 5 else pixels, *tokens_of(clip, texts), fit)

    def _validation(self, clip: SmallClip, ids: Sequence[str]) -> Callable[[Any], float]:
        batch, scale = self._first_captions(clip, ids), {"mean": clip.images.image_mean, "std": clip.images.image_std}
        return lambda model: float(pair_loss(model, tuple(part.to(model.device) for part in batch), **scale))

    def _check(self, clip: SmallClip) -> dict[str, dict[str, float]]:
        """Contrastive accuracy among at most 256 pairs of S and of E, in evaluation mode."""
        found = {}
        for name, set_ in (("shared", "S"), ("external", "E")):
            ids = sorted(one for one, letter in self._sets.items() if letter == set_)[:_CHECKED]
            if len(ids) > 1:
                found[name] = _accuracy(clip, self._first_captions(clip, ids))
        return found

    def _unfit_captions(self, clip: SmallClip) -> list[str]:
        """What is lost of the captions: those that are cut, and pictures without the several that were asked for."""
        texts = list(dict.fromkeys(text for own in self._captions for text in own))
        lengths = np.array([len(ids) for ids in clip.tokenizer(texts).input_ids])
        longest, kept, pictures = int(lengths.max()), self._recipe.text_length, len(self._captions)
        said = []
        cut = int((lengths > kept).sum())
        if cut:
            said.append(
                f"{cut} of {len(texts)} captions are cut after {kept - 2} words; text_length {longest} keeps them whole"
            )
        single = sum(len(set(own)) == 1 for own in self._captions)
        if self._recipe.captions != "one" and single:
            said.append(
                f"{single} of {pictures} pictures have one caption only; captions={self._recipe.captions} leaves them as is"
            )
        return said


def _accuracy(clip: SmallClip, batch: tuple[torch.Tensor, ...]) -> dict[str, float]:
    pixels, ids, mask, fit = batch
    mean, std = (torch.tensor(values)[:, None, None] for values in (clip.images.image_mean, clip.images.image_std))
    model = clip.model.eval()
    with torch.inference_mode():
        given = {"input_ids": ids, "attention_mask": mask, "pixel_values": (pixels.float() / 255.0 - mean) / std}
        cosines = model(**given).logits_per_image
    by_picture = fit.gather(1, cosines.argmax(dim=1, keepdim=True)).float().mean()
    by_caption = fit.gather(0, cosines.argmax(dim=0, keepdim=True)).float().mean()
    return {"accuracy": float(by_picture + by_caption) / 2, "chance": float(fit.float().mean()), "n": len(pixels)}


def _doubts(check: Mapping[str, Mapping[str, float]], recipe: ClipRecipe) -> tuple[str, ...]:
    """Near chance on unseen pairs nothing was learnt that others share; near chance on its own, nothing at all."""
    found = check.get("shared")
    if found is None or found["accuracy"] > found["chance"] + 3 * math.sqrt(found["chance"] / found["n"]):
        return ()
    accuracy, chance, n = found["accuracy"], found["chance"], found["n"]
    return (
        f"the encoder is hardly trained: it finds {accuracy:.0%} of {n:.0f} pairs that it has seen (chance {chance:.1%}); "
        f"give it more epochs ({recipe.epochs}) before measuring memory",
    )


def _save_whole(clip: SmallClip, out: Path) -> None:
    """The folder is there completely, or not at all."""
    part = out.with_name(f"{out.name}.part")
    for leftover in (part, out):
        shutil.rmtree(leftover, ignore_errors=True)
    save_clip(clip, part)
    os.replace(part, out)
