"""Exact nearest neighbours beside faiss's exact index: seconds, and whether the same rows come back."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path

import numpy as np

from assaymark.audits.image_text_dataset.method.top_k import top_k
from benchmarks import Row, Target, best_seconds
from benchmarks._peers import ask

K = 100
UNIT = 1.001  # unit vectors, as far as float32 goes; without it the error bound of the search measures the longest row


def unit_vectors(rng: np.random.Generator, n: int, d: int) -> np.ndarray:
    vectors = rng.standard_normal((n, d), dtype=np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def run(quick: bool = False) -> list[Row]:
    """Rows for one query and for a hundred: seconds, and how many of faiss's hits are ours too."""
    n, d = (20_000, 64) if quick else (200_000, 512)
    rng = np.random.default_rng(0)
    embeddings, queries = unit_vectors(rng, n, d), unit_vectors(rng, 100, d)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder) / "embeddings.npy", embeddings)
        np.save(Path(folder) / "queries.npy", queries)
        peer = ask("_retrieval_peer.py", folder, str(K)) or {}
        for q, longest in ((1, None), (1, UNIT), (100, None)):
            search = partial(top_k, queries[:q], embeddings, K, longest=longest)
            mine = search().rows
            note = f"peer: faiss-cpu IndexFlatIP; {n:,} x {d}, k = {K}, all threads of both; least of five"
            case = f"exact search, q = {q}"
            if q == 1:
                case += ", norms measured" if longest is None else ", norms known"
            target = None if quick or (q == 1 and longest is None) else Target("ratio", "<=", 1.5)
            rows.append(Row(case, best_seconds(search, repeats=5), peer.get(str(q)), "s", note, target))
            if peer:
                theirs = np.load(Path(folder) / f"rows_{q}.npy")
                same = float(sum(np.isin(a, b).sum() for a, b in zip(theirs, mine, strict=True)))
                note = "hits of ours that are faiss's too (float32 sums may exchange hits whose scores differ by 1e-7)"
                rows.append(Row(f"same hits as {case}", same, float(theirs.size), "hits", note, Target("ratio", ">=", 1)))
    return rows
