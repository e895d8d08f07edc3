"""Registered domains: the array form agrees with the form for one URL, whatever the URL looks like."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assaymark.report.domains import encode_domains, registered_domain, registered_domains

TRICKY = [
    "https://img.example.co.uk/a.jpg",
    "HTTP://IMG.Example.COM?x=1",
    "http://example.com#top",
    "http://example.com",
    "http://user:word@example.com/a@b",
    "http://evil.com@example.org/",
    "http://example.com:8080/a",
    "http://example.com\\@other.org/",
    " https://example.com/",
    "//cdn.example.net/x",
    "example.net/x",
    "http://192.168.0.1/a",
    "http://[2001:db8::1]/a",
    "http://bücher.example/",
    "http://example.com\n.org/",
    "http:///nowhere",
    "http://-./x",
    "http://" + "a." * 200 + "com/",
    "data:image/png;base64,AAAA",
    "javascript:alert(1)",
    "",
    "no url at all",
]


def test_array_form_equals_the_form_for_one() -> None:
    urls = [*TRICKY, None, *TRICKY]
    expected = [None if url is None else registered_domain(url) for url in urls]
    assert registered_domains(pa.array(urls)).to_pylist() == expected
    assert registered_domains(pa.chunked_array([pa.array(urls[:7]), pa.array(urls[7:])])).to_pylist() == expected


@given(st.lists(st.text(alphabet="htps:/@?#.aZ0-\\ \tü\n", max_size=30), max_size=8))
def test_array_form_equals_the_form_for_one_on_anything(tails: list[str]) -> None:
    urls = [*tails, *(f"http://{tail}" for tail in tails), *(f"https://{tail}.com/" for tail in tails)]
    assert registered_domains(pa.array(urls, pa.string())).to_pylist() == [registered_domain(url) for url in urls]


def test_counts_add_up_over_spellings() -> None:
    urls = ["http://a.example.com/1", "https://b.example.com/2", "http://x:y@example.com/3", "http://other.org/", None]
    counts = encode_domains(pa.array(urls)).counts()
    assert counts == {"example.com": 3, "other.org": 1}


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()])
def test_nothing(kind: pa.DataType) -> None:
    assert encode_domains(pa.array([], kind)).counts() == {}
    assert registered_domains(pa.array([None], kind)).to_pylist() == [None]
