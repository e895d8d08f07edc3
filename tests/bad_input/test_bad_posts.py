"""Streams of posts with odd dates, texts, counts and names: each is counted or left out for a stated reason."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from outcomes import refused, survived
from post_inputs import audited, called, flow, labelled, posts, rows, said, texts, undefined, without_numbers, write

N = 240
PREVALENCE = ("prevalence.a", "prevalence.a.last", "prevalence.a.rise", "prevalence.a.floor", "prevalence.a.called")
ALONE = "prevalence.all_posts"


@pytest.fixture(autouse=True)
def _without_figures(monkeypatch) -> None:
    """Drawing takes most of the time of small runs."""
    monkeypatch.setattr("assaymark.report.figures.draw", lambda *_, **__: "<svg></svg>")


# -- dates ------------------------------------------------------------------------------------------------------------------


def test_no_column_of_dates_is_said_before_anything_is_scored(command) -> None:
    table = posts(created_at=None, creatd=posts()["created_at"])
    done = audited(command, table, labelled())
    refused(done, "posts.parquet: no column for 'created_at'", "did you mean 'creatd'?", "--column created_at=COLUMN", lines=2)
    mended = survived(audited(command, table, labelled(), "--column", "posts.created_at=creatd"))
    assert flow(mended)["used"] == N


def test_dates_that_are_missing_or_none(command) -> None:
    good = posts()["created_at"]
    done = survived(audited(command, posts(created_at=[None, "", "soon", "2150-01-01"] * 10 + good[40:])))
    assert flow(done)["skipped"] == {"no date": 20, "date that cannot be read": 10, "date in the future": 10}
    done = survived(audited(command, posts(created_at=[None] * N), labelled()))
    assert flow(done)["skipped"] == {"no date": N}
    assert undefined(done, *PREVALENCE, "change.a.slope", "change.a.difference") >= {"no post is counted"}
    assert "No post is counted (no date 240)" in said(done) and "--column created_at=COLUMN" in said(done)


def test_a_format_that_no_date_has(command) -> None:
    done = survived(audited(command, settings=("date_format='%d/%m/%Y'",)), "Dates are read as %d/%m/%Y")
    assert "No post is counted (date that cannot be read 240)" in said(done) and "date_format" in said(done)
    refused(audited(command, settings=("date_format='%Q'",)), "'%Q' is no pattern of strptime", "%d/%m/%Y", lines=2)


def test_many_ways_to_write_a_date_and_zones_that_cross_a_month(command) -> None:
    """Each of these is in December or January in UTC, whatever day its own clock shows."""
    december = ["2023-01-01T00:30:00+02:00", "Sun, 01 Jan 2023 00:30:00 +0200", "1672531199", "1672531199000", "12/31/22"]
    january = ["2022-12-31T23:30:00-02:00", "1672531200", "1672531200000", "1/31/23", "2023-01-31"]
    done = survived(
        audited(command, posts(10, created_at=december + january, platform=None)),
        "iso, epoch, slash, rfc 2822. Slash dates have the month first, as some of them show",
    )
    assert [(row["period"], row["posts"]) for row in rows(done, "prevalence")] == [("2022-12", 5), ("2023-01", 5)]


def test_slash_dates_that_contradict_each_other_are_not_guessed(command) -> None:
    dates = ["13/01/2022", "01/13/2022", *["3/4/2022"] * 38, *posts()["created_at"][40:]]
    done = survived(audited(command, posts(created_at=dates)), "month first in some rows and the day first in others")
    assert flow(done)["skipped"] == {"date that cannot be read": 40}


@pytest.mark.parametrize("nothing", ["0001-01-01T00:00:00+05:00", "0000-01-01T00:00:00Z", "9999-12-31T23:59:59-10:00"])
def test_placeholders_beyond_the_calendar(command, nothing: str) -> None:
    done = survived(audited(command, posts(created_at=[nothing, *posts()["created_at"][1:]])))
    assert flow(done)["used"] == N - 1


@pytest.mark.parametrize(("year", "word"), [("2024", "before"), ("2021", "since")])
def test_posts_on_one_side_of_the_release(command, year: str, word: str) -> None:
    done = survived(audited(command, posts(created_at=[year + date[4:] for date in posts()["created_at"]]), labelled()))
    side = f"no post is dated {word} the release on 2022-11-30"
    assert undefined(done, "prevalence.a.rise") == {side}
    if word == "before":
        assert undefined(done, "prevalence.a.floor") == {side}
        undefined(done, "prevalence.a.last.floor_adjusted")
    else:
        assert done.estimate("prevalence.a.floor")["n"] == N // 2
    assert done.estimate("prevalence.a")["value"] is not None


def test_too_few_periods_for_a_change(command) -> None:
    for dates in (["2023-05-05"], ["2022-05-05", "2023-05-05"]):
        done = survived(audited(command, posts(created_at=dates * (N // len(dates))), labelled()))
        (onset, slope) = (undefined(done, f"change.a.{name}").pop() for name in ("difference", "slope"))
        assert f"there are {len(dates)}" in onset and "a slope needs at least 3" in slope
        (row, *_) = rows(done, "changes")
        assert row["onset"] is None and row["p_value"] is None and row["trend_p"] is None


def test_a_post_of_1970_beside_those_of_2023_by_the_day(command) -> None:
    dates = ["1970-01-01", *posts()["created_at"][1:]]
    for unit in ("day", "week"):
        done = survived(audited(command, posts(created_at=dates, platform=None), settings=(f"unit={unit}",)))
        assert len(rows(done, "prevalence")) == 13, "only periods that have posts"


def test_months_without_posts_keep_their_place_in_time(command) -> None:
    """A rise over half a year of which two months have no posts still takes half a year."""
    month = np.arange(720) % 36
    kept = ~np.isin(month, (13, 14, 15, 16))
    rise = np.clip((month - 11) / 12, 0, 1)
    called = (np.arange(720) // 36 % 20) / 20 < 0.05 + 0.8 * rise
    columns = {
        "id": [str(i) for i in range(720)],
        "created_at": [f"{2022 + m // 12}-{m % 12 + 1:02}-10" for m in month.tolist()],
        "score": np.where(called, 0.9, 0.1).tolist(),
    }
    found = []
    for some in (np.ones(720, bool), kept):
        table = {name: np.array(values)[some].tolist() for name, values in columns.items()}
        (row,) = rows(survived(audited(command, table)), "changes")
        found.append(row)
    assert found[0]["onset"] == found[1]["onset"] and found[0]["onset"].startswith("2023-0")
    assert abs(found[0]["duration"] - found[1]["duration"]) <= 1, "months without posts are passed over, not cut out"


# -- texts ------------------------------------------------------------------------------------------------------------------


UNIGRAM = ("--model", "detector.u=py:assaymark.audits.generated_text_prevalence.planted:UnigramModel")
ODD = ["", "  ", None, "one", "😀😀 😀", "مرحبا بالعالم هذا نص", "nul \0 here now", "bonjour le monde entier", "x " * 300]


def test_odd_texts_are_counted_or_left_out_never_zero(command) -> None:
    table = posts(225, text=ODD * 25, platform=None)
    done = survived(audited(command, table, labelled(), settings=("texts=20", "words=5")), "measures of style are for English")
    assert flow(done)["skipped"] == {"no text": 75}
    done = survived(audited(command, table, labelled(), settings=("min_words=2",), model=UNIGRAM), "25 posts have fewer than 2")
    assert flow(done)["skipped"] == {"no text": 75, "too short": 25}, "one token, and nothing for a language model to predict"
    done = survived(audited(command, table, labelled(), model=UNIGRAM))
    assert flow(done)["skipped"] == {"no text": 75, "no score": 25}


def test_a_post_of_a_hundred_thousand_words(command) -> None:
    long = ["x " * 100_000, *texts(N - 1, 9)]
    done = survived(audited(command, posts(text=long, platform=None), settings=("texts=20", "words=5", "min_words=5")))
    assert flow(done)["used"] == N


def test_every_post_is_too_short(command) -> None:
    done = survived(audited(command, posts(text=texts(N, 9)), labelled(), settings=("min_words=50",)), "fewer than 50 words")
    assert flow(done)["skipped"] == {"too short": N}
    assert undefined(done, *PREVALENCE) == {"no post is counted"}
    assert "No post is counted (too short 240)" in said(done) and "min_words, now 50" in said(done)


def test_lone_surrogates(command) -> None:
    table, written = posts(40), texts(40, 9)
    lines = [json.dumps({name: column[i] for name, column in table.items()} | {"text": written[i]}) for i in range(40)]
    Path("odd.jsonl").write_text(
        "\n".join([*lines, '{"id": "q", "created_at": "2023-01-01", "text": "a \\ud800 b", "score": 1}'])
    )
    assert flow(survived(called(command, "odd.jsonl", settings=("texts=10", "words=5"))))["used"] == 41


# -- what others did with a post --------------------------------------------------------------------------------------------


def likes(n: int = N) -> list[float | None]:
    return np.random.default_rng(4).poisson(5, n).astype(float).tolist()


def test_votes_below_zero_and_missing_counts_are_left_out_and_said(command) -> None:
    down = [-1.0 if i % 3 == 0 else None if i % 3 == 1 else count for i, count in enumerate(likes())]
    done = survived(
        audited(command, posts(likes=down, followers=pa.nulls(N, pa.float64())), labelled()),
        "likes are compared without some posts of the sample: 80 have none and 80 have fewer than 0",
    )
    assert done.estimate("engagement.likes.ratio")["n"] == 80
    assert done.estimate("engagement.likes.ratio")["value"] is not None


@pytest.mark.parametrize(
    ("counts", "reason"),
    [
        ([0.0] * N, "every count is 0"),
        ([7.0] * N, "every count is"),
        ([None] * N, "no post has this count"),
        (["x"] * N, "no post has"),
    ],
)
def test_counts_that_say_nothing(command, counts: list[float], reason: str) -> None:
    given = pa.nulls(N, pa.float64()) if counts[0] is None else counts
    done = survived(audited(command, posts(likes=given, platform=None), labelled()))
    for name in ("ratio", "called_ratio", "geometric_ratio"):
        assert reason in undefined(done, f"engagement.likes.{name}").pop()


# -- names ------------------------------------------------------------------------------------------------------------------


def test_names_meant_for_the_browser(command, here) -> None:
    evil = {
        "topic": ["<script>alert(1)</script>", "x" * 500] * 120,
        "platform": ["<script>alert(2)</script>", "y " * 200] * 120,
    }
    done = survived(audited(command, posts(**evil), labelled()))
    report = sorted(here.glob("run*/report.html"), key=lambda path: path.stat().st_mtime)[-1].read_text()
    assert "<script>alert" not in report
    assert max(len(row["topic"]) for row in rows(done, "topics")) <= 40


def test_names_that_are_equal_after_cutting_or_but_for_their_case_stay_apart(command) -> None:
    alike = ["p" * 45 + "a", "p" * 45 + "b", "Reddit", "reddit", "All platforms", ""]
    done = survived(audited(command, posts(platform=alike * 40, topic=alike * 40), labelled()))
    found = {row["platform"]: row["posts"] for row in rows(done, "prevalence") if row["period"] == "2022-06"}
    assert len({row["platform"] for row in rows(done, "prevalence")}) == 7, found
    assert {"Reddit", "reddit (2)", "All platforms (2)", "all platforms", "no platform"} <= {
        row["platform"] for row in rows(done, "prevalence")
    }
    names = [item["name"] for item in done.result["estimates"] if item["name"].endswith(".called")]
    assert len([name for name in names if name.startswith("prevalence.")]) == 7
    assert len(rows(done, "topics")) == 5 and all(row["posts"] == 40 for row in rows(done, "topics"))


def test_two_hundred_platforms_and_thousands_of_topics_stay_readable(command) -> None:
    n = 6_000
    table = posts(
        n, platform=[f"site {i // 12 % 200 if i % 5 else i % 2}" for i in range(n)], topic=[f"topic {i}" for i in range(n)]
    )
    done = survived(audited(command, table, labelled()), "188 platforms are counted together as 'other platforms'")
    shown = {row["platform"]: row["posts"] for row in rows(done, "prevalence") if row["period"] == "2022-06"}
    assert len(shown) == 14 and {"site 0", "site 1", "other platforms", "all platforms"} <= set(shown)
    assert shown["all platforms"] == sum(count for name, count in shown.items() if name != "all platforms") == n // 12
    assert not rows(done, "topics"), "a topic of one post is below the anonymity"


# -- no detector, scores that are none, settings ----------------------------------------------------------------------------


def test_without_a_detector_nothing_is_counted_and_that_is_said(command) -> None:
    done = survived(audited(command, posts(score=None), model=()))
    assert undefined(done, "prevalence.a", "detector.sensitivity") == {"no detector was given (--model detector.NAME=SPEC)"}
    assert "Nothing is counted" in said(done) and "as counted" not in said(done)


def test_scores_beyond_a_probability_need_labelled_texts(command) -> None:
    wide = [3 * score for score in posts()["score"]]
    done = survived(audited(command, posts(score=wide)), "no score of d between 0 and 1", "labelled=FILE")
    assert flow(done)["skipped"] == {"no score": sum(score > 1 for score in wide)}
    done = survived(audited(command, posts(score=wide), labelled(score=[3 * score for score in labelled()["score"]])))
    assert flow(done)["used"] == N and done.estimate("prevalence.a")["value"] is not None


def test_a_list_of_words_that_is_none(command) -> None:
    table = posts(text=texts(N, 9))
    style = ("texts=20",)
    for name, content, says in (
        ("latin.txt", b"caf\xe9\n", "is not UTF-8 (byte 3): save it as UTF-8"),
        ("phrase.txt", b"delve\nin terms of\n", "line 2: 'in terms of' is not one word"),
        ("none.txt", b"# nothing\n", "holds no words"),
        ("table.csv", b"wrd,type\ndelve,style\n", "has no column 'word'"),
    ):
        Path(name).write_bytes(content)
        refused(audited(command, table, settings=(*style, f"dictionary={name}")), name, says, lines=2)
    refused(audited(command, table, settings=(*style, "dictionary=nowhere.txt")), "no dictionary at 'nowhere.txt'", lines=2)


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("threshold=1", "setting 'threshold'"), ("bins=3", "setting 'bins'"), ("unit=year", "setting 'unit': must be 'month'"),
        ("follower_edges=[9, 5]", "rising numbers above 0"), ("length_edges=[0, 5]", "rising numbers above 0"),
        ("method=emq", "must be one of methods (cc, pacc)"), ("released=soon", "setting 'released'"),
        ("machine_label={d: ''}", "must name a label"), ("min_word=5", "did you mean 'min_words' or"),
    ],
)  # fmt: skip
def test_settings_out_of_range(command, setting: str, says: str) -> None:
    write("posts.parquet", posts(12))
    refused(called(command, "posts.parquet", settings=(setting,)), says)


def test_no_posts_at_all(command) -> None:
    done = survived(audited(command, {name: values[:0] for name, values in posts().items()}, labelled()), "holds no rows")
    without_numbers(done, "prevalence.")
    assert "No post is counted (the input holds no posts)" in said(done)


def test_hundreds_of_days_are_searched_in_blocks(command) -> None:
    n = 3_000
    day = np.datetime64("2022-01-01") + np.arange(n) % 600
    called_machine = np.arange(n) // 600 < np.where(np.arange(n) % 600 < 300, 1, 4)
    columns = {"created_at": day.astype(str).tolist(), "score": np.where(called_machine, 0.9, 0.1).tolist()}
    (row,) = rows(survived(audited(command, columns, settings=("unit=day",))), "changes")
    assert "2022-10-20" <= row["onset"] <= "2022-11-05", "the step is on 2022-10-28"
