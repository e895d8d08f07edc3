"""Word occurrences as a detector without any model: how much more probable are the words of a text under machines?

A text is the set of words that stand in it, each of which occurs or not with a probability of its own in human and in machine
texts ([1]). The share of machine texts in a corpus is then the maximum of the likelihood of the mixture (`stats.mixture_mle`).

References
----------
.. [1] Liang, W. et al. (2024). Monitoring AI-modified content at scale: a case study on the impact of ChatGPT on AI conference
   peer reviews. ICML; arXiv:2403.07183 (distributional quantification from word occurrences).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
import numpy.typing as npt

from assaymark.audits.generated_text_prevalence.method.words import words_of

__all__ = ["WordOccurrence", "fit_words"]

Floats = npt.NDArray[np.float64]
FEWEST_TEXTS = 5
"""Labelled texts that a word must stand in: rarer ones say more about these texts than about their authors."""

_HALF = 0.5  # added to the texts with and to those without a word, so that no probability is 0


@dataclass(frozen=True)
class WordOccurrence:
    """Log-probability ratio, machine over human, of texts.

    Attributes
    ----------
    place : dict of word to its position
    gain : array, shape (words,)
        What the occurrence of a word adds to the ratio, over its absence.
    absent : float
        The ratio of a text without any of the words.
    """

    place: dict[str, int]
    gain: Floats
    absent: float

    @property
    def fingerprint(self) -> str:
        """Hash of all that decides the ratios."""
        words = "\n".join(self.place).encode("utf-8", "surrogatepass")
        return blake2b(words + self.gain.tobytes() + np.float64(self.absent).tobytes(), digest_size=16).hexdigest()

    def log_ratio(self, texts: Sequence[str]) -> Floats:
        """log P(text | machine) - log P(text | human), shape (n,), in nats; NaN for a text without words. O(words)."""
        ratios = np.full(len(texts), np.nan)
        for row, text in enumerate(texts):
            found = set(words_of(text))
            if found:
                ratios[row] = self.absent + sum(self.gain[self.place[word]] for word in found if word in self.place)
        return ratios


def fit_words(texts: Iterable[str], labels: npt.ArrayLike) -> WordOccurrence:
    """Occurrence probabilities (n_w + 1/2) / (n + 1) of each word in the texts of either side.

    Parameters
    ----------
    texts : n texts
    labels : array_like, shape (n,)
        1 for machine-written.

    Raises
    ------
    ValueError
        One of the sides has no texts.
    """
    machine = np.asarray(labels) == 1
    counts: dict[str, list[int]] = {}
    for text, side in zip(texts, machine.tolist(), strict=True):
        for word in set(words_of(text)):
            counts.setdefault(word, [0, 0])[side] += 1
    sizes = np.array([int((~machine).sum()), int(machine.sum())], np.float64)
    if not sizes.all():
        raise ValueError(f"{sizes[0]:.0f} human and {sizes[1]:.0f} machine-written texts: words need some of each")
    words = sorted(word for word, found in counts.items() if sum(found) >= FEWEST_TEXTS)
    table = np.array([counts[word] for word in words], np.float64).reshape(len(words), 2)
    share = (table + _HALF) / (sizes + 2 * _HALF)
    present, absent = np.log(share), np.log1p(-share)
    without = absent[:, 1] - absent[:, 0]
    gain = present[:, 1] - present[:, 0] - without
    return WordOccurrence({word: i for i, word in enumerate(words)}, gain, float(without.sum()))
