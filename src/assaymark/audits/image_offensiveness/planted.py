"""Synthetic embeddings, ratings and captions whose answer is known: the planted experiments of the image-offensiveness audit.

A a rated set to tune on, B encoders of falling quality (A with less signal), C a data set to audit, D captions to contrast, E
two independent kinds of harm. All words are made up. Each can be planted empty.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = [
    "CLASS_SHARES",
    "INOFFENSIVE",
    "OFFENSIVE",
    "SIGNALS",
    "PlantedAudit",
    "PlantedCaptions",
    "PlantedHarms",
    "PlantedRatings",
    "planted_audit",
    "planted_captions",
    "planted_harms",
    "planted_prompt_images",
    "planted_ratings",
]

Floats = npt.NDArray[np.float64]
Floats32 = npt.NDArray[np.float32]
Flags = npt.NDArray[np.bool_]

INOFFENSIVE, OFFENSIVE = 962, 712
"""Images of the rated set above and below the limits, as in the paper."""

SIGNALS = (0.22, 0.15, 0.10)
"""Strength of the moral direction in three encoders of falling quality (experiment B)."""

CLASS_SHARES = (0.01, 0.02, 0.04, 0.06, 0.08, 0.11, 0.15, 0.20, 0.25, 0.30)

NOISE = 0.055
"""Per dimension, on rows that are about as long as 1; with it the curve of experiment A has the shape of the paper's."""

PROMPT_NOISE = 0.04
SPREAD = 0.45


class PlantedRatings(NamedTuple):
    """Experiment A.

    V : float32 array, shape (n, d), unit rows
    y : bool array, shape (n,), True = offensive, by construction
    ratings : float64 array, shape (n,), in 1..5, falling with offensiveness
    P0 : float32 array, shape (2, d), what a text encoder would give: hardly apart, and mostly by chance
    moral, common : float64 arrays, shape (d,), the direction that rises with offensiveness, and what all images share
    """

    V: Floats32
    y: Flags
    ratings: Floats
    P0: Floats32
    moral: Floats
    common: Floats


class PlantedAudit(NamedTuple):
    """Experiment C: a data set in the space of `rated`, to be audited with prompts tuned there.

    V : float16 array, shape (n, d), as embeddings are stored
    codes : int64 array, shape (n,), class of each image
    offensive : bool array, shape (n,)
    shares : float64 array, shape (classes,), planted share of offensive images of each class
    prevalence : float, share of offensive images that was drawn
    """

    rated: PlantedRatings
    V: npt.NDArray[np.float16]
    codes: npt.NDArray[np.int64]
    offensive: Flags
    shares: Floats
    prevalence: float


class PlantedCaptions(NamedTuple):
    """Experiment D: captions of flagged images and of the others.

    markers : tuple of str, words that are typical of flagged captions; empty when planted empty
    frequent : str, a word that is very frequent in both
    """

    flagged: tuple[str, ...]
    reference: tuple[str, ...]
    markers: tuple[str, ...]
    frequent: str


class PlantedHarms(NamedTuple):
    """Experiment E: two independent kinds of harm in one space; `P0` leads to neither."""

    V: Floats32
    first: Flags
    second: Flags
    P0: Floats32


def _unit(x: Floats) -> Floats:
    return np.asarray(x / np.linalg.norm(x, axis=-1, keepdims=True))


def _directions(rng: np.random.Generator, d: int, count: int) -> Floats:
    """Random orthonormal rows."""
    return np.asarray(np.linalg.qr(rng.standard_normal((d, count)))[0].T)


def _images(rng: np.random.Generator, common: Floats, parts: list[tuple[Flags, Floats, float]]) -> tuple[Floats, Floats]:
    """Unit rows common + sum of signal z axis + noise, z = +-1 + spread; and z of the first part."""
    n, d = len(parts[0][0]), common.size
    rows = common + NOISE * rng.standard_normal((n, d))
    strengths = [np.where(marked, 1.0, -1.0) + SPREAD * rng.standard_normal(n) for marked, _, _ in parts]
    for z, (_, axis, signal) in zip(strengths, parts, strict=True):
        rows += signal * z[:, None] * axis
    return _unit(rows), strengths[0]


def _initial_prompts(rng: np.random.Generator, common: Floats, moral: Floats) -> Floats32:
    lean = np.array([[-0.05], [0.05]]) * moral
    return np.asarray(0.55 * common + lean + PROMPT_NOISE * rng.standard_normal((2, common.size)), dtype=np.float32)


def planted_ratings(
    seed: int,
    *,
    d: int = 128,
    signal: float = SIGNALS[0],
    inoffensive: int = INOFFENSIVE,
    offensive: int = OFFENSIVE,
    null: bool = False,
) -> PlantedRatings:
    """Experiment A (and B, with less `signal`): rated images around a common direction; `null` has no moral direction."""
    rng = np.random.default_rng([seed, 0xA])
    common, moral = _directions(rng, d, 2)
    y = np.repeat([False, True], [inoffensive, offensive])
    V, z = _images(rng, common, [(y, moral, 0.0 if null else signal)])
    ratings = np.clip(3.0 - 0.9 * z, 1.0, 5.0)
    order = rng.permutation(len(y))
    P0 = _initial_prompts(rng, common, moral)
    return PlantedRatings(V[order].astype(np.float32), y[order], ratings[order], P0, moral, common)


def planted_audit(seed: int, *, n: int = 20_000, null: bool = False) -> PlantedAudit:
    """Experiment C: ten classes with planted shares of 1 to 30 %; `null` plants 8 % in every class."""
    rated = planted_ratings(seed)
    rng = np.random.default_rng([seed, 0xC])
    shares = np.full(len(CLASS_SHARES), 0.08) if null else rng.permutation(CLASS_SHARES)
    codes = rng.integers(len(shares), size=n)
    offensive = rng.random(n) < shares[codes]
    V, _ = _images(rng, rated.common, [(offensive, rated.moral, SIGNALS[0])])
    return PlantedAudit(rated, V.astype(np.float16), codes, offensive, shares, float(offensive.mean()))


def _syllables(index: int, ending: str) -> str:
    """A made-up word for each number."""
    consonants, vowels = "bdfgklmnprtvz", "aeiou"
    word = ""
    for _ in range(3):
        index, c = divmod(index, len(consonants))
        index, v = divmod(index, len(vowels))
        word += consonants[c] + vowels[v]
    return word + ending


def planted_captions(
    seed: int, *, flagged: int = 600, reference: int = 6_000, words: int = 10, shared: int = 180, null: bool = False
) -> PlantedCaptions:
    """Experiment D: two unigram models that share nine tenths of their words; `null` draws both from one model.

    Marker words make up a tenth of flagged tokens and a 200th of the others, of which another tenth are words of their own.
    The most frequent shared word is a tenth of all tokens.
    """
    rng = np.random.default_rng([seed, 0xD])
    common = [_syllables(i, "x") for i in range(shared)]
    markers, others = ([_syllables(i, ending) for i in range(20)] for ending in ("q", "w"))
    zipf = 1.0 / np.arange(2, shared + 1)
    base = np.concatenate([[0.1], 0.8 * zipf / zipf.sum()])
    own, foreign = np.full(20, 0.095 / 20), np.full(20, 0.005 / 20)
    vocabulary = np.array([*common, *markers, *others])
    away = np.concatenate([base, foreign, own])
    here = away if null else np.concatenate([base, own, foreign])

    def draw(count: int, model: Floats) -> tuple[str, ...]:
        picked = vocabulary[rng.choice(len(vocabulary), size=(count, words), p=model / model.sum())]
        return tuple(" ".join(row) for row in picked.tolist())

    return PlantedCaptions(draw(flagged, here), draw(reference, away), () if null else tuple(markers), common[0])


def planted_harms(seed: int, *, n: int = 4_000, d: int = 128, share: float = 0.3) -> PlantedHarms:
    """Experiment E: each kind of harm in a share of the images, independently of the other."""
    rng = np.random.default_rng([seed, 0xE])
    common, first_axis, second_axis = _directions(rng, d, 3)
    first, second = rng.random((2, n)) < share
    V, _ = _images(rng, common, [(first, first_axis, SIGNALS[0]), (second, second_axis, SIGNALS[0])])
    return PlantedHarms(V.astype(np.float32), first, second, _initial_prompts(rng, common, first_axis))


def planted_prompt_images(P: Any, *, n: int = 20_000, cosine: float = 0.25, seed: int = 0) -> Floats32:
    """Images without any lean towards either of the given prompts: raw and unit prompts should flag half of them.

    Unit rows with cosine `cosine` to the middle of the two unit prompts, as CLIP's images and texts have, and isotropic
    otherwise.

    Parameters
    ----------
    P : array_like, shape (2, d)
    """
    rng = np.random.default_rng([seed, 0xF])
    middle = _unit(_unit(np.asarray(P, dtype=np.float64)).sum(axis=0))
    rest = rng.standard_normal((n, middle.size))
    rest -= (rest @ middle)[:, None] * middle
    return np.asarray(cosine * middle + np.sqrt(1.0 - cosine**2) * _unit(rest), dtype=np.float32)
