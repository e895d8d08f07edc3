"""Train a small dual encoder on captioned pictograms and say what it can do, with intervals.

    python examples/train_pictogram_encoder.py FOLDER OUT              # minutes on two cores, no network
    python examples/train_pictogram_encoder.py FOLDER OUT --steps 200  # for a look

FOLDER holds images_32.npz (array "images", n x 32 x 32 x 3, uint8) and captions.jsonl (one object a picture, in the same order,
with "name" and "keywords"). Each keyword is a caption of its picture. Afterwards `hf:OUT` is an encoder for any audit that
wants one: it knows pictograms and the words of their captions, and nothing about photographs.
"""

from __future__ import annotations

import argparse
import json
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from assaymark.console import progress_for
from assaymark.models import open_model
from assaymark.models.small_clip import SmallClip, new_clip, save_clip, tokens_of, uint8_pixels
from assaymark.stats.intervals import wilson
from assaymark.training.augment import Augmentation
from assaymark.training.dual_encoder import fit_dual_encoder
from assaymark.training.pair_batches import PairBatches

SEED = 0
NEW_PICTURES = 0.1
FIRST = (1, 5, 10)


class Split(NamedTuple):
    """`captions` are learnt; `held_out` is one keyword of each picture that others have too, or ""."""

    learnt: np.ndarray
    new: np.ndarray
    captions: list[list[str]]
    held_out: list[str]


def read(folder: Path) -> tuple[list[Image.Image], list[list[str]]]:
    images = np.load(folder / "images_32.npz", allow_pickle=False)["images"]
    rows = [json.loads(line) for line in (folder / "captions.jsonl").read_text(encoding="utf-8").splitlines()]
    captions = [list(dict.fromkeys(text.lower() for text in (row["name"], *row["keywords"]))) for row in rows]
    return [Image.fromarray(image) for image in images], captions


def split(captions: list[list[str]], rng: np.random.Generator) -> Split:
    order = rng.permutation(len(captions))
    cut = max(1, round(NEW_PICTURES * len(captions)))
    learnt, new = np.sort(order[cut:]), np.sort(order[:cut])
    times: dict[str, int] = {}
    for picture in learnt:
        for caption in captions[picture]:
            times[caption] = times.get(caption, 0) + 1
    kept, held_out = [], []
    for picture in learnt:
        shared = [caption for caption in captions[picture][1:] if times[caption] > 1]
        out = str(rng.choice(shared)) if len(shared) > 1 else ""
        times[out] = times.get(out, 0) - 1  # so that every caption stays with a picture that is learnt
        kept.append([caption for caption in captions[picture] if caption != out])
        held_out.append(out)
    return Split(learnt, new, kept, held_out)


def train(pictures: list[Image.Image], captions: list[list[str]], out: Path, *, steps: int) -> SmallClip:
    clip = new_clip([c for own in captions for c in own], side=32, seed=SEED, hidden=96, layers=3, dimension=64)
    pixels, tokens = uint8_pixels(clip, pictures), partial(tokens_of, clip)
    batches = PairBatches(pixels, captions, tokens=tokens, size=min(128, len(pictures)), seed=SEED)
    with progress_for(quiet=False).task("training an encoder", steps, "steps") as task:
        outcome = fit_dual_encoder(
            clip.model,
            batches,
            mean=clip.images.image_mean,
            std=clip.images.image_std,
            steps=steps,
            lr=2e-3,
            seed=SEED,
            clip=1.0,
            augment=Augmentation(padding=3, flip=False, jitter=0.2),  # mirrored, an arrow means something else
            task=task,
        )
    save_clip(clip, out)
    print(f"loss {outcome.losses[:20].mean():.2f} at first, {outcome.losses[-20:].mean():.2f} at the end ({steps} steps)")
    return clip


def embed_all(model: Any, items: list[Any], method: str) -> np.ndarray:
    return np.concatenate([getattr(model, method)(items[i : i + 256]) for i in range(0, len(items), 256)])


def evaluate(model: Any, pictures: list[Image.Image], captions: list[list[str]], parts: Split) -> None:
    """Three questions, each beside what is reached without looking at the picture.

    The contrastive objective learns how much likelier a caption is with this picture than with others, log p(c | x) / p(c). To
    rank captions of different frequency, log p(c) belongs to it: cosines alone bring rare captions forward.
    """
    drawn: dict[str, float] = {}
    for caption, share in ((caption, 1 / len(own)) for own in parts.captions for caption in own):
        drawn[caption] = drawn.get(caption, 0.0) + share
    known = sorted(drawn)
    number = {caption: i for i, caption in enumerate(known)}
    prior = np.log([drawn[caption] / len(parts.captions) for caption in known])
    images = embed_all(model, pictures, "embed_images")
    cosines = images @ embed_all(model, known, "embed_texts").T  # (pictures, known captions)
    rankings = {"cosine": cosines, "cosine and frequency": model.logit_scale * cosines + prior}
    rankings["frequency alone"] = np.broadcast_to(prior, cosines.shape)

    print(f"\nA keyword held out of a picture that was learnt, among {len(known):,} captions (the picture's others set aside)")
    for name, scores in rankings.items():
        ranks = []
        for row, picture in enumerate(parts.learnt):
            if parts.held_out[row] in number:
                others = [number[caption] for caption in parts.captions[row]]
                ranks.append(rank(np.delete(scores[picture], others), scores[picture, number[parts.held_out[row]]]))
        report(name, ranks)

    print(f"\nA new picture: the best of its own captions among {len(known):,}")
    for name, scores in rankings.items():
        known_own = {p: [number[caption] for caption in captions[p] if caption in number] for p in parts.new}
        report(name, [rank(scores[p], scores[p, own].max()) for p, own in known_own.items() if own])

    print(f"\nA new picture among {len(parts.new)}, by its keywords (mean of their embeddings)")
    texts = np.stack([embed_all(model, captions[picture], "embed_texts").mean(axis=0) for picture in parts.new])
    report("cosine", [rank(row, row[i]) for i, row in enumerate(texts @ images[parts.new].T)])
    print("  by chance: " + ", ".join(f"{min(1.0, first / len(parts.new)):.1%} in the first {first}" for first in FIRST))


def rank(scores: np.ndarray, score: float) -> float:
    """How many of the scores, which include this one, are better; ties count half, so that equal scores earn nothing."""
    return float((scores > score).sum() + ((scores == score).sum() - 1) / 2)


def report(name: str, ranks: list[float]) -> None:
    print(f"  {name}")
    for first in FIRST:
        print(f"    in the first {first:>2}: {wilson(sum(r < first for r in ranks), len(ranks))}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Train a small dual encoder on captioned pictograms.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=900)
    arguments = parser.parse_args()
    pictures, captions = read(arguments.folder)
    parts = split(captions, np.random.default_rng(SEED))
    train([pictures[i] for i in parts.learnt], parts.captions, arguments.out, steps=arguments.steps)
    evaluate(open_model(f"hf:{arguments.out.resolve()}"), pictures, captions, parts)


if __name__ == "__main__":
    main()
