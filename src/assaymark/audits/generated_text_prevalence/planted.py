"""Synthetic streams whose answer is known: people and a machine write words drawn from two related distributions.

People draw from a Zipf law over 5,000 words, each text a little more or less freely and with bursts of repetition; the machine
draws from the same law sharpened (temperature 0.65 or 0.75), with 30 style words five times as probable. Three platforms over
34 months from January 2022: on A and B the machine's share rises from 0 to 38 % from month 12 on, on C to 2 %.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.models.token_columns import TOKEN_COLUMNS, TokenScores, summary_rows

__all__ = [
    "ENGAGEMENT_RATIO",
    "GENERATORS",
    "MONTHS",
    "ONSET",
    "PLATEAUS",
    "STYLE_NUMBERS",
    "STYLE_WORDS",
    "TOPICS",
    "VOCABULARY",
    "WORDS",
    "PlantedPosts",
    "UnigramModel",
    "planted_posts",
    "planted_shares",
    "planted_words",
    "unigram_scores",
    "written_texts",
]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

WORDS, MONTHS, ONSET = 5_000, 34, 12
PLATEAUS = {"A": 0.38, "B": 0.38, "C": 0.02}
"""Largest share of machine-written posts by platform."""

MIDDLE, SCALE = ONSET + 4.4, 2.0  # the logistic rise is at a tenth of its plateau in month 12
HUMAN_TEMPERATURE, MACHINE_TEMPERATURE, SPREAD = 1.0, 0.7, 0.1
GENERATORS = {"machine-a": 0.65, "machine-b": 0.75}
"""Temperatures of the two machines that write the stream and the labelled texts, half of the machine-written ones each."""

BURST = 0.1  # probability that a person's word repeats an earlier one of the same post
BOOST = 5.0
ENGAGEMENT_RATIO = 0.7
"""Likes of a machine's post over those of a person's, all else equal."""

TOPICS = ("tech", "food", "music", "sport", "travel")
TECH_FACTOR = 1.5
"""The machine's share among posts on technology, over its share among all."""

_SYLLABLES = [consonant + vowel for consonant in "bdfgklmnprstvz" for vowel in "aeiou"]


def _word(number: int) -> str:
    """A made-up word for each number below 70^3."""
    first, rest = divmod(number, len(_SYLLABLES) ** 2)
    second, third = divmod(rest, len(_SYLLABLES))
    return _SYLLABLES[first] + _SYLLABLES[second] + _SYLLABLES[third]


VOCABULARY: tuple[str, ...] = tuple(_word(number) for number in range(WORDS))
"""Words by falling probability."""

STYLE_NUMBERS = np.arange(20, 20 + 30 * 2, 2)
STYLE_WORDS = tuple(VOCABULARY[number] for number in STYLE_NUMBERS)
"""Words that the machine over-uses, of middling frequency.

Sharpening over-uses the most frequent words as well, which the log-odds rightly rank, and a detector that goes by the
probability of words calls posts with frequent words a machine's: were the style words rarer (every 13th from the 61st on),
frequent words would take most of the first 40 places.
"""


def _zipf() -> Floats:
    weights = 1.0 / (np.arange(WORDS) + 2.7)
    return np.asarray(weights / weights.sum())


def _sharpened(temperature: float, *, boosted: bool) -> Floats:
    weights = _zipf() ** (1.0 / temperature)
    if boosted:
        weights[STYLE_NUMBERS] *= BOOST
    return np.asarray(weights / weights.sum())


class PlantedPosts(NamedTuple):
    """Posts in random order; arrays of one length, and the words of all posts end to end.

    `words[offsets[i]:offsets[i + 1]]` are the numbers of the words of post i; `month` counts from 1.
    """

    machine: npt.NDArray[np.bool_]
    platform: npt.NDArray[np.str_]
    month: Ints
    topic: Ints
    author: Ints
    followers: Ints
    likes: Ints
    comments: Ints
    words: Ints
    offsets: Ints


def planted_shares(platform: str, *, null: bool = False) -> Floats:
    """Machine's share on a platform in each month, shape (MONTHS,)."""
    month = np.arange(1, MONTHS + 1)
    rise = 1.0 / (1.0 + np.exp(-(month - MIDDLE) / SCALE))
    return np.where((month >= ONSET) & (not null), PLATEAUS[platform] * rise, 0.0)


def planted_posts(seed: int, posts: int, *, null: bool = False) -> PlantedPosts:
    """`posts` posts for each platform and month; machines take turns at random."""
    rng = np.random.default_rng([seed, 0xA16])
    total = posts * MONTHS * len(PLATEAUS)
    platform = np.repeat(np.array(list(PLATEAUS)), posts * MONTHS)
    month = np.tile(np.repeat(np.arange(1, MONTHS + 1), posts), len(PLATEAUS))
    topic = rng.integers(len(TOPICS), size=total)
    shares = np.concatenate([planted_shares(name, null=null)[month[platform == name] - 1] for name in PLATEAUS])
    others = (1 - TECH_FACTOR / len(TOPICS)) / (1 - 1 / len(TOPICS))
    machine = rng.random(total) < shares * np.where(topic == 0, TECH_FACTOR, others)
    followers = np.rint(np.exp(rng.normal(np.where(machine, 6.5, 7.2), 1.5))).astype(np.int64)
    effect = 0.3 * (np.log1p(followers) - 7) + 0.1 * topic + 0.01 * month + np.where(machine, np.log(ENGAGEMENT_RATIO), 0.0)
    likes, comments = (_negative_binomial(base * np.exp(effect), rng) for base in (12.0, 4.0))
    writers = rng.choice(list(GENERATORS.values()), size=total)
    words, offsets = planted_words(machine, rng, temperature=writers)
    author = rng.integers(max(1, total // 5), size=total)
    return PlantedPosts(machine, platform, month, topic, author, followers, likes, comments, words, offsets)


def _negative_binomial(mean: Floats, rng: np.random.Generator) -> Ints:
    """Variance mean + mean^2: a Poisson count whose rate varies."""
    return rng.poisson(mean * rng.gamma(1.0, 1.0, size=mean.size)).astype(np.int64)


def planted_words(
    machine: npt.NDArray[np.bool_],
    rng: np.random.Generator,
    *,
    temperature: float | Floats = MACHINE_TEMPERATURE,
    length: tuple[int, int] = (25, 60),
) -> tuple[Ints, Ints]:
    """Words of texts end to end, and where each text starts and ends; `length` is the fewest and most words of a text."""
    lengths = rng.integers(length[0], length[1] + 1, size=machine.size)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    own = rng.normal(np.where(machine, temperature, HUMAN_TEMPERATURE), SPREAD)
    grid = np.rint(np.clip(own, 0.4, 1.6) * 20).astype(np.int64)
    writer = np.repeat(grid * 2 + machine, lengths)
    words = np.empty(offsets[-1], np.int64)
    for code in np.unique(writer):
        places = np.flatnonzero(writer == code)
        law = _sharpened(int(code) // 2 / 20.0, boosted=bool(code % 2))
        words[places] = np.searchsorted(np.cumsum(law)[:-1], rng.random(places.size), side="right")
    position = np.arange(offsets[-1]) - np.repeat(offsets[:-1], lengths)
    repeats = (rng.random(offsets[-1]) < BURST) & (position > 0) & ~np.repeat(machine, lengths)
    back = 1 + np.floor(rng.random(offsets[-1]) * position).astype(np.int64)
    places = np.flatnonzero(repeats)
    words[places] = words[places - np.minimum(back[places], position[places])]
    return words, offsets


def written_texts(words: Ints, offsets: Ints) -> list[str]:
    """The posts as text."""
    spelt = np.array(VOCABULARY, dtype=object)[words]
    return [" ".join(spelt[start:stop]) for start, stop in pairwise(offsets.tolist())]


class UnigramModel:
    """The law that people draw from, as a language model that knows no context (capability scores-tokens)."""

    spec = f"py:{__name__}:UnigramModel"
    fingerprint = "planted unigram law 1"
    token_columns = TOKEN_COLUMNS

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {word: number for number, word in enumerate(VOCABULARY)}

    def score_tokens(self, texts: Sequence[str]) -> TokenScores:
        """Every word but the first; unknown ones count as the rarest."""
        numbers = [[self._numbers.get(word, WORDS - 1) for word in text.split()] for text in texts]
        lengths = np.array([len(row) for row in numbers])
        flat = np.array([number for row in numbers for number in row[1:]], dtype=np.int64)
        return unigram_scores(flat, np.concatenate([[0], np.cumsum(np.maximum(lengths - 1, 0))]))

    def summarise_tokens(self, texts: Sequence[str]) -> Floats:
        return summary_rows(self.score_tokens(texts))


def unigram_scores(words: Ints, offsets: Ints) -> TokenScores:
    """Scores under the human law of words that are given by number."""
    log_law = np.log(_zipf())
    mean = float(_zipf() @ log_law)
    variance = float(_zipf() @ log_law**2 - mean**2)
    constant: Any = np.ones(words.size, np.float32)
    return TokenScores(
        offsets.astype(np.int64),
        log_law[words].astype(np.float32),
        (words + 1).astype(np.int32),
        -mean * constant,
        mean * constant,
        variance * constant,
    )
