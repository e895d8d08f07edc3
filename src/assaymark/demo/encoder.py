"""A small CLIP for the demonstration: real transformers classes, a few seconds of contrastive training, saved to disk.

It knows coloured shapes and nothing else. That is enough to send pictures through the very path that a published encoder
takes: save, load by spec, decode, embed, cache, retrieve.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

if TYPE_CHECKING:
    from transformers import CLIPModel, PreTrainedTokenizerFast
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

__all__ = ["COLOURS", "SHAPES", "draw_picture", "train_encoder"]

SIDE = 32
POOL = 40
"""Pictures drawn of each kind for training."""
COLOURS = {
    "red": (214, 39, 40),
    "green": (44, 160, 44),
    "blue": (31, 119, 180),
    "yellow": (230, 200, 30),
    "purple": (148, 80, 189),
    "grey": (120, 120, 120),
}
SHAPES = ("circle", "square", "triangle", "stripe")
WORDS = ("a", "photo", "of", *COLOURS, *SHAPES)


def draw_picture(colour: str, shape: str, rng: np.random.Generator, *, side: int = SIDE) -> Image.Image:
    """A coloured shape at a random place and size on a light, noisy ground, `side` x `side` pixels, RGB."""
    ground = rng.integers(215, 256, size=(side, side, 3), dtype=np.uint8)
    picture = Image.fromarray(ground)
    pen = ImageDraw.Draw(picture)
    size = int(rng.integers(side * 6 // 10, side * 9 // 10))
    x, y = (int(v) for v in rng.integers(0, side - size + 1, size=2))
    fill = tuple(int(np.clip(c + rng.integers(-18, 19), 0, 255)) for c in COLOURS[colour])
    box = (x, y, x + size, y + size)
    if shape == "circle":
        pen.ellipse(box, fill=fill)
    elif shape == "square":
        pen.rectangle(box, fill=fill)
    elif shape == "triangle":
        pen.polygon([(x, y + size), (x + size, y + size), (x + size // 2, y)], fill=fill)
    else:
        pen.rectangle((x, y + size // 3, x + size, y + 2 * size // 3), fill=fill)
    return picture


def new_model() -> tuple[CLIPModel, CLIPImageProcessorPil, PreTrainedTokenizerFast]:
    """Untrained CLIP with two small transformers, its image processor, and a tokenizer that knows the words of the demo."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import CLIPConfig, CLIPModel, PreTrainedTokenizerFast
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    vocabulary = {word: i for i, word in enumerate(("<pad>", "<unk>", "<start>", "<end>", *WORDS))}
    tokens = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokens.pre_tokenizer = pre_tokenizers.Whitespace()
    tokens.post_processor = processors.TemplateProcessing(
        single="<start> $A <end>", special_tokens=[("<start>", vocabulary["<start>"]), ("<end>", vocabulary["<end>"])]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=tokens,
        bos_token="<start>",
        eos_token="<end>",
        pad_token="<pad>",
        unk_token="<unk>",
        model_max_length=12,
    )
    shape = {"hidden_size": 48, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4, "projection_dim": 32}
    text = {
        **shape,
        "vocab_size": len(vocabulary),
        "max_position_embeddings": 12,
        "pad_token_id": 0,
        "bos_token_id": 2,
        "eos_token_id": 3,
    }
    vision = {**shape, "image_size": SIDE, "patch_size": 8}
    model = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=32))
    crop = {"height": SIDE, "width": SIDE}
    return model, CLIPImageProcessorPil(size={"shortest_edge": SIDE}, crop_size=crop), tokenizer


def train_encoder(folder: Path, *, seed: int, steps: int = 320) -> float:
    """Train the encoder on drawn pictures, save it to `folder`, and return its accuracy on 200 new pictures.

    All 24 captions are in each batch, so the contrastive target is the identity (InfoNCE, Radford et al. 2021).
    """
    import torch
    from transformers.utils import logging

    logging.disable_progress_bar()
    torch.manual_seed(seed)
    # The tensors are tiny: a second thread costs more in waiting than it gives.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    rng = np.random.default_rng(seed)
    model, images, tokenizer = new_model()
    captions = [f"a photo of a {colour} {shape}" for colour, shape in itertools.product(COLOURS, SHAPES)]
    kinds = list(itertools.product(COLOURS, SHAPES))
    tokens = tokenizer(captions, padding=True, return_tensors="pt")
    drawn = [draw_picture(kind[0], kind[1], rng) for kind in kinds for _ in range(POOL)]
    pool = images(drawn, return_tensors="pt").pixel_values.view(len(kinds), POOL, 3, SIDE, SIDE)
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=3e-3, total_steps=steps)
    model.train()
    for _ in range(steps):
        pixels = pool[torch.arange(len(kinds)), torch.from_numpy(rng.integers(0, POOL, size=len(kinds)))]
        loss = model(**tokens, pixel_values=pixels, return_loss=True).loss
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    model.eval()
    model.save_pretrained(folder)
    images.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    torch.set_num_threads(threads)
    truth = rng.integers(0, len(kinds), size=200)
    with torch.inference_mode():
        pixels = images([draw_picture(kinds[i][0], kinds[i][1], rng) for i in truth], return_tensors="pt").pixel_values
        logits = model(**tokens, pixel_values=pixels).logits_per_image
    return float((logits.argmax(dim=1).numpy() == truth).mean())
