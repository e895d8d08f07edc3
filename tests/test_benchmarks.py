"""The benchmark runner: finds its modules and prints one table that says what it was measured on."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from benchmarks import Row, Target, _peers, best_seconds
from benchmarks.__main__ import machine, main, names, table
from benchmarks._material import generated
from benchmarks.bootstrap import cluster_loop, item_loop, resample_loop
from benchmarks.dataset_scan import Sizes, passes, write_shards
from benchmarks.lexicon_scan import LOWER, reference


def test_modules_can_be_run() -> None:
    assert {"bootstrap", "dataset_scan", "lexicon_scan", "retrieval"} <= set(names())
    for name in names():
        assert callable(importlib.import_module(f"benchmarks.{name}").run), name


def test_table_has_the_ratio_both_ways() -> None:
    rows = [Row("scan", 0.5, 2.0, "s", "peer: a|b", Target("times", ">=", 5)), Row("alone", 1234.5, None, "rows/s")]
    lines = table(rows).splitlines()
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    assert cells[0] == ["case", "ours", "peer", "unit", "ratio", "times", "target", "note"]
    assert cells[2] == ["scan", "0.5", "2", "s", "0.25", "4", "times >= 5: MISSED", "peer: a/b"]
    assert cells[3] == ["alone", "1,234", "-", "rows/s", "-", "-", "", ""]
    assert len({len(line) for line in lines}) == 1


@pytest.mark.parametrize(
    ("target", "ours", "peer", "held"),
    [
        (Target("ratio", "<=", 1.5), 3.0, 2.0, True),
        (Target("ratio", "<=", 1.5), 3.1, 2.0, False),
        (Target("times", ">=", 50), 1.0, 49.0, False),
        (Target("ours", "<=", 5), 4.0, None, True),
        (Target("ratio", "<=", 1.5), 3.0, None, None),
        (None, 3.0, 2.0, None),
    ],
)
def test_target(target: Target | None, ours: float, peer: float | None, held: bool | None) -> None:
    assert Row("case", ours, peer, "s", "", target).held is held


def test_machine_line_names_the_libraries() -> None:
    assert re.match(r"\d+ cores", machine())
    assert "numpy" in machine()
    assert "peers" in machine()


def test_peers_are_pinned() -> None:
    lines = [line for line in _peers.PINS.read_text().splitlines() if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in lines)
    assert _peers.versions().count(",") == len(lines) - 1


def test_missing_peers_are_said_and_do_not_stop(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def no_index() -> Path:
        raise OSError("no route")

    monkeypatch.setattr(_peers, "_INSTALLED", tmp_path / "installed.txt")
    monkeypatch.setattr(_peers, "create", no_index)
    assert _peers.ensure() is None
    assert "no route" in capsys.readouterr().err
    assert _peers.ask("_retrieval_peer.py", "nowhere", "1") is None


def test_best_of_several_runs() -> None:
    calls: list[int] = []
    assert best_seconds(lambda: calls.append(1), repeats=4) >= 0
    assert len(calls) == 4


def test_unknown_benchmark_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["no_such_benchmark"])
    assert "no_such_benchmark" in capsys.readouterr().err


def test_loops_draw_what_the_bootstrap_draws() -> None:
    import numpy as np

    values, ones = np.arange(50.0), np.ones(50)
    clusters = np.arange(50) // 5
    spread = np.std(values) / np.sqrt(50)
    for draws in (
        item_loop(values, ones, rng=np.random.default_rng(0), resamples=400),
        resample_loop(values, ones, rng=np.random.default_rng(0), resamples=400),
        cluster_loop(values, clusters, rng=np.random.default_rng(0), resamples=400),
    ):
        assert np.mean(draws) == pytest.approx(values.mean(), abs=5 * spread / 20 * 3)
    assert np.std(item_loop(values, ones, rng=np.random.default_rng(1), resamples=2000)) == pytest.approx(spread, rel=0.1)


def test_reference_finds_what_was_planted() -> None:
    made = generated(rows=300)
    terms = [LOWER.one(term.term) for term in made.lexicon.terms]
    expected = {(r, terms.index(word)) for r, text in enumerate(made.captions) for word in text.split() if word in terms}
    assert expected
    assert reference(made, 300) == expected


def test_shards_repeat_or_not(tmp_path: Path) -> None:
    made, sizes = generated(rows=40), Sizes(shards=3, few=1, rows=50, repeats=1)
    for name, distinct, unique in (("same", False, 40), ("other", True, 150)):
        write_shards(tmp_path / name, made, sizes, distinct=distinct)
        table = pq.read_table(tmp_path / name)
        assert table.num_rows == 150
        assert len(table["URL"].unique()) == unique


def test_pass_in_a_process_of_its_own(tmp_path: Path) -> None:
    made, sizes = generated(rows=40), Sizes(shards=2, few=1, rows=40, repeats=1)
    write_shards(tmp_path / "same", made, sizes, distinct=False)
    (tmp_path / "terms.txt").write_text("\n".join(term.term for term in made.lexicon.terms), encoding="utf-8")
    both = passes(tmp_path, "same", sizes, ("lexicons", "slice_test"))
    alone = passes(tmp_path, "same", sizes, ("lexicons",), shards=2)
    assert both["rows"] == 80
    assert both["answers"]["lexicons"] == alone["answers"]["lexicons"]
    assert both["megabytes"] > 10
    assert both["processor"] > 0
