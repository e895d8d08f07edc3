"""Word clouds: deterministic, masked, nothing to draw, and larger where there is more weight."""

from __future__ import annotations

import ast
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import assaymark
from assaymark.errors import ConfigError
from assaymark.report.redaction import mask_term
from assaymark.report.wordcloud import word_cloud

WEIGHTS = {"blorp": 40.0, "fnord": 20.0, "wibble": 10.0, "quux flib": 5.0, "zort": 5.0}


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, float]]:
    """What is handed to the library, call by call."""
    import wordcloud

    seen: list[dict[str, float]] = []
    original = wordcloud.WordCloud.generate_from_frequencies

    def generate(self: Any, frequencies: dict[str, float], max_font_size: int | None = None) -> Any:
        if max_font_size is None:  # not the library's own trial
            seen.append(frequencies)
        return original(self, frequencies, max_font_size)

    monkeypatch.setattr(wordcloud.WordCloud, "generate_from_frequencies", generate)
    return seen


def test_a_picture_that_depends_on_weights_and_seed_alone() -> None:
    first = word_cloud(WEIGHTS, seed=0, width=300, height=150)
    assert first == word_cloud(dict(reversed(WEIGHTS.items())), seed=0, width=300, height=150)
    assert first != word_cloud(WEIGHTS, seed=1, width=300, height=150)
    picture = Image.open(io.BytesIO(first or b""))
    assert (picture.format, picture.size, picture.info) == ("PNG", (300, 150), {})
    assert len(np.unique(np.asarray(picture.convert("L")))) > 10


def test_terms_are_masked_unless_the_caller_shows_them(drawn: list[dict[str, float]]) -> None:
    word_cloud(WEIGHTS, seed=0, width=200, height=100)
    assert set(drawn[-1]) == {mask_term(term) for term in WEIGHTS}
    word_cloud(WEIGHTS, seed=0, shown=lambda term: mask_term(term) if term == "fnord" else term, width=200, height=100)
    assert set(drawn[-1]) == {"blorp", "f****", "wibble", "quux flib", "zort"}


def test_terms_that_look_alike_are_added(drawn: list[dict[str, float]]) -> None:
    word_cloud({"blorp": 2.0, "bloop": 3.0, "other": 1.0}, seed=0, width=200, height=100)
    assert drawn[-1] == {"b****": 5.0, "o****": 1.0}


def test_nothing_to_draw_and_no_weight() -> None:
    assert word_cloud({}, seed=0) is None
    assert word_cloud({"a": 0.0, "b": -1.0, "c": float("nan"), "d": float("inf")}, seed=0) is None
    assert word_cloud({"a": 1.0}, seed=0, shown=lambda term: " ") is None
    assert word_cloud({"blorp": 1e-9}, seed=0, width=100, height=60) is not None


def test_heavier_terms_are_drawn_larger() -> None:
    ink = []
    for weights in ({"mmmm": 9.0, "iiii": 1.0}, {"mmmm": 1.0, "iiii": 9.0}):
        content = word_cloud(weights, seed=3, shown=str, relative_scaling=1.0, width=300, height=150)
        grey = np.asarray(Image.open(io.BytesIO(content or b"")).convert("L"))
        ink.append(int((grey < 200).sum()))
    assert ink[0] > ink[1]


def test_hostile_terms_and_many_of_them(drawn: list[dict[str, float]]) -> None:
    terms = {"a" * 5_000: 3.0, "line\nbreak": 2.0, "\u202ereversed": 2.0, "\ud800": 1.0, "日本": 1.0, "🙂": 1.0}
    assert word_cloud(terms, seed=0, shown=str, width=200, height=100)
    assert max(map(len, drawn[-1])) <= 41 and any("U+202E" in term for term in drawn[-1])
    assert not any("\n" in term for term in drawn[-1])
    many = {f"term{k}": 1.0 + k % 7 for k in range(2_000)}
    assert word_cloud(many, seed=0, shown=str, max_words=30, width=200, height=100)


def test_settings_out_of_range() -> None:
    for wrong in ({"max_words": 0}, {"relative_scaling": 1.5}, {"width": 10}, {"height": 100_000}):
        with pytest.raises(ConfigError, match="word cloud"):
            word_cloud(WEIGHTS, seed=0, **wrong)


def test_the_library_is_imported_in_one_place() -> None:
    source = Path(assaymark.__file__).parent
    found = {
        path.relative_to(source).as_posix()
        for path in source.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom | ast.Import)
        and "wordcloud" in [getattr(node, "module", None), *(alias.name for alias in node.names)]
    }
    assert found == {"report/wordcloud.py"}
