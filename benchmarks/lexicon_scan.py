"""Seeking a word list in captions: seconds per million captions, and whether the same rows are flagged.

`python benchmarks/lexicon_scan.py [--quick]`. Peers: the regular expression that defines word mode (one alternation, Python's
`re`), and in an environment of their own (`python benchmarks/_peers.py`) better-profanity, the bad-word filter of datatrove and
polars' substring scan. Slow peers see a sample; their seconds are scaled to a million captions and the note says so.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from assaymark.data.lexicon import Lexicon, Matcher, Normalisation, load_lexicon

HERE = Path(__file__).resolve().parent
MILLION = 1_000_000
LOWER = Normalisation(nfkc=False, zero_width=False)  # what the peers do: letter case and nothing else


class Material(NamedTuple):
    """What is searched: distinct captions, repeated to the wanted number, and the list; `origin` says what they are."""

    captions: list[str]
    lexicon: Lexicon
    origin: str

    def repeated(self, n: int) -> pa.Array:
        distinct = pa.array(self.captions, pa.large_string())
        return pa.concat_arrays([distinct] * -(-n // len(distinct))).slice(0, n)


class PeerRun(NamedTuple):
    seconds: float  # per million captions
    captions: int
    flagged: int


def run(quick: bool = False) -> list[dict[str, Any]]:
    """Rows of the table. Quick: a tenth of the captions, and smaller samples for the slow peers."""
    material = real() or generated()
    total, sample = (MILLION // 10, 2_000) if quick else (MILLION, 10_000)
    captions, terms = material.repeated(total), f"{len(material.lexicon)} terms"
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        write(material, Path(folder))
        for mode in ("word", "substring"):
            matcher = Matcher(material.lexicon, mode=mode)
            for threads in (1, 2):
                ours = per_million(partial(matcher.find, captions, threads=threads), total)
                for name, peer in peers(mode, material, Path(folder), total, sample, threads).items():
                    note = peer_note(name, peer)
                    case = f"{mode} mode, {terms}, {threads} thread{'s' * (threads > 1)}"
                    rows.append(row(case, ours, peer and peer.seconds, "s per million captions", f"{note}; {material.origin}"))
        rows += fidelity(material, Path(folder), sample)
    return rows


def peers(mode: str, material: Material, folder: Path, total: int, sample: int, threads: int) -> dict[str, PeerRun | None]:
    """Those that answer the same question, by name: whole words in Python, one thread; substrings in polars, any number."""
    if mode == "substring":
        return {"polars contains_any": other("polars", folder, total, threads=threads)}
    if threads > 1:
        return {"regular expression": expression(material, sample)}
    return {
        "regular expression": expression(material, sample),
        "datatrove C4BadWordsFilter": other("datatrove", folder, sample),
        "better-profanity": other("better-profanity", folder, sample // 50),
    }


def fidelity(material: Material, folder: Path, sample: int) -> list[dict[str, Any]]:
    """Flagged rows of a sample against the definition and against datatrove; the ratio should be 1."""
    rows = []
    hits = Matcher(material.lexicon, normalise=LOWER).find(material.repeated(sample))
    ours = float(np.unique(hits.rows).size)
    for name, peer in (
        ("regular expression", expression(material, sample)),
        ("datatrove C4BadWordsFilter", other("datatrove", folder, sample)),
    ):
        rows.append(row("word mode, flagged rows", ours, peer and float(peer.flagged), "rows", peer_note(name, peer)))
    return rows


def expression(material: Material, sample: int) -> PeerRun:
    """The definition of word mode as one alternation over normalised texts."""
    terms = "|".join(re.escape(LOWER.one(term.term)) for term in material.lexicon.terms)
    pattern = re.compile(rf"(?:\W|^)({terms})(?:\W|$)")
    texts = material.repeated(sample).to_pylist()
    flagged = sum(pattern.search(text.casefold()) is not None for text in texts)
    seconds = per_million(lambda: [pattern.search(text.casefold()) for text in texts], sample)
    return PeerRun(seconds, sample, flagged)


def other(peer: str, folder: Path, n: int, *, threads: int = 1) -> PeerRun | None:
    """A peer in the environment of the peers; None where that has not been made."""
    found = subprocess.run(
        [sys.executable, HERE / "_peers.py", "--find"], capture_output=True, text=True, check=True
    ).stdout.strip()
    if not found:
        return None
    command: list[str | Path] = [found, HERE / "_lexicon_peers.py", peer, folder, str(n)]
    environment = {**os.environ, "POLARS_MAX_THREADS": str(threads), "HF_HUB_OFFLINE": "1"}
    answer = json.loads(
        subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout.splitlines()[-1]
    )
    return PeerRun(answer["seconds"] * MILLION / answer["captions"], answer["captions"], answer["flagged"])


def per_million(search: Callable[[], object], n: int) -> float:
    """Least of three runs after one that compiles."""
    seconds = []
    search()
    for _ in range(3):
        start = time.perf_counter()
        search()
        seconds.append(time.perf_counter() - start)
    return min(seconds) * MILLION / n


def row(case: str, ours: float, peer: float | None, unit: str, note: str) -> dict[str, Any]:
    return {"case": case, "ours": ours, "peer": peer, "ratio": ours / peer if peer else None, "unit": unit, "note": note}


def peer_note(name: str, peer: PeerRun | None) -> str:
    if peer is None:
        return f"peer {name} absent: run python benchmarks/_peers.py"
    each = peer.seconds / MILLION * 1e6
    return f"peer {name}: {peer.captions:,} captions, {each:,.3g} us each"


def real() -> Material | None:
    """Raw alt-texts and the English list of the shared research data, where they are."""
    import pyarrow.parquet as pq

    folder = Path(os.environ.get("ASSAYMARK_SHARED_DATA") or HERE.parents[1] / "shared" / "data")
    table, words = folder / "img2dataset-alttext-10k" / "test_10000.parquet", folder / "ldnoobw" / "en.txt"
    if not (table.is_file() and words.is_file()):
        return None
    texts = pq.read_table(table, columns=["TEXT"])["TEXT"].fill_null("").to_pylist()
    return Material(texts, load_lexicon(words), f"{len(texts):,} real alt-texts, repeated")


def generated(seed: int = 0) -> Material:
    """Captions of made-up words and 403 of these as the list, each caption holding one with probability 1 %."""
    rng = np.random.default_rng(seed)
    letters = list("abcdefghijklmnoprstuvwy")
    words = np.unique(["".join(rng.choice(letters, rng.integers(4, 11))) for _ in range(8_000)])
    rng.shuffle(words)
    terms, harmless = words[:403], words[403:]
    sentences = rng.choice(harmless, (10_000, 9))
    planted = np.flatnonzero(rng.random(len(sentences)) < 0.01)
    sentences[planted, rng.integers(0, 9, len(planted))] = rng.choice(terms, len(planted))
    return Material([" ".join(row) for row in sentences], Lexicon.of("made-up", terms.tolist()), "generated captions, repeated")


def write(material: Material, folder: Path) -> None:
    """What the peers read."""
    (folder / "captions.json").write_text(json.dumps(material.captions), encoding="utf-8")
    (folder / "terms.txt").write_text("\n".join(term.term for term in material.lexicon.terms), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small sizes: does it run, not how fast is it")
    rows = run(parser.parse_args().quick)
    print(f"{'case':36} {'ours':>9} {'peer':>9} {'ratio':>8}  unit; note")
    for line in rows:
        peer, ratio = (f"{line[key]:.4g}" if line[key] is not None else "-" for key in ("peer", "ratio"))
        print(f"{line['case']:36} {line['ours']:9.4g} {peer:>9} {ratio:>8}  {line['unit']}; {line['note']}")
    libraries = ", ".join(f"{name} {version(name)}" for name in ("ahocorasick_rs", "pyarrow", "numpy"))
    pins = ", ".join(line for line in (HERE / "peers.txt").read_text().splitlines() if "==" in line)
    print(f"\n{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}, {libraries}; peers: {pins}")


if __name__ == "__main__":
    main()
