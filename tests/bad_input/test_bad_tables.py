"""Files whose bytes, columns, types or rows are not what they should be."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from outcomes import refused, survived, write_parquet

ROWS = "".join(f"https://a.example/{i},text number {i} {i * 7919 % 1000}\n" for i in range(3000))


# -- columns ----------------------------------------------------------------------------------------------------------------


def test_wrong_column_names_the_candidates_and_the_mend_works(audit) -> None:
    pq.write_table(pa.table({"captoin": ["a cat"], "link_to": ["https://a.example/x"]}), "wrong.parquet")
    said = (
        "wrong.parquet: no column for 'text'",
        "did you mean 'captoin'?",
        "columns: captoin, link_to",
        "--column text=COLUMN",
    )
    refused(audit("wrong.parquet"), *said)
    done = survived(audit("wrong.parquet", "--column", "text=captoin", "--column", "pairs.url=link_to"))
    assert done.estimate("anatomy.missing_text")["value"] == 0
    assert any(estimate["name"] == "anatomy.redundant.url" for estimate in done.result["estimates"])
    refused(audit("wrong.parquet", "--column", "text=nope"), "no column 'nope'", "captoin, link_to")
    refused(audit("wrong.parquet", "--column", "txt=captoin"), "unknown concept 'txt'", "did you mean 'text'?")
    refused(audit("wrong.parquet", "--column", "base.text=captoin"), "unknown input 'base'")
    refused(audit("wrong.parquet", "--column", "text"), "write it as CONCEPT=COLUMN")
    refused(audit("wrong.parquet", "--column", "text=captoin", "--column", "text=link_to"), "given twice")


def test_named_column_leaves_the_others_to_be_found(audit) -> None:
    write_parquet("both.parquet", alt_words=["one"] * 5)
    assert survived(audit("both.parquet", "--column", "text=alt_words")).estimate("anatomy.redundant.text")["value"] == 0.8
    assert any("redundant.url" in e["name"] for e in audit("both.parquet", "--column", "text=alt_words").result["estimates"])


def test_headerless_files(audit) -> None:
    Path("h.csv").write_text("a cat,https://x.example/1.jpg\na dog,https://x.example/2.jpg\n")
    assert survived(audit("h.csv"), "h.csv has no header line; the columns were taken for text, url").rows["used"] == 2
    Path("h.tsv").write_text("https://x.example/1.jpg\ta cat\nhttps://x.example/2.jpg\ta dog\n")
    survived(audit("h.tsv"), "taken for url, text")
    Path("one.csv").write_text("a cat on a mat\na dog in fog\n")
    refused(audit("one.csv"), "columns: a cat on a mat", "is its first line a header?")


def test_repeated_columns(audit) -> None:
    Path("twice.csv").write_text("text,text,url\nfirst,second,https://a.example/1\n")
    survived(audit("twice.csv"), "several columns are named 'text'; the first of them is read")
    pq.write_table(pa.Table.from_arrays([pa.array(["a"]), pa.array(["b"])], names=["text", "text"]), "twice.parquet")
    refused(audit("twice.parquet"), "two columns are named 'text'; rename one of them")


@pytest.mark.parametrize("values", [[["a", "b"]], [{"a": 1}]])
def test_text_of_a_type_that_is_no_text(audit, values: list[object]) -> None:
    pq.write_table(pa.table({"text": values}), "odd.parquet")
    refused(audit("odd.parquet"), "odd.parquet: column 'text' holds", "which cannot be 'text'")


def test_an_optional_column_of_an_impossible_type_costs_only_itself(audit) -> None:
    write_parquet("odd.parquet", similarity=[[1.0], [2.0]], NSFW=["NSFW", "UNLIKELY"])
    done = survived(audit("odd.parquet", probes=None), "column 'similarity' holds list<element: double>", "it is not used")
    assert done.rows["used"] == 2


@pytest.mark.parametrize(
    "values", [[1, 2], [b"ab", b"c"], [1.5, None], pa.array(["a", "b"]).dictionary_encode(), [True, False]]
)
def test_text_that_can_be_read_as_text(audit, values: object) -> None:
    pq.write_table(pa.table({"text": values}), "plain.parquet")
    assert survived(audit("plain.parquet")).rows["used"] == 2


def test_parts_of_several_schemas(audit) -> None:
    for name, columns in {
        "0": {"text": ["a"], "width": [3]}, "1": {"text": [5.0], "width": ["7"]}, "2": {"caption": ["c"]},
        "3": {"text": [["list"]]}, "4": {"other": [1]},
    }.items():  # fmt: skip
        Path("mix").mkdir(exist_ok=True)
        pq.write_table(pa.table(columns), f"mix/{name}.parquet")
    done = survived(audit("mix"), "2.parquet was left out: no column for 'text'", "3.parquet was left out: column 'text'")
    assert done.rows["used"] == 2
    assert done.files == {**done.files, "total": 5, "used": 2, "failed": {"unreadable file": 3}}
    assert done.notes.count("4.parquet") == 1


# -- damage -----------------------------------------------------------------------------------------------------------------


def damaged_parts() -> None:
    for i in range(5):
        write_parquet(f"parts/p{i}.parquet", number=[i] * 50)
    whole = Path("parts/p1.parquet").read_bytes()
    Path("parts/p1.parquet").write_bytes(whole[: len(whole) // 2])
    Path("parts/p2.parquet").write_bytes(whole[:20] + b"\xff" * 400 + whole[420:])
    Path("parts/p3.parquet").write_bytes(b"")


def test_damaged_parts_among_good_ones_are_reported(audit, command) -> None:
    damaged_parts()
    done = survived(
        audit("parts"), "p1.parquet was left out: Parquet magic bytes", "p2.parquet was left out", "p3.parquet was left out"
    )
    assert done.rows == {**done.rows, "total": 150, "used": 100, "failed": {"unreadable file": 50}}
    assert done.files == {**done.files, "total": 5, "used": 2, "failed": {"unreadable file": 3}}
    assert done.estimate("anatomy.rows")["value"] == 100
    shown = command("audit", "image-text-dataset", "parts", "--set", "probes=[anatomy]", "--out", "again")
    assert "left out   3 of 5 files" in shown.out
    assert shown.err == ""
    assert "p1.parquet was left out" in Path("again/report.html").read_text()


def test_a_damaged_file_alone(audit, here) -> None:
    damaged_parts()
    for name in ("p1", "p2", "p3"):
        refused(audit(f"parts/{name}.parquet"), f"{name}.parquet")
    assert not list(here.glob("run*"))  # nothing was done, so no folder is left
    Path("only").mkdir()
    Path("only/a.parquet").write_bytes(b"x" * 50)
    Path("only/b.parquet").write_bytes(b"x" * 50)
    refused(audit("only"), "none of 2 files can be read; the first, ")


def test_a_damaged_side_table_is_named(audit) -> None:
    damaged_parts()
    text_model = ("--model", "text_toxicity=fake:text-keywords?unsafe=photo")
    done = audit("good.parquet", "calibration=parts/p2.parquet", *text_model, probes="[hate_content]")
    refused(done, "p2.parquet cannot be read", lines=2)
    done = audit("good.parquet", "calibration=good.parquet", *text_model, probes="[hate_content]")
    refused(done, "input 'calibration': no column 'label'", lines=2)


def test_cut_and_mislabelled_compression(audit) -> None:
    packed = gzip.compress(("url,text\n" + ROWS).encode())
    Path("cut.csv.gz").write_bytes(packed[: len(packed) // 2])
    refused(audit("cut.csv.gz"), "cut.csv.gz: Truncated compressed stream")
    Path("plain.csv.gz").write_text("url,text\n" + ROWS)
    refused(audit("plain.csv.gz"), "plain.csv.gz: ")
    Path("both").mkdir()
    Path("both/a.csv.gz").write_bytes(packed)
    Path("both/b.csv.gz").write_bytes(packed[:-40])
    done = survived(audit("both"), "b.csv.gz was left out")
    assert done.rows["used"] == 3000


def test_cut_file_among_those_that_a_model_samples(audit) -> None:
    """Rows are drawn before the pass, which counts the rows of files that do not say how many they hold."""
    Path("both").mkdir()
    lines = "".join(json.dumps({"text": f"photo {i} " + "x" * 300}) + "\n" for i in range(20_000))  # larger than one block
    Path("both/a.jsonl").write_text(lines[:3000])
    Path("both/b.jsonl.gz").write_bytes(gzip.compress(lines.encode(), 1)[:-2000])
    done = audit("both", "--model", "text_toxicity=fake:text-keywords?unsafe=photo", probes="[hate_content]")
    survived(done, "b.jsonl.gz was left out")


@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl", "parquet", "tar"])
@pytest.mark.parametrize("size", [0, 5000])
def test_bytes_of_nothing(audit, ending: str, size: int) -> None:
    Path(f"noise.{ending}").write_bytes(b'\x89\x00\xff\x0a\x0d,\t"{' * (size // 8))
    refused(audit(f"noise.{ending}"), f"noise.{ending}")


def test_utf16_is_named(audit) -> None:
    Path("wide.csv").write_bytes("url,text\nhttps://a.example/1,x\n".encode("utf-16"))
    refused(audit("wide.csv"), "wide.csv: is UTF-16; save it as UTF-8")


# -- rows -------------------------------------------------------------------------------------------------------------------


def test_ragged_csv_and_broken_lines_are_counted(audit) -> None:
    Path("ragged.csv").write_text("url,text\nhttps://a.example/1,a,b,c\nhttps://a.example/2\nhttps://a.example/3,ok\n\n,\n")
    done = survived(audit("ragged.csv"), "rows left out because they do not fit their file's format: 2")
    assert done.rows == {**done.rows, "total": 4, "used": 2, "failed": {"malformed row": 2}}
    Path("lines.jsonl").write_text('{"text": "ok"}\n{"text": broken\n[1, 2]\n"x"\n{"text": 5}\n{"text": {"a": 1}}\n')
    assert survived(audit("lines.jsonl")).rows["failed"] == {"malformed row": 3}
    Path("short.tsv").write_text("url\ttext\nhttps://a.example/1\ta\tb\nhttps://a.example/2\n")
    assert survived(audit("short.tsv")).rows["failed"] == {"malformed row": 1}


@pytest.mark.parametrize("times", [0, 1, 120])
def test_quote_that_is_never_closed(audit, times: int) -> None:
    """Whatever follows it would be one field: the rows must not disappear without a word."""
    Path("quote.csv").write_text(f'url,text\nhttps://a.example/0,fine\nhttps://a.example/1,"never closed\n{ROWS * times}')
    refused(audit("quote.csv"), "quote.csv", "quotation mark", "never closed")


def test_quotes_that_are_only_characters(audit) -> None:
    rows = ['https://a.example/0,a 5" nail', 'https://a.example/1,"two\nlines"', 'https://a.example/2,"x ""y"""']
    Path("inches.csv").write_text("url,text\n" + "\n".join(rows))
    done = survived(audit("inches.csv"))
    assert done.rows == {**done.rows, "total": 3, "used": 3}


@pytest.mark.parametrize("line", ["[" * 100_000, '{"text": "' + "\\ud800" * 3 + '"', '{"text": NaN'])
def test_json_lines_meant_to_break_a_parser(audit, line: str) -> None:
    Path("deep.jsonl").write_text('{"text": "ok"}\n' + line + "\n")
    assert survived(audit("deep.jsonl")).rows["failed"] == {"malformed row": 1}


def test_a_lone_surrogate_is_replaced(audit) -> None:
    Path("surrogate.jsonl").write_text('{"text": "a \\ud800 b"}\n')
    assert survived(audit("surrogate.jsonl")).rows["used"] == 1


HOSTILE = [
    "\0nul \0", "\u202eevil\u202c", "<script>alert(1)</script>", "=cmd|' /C calc'!A0", "](javascript:alert(1))",
    "\x1b[31mred", None, "", "   ", "x" * 100_000, "\ufeff\u200b", "İ" * 1000,
]  # fmt: skip


@pytest.mark.parametrize("reveal", [(), ("--reveal",)])
def test_hostile_text_is_data(audit, here, reveal: tuple[str, ...]) -> None:
    write_parquet("hostile.parquet", text=HOSTILE, url=["javascript:alert(1)"] * 3 + [None] * 9)
    Path("terms.txt").write_text("evil\nred\nscript\n")
    done = survived(audit("hostile.parquet", "--set", "lexicons=terms.txt", *reveal, probes=None))
    assert done.rows["used"] == len(HOSTILE)
    missing = done.estimate("anatomy.missing_text")
    assert missing["n"] == len(HOSTILE) and missing["value"] >= 3 / 12
    report = (here / "run0/report.html").read_text()
    assert "<script>alert" not in report
    assert "\x1b" not in report and "\0" not in report


def test_bytes_that_are_no_text_are_replaced_and_counted(audit) -> None:
    Path("latin.csv").write_bytes(b"url,text\nhttps://a.example/1,caf\xe9\nhttps://a.example/2,ok\n")
    survived(audit("latin.csv"), "rows with bytes that are no UTF-8, which were replaced by U+FFFD: 1")
    pq.write_table(pa.table({"text": [b"ab\xff", b"c", None]}), "bytes.parquet")
    survived(audit("bytes.parquet"), "replaced by U+FFFD: 1")


def test_ids_beyond_what_a_float_holds_and_repeated_ones(audit) -> None:
    write_parquet("ids.parquet", id=[9007199254740993.0, 9007199254740992.0, 1.5e300, float("nan")])
    assert survived(audit("ids.parquet"), "column id stores ids as inexact floating-point numbers").rows["used"] == 4
    write_parquet("same.parquet", id=["1", "1", "1", None])
    assert survived(audit("same.parquet")).rows["used"] == 4


def test_no_rows_at_all(audit) -> None:
    write_parquet("zero.parquet", url=pa.array([], pa.string()), text=pa.array([], pa.string()))
    done = survived(audit("zero.parquet", probes=None), "the input holds no rows")
    assert all(estimate["value"] is None and estimate["reason"] for estimate in done.result["estimates"])
    Path("head.csv").write_text("url,text\n")
    survived(audit("head.csv"), "the input holds no rows")
    Path("nothing.csv").write_text("")
    refused(audit("nothing.csv"), "nothing.csv: no column for 'text', nor any other: the file is empty")


def test_numbers_that_are_none(audit) -> None:
    write_parquet("nulls.parquet", similarity=pa.nulls(9, pa.float64()), punsafe=[float("nan")] * 9, width=["wide"] * 9)
    done = survived(
        audit("nulls.parquet", probes=None),
        "the similarity column is empty",
        "rows with something else in a column of numbers, which counts as missing: 9",
    )
    assert done.rows["used"] == 9
    write_parquet("typed.parquet", similarity=pa.nulls(9))
    survived(audit("typed.parquet", probes=None), "the similarity column is empty")
    write_parquet("wild.parquet", similarity=[float("inf"), -5.0, 1e308], width=[-1, 0, 2**62])
    assert survived(audit("wild.parquet", probes=None)).rows["used"] == 3


def test_column_names_meant_for_the_terminal(audit) -> None:
    Path("esc.csv").write_text("\x1b[31mcolumn,\u202eother\n1,2\n")
    done = audit("esc.csv")
    refused(done, "no column for 'text'")
    assert "\x1b" not in done.err and "\u202e" not in done.err


def test_unreadable_bytes_below_a_good_footer_do_not_reach_standard_error(audit) -> None:
    """Engines log what they raise; the one line of ours must stay the only one."""
    write_parquet("page.parquet", number=[0] * 50)
    whole = bytearray(Path("page.parquet").read_bytes())
    whole[20:400] = os.urandom(380)
    Path("page.parquet").write_bytes(bytes(whole))
    refused(audit("page.parquet"), "page.parquet cannot be read")
