"""Small dual encoders from scratch: a two-tower CLIP of transformers for any captioned pictures, saved in its layout.

The tokenizer knows whole words, those of the captions it is made from. `hf:FOLDER` opens the result like a published encoder.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["SPECIAL", "SmallClip", "new_clip", "save_clip", "square_pixels", "tokens_of", "uint8_pixels"]

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

    vocabulary = {word: i for i, word in enumerate((*SPECIAL, *sorted(_words(captions))))}
    shape = {"hidden_size": hidden, "intermediate_size": 2 * hidden, "num_hidden_layers": layers, "num_attention_heads": heads}
    text = {**shape, "vocab_size": len(vocabulary), "max_position_embeddings": text_length, "projection_dim": dimension}
    text |= {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3}
    vision = {**shape, "image_size": side, "patch_size": patch, "projection_dim": dimension}
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=dimension))
    return SmallClip(model, _image_processor(side), _tokenizer(vocabulary, text_length))


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
    return _resized(clip.images, pictures)


def square_pixels(pictures: Sequence[Image], *, side: int) -> Any:
    """The same for an encoder of that side which is not made yet: the shorter side resized, the middle cut out."""
    return _resized(_image_processor(side), pictures)


def _resized(images: Any, pictures: Sequence[Image]) -> Any:
    import torch

    given = [picture.convert("RGB") for picture in pictures]
    pixels = images(given, do_rescale=False, do_normalize=False, return_tensors="pt").pixel_values
    return pixels.round().clamp(0, 255).to(torch.uint8)


def _image_processor(side: int) -> Any:
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    return CLIPImageProcessorPil(size={"shortest_edge": side}, crop_size={"height": side, "width": side})


def tokens_of(clip: SmallClip, captions: Sequence[str]) -> tuple[Any, Any]:
    """Token ids and attention mask, shape (n, longest) each."""
    tokens = clip.tokenizer(list(captions), padding=True, truncation=True, return_tensors="pt")
    return tokens.input_ids, tokens.attention_mask


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
