"""What is searched: real alt-texts and word list where they are, made-up ones otherwise."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from assaymark.data.lexicon import Lexicon, load_lexicon

REPOSITORY = Path(__file__).resolve().parents[1]


class Material(NamedTuple):
    """10,000 or so distinct (URL, caption) rows, repeated to the wanted number, and the list; `origin` says what they are."""

    captions: list[str]
    urls: list[str]
    lexicon: Lexicon
    origin: str

    def repeated(self, n: int) -> pa.Array:
        """n captions, from the start again after the last."""
        distinct = pa.array(self.captions, pa.large_string())
        return pa.concat_arrays([distinct] * -(-n // len(distinct))).slice(0, n)


def material() -> Material:
    return real() or generated()


def real() -> Material | None:
    """Raw alt-texts and the English list of the shared research data: $ASSAYMARK_SHARED_DATA, or beside the repository."""
    import pyarrow.parquet as pq

    folder = Path(os.environ.get("ASSAYMARK_SHARED_DATA") or REPOSITORY.parent / "shared" / "data")
    table, words = folder / "img2dataset-alttext-10k" / "test_10000.parquet", folder / "ldnoobw" / "en.txt"
    if not (table.is_file() and words.is_file()):
        return None
    rows = pq.read_table(table, columns=["URL", "TEXT"])
    texts, urls = (rows[name].fill_null("").to_pylist() for name in ("TEXT", "URL"))
    return Material(texts, urls, load_lexicon(words), f"{len(texts):,} real alt-texts, repeated")


def generated(seed: int = 0, *, rows: int = 10_000) -> Material:
    """Captions of made-up words and 403 of these as the list, each caption holding one with probability 1 %."""
    rng = np.random.default_rng(seed)
    letters = list("abcdefghijklmnoprstuvwy")
    words = np.unique(["".join(rng.choice(letters, rng.integers(4, 11))) for _ in range(8_000)])
    rng.shuffle(words)
    terms, harmless = words[:403], words[403:]
    sentences = rng.choice(harmless, (rows, 9))
    planted = np.flatnonzero(rng.random(rows) < 0.01)
    sentences[planted, rng.integers(0, 9, len(planted))] = rng.choice(terms, len(planted))
    hosts = rng.choice(harmless[: rows // 2], rows)
    named = enumerate(zip(hosts, sentences[:, 0], strict=True))
    urls = [f"https://img.{host}.com/{number}/{word}.jpg" for number, (host, word) in named]
    captions = [" ".join(row) for row in sentences]
    return Material(captions, urls, Lexicon.of("made-up", terms.tolist()), "generated captions, repeated")
