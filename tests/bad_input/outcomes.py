"""What a command left behind, and the two ways in which bad input may end."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq


class Outcome(NamedTuple):
    """What a command left: exit code, both streams, and the result of the only step where there is one."""

    code: int
    out: str
    err: str
    result: dict[str, Any] | None

    @property
    def rows(self) -> dict[str, Any]:
        return next(flow for flow in self.result["flows"] if flow["unit"] == "rows")

    @property
    def files(self) -> dict[str, Any] | None:
        return next((flow for flow in self.result["flows"] if flow["unit"] == "files"), None)

    @property
    def notes(self) -> str:
        return "\n".join(self.result["notes"])

    def estimate(self, name: str) -> dict[str, Any]:
        return next(estimate for estimate in self.result["estimates"] if estimate["name"] == name)


def write_parquet(path: str, **columns: Any) -> str:
    """Twenty good rows; `columns` add to them or take their place, and then decide how many there are."""
    n = len(next(iter(columns.values()))) if columns else 20
    good = {
        "url": [f"https://site{i % 5}.example/{i}.jpg" for i in range(n)],
        "text": [f"a photo of thing number {i}" for i in range(n)],
    }
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({**good, **columns}), path)
    return path


def refused(done: Outcome, *says: str, lines: int = 1) -> None:
    """The user's mistake: exit code 2 and one line on standard error that holds all of `says`."""
    assert done.code == 2, done
    assert done.out == ""
    assert len(done.err.splitlines()) <= lines, done.err
    assert done.err.startswith("error: ")
    assert "Traceback" not in done.err
    for part in says:
        assert part in done.err


def survived(done: Outcome, *notes: str) -> Outcome:
    """Exit code 0, nothing on standard error, and the notes of the result hold all of `notes`."""
    assert (done.code, done.err, done.out) == (0, "", ""), done
    for part in notes:
        assert part in done.notes, done.notes
    return done
