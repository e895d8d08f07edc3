"""Concepts: the names under which audits know the columns of a data set, whatever the files call them.

The public image-text sets name the same things differently (LAION-400M `TEXT`, img2dataset `caption`, DataComp `text`).
`resolve` finds the column of every concept; `conform` gives each concept one Arrow type, so that a probe never meets a caption
column that is a float in one shard because it was empty there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from assaymark.data.post_columns import POST_ALIASES, POST_NUMBERS, post_aliases
from assaymark.errors import SchemaError, nearest

__all__ = [
    "ALIASES",
    "CONCEPTS",
    "NUMBERS",
    "OWN_NAMES",
    "SCHEMAS",
    "aliases_of",
    "can_hold",
    "conform",
    "looks_like_url",
    "missing_message",
    "numbers_from_text",
    "numbers_of",
    "resolve",
]

ALIASES: dict[str, tuple[str, ...]] = {
    "id": ("SAMPLE_ID", "key", "uid", "id", "hash", "__key__", "image_id", "image_key"),
    "url": ("URL", "url", "image_url", "jpg_url", "link"),
    "text": ("TEXT", "text", "caption", "CAPTION", "alt_text", "alt", "txt", "title", "prompt", "sentence"),
    "width": ("original_width", "WIDTH", "width"),
    "height": ("original_height", "HEIGHT", "height"),
    "licence": ("LICENSE", "license", "licence"),
    "tag": ("NSFW", "nsfw", "tag", "safety_tag"),
    "punsafe": ("punsafe", "p_unsafe"),
    "pwatermark": ("pwatermark", "p_watermark"),
    "similarity": ("similarity", "clip_l14_similarity_score", "clip_b32_similarity_score", "clip_similarity"),
    "language": ("LANGUAGE", "language", "lang"),
    "sha256": ("sha256",),
    "md5": ("md5",),
    "phash": ("phash", "perceptual_hash"),
    "image": ("image", "jpg", "jpeg", "png", "webp", "gif", "bmp", "tiff", "image_bytes"),
    "path": ("path", "image_path", "file_name", "filename", "file", "filepath"),
    "embedding": ("embedding", "image_embedding", "img_emb", "emb", "vector"),
    "label": ("label", "class", "cls", "category", "target"),
}
"""Concept to column names, the preferred first. Where a set carries two sizes, the original one is the data set's."""

CONCEPTS: tuple[str, ...] = tuple(ALIASES)

NUMBERS = frozenset({"width", "height", "similarity", "punsafe", "pwatermark"})
"""Concepts that are float64 (null where missing or not a number). `image` is bytes, `embedding` a float32 list, others text."""

OWN_NAMES = frozenset({"table", "posts"})
"""Kinds whose columns are also known under their own names. In a table the column of a concept's name keeps its own type; among
posts the concept comes first."""

SCHEMAS: dict[str, dict[str, tuple[str, ...]]] = {
    "laion": {"url": ("URL",), "text": ("TEXT",)},
    "img2dataset": {"url": ("url",), "text": ("caption",), "id": ("key",)},
    "datacomp": {"id": ("uid",), "url": ("url",), "text": ("text",)},
    "cc3m": {"text": ("caption",), "url": ("url",)},
    "cc12m": {"url": ("url",), "text": ("caption",)},
}
"""Named schemas: the concepts such a data set always has. The order of cc3m and cc12m is that of their header-less files."""

_LISTS = ("list<", "large_list<", "fixed_size_list<", "list_view<", "large_list_view<")
_IMAGES = ("binary", "large_binary", "binary_view", "string", "large_string", "string_view", "null")
_NUMERIC = ("int", "uint", "float", "double", "halffloat", "decimal", "bool", "null", "dictionary<", "string", "large_string")
_NUMBER = r"^\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*$"


def aliases_of(kind: str) -> dict[str, tuple[str, ...]]:
    """Concepts of an input kind, with their column names."""
    return POST_ALIASES if kind == "posts" else ALIASES


def numbers_of(kind: str) -> frozenset[str]:
    """Concepts of an input kind that are float64."""
    return POST_NUMBERS if kind == "posts" else NUMBERS


def resolve(
    columns: Sequence[str], schema: str | Mapping[str, str] = "auto", *, kind: str = "pairs", where: str = "the input"
) -> dict[str, str]:
    """Column of each concept.

    Parameters
    ----------
    columns : names found in the files
    schema : "auto", a name in `SCHEMAS`, or {concept: column}; concepts that it does not name are looked for
    kind : "posts" has concepts of its own; it and "table" also keep every column under its own name
    where : file or folder, for the message

    Raises
    ------
    SchemaError
        Unknown schema, unknown concept, a column that is not there.

    Notes
    -----
    An exact name wins over one that differs in case only; within each, the order of `ALIASES` decides.
    """
    if not isinstance(schema, str):
        named = _explicit(columns, schema, kind, where)
        mapping = {c: column for c, column in _found(columns, kind).items() if column not in named.values()} | named
    else:
        mapping = _found(columns, kind)
        if schema != "auto":
            mapping |= _named(columns, schema, where)
    if kind == "table":
        mapping = {name: name for name in columns} | {c: name for c, name in mapping.items() if c not in columns}
    if kind == "posts":
        mapping |= {name: name for name in columns if name not in mapping}
    return mapping


def _found(columns: Sequence[str], kind: str) -> dict[str, str]:
    aliases = post_aliases(columns) if kind == "posts" else ALIASES
    return {concept: found for concept, names in aliases.items() if (found := _find(columns, names)) is not None}


def _find(columns: Sequence[str], names: Sequence[str]) -> str | None:
    for name in names:
        if name in columns:
            return name
    folded = {column.casefold(): column for column in reversed(columns)}
    return next((folded[name.casefold()] for name in names if name.casefold() in folded), None)


def _explicit(columns: Sequence[str], schema: Mapping[str, str], kind: str, where: str) -> dict[str, str]:
    known = aliases_of(kind)
    for concept, column in schema.items():
        if concept not in known and kind != "table":
            raise SchemaError(
                f"unknown concept {concept!r} in the schema{nearest(concept, known) or '; known: ' + ', '.join(known)}"
            )
        if column not in columns:
            raise SchemaError(
                f"{where}: no column {column!r} (schema: {concept}){nearest(column, columns)}; columns: {_listed(columns)}"
            )
    return dict(schema)


def _named(columns: Sequence[str], schema: str, where: str) -> dict[str, str]:
    if schema not in SCHEMAS:
        raise SchemaError(f"unknown schema {schema!r}{nearest(schema, SCHEMAS) or ''}; known: auto, {', '.join(SCHEMAS)}")
    mapping: dict[str, str] = {}
    for concept, names in SCHEMAS[schema].items():
        column = _find(columns, names)
        if column is None:
            raise SchemaError(
                f"{where}: schema {schema!r} has a column {names[0]!r}, which is missing; columns: {_listed(columns)}"
            )
        mapping[concept] = column
    return mapping


def _listed(columns: Sequence[str], most: int = 12) -> str:
    return ", ".join(columns[:most]) + (f", ... ({len(columns)} in all)" if len(columns) > most else "")


def missing_message(concept: str, columns: Sequence[str], where: str, kind: str = "pairs") -> str:
    """One line for a concept without a column: the file, the candidates, the nearest, and how to name it."""
    known = aliases_of(kind).get(concept, (concept,))
    close = next((hint for name in known if (hint := nearest(name, columns))), "")
    if not columns:
        return f"{where}: no column for {concept!r}, nor any other: the file is empty, or no line of it can be read"
    return (
        f"{where}: no column for {concept!r} (looked for {', '.join(known[:4])}){close}; columns: {_listed(columns)}. "
        f"Name it with --column {concept}=COLUMN (in a plan or a call: schema: {{{concept}: COLUMN}})"
    )


def can_hold(concept: str, column: str, kind: str = "pairs") -> bool:
    """Whether a column of an Arrow type (as text, such as "list<element: double>") can be a concept of an input kind at all."""
    if concept == "embedding":
        return column.startswith(_LISTS)
    if concept == "image":
        return column in _IMAGES or (column.startswith("struct<") and "bytes: " in column)
    if concept in numbers_of(kind):
        return column.startswith(_NUMERIC)
    return not column.startswith((*_LISTS, "struct<", "map<", "dense_union<", "sparse_union<"))


def looks_like_url(value: str) -> bool:
    """Whether a field begins as an address does; used to tell data from a header, and captions from urls."""
    return value.lstrip()[:8].lower().startswith(("http://", "https://", "//", "s3://", "ftp://", "data:"))


def numbers_from_text(column: pa.Array) -> pa.Array:
    """float64 from text; what is not a number becomes null."""
    valid = pc.match_substring_regex(column, _NUMBER)
    kept = pc.if_else(valid, pc.utf8_trim_whitespace(column), pa.scalar(None, column.type))
    return kept.cast(pa.float64())


def conform(column: pa.Array, concept: str, kind: str = "pairs") -> pa.Array:
    """The column with the one Arrow type of its concept; columns that are no concept keep theirs (text becomes large_string).

    `kind` is that of the input, which decides what is a concept.

    Raises
    ------
    SchemaError
        A type that the concept cannot have, such as a list of numbers as width.
    """
    stored = column.type
    if pa.types.is_dictionary(stored):
        return conform(column.dictionary_decode(), concept, kind)
    try:
        if concept == "image":
            if pa.types.is_struct(stored):  # the hub's data sets keep {bytes, path}
                column = pc.struct_field(column, "bytes")
            return column.cast(pa.large_binary())
        if concept == "embedding":
            return column.cast(pa.large_list(pa.float32()))
        if concept in numbers_of(kind):
            return numbers_from_text(column) if _is_text(stored) else column.cast(pa.float64(), safe=False)
        if concept in aliases_of(kind) or _is_text(stored) or pa.types.is_null(stored):
            return _as_text(column)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise SchemaError(f"a column of type {stored} cannot be {concept!r}: {error}") from None
    return column


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _as_text(column: pa.Array) -> pa.Array:
    if pa.types.is_floating(column.type):
        column = pc.if_else(pc.is_finite(column), column, pa.scalar(None, column.type))
        whole = pc.all(pc.equal(pc.floor(column), column)).as_py()
        if whole in (True, None) and (pc.max(pc.abs(column)).as_py() or 0) < 2**63:
            column = column.cast(pa.int64(), safe=False)
    return column.cast(pa.large_string())
