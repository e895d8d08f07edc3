"""One pass of some text probes over a folder of Parquet files, `python -m benchmarks._scan_probes JSON`.

The request holds folder, shards (how many), lexicon (path) and probes (names). The answer, JSON too, holds wall-clock and
processor seconds of the pass (not of the imports), the peak memory of the process, and a digest of each probe's answer.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from assaymark.audits.image_text_dataset.config import ImageTextDatasetConfig
from assaymark.audits.image_text_dataset.probes.anatomy import AnatomyProbe
from assaymark.audits.image_text_dataset.probes.duplicates import DuplicateProbe
from assaymark.audits.image_text_dataset.probes.language import LanguageProbe
from assaymark.audits.image_text_dataset.probes.lexicons import LexiconProbe
from assaymark.audits.image_text_dataset.probes.search import SearchProbe
from assaymark.audits.image_text_dataset.probes.slice_test import SliceProbe
from assaymark.audits.image_text_dataset.reading import build_vocabulary
from assaymark.data.dataset import open_input
from assaymark.data.probe import Probe
from assaymark.data.scan import scan
from assaymark.data.state import digest
from benchmarks import peak_megabytes

QUERIES = ("beautiful", "handsome", "school girl", "school boy", "Indian women", "nun", "CEO")


def chosen(names: Sequence[str], lexicon: str) -> list[Probe]:
    """The text probes of these names, with the words that they seek and no others: a probe alone pays for nothing else."""
    config = ImageTextDatasetConfig(lexicons=(lexicon,) if "lexicons" in names else ())
    words = build_vocabulary(config if "slice_test" in names else config.model_copy(update={"terms": ()}))
    offers: dict[str, Callable[[], Probe]] = {
        "anatomy": AnatomyProbe,
        "duplicates": DuplicateProbe,
        "lexicons": lambda: LexiconProbe(words, examples=config.examples),
        "slice_test": lambda: SliceProbe(words),
        "language": lambda: LanguageProbe(size=config.language_sample),
        "search": lambda: SearchProbe(QUERIES, k=config.k),
    }
    return [offers[name]() for name in names]


def main(request: str) -> None:
    asked = json.loads(request)
    probes = chosen(asked["probes"], asked["lexicon"])
    paths = sorted(str(path) for path in Path(asked["folder"]).glob("*.parquet"))[: asked["shards"]]
    dataset = open_input("pairs", paths, name="pairs")
    wall, processor = time.perf_counter(), time.process_time()
    outcome = scan(dataset, probes)
    answer = {
        "seconds": time.perf_counter() - wall,
        "processor": time.process_time() - processor,
        "megabytes": peak_megabytes(),
        "rows": outcome.rows,
        "answers": {name: digest(found) for name, found in outcome.answers.items()},
    }
    sys.stdout.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
