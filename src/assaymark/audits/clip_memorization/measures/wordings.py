"""Views of the text: which wording of its caption a pair has in each view, and which captions are cut by the context."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.audits.clip_memorization.config import ScoringSettings
from assaymark.audits.clip_memorization.measures.encoding import Encoder
from assaymark.audits.clip_memorization.method.paraphrase import rule_paraphrases
from assaymark.audits.clip_memorization.reading import Pool

__all__ = ["CutCaptions", "cut_captions", "text_views", "wordings_of", "written_paraphrases"]

TAIL = " and something else besides"
PROMPT = "Say this caption of a picture in other words, in one line, and write nothing else: {}"


class CutCaptions(NamedTuple):
    """Of `tested` captions (the longest ones) `cut` read the same with words added at their end: these are not read whole."""

    cut: int
    tested: int
    distinct: int


def wordings_of(pool: Pool, config: ScoringSettings, *, paraphraser: Any = None, seed: int = 0) -> list[list[str]]:
    """The wordings that the views of each pair draw from, each with at least one."""
    if config.text_views == "captions":
        return pool.captions
    first = [own[0] for own in pool.captions]
    if config.text_views == "first":
        return [[caption] for caption in first]
    if paraphraser is not None:
        further = written_paraphrases(first, paraphraser, count=config.paraphrases, seed=seed)
    else:
        further = rule_paraphrases(first, count=config.paraphrases, seed=seed)
    return [[caption, *own] for caption, own in zip(first, further, strict=True)]


def written_paraphrases(captions: Sequence[str], model: Any, *, count: int, seed: int) -> list[list[str]]:
    """Further wordings by a language model: distinct, none empty, none equal to its caption."""
    prompts = [[{"role": "user", "content": PROMPT.format(caption)}] for caption in captions]
    written = model.generate_text(prompts, samples=count, temperature=1.0, max_tokens=80, seed=seed)
    found = []
    for caption, texts in zip(captions, written, strict=True):
        lines = (line.strip() for text in texts for line in text.strip().splitlines()[:1])
        found.append([line for line in dict.fromkeys(lines) if line and line != caption])
    return found


def text_views(ids: Sequence[str], wordings: Sequence[Sequence[str]], *, views: int, seed: int) -> npt.NDArray[np.int64]:
    """Number of the wording of each pair in each view, shape (n, views); (n, 1) where no pair has a second wording.

    A function of id, view and seed alone, so that all models see the same.
    """
    if all(len(own) == 1 for own in wordings):
        return np.zeros((len(ids), 1), dtype=np.int64)
    drawn = np.empty((len(ids), views), dtype=np.int64)
    for row, (identity, own) in enumerate(zip(ids, wordings, strict=True)):
        digest = b"".join(
            blake2b(f"{seed} text {k} {identity}".encode("utf-8", "replace"), digest_size=8).digest() for k in range(views)
        )
        drawn[row] = np.frombuffer(digest, dtype=">u8") % len(own)
    return drawn


def cut_captions(captions: Sequence[str], encoder: Encoder, *, most: int) -> CutCaptions:
    """Count captions that are longer than the model reads: with words added at the end their embedding stays the same.

    Parameters
    ----------
    captions : sequence of str
    most : how many are tested, longest first
    """
    distinct = sorted(set(captions), key=lambda text: (-len(text), text))
    tested = distinct[:most]
    if not tested:
        return CutCaptions(0, 0, len(distinct))
    rows = encoder.embed_texts([*tested, *(text + TAIL for text in tested)])
    apart = np.abs(rows[: len(tested)] - rows[len(tested) :]).max(axis=1)
    return CutCaptions(int((apart < 1e-6).sum()), len(tested), len(distinct))
