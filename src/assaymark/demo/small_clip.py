"""Small dual encoders from scratch: a two-tower CLIP of transformers for any captioned pictures, saved in its layout.

The tokenizer knows whole words, those of the captions it is made from. `hf:FOLDER` opens the result like a published encoder.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.errors import ConfigError

if TYPE_CHECKING:
    from PIL.Image import Image

    from assaymark.audit import Task
    from assaymark.training import TrainingOutcome
    from assaymark.training.order import Batches

__all__ = ["PairBatches", "SmallClip", "fit_clip", "new_clip", "save_clip", "tokens_of", "uint8_pixels"]

SPECIAL = ("<pad>", "<unk>", "<start>", "<end>")
_WORD = re.compile(r"\w+|[^\w\s]+")  # how the Whitespace pre-tokenizer splits


class SmallClip(NamedTuple):
    """The three parts of a dual encoder, of transformers: CLIPModel, CLIPImageProcessorPil, PreTrainedTokenizerFast."""

    model: Any
    images: Any
    tokenizer: Any


def new_clip(
    captions: Iterable[str],
    *,
    side: int,
    seed: int,
    patch: int = 8,
    hidden: int = 48,
    layers: int = 2,
    heads: int = 4,
    dimension: int = 32,
    text_length: int = 12,
) -> SmallClip:
    """An untrained encoder for square pictures of `side` pixels and for the words of the captions, in small letters.

    Parameters
    ----------
    hidden, layers, heads : int
        Width and depth of both towers.
    dimension : int
        Of the common space.
    text_length : int
        Longest caption in words, start and end included; longer ones are cut.
    """
    import torch
    from transformers import CLIPConfig, CLIPModel
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    vocabulary = {word: i for i, word in enumerate((*SPECIAL, *sorted(_words(captions))))}
    shape = {"hidden_size": hidden, "intermediate_size": 2 * hidden, "num_hidden_layers": layers, "num_attention_heads": heads}
    text = {**shape, "vocab_size": len(vocabulary), "max_position_embeddings": text_length, "projection_dim": dimension}
    text |= {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3}
    vision = {**shape, "image_size": side, "patch_size": patch, "projection_dim": dimension}
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=dimension))
    crop = {"height": side, "width": side}
    images = CLIPImageProcessorPil(size={"shortest_edge": side}, crop_size=crop)
    return SmallClip(model, images, _tokenizer(vocabulary, text_length))


def fit_clip(
    clip: SmallClip,
    batches: Batches,
    *,
    steps: int,
    lr: float = 3e-3,
    seed: int,
    largest_gradient: float | None = None,
    augment: Any = None,
    device: str = "cpu",
    checkpoints: Path | None = None,
    task: Task | None = None,
) -> TrainingOutcome:
    """Train both towers with the contrastive objective.

    Parameters
    ----------
    batches : Batches
        Of tuples (pixels (n, 3, side, side), uint8 or in [0, 1]; token ids (m, length); attention mask (m, length); matches
        (n, m), bool: which captions fit which pictures), as `PairBatches` gives them.
    """
    import torch

    from assaymark.training import train
    from assaymark.training.contrastive import contrastive_loss

    mean, std = (torch.tensor(values)[:, None, None] for values in (clip.images.image_mean, clip.images.image_std))

    def objective(model: Any, batch: Any) -> Any:
        pixels, ids, mask, matches = batch
        scaled = pixels if pixels.is_floating_point() else pixels.float() / 255.0
        scaled = (scaled - mean.to(pixels.device)) / std.to(pixels.device)
        logits = model(input_ids=ids, attention_mask=mask, pixel_values=scaled).logits_per_image
        return contrastive_loss(logits, matches=matches)

    return train(
        clip.model,
        objective,
        batches,
        steps=steps,
        lr=lr,
        weight_decay=0.01,
        schedule="one-cycle",
        clip=largest_gradient,
        augment=augment,
        seed=seed,
        device=device,
        checkpoints=checkpoints,
        task=task,
    )


def save_clip(clip: SmallClip, folder: Path) -> None:
    """Write config, weights (safetensors), image processor and tokenizer, the layout that `hf:FOLDER` reads."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    for part in clip:
        part.save_pretrained(folder)
    if shown:
        logging.enable_progress_bar()


def uint8_pixels(clip: SmallClip, pictures: Sequence[Image]) -> Any:
    """Pictures as the encoder will see them, before scaling: tensor (n, 3, side, side), uint8."""
    import torch

    given = [picture.convert("RGB") for picture in pictures]
    pixels = clip.images(given, do_rescale=False, do_normalize=False, return_tensors="pt").pixel_values
    return pixels.round().clamp(0, 255).to(torch.uint8)


def tokens_of(clip: SmallClip, captions: Sequence[str]) -> tuple[Any, Any]:
    """Token ids and attention mask, shape (n, longest) each."""
    tokens = clip.tokenizer(list(captions), padding=True, truncation=True, return_tensors="pt")
    return tokens.input_ids, tokens.attention_mask


class PairBatches:
    """Distinct pictures, each with one of its captions drawn anew in every step.

    A caption may fit several pictures of a batch (many a picture is "happy"); `matches` says which, so that the objective does
    not push them apart.

    Parameters
    ----------
    pixels : tensor, shape (n, 3, side, side), uint8
    captions : sequence of n sequences of str, none empty
    """

    def __init__(self, clip: SmallClip, pixels: Any, captions: Sequence[Sequence[str]], *, size: int, seed: int) -> None:
        from assaymark.training import TensorBatches

        if not all(captions) or len(captions) != len(pixels):
            raise ConfigError(f"{len(pixels)} pictures need as many lists of captions, and none of them empty")
        unique = {caption: i for i, caption in enumerate(dict.fromkeys(c for own in captions for c in own))}
        self._numbers = np.array([unique[caption] for own in captions for caption in own])
        self._starts = np.cumsum([0, *map(len, captions)])
        pictures = np.repeat(np.arange(len(captions)), np.diff(self._starts))
        self._captions = len(unique)
        self._pairs = np.unique(pictures * self._captions + self._numbers)
        self._ids, self._mask = tokens_of(clip, list(unique))
        self._pixels, self._seed = pixels, seed
        # Contrast depends on the size of a batch, so the smaller one at the end is left out.
        self._rows = TensorBatches(pixels, size=size, seed=seed, drop_last=True)
        self.steps_per_epoch = self._rows.steps_per_epoch

    def at(self, step: int, *, rank: int = 0, world: int = 1) -> tuple[Any, ...]:
        import torch

        rows = self._rows.rows_at(step, rank=rank, world=world)
        draws = np.random.default_rng([self._seed, step, rank]).random(len(rows))
        first, count = self._starts[rows], self._starts[rows + 1] - self._starts[rows]
        chosen = self._numbers[first + (draws * count).astype(np.int64)]
        matches = torch.from_numpy(self._fit(rows, chosen))
        return self._pixels[torch.from_numpy(rows)], self._ids[chosen], self._mask[chosen], matches

    def _fit(self, rows: npt.NDArray[np.int64], captions: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        keys = rows[:, None] * self._captions + captions[None, :]
        place = np.minimum(np.searchsorted(self._pairs, keys), len(self._pairs) - 1)
        return np.asarray(self._pairs[place] == keys)


def _words(captions: Iterable[str]) -> set[str]:
    return {word for caption in captions for word in _WORD.findall(caption.lower())}


def _tokenizer(vocabulary: dict[str, int], longest: int) -> Any:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    tokens = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokens.normalizer = normalizers.Lowercase()
    tokens.pre_tokenizer = pre_tokenizers.Whitespace()
    ends = [(mark, vocabulary[mark]) for mark in ("<start>", "<end>")]
    tokens.post_processor = processors.TemplateProcessing(single="<start> $A <end>", special_tokens=ends)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokens,
        bos_token="<start>",
        eos_token="<end>",
        pad_token="<pad>",
        unk_token="<unk>",
        model_max_length=longest,
    )
