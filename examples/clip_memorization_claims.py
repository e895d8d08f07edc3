"""The claims about CLIPMem in a small world of coloured shapes: what each training remembers, and what it is good for.

    python examples/clip_memorization_claims.py            # a tiny world, seconds
    python examples/clip_memorization_claims.py 11 12 13   # the full one, minutes a seed: the figures of docs/papers.md

The audit clip-memorization measures any pair of models so; `assaymark calibrate clip-memorization` runs the tiny world.
"""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np

from assaymark.audits.clip_memorization.method.detection import detections
from assaymark.audits.clip_memorization.small_world import FULL, TINY, Sizes, Training, encode, small_world, train_encoder
from assaymark.audits.clip_memorization.small_world import world_memory as memory_of
from assaymark.audits.clip_memorization.trials import Trained, regimes_of, trained_pair

COLUMNS = ("S", "C", "I", "E", "raw C", "C - E", "wrong", "right", "zero-shot")
HEAD = f"{'training':22}" + "".join(f"{name:>10}" for name in COLUMNS) + "  AUC of wrong captions"


def show(name: str, found: Trained) -> None:
    means = [found.memory.normalised[found.sets == letter].mean() for letter in "SCIE"]
    raw, wrong = found.raw("C"), found.wrong[found.sets == "C"]
    rows = found.sets == "C"
    scores = {"CLIPMem": raw, "model": -found.f.alignment.pair[rows], "reference": -found.g.alignment.pair[rows]}
    areas = ", ".join(f"{one.detector} {one.auc.value:.2f}" for one in detections(scores, wrong))
    numbers = (*means, raw.mean(), raw.mean() - found.raw("E").mean(), raw[wrong].mean(), raw[~wrong].mean())
    cells = "".join(f"{value:10.3f}" for value in (*numbers, found.f.zero_shot.value))
    print(f"{name:22}{cells}  {areas}", flush=True)


def null(seed: int, sizes: Sizes) -> None:
    """Two trainings on the same pairs: whatever is found is chance."""
    world, training = small_world(seed, sizes), Training(epochs=sizes.epochs, seed=seed)
    first, second = (replace(training, seed=number) for number in (seed, seed + 1_000_000))
    f, g = (encode(world, train_encoder(world, "SC", one), one) for one in (first, second))
    raw, sets = memory_of(world, f, g).raw, world.sets[world.rows("SCIE")]
    c, e = raw[sets == "C"], raw[sets == "E"]
    error = np.sqrt(c.var(ddof=1) / len(c) + e.var(ddof=1) / len(e))
    print(f"nothing left out: C - E = {c.mean() - e.mean():.3f}, standard error {error:.3f}", flush=True)


def removal(seed: int, sizes: Sizes, one: Trained) -> None:
    """The top 15 % of the candidates: wrong captions among them, and the model trained without them."""
    world, training = small_world(seed, sizes), Training(epochs=sizes.epochs, seed=seed)
    raw, wrong, own = one.raw("C"), one.wrong[one.sets == "C"], world.rows("C")
    top = np.argsort(-raw)[: round(0.15 * len(raw))]
    at_random = np.random.default_rng(seed).choice(len(raw), size=len(top), replace=False)
    print(f"top 15 % hold {wrong[top].sum() / wrong.sum():.0%} of the wrong captions", flush=True)
    for name, taken in (("most remembered", top), ("random", at_random)):
        dropped = replace(training, drop=frozenset(own[taken].tolist()))
        accuracy = encode(world, train_encoder(world, "SC", dropped), dropped).zero_shot
        print(f"without {len(top)} {name}: zero-shot {accuracy.value:.3f}", flush=True)


def main(seeds: list[int], sizes: Sizes) -> None:
    for seed in seeds:
        print(f"\nseed {seed}\n{HEAD}")
        counts = (1, 5) if sizes is FULL else (1,)
        regimes = regimes_of(seed, sizes, pictures=counts)
        for name, found in regimes.items():
            show(f"{name} (pictures x captions)"[:22], found)
        for sigma in (0.05, 0.15, 0.3) if sizes is FULL else ():
            noisy = Training(text_noise=sigma, epochs=sizes.epochs, seed=seed)
            show(f"text noise {sigma:g}", trained_pair(small_world(seed, sizes), noisy))
        null(seed, sizes)
        if sizes is FULL:
            removal(seed, sizes, trained_pair(small_world(seed, sizes), Training(epochs=sizes.epochs, seed=seed)))


if __name__ == "__main__":
    given = [int(one) for one in sys.argv[1:]]
    main(given or [11], FULL if given else TINY)
