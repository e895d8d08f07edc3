"""A small world of coloured shapes with captions, some of them wrong, and pairs of small dual encoders trained on it.

A picture is a shape (6) in a colour (6) in a corner (4), moved by a pixel and with noise; a caption is 8 tokens: a filler, a
word for the colour, the shape and the corner, each one of 4 synonyms, and 4 tokens that mean nothing. The concepts can be
learnt from what pairs share; what is left of a pair - its noise, its meaningless tokens, a wrong caption - can only be stored.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.audits.clip_memorization.method.alignment import Alignment, ClipMem, alignment, clip_memorization, held_out_means
from assaymark.audits.clip_memorization.method.utility import zero_shot_accuracy, zero_shot_classes
from assaymark.result import Estimate

__all__ = ["FULL", "TINY", "Encoded", "Sizes", "Training", "World", "encode", "small_world", "train_encoder", "world_memory"]

SHAPES, COLOURS, CORNERS, SYNONYMS, NUISANCE = 6, 6, 4, 4, 200
SIDE, WORD_GROUPS = 16, (1, COLOURS, SHAPES, CORNERS)
_WORDS = int(sum(WORD_GROUPS)) * SYNONYMS
VOCABULARY = _WORDS + NUISANCE


class Sizes(NamedTuple):
    """Pairs of each set and held-out pairs; epochs of a training."""

    shared: int
    candidates: int
    external: int
    tests: int
    epochs: int


FULL = Sizes(1_600, 400, 400, 1_000, 60)
TINY = Sizes(400, 100, 100, 200, 30)


class World(NamedTuple):
    """Pairs of all sets, then held-out ones (letter T).

    `pixels`: float, shape (n, pictures, 3, 16, 16), the second and later ones drawn from what the caption says, as a generator
    would; `tokens`: shape (n, captions, 8); `concept`: of the first picture, shape (n,); `wrong`.
    """

    pixels: npt.NDArray[np.float32]
    tokens: npt.NDArray[np.int64]
    concept: npt.NDArray[np.int64]
    wrong: npt.NDArray[np.bool_]
    sets: npt.NDArray[Any]

    def rows(self, letters: str) -> npt.NDArray[np.int64]:
        return np.flatnonzero(np.isin(self.sets, list(letters)))


@dataclass(frozen=True)
class Training:
    """How an encoder is trained: the mitigations that are options of a training."""

    captions: int = 1
    pictures: int = 1
    text_noise: float = 0.0
    epochs: int = 60
    seed: int = 0
    drop: frozenset[int] = field(default_factory=frozenset)


def small_world(seed: int, sizes: Sizes, *, captions: int = 5, pictures: int = 1, wrong_share: float = 0.15) -> World:
    """Pairs of all sets and held-out ones; 15 % of those that are trained on have the caption of another random concept."""
    rng = np.random.default_rng([seed, 0x5E0])
    counts = (sizes.shared, sizes.candidates, sizes.candidates, sizes.external, sizes.tests)
    sets = np.repeat(list("SCIET"), counts)
    n = len(sets)
    latent = np.stack([rng.integers(k, size=n) for k in (COLOURS, SHAPES, CORNERS)], axis=1)
    wrong = (rng.random(n) < wrong_share) & np.isin(sets, list("SCI"))
    told = np.where(wrong[:, None], np.stack([rng.integers(k, size=n) for k in (COLOURS, SHAPES, CORNERS)], axis=1), latent)
    wrong &= (told != latent).any(axis=1)
    tokens = _captions(told, captions, rng)
    drawn = [_pictures(latent, rng), *(_pictures(told, rng) for _ in range(pictures - 1))]
    return World(np.stack(drawn, axis=1), tokens, _number(latent), wrong, sets)


def _number(latent: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    return np.asarray((latent[:, 0] * SHAPES + latent[:, 1]) * CORNERS + latent[:, 2])


def _pictures(latent: npt.NDArray[np.int64], rng: np.random.Generator) -> npt.NDArray[np.float32]:
    shapes = _shapes()
    colours = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [1, 0, 1], [0, 1, 1]], np.float64)
    canvas = np.zeros((len(latent), 3, SIDE + 2, SIDE + 2))
    for row, (colour, shape, corner) in enumerate(latent):
        top, left = 1 + 7 * np.array(divmod(corner, 2)) + rng.integers(0, 3, size=2)
        canvas[row, :, top : top + 7, left : left + 7] = colours[colour][:, None, None] * shapes[shape]
    # In [0, 1] with room for the noise on both sides, so that clamping changes little.
    scaled = 0.3 + 0.4 * (canvas[:, :, 1:-1, 1:-1] + 0.25 * rng.standard_normal((len(latent), 3, SIDE, SIDE)))
    return np.clip(scaled, 0.0, 1.0).astype(np.float32)


def _shapes() -> npt.NDArray[np.float64]:
    """Square, frame, cross, diagonal cross, stripes and half, 7 x 7 each."""
    y, x = np.mgrid[:7, :7]
    frame = (np.minimum(y, x) == 0) | (np.maximum(y, x) == 6)
    drawn = (y >= 0, frame, (y == 3) | (x == 3), (y == x) | (y + x == 6), y % 2 == 0, x < 3)
    return np.stack(drawn).astype(np.float64)


def _captions(told: npt.NDArray[np.int64], captions: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Tokens: filler, colour, shape, corner by synonym, then 4 that mean nothing."""
    meant = np.concatenate([np.zeros((len(told), 1), np.int64), told], axis=1)
    starts = np.cumsum([0, *WORD_GROUPS[:-1]])
    synonym = rng.integers(SYNONYMS, size=(len(told), captions, 4))
    words = (starts + meant)[:, None, :] * SYNONYMS + synonym
    nuisance = _WORDS + rng.integers(NUISANCE, size=(len(told), captions, 4))
    return np.concatenate([words, nuisance], axis=2)


def _towers(seed: int) -> Any:
    """Convolutions for pictures, mean of token embeddings and a perceptron for captions, both to 32 dimensions."""
    import torch
    from torch import nn

    class Towers(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.images = nn.Sequential(
                nn.Conv2d(3, 24, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(24, 48, 3, stride=2, padding=1), nn.ReLU(),
                nn.Flatten(), nn.Linear(48 * 16, 64), nn.ReLU(), nn.Linear(64, 32),
            )  # fmt: skip
            self.words = nn.Embedding(VOCABULARY, 64)
            nn.init.normal_(self.words.weight, std=0.1)
            self.texts = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 32))
            self.scale = nn.Parameter(torch.tensor(np.log(1 / 0.07), dtype=torch.float32))

        def forward(self, pixels: Any, tokens: Any) -> tuple[Any, Any]:
            return self.images((pixels - 0.3) / 0.25), self.texts(self.words(tokens).mean(dim=1))

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Towers()


class _Batches:
    """Pixels and one caption of each of some pairs; number epoch mod captions, as in round-robin."""

    def __init__(self, world: World, rows: npt.NDArray[np.int64], training: Training) -> None:
        import torch

        from assaymark.training import TensorBatches

        tokens = torch.from_numpy(world.tokens[rows][:, : training.captions])
        pixels = torch.from_numpy(world.pixels[rows][:, : training.pictures])
        self._rows = TensorBatches(pixels, tokens, size=128, seed=training.seed, drop_last=True)
        self.steps_per_epoch = self._rows.steps_per_epoch

    def at(self, step: int, *, rank: int = 0, world: int = 1) -> tuple[Any, ...]:
        pixels, tokens = self._rows.at(step, rank=rank, world=world)
        epoch = step // self.steps_per_epoch
        return pixels[:, epoch % pixels.shape[1]], tokens[:, epoch % tokens.shape[1]]


def train_encoder(world: World, letters: str, training: Training) -> Any:
    """Both towers trained on the pairs of some sets, but for dropped ones."""
    from assaymark.training import train
    from assaymark.training.augmentation_spec import AugmentationSpec
    from assaymark.training.objectives.clip import contrastive_loss, similarities
    from assaymark.training.views import Views

    rows = np.setdiff1d(world.rows(letters), np.array(sorted(training.drop), dtype=np.int64))
    towers = _towers(training.seed)

    def objective(module: Any, batch: Any) -> Any:
        u, v = module(*batch)
        return contrastive_loss(similarities(u, v, module.scale, text_noise=training.text_noise))

    augment = Views(AugmentationSpec("small world", roll=1, noise=0.04), count=1)
    train(
        towers, objective, _Batches(world, rows, training), epochs=training.epochs, lr=2e-3, weight_decay=0.05,
        schedule="cosine", augment=augment, seed=training.seed,
    )  # fmt: skip
    return towers


class Encoded(NamedTuple):
    """Alignment of the pairs under one encoder, zero-shot accuracy over all concepts, and similarity of the pairs."""

    alignment: Alignment
    zero_shot: Estimate
    first_image: npt.NDArray[np.float64]
    first_text: npt.NDArray[np.float64]


def encode(world: World, towers: Any, training: Training, *, views: int = 10, seed: int = 0) -> Encoded:
    """Alignment of all pairs but the held-out ones, whose mean embeddings go into it."""
    import torch

    from assaymark.training.augmentation_spec import AugmentationSpec
    from assaymark.training.views import views as augmented

    spec = AugmentationSpec("small world", roll=1, noise=0.04)
    pixels, tokens = torch.from_numpy(world.pixels), torch.from_numpy(world.tokens)
    rng = np.random.default_rng([seed, 0x5E1])
    texts, pictures = (
        rng.integers(count, size=(len(pixels), views)) if count > 1 else np.zeros((len(pixels), 1), np.int64)
        for count in (training.captions, training.pictures)
    )
    with torch.inference_mode():
        ids = np.arange(len(pixels))
        shown = (pixels[ids, pictures[:, k % pictures.shape[1]]] for k in range(views))
        seen = (augmented(one, ids=ids, draw=k, seed=seed, spec=spec) for k, one in enumerate(shown))
        u = torch.stack([_unit(towers.images((one - 0.3) / 0.25)) for one in seen], dim=1)
        said = (tokens[ids, texts[:, k]] for k in range(texts.shape[1]))
        v = torch.stack([_unit(towers.texts(towers.words(one).mean(1))) for one in said], dim=1)
        clean = _unit(towers.images((pixels[:, 0] - 0.3) / 0.25)).numpy()
        prompts = _prompts(towers, rng)
    held, own = world.rows("T"), world.rows("SCIE")
    first = v[:, 0].numpy()
    means = held_out_means(clean[held], first[held])
    found = alignment(u.numpy()[own], v.numpy()[own], means=means)
    accuracy = zero_shot_accuracy(clean[held], zero_shot_classes(prompts), world.concept[held])
    return Encoded(found, accuracy, clean[own], first[own])


def _unit(rows: Any) -> Any:
    return rows / rows.norm(dim=1, keepdim=True)


def _prompts(towers: Any, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Eight captions of each of the 144 concepts, shape (144, 8, 32)."""
    import torch

    number = np.arange(COLOURS * SHAPES * CORNERS)
    latent = np.stack([number // (SHAPES * CORNERS), number // CORNERS % SHAPES, number % CORNERS], axis=1)
    tokens = torch.from_numpy(_captions(latent, 8, rng))
    rows = _unit(towers.texts(towers.words(tokens.flatten(0, 1)).mean(1)))
    return np.asarray(rows.reshape(len(number), 8, -1).numpy(), dtype=np.float64)


def world_memory(world: World, f: Encoded, g: Encoded, *, views: int = 10) -> ClipMem:
    """CLIPMem of all pairs of a world but the held-out ones, normalised as in the paper."""
    return clip_memorization(f.alignment, g.alignment, sets=world.sets[world.rows("SCIE")], views=views)
