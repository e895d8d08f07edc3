"""One peer over the captions of a file; runs in the peers' environment and prints seconds, captions and flagged rows as JSON.

`python _lexicon_peers.py PEER FOLDER N`: FOLDER holds captions.json (strings) and terms.txt; N captions are taken, from the
start again where the file has fewer. The least of three runs counts; building the
peer's own tables is not timed.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable
from itertools import cycle, islice
from pathlib import Path

Flags = Iterable[bool]


def better_profanity(captions: list[str], terms: Path) -> Callable[[], Flags]:
    from better_profanity import Profanity

    censor = Profanity(terms.read_text(encoding="utf-8").split("\n"))
    return lambda: [censor.contains_profanity(caption) for caption in captions]


def datatrove(captions: list[str], terms: Path) -> Callable[[], Flags]:
    from datatrove.data import Document
    from datatrove.pipeline.filters import c4_filters

    c4_filters.cached_asset_path_or_download = lambda *_, **__: str(terms)  # our list, and no network
    kept = c4_filters.C4BadWordsFilter()
    documents = [Document(text=caption, id="") for caption in captions]
    kept.filter(Document(text="", id=""))  # compiles the expression
    return lambda: [kept.filter(document) is not True for document in documents]


def polars(captions: list[str], terms: Path) -> Callable[[], Flags]:
    import polars as pl

    series, patterns = pl.Series(captions), terms.read_text(encoding="utf-8").split("\n")
    return lambda: series.str.contains_any(patterns, ascii_case_insensitive=True)


def main(peer: str, folder: str, n: str) -> None:
    captions = list(islice(cycle(json.loads((Path(folder) / "captions.json").read_text(encoding="utf-8"))), int(n)))
    search = {"better-profanity": better_profanity, "datatrove": datatrove, "polars": polars}[peer](
        captions, Path(folder) / "terms.txt"
    )
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        flags = search()
        seconds.append(time.perf_counter() - start)
    sys.stdout.write(json.dumps({"seconds": min(seconds), "captions": len(captions), "flagged": sum(map(bool, flags))}) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
