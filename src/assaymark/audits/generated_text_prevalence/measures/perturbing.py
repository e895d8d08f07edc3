"""What a language model thinks of rewritten texts: the scores that DetectGPT and NPR compare with those of the text itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from assaymark.audits.generated_text_prevalence.method.perturbation import detectgpt, mask_spans, npr
from assaymark.models.content import text_keys

__all__ = ["Rewriting", "rewritten_scores"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Rewriting:
    """How texts are rewritten: `number` times, `share` of the words in spans of `span` words with `buffer` words around."""

    filler: Any
    number: int
    share: float
    span: int
    buffer: int
    seed: int


def rewritten_scores(model: Any, texts: list[str], how: Rewriting, summary: Floats) -> Floats:
    """DetectGPT's d and z and NPR of each text, shape (n, 3); NaN where fewer than two rewritings succeeded.

    Parameters
    ----------
    summary : array, shape (n, columns)
        The model's answers about the texts themselves.

    Notes
    -----
    `number` calls of the filler and of the language model for each text; both go through the cache.
    """
    masked = [mask for text in texts for mask in _masks(text, how)]
    asked = [mask for mask in masked if mask is not None]
    filled = iter(how.filler.fill_spans(asked, seed=how.seed) if asked else [])
    rewritten = ["" if mask is None else next(filled)[0] for mask in masked]
    scores = np.full((len(rewritten), 2), np.nan)
    usable = [row for row, text in enumerate(rewritten) if text.strip()]
    places = [list(model.token_columns).index(name) for name in ("log_likelihood", "log_rank")]
    if usable:
        scores[usable] = np.asarray(model.summarise_tokens([rewritten[row] for row in usable]), np.float64)[:, places]
    cube = scores.reshape(len(texts), how.number, 2)
    own = np.asarray(summary, np.float64)[:, places]
    return np.column_stack(
        [
            detectgpt(own[:, 0], cube[..., 0], normalised=False),
            detectgpt(own[:, 0], cube[..., 0], normalised=True),
            npr(own[:, 1], cube[..., 1]),
        ]
    )


def _masks(text: str, how: Rewriting) -> list[str | None]:
    """Masked forms of a text, drawn from the text and the seed alone; None where it is too short to be masked."""
    key = int.from_bytes(text_keys([text])[0][:8], "big")
    rng = np.random.default_rng([how.seed, key])
    return [mask_spans(text, share=how.share, span=how.span, buffer=how.buffer, rng=rng) for _ in range(how.number)]
