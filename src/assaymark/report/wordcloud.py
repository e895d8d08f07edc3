"""Clouds of words: a picture of which terms weigh most, masked unless the caller says otherwise."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Mapping
from typing import Any

from assaymark.errors import ConfigError
from assaymark.report.canvas import COLOURS
from assaymark.report.redaction import mask_term
from assaymark.report.text import shorten, visible

__all__ = ["word_cloud"]

LONGEST_TERM = 40
LEAST_SIDE, MOST_SIDE = 50, 4_000


def word_cloud(
    frequencies: Mapping[str, float],
    *,
    seed: int,
    shown: Callable[[str], str] = mask_term,
    max_words: int = 150,
    relative_scaling: float = 0.25,
    width: int = 800,
    height: int = 400,
) -> bytes | None:
    """PNG of the terms, the larger the more they weigh.

    Parameters
    ----------
    frequencies : mapping of str to float
        Weights of terms: counts, shares, or any statistic. Terms of no positive, finite weight are left out.
    seed : int
        Places and colours; the same weights and seed give the same bytes.
    shown : callable
        What is drawn for a term. By default every term is masked; give a function that masks where it must, such as
        ``lambda term: mask_term(term) if term in slurs else term``. Terms that look alike once masked are drawn once, with
        the sum of their weights.
    max_words, relative_scaling : int, float in [0, 1]
        The defaults are those of the clouds in Schramowski et al. (2022), "Can Machines Help Us Answering Question 16 in
        Datasheets". At 0 only the rank of a term decides its size, at 1 its weight alone.
    width, height : int
        Pixels, 50 to 4,000.

    Returns
    -------
    bytes or None
        None where no term is left: there is nothing to draw.

    Notes
    -----
    Drawn with the one font that comes with the library (Droid Sans Mono); scripts that it lacks appear as boxes. Terms that
    find no place at a legible size are left out, the lightest first. About a second for 150 terms at the default size.
    """
    if max_words < 1 or not 0.0 <= relative_scaling <= 1.0:
        raise ConfigError(f"a word cloud of {max_words} words, relative scaling {relative_scaling}: at least 1, and 0 to 1")
    if not (LEAST_SIDE <= width <= MOST_SIDE and LEAST_SIDE <= height <= MOST_SIDE):
        raise ConfigError(f"a word cloud of {width} x {height} pixels: each side is {LEAST_SIDE} to {MOST_SIDE:,}")
    weights = _drawn(frequencies, shown)
    if not weights:
        return None
    from wordcloud import WordCloud

    cloud = WordCloud(
        width=width, height=height, max_words=max_words, relative_scaling=relative_scaling, random_state=seed,
        background_color="white", color_func=_colour,
    )  # fmt: skip
    buffer = io.BytesIO()
    # Few colours and their edges: a third of the bytes, and nobody sees it.
    cloud.generate_from_frequencies(weights).to_image().quantize(64).save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def _drawn(frequencies: Mapping[str, float], shown: Callable[[str], str]) -> dict[str, float]:
    """Weights by what is drawn, in an order that depends on neither the mapping's nor that of equal weights."""
    weights: dict[str, float] = {}
    for term in sorted(term for term, weight in frequencies.items() if weight > 0 and math.isfinite(weight)):
        text = shorten(visible(" ".join(shown(term).split())), LONGEST_TERM, counted=False)
        if text:
            weights[text] = weights.get(text, 0.0) + float(frequencies[term])
    return weights


def _colour(word: str, *, random_state: Any, **layout: Any) -> str:
    return str(random_state.choice(COLOURS))
