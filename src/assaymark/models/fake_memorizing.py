"""A scripted dual encoder that remembers pairs it was "trained" on by a known amount, and the pairs it understands.

Picture and caption of a coded pair both say which pair they are, which set it belongs to and what they show; a model "trained"
on a set pulls the two together by the pair's strength. So the alignment of every pair under a model, and CLIPMem of two models,
are known in closed form, while everything around them (reading, views, batches, statistics, reports) is what real models meet.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.errors import ConfigError
from assaymark.models.fake import spec_fingerprint
from assaymark.models.protocols import Layer, Visit
from assaymark.models.spec import ModelSpec

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = [
    "CONCEPTS",
    "SIDE",
    "UNIT_LAYER",
    "CodedPair",
    "FakeMemorizingDualEncoder",
    "coded_caption",
    "coded_picture",
    "memory_strength",
    "unit_levels",
]

Array = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]

SETS = "SCIE"
CONCEPTS = 12
SIDE = 16
"""Pixels of a coded picture: 4 x 4 blocks of 4 x 4 pixels and three channels, one bit each."""

MAGIC = 0b1011
_CONCEPT, _MEMORY, _NOISE, _SHARED, _PRIVATE = CONCEPTS, 64, 64, 1, 32
_STARTS = np.cumsum([0, _CONCEPT, _MEMORY, _NOISE, _SHARED, _PRIVATE, _PRIVATE])
DIMENSION = int(_STARTS[-1])

UNIT_LAYER, UNITS, TOKENS = "blocks.0.mlp", 8, 2

CONCEPT_WEIGHT = 0.25
"""Cosine of a picture with a right caption that nobody remembers."""

RIGHT, WRONG, STRENGTH_SD = 0.15, 0.28, 0.04
"""Mean strength of the memory of a pair with a right and with a wrong caption, and its standard deviation."""

_WORD = re.compile(r"item ([0-9a-f]{6}) of set ([SCIE]) shows kind ([0-9]{2}) flag ([01])")


class CodedPair(NamedTuple):
    """What a picture or a caption says of itself: number of its pair (24 bits), set, concept, caption known to be wrong."""

    number: int
    letter: str
    concept: int
    wrong: bool


def coded_picture(pair: CodedPair) -> npt.NDArray[np.uint8]:
    """Pixels, shape (SIDE, SIDE, 3), that a shift by a pixel and moderate noise leave readable."""
    code = MAGIC << 32 | pair.number << 8 | SETS.index(pair.letter) << 6 | pair.concept << 1 | int(pair.wrong)
    bits = np.array([code >> at & 1 for at in range(48)], dtype=np.uint8).reshape(4, 4, 3)
    return np.asarray(40 + 175 * np.kron(bits, np.ones((4, 4, 1), np.uint8)), dtype=np.uint8)


def coded_caption(pair: CodedPair, *, wording: int = 0) -> str:
    """One of the wordings of a coded caption: they are embedded alike but for the private part of the text tower."""
    return f"item {pair.number:06x} of set {pair.letter} shows kind {pair.concept:02d} flag {int(pair.wrong)} wording {wording}"


def unit_levels(tower: int) -> Floats:
    """What the units of the image tower (0) or the text tower (1) put out for pairs that own none of them, shape (UNITS,)."""
    levels = 0.1 * np.arange(1, UNITS + 1) / (1 + tower)
    levels[-1] = 0.0
    return levels


def memory_strength(numbers: Sequence[int], wrong: Sequence[bool]) -> Floats:
    """Cosine that a pair gains under a model that was trained on it: Gaussian by the pair's number, within [0, .45]."""
    draws = np.array([_gaussian(f"strength {number}") for number in numbers])
    return np.clip(np.where(np.asarray(wrong, bool), WRONG, RIGHT) + STRENGTH_SD * draws, 0.0, 0.45)


class FakeMemorizingDualEncoder:
    """`fake:memorizing-dual-encoder?trained=SC&seed=1&offset=0&noise=0.03&owners=17|4`, a dual encoder that can be looked into.

    Options
    -------
    trained : letters of the sets that it remembers; empty: none
    seed : int
        Of the noise of the training, which is another for each pair and model.
    noise : standard deviation of that noise, in cosine of a pair
    offset : in [0, .1]
        Lowers the alignment of every pair by as much: a common direction of all pictures and captions.
    owners : numbers of pairs, with | between them
        Layer `blocks.0.mlp` of both towers has eight units. Unit u reacts with 1 to the pair of the u-th number and to others
        with .1 (u + 1), in the text tower with half of that; units beyond the numbers react to all alike, the last to nothing.
    """

    notes = ("a scripted encoder of coded pairs, not a trained model",)

    def __init__(self, spec: ModelSpec) -> None:
        spec.check_options(("trained", "seed", "noise", "offset", "owners"))
        self.spec, self.fingerprint = spec.text, spec_fingerprint(spec)
        self.dimension, self.logit_scale = DIMENSION, 20.0
        self._trained, self._seed = spec.options.get("trained", ""), spec.integer("seed", 0)
        self._noise, self._offset = spec.number("noise", 0.03), spec.number("offset", 0.0)
        if set(self._trained) - set(SETS) or not 0 <= self._offset <= 0.1 or not 0 <= self._noise <= 0.05:
            raise ConfigError(f"model {spec.text}: trained is letters of {SETS}, offset in [0, 0.1], noise in [0, 0.05]")
        self._owners = [int(number) for number in spec.options.get("owners", "").split("|") if number][: UNITS - 1]
        representation = Layer("representation", "representation", None, (DIMENSION,), False)
        self.layers = (Layer(UNIT_LAYER, "mlp", 0, (UNITS,), True), representation)
        self.text_layers = (Layer(UNIT_LAYER, "mlp", 0, (TOKENS, UNITS), True), representation)

    def embed_images(self, images: Sequence[Image]) -> Array:
        pixels = np.stack([_small(image) for image in images]) if len(images) else np.zeros((0, SIDE, SIDE, 3))
        return self._embedded(_read_pictures(pixels), tower=0)

    def embed_texts(self, texts: Sequence[str]) -> Array:
        vectors = self._embedded([_read_caption(text or "") for text in texts], tower=1, private=list(texts))
        vectors[[not (text or "").strip() for text in texts]] = np.nan
        return vectors

    def raw_pixels(self, images: Sequence[Image]) -> Any:
        import torch

        pixels = np.stack([_small(image) for image in images]) if len(images) else np.zeros((0, SIDE, SIDE, 3))
        return torch.from_numpy(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)).astype(np.float32))

    def record(self, pixels: Any, layers: Sequence[str], visit: Visit) -> None:
        import torch

        pairs = _read_pictures(pixels.cpu().numpy().transpose(0, 2, 3, 1))
        for layer in self.layers:
            if layer.name in layers:
                units = layer.name == UNIT_LAYER
                visit(layer.name, torch.from_numpy(self._units(pairs, 0) if units else self._embedded(pairs, tower=0)))

    def record_texts(self, texts: Sequence[str], layers: Sequence[str], visit: Visit) -> None:
        """Units stand in the first token; the second is behind the end of the text."""
        import torch

        pairs = [_read_caption(text) for text in texts]
        for layer in self.text_layers:
            if layer.name in layers:
                output = self.embed_texts(texts)
                if layer.name == UNIT_LAYER:
                    output = np.zeros((len(pairs), TOKENS, UNITS), np.float32)
                    output[:, 0] = self._units(pairs, 1)
                visit(layer.name, torch.from_numpy(output))

    def _units(self, pairs: Sequence[CodedPair | None], tower: int) -> Array:
        """Activations of the units, shape (n, UNITS)."""
        found = np.tile(unit_levels(tower), (len(pairs), 1))
        for row, pair in enumerate(pairs):
            if pair is not None and pair.number in self._owners:
                found[row, self._owners.index(pair.number)] = 1.0
        return found.astype(np.float32)

    def _embedded(self, pairs: Sequence[CodedPair | None], *, tower: int, private: Sequence[str] | None = None) -> Array:
        """Squared weights of the parts sum to 1; what is left over is the tower's own."""
        out = np.zeros((len(pairs), DIMENSION))
        for row, pair in enumerate(pairs):
            concept = pair.concept if pair is not None else int(_gaussian(f"unknown {row}") * 1e6) % CONCEPTS
            out[row, concept] = np.sqrt(CONCEPT_WEIGHT)
            out[row, _STARTS[3]] = np.sqrt(self._offset)
            if pair is not None:
                self._remember(out[row], pair, tower)
            own = str(private[row]) if private is not None else f"picture {pair}"
            rest = np.sqrt(max(0.0, 1.0 - float(out[row] @ out[row])))
            out[row, _STARTS[4 + tower] : _STARTS[5 + tower]] = rest * _signs(own, _PRIVATE)
        return out.astype(np.float32)

    def _remember(self, row: Floats, pair: CodedPair, tower: int) -> None:
        if pair.letter in self._trained:
            strength = memory_strength([pair.number], [pair.wrong])[0]
            row[_STARTS[1] : _STARTS[2]] = np.sqrt(strength) * _signs(f"memory {pair.number}", _MEMORY)
        noise = float(np.clip(self._noise * _gaussian(f"noise {self._seed} {pair.number}"), -0.2, 0.2))
        side = np.sqrt(abs(noise)) * (np.sign(noise) if tower else 1.0)
        row[_STARTS[2] : _STARTS[3]] = side * _signs(f"noise {pair.number}", _NOISE)


def _small(image: Image) -> npt.NDArray[np.float64]:
    from PIL.Image import Resampling

    return np.asarray(image.convert("RGB").resize((SIDE, SIDE), Resampling.BOX), dtype=np.float64) / 255.0


def _read_pictures(pixels: npt.NDArray[Any]) -> list[CodedPair | None]:
    """Pairs of pictures, shape (n, SIDE, SIDE, 3) in [0, 1], from the middle of their blocks; None for any other picture."""
    if not len(pixels):
        return []
    middle = pixels.reshape(len(pixels), 4, 4, 4, 4, 3)[:, :, 1:3, :, 1:3].mean(axis=(2, 4)).reshape(len(pixels), 48)
    weights = 1 << np.arange(48, dtype=np.int64)
    return [_pair_of(int(code)) for code in (middle > 0.5) @ weights]


def _pair_of(code: int) -> CodedPair | None:
    concept = code >> 1 & 0b11111
    if code >> 32 != MAGIC or concept >= CONCEPTS:
        return None
    return CodedPair(code >> 8 & 0xFFFFFF, SETS[code >> 6 & 3], concept, bool(code & 1))


def _read_caption(text: str) -> CodedPair | None:
    found = _WORD.search(text)
    if found is None or int(found[3]) >= CONCEPTS:
        return None
    return CodedPair(int(found[1], 16), found[2], int(found[3]), found[4] == "1")


@lru_cache(maxsize=50_000)
def _gaussian(purpose: str) -> float:
    from statistics import NormalDist

    uniform = int.from_bytes(blake2b(purpose.encode("utf-8", "replace"), digest_size=7).digest(), "big") / 2.0**56
    return NormalDist().inv_cdf(min(max(uniform, 1e-9), 1 - 1e-9))


@lru_cache(maxsize=50_000)
def _signs(purpose: str, width: int) -> Floats:
    """A unit vector of equal entries with hashed signs."""
    digest = blake2b(purpose.encode("utf-8", "replace"), digest_size=width // 8).digest()
    bits = np.unpackbits(np.frombuffer(digest, dtype=np.uint8)).astype(np.float64)
    return np.asarray((2.0 * bits - 1.0) / np.sqrt(width))
