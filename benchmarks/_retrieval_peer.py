"""faiss's exact index on saved arrays: `python _retrieval_peer.py FOLDER K`; runs in the peers' environment.

FOLDER holds embeddings.npy and queries.npy; for q = 1 and all queries it writes rows_{q}.npy and prints {"q": seconds} as JSON.
The least of five searches counts; building the index is not timed.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import faiss
import numpy as np


def main(folder: str, k: str) -> None:
    embeddings, queries = (np.load(Path(folder) / f"{name}.npy") for name in ("embeddings", "queries"))
    index = faiss.IndexFlatIP(embeddings.shape[1])
    index.add(embeddings)
    seconds = {}
    for q in (1, len(queries)):
        best = float("inf")
        for _ in range(5):
            start = time.perf_counter()
            _, rows = index.search(queries[:q], int(k))
            best = min(best, time.perf_counter() - start)
        seconds[str(q)] = best
        np.save(Path(folder) / f"rows_{q}.npy", rows)
    sys.stdout.write(json.dumps(seconds) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
