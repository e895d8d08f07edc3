"""Documents in which texts and their labels recur: what a language model learns to copy within its context from.

A document is a list of labelled texts in the flat form of a few-shot prompt,

    Question: How far is it from Denver to Aspen ?
    Type: Number

Some texts come back, with their label; now and then a wrong label is stated several times in a row. The law of the documents: a
text that comes back has the label that was stated most often for it, the earliest of those where several are equal. Half of
the documents consist of words drawn at random, in which nothing but copying helps; others are a random segment over and over.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from hashlib import blake2b
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.errors import ConfigError

__all__ = ["CopyingDocuments", "PromptPieces", "majority_label", "repeated_segments"]

_SEGMENTS, _SEGMENTS_FIRST = 0.2, 0.8  # of the documents are a random segment over and over, later and in the opening
_OPENING = 150  # steps, at most half of them: copying appears on segments first
_REAL = 0.6  # of the others have real texts
_PREAMBLE = 0.25  # begin with a line of something else, as an instruction is
_LINES = 0.25  # have text and label on one line, as repeated statements are
_SHARED_OPENING = 0.3  # of the made-up texts begin like an earlier one, so that one word before is not enough to copy by
_UNPREDICTABLE = 0.05  # weight of a word of a real text that is new, against 1 of what follows from the context
_LABEL = 4.0  # weight of a label that the document determines: there is one to a dozen words
_FEWEST_WORDS = 24  # of a document with made-up texts
_LONGEST_RUN = 6  # statements of a wrong label in a row
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]


class PromptPieces(NamedTuple):
    r"""Tokens of the parts of a document; texts and labels begin with a space.

    Attributes
    ----------
    field, answer, answer_inline : array
        "Question:", "\nType:" and " Type:".
    gap, line : array
        "\n\n" and "\n": between two examples, on two lines each or on one.
    labels : tuple of arrays
    """

    field: Ints
    answer: Ints
    answer_inline: Ints
    gap: Ints
    line: Ints
    labels: tuple[Ints, ...]

    @classmethod
    def of(cls, tokenizer: Any, labels: Sequence[str], *, field: str, answer_field: str) -> PromptPieces:
        def tokens(text: str) -> Ints:
            return np.array(tokenizer(text, add_special_tokens=False)["input_ids"], dtype=np.int64)

        names = tuple(tokens(f" {label}") for label in labels)
        line = tokens("\n")
        # Alone, two line ends may be one token; before a word they are two.
        gap = np.concatenate([line, line])
        return cls(tokens(f"{field}:"), tokens(f"\n{answer_field}:"), tokens(f" {answer_field}:"), gap, line, names)


def majority_label(counts: Ints, first: Ints) -> int:
    """The label stated most often, the one stated earliest among equals.

    Parameters
    ----------
    counts, first : array, shape (labels,)
        How often each was stated, and when for the first time.
    """
    return int(np.lexsort((first, -counts))[0])


def repeated_segments(rng: np.random.Generator, words: Ints, *, size: int, length: int) -> Ints:
    """Random segments, each followed by itself: shape (size, 2 length)."""
    return np.tile(rng.choice(words, size=(size, length)), 2)


class CopyingDocuments:
    """Batches of documents, written anew for every step, with the weight of each token as something to predict.

    Parameters
    ----------
    texts : sequence of n arrays
        Tokens of the real texts.
    labels : array, shape (n,)
        Row of each text's label in `pieces.labels`.
    words : array
        Tokens that made-up texts and segments are drawn from.
    length : int
        Tokens in a document; steps in the first half of `steps` have four times as many documents of a quarter of it, on which
        copying appears sooner.
    size : int
        Documents of full length in a batch, over all processes together.
    """

    def __init__(
        self,
        texts: Sequence[Ints],
        labels: Ints,
        pieces: PromptPieces,
        *,
        words: Ints,
        length: int,
        size: int,
        steps: int,
        seed: int,
    ) -> None:
        if length < 64:
            raise ConfigError(f"documents of {length} tokens hold no repetitions; the context must be at least 64")
        self._texts, self._labels, self._pieces, self._words = texts, labels, pieces, words
        self._length, self._size, self._seed, self.steps_per_epoch = length, size, seed, steps

    @property
    def fingerprint(self) -> str:
        parts = [*self._texts, self._labels, self._words, *self._pieces[:-1], *self._pieces.labels]
        digest = blake2b(f"{self._length} {self._size}".encode(), digest_size=8)
        for part in parts:
            digest.update(part.tobytes() + b";")
        return digest.hexdigest()

    def at(self, step: int, *, rank: int = 0, world: int = 1) -> tuple[Any, ...]:
        """Tokens and the weights of predicting them (float32, 0 for the first), both of shape (documents, tokens)."""
        import torch

        short = step < self.steps_per_epoch // 2
        length, size = (self._length // 4, 4 * self._size) if short else (self._length, self._size)
        rng = np.random.default_rng([self._seed, step])
        share = _SEGMENTS_FIRST if step < min(_OPENING, self.steps_per_epoch // 2) else _SEGMENTS
        written = [self.document(rng, length, segments=share) for _ in range(math.ceil(size / world) * world)][rank::world]
        return tuple(torch.from_numpy(np.stack(part)) for part in zip(*written, strict=True))

    def document(self, rng: np.random.Generator, length: int, *, segments: float = _SEGMENTS) -> tuple[Ints, Floats]:
        """One document and its weights, shape (length,) each; with probability `segments` a random segment over and over."""
        if rng.random() < segments:
            period = int(rng.integers(4, length // 2))
            tokens = np.resize(rng.choice(self._words, size=period), length)
            return tokens, (np.arange(length) > period).astype(np.float32)
        page = _Page(self._pieces, inline=rng.random() < _LINES, words=self._palette(rng), longest=int(rng.integers(4, 20)))
        if rng.random() < _PREAMBLE:
            page.write(rng.choice(self._words, size=rng.integers(4, 24)), 0.0)
            page.write(self._pieces.gap, 0.0)
        sample = self._real if rng.random() < _REAL else self._made_up
        novelty, insistence = rng.uniform(0.2, 0.8), rng.uniform(0.0, 0.3)
        while page.length < length:
            new = not page.texts or rng.random() < novelty
            place = page.add(*sample(rng, page)) if new else int(rng.integers(len(page.texts)))
            if rng.random() < insistence:
                page.insist(place, rng)
            page.example(place)
        return page.cut(length)

    def _palette(self, rng: np.random.Generator) -> Ints:
        """The words of one document: from two dozen, which recur in other texts too, to all; log-uniform."""
        size = math.exp(rng.uniform(math.log(min(_FEWEST_WORDS, len(self._words))), math.log(len(self._words))))
        return rng.choice(self._words, size=int(size), replace=False)

    def _real(self, rng: np.random.Generator, page: _Page) -> tuple[Ints, int, float]:
        row = int(rng.integers(len(self._texts)))
        return self._texts[row], int(self._labels[row]), _UNPREDICTABLE

    def _made_up(self, rng: np.random.Generator, page: _Page) -> tuple[Ints, int, float]:
        text = rng.choice(page.words, size=rng.integers(2, page.longest))
        if page.texts and rng.random() < _SHARED_OPENING:
            opening = page.texts[int(rng.integers(len(page.texts)))][: min(int(rng.integers(1, 4)), len(text) - 1)]
            text[: len(opening)] = opening
        return text, int(rng.integers(len(self._pieces.labels))), 0.0


class _Page:
    """A document being written: its tokens so far, and what was stated about each of its texts.

    `words` and the length below `longest` are those of its made-up texts.
    """

    def __init__(self, pieces: PromptPieces, *, inline: bool, words: Ints, longest: int) -> None:
        self._pieces, self.words, self.longest = pieces, words, longest
        self._answer, self._end = (pieces.answer_inline, pieces.line) if inline else (pieces.answer, pieces.gap)
        self._parts: list[tuple[Ints, Floats]] = []
        self.length = 0
        self.texts: list[Ints] = []
        self._places: dict[bytes, int] = {}
        self._own: list[tuple[int, float]] = []  # label of a text, and weight of its words and label when new
        self._counts: list[Ints] = []
        self._first: list[Ints] = []
        self._statements = 0

    def add(self, text: Ints, label: int, weight: float) -> int:
        """The place of a text, with the label it has as long as none was stated."""
        place = self._places.setdefault(text.tobytes(), len(self.texts))
        if place < len(self.texts):
            return place
        labels = len(self._pieces.labels)
        self.texts.append(text)
        self._own.append((label, weight))
        self._counts.append(np.zeros(labels, dtype=np.int64))
        self._first.append(np.full(labels, np.iinfo(np.int64).max))
        return place

    def insist(self, place: int, rng: np.random.Generator) -> None:
        """A label other than the expected one, stated up to six times in a row."""
        wrong = (self._expected(place) + int(rng.integers(1, len(self._pieces.labels)))) % len(self._pieces.labels)
        for _ in range(int(rng.integers(1, _LONGEST_RUN + 1))):
            self._state(place, wrong, 0.0)

    def example(self, place: int) -> None:
        """The text with the label that the law of the documents, or for a new text its own, prescribes."""
        own_weight = self._own[place][1]
        self._state(place, self._expected(place), _LABEL if self._counts[place].any() else own_weight)

    def write(self, tokens: Ints, weight: float) -> None:
        self._parts.append((tokens, np.full(len(tokens), weight, dtype=np.float32)))
        self.length += len(tokens)

    def cut(self, length: int) -> tuple[Ints, Floats]:
        tokens, weights = (np.concatenate(part)[:length] for part in zip(*self._parts, strict=True))
        weights[0] = 0.0
        return tokens, weights

    def _expected(self, place: int) -> int:
        counts = self._counts[place]
        return majority_label(counts, self._first[place]) if counts.any() else self._own[place][0]

    def _state(self, place: int, label: int, weight: float) -> None:
        known = bool(self._counts[place].any())
        text, text_weight = self.texts[place], 1.0 if known else self._own[place][1]
        self.write(self._pieces.field, 1.0 if self._parts else 0.0)
        self.write(text[:1], 0.0 if known else text_weight)  # which of the known texts comes is not to be foreseen
        self.write(text[1:], text_weight)
        self.write(self._answer, 1.0)
        self.write(self._pieces.labels[label], weight)
        self.write(self._end, 1.0)
        self._counts[place][label] += 1
        self._first[place][label] = min(self._first[place][label], self._statements)
        self._statements += 1
