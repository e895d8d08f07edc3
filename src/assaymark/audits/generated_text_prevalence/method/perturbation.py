"""DetectGPT and NPR: is a text more likely than texts that say nearly the same?

A machine's text sits near a local maximum of the likelihood of the model that wrote it, so perturbing it costs more likelihood
than perturbing a human's ([1], hypothesis 3.1). Spans are masked here; a T5-type model fills them.

References
----------
.. [1] Mitchell, E. et al. (2023). DetectGPT: zero-shot machine-generated text detection using probability curvature. ICML.
.. [2] Su, J. et al. (2023). DetectLLM: leveraging log rank information for zero-shot detection. EMNLP Findings (NPR).
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["MOST_SPANS", "detectgpt", "mask_spans", "npr", "span_count"]

Floats = npt.NDArray[np.float64]

MOST_SPANS = 100
"""T5 has the sentinels <extra_id_0> to <extra_id_99>."""
FEWEST_PERTURBATIONS = 2
_WORD = re.compile(r"\S+")
_SENTINEL = re.compile(r"<extra_id_(\d+)>")


def span_count(words: int, *, share: float = 0.15, span: int = 2, buffer: int = 1) -> int:
    """Spans to mask in a text of so many words; 0 where the text is shorter than one span.

    Notes
    -----
    The official code masks `pct * words / (span + 2 buffer)` spans, rounded down. Its default pct = 0.3, with span 2 and buffer
    1, masks 0.3 * 2 / 4 = 15 % of the words, the share of the paper; here `share` is that masked share, and the number is the
    same: share * words / span. Two differences: at least one span, where the official code leaves texts of up to 13 words
    unchanged (their perturbations then tell nothing), and never more than fit with their buffers, or than there are sentinels.
    """
    if not 0.0 < share <= 1.0 or span < 1 or buffer < 0:
        raise ValueError(f"share {share}, span {span}, buffer {buffer}: share lies in (0, 1], span >= 1, buffer >= 0")
    if words < span:
        return 0
    fit = (words + buffer) // (span + buffer)
    # the slack keeps 0.15 * 40 / 2 from being rounded to 2.99...
    return max(1, min(int(share * words / span + 1e-9), fit, MOST_SPANS))


def mask_spans(text: str, *, share: float = 0.15, span: int = 2, buffer: int = 1, rng: np.random.Generator) -> str | None:
    """The text with random spans of words replaced by <extra_id_0>, <extra_id_1>, ... in reading order.

    Parameters
    ----------
    text : str
        Words are separated by blanks; blanks outside the spans are kept. Sentinels that the text itself holds lose their
        brackets, so that they are not filled.
    share : float in (0, 1]
        Share of the words that are masked.
    span : int >= 1
        Words in each span.
    buffer : int >= 0
        Unmasked words between two spans, at least.

    Returns
    -------
    str, or None where the text has fewer words than one span

    Notes
    -----
    Each arrangement of the spans is equally likely. The official code draws starts one after another and rejects those too near
    to others, which never ends when there are too many, and never masks the last word. O(words).
    """
    words = list(_WORD.finditer(_SENTINEL.sub(r"extra_id_\1", text)))
    spans = span_count(len(words), share=share, span=span, buffer=buffer)
    if not spans:
        return None
    # spans of length s, with gaps of at least g between them, correspond to choices of `spans` out of so many places
    places = len(words) - spans * span - (spans - 1) * buffer + spans
    chosen = np.sort(rng.choice(places, size=spans, replace=False))
    starts = chosen + np.arange(spans) * (span + buffer - 1)
    source, pieces, end = words[0].string, [], 0
    for number, start in enumerate(starts.tolist()):
        pieces += [source[end : words[start].start()], f"<extra_id_{number}>"]
        end = words[start + span - 1].end()
    return "".join([*pieces, source[end:]])


def _enough(original: Any, perturbed: Any) -> tuple[Floats, Floats, npt.NDArray[np.bool_]]:
    """Both as float64, infinite as missing, and which texts have a value and at least two perturbations."""
    one, many = np.asarray(original, dtype=np.float64), np.asarray(perturbed, dtype=np.float64)
    if many.ndim != 2 or one.shape != many.shape[:1]:
        raise ValueError(f"{one.shape} texts but perturbations of shape {many.shape}: expected (n,) and (n, k)")
    many = np.where(np.isfinite(many), many, np.nan)
    return one, many, np.isfinite(one) & (np.isfinite(many).sum(axis=1) >= FEWEST_PERTURBATIONS)


def detectgpt(log_likelihood: Any, perturbed: Any, *, normalised: bool = True) -> Floats:
    """Perturbation discrepancy ([1], eq. 1): l(x) - mean_k l(x~_k), divided by the spread of l(x~_k); higher says machine.

    Parameters
    ----------
    log_likelihood : array_like, shape (n,)
        Mean log-likelihood of each text.
    perturbed : array_like, shape (n, k)
        Of its perturbations; NaN where one failed.
    normalised : bool
        False gives d, True z = d / std, with the population standard deviation (ddof = 0) as the official code has it.

    Returns
    -------
    array, shape (n,)
        NaN with fewer than two perturbations, and for z where all are equally likely.
    """
    one, many, enough = _enough(log_likelihood, perturbed)
    out = np.full(one.shape, np.nan)
    out[enough] = one[enough] - np.nanmean(many[enough], axis=1)
    if normalised:
        spread = np.full(one.shape, np.nan)
        spread[enough] = np.nanstd(many[enough], axis=1)
        # equal values leave a spread of rounding
        flat = spread <= 1e-12 * np.maximum(np.abs(one), 1.0)
        out = np.divide(out, spread, out=np.full(one.shape, np.nan), where=enough & ~flat)
    return out


def npr(log_rank: Any, perturbed: Any) -> Floats:
    """Normalised perturbed log-rank ([2], eq. 3): mean_k logrank(x~_k) / logrank(x); higher says machine.

    Parameters
    ----------
    log_rank, perturbed : array_like, shapes (n,) and (n, k)

    Returns
    -------
    array, shape (n,)
        NaN with fewer than two perturbations, and where each token of the text was the first choice.
    """
    one, many, enough = _enough(log_rank, perturbed)
    enough &= one != 0
    out = np.full(one.shape, np.nan)
    out[enough] = np.nanmean(many[enough], axis=1) / one[enough]
    return out
