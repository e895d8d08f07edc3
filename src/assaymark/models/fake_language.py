"""Scripted language models, for tests, calibration and demonstrations: a scorer of tokens and a filler of gaps."""

from __future__ import annotations

import re
from collections.abc import Sequence
from hashlib import blake2b

import numpy as np
import numpy.typing as npt

from assaymark.errors import ConfigError
from assaymark.models.content import text_keys
from assaymark.models.fake import spec_fingerprint
from assaymark.models.span_filler import check_sampling, fill, gaps_of
from assaymark.models.spec import ModelSpec
from assaymark.models.token_columns import SAMPLED_COLUMNS, TOKEN_COLUMNS, TokenScores, summary_rows

__all__ = ["FakeSpanFiller", "FakeTokenScorer"]

_WORDS = "the|of|and|to|in|a|is|that|it|was|for|on|are|as|with"


class FakeTokenScorer:
    """`fake:token-scorer?boosted=delve|tapestry&boost=5`: a unigram model of words, Zipf-distributed, with favourites.

    A word that ends in a number (w17) has that place in the distribution, any other one a place by its content and `seed`;
    the probability of place i is proportional to 1 / (i + 1)^`exponent` (default 1) among `vocabulary` places (5,000).
    `boosted` words have places of their own, `boost` times as probable. `samples=N` adds the sampled columns. Words are
    compared without regard to case; the first one of a text is not scored.
    """

    def __init__(self, spec: ModelSpec) -> None:
        spec.check_options(("boosted", "boost", "vocabulary", "exponent", "samples", "seed"))
        self.spec, self.fingerprint = spec.text, spec_fingerprint(spec)
        self._seed, self._size = spec.integer("seed", 0), spec.integer("vocabulary", 5_000)
        self._samples, boost = spec.integer("samples", 0), spec.number("boost", 5.0)
        if self._size < 1 or boost <= 0 or self._samples < 0 or self._samples == 1 or self._seed < 0:
            raise ConfigError(
                f"model {spec.text}: vocabulary must be at least 1, boost over 0, samples 0 or at least 2, seed at least 0"
            )
        boosted = [word.lower() for word in spec.options.get("boosted", "").split("|") if word]
        self._boosted: dict[str, int] = {}
        places = [self._place(word) for word in boosted]
        self._boosted = {word: self._size + number for number, word in enumerate(boosted)}
        weights = (np.arange(self._size) + 1.0) ** -spec.number("exponent", 1.0)
        weights = np.concatenate([weights, boost * weights[places]]) if places else weights
        self._p = weights / weights.sum()
        self._rank = 1 + np.searchsorted(np.sort(-self._p), -self._p)
        self.token_columns = TOKEN_COLUMNS + (SAMPLED_COLUMNS if self._samples else ())

    def score_tokens(self, texts: Sequence[str]) -> TokenScores:
        words = [re.findall(r"\w+", (text or "").lower())[1:] for text in texts]
        places = np.array([self._place(word) for said in words for word in said], dtype=np.intp)
        log_p = np.log(self._p)
        entropy = -float(self._p @ log_p)
        variance = float(self._p @ (log_p + entropy) ** 2)
        offsets = np.concatenate([[0], np.cumsum([len(said) for said in words])]).astype(np.int64)
        chosen, rank = log_p[places].astype(np.float32), self._rank[places].astype(np.int32)
        constant = np.ones(len(places), dtype=np.float32)
        return TokenScores(offsets, chosen, rank, constant * entropy, constant * -entropy, constant * variance)

    def summarise_tokens(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        scores = self.score_tokens(texts)
        rows = summary_rows(scores)
        if self._samples:
            drawn = [self._sampled(key, int(n)) for key, n in zip(text_keys(texts), np.diff(scores.offsets), strict=True)]
            rows = np.hstack([rows, np.array(drawn).reshape(len(texts), len(SAMPLED_COLUMNS))])
        return rows.astype(np.float32)

    def _sampled(self, key: bytes, tokens: int) -> tuple[float, float]:
        """Mean and SD of the mean log-likelihood of texts drawn from the distribution; NaN for no tokens."""
        if not tokens:
            return np.nan, np.nan
        rng = np.random.default_rng([self._seed, int.from_bytes(key, "big")])
        drawn = rng.choice(np.log(self._p), p=self._p, size=(self._samples, tokens)).mean(axis=1)
        return float(drawn.mean()), float(drawn.std(ddof=1))

    def _place(self, word: str) -> int:
        if word in self._boosted:
            return self._boosted[word]
        if numbered := re.search(r"\d+$", word):
            return int(numbered[0]) % self._size
        digest = blake2b(f"{self._seed} {word}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
        return int.from_bytes(digest, "big") % self._size


class FakeSpanFiller:
    """`fake:span-filler?words=the|of|and&length=2&fail=0.1`: `length` words of a list in every gap.

    `fail` is the share of versions that stay open, "". Versions depend on the masked text, the number of the sample and the
    seeds (option `seed` and that of the call), and not on the other parameters of a draw.
    """

    def __init__(self, spec: ModelSpec) -> None:
        spec.check_options(("words", "length", "fail", "seed"))
        self.spec, self.fingerprint = spec.text, spec_fingerprint(spec)
        self._words = spec.options.get("words", _WORDS).split("|")
        self._length, self._fail, self._seed = spec.integer("length", 2), spec.number("fail", 0.0), spec.integer("seed", 0)
        if self._length < 1 or not 0 <= self._fail <= 1 or self._seed < 0:
            raise ConfigError(f"model {spec.text}: length must be at least 1, fail in [0, 1] and seed at least 0")

    def fill_spans(
        self,
        masked: Sequence[str],
        *,
        samples: int = 1,
        seed: int = 0,
        temperature: float = 1.0,
        top_p: float = 1.0,
        top_k: int = 50,
    ) -> list[list[str]]:
        check_sampling(samples, temperature, top_p, top_k)
        keys = [int.from_bytes(key, "big") for key in text_keys(masked)]
        return [
            [self._version(text, np.random.default_rng([self._seed, seed, key, sample])) for sample in range(samples)]
            for text, key in zip(masked, keys, strict=True)
        ]

    def _version(self, masked: str, rng: np.random.Generator) -> str:
        gaps = gaps_of(masked)
        if gaps and rng.random() < self._fail:
            return ""
        return fill(masked, [" ".join(rng.choice(self._words, size=self._length)) for _ in range(gaps)])
