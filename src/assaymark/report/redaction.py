"""Redaction: lexicon terms masked, content and ids hashed, URLs reduced, pictures blurred, and a search for what leaked.

A redacted column carries a mark in its Arrow field (it survives Parquet), so that redacting twice is redacting once.
"""

from __future__ import annotations

import hashlib
import html
import re
import unicodedata
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

from assaymark.report.domains import registered_domain
from assaymark.report.pictures import blur_image, contact_sheet
from assaymark.result import Column, Result, Table

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "blur_image",
    "contact_sheet",
    "hash_content",
    "leaks",
    "mask_term",
    "redact",
    "reduce_url",
    "registered_domain",
]

MARK: Final = b"assaymark.redacted"
HASH_CHARACTERS: Final = 12

_URL = re.compile(r"[a-z][a-z0-9+.\-]{1,20}://[^\s/\"'<>()]+/[^\s\"'<>()]+", re.IGNORECASE)


def mask_term(term: str) -> str:
    """Mask each word to its first character and asterisks: `two words` becomes `t** w****`.

    A character is what a reader sees as one: a base with its combining marks, an emoji sequence, a flag. A word of one
    character becomes `*`. Masking a masked term changes nothing.
    """
    return "".join(part if not part or part.isspace() else _mask_word(part) for part in re.split(r"(\s+)", term))


def _mask_word(word: str) -> str:
    clusters = _clusters(word)
    return "*" if len(clusters) < 2 else clusters[0] + "*" * (len(clusters) - 1)


def _clusters(word: str) -> list[str]:
    """User-perceived characters: an approximation of Unicode's extended grapheme clusters (UAX 29)."""
    clusters: list[str] = []
    joined = False
    for character in word:
        category = unicodedata.category(character)
        extends = category.startswith("M") or "\U0001f3fb" <= character <= "\U0001f3ff" or character == "\u200d"
        if category == "Cf" and character != "\u200d":
            continue
        if clusters and (extends or joined or _second_of_flag(clusters[-1], character)):
            clusters[-1] += character
        elif not extends:
            clusters.append(character)
        joined = character == "\u200d"
    return clusters


def _second_of_flag(cluster: str, character: str) -> bool:
    return len(cluster) == 1 and all("\U0001f1e6" <= c <= "\U0001f1ff" for c in (cluster, character))


def hash_content(value: str | bytes | float, salt: bytes) -> str:
    """Salted BLAKE2b of a text, of bytes, or of an id, as 12 hexadecimal characters.

    The salt is a secret of the user: without it nobody can test a guess. 48 bits tell ten million values apart with few
    collisions; they name rows in a report and are not a key.
    """
    data = value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogatepass")
    key = salt if len(salt) <= hashlib.blake2b.MAX_KEY_SIZE else hashlib.blake2b(salt).digest()
    return hashlib.blake2b(data, digest_size=HASH_CHARACTERS // 2, key=key).hexdigest()


def reduce_url(url: str, salt: bytes) -> str:
    """`https://img.example.co.uk/a/b.jpg` as `example.co.uk#` and the salted hash of the whole URL."""
    return f"{registered_domain(url)}#{hash_content(url, salt)}"


def redact(result: Result, *, salt: bytes, reveal: bool) -> Result:
    """The result as it may be shown: every column of kind term, content, id and url replaced.

    Parameters
    ----------
    salt : bytes
        Secret for the hashes; the same salt gives the same hash in every report of this user.
    reveal : bool
        The user asked for raw content: the result is returned as it is.

    Notes
    -----
    Findings, notes and names of estimates are the room's own words, which it writes masked. Work is done once per distinct
    value of a column.
    """
    if reveal:
        return result
    return result.replace(tables={name: _redact_table(table, salt) for name, table in result.tables.items()})


def _redact_table(table: Table, salt: bytes) -> Table:
    import pyarrow as pa

    data = table.data
    for index, column in enumerate(table.columns):
        mask, field = _masking(column, salt), data.schema.field(index)
        if mask is None or (field.metadata or {}).get(MARK):
            continue
        marked = pa.field(column.name, pa.string(), metadata={**(field.metadata or {}), MARK: column.kind.encode()})
        data = data.set_column(index, marked, _map_distinct(data.column(index), mask))
    return table if data is table.data else Table(table.name, table.title, data, table.columns, table.description)


def _masking(column: Column, salt: bytes) -> Callable[[Any], str] | None:
    if column.kind == "term":
        return lambda value: mask_term(str(value))
    if column.kind == "url":
        return lambda value: reduce_url(str(value), salt)
    return partial(hash_content, salt=salt) if column.kind in ("content", "id") else None


def _map_distinct(values: pa.ChunkedArray, mask: Callable[[Any], str]) -> pa.ChunkedArray:
    """`mask` of every value, computed once per distinct one; nulls stay null."""
    import pyarrow as pa

    if not (pa.types.is_primitive(values.type) or pa.types.is_string(values.type) or pa.types.is_binary(values.type)):
        return pa.chunked_array([pa.array([None if v is None else mask(v) for v in values.to_pylist()], pa.string())])
    chunks = []
    for chunk in values.chunks:
        encoded = chunk.dictionary_encode()
        masked = pa.array([None if v is None else mask(v) for v in encoded.dictionary.to_pylist()], pa.string())
        chunks.append(masked.take(encoded.indices))
    return pa.chunked_array(chunks, pa.string())


def leaks(text: str, forbidden: Iterable[str] = ()) -> list[str]:
    """What a rendered report must not hold: forbidden terms in clear text, as whole words, and full URLs.

    Compared after undoing HTML entities and percent-encoding, in NFKC, without regard to case. A URL is full when it goes
    on after the host (`https://host/path`); namespace declarations of SVG do not count.
    """
    plain = html.unescape(html.unescape(text))
    folded = unicodedata.normalize("NFKC", f"{plain}\n{unquote(plain)}").casefold()
    found = [term for term in forbidden if term.strip() and _whole_word(term).search(folded)]
    urls = {match.group() for match in _URL.finditer(re.sub(r"xmlns(:\w+)?=\"[^\"]*\"", "", plain))}
    return found + sorted(urls)


def _whole_word(term: str) -> re.Pattern[str]:
    """Bounded where the term itself begins or ends with a letter or digit of a script that separates its words."""
    folded = unicodedata.normalize("NFKC", term.strip()).casefold()
    before = r"(?<!\w)" if folded[0].isalnum() and folded[0] < "\u0e00" else ""
    after = r"(?!\w)" if folded[-1].isalnum() and folded[-1] < "\u0e00" else ""
    return re.compile(before + r"\s+".join(re.escape(word) for word in folded.split()) + after)
