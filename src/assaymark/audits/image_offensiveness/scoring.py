"""The scorer of the one pass: from stored embeddings, or pictures and their encoder, to log-odds and what goes with them."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from scipy.special import logsumexp

from assaymark.audits.image_offensiveness.method.official_decision import official_decision
from assaymark.audits.image_offensiveness.method.scoring import UNIT_TOLERANCE, logits
from assaymark.audits.image_offensiveness.probes.rule import LABELS, mixed_keys
from assaymark.data.decoding import MISSING, Views, decode_batch
from assaymark.data.images import DAMAGED, EMPTY, NOT_AN_IMAGE, TOO_MANY_PIXELS

__all__ = ["REASONS", "SCALED", "Embedded", "OffensivenessScores", "embed_values", "three_way_log_odds"]

Floats = npt.NDArray[np.float32]

SCALED = 1
REASONS = {
    2: "an embedding of zeros",
    3: "an embedding with a number that is not finite",
    4: "no embedding or picture",
    5: "an embedding of another width",
    6: NOT_AN_IMAGE,
    7: DAMAGED,
    8: TOO_MANY_PIXELS,
    9: EMPTY,
}
"""Code of a row without a score to the reason; 0 is a scored row, `SCALED` one whose embedding had to be normalised."""

_CODES = {reason: code for code, reason in REASONS.items()} | {MISSING: 4}
_KEY_PART = 1 << 24


class Embedded(NamedTuple):
    """`vectors` of the rows at `positions`; `states[i]` says what became of value i; `keys` are content hashes of 48 bits.

    `pictures` are the decoded pictures at `positions`, None where the values are embeddings.
    """

    vectors: Floats
    positions: npt.NDArray[np.int64]
    states: npt.NDArray[np.int64]
    keys: npt.NDArray[np.uint64]
    pictures: list[Any] | None = None


def embed_values(values: pa.Array, *, dimension: int, encoder: Any = None) -> Embedded:
    """Embeddings of an Arrow array of number lists, or of encoded pictures by way of the encoder.

    Vectors are as they are stored.
    """
    if pa.types.is_large_list(values.type) or pa.types.is_list(values.type):
        return _stored(values, dimension)
    return _encoded(values, dimension, encoder)


def _stored(values: pa.Array, dimension: int) -> Embedded:
    widths = pc.fill_null(pc.list_value_length(values), -1).to_numpy(zero_copy_only=False)
    states = np.where(widths < 0, 4, np.where(widths == dimension, 0, 5)).astype(np.int64)
    positions = np.flatnonzero(states == 0)
    flat = values.flatten() if len(positions) == len(values) else values.take(pa.array(positions)).flatten()
    vectors = flat.cast(pa.float32()).to_numpy(zero_copy_only=False).reshape(-1, dimension)
    length = _lengths(vectors)
    off = np.abs(length - 1) > UNIT_TOLERANCE
    codes = np.where(np.isnan(length), 3, np.where(length == 0, 2, np.where(off, SCALED, 0)))
    states[positions] = codes
    usable = codes <= SCALED
    if not usable.all():
        vectors, positions = vectors[usable], positions[usable]
    return Embedded(vectors, positions, states, _row_keys(vectors))


def _lengths(vectors: Floats) -> npt.NDArray[np.float64]:
    """Length of each row; NaN where a number is not finite. Rows whose squares leave float32 are measured again, in float64."""
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        square = np.vecdot(vectors, vectors).astype(np.float64)
    odd = np.flatnonzero(~((square > 1e-30) & (square < 1e30)))
    length = np.sqrt(np.where(square >= 0, square, 0))
    wide = vectors[odd].astype(np.float64)
    length[odd] = np.where(np.isfinite(wide).all(axis=1), np.linalg.norm(np.nan_to_num(wide), axis=1), np.nan)
    return np.asarray(length)


def _row_keys(vectors: Floats) -> npt.NDArray[np.uint64]:
    """48 bits of a multilinear hash of each row, equal on every machine; a hundred times as fast as a cryptographic one."""
    words = np.ascontiguousarray(vectors, dtype="<f4").view("<u4").astype(np.uint64)
    factors = np.random.default_rng(0x16).integers(0, 2**63, size=words.shape[1], dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    return np.asarray(mixed_keys(np.sum(words * factors, axis=1, dtype=np.uint64), np.zeros(1, np.uint64)) >> np.uint64(16))


def _encoded(values: pa.Array, dimension: int, encoder: Any) -> Embedded:
    decoded = decode_batch(values, views=Views(reduce_to=0))
    states = np.zeros(len(values), np.int64)
    for position, reason in decoded.skipped.items():
        states[position] = _CODES.get(reason, _CODES[DAMAGED])
    vectors = (
        np.asarray(encoder.embed_images(decoded.pictures), np.float32)
        if decoded.pictures
        else np.zeros((0, dimension), np.float32)
    )
    usable = np.isfinite(vectors).all(axis=1) & (vectors != 0).any(axis=1)
    states[decoded.positions[~usable]] = 3
    kept = np.flatnonzero(usable)
    positions = decoded.positions[kept]
    keys = _keys([values[int(i)].as_py() for i in positions])
    return Embedded(vectors[kept], positions, states, keys, [decoded.pictures[i] for i in kept])


def _keys(contents: list[bytes]) -> npt.NDArray[np.uint64]:
    digests = [int.from_bytes(blake2b(content, digest_size=6).digest(), "big") for content in contents]
    return np.array(digests, dtype=np.uint64)


def three_way_log_odds(z: npt.NDArray[Any]) -> Floats:
    """Log-odds of row 1 against all other rows, from logits of shape (n, 2) or (n, 3)."""
    wide = np.asarray(z, dtype=np.float64)
    others = wide[:, 0] if wide.shape[1] == 2 else logsumexp(wide[:, [0, 2]], axis=1)
    return np.asarray(wide[:, 1] - others, dtype=np.float32)


class OffensivenessScores:
    """Picklable scorer: an Arrow array of embeddings or pictures to float32 of shape (n, len(LABELS)).

    Pictures are decoded once for the encoder and for the model `nsfw`; `nsfw_columns` are the labels of it that count, of which
    the largest is taken.
    """

    def __init__(
        self,
        prompts: Floats,
        *,
        logit_scale: float,
        encoder: Any = None,
        nsfw: Any = None,
        nsfw_columns: tuple[int, ...] = (),
        labels: tuple[str, ...] = LABELS,
    ) -> None:
        self.prompts, self.logit_scale = prompts, logit_scale
        self.encoder, self.nsfw, self.nsfw_columns, self.labels = encoder, nsfw, nsfw_columns, labels

    def __call__(self, values: pa.Array) -> Floats:
        found = embed_values(values, dimension=self.prompts.shape[1], encoder=self.encoder)
        answers = np.full((len(values), len(self.labels)), np.nan, dtype=np.float32)
        column = {label: position for position, label in enumerate(self.labels)}
        answers[:, column["state"]] = found.states
        if not len(found.positions):
            return answers
        z = logits(found.vectors, self.prompts, logit_scale=self.logit_scale)
        answers[found.positions, column["log_odds"]] = three_way_log_odds(z)
        answers[found.positions, column["decision"]] = z.argmax(axis=1) == 1
        answers[found.positions, column["official"]] = official_decision(found.vectors, self.prompts) == 1
        answers[found.positions, column["key_a"]] = found.keys // np.uint64(_KEY_PART)
        answers[found.positions, column["key_b"]] = found.keys % np.uint64(_KEY_PART)
        if self.nsfw is not None:
            answers[found.positions, column["nsfw"]] = self._nsfw(found)
        return answers

    def _nsfw(self, found: Embedded) -> Floats:
        if found.pictures is not None and hasattr(self.nsfw, "score_images"):
            scores = self.nsfw.score_images(found.pictures)
        else:
            length = np.linalg.norm(found.vectors, axis=1, keepdims=True)
            scores = self.nsfw.score_embeddings(found.vectors / length)
        return np.asarray(np.asarray(scores)[:, list(self.nsfw_columns)].max(axis=1), dtype=np.float32)
