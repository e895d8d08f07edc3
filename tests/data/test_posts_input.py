"""Streams of posts: what the platforms' exports call their columns, and what stays reachable under its own name."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from assaymark.data.column_sample import sample_column
from assaymark.data.dataset import Dataset, arrow_type, open_input
from assaymark.data.post_columns import POST_ALIASES
from assaymark.data.probe import Batch, Probe, State
from assaymark.data.scan import scan
from assaymark.data.schema import ALIASES, missing_message, resolve
from assaymark.errors import SchemaError

REDDIT = ["id", "author", "created_utc", "score", "num_comments", "selftext", "subreddit", "title", "url"]
TWEETS = ["created_at", "text", "url", "replies", "retweets", "favorites", "user"]
AIGT = ["text", "label", "model", "social_media_platform"]
MEDIUM = ["post_id", "title", "content", "published_at", "tag", "claps", "responses", "author_id", "author", "followers"]


def posts(table: object, schema: str | dict[str, str] = "auto") -> Dataset:
    opened = open_input("posts", table, name="stream", schema=schema)
    assert isinstance(opened, Dataset)
    return opened


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        (
            REDDIT,
            {"text": "selftext", "created_at": "created_utc", "likes": "score", "comments": "num_comments"}
            | {"topic": "subreddit", "author": "author", "id": "id"},
        ),
        (
            TWEETS,
            {"text": "text", "created_at": "created_at", "likes": "favorites", "comments": "replies", "shares": "retweets"}
            | {"author": "user", "url": "url"},
        ),
        (AIGT, {"text": "text", "label": "label", "generator": "model", "platform": "social_media_platform"}),
        (
            MEDIUM,
            {"text": "content", "created_at": "published_at", "topic": "tag", "likes": "claps", "author": "author_id"}
            | {"followers": "followers", "title": "title", "responses": "responses"},
        ),
    ],
)
def test_the_exports_of_the_platforms_are_understood(columns: list[str], expected: dict[str, str]) -> None:
    mapping = resolve(columns, kind="posts")
    assert {name: mapping.get(name) for name in expected} == expected
    assert set(columns) - {"author"} <= set(mapping), "every column is reachable under its own name"


def test_a_score_is_likes_at_reddit_only() -> None:
    assert resolve(["created_utc", "score"], kind="posts")["likes"] == "score"
    assert resolve(["created_utc", "score", "ups", "likes"], kind="posts")["likes"] == "likes"
    without = resolve(["created_at", "score", "text"], kind="posts")
    assert "likes" not in without and without["score"] == "score"


def test_the_other_kinds_find_what_they_found_before() -> None:
    columns = sorted({name for names in (*ALIASES.values(), *POST_ALIASES.values()) for name in names})
    expected = {concept: next(name for name in names if name in columns) for concept, names in ALIASES.items()}
    for kind in ("pairs", "images", "texts"):
        assert resolve(columns, kind=kind) == expected
    assert resolve(["title", "tag", "likes"]) == {"text": "title", "tag": "tag"}
    table = pa.table({"likes": ["many"], "author": [3]})
    assert [arrow_type(n, open_input("table", table, name="t")) for n in ("likes", "author")] == [pa.large_string(), pa.int64()]  # type: ignore[arg-type]


def table() -> pa.Table:
    return pa.table(
        {
            "selftext": ["a", "b", None],
            "created_utc": [1640995200.0, 1640995261.5, None],
            "score": ["12", "x", ""],
            "num_comments": pa.array([1, None, 3], pa.int32()),
            "author": [7, 8, 9],
            "detector": [0.25, None, 0.75],
            "flag": [True, False, None],
            "tags": [["x", "y"], [], None],
        }
    )


def test_numbers_are_float64_dates_are_text_and_own_names_keep_their_type() -> None:
    dataset = posts(table())
    names = ["text", "created_at", "likes", "comments", "author", "detector", "flag", "tags"]
    (batch,) = [b for shard in dataset.shards for p in dataset.reader.parts(shard) for b in dataset.batches(p, names)]
    rows = batch.table.to_pydict()
    assert rows["likes"] == [12.0, None, None] and rows["comments"] == [1.0, None, 3.0]
    assert rows["author"] == ["7", "8", "9"] and rows["text"] == ["a", "b", None]
    assert [None if v is None else float(v) for v in rows["created_at"]] == [1640995200.0, 1640995261.5, None]
    assert rows["detector"] == [0.25, None, 0.75] and rows["flag"] == [True, False, None]
    assert rows["tags"] == [["x", "y"], [], None]
    assert batch.defects is not None and batch.defects.tolist() == [0, 2, 0]
    assert [str(batch.table.schema.field(n).type) for n in ("likes", "created_at", "detector")] == [
        "double",
        "large_string",
        "double",
    ]


def test_stored_scores_are_read_as_numbers_whatever_their_type() -> None:
    dataset = posts(pa.table({"text": ["a", "b"], "p_machine": ["0.5", "none"]})).with_scores({"p_machine": "p_machine"})
    assert arrow_type("p_machine", dataset) == pa.float64()
    assert dataset.fetch([(0, 0), (0, 1)], ["p_machine"]).column("p_machine").to_pylist() == [0.5, None]


def test_dates_of_every_stored_type_come_as_text() -> None:
    when = dt.datetime(2022, 3, 1, 12, 30, tzinfo=dt.UTC)
    for kind, expected in [
        (pa.timestamp("us", "UTC"), "2022-03-01 12:30:00"),
        (pa.timestamp("s"), "2022-03-01 12:30:00"),
        (pa.date32(), "2022-03-01"),
    ]:
        column = pa.array([when.date() if kind == pa.date32() else when], kind)
        dataset = posts(pa.table({"text": ["a"], "date": column}))
        (value,) = dataset.fetch([(0, 0)], ["created_at"]).column("created_at").to_pylist()
        assert value.startswith(expected)


class Likes(Probe):
    name = "likes"
    columns = ("likes", "detector")
    optional = ("followers",)

    def aggregate(self, batch: Batch) -> State:
        return {
            "likes": float(pc.sum(batch.column("likes")).as_py() or 0),
            "detector": float(pc.sum(batch.column("detector")).as_py() or 0),
        }

    def finalize(self, state: State) -> State:
        return state


def test_files_that_name_columns_alike_are_scanned_together(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for k in range(2):
        lines = [
            json.dumps({"body": f"post {i}", "created_utc": 1.6e9 + i, "score": i, "detector": float(rng.random())})
            for i in range(50)
        ]
        (tmp_path / f"{k}.jsonl").write_text("\n".join(lines))
    outcome = scan(posts(tmp_path), [Likes()])
    assert outcome.answers["likes"]["likes"] == 2 * sum(range(50)) and outcome.answers["likes"]["detector"] > 0


def test_a_column_can_be_named_and_a_missing_one_is_explained() -> None:
    dataset = posts(pa.table({"essay": ["a"], "when": ["2022-01-01"]}), {"text": "essay", "created_at": "when"})
    assert dataset.mapping["text"] == "essay" and dataset.mapping["essay"] == "essay"
    with pytest.raises(SchemaError, match=r"'created_at' \(looked for created_at, created_utc, .*--column created_at=COLUMN"):
        posts(pa.table({"text": ["a"]})).require("created_at")
    with pytest.raises(SchemaError, match=r"unknown concept 'lkes'.*'likes'"):
        resolve(["a"], {"lkes": "a"}, kind="posts")
    assert "looked for likes" in missing_message("likes", ["text"], "f.csv", "posts")


def test_a_column_that_cannot_be_its_concept_is_said_and_left_out() -> None:
    dataset = posts(pa.table({"text": ["a"], "comments": [["first", "second"]], "created_at": ["2022"]}))
    assert "comments" not in dataset
    with pytest.raises(SchemaError, match="cannot be 'comments'"):
        dataset.require("comments")


def test_a_sample_comes_from_all_over_the_data(tmp_path: Path) -> None:
    for k in range(40):
        (tmp_path / f"{k:02d}.csv").write_text("text,date\n" + "".join(f"a,{k}/{row}\n" for row in range(30)))
    (tmp_path / "00.csv").write_bytes(b"text,date\na,b\n")
    sample = sample_column(posts(tmp_path), "created_at", files=5, rows=10).to_pylist()
    assert sample[0] == "b" and {value.partition("/")[0] for value in sample[1:]} == {"10", "20", "29", "39"}
    assert len(sample) == 1 + 4 * 10
    assert sample_column(posts(pa.table({"date": pa.array([], pa.string())})), "created_at").to_pylist() == []
    with pytest.raises(SchemaError, match="created_at"):
        sample_column(posts(pa.table({"text": ["a"]})), "created_at")


def test_json_in_one_piece_is_scanned(tmp_path: Path) -> None:
    content = {"body": ["a", "b"], "created_utc": [1.6e9, 1.7e9], "score": [3, 4], "detector": [0.5, 0.25], "tags": [["x"], []]}
    (tmp_path / "posts.json").write_text(json.dumps(content))
    outcome = scan(posts(tmp_path / "posts.json"), [Likes()])
    assert outcome.answers["likes"] == {"likes": 7.0, "detector": 0.75} and outcome.rows == 2
