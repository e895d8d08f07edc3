"""A small CLIP for the demonstration: real transformers classes, a few seconds of contrastive training, saved to disk.

It knows coloured shapes and nothing else. That is enough to send pictures through the very path that a published encoder
takes: save, load by spec, decode, embed, cache, retrieve.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from assaymark.models.small_clip import new_clip, save_clip, tokens_of, uint8_pixels

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


class _KindBatches:
    """All captions in each batch, each with one of its pictures: the contrastive target is the identity."""

    def __init__(self, pool: Any, tokens: tuple[Any, Any], *, seed: int) -> None:
        self._pool, self._tokens, self._seed = pool, tokens, seed  # pool: (kinds, POOL, 3, side, side)
        self.steps_per_epoch = POOL

    def at(self, step: int, *, rank: int = 0, world: int = 1) -> tuple[Any, ...]:
        import torch

        kinds = torch.arange(len(self._pool))
        drawn = np.random.default_rng([self._seed, step, rank]).integers(0, POOL, size=len(kinds))
        return self._pool[kinds, torch.from_numpy(drawn)], *self._tokens, torch.eye(len(kinds), dtype=torch.bool)


def train_encoder(folder: Path, *, seed: int, steps: int = 320) -> float:
    """Train the encoder on drawn pictures, save it to `folder`, and return its accuracy on 200 new pictures."""
    import torch

    from assaymark.training.dual_encoder import fit_dual_encoder

    # The tensors are tiny: a second thread costs more in waiting than it gives.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    rng = np.random.default_rng(seed)
    kinds = list(itertools.product(COLOURS, SHAPES))
    captions = [f"a photo of a {colour} {shape}" for colour, shape in kinds]
    clip = new_clip(captions, side=SIDE, seed=seed)
    tokens = tokens_of(clip, captions)
    drawn = [draw_picture(kind[0], kind[1], rng) for kind in kinds for _ in range(POOL)]
    pool = uint8_pixels(clip, drawn).view(len(kinds), POOL, 3, SIDE, SIDE)
    scale = {"mean": clip.images.image_mean, "std": clip.images.image_std}
    fit_dual_encoder(clip.model, _KindBatches(pool, tokens, seed=seed), **scale, steps=steps, lr=4.5e-3, seed=seed)
    save_clip(clip, folder)
    truth = rng.integers(0, len(kinds), size=200)
    with torch.inference_mode():
        new = clip.images([draw_picture(kinds[i][0], kinds[i][1], rng) for i in truth], return_tensors="pt").pixel_values
        logits = clip.model(input_ids=tokens[0], attention_mask=tokens[1], pixel_values=new).logits_per_image
    torch.set_num_threads(threads)
    return float((logits.argmax(dim=1).numpy() == truth).mean())
