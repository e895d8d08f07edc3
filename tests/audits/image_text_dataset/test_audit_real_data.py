"""Two real tables of image-text pairs: 10,000 raw alt-texts, and the 15,833 curated captions of the CC3M validation set."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from assaymark.audits.image_text_dataset.audit import ImageTextDataset
from assaymark.execution import execute
from assaymark.report.redaction import leaks
from assaymark.result import Result

pytestmark = pytest.mark.shared_data

ALT_TEXTS = "img2dataset-alttext-10k/test_10000.parquet"
CAPTIONS = "cc3m-val/Validation_GCC-1.1.0-Validation.tsv"


@cache
def audit(folder: Path, table: str, words: str) -> Result:
    settings = {"lexicons": [str(folder / words)]}
    return execute(ImageTextDataset, inputs={"pairs": str(folder / table)}, settings=settings)


@pytest.mark.parametrize(
    ("table", "rows", "word", "substring"), [(ALT_TEXTS, 10_000, 0.0076, 0.075), (CAPTIONS, 15_833, 0.0011, 0.054)]
)
def test_english_words_are_far_rarer_than_english_substrings(
    shared_data: Path, table: str, rows: int, word: float, substring: float
) -> None:
    """403 terms, known figures: 0.76 % against 7.5 % of raw alt-texts, 0.11 % against 5.4 % of curated captions."""
    result = audit(shared_data, table, "ldnoobw/en.txt")
    assert result["lexicons.any.word"].n == rows
    assert result["lexicons.any.word"].value == pytest.approx(word, abs=5e-5)
    assert result["lexicons.any.substring"].value == pytest.approx(substring, abs=5e-4)


@pytest.mark.parametrize("table", [ALT_TEXTS, CAPTIONS])
def test_all_languages_in_one_folder(shared_data: Path, table: str, tmp_path: Path) -> None:
    """Words of other languages are ordinary English words too, so all lists together flag more; the report shows none."""
    result, english = audit(shared_data, table, "ldnoobw"), audit(shared_data, table, "ldnoobw/en.txt")
    assert result["lexicons.any.word"].value > english["lexicons.any.word"].value
    assert result["lexicons.any.substring"].value > result["lexicons.any.word"].value
    assert {"en", "de", "ja"} <= set(result.tables["lexicon_terms"].data.column("language").to_pylist())
    assert result.flows[0].used == result.flows[0].total == english["anatomy.rows"].value
    assert (
        sum("was left out" in note for note in result.notes) == 6
    )  # neither tag, similarity, model, query, request nor manifest
    html = result.report(tmp_path / "report.html").read_text(encoding="utf-8")
    assert not leaks(html)


def test_no_raw_row_stands_in_the_report(shared_data: Path, tmp_path: Path) -> None:
    rows = pq.read_table(shared_data / ALT_TEXTS)
    html = audit(shared_data, ALT_TEXTS, "ldnoobw/en.txt").report(tmp_path / "report.html").read_text(encoding="utf-8")
    for column in rows.column_names:
        values = {v for v in rows.column(column).to_pylist() if isinstance(v, str) and len(v) > 25}
        assert not [value for value in values if value in html], column
