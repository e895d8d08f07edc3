"""Exact nearest neighbours beside faiss's exact index: seconds, and whether the same rows come back.

`python benchmarks/retrieval.py [--quick]`. The peer lives in an environment of its own (`python benchmarks/_peers.py`); without
it its column stays empty and the note says so.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import numpy as np

from assaymark.audits.image_text_dataset.method.top_k import top_k

HERE = Path(__file__).resolve().parent
K = 100


def peers_python() -> Path | None:
    """Interpreter that has faiss: $ASSAYMARK_PEERS_PYTHON, or the peers' environment of this repository."""
    if named := os.environ.get("ASSAYMARK_PEERS_PYTHON"):
        return Path(named)
    setup = HERE / "_peers.py"
    if not setup.is_file():
        return None
    spec = spec_from_file_location("_peers", setup)
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    found: Path | None = module.peers_python()
    return found


def unit_vectors(rng: np.random.Generator, n: int, d: int) -> np.ndarray:
    vectors = rng.standard_normal((n, d), dtype=np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def least_seconds(search: Callable[[], Any]) -> float:
    search()
    best = float("inf")
    for _ in range(5):
        start = time.perf_counter()
        search()
        best = min(best, time.perf_counter() - start)
    return best


def run(quick: bool = False) -> list[dict[str, Any]]:
    """Rows for one query and for a hundred; less is better, and `note` says whether the answers are the same."""
    n, d = (20_000, 64) if quick else (200_000, 512)
    rng = np.random.default_rng(0)
    embeddings, queries = unit_vectors(rng, n, d), unit_vectors(rng, 100, d)
    ours = {q: least_seconds(lambda q=q: top_k(queries[:q], embeddings, K)) for q in (1, 100)}
    python = peers_python()
    peer: dict[int, float] = {}
    same: dict[int, float] = {}
    if python is not None:
        with tempfile.TemporaryDirectory() as folder:
            np.save(Path(folder) / "embeddings.npy", embeddings)
            np.save(Path(folder) / "queries.npy", queries)
            command = [str(python), str(HERE / "_retrieval_peer.py"), folder, str(K)]
            answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            peer = {int(q): seconds for q, seconds in json.loads(answer).items()}
            same = {q: agreement(queries[:q], embeddings, np.load(Path(folder) / f"rows_{q}.npy")) for q in peer}
    return [row(q, n, d, ours[q], peer.get(q), same.get(q)) for q in (1, 100)]


def agreement(queries: np.ndarray, embeddings: np.ndarray, rows: np.ndarray) -> float:
    """Share of the peer's hits that are ours too (float32 sums may exchange hits whose scores differ by 1e-7)."""
    mine = top_k(queries, embeddings, K).rows
    return float(np.mean([np.isin(a, b).mean() for a, b in zip(rows, mine, strict=True)]))


def row(q: int, n: int, d: int, ours: float, peer: float | None, same: float | None) -> dict[str, Any]:
    note = f"peer: faiss-cpu IndexFlatIP; {q} queries, {n:,} x {d}, k = {K}; less is better"
    note += f"; same hits {same:.2%}" if same is not None else "; not run, its environment is missing"
    ratio = None if peer is None else ours / peer
    return {"case": f"exact search, {q} queries", "ours": ours, "peer": peer, "ratio": ratio, "unit": "s", "note": note}


if __name__ == "__main__":
    for entry in run("--quick" in sys.argv):
        sys.stdout.write(json.dumps(entry) + "\n")
    sys.stdout.write(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}\n")
