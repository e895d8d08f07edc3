"""Seeking a word list in captions: seconds per million captions, and whether the same rows are flagged.

Peers: the regular expression that defines word mode (one alternation, Python's `re`), and in an environment of their own
better-profanity, the bad-word filter of datatrove and polars' substring scan. Slow peers see a sample; their seconds are scaled
to a million captions and the note says how many they saw.
"""

from __future__ import annotations

import json
import re
import tempfile
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from assaymark.data.lexicon import Matcher, Normalisation
from benchmarks import Row, Target, best_seconds
from benchmarks._material import Material, material
from benchmarks._peers import ask

MILLION = 1_000_000
UNIT = "s per million captions"
LOWER = Normalisation(nfkc=False, zero_width=False)  # what the peers do: letter case and nothing else
TARGETS = {
    "better-profanity": Target("times", ">=", 100),
    "datatrove C4BadWordsFilter": Target("times", ">=", 3),
}


class PeerRun(NamedTuple):
    seconds: float  # per million captions
    captions: int
    flagged: int


def run(quick: bool = False) -> list[Row]:
    """Rows of the table. Quick: a tenth of the captions, and smaller samples for the slow peers."""
    found = material()
    total, sample = (MILLION // 10, 2_000) if quick else (MILLION, 10_000)
    captions = found.repeated(total)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        write(found, Path(folder))
        for mode in ("word", "substring"):
            matcher = Matcher(found.lexicon, mode=mode)
            for threads in (1, 2):
                search = partial(matcher.find, captions, threads=threads)
                search()
                ours = best_seconds(search) * MILLION / total
                case = f"{mode} mode, {len(found.lexicon)} terms, {threads} thread{'s' * (threads > 1)}"
                if mode == "word" and threads == 2:
                    note = f"nothing beside it; {total:,} captions; {found.origin}"
                    rows.append(Row(case, ours, None, UNIT, note, Target("ours", "<=", 5)))
                for name, peer in peers(mode, found, Path(folder), total, sample, threads).items():
                    note = f"{peer_note(name, peer)}; {found.origin}"
                    rows.append(Row(case, ours, peer and peer.seconds, UNIT, note, TARGETS.get(name)))
        rows += fidelity(found, Path(folder), sample)
    return rows


def peers(mode: str, found: Material, folder: Path, total: int, sample: int, threads: int) -> dict[str, PeerRun | None]:
    """Those that answer the same question, by name: whole words in Python, one thread; substrings in polars, any number."""
    if mode == "substring":
        return {"polars contains_any (which rows, not which terms: a lower bound)": other("polars", folder, total, threads)}
    if threads > 1:
        return {}
    return {
        "regular expression": expression(found, sample),
        "datatrove C4BadWordsFilter": other("datatrove", folder, sample),
        "better-profanity": other("better-profanity", folder, max(20, sample // 50)),
    }


def fidelity(found: Material, folder: Path, sample: int) -> list[Row]:
    """Hits of a sample against the definition, term by term, and flagged rows against datatrove; the ratio should be 1."""
    hits = Matcher(found.lexicon, normalise=LOWER).find(found.repeated(sample))
    ours, theirs = set(zip(hits.rows.tolist(), hits.terms.tolist(), strict=True)), reference(found, sample)
    note = (
        f"{sample:,} captions: pairs found by both, beside pairs found by either; peer: the defining expression, term by term"
    )
    rows = [Row("word mode, (row, term) hits", len(ours & theirs), len(ours | theirs), "pairs", note, Target("ratio", ">=", 1))]
    flagged = float(np.unique(hits.rows).size)
    peer = other("datatrove", folder, sample)
    note = peer_note("datatrove C4BadWordsFilter", peer)
    return [*rows, Row("word mode, flagged rows", flagged, peer and float(peer.flagged), "rows", note)]


def reference(found: Material, sample: int) -> set[tuple[int, int]]:
    """Every (row, term) of the definition. A term that is no substring of a text cannot be a word of it and is not tried."""
    texts = [text.casefold() for text in found.repeated(sample).to_pylist()]
    pairs = set()
    for index, term in enumerate(found.lexicon.terms):
        word = LOWER.one(term.term)
        pattern = re.compile(rf"(?:\W|^)({re.escape(word)})(?:\W|$)")
        pairs |= {(row, index) for row, text in enumerate(texts) if word in text and pattern.search(text)}
    return pairs


def expression(found: Material, sample: int) -> PeerRun:
    """The definition of word mode as one alternation over normalised texts."""
    terms = "|".join(re.escape(LOWER.one(term.term)) for term in found.lexicon.terms)
    pattern = re.compile(rf"(?:\W|^)({terms})(?:\W|$)")
    texts = found.repeated(sample).to_pylist()
    flagged = sum(pattern.search(text.casefold()) is not None for text in texts)
    seconds = best_seconds(lambda: [pattern.search(text.casefold()) for text in texts]) * MILLION / sample
    return PeerRun(seconds, sample, flagged)


def other(peer: str, folder: Path, n: int, threads: int = 1) -> PeerRun | None:
    """A peer in the environment of the peers; None where that has not been made."""
    environment = {"POLARS_MAX_THREADS": str(threads), "HF_HUB_OFFLINE": "1"}
    answer = ask("_lexicon_peers.py", peer, folder, str(n), environment=environment)
    return answer and PeerRun(answer["seconds"] * MILLION / answer["captions"], answer["captions"], answer["flagged"])


def peer_note(name: str, peer: PeerRun | None) -> str:
    if peer is None:
        return f"peer {name} was not run: no environment of the peers"
    return f"peer: {name}, {peer.captions:,} captions, {peer.seconds / MILLION * 1e6:,.3g} us each"


def write(found: Material, folder: Path) -> None:
    """What the peers read."""
    (folder / "captions.json").write_text(json.dumps(found.captions), encoding="utf-8")
    (folder / "terms.txt").write_text("\n".join(term.term for term in found.lexicon.terms), encoding="utf-8")
