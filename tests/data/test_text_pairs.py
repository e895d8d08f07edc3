"""Labelled texts from every published layout come out alike; JSON in one piece is a format of its own."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from assaymark.data.dataset import Dataset, open_input
from assaymark.data.text_pairs import NEITHER, LabelRule, labelled_texts
from assaymark.errors import InputError, SchemaError


def rows(dataset: Dataset, *names: str) -> list[tuple[Any, ...]]:
    table = dataset.fetch([(shard.index, k) for shard in dataset.shards for k in range(dataset.count(shard))], names)
    return list(zip(*(table.column(name).to_pylist() for name in names), strict=True))


def test_labels_in_all_their_spellings() -> None:
    rule = LabelRule()
    assert rule.codes(pa.array(["Human", " 0 ", "AI", "1.0", "true", "maybe", "", None])).tolist() == [
        *(0, 0, 1, 1, 1),
        *(NEITHER, NEITHER, NEITHER),
    ]
    assert rule.codes(pa.array([0, 1, 2])).tolist() == [0, 1, NEITHER]
    assert rule.codes(pa.array([False, True, None])).tolist() == [0, 1, NEITHER]
    assert rule.codes(pa.array([], pa.string())).tolist() == []
    own = LabelRule(human=frozenset({"student"}), machine=frozenset({"bot"}))
    assert own.codes(pa.chunked_array([["student"], ["bot", "human"]])).tolist() == [0, 1, NEITHER]
    models = LabelRule(machine=frozenset())
    assert models.codes(pa.array(["human", "gpt4", None])).tolist() == [0, 1, NEITHER]


def test_rows_with_labels_are_read_where_they_lie(tmp_path: Path) -> None:
    path = tmp_path / "bench.parquet"
    table = {"text": ["a", "b"], "label": [0, 1], "model": [None, "gpt4"], "social_media_platform": ["medium", "quora"]}
    pq.write_table(pa.table(table), path)
    found = labelled_texts(path)
    assert (found.layout, found.dataset.format) == ("plain", "parquet")
    assert rows(found.dataset, "text", "label", "generator", "platform") == [
        ("a", "0", None, "medium"),
        ("b", "1", "gpt4", "quora"),
    ]
    named = labelled_texts(pa.table({"essay": ["a"], "who": ["bot"]}), schema={"text": "essay", "label": "who"})
    assert named.layout == "plain" and rows(named.dataset, "text", "label") == [("a", "bot")]


def test_raid_is_read_where_it_lies(tmp_path: Path) -> None:
    path = tmp_path / "train.csv"
    path.write_text(
        "id,source_id,model,decoding,attack,domain,title,prompt,generation\n"
        "1,1,human,,none,news,T,P,words of a person\n2,1,gpt4,greedy,none,news,T,P,words of a machine\n"
    )
    found = labelled_texts(path)
    assert (found.layout, found.dataset.format) == ("RAID", "csv")
    assert rows(found.dataset, "text", "platform", "source_id", "attack", "decoding") == [
        ("words of a person", "news", "1", "none", ""),
        ("words of a machine", "news", "1", "none", "greedy"),
    ]
    labels = found.dataset.fetch([(0, 0), (0, 1)], ["label"]).column("label")
    assert found.rule.codes(labels).tolist() == [0, 1]


def test_a_text_and_the_name_of_its_author_are_enough() -> None:
    found = labelled_texts(pa.table({"text": ["a", "b"], "model": ["human", "llama"]}))
    assert found.rule.codes(pa.array(["human", "llama"])).tolist() == [0, 1]
    assert rows(found.dataset, "label") == [("human",), ("llama",)]


def test_pairs_by_index_keep_domain_generator_and_source(tmp_path: Path) -> None:
    story = "once upon a time there was a long story about a person who wrote " + "it all down " * 20
    first = {"original": [story, "second human text"], "sampled": [story[:120] + " machine", "second machine text"]}
    second = {"original": [story + "and more", ""], "sampled": ["another continuation", "left alone"]}
    (tmp_path / "xsum_gpt-3.5-turbo.raw_data.json").write_text(json.dumps(first))
    (tmp_path / "xsum_davinci.raw_data.json").write_text(json.dumps(second))
    found = labelled_texts(str(tmp_path / "*.raw_data.json"))
    assert found.layout == "DetectGPT"
    got = rows(found.dataset, "label", "generator", "platform", "origin", "source_id")
    assert [row[:3] for row in got] == [
        ("human", None, "xsum"),
        ("machine", "davinci", "xsum"),
        ("machine", "davinci", "xsum"),
        ("human", None, "xsum"),
        ("machine", "gpt-3.5-turbo", "xsum"),
        ("human", None, "xsum"),
        ("machine", "gpt-3.5-turbo", "xsum"),
    ]
    assert got[0][3] == "xsum_davinci" and got[3][3] == "xsum_gpt-3.5-turbo"
    sources = [row[4] for row in got]
    assert sources[0] == sources[1] == sources[3] == sources[4], "one story at two lengths is one source"
    assert sources[2] == "xsum_davinci:1" and len(set(sources)) == 3
    notes = " ".join(found.dataset.notes)
    assert "lack the human or the machine text: 1" in notes and "same 10 words as the human one: 1" in notes
    assert found.dataset.source.endswith("*.raw_data.json")


def test_a_file_of_another_name_has_no_domain(tmp_path: Path) -> None:
    (tmp_path / "pairs.json.gz").write_bytes(gzip.compress(json.dumps({"original": ["h"], "sampled": ["m"]}).encode()))
    found = labelled_texts([tmp_path / "pairs.json.gz"])
    assert rows(found.dataset, "platform", "generator", "origin") == [(None, None, "pairs")] * 2


def test_m4_pairs_bring_their_model_source_and_date(tmp_path: Path) -> None:
    lines = [
        {"human_text": "h1", "machine_text": "m1", "model": "davinci", "source": "arxiv", "prompt": "p", "date": "2021-05-01"},
        {"human_text": "h2", "machine_text": None, "model": "davinci", "source": "arxiv", "prompt": "p", "date": "2021-05-02"},
    ]
    (tmp_path / "arxiv_davinci.jsonl").write_text("\n".join(map(json.dumps, lines)))
    found = labelled_texts(tmp_path / "arxiv_davinci.jsonl")
    assert found.layout == "M4"
    assert rows(found.dataset, "text", "label", "generator", "platform", "created_at") == [
        ("h1", "human", None, "arxiv", "2021-05-01"),
        ("m1", "machine", "davinci", "arxiv", "2021-05-01"),
        ("h2", "human", None, "arxiv", "2021-05-02"),
    ]


@pytest.mark.parametrize("form", ["jsonl", "parquet", "table"])
def test_hc3_has_several_answers_to_a_question(tmp_path: Path, form: str) -> None:
    records = [
        {"question": "q1", "human_answers": ["a", "b"], "chatgpt_answers": ["c"], "source": "finance"},
        {"question": "q2", "human_answers": [], "chatgpt_answers": ["d", ""], "source": "medicine"},
    ]
    value: Any = pa.Table.from_pylist(records)
    if form == "jsonl":
        value = tmp_path / "all.jsonl"
        value.write_text("\n".join(map(json.dumps, records)))
    elif form == "parquet":
        pq.write_table(value, tmp_path / "all.parquet")
        value = tmp_path / "all.parquet"
    found = labelled_texts(value)
    got = rows(found.dataset, "text", "label", "generator", "platform")
    assert sorted(got, key=lambda row: row[0]) == [
        ("a", "human", None, "finance"),
        ("b", "human", None, "finance"),
        ("c", "machine", "chatgpt", "finance"),
        ("d", "machine", "chatgpt", "medicine"),
    ]
    sources = dict(rows(found.dataset, "text", "source_id"))
    assert sources["a"] == sources["b"] == sources["c"] != sources["d"]


def test_what_fits_no_layout_is_explained(tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match=r"no labelled texts \(columns: text, likes\).*--column label=COLUMN"):
        labelled_texts(pa.table({"text": ["a"], "likes": [1]}))
    with pytest.raises(InputError, match="does not exist"):
        labelled_texts(tmp_path / "nothing.json")


def whole(path: Path, content: str) -> Dataset:
    path.write_text(content)
    opened = open_input("table", path, name="t")
    assert isinstance(opened, Dataset)
    return opened


def test_json_in_one_piece_is_rows_or_columns(tmp_path: Path) -> None:
    records = [{"text": "a", "n": 1}, {"text": "ü", "n": None}]
    for content in (records, {"data": records}, {"text": ["a", "ü"], "n": [1, None], "made": "by hand"}):
        dataset = whole(tmp_path / "x.json", json.dumps(content, indent=1))
        assert dataset.format == "json" and dataset.rows == 2
        assert dataset.read().to_pylist() == [{"text": "a", "n": 1.0}, {"text": "ü", "n": None}]
    lines = whole(tmp_path / "x.json", "\n".join(map(json.dumps, records)))
    assert lines.read().to_pylist() == [{"text": "a", "n": 1.0}, {"text": "ü", "n": None}]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"a": [1', "is not valid JSON"),
        ('"text"', "neither a list of objects nor an object of lists"),
        ('{"a": 1}', "neither a list of objects nor an object of lists"),
        ('{"a": [1, 2], "b": [1]}', r"different lengths: a \(2\), b \(1\)"),
        ("[" * 100_000, "is not valid JSON"),
    ],
)
def test_json_that_is_no_table_is_refused(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        whole(tmp_path / "x.json", content)


def test_a_row_that_is_no_object_costs_itself_only(tmp_path: Path) -> None:
    dataset = whole(tmp_path / "x.json", '[{"text": "a"}, 3, {"text": "b"}]')
    (batch,) = dataset.batches(dataset.reader.parts(dataset.shards[0])[0], ["text"])
    assert batch.table.column("text").to_pylist() == ["a", None, "b"]
    assert batch.defects is not None and batch.defects.tolist() == [0, 4, 0]


def test_json_beside_data_of_another_format_is_not_data(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text\nx\n")
    (tmp_path / "dataset_info.json").write_text("{}")
    opened = open_input("table", tmp_path, name="t")
    assert isinstance(opened, Dataset) and opened.format == "csv" and any("not read" in note for note in opened.notes)


@pytest.mark.shared_data
def test_the_published_pairs_are_read_whole(shared_data: Path) -> None:
    found = labelled_texts(str(shared_data / "llm-text-pairs" / "*.raw_data.json"))
    table = found.dataset.read()
    assert table.num_rows == 9 * 300 and found.layout == "DetectGPT"
    assert set(table.column("platform").to_pylist()) == {"xsum", "writing", "pubmed"}
    assert set(table.column("generator").to_pylist()) == {None, "davinci", "gpt-3.5-turbo", "gpt-4"}
    xsum = table.filter(pa.array([p == "xsum" for p in table.column("platform").to_pylist()]))
    assert len(set(xsum.column("source_id").to_pylist())) == 150, "the same articles stand beside all three generators"
