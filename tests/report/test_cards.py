"""The Markdown card and the JSON of a run."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sample_run import sample_run
from test_html import HOSTILE, hostile_run

from assaymark.record import RunRecord, StepRecord
from assaymark.report import write_report
from assaymark.report.document import render_json
from assaymark.report.markdown import escape, render_markdown
from assaymark.report.redaction import leaks
from assaymark.result import Column, Result, Table


def test_card_holds_what_a_reader_needs(tmp_path: Path) -> None:
    card = write_report(sample_run(), tmp_path / "card.md").read_text(encoding="utf-8")
    assert not card.startswith("---")
    places = [
        card.index(word)
        for word in (
            "# captions",
            "**Does not pass.**",
            "## Gates",
            "## Findings",
            "**Critical**",
            "**Good**",
            "Key numbers",
            "How far to trust it",
            "Where it comes from",
        )
    ]
    assert places == sorted(places)
    assert "0.30 % (0.29 % to 0.30 %), n = 3,200,000" in card
    assert all("bucket.example.org" in leak for leak in leaks(card, ["hunter2", "sk-secret", "aword0"])), "only the named input"


def test_every_table_row_has_the_cells_of_its_head() -> None:
    for text in ("a|b", "`|`", "\\|", "x\ny", "a\\"):
        lines = render_markdown(hostile_run(text)).splitlines()
        heads = [i for i, line in enumerate(lines) if re.fullmatch(r"\|(---\|)+", line)]
        assert heads
        for head in heads:
            cells = lines[head].count("|")
            row = head + 1
            while row < len(lines) and lines[row].startswith("|"):
                bare = re.sub(r"\\.", "", lines[row])
                assert bare.count("|") == cells, lines[row]
                row += 1


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_stays_text_in_the_card(text: str) -> None:
    card = render_markdown(hostile_run(text))
    bare = re.sub(r"\\.", "", card)
    assert "<" not in bare and "`" not in bare
    assert not re.search("[\x00-\x08\u202a-\u202e]", card)
    assert len(card) < 60_000


def test_escape() -> None:
    assert escape("a*b_c`d|e<f>[g](h)\nnext") == r"a\*b\_c\`d\|e\<f\>\[g\](h) next"
    assert escape("- item") == r"\- item" and escape("1. item") == r"1\. item" and escape("1.5 %") == "1.5 %"
    assert "://" not in escape("https://a.org/b") and "&#58;//" in escape("https://a.org/b")


def _no_constant(word: str) -> None:
    raise AssertionError(f"{word} is not JSON")


def test_json_is_strict_and_whole(tmp_path: Path) -> None:
    text = write_report(sample_run(), tmp_path / "run.json").read_text(encoding="utf-8")
    record = json.loads(text, parse_constant=_no_constant)
    assert record["exit_code"] == 1 and [s["id"] for s in record["steps"]] == ["scorer", "data"]
    data = record["steps"][1]["result"]
    assert next(e for e in data["estimates"] if e["name"] == "slice.risk_ratio.open")["high"] == "Infinity"
    domains = next(t for t in data["tables"] if t["name"] == "domains")
    assert domains["rows"] == 2_000 and len(domains["first_rows"]) == 1_000
    assert "hunter2" not in text and "sk-secret" not in text and "a private caption" not in text


def test_json_takes_odd_values() -> None:
    table = Table.of("t", "T", {"x": [math.nan, math.inf], "b": [b"\xff", b""]}, [Column("x", "number"), Column("b", "label")])
    plan = {"n": np.int64(3), "f": np.float64("nan"), "s": {"b", "a"}, "p": Path("x"), "u": "\ud800"}
    run = RunRecord(
        "r", "0", "", 0, 0, (StepRecord("s", "a", status="done", result=Result("a", "A", {}, {"t": table})),), plan=plan
    )
    record = json.loads(render_json(run).encode("utf-8"), parse_constant=_no_constant)
    assert record["plan"] == {"n": 3, "f": None, "s": ["a", "b"], "p": "x", "u": "?"}
    assert record["steps"][0]["result"]["tables"][0]["first_rows"] == [{"x": None, "b": "ff"}, {"x": "Infinity", "b": ""}]


def test_json_reads_back_as_the_result(tmp_path: Path) -> None:
    result = sample_run().steps[0].result
    assert result is not None
    path = write_report(result, tmp_path / "one.json")
    record = json.loads(path.read_text(encoding="utf-8"))["steps"][0]["result"]
    assert Result.from_json(record, {name: t.data for name, t in result.tables.items()}) == result


def test_card_of_a_failed_step() -> None:
    run = sample_run()
    card = render_markdown(replace(run, steps=(StepRecord("s", "a", status="failed", error="disk | full"),), gates=()))
    assert "**Incomplete.**" in card and r"disk \| full" in card


def test_importing_the_report_is_light() -> None:
    heavy = ["matplotlib", "jinja2", "PIL", "pyarrow", "tldextract"]
    code = f"import sys, assaymark.report; print([m for m in {heavy} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
