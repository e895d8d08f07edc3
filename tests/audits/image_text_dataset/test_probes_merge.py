"""Every probe: its states merge in any order and any grouping to what one pass over all rows gives."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assaymark.audits.image_text_dataset import probes as package
from assaymark.audits.image_text_dataset.planted import IDENTITY_WORDS, planted_tables
from assaymark.audits.image_text_dataset.probes.admission import AdmissionProbe
from assaymark.audits.image_text_dataset.probes.anatomy import AnatomyProbe
from assaymark.audits.image_text_dataset.probes.duplicates import DuplicateProbe
from assaymark.audits.image_text_dataset.probes.find_me import FindProbe, parse_wanted
from assaymark.audits.image_text_dataset.probes.hate_content import HateContentProbe
from assaymark.audits.image_text_dataset.probes.language import LanguageProbe
from assaymark.audits.image_text_dataset.probes.lexicons import LexiconProbe
from assaymark.audits.image_text_dataset.probes.manifest import Evidence, ManifestProbe
from assaymark.audits.image_text_dataset.probes.search import SearchProbe
from assaymark.audits.image_text_dataset.probes.slice_test import SliceProbe
from assaymark.audits.image_text_dataset.probes.tag_audit import FlagSource, TagProbe
from assaymark.audits.image_text_dataset.probes.vocabulary import Vocabulary
from assaymark.data.lexicon import Lexicon, Term
from assaymark.data.probe import Batch, Probe, State
from assaymark.data.state import decode_state, encode_state

ROWS, SHARDS = 360, 3
ODD_TEXTS = (None, "", "   ", "nan", "ｚ０ sex\u200b", "Straße photo", "写真 porn", "z0 z1 sex adult", "\u202e<script>")


@cache
def rows() -> pa.Table:
    """Rows of three shards under concept names, with nulls, NaN, repeats, odd tags and odd texts among them."""
    rng = np.random.default_rng(7)
    planted = planted_tables(3, ROWS).table
    table = pa.table({name.lower(): planted.column(name) for name in ("URL", "TEXT", "HEIGHT", "WIDTH", "NSFW", "similarity")})
    texts = table.column("text").to_pylist()
    texts[::20] = [ODD_TEXTS[i % len(ODD_TEXTS)] for i in range(len(texts[::20]))]
    texts[5::9] = [texts[5]] * len(texts[5::9])
    texts[3::16] = [f"z{i % 6} porn photo river" for i in range(len(texts[3::16]))]
    tags = [(None, "", "N/A", "nsfw ")[i % 4] if i % 7 == 0 else tag for i, tag in enumerate(table.column("nsfw").to_pylist())]
    scores = rng.random((ROWS, 2)).astype(np.float32)
    scores[::11] = np.nan
    columns = {
        "text": pa.array(texts),
        "url": pa.array([None if i % 13 == 0 else url for i, url in enumerate(table.column("url").to_pylist())]),
        "width": table.column("width"),
        "height": pa.array([0 if i % 17 == 0 else h for i, h in enumerate(table.column("height").to_pylist())]),
        "licence": pa.array(["?", None, "cc-by-4.0"] * (ROWS // 3)),
        "tag": pa.array(tags),
        "similarity": pa.array([np.nan if i % 19 == 0 else s for i, s in enumerate(table.column("similarity").to_pylist())]),
        "punsafe": pa.array([None if i % 5 == 0 else float(x) for i, x in enumerate(rng.random(ROWS))]),
        "label": pa.array([str(i % 2) if i % 3 else "unknown" for i in range(ROWS)]),
        "sha256": pa.array([f"{i % 50:064x}" for i in range(ROWS)]),
        "phash": pa.array([None if i % 4 == 0 else f"{i % 8:016x}" for i in range(ROWS)]),
        "text_toxicity.hateful": pa.array(scores[:, 0]),
        "text_toxicity.targeted": pa.array(scores[:, 1]),
        "image_unsafe.unsafe": pa.array(scores[::-1, 0].copy()),
        "sampled": pa.array(rng.random(ROWS) < 0.8),
        "shard": pa.array(np.repeat(np.arange(SHARDS, dtype=np.int32), ROWS // SHARDS)),
        "row": pa.array(np.tile(np.arange(ROWS // SHARDS), SHARDS)),
    }
    return pa.table(columns)


@cache
def all_probes() -> dict[str, Probe]:
    """Every probe of the room; capacities are small, so that what is bounded is also cut."""
    words = Vocabulary(
        lexicons=(
            Lexicon.of("made-up", [Term("adult", category="a"), Term("photo", category="b"), Term("sex", category="a")]),
        ),
        slices=tuple(Term(word) for word in IDENTITY_WORDS),
    )
    source = FlagSource(words, ("hateful", "targeted"), ("unsafe",))
    wanted = parse_wanted(
        ["domain=site1.example", "name=Garden", f"sha256={3:064x}", f"phash={1:016x}", "url=https://nowhere/"]
    )
    probes: Sequence[Probe] = (
        AdmissionProbe(words),
        AnatomyProbe(),
        DuplicateProbe(capacity=40),
        FindProbe(wanted, distance=1),
        HateContentProbe(("hateful", "targeted"), thresholds=(0.1, 0.9), theta=0.5),
        LanguageProbe(size=15),
        LexiconProbe(words, examples=4),
        ManifestProbe(
            Evidence((f"{3:064x}", f"{99:064x}"), ("https://nowhere/", rows().column("url")[1].as_py()), (1, 7)), most=5
        ),
        SearchProbe(["photo", "river"], k=6),
        SliceProbe(words),
        TagProbe(source, cutoffs=(0.1, 0.5)),
    )
    return {type(probe).__name__: probe for probe in probes}


def batch(table: pa.Table, probe: Probe) -> Batch:
    """What a scan hands over: the columns that the probe asks for, and where the rows come from."""
    asked = {*probe.columns, *probe.optional, "shard", "row", "sampled"}
    return Batch(table.select([name for name in table.column_names if name in asked]))


@cache
def whole(name: str) -> Any:
    """The answer of one pass: one batch a shard, as a scan promises, in order."""
    probe, size = all_probes()[name], ROWS // SHARDS
    return probe.finalize(probe.combine([probe.aggregate(batch(rows().slice(i * size, size), probe)) for i in range(SHARDS)]))


def same(a: Any, b: Any) -> bool:
    if isinstance(a, np.ndarray):
        return a.shape == b.shape and np.array_equal(a, b)
    if isinstance(a, dict):
        return set(a) == set(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, tuple):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return bool(a == b)


@st.composite
def splits(draw: st.DrawFn) -> tuple[list[tuple[int, int]], list[int]]:
    """Pieces that stay within a shard (empty ones too) in any order, and which neighbours are merged next."""
    inner = draw(st.lists(st.integers(0, ROWS), max_size=8))
    edges = sorted([*inner, *(i * ROWS // SHARDS for i in range(SHARDS + 1))])
    pieces = draw(st.permutations(list(pairwise(edges))))
    return pieces, draw(st.lists(st.integers(0, 10**6), min_size=len(pieces), max_size=len(pieces)))


def merged(probe: Probe, states: list[State], choices: list[int]) -> State:
    """Merge two or three neighbours at a time, picked by `choices`, passing each state through its stored form."""
    states = [decode_state(encode_state(state)) for state in states]
    for choice in choices:
        if len(states) == 1:
            break
        at, width = choice % (len(states) - 1), 2 + choice % 2
        states[at : at + width] = [decode_state(encode_state(probe.combine(states[at : at + width])))]
    return states[0] if len(states) == 1 else probe.combine(states)


@pytest.mark.parametrize("name", list(all_probes()))
@settings(max_examples=25, deadline=None)
@given(split=splits())
def test_any_order_and_grouping_is_one_pass(name: str, split: tuple[list[tuple[int, int]], list[int]]) -> None:
    probe = all_probes()[name]
    pieces, choices = split
    states = [probe.aggregate(batch(rows().slice(start, stop - start), probe)) for start, stop in pieces]
    assert same(probe.finalize(merged(probe, states, choices)), whole(name))


def test_every_probe_of_the_room_is_tested() -> None:
    defined = set()
    for module in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
        for _, member in inspect.getmembers(importlib.import_module(module.name), inspect.isclass):
            if issubclass(member, Probe) and member.__module__ == module.name:
                defined.add(member.__name__)
    assert defined == set(all_probes())


def test_the_answers_are_not_empty() -> None:
    """Equality of nothing proves nothing."""
    assert whole("SliceProbe").k.sum() > 5 and whole("LexiconProbe").any[0] > 5 and whole("SearchProbe").counts.min() > 5
    assert len(whole("FindProbe").row) > 10 and whole("HateContentProbe").empty > 3 and whole("AdmissionProbe").missing > 3
    assert not whole("DuplicateProbe")["text"].exact and sum(whole("LanguageProbe").values()) == 15
    assert set(whole("TagProbe").flags) == {"unsafe tokens", "lexicon", "text toxicity", "image", "human label"}
    assert whole("AnatomyProbe").rows == ROWS and whole("AnatomyProbe").no_url > 5
    assert [counts.max() > 0 for counts in whole("ManifestProbe").counts] == [True] * 3
    assert whole("ManifestProbe").counts[2].max() > np.bincount(whole("ManifestProbe").kind)[2] / 2  # cut
