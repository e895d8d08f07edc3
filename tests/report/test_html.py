"""The page: its order, its safety, and that it needs nothing but itself."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pyarrow as pa
import pytest
from sample_run import sample_run

from assaymark.errors import InputError
from assaymark.record import GateRecord, RunRecord, StepRecord
from assaymark.report import write_report
from assaymark.report.html import render_html
from assaymark.report.redaction import leaks, redact
from assaymark.result import Column, Estimate, Figure, Finding, Flow, Provenance, Result, Table, undefined

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "]]>",
    "=cmd()",
    "abc\u202edef",
    "x" * 10_000,
    "$\\frac{1}{0$ \\badmacro {{ 7*7 }} {% raw %}",
    "a|b`c",
    "\x00\x1b[31m",
    "漢字 العربية 👩‍👩‍👧 é",
]


class Tags(HTMLParser):
    """Collects what a browser would see: elements, attributes, scripts, text."""

    VOID = frozenset({"meta", "br", "img", "link", "input"})

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] not in ("script", "style"):
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


@pytest.fixture(scope="module")
def page() -> str:
    run = sample_run()
    return render_html(
        replace(run, steps=tuple(replace(s, result=redact(s.result, salt=b"s", reveal=False)) for s in run.steps))
    )


def hostile_result(text: str) -> Result:
    values = {
        "label": [text, "b"],
        "term": [text, "two words"],
        "x": [0.1, 0.2],
        "x_low": [0.05, 0.1],
        "x_high": [0.2, 0.3],
        "why": [text, ""],
    }
    columns = [
        Column("label", "label", text),
        Column("term", "term", text),
        Column("x", "share", text),
        Column("x_low", "low", of="x"),
        Column("x_high", "high", of="x"),
        Column("why", "text"),
    ]
    table = Table.of("t", text, values, columns, description=text)
    kinds = ("bars", "intervals", "lines", "points", "heatmap", "histogram")
    figures = tuple(
        Figure(
            f"{text[:40]}{kind}",
            text,
            kind,
            "t",
            "label",
            "x",
            "x_low",
            "x_high",
            "label",
            text,
            text,
            reference=((0.1, text),),
            caption=text,
        )
        for kind in kinds
    )
    return Result(
        text,
        text,
        {text: Estimate(0.1, 0.05, 0.2, 10, text, "share"), "lost": undefined(text)},
        {"t": table},
        figures,
        (Finding("critical", text, (text,), ("t",), text),),
        (Flow(text, 3, 1, {text: 1}, {text: 1}),),
        (text,),
        text,
        provenance=Provenance(text, text, 1, {text: text}, {text: {text: text}}, {text: {text: text}}, {text: text}, text),
    )


def hostile_run(text: str) -> RunRecord:
    gate = GateRecord(text, text, text, undefined(text), False, text)
    steps = (
        StepRecord(text, text, status="done", result=hostile_result(text)),
        StepRecord(text, text, status="failed", error=text),
    )
    return RunRecord(text, text, text, 1.0, 1, steps, (gate,), {text: [text]})


def test_the_answer_comes_in_the_promised_order(page: str) -> None:
    text = Tags(page).text
    words = [
        "captions-2026-11",
        "Does not pass",
        "Gates",
        "Findings",
        "misses almost all",
        "Hateful captions survive",
        "better than its best",
        "Duplicates by address",
        "How good the image detectors are Key numbers",
        "What an image-text data set holds Key numbers",
        "Figures",
        "Tables",
        "What went in",
        "How it was measured",
        "How far to trust it",
        "Planted truth",
        "Where it comes from",
        "The plan",
    ]
    places, start = [], 0
    for word in words:
        start = text.index(word, start)
        places.append(start)
    assert places == sorted(places)


def test_numbers_come_with_interval_and_n(page: str) -> None:
    text = Tags(page).text
    assert "0.30 % (0.29 % to 0.30 %), n = 3,200,000" in text
    assert "undefined: no row carries a human label" in text
    assert "An undefined number never holds" in text


def test_gates_say_hold_or_not_or_undefined(page: str) -> None:
    states = [attributes["class"] for tag, attributes in Tags(page).tags if tag == "tr" and attributes.get("class")]
    assert states == ["holds", "does-not-hold", "undefined"]


def test_page_refers_to_nothing_outside(page: str) -> None:
    seen = Tags(page)
    assert not seen.open or set(seen.open) <= {"html", "body"}
    for tag, attributes in seen.tags:
        assert tag not in {"link", "iframe", "object", "embed", "base", "form", "audio", "video", "source"}
        for name, value in attributes.items():
            assert not name.startswith("on")
            if name in ("href", "xlink:href", "src", "action", "poster", "srcset"):
                assert value and value.startswith(("#", "data:image/")), (tag, name, value)
    assert "url(" not in re.sub(r"url\(#[\w-]+\)", "", page)
    assert "@import" not in page
    policy = next(a["content"] for t, a in seen.tags if t == "meta" and a.get("http-equiv") == "Content-Security-Policy")
    assert policy and policy.startswith("default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src 'sha256-")


def test_links_inside_the_page_lead_somewhere(page: str) -> None:
    seen = Tags(page)
    ids = [a["id"] for _, a in seen.tags if a.get("id")]
    for tag, attributes in seen.tags:
        if tag == "a":
            assert (attributes["href"] or "")[1:] in ids
    assert all(a["aria-labelledby"] in ids for _, a in seen.tags if a.get("aria-labelledby"))


def test_every_id_on_the_page_is_unique(page: str) -> None:
    """Also those inside the drawings: a clip path of one figure must not cut another."""
    ids = [a["id"] for t, a in Tags(page).tags if a.get("id") and t in ("clippath", "section", "h2", "h4", "marker", "pattern")]
    assert len(ids) == len(set(ids))


def test_nothing_leaks(page: str) -> None:
    forbidden = [f"{'abcdefghijklmnopqrstuvwxyz'[i % 26]}word{i}" for i in range(14)]
    assert leaks(page, [*forbidden, "hunter2", "sk-secret", "X-Signature", "a private caption number 3", "jane"]) == [
        "https://bucket.example.org/part-*.parquet"  # what the user named as input
    ]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_stays_text(text: str) -> None:
    page = render_html(hostile_run(text))
    seen = Tags(page)
    assert [t for t, _ in seen.tags].count("script") == 1
    assert not any(name.startswith("on") for _, attributes in seen.tags for name in attributes)
    assert not any(tag in ("img", "iframe") for tag, _ in seen.tags)
    assert not re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\u202a-\u202e\u2066-\u2069]", page)
    if text.startswith("x" * 100):
        assert "more characters)" in seen.text and len(page) < 1_000_000
    elif "\u202e" in text:
        assert "⟨U+202E⟩" in seen.text
    elif "\x00" not in text:
        assert text in seen.text
    for svg in re.findall(r"<svg .*?</svg>", page, flags=re.DOTALL):
        ET.fromstring(svg.replace("xlink:href", "href"))


def test_long_tables_are_folded_and_counted(page: str) -> None:
    text = Tags(page).text
    assert "Show 1,950 more rows" in text
    assert "2,000 rows; the whole table: tables/data.domains.parquet" in text


def test_rows_beyond_the_page_are_said() -> None:
    column = Column("n", "count", "N")
    table = Table("t", "T", pa.table({"n": list(range(5_000))}), (column,))
    text = Tags(
        render_html(
            RunRecord("r", "0", "", 0, 0, (StepRecord("s", "a", status="done", result=Result("a", "A", {}, {"t": table})),))
        )
    ).text
    assert "5,000 rows, of which the first 2,000 are in this page" in text


def test_a_result_alone_is_a_run_of_one_step(tmp_path: Path) -> None:
    result = sample_run().steps[0].result
    assert result is not None
    path = write_report(result, tmp_path / "new" / "one.html")
    text = Tags(path.read_text(encoding="utf-8")).text
    assert "No gates" in text and "Contents" not in text
    assert 'result.tables["mixture"]' in text
    assert [p.name for p in path.parent.iterdir()] == ["one.html"]


@pytest.mark.parametrize(("status", "word"), [("failed", "failed"), ("skipped", "was skipped"), ("pending", "has not run")])
def test_a_broken_step_makes_the_run_incomplete(status: str, word: str) -> None:
    run = RunRecord("r", "0", "", 0, 0, (StepRecord("s", "a", status=status, error="disk full"),))  # type: ignore[arg-type]
    text = Tags(render_html(run)).text
    assert "Incomplete" in text and f"step s {word}" in text and "disk full" in text and "Passes" not in text


def test_empty_results_are_pages_too() -> None:
    empty = Table.of("t", "T", {"a": []}, [Column("a", "label")])
    text = Tags(
        render_html(
            RunRecord("", "", "", 0, 0, (StepRecord("s", "a", status="done", result=Result("a", "A", {}, {"t": empty})),))
        )
    ).text
    assert "The table has no rows." in text and "Nothing was found" in text


def test_all_gates_holding_passes() -> None:
    run = sample_run()
    text = Tags(render_html(replace(run, steps=run.steps[:1], gates=run.gates[:1]))).text
    assert "Passes" in text and "The gate holds." in text


def test_raw_content_is_redacted_unless_revealed(tmp_path: Path) -> None:
    result = sample_run().steps[1].result
    assert result is not None
    run = replace(sample_run(), steps=(StepRecord("data", "a", status="done", result=result.replace(figures=())),))
    hidden = write_report(run, tmp_path / "a.html").read_text(encoding="utf-8")
    shown = write_report(replace(run, reveal=True), tmp_path / "b.html").read_text(encoding="utf-8")
    assert "a private caption number 1" not in hidden and "a private caption number 1" in shown
    assert "Do not pass it on" in shown and "Do not pass it on" not in hidden


def test_same_run_same_bytes(tmp_path: Path) -> None:
    run = replace(sample_run(), steps=sample_run().steps[:1])
    first, second = (write_report(run, tmp_path / f"{n}.html").read_bytes() for n in "ab")
    assert first == second


def test_unknown_suffix_names_the_known(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"\.html, \.md or \.json"):
        write_report(sample_run(), tmp_path / "report.pdf")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        write_report(sample_run(), tmp_path / "file" / "report.json")
