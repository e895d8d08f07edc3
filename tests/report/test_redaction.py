"""Masks, hashes, reduced URLs, blurred pictures, and the search for leaks."""

from __future__ import annotations

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from assaymark.errors import InputError
from assaymark.report.domains import registered_domain, registered_domains
from assaymark.report.pictures import blur_image, contact_sheet, embed_picture
from assaymark.report.redaction import hash_content, leaks, mask_term, redact, reduce_url
from assaymark.result import Column, Result, Table


@pytest.mark.parametrize(
    ("term", "masked"),
    [
        ("word", "w***"),
        ("two words", "t** w****"),
        ("a", "*"),
        ("", ""),
        ("漢", "*"),
        ("漢字", "漢*"),
        ("👩‍👩‍👧", "*"),
        ("👍🏽x", "👍🏽*"),
        ("🇩🇪🇫🇷", "🇩🇪*"),
        ("e\u0301a", "e\u0301*"),
        ("well-known", "w*********"),
        ("  x  yz", "  *  y*"),
        ("\u202eab", "a*"),
    ],
)
def test_mask_keeps_first_character_and_length(term: str, masked: str) -> None:
    assert mask_term(term) == masked


@given(st.text(max_size=30))
@settings(max_examples=100, deadline=None)
def test_masking_twice_is_masking_once(term: str) -> None:
    once = mask_term(term)
    assert mask_term(once) == once


def test_hash_depends_on_value_and_salt_and_not_on_the_type_of_id() -> None:
    assert hash_content("a", b"s") == hash_content(b"a", b"s") != hash_content("a", b"t")
    assert hash_content(5, b"s") == hash_content("5", b"s")
    assert len(hash_content("", b"")) == 12 and int(hash_content("x", b"k" * 500), 16) >= 0


@pytest.mark.parametrize(
    ("url", "domain"),
    [
        ("https://img.a.example.co.uk/x.jpg?u=1", "example.co.uk"),
        ("//cdn.example.com:8080/x", "example.com"),
        ("example.com/x", "example.com"),
        ("HTTPS://User:Pw@Example.COM/", "example.com"),
        ("https://evil.com\\@example.org/", "evil.com"),
        ("http://127.0.0.1/a", "ip-address"),
        ("http://[::1]:80/a", "ip-address"),
        ("http://localhost/a", "no-domain"),
        ("data:image/png;base64,AAAA", "no-domain"),
        ("jane.github.io/secret", "github.io"),
        ("https://例え.jp/あ", "例え.jp"),
        ("a private sentence", "no-domain"),
        ("", "no-domain"),
        ("https://<script>.com/", "no-domain"),
    ],
)
def test_registered_domain(url: str, domain: str) -> None:
    assert registered_domain(url) == domain


def test_domains_of_an_array_are_those_of_its_values() -> None:
    urls = ["https://a.example.com/1", None, "https://b.example.com/2", "x", "https://a.example.com/1"]
    chunks = pa.chunked_array([urls[:2], urls[2:]])
    assert registered_domains(chunks).to_pylist() == [None if u is None else registered_domain(u) for u in urls]
    assert registered_domains(pa.array([], pa.string())).to_pylist() == []


def raw() -> Result:
    columns = [
        Column("term", "term"),
        Column("url", "url"),
        Column("text", "content"),
        Column("id", "id"),
        Column("site", "label"),
        Column("n", "count"),
    ]
    values = {
        "term": ["badword", None],
        "url": ["https://img.example.com/jane.jpg", None],
        "text": ["a secret", "0123456789ab"],
        "id": pa.array([7, None], pa.int64()),
        "site": ["example.com", "b"],
        "n": [1, 2],
    }
    return Result("a", "A", {}, {"t": Table.of("t", "T", values, columns)})


def test_redaction_replaces_what_is_private_and_leaves_the_rest() -> None:
    table = redact(raw(), salt=b"s", reveal=False).tables["t"]
    first, second = table.rows()
    assert first == {
        "term": "b******",
        "url": f"example.com#{hash_content('https://img.example.com/jane.jpg', b's')}",
        "text": hash_content("a secret", b"s"),
        "id": hash_content(7, b"s"),
        "site": "example.com",
        "n": 1,
    }
    assert second["term"] is second["url"] is second["id"] is None
    assert second["text"] == hash_content("0123456789ab", b"s"), "text that looks like a hash is hashed all the same"
    assert reduce_url("https://img.example.com/jane.jpg", b"s") == first["url"]


def test_redacting_twice_is_once_whatever_the_salt_and_after_parquet() -> None:
    once = redact(raw(), salt=b"s", reveal=False)
    assert redact(once, salt=b"other", reveal=False) == once
    buffer = io.BytesIO()
    table = once.tables["t"]
    pq.write_table(table.data, buffer)
    back = Table("t", "T", pq.read_table(buffer), table.columns)
    assert redact(once.replace(tables={"t": back}), salt=b"other", reveal=False) == once


def test_reveal_and_nothing_private_change_nothing() -> None:
    result = raw()
    assert redact(result, salt=b"s", reveal=True) is result
    plain = Table.of("t", "T", {"n": [1]}, [Column("n", "count")])
    assert redact(Result("a", "A", {}, {"t": plain}), salt=b"s", reveal=False).tables["t"] is plain


@pytest.mark.parametrize("kind", [pa.dictionary(pa.int32(), pa.string()), pa.large_string(), pa.binary()])
def test_redaction_takes_every_storage(kind: pa.DataType) -> None:
    values = pa.array([b"a", b"b", b"a", None] if kind == pa.binary() else ["a", "b", "a", None], kind)
    result = Result("a", "A", {}, {"t": Table("t", "T", pa.table({"c": values}), (Column("c", "content"),))})
    expected = [hash_content("a", b"s"), hash_content("b", b"s"), hash_content("a", b"s"), None]
    assert redact(result, salt=b"s", reveal=False).tables["t"].data["c"].to_pylist() == expected


def test_empty_tables_are_redacted() -> None:
    result = Result("a", "A", {}, {"t": Table.of("t", "T", {"c": pa.array([], pa.string())}, [Column("c", "content")])})
    assert redact(result, salt=b"s", reveal=False).tables["t"].rows() == []


def test_leaks_finds_terms_as_words_and_full_urls() -> None:
    text = '<p title="x">A BadWord, two&#32;words and https://a.org/b; xbadwordx; https://c.org</p><svg xmlns="http://www.w3.org/2000/svg">'
    assert leaks(text, ["badword", "two words", "absent", ""]) == ["badword", "two words", "https://a.org/b;"]
    assert leaks("b****** example.com#0123456789ab xbadwordx", ["badword"]) == []
    assert leaks("前漢字後", ["漢字"]) == ["漢字"], "scripts without blanks are searched without boundaries"
    assert leaks("bad%20word", ["bad word"]) == ["bad word"]
    assert leaks("ｂａｄｗｏｒｄ", ["badword"]) == ["badword"]


def test_blur_keeps_only_a_few_averages() -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 255, (4, 75, 8, 75), dtype=np.uint8)  # (cell row, y, cell column, x)
    image = blur_image(Image.fromarray(pixels.reshape(300, 600)), side=96)
    assert image.mode == "L" and image.size == (96, 48)
    shuffled = rng.permuted(pixels.transpose(0, 2, 1, 3).reshape(4, 8, -1), axis=2).reshape(4, 8, 75, 75).transpose(0, 2, 1, 3)
    assert blur_image(Image.fromarray(shuffled.reshape(300, 600)), side=96) == image, "more than the averages survived"
    assert blur_image(Image.new("RGBA", (1, 500))).size == (1, 96)
    assert blur_image(Image.new("P", (3, 3))).mode == "L"


def test_contact_sheet_is_grey_and_regular() -> None:
    sheet = Image.open(io.BytesIO(contact_sheet([Image.new("RGB", (50, 20), "red")] * 7, columns=3, side=40, gap=4)))
    assert sheet.format == "PNG" and sheet.mode == "L" and sheet.size == (3 * 44 + 4, 3 * 44 + 4)
    assert Image.open(io.BytesIO(contact_sheet([Image.new("RGB", (50, 20), "red")], blur=False))).mode == "RGB"
    with pytest.raises(ValueError, match="at least one image"):
        contact_sheet([])


def test_embedded_pictures_lose_their_metadata_and_stay_in_the_folder(tmp_path) -> None:
    exif = Image.Exif()
    exif[0x010E] = "taken by jane at home"
    Image.new("RGB", (3_000, 10), "blue").save(tmp_path / "a.jpg", exif=exif)
    picture = embed_picture(tmp_path / "a.jpg", root=tmp_path)
    import base64

    data = base64.b64decode(picture.uri.partition(",")[2])
    assert b"jane" not in data and picture.width == 1_600
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "broken.png").write_bytes(b"<svg onload=alert(1)>")
    for name, words in (("../a.jpg", "outside"), ("absent.png", "cannot be read"), ("broken.png", "cannot be read")):
        with pytest.raises(InputError, match=words):
            embed_picture(tmp_path / "run" / name, root=tmp_path / "run")
