"""Run every benchmark module and print one table: `python -m benchmarks [--quick] [NAME ...]`.

The ratio is ours / peer; "times" is peer / ours, of seconds how many times faster ours is.
"""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import sys
import time
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks import Row, _peers

LIBRARIES = ("numpy", "pyarrow", "daft", "duckdb", "scipy", "torch", "ahocorasick_rs", "pyahocorasick", "scikit-learn")
HEADINGS = ("case", "ours", "peer", "unit", "ratio", "times", "target", "note")
RIGHT = (False, True, True, False, True, True, False, False)


def names() -> list[str]:
    return sorted(path.stem for path in Path(__file__).parent.glob("*.py") if not path.stem.startswith("_"))


def machine() -> str:
    """What the figures were measured on."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    found = []
    for library in LIBRARIES:
        try:
            found.append(f"{library} {version(library)}")
        except PackageNotFoundError:
            continue
    peers = f"; peers: {_peers.versions()}" if _peers.peers_python() else "; no environment of the peers"
    return f"{cores} cores, {platform.machine()}, Python {platform.python_version()}, {', '.join(found)}{peers}"


def number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def verdict(row: Row) -> str:
    """The target of a row and whether it is met."""
    if row.target is None:
        return ""
    return f"{row.target}: {'not measured' if row.held is None else 'met' if row.held else 'MISSED'}"


def table(rows: Iterable[Row]) -> str:
    """Markdown table of the rows, padded so that it also reads well in a terminal."""
    cells = [
        (r.case, number(r.ours), number(r.peer), r.unit, number(r.ratio), number(r.times), verdict(r), r.note.replace("|", "/"))
        for r in rows
    ]
    widths = [max(len(line[i]) for line in [HEADINGS, *cells]) for i in range(len(HEADINGS))]
    rule = "|".join("-" * (w + 1) + (":" if right else "-") for w, right in zip(widths, RIGHT, strict=True))

    def line(values: tuple[str, ...]) -> str:
        padded = (v.rjust(w) if right else v.ljust(w) for v, w, right in zip(values, widths, RIGHT, strict=True))
        return "| " + " | ".join(padded) + " |"

    return "\n".join([line(HEADINGS), f"|{rule}|", *map(line, cells)])


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which to run (all): {', '.join(names()) or 'none yet'}")
    parser.add_argument("--quick", action="store_true", help="small sizes: does it run, not how fast is it")
    parser.add_argument("--no-peers", action="store_true", help="do not install the peers where they are missing")
    chosen = parser.parse_args(arguments)
    if unknown := sorted(set(chosen.names) - set(names())):
        parser.error(f"no benchmark {', '.join(unknown)}; there are: {', '.join(names())}")
    if not chosen.no_peers:
        _peers.ensure()
    rows: list[Row] = []
    for name in chosen.names or names():
        start = time.perf_counter()
        rows += importlib.import_module(f"benchmarks.{name}").run(chosen.quick)
        print(f"{name}: {time.perf_counter() - start:.1f} s", file=sys.stderr, flush=True)
    print(table(rows))
    print("\nratio = ours / peer; times = peer / ours (of seconds: how many times faster ours is)")
    print(f"{machine()}{' (quick sizes: not for quoting)' if chosen.quick else ''}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
