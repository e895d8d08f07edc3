"""Planted experiments on the method: exact arrays, a small world that is trained on, the same world with nothing left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.audit import Trial
from assaymark.audits.clip_memorization.method.alignment import ClipMem, HeldOutMeans, alignment, clip_memorization
from assaymark.audits.clip_memorization.method.detection import recall_at
from assaymark.audits.clip_memorization.small_world import (
    FULL,
    TINY,
    Encoded,
    Sizes,
    Training,
    World,
    encode,
    small_world,
    train_encoder,
    world_memory,
)
from assaymark.result import Estimate
from assaymark.stats import bootstrap_difference, bootstrap_statistic, newcombe, roc_auc

__all__ = ["Trained", "method_trials", "regimes_of", "trained_pair"]

DELTA, DIMENSION, ITEMS = 0.3, 64, 400
SURE = 0.997
"""Three standard errors, as the null experiment asks."""


class Trained(NamedTuple):
    """A pair of encoders of one world: CLIPMem of its pairs, sets and wrong captions of these, and both encoders."""

    memory: ClipMem
    sets: npt.NDArray[Any]
    wrong: npt.NDArray[np.bool_]
    f: Encoded
    g: Encoded

    def raw(self, letter: str) -> npt.NDArray[np.float64]:
        return np.asarray(self.memory.raw[self.sets == letter])


def method_trials(seed: int, *, full: bool = False) -> Sequence[Trial]:
    """Exactness (P2), the trained world (P1), nothing left out (P3), removal (P4); with `full` also several captions."""
    sizes = FULL if full else TINY
    world = small_world(seed, sizes)
    training = Training(epochs=sizes.epochs, seed=seed)
    one = trained_pair(world, training)
    trials = [exact_trial(seed), *_trained_trials(one, seed), _null_trial(world, one, training, seed)]
    return [*trials, *(_caption_trials(world, one, training, seed) if full else ())]


def exact_trial(seed: int) -> Trial:
    """P2: pairs whose cosine is higher by a known amount under f; raw CLIPMem is that amount."""
    rng = np.random.default_rng([seed, 0xE])
    u, across = (rng.standard_normal((ITEMS, DIMENSION)) for _ in range(2))
    u /= np.linalg.norm(u, axis=1, keepdims=True)
    across -= (across * u).sum(axis=1, keepdims=True) * u
    across /= np.linalg.norm(across, axis=1, keepdims=True)
    base, means = rng.uniform(-0.3, 0.3, ITEMS), HeldOutMeans(np.zeros(DIMENSION), np.zeros(DIMENSION))
    sets = np.where(np.arange(ITEMS) < ITEMS // 4, "C", "E")

    def caption(cosine: Any) -> Any:
        return (cosine[:, None] * u + np.sqrt(1 - cosine**2)[:, None] * across)[:, None]

    f, g = (alignment(u[:, None], caption(base + more), means=means) for more in (DELTA * (sets == "C"), 0.0 * base))
    raw = clip_memorization(f, g, sets=sets, views=1).raw[sets == "C"]
    largest = float(np.abs(raw - DELTA).max())
    value = float(raw.mean())
    return Trial(
        "P2: known difference", DELTA, Estimate(value, value - 1e-6 - largest, value + 1e-6 + largest, len(raw), "exact")
    )


def trained_pair(world: World, training: Training) -> Trained:
    """f (on S and C) and g (on S and I) of a world, from the same first weights."""
    f, g = (encode(world, train_encoder(world, letters, training), training) for letters in ("SC", "SI"))
    own = world.rows("SCIE")
    return Trained(world_memory(world, f, g), world.sets[own], world.wrong[own], f, g)


def _trained_trials(found: Trained, seed: int) -> list[Trial]:
    rng = np.random.default_rng([seed, 1])
    candidates, external, independent = (found.raw(letter) for letter in "CEI")
    wrong = found.wrong[found.sets == "C"]
    gap = bootstrap_difference(candidates[wrong], candidates[~wrong], rng=rng)
    depth = int(wrong.sum())
    return [
        Trial("1: candidates above external pairs", 0.0, bootstrap_difference(candidates, external, rng=rng), "above"),
        Trial("1: independent pairs below external ones", 0.0, bootstrap_difference(independent, external, rng=rng), "below"),
        Trial("2: wrong captions above right ones", 0.0, gap, "above"),
        Trial("2: AUC of wrong captions", 0.5, roc_auc(candidates, wrong), "above"),
        Trial("P4: wrong captions in the top", depth / len(wrong), recall_at(candidates, wrong, depth=depth), "above"),
    ]


def _null_trial(world: World, one: Trained, training: Training, seed: int) -> Trial:
    """P3: f against another training on the same pairs. Both saw C and neither saw E: the offset must not look like memory."""
    other = replace(training, seed=seed + 1_000_000)
    again = encode(world, train_encoder(world, "SC", other), other)
    memory = world_memory(world, one.f, again)
    rng = np.random.default_rng([seed, 2])
    raw = [memory.raw[one.sets == letter] for letter in "CE"]
    return Trial("P3: nothing left out", 0.0, bootstrap_difference(*raw, rng=rng, confidence=SURE))


def _caption_trials(world: World, one: Trained, training: Training, seed: int) -> list[Trial]:
    several = Training(captions=5, epochs=training.epochs, seed=training.seed)
    five = trained_pair(world, several)
    rng = np.random.default_rng([seed, 3])
    before, after = (pair.raw("C") - pair.raw("E").mean() for pair in (one, five))
    fall = bootstrap_statistic((before, after), lambda a, b: 1 - b.mean() / a.mean(), rng=rng)
    hits = [(float(pair.f.zero_shot.value or 0.0) * pair.f.zero_shot.n, pair.f.zero_shot.n) for pair in (five, one)]
    return [
        Trial("5: five captions lower CLIPMem by this share", 0.4, fall, "above"),
        Trial("5: five captions raise zero-shot accuracy", 0.0, newcombe(*hits[0], *hits[1]), "above"),
    ]


def regimes_of(seed: int, sizes: Sizes, *, pictures: tuple[int, ...] = (1, 5)) -> dict[str, Trained]:
    """One or five pictures with one or five captions, the same number of steps (table 1 of the paper)."""
    world = small_world(seed, sizes, pictures=max(pictures))
    regimes = {f"{shown} x {captions}": (shown, captions) for shown in pictures for captions in (1, 5)}
    return {
        name: trained_pair(world, Training(captions, shown, epochs=sizes.epochs, seed=seed))
        for name, (shown, captions) in regimes.items()
    }
