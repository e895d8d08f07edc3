"""One pass: merge equals one pass, resume equals an uninterrupted run, samples and scores, broken files, errors."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import daft
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from assaymark.data import scan as scanning
from assaymark.data.dataset import Dataset, open_input
from assaymark.data.probe import Batch, Probe
from assaymark.data.scan import Sample, ScanOutcome, Scorer, scan
from assaymark.errors import EngineError, InputError, MissingExtra, SchemaError


class Lengths(Probe):
    """Histogram of text lengths, rows, checksum of row ids, a counter, a sum of floats."""

    name: ClassVar[str] = "lengths"
    columns = ("text",)
    optional = ("punsafe", "tag")

    def aggregate(self, batch: Batch) -> dict[str, Any]:
        assert pc.count_distinct(batch.column("shard")).as_py() <= 1
        sizes = pc.fill_null(pc.utf8_length(batch.column("text")), 0).to_numpy(zero_copy_only=False)
        rows = batch.column("row").to_numpy() + 1_000_000 * batch.column("shard").to_numpy()
        tags = pc.value_counts(batch.column("tag")).to_pylist() if "tag" in batch else []
        return {
            "histogram": np.bincount(np.minimum(sizes, 63), minlength=64),
            "rows": batch.rows,
            "ids": int((rows * (sizes + 1)).sum()),
            "tags": {str(item["values"]): item["counts"] for item in tags},
            "punsafe": float(np.nansum(batch.numbers("punsafe"))) if "punsafe" in batch else 0.0,
        }

    def finalize(self, state: Any) -> dict[str, Any]:
        return {key: value.tolist() if isinstance(value, np.ndarray) else value for key, value in state.items()}


@dataclass
class Failing(Probe):
    """Raises as soon as it meets that shard or a later one, while `ARMED`."""

    shard: int
    name: ClassVar[str] = "failing"

    def aggregate(self, batch: Batch) -> dict[str, Any]:
        if ARMED[0] and int(batch.column("shard")[0].as_py()) >= self.shard:
            raise ZeroDivisionError("stopped on purpose")
        return {"rows": batch.rows}

    def finalize(self, state: Any) -> Any:
        return state["rows"]


ARMED = [False]


def table(rows: int, seed: int = 0) -> pa.Table:
    rng = np.random.default_rng(seed)
    return pa.table(
        {
            "TEXT": pa.array(["x" * n for n in rng.integers(0, 40, rows)]),
            "NSFW": rng.choice(["UNLIKELY", "UNSURE", "NSFW"], rows),
            "punsafe": rng.random(rows),
        }
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Five shards of unequal size, several row groups each."""
    for k, rows in enumerate((700, 1, 2000, 350, 1200)):
        pq.write_table(table(rows, k), tmp_path / f"part-{k}.parquet", row_group_size=300)
    return tmp_path


def pairs(value: Any) -> Dataset:
    return open_input("pairs", value, name="pairs")


def oracle(dataset: Dataset) -> dict[str, Any]:
    """The probe on whole shards, one after another, without the engine."""
    probe = Lengths()
    states = []
    for shard in dataset.shards:
        pieces = [b.table for part in dataset.reader.parts(shard) for b in dataset.batches(part, ["text", "punsafe", "tag"])]
        batch = pa.Table.from_batches(pieces)
        batch = batch.append_column("shard", pa.array(np.full(batch.num_rows, shard.index, np.int32)))
        states.append(probe.aggregate(Batch(batch.append_column("row", pa.array(np.arange(batch.num_rows))))))
    return probe.finalize(probe.combine(states))


def same(a: dict[str, Any], b: dict[str, Any]) -> None:
    """Counts equal, sums of floats equal up to the order of addition."""
    assert {k: v for k, v in a.items() if k != "punsafe"} == {k: v for k, v in b.items() if k != "punsafe"}
    assert a["punsafe"] == pytest.approx(b["punsafe"], rel=1e-12)


@pytest.mark.parametrize("group", [1, 900, 10**9])
@pytest.mark.parametrize("batch", [37, 65_536])
def test_merge_equals_one_pass(folder: Path, monkeypatch: pytest.MonkeyPatch, group: int, batch: int) -> None:
    monkeypatch.setattr(scanning, "GROUP_ROWS", group)
    monkeypatch.setattr("assaymark.data.readers.parquet.BATCH_ROWS", batch)
    monkeypatch.setattr("assaymark.data.readers.parquet.PART_ROWS", 500)
    dataset = pairs(folder)
    outcome = scan(dataset, [Lengths()])
    same(outcome.answers["lengths"], oracle(dataset))
    assert outcome.rows == 4251 == outcome.flow.total == outcome.flow.used and not outcome.failed


@pytest.mark.parametrize("morsel", [1, 17, 1000])
def test_morsel_size_does_not_matter(folder: Path, morsel: int) -> None:
    dataset = pairs(folder if morsel > 1 else folder / "part-3.parquet")
    with daft.execution_config_ctx(default_morsel_size=morsel):
        same(scan(dataset, [Lengths()]).answers["lengths"], oracle(dataset))


def test_same_scan_twice_gives_the_same_bits(folder: Path) -> None:
    assert scan(pairs(folder), [Lengths()]) == scan(pairs(folder), [Lengths()])


def test_small_files_share_a_query_but_not_a_batch(tmp_path: Path) -> None:
    for k in range(30):
        pq.write_table(table(7, k), tmp_path / f"{k:02d}.parquet")
    dataset = pairs(tmp_path)
    same(scan(dataset, [Lengths()]).answers["lengths"], oracle(dataset))


class _Bar:
    def __init__(self) -> None:
        self.expected, self.done = 0, 0

    def expect(self, total: int) -> None:
        self.expected = total

    def advance(self, amount: int = 1) -> None:
        self.done += amount


def test_progress_adds_up_and_only_asked_columns_are_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, ...]] = []
    original = Dataset.batches

    def spy(self: Dataset, part: Any, concepts: Any) -> Any:
        asked.append(tuple(concepts))
        return original(self, part, concepts)

    monkeypatch.setattr(Dataset, "batches", spy)
    bar = _Bar()
    scan(pairs(folder), [Failing(99)], task=bar)
    assert bar.expected == bar.done == 4251
    assert set(asked) == {()}


def test_a_stopped_scan_resumes_and_ends_equal(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scanning, "GROUP_ROWS", 1)
    probes = [Lengths(), Failing(2)]
    ARMED[0] = True
    events: list[str] = []

    def go(probes: list[Probe], where: Path) -> ScanOutcome:
        return scan(pairs(folder), probes, checkpoint=where, log=lambda event, **facts: events.append(event))

    try:
        with pytest.raises(Exception, match="stopped on purpose"):
            go(probes, tmp_path / "work")
    finally:
        ARMED[0] = False
    assert [file.name for file in (tmp_path / "work").iterdir()] == ["scan.state"]
    resumed = go(probes, tmp_path / "work")
    assert events == ["scan resumed"]
    assert resumed == go(probes, tmp_path / "other")
    events.clear()
    go([Lengths(), Failing(3)], tmp_path / "work")
    assert events == ["checkpoint discarded"]
    (tmp_path / "work/scan.state").write_bytes(b"rubbish")
    assert go(probes, tmp_path / "work") == resumed


def test_a_killed_process_resumes_and_ends_equal(folder: Path, tmp_path: Path) -> None:
    work = tmp_path / "work"
    script = textwrap.dedent(
        """
        import os, signal, sys
        from assaymark.data import scan as scanning
        from assaymark.data.dataset import open_input
        sys.path.insert(0, sys.argv[3])
        from test_scan import Lengths
        from pathlib import Path
        scanning.GROUP_ROWS = 1
        original = scanning.save_checkpoint
        saved = []
        def save(*args):
            original(*args)
            saved.append(1)
            if len(saved) == 2:
                os.kill(os.getpid(), signal.SIGKILL)
        scanning.save_checkpoint = save
        scanning.scan(open_input("pairs", sys.argv[1], name="p"), [Lengths()], checkpoint=Path(sys.argv[2]))
        """
    )
    here = str(Path(__file__).parent)
    process = subprocess.run([sys.executable, "-c", script, str(folder), str(work), here], capture_output=True, timeout=60)
    assert process.returncode == -signal.SIGKILL, process.stderr.decode()
    assert (work / "scan.state").is_file()
    events: list[tuple[str, dict]] = []
    sys.path.insert(0, here)
    try:
        from test_scan import Lengths as Named
    finally:
        sys.path.remove(here)
    outcome = scan(pairs(folder), [Named()], checkpoint=work, log=lambda event, **facts: events.append((event, facts)))
    assert events[0][0] == "scan resumed" and events[0][1]["shards_done"] == 2
    same(outcome.answers["lengths"], scan(pairs(folder), [Lengths()]).answers["lengths"])


class Scores(Probe):
    """Keeps what it sees of the scores: small data only."""

    name: ClassVar[str] = "scores"
    optional = ("text", "sampled", "toxic.a", "toxic.b")

    def aggregate(self, batch: Batch) -> dict[str, Any]:
        a, b = batch.column("toxic.a"), batch.column("toxic.b")
        assert a.type == pa.float32()
        rows = batch.column("row").to_numpy() + 10_000 * batch.column("shard").to_numpy()
        seen = ~a.is_null().to_numpy(zero_copy_only=False)
        return {
            "scored": {str(row): 1 for row in rows[seen]},
            "sampled": int(pc.sum(batch.column("sampled")).as_py() or 0) if "sampled" in batch else -1,
            "lengths": float(pc.sum(a).as_py() or 0),
            "unscored": int(pc.sum(pc.is_nan(b)).as_py() or 0),
        }

    def finalize(self, state: Any) -> Any:
        return dict(state)


def _score(values: pa.Array) -> npt.NDArray[np.float32]:
    sizes = pc.utf8_length(values).to_numpy(zero_copy_only=False).astype(np.float32)
    return np.stack([sizes, np.where(sizes == 0, np.nan, 0.5)], axis=1)


def test_only_sampled_rows_are_scored(folder: Path) -> None:
    dataset = pairs(folder)
    scorer = Scorer("toxic", "text", ("a", "b"), _score, batch_size=64)
    answers = [scan(dataset, [Scores()], scorers=[scorer], sample=Sample(500, seed)).answers["scores"] for seed in (1, 1, 2)]
    sizes = [min(500, shard.rows or 0) for shard in dataset.shards]
    assert answers[0]["sampled"] == len(answers[0]["scored"]) == sum(sizes) == 500 + 1 + 500 + 350 + 500
    assert answers[0] == answers[1] and answers[0]["scored"] != answers[2]["scored"]
    per_shard = np.bincount([int(row) // 10_000 for row in answers[0]["scored"]], minlength=5)
    assert per_shard.tolist() == sizes
    rows = sorted((int(row) // 10_000, int(row) % 10_000) for row in answers[0]["scored"])
    texts = dataset.fetch(rows, ["text"])["text"].to_pylist()
    assert answers[0]["lengths"] == sum(map(len, texts)) and answers[0]["unscored"] == sum(not text for text in texts) > 0


def test_without_a_sample_every_row_is_scored_once_in_this_process(folder: Path) -> None:
    calls: list[tuple[int, int]] = []

    def score(values: pa.Array) -> npt.NDArray[np.float32]:
        calls.append((os.getpid(), len(values)))
        return _score(values)

    out = scan(pairs(folder), [Scores()], scorers=[Scorer("toxic", "text", ("a", "b"), score)]).answers["scores"]
    assert len(out["scored"]) == 4251 == sum(rows for _, rows in calls)
    assert {process for process, _ in calls} == {os.getpid()}


def test_sample_counts_files_that_do_not_say(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("caption\n" + "".join(f"t{k}\n" for k in range(100)))
    dataset = pairs(tmp_path / "x.csv")
    assert dataset.rows is None
    out = scan(dataset, [Scores()], scorers=[Scorer("toxic", "text", ("a", "b"), _score)], sample=Sample(30, 0))
    assert len(out.answers["scores"]["scored"]) == 30


def test_a_scorer_of_the_wrong_shape_is_a_clear_error(folder: Path) -> None:
    wrong = Scorer("toxic", "text", ("a", "b"), lambda values: np.zeros((len(values), 3), np.float32))
    with pytest.raises(Exception, match="scorer 'toxic' answered with shape"):
        scan(pairs(folder), [Scores()], scorers=[wrong])


def _break_page(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[40:400] = b"\xff" * 360
    path.write_bytes(bytes(data))


def test_a_file_that_breaks_midway_is_left_out_whole(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = folder / "part-2.parquet"
    _break_page(broken)
    monkeypatch.setattr("assaymark.data.readers.parquet.PART_ROWS", 300)
    dataset = pairs(folder)
    assert not dataset.failed and dataset.rows == 4251
    outcome = scan(dataset, [Lengths()])
    assert list(dataset.failed) == list(outcome.failed) == [str(broken)]
    assert outcome.rows == 2251 and outcome.flow.failed == {"unreadable file": 2000} and outcome.flow.total == 4251
    good = pairs([folder / f"part-{k}.parquet" for k in (0, 1, 3, 4)])
    assert outcome.answers["lengths"]["histogram"] == scan(good, [Lengths()]).answers["lengths"]["histogram"]
    assert any("part-2.parquet was left out" in note for note in outcome.notes)
    with pytest.raises(InputError, match="cannot be read: "):
        scan(pairs(broken), [Lengths()])


def test_a_file_without_a_required_column_fails_and_a_set_without_it_is_refused(folder: Path) -> None:
    pq.write_table(pa.table({"other": ["x"] * 9}), folder / "zz.parquet")
    outcome = scan(pairs(folder), [Lengths()])
    assert outcome.rows == 4251 and outcome.flow.failed == {"unreadable file": 9}
    assert "no column for 'text'" in outcome.failed[str(folder / "zz.parquet")]
    with pytest.raises(SchemaError, match="no column for 'text'"):
        scan(pairs(folder / "zz.parquet"), [Lengths()])


def test_malformed_rows_are_counted_and_kept_from_probes(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_bytes(b'{"caption": "abc"}\nnot json\n{"caption": "caf\xe9"}\n')
    outcome = scan(pairs(tmp_path / "x.jsonl"), [Lengths()])
    assert outcome.rows == outcome.answers["lengths"]["rows"] == 2 and outcome.flow.failed == {"malformed row": 1}
    assert any("bytes that are no UTF-8, which were replaced by U+FFFD: 1" in note for note in outcome.notes)


def test_an_empty_set_has_answers(tmp_path: Path) -> None:
    pq.write_table(table(0), tmp_path / "x.parquet")
    outcome = scan(pairs(tmp_path / "x.parquet"), [Lengths()])
    assert outcome.rows == 0 and outcome.answers["lengths"]["rows"] == 0


def test_memory_tables_and_every_text_format_give_the_same_answer(tmp_path: Path) -> None:
    data = table(500)
    expected = scan(pairs(data), [Lengths()]).answers["lengths"]
    import pyarrow.csv as pacsv

    pacsv.write_csv(data, tmp_path / "x.csv")
    data.to_pandas().to_json(tmp_path / "x.jsonl.gz", orient="records", lines=True, double_precision=15)
    for name in ("x.csv", "x.jsonl.gz"):
        same(scan(pairs(tmp_path / name), [Lengths()]).answers["lengths"], expected)


@pytest.mark.parametrize(
    ("engine", "message"), [("locla", "'local'"), ("ray://nowhere", "known: local, ray"), ("spark", "known: local")]
)
def test_unknown_engines(folder: Path, engine: str, message: str) -> None:
    with pytest.raises(EngineError, match=message):
        scan(pairs(folder), [Lengths()], engine=engine)


def test_one_engine_a_process(folder: Path) -> None:
    scan(pairs(folder), [Lengths()])
    with pytest.raises(EngineError, match="process of its own"):
        scan(pairs(folder), [Lengths()], engine="ray")


def test_ray_is_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    from assaymark.data.readers import engine

    monkeypatch.setattr(engine, "_chosen", [])
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtra, match=r"assaymark\[cluster\]"):
        engine.choose_engine("ray")


def test_telemetry_is_off_and_daft_is_lazy() -> None:
    code = """
import os, sys
import assaymark.data, assaymark.data.dataset, assaymark.data.scan, assaymark.data.embeddings, assaymark.data.images
assert "daft" not in sys.modules and "ray" not in sys.modules
from assaymark.data.readers.engine import choose_engine
import socket
def refuse(*args, **kwargs): raise AssertionError("network")
socket.socket.connect = refuse
choose_engine("local")
"""
    names = ("SCARF_NO_ANALYTICS", "DO_NOT_TRACK", "DAFT_ANALYTICS_ENABLED", "DAFT_PROGRESS_BAR")
    code += f"print(*(os.environ[name] for name in {names}))"
    environment = {**os.environ, "DAFT_ANALYTICS_ENABLED": "1", "DO_NOT_TRACK": "0", "SCARF_NO_ANALYTICS": "0"}
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=60)
    assert out.returncode == 0, out.stderr
    assert out.stdout.split() == ["1", "1", "0", "0"]


@pytest.mark.ray
def test_ray_gives_the_same_answers(folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    script = textwrap.dedent(
        """
        import json, sys
        sys.path.insert(0, sys.argv[2])
        import ray
        from assaymark.data.readers.engine import QUIET
        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="error",
                 runtime_env={"env_vars": {**QUIET, "PYTHONPATH": sys.argv[2]}})
        from assaymark.data.dataset import open_input
        from assaymark.data.scan import Sample, Scorer, scan
        from test_scan import Lengths, Scores, _score
        data = open_input("pairs", sys.argv[1], name="p")
        scorer = Scorer("toxic", "text", ("a", "b"), _score)
        out = scan(data, [Lengths(), Scores()], engine="ray", scorers=[scorer], sample=Sample(100, 3))
        print("ANSWER" + json.dumps([out.answers, out.rows, list(out.failed)]))
        """
    )
    _break_page(folder / "part-2.parquet")
    here = str(Path(__file__).parent)
    path = os.pathsep.join([here, *sys.path])
    process = subprocess.run(
        [sys.executable, "-c", script.replace("sys.argv[2]}}", "sys.argv[3]}}"), str(folder), here, path],
        capture_output=True, text=True, timeout=110, env={**os.environ, "PYTHONPATH": path},
    )  # fmt: skip
    assert process.returncode == 0, process.stderr[-3000:]
    import json

    answers, rows, failed = json.loads(process.stdout.rpartition("ANSWER")[2])
    scorer = Scorer("toxic", "text", ("a", "b"), _score)
    local = scan(pairs(folder), [Lengths(), Scores()], scorers=[scorer], sample=Sample(100, 3))
    same(answers["lengths"], local.answers["lengths"])
    assert answers["scores"] == local.answers["scores"]
    assert rows == local.rows and failed == list(local.failed) == [str(folder / "part-2.parquet")]
