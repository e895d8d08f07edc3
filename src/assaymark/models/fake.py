"""`fake:kind?key=value` - scripted models with planted behaviour, for tests, calibration and demonstrations.

Answers depend on the content and the seed only: not on order, batch or process.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from assaymark.errors import ConfigError, ModelError, UnknownName
from assaymark.models.content import embedding_keys, image_keys, text_keys
from assaymark.models.spec import ModelSpec

if TYPE_CHECKING:
    from PIL.Image import Image

    from assaymark.models.opening import Loading

__all__ = [
    "COLOURS",
    "FakeCaptioner",
    "FakeDualEncoder",
    "FakeEmbeddingScorer",
    "FakeImageScorer",
    "FakeTextScorer",
    "open_fake",
    "spec_fingerprint",
]

Array = npt.NDArray[np.float32]

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (220, 30, 30),
    "green": (30, 170, 50),
    "blue": (40, 60, 220),
    "yellow": (240, 220, 40),
    "orange": (245, 140, 20),
    "purple": (140, 40, 170),
    "pink": (250, 160, 190),
    "brown": (120, 75, 40),
    "white": (250, 250, 250),
    "grey": (128, 128, 128),
    "black": (10, 10, 10),
}
"""Concepts that the fakes understand: colour word to RGB. Images and texts about one colour point the same way."""

_PATCHES = 4  # images are seen as 4 x 4 average colours
_SOFTNESS = 40.0  # RGB distance at which a colour counts exp(-1/2)
_OTHER_WORDS = 0.15  # weight of a word that names no colour, so that texts differ but point at their colour
_DETAIL = 0.05  # weight of the image's exact patches, so that two red images are not equal


def open_fake(spec: ModelSpec, loading: Loading | None = None) -> Any:
    from assaymark.models.fake_encoder import FakeMemorizingEncoder
    from assaymark.models.fake_generator import FakeGenerator
    from assaymark.models.fake_language import FakeSpanFiller, FakeTokenScorer  # it uses what is defined here
    from assaymark.models.fake_memorizing import FakeMemorizingDualEncoder

    kinds: dict[str, Any] = {
        "text-keywords": FakeTextScorer,
        "dual-encoder": FakeDualEncoder,
        "memorizing-dual-encoder": FakeMemorizingDualEncoder,
        "image-scorer": FakeImageScorer,
        "embedding-scorer": FakeEmbeddingScorer,
        "captioner": FakeCaptioner,
        "generator": FakeGenerator,
        "memorizing-encoder": FakeMemorizingEncoder,
        "token-scorer": FakeTokenScorer,
        "span-filler": FakeSpanFiller,
    }
    if spec.target not in kinds:
        raise _UnknownFake("fake model", spec.target, kinds, mend=f"(model {spec.text})")
    return kinds[spec.target](spec)


class _UnknownFake(UnknownName, ModelError):
    pass


def _planted(spec: ModelSpec, reserved: Sequence[str], default: dict[str, str]) -> dict[str, str]:
    """Options that plant something (label -> what triggers it): all but the reserved ones."""
    return {name: value for name, value in spec.options.items() if name not in reserved} or default


def spec_fingerprint(spec: ModelSpec) -> str:
    """Hash of what a fake was asked to be."""
    identity = repr(("fake", 1, spec.target, sorted(spec.options.items())))
    return blake2b(identity.encode(), digest_size=16).hexdigest()


def _uniform(keys: list[bytes], seed: int, purpose: str) -> npt.NDArray[np.float64]:
    """One number in [0, 1) for each content key, its own for each seed and purpose."""
    salt = f"{seed} {purpose} ".encode()
    digests = b"".join(blake2b(salt + key, digest_size=8).digest() for key in keys)
    return np.frombuffer(digests, dtype=">u8").astype(np.float64) / 2.0**64


class _PlantedScores:
    """Turn "it is there" into probabilities: about 0.9 where it is, about 0.1 where not, with the planted error rates.

    Options: `seed`, `noise` (width of the uniform noise, default 0.1), `sensitivity` and `specificity` (defaults 1): the
    probability that content with, or without, the trigger is scored on the right side of 0.5.
    """

    RESERVED = ("seed", "noise", "sensitivity", "specificity")

    def __init__(self, spec: ModelSpec) -> None:
        self.seed, self.noise = spec.integer("seed", 0), spec.number("noise", 0.1)
        self.sensitivity, self.specificity = spec.number("sensitivity", 1.0), spec.number("specificity", 1.0)
        if not (0 <= self.noise <= 0.2 and 0 <= self.sensitivity <= 1 and 0 <= self.specificity <= 1):
            raise ConfigError(f"model {spec.text}: noise must lie in [0, 0.2], sensitivity and specificity in [0, 1]")

    def __call__(self, present: npt.NDArray[np.bool_], keys: list[bytes], label: str) -> Array:
        right = _uniform(keys, self.seed, f"error {label}") < np.where(present, self.sensitivity, self.specificity)
        noise = (_uniform(keys, self.seed, f"noise {label}") - 0.5) * self.noise
        return (np.where(present == right, 0.9, 0.1) + noise).astype(np.float32)


class FakeTextScorer:
    """`fake:text-keywords?hateful=badword|worse&targeted=other`: a label is probable iff one of its words occurs.

    Whole words, without regard to case. See `_PlantedScores` for the other options.
    """

    multi_label = True

    def __init__(self, spec: ModelSpec) -> None:
        self.spec, self.fingerprint = spec.text, spec_fingerprint(spec)
        words = _planted(spec, _PlantedScores.RESERVED, {"unsafe": "badword"})
        self.labels = tuple(words)
        self._patterns = [_any_word(listed) for listed in words.values()]
        self._scores = _PlantedScores(spec)

    def score_texts(self, texts: Sequence[str]) -> Array:
        keys = text_keys(texts)
        scores = np.empty((len(texts), len(self.labels)), dtype=np.float32)
        for column, (label, pattern) in enumerate(zip(self.labels, self._patterns, strict=True)):
            present = np.fromiter((bool(pattern.search(text or "")) for text in texts), dtype=bool, count=len(texts))
            scores[:, column] = self._scores(present, keys, label)
        scores[[not (text or "").strip() for text in texts]] = np.nan
        return scores


def _any_word(listed: str) -> re.Pattern[str]:
    return re.compile(r"(?<!\w)(?:" + "|".join(map(re.escape, listed.split("|"))) + r")(?!\w)", re.IGNORECASE)


class FakeDualEncoder:
    """`fake:dual-encoder?dimension=32&seed=0`: images and texts about the same colour are near.

    An image is the mean over its patches of the directions of their colours, a text the sum of the directions of its colour
    words; other words turn it a little. `concepts=nurse:red,doctor:blue` makes further words mean a colour: a planted
    association.
    """

    def __init__(self, spec: ModelSpec) -> None:
        spec.check_options(("dimension", "seed", "concepts", "logit_scale"))
        self.spec, self.fingerprint = spec.text, spec_fingerprint(spec)
        self.dimension, self._seed = spec.integer("dimension", 32), spec.integer("seed", 0)
        self.logit_scale = spec.number("logit_scale", 100.0)
        if self.dimension < len(COLOURS):
            raise ConfigError(f"model {spec.text}: dimension must be at least {len(COLOURS)}")
        self._directions = colour_directions(self.dimension, self._seed)
        self._concepts = {word: word for word in COLOURS} | _concepts(spec)

    def embed_images(self, images: Sequence[Image]) -> Array:
        patches = _patch_colours(images)  # (n, patches, 3)
        rng = np.random.default_rng([self._seed, 1])
        detail = rng.normal(size=(_PATCHES**2 * 3, self.dimension)) / np.sqrt(_PATCHES**2 * 3)
        flat = patches.reshape(len(patches), _PATCHES**2 * 3) / 255.0
        return _unit(_colour_shares(patches).mean(axis=1) @ self._directions + _DETAIL * flat @ detail)

    def embed_texts(self, texts: Sequence[str]) -> Array:
        vectors = np.zeros((len(texts), self.dimension))
        order = list(COLOURS)
        for row, text in enumerate(texts):
            for word in re.findall(r"\w+", (text or "").lower()) or [""]:
                colour = self._concepts.get(word)
                if colour is not None:
                    vectors[row] += self._directions[order.index(colour)]
                else:
                    vectors[row] += _OTHER_WORDS * _word_direction(word, self.dimension, self._seed)
        return _unit(vectors)


class FakeImageScorer:
    """`fake:image-scorer?unsafe=red&drawing=blue`: a label is probable iff most of the image has its colour."""

    multi_label = True

    def __init__(self, spec: ModelSpec) -> None:
        self.spec, self.fingerprint = spec.text, spec_fingerprint(spec)
        self._colours = _known_colours(spec, _planted(spec, _PlantedScores.RESERVED, {"unsafe": "red"}))
        self.labels = tuple(self._colours)
        self._scores = _PlantedScores(spec)

    def score_images(self, images: Sequence[Image]) -> Array:
        shares = _colour_shares(_patch_colours(images)).mean(axis=1)
        keys = image_keys(images)
        columns = [self._scores(shares[:, _index(colour)] > 0.5, keys, label) for label, colour in self._colours.items()]
        return np.stack(columns, axis=1)


class FakeEmbeddingScorer:
    """`fake:embedding-scorer?dimension=32&seed=0&unsafe=red`: scores embeddings of the fake dual encoder.

    That is of the one with the same dimension and seed. A label is probable iff the cosine with the direction of its colour
    is over 0.6.
    """

    multi_label = True

    def __init__(self, spec: ModelSpec) -> None:
        self.spec, self.fingerprint = spec.text, spec_fingerprint(spec)
        reserved = (*_PlantedScores.RESERVED, "dimension")
        self._colours = _known_colours(spec, _planted(spec, reserved, {"unsafe": "red"}))
        self.labels, self.dimension = tuple(self._colours), spec.integer("dimension", 32)
        self._scores = _PlantedScores(spec)
        self._directions = colour_directions(self.dimension, self._scores.seed)

    def score_embeddings(self, embeddings: Array) -> Array:
        cosines = embeddings @ self._directions.T  # (n, colours)
        keys = embedding_keys(embeddings)
        columns = [self._scores(cosines[:, _index(colour)] > 0.6, keys, label) for label, colour in self._colours.items()]
        return np.stack(columns, axis=1)


class FakeCaptioner:
    """`fake:captioner?red=knife|smoke&seed=0`: captions that name the main colour of an image.

    Option `COLOUR=word|word` plants words: each caption of an image of that colour names one of them too, drawn by content,
    seeds, temperature and number of the sample. At temperature 0 all captions of an image are equal.
    """

    _NOUNS = ("square", "sheet", "wall", "field", "cloth")

    def __init__(self, spec: ModelSpec) -> None:
        self.spec, self.fingerprint = spec.text, spec_fingerprint(spec)
        self._seed = spec.integer("seed", 0)
        spec.check_options(("seed", *COLOURS))
        self._words = {colour: spec.options[colour].split("|") for colour in COLOURS if spec.options.get(colour)}

    def caption_images(
        self,
        images: Sequence[Image],
        *,
        prompt: str = "A picture of",
        temperature: float = 0.4,
        samples: int = 5,
        seed: int = 0,
    ) -> list[list[str]]:
        if not images:
            return []
        colours = [list(COLOURS)[index] for index in _colour_shares(_patch_colours(images)).mean(axis=1).argmax(axis=1)]
        drawn = [
            _uniform(image_keys(images), self._seed, f"{prompt} {temperature} {sample if temperature else 0} {seed}")
            for sample in range(samples)
        ]
        return [[self._caption(colour, numbers[row]) for numbers in drawn] for row, colour in enumerate(colours)]

    def _caption(self, colour: str, drawn: float) -> str:
        # One number draws both: its leading part the noun, the rest the planted word.
        place = drawn * len(self._NOUNS)
        planted = self._words.get(colour, [])
        tail = f" with a {planted[int(place % 1 * len(planted))]}" if planted else ""
        return f"a {colour} {self._NOUNS[int(place)]}{tail}"


def colour_directions(dimension: int, seed: int) -> npt.NDArray[np.float64]:
    """Orthonormal rows, one for each of `COLOURS`; shape (n_colours, dimension)."""
    square = np.random.default_rng([seed, 0]).normal(size=(dimension, len(COLOURS)))
    return np.linalg.qr(square)[0].T


@lru_cache(maxsize=100_000)
def _word_direction(word: str, dimension: int, seed: int) -> npt.NDArray[np.float64]:
    number = int.from_bytes(blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")
    vector = np.random.default_rng([seed, 2, number]).normal(size=dimension)
    return vector / np.linalg.norm(vector)


def _patch_colours(images: Sequence[Image]) -> npt.NDArray[np.float64]:
    from PIL.Image import Resampling

    side = (_PATCHES, _PATCHES)
    small = [np.asarray(image.convert("RGB").resize(side, Resampling.BOX), dtype=np.float64) for image in images]
    return np.array(small).reshape(len(small), _PATCHES**2, 3)


def _colour_shares(patches: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """How much of each patch is which colour: shape (n, patches, n_colours), rows sum to 1."""
    palette = np.array(list(COLOURS.values()), dtype=np.float64)
    distance = np.square(patches[..., None, :] - palette).sum(axis=-1) / (2 * _SOFTNESS**2)
    weights = np.exp(-(distance - distance.min(axis=-1, keepdims=True)))
    shares: npt.NDArray[np.float64] = weights / weights.sum(axis=-1, keepdims=True)
    return shares


def _unit(vectors: npt.NDArray[np.float64]) -> Array:
    unit: npt.NDArray[np.float64] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit.astype(np.float32)


def _index(colour: str) -> int:
    return list(COLOURS).index(colour)


def _known_colours(spec: ModelSpec, colours: dict[str, str]) -> dict[str, str]:
    for colour in colours.values():
        if colour not in COLOURS:
            raise _UnknownFake("colour", colour, COLOURS, mend=f"(model {spec.text})")
    return colours


def _concepts(spec: ModelSpec) -> dict[str, str]:
    pairs = dict(entry.partition(":")[::2] for entry in spec.names("concepts"))
    return {word.lower(): colour for word, colour in _known_colours(spec, pairs).items()}
