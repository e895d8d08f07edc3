"""The benchmark of quantification runs without its peers and says so."""

from __future__ import annotations

import pytest

from benchmarks import prevalence


def test_without_the_peers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prevalence, "ask", lambda *_: None)
    rows = prevalence.run(quick=True)
    assert {row.peer for row in rows} == {None}
    assert all(row.target is None for row in rows)
    assert any("not installed" in row.note for row in rows)
    point = next(row for row in rows if row.case.startswith("EMQ point"))
    assert point.ours == pytest.approx(prevalence.PREVALENCE, abs=0.06)
