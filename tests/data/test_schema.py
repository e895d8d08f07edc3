"""Column aliases of the public image-text data sets (one case a row of the format table)."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from assaymark.data.schema import CONCEPTS, conform, resolve
from assaymark.errors import SchemaError

LAION = ["SAMPLE_ID", "URL", "TEXT", "HEIGHT", "WIDTH", "LICENSE", "NSFW", "similarity"]
LAION_5B = ["URL", "TEXT", "WIDTH", "HEIGHT", "similarity", "hash", "punsafe", "pwatermark", "LANGUAGE"]
IMG2DATASET = [
    "url",
    "caption",
    "key",
    "status",
    "error_message",
    "width",
    "height",
    "original_width",
    "original_height",
    "sha256",
]
DATACOMP = [
    "uid",
    "url",
    "text",
    "original_width",
    "original_height",
    "clip_b32_similarity_score",
    "clip_l14_similarity_score",
    "sha256",
]

CASES = [
    (
        LAION,
        {
            "id": "SAMPLE_ID",
            "url": "URL",
            "text": "TEXT",
            "height": "HEIGHT",
            "width": "WIDTH",
            "licence": "LICENSE",
            "tag": "NSFW",
        }
        | {"similarity": "similarity"},
    ),
    (
        LAION_5B,
        {"url": "URL", "text": "TEXT", "punsafe": "punsafe", "pwatermark": "pwatermark", "language": "LANGUAGE", "id": "hash"},
    ),
    (IMG2DATASET, {"id": "key", "url": "url", "text": "caption", "width": "original_width", "sha256": "sha256"}),
    (DATACOMP, {"id": "uid", "url": "url", "text": "text", "similarity": "clip_l14_similarity_score", "sha256": "sha256"}),
    (["caption", "url"], {"text": "caption", "url": "url"}),
]


@pytest.mark.parametrize(("columns", "expected"), CASES)
def test_aliases_of_the_public_formats(columns: list[str], expected: dict[str, str]) -> None:
    mapping = resolve(columns)
    assert {concept: mapping.get(concept) for concept in expected} == expected
    assert set(mapping.values()) <= set(columns)
    assert set(mapping) <= set(CONCEPTS)


def test_exact_spelling_wins_over_another_case() -> None:
    assert resolve(["Text", "TEXT"])["text"] == "TEXT"
    assert resolve(["tExT", "Url"]) == {"text": "tExT", "url": "Url"}


def test_an_explicit_mapping_is_taken_as_given_and_checked() -> None:
    assert resolve(["a", "b"], {"text": "b"}) == {"text": "b"}
    with pytest.raises(SchemaError, match=r"'bb'.*did you mean 'b'|'bb'"):
        resolve(["a", "b"], {"text": "bb"})
    with pytest.raises(SchemaError, match=r"unknown concept 'txt'.*'text'"):
        resolve(["a"], {"txt": "a"})


def test_named_schema_fails_where_its_columns_are_missing() -> None:
    assert resolve(LAION, "laion")["text"] == "TEXT"
    with pytest.raises(SchemaError, match=r"schema 'datacomp'.*uid"):
        resolve(LAION, "datacomp")
    with pytest.raises(SchemaError, match=r"unknown schema 'laionn'.*'laion'"):
        resolve(LAION, "laionn")


def test_tables_keep_every_column_under_its_own_name() -> None:
    mapping = resolve(["score_a", "TEXT"], kind="table")
    assert mapping == {"score_a": "score_a", "TEXT": "TEXT", "text": "TEXT"}


def test_missing_text_is_null_never_the_word_nan() -> None:
    out = conform(pa.array([np.nan, 3.0]), "text")
    assert out.to_pylist() == [None, "3"]
    assert conform(pa.array(["a", None]), "text").type == pa.large_string()


def test_float_ids_are_written_as_whole_numbers_and_sizes_as_floats() -> None:
    assert conform(pa.array([1581282014547.0, None]), "id").to_pylist() == ["1581282014547", None]
    assert conform(pa.array(["640", "x", ""]), "width").to_pylist() == [640.0, None, None]
    assert conform(pa.array([640, None], pa.int32()), "height").to_pylist() == [640.0, None]


def test_conform_refuses_what_a_concept_cannot_be() -> None:
    with pytest.raises(SchemaError, match="width"):
        conform(pa.array([[1]]), "width")
