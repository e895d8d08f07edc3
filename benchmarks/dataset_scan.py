"""One pass over a data set of 50 Parquet shards and 1,000,000 rows: what many probes cost beside one, memory, rows a second.

Every measurement is a process of its own. Costs of probes are processor seconds, user and system: what a probe takes from the
machine, whoever else is using it; wall-clock seconds stand in the notes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks import Row, Target
from benchmarks._material import REPOSITORY, Material, material

PROBES = ("anatomy", "duplicates", "lexicons", "slice_test", "language", "search")
SETTINGS = {"anatomy": ("anatomy", "duplicates", "language"), "lexicons": ("lexicons",), "slice_test": ("slice_test",)}
"""Probes by the name under which the setting `probes` of the audit asks for them."""


class Sizes(NamedTuple):
    shards: int
    few: int
    rows: int  # of each shard
    repeats: int


def run(quick: bool = False) -> list[Row]:
    """Rows of the table. Quick: 10 shards of 2,000 repeated rows, once each, and no targets."""
    sizes = Sizes(10, 2, 2_000, 1) if quick else Sizes(50, 10, 20_000, 3)
    found = material()
    with tempfile.TemporaryDirectory(prefix="assaymark-bench-") as folder:
        root = Path(folder)
        (root / "terms.txt").write_text("\n".join(term.term for term in found.lexicon.terms), encoding="utf-8")
        rows = []
        for name, distinct in (("repeated", False), ("all distinct", True))[: 1 if quick else 2]:
            write_shards(root / name, found, sizes, distinct=distinct)
            if not distinct:
                rows += costs(root, name, sizes)
            rows.append(memory(root, name, sizes))
            rows.append(end_to_end(root, name, sizes))
    origin = found.origin.removesuffix(", repeated")
    rows = [row._replace(note=f"{row.note}; {origin}") for row in rows]
    return [row._replace(target=None) for row in rows] if quick else rows


def write_shards(folder: Path, found: Material, sizes: Sizes, *, distinct: bool) -> None:
    """Shards of the same rows again and again; `distinct` adds the row's number to text and URL, so that none repeats."""
    folder.mkdir()
    pick = pa.array(np.arange(sizes.rows) % len(found.captions))
    texts, urls = (pa.array(values, pa.string()).take(pick) for values in (found.captions, found.urls))
    for shard in range(sizes.shards):
        number = pa.array(np.arange(shard * sizes.rows, (shard + 1) * sizes.rows)).cast(pa.string())
        columns = {
            "URL": pc.binary_join_element_wise(urls, number, "?n=") if distinct else urls,
            "TEXT": pc.binary_join_element_wise(texts, number, " ") if distinct else texts,
        }
        pq.write_table(pa.table(columns), folder / f"part-{shard:03d}.parquet")


def costs(root: Path, name: str, sizes: Sizes) -> list[Row]:
    """Each probe alone, all together, and that beside the dearest one."""
    alone = {probe: passes(root, name, sizes, (probe,)) for probe in PROBES}
    together = passes(root, name, sizes, PROBES)
    agree = all(together["answers"][probe] == answer["answers"][probe] for probe, answer in alone.items())
    groups = {group: alone[group] if len(of) == 1 else passes(root, name, sizes, of) for group, of in SETTINGS.items()}
    size = f"{together['rows']:,} rows"
    rows = [
        Row(f"pass, {probe} alone", found["processor"], None, "processor s", f"{size}, {found['seconds']:.2f} s wall-clock")
        for probe, found in alone.items()
    ]
    dearest = max(alone, key=lambda probe: alone[probe]["processor"])
    setting = max(groups, key=lambda group: groups[group]["processor"])
    sum_alone = sum(found["processor"] for found in alone.values())
    note = f"{size}, {together['seconds']:.2f} s wall-clock; answers {'equal' if agree else 'DIFFER FROM'} those of each alone"
    cost = together["processor"]
    return [
        *rows,
        Row("pass, all six together", cost, sum_alone, "processor s", f"peer: the sum of the six passes; {note}"),
        Row(
            "pass, all six together",
            cost,
            alone[dearest]["processor"],
            "processor s",
            f"peer: the dearest probe alone, {dearest}; {note}",
            Target("ratio", "<=", 1.5),
        ),
        Row(
            "pass, all six together",
            cost,
            groups[setting]["processor"],
            "processor s",
            f"peer: the dearest value of the setting `probes` alone, {setting} ({', '.join(SETTINGS[setting])})",
            Target("ratio", "<=", 1.5),
        ),
    ]


def memory(root: Path, name: str, sizes: Sizes) -> Row:
    """Peak of all probes together over all shards beside that over a fifth of them."""
    many, few = (passes(root, name, sizes, PROBES, shards=n)["megabytes"] for n in (sizes.shards, sizes.few))
    note = f"peer: the same over {sizes.few} shards of {sizes.rows:,} rows, {name}; least of {sizes.repeats}"
    return Row(f"peak memory, {sizes.shards} shards, {name}", many, few, "MB", note, Target("ratio", "<=", 1.1))


def passes(root: Path, name: str, sizes: Sizes, probes: Sequence[str], *, shards: int = 0) -> dict[str, Any]:
    """The cheapest of several passes, each in a fresh process, with the least peak memory of them."""
    request = {
        "folder": str(root / name),
        "shards": shards or sizes.shards,
        "lexicon": str(root / "terms.txt"),
        "probes": probes,
    }
    command = [sys.executable, "-m", "benchmarks._scan_probes", json.dumps(request)]
    found = []
    for _ in range(sizes.repeats):
        answer = subprocess.run(command, cwd=REPOSITORY, env=environment(), check=True, capture_output=True, text=True).stdout
        found.append(json.loads(answer.splitlines()[-1]))
    best = min(found, key=lambda one: one["processor"])
    return {**best, "seconds": min(one["seconds"] for one in found), "megabytes": min(one["megabytes"] for one in found)}


_AUDIT = """
from assaymark.cli import main
from benchmarks import peak_megabytes
try:
    main()
finally:
    print(peak_megabytes())
"""
"""The command line, and what the process itself held: its peak as the parent sees it would include the parent's."""


def end_to_end(root: Path, name: str, sizes: Sizes) -> Row:
    """The audit as a user runs it, from the start of the process to the written report."""
    command = [
        *(sys.executable, "-c", _AUDIT, "audit", "image-text-dataset", str(root / name), "--quiet"),
        *("--set", f"lexicons={root / 'terms.txt'}", "--out", str(root / f"run {name}")),
    ]
    start = time.perf_counter()
    answer = subprocess.run(command, cwd=REPOSITORY, env=environment(), check=True, capture_output=True, text=True).stdout
    seconds = time.perf_counter() - start
    rows, peak = sizes.shards * sizes.rows, float(answer.splitlines()[-1])
    note = f"{rows:,} rows, {seconds:.1f} s from the command to the report, peak memory {peak:,.0f} MB, {name}; more is better"
    return Row(f"assaymark audit, {name}", rows / seconds, None, "rows/s", note)


def environment() -> dict[str, str]:
    """This process's environment with our sources first, and a salt, so that no key is written to the user's folder."""
    paths = os.pathsep.join([str(REPOSITORY / "src"), str(REPOSITORY), os.environ.get("PYTHONPATH", "")])
    return {**os.environ, "PYTHONPATH": paths, "ASSAYMARK_SALT": "benchmarks-benchmarks", "DO_NOT_TRACK": "1"}
