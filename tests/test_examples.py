"""Every example runs, from a folder of its own, and says what it is meant to say."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from assaymark.runner import run
from assaymark.store.runs import RunFolder

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
SOURCE = EXAMPLES.parent / "src"


def python(*arguments: str, folder: Path) -> str:
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_no_example_is_forgotten() -> None:
    tested = {
        "clip_memorization.py",
        "clip_memorization_claims.py",
        "dated_posts.py",
        "detector_scores.py",
        "encoder_memorization.py",
        "encoder_memorization_claims.py",
        "generated_text_prevalence.py",
        "golden_numbers.py",
        "icl_copying_model.py",
        "icl_membership.py",
        "image_offensiveness.py",
        "image_text_dataset.py",
        "make_release_data.py",
        "real_pictures.py",
        "release_gate.yaml",
        "scorer_mixture.py",
        "sql_over_runs.py",
        "train_pictogram_encoder.py",  # in tests/training/test_small_clip.py
    }
    assert {path.name for path in EXAMPLES.iterdir() if path.suffix in (".py", ".yaml")} == tested


def test_memory_of_scripted_dual_encoders_is_found(tmp_path: Path) -> None:
    printed = python(str(EXAMPLES / "clip_memorization.py"), folder=tmp_path)
    assert "The model remembers its candidates" in printed and "CLIPMem by set" in printed
    assert "clipmem.calibrated               planted  0.170   found 0.16" in printed


def test_claims_about_dual_encoders_are_printed(tmp_path: Path) -> None:
    printed = python(str(EXAMPLES / "clip_memorization_claims.py"), folder=tmp_path)
    assert "1 x 5" in printed and "nothing left out: C - E = " in printed


def test_golden_numbers_are_the_published_ones(tmp_path: Path) -> None:
    printed = python(str(EXAMPLES / "golden_numbers.py"), folder=tmp_path)
    for figure in ("1.39 % (1.20 % to 1.62 %), n = 11,782", "12.256104 %", "15.60 %", "864,220", "0.34 %", "0.30 %"):
        assert figure in printed


def test_planted_rates_are_found_and_dropped(tmp_path: Path) -> None:
    printed = python(str(EXAMPLES / "image_text_dataset.py"), folder=tmp_path)
    assert "34.0%" in printed and "'z0'" in printed
    assert "unsafe rows, before and after" in printed.splitlines()[-1]
    assert "0.0 % (0.0 % to" in printed.splitlines()[-1]
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    folder = tmp_path_factory.mktemp("release")
    shutil.copy(EXAMPLES / "release_gate.yaml", folder)
    python(str(EXAMPLES / "make_release_data.py"), ".", folder=folder)
    run(folder / "release_gate.yaml", out=folder / "runs" / "first")
    return RunFolder.open(folder / "runs" / "first")


def test_release_gate_holds_on_the_filtered_data_only(release: RunFolder) -> None:
    record = release.load()
    assert record.exit_code == 0 and len(record.gates) == 5
    data, cure, after = (step.result for step in record.steps)
    assert data is not None and cure is not None and after is not None
    high = data["hate_content_rate.any"].high
    assert high is not None and high > 0.005, "before the cure the gate would not hold"
    assert data["find_me.rows"].value and after["find_me.rows"].value == 0
    assert after["anatomy.rows"].value == cure.flows[0].used


def test_sql_over_runs(release: RunFolder) -> None:
    printed = python(str(EXAMPLES / "sql_over_runs.py"), str(release.path.parent), folder=release.path)
    assert "z0" in printed and "slice_test" in printed and "cure.filter.kept" in printed


def test_offensive_images_are_found_documented_and_reviewed(tmp_path: Path) -> None:
    printed = python(str(EXAMPLES / "image_offensiveness.py"), folder=tmp_path)
    assert "tuned prompts are right in" in printed
    assert "planted 11.4%" in printed and "lift" in printed


def test_a_mixture_wins_where_quality_is_unequal_and_only_there(tmp_path: Path) -> None:
    printed = python(str(EXAMPLES / "scorer_mixture.py"), folder=tmp_path)
    unequal, equal, learnt = printed.split("\n\n")
    assert "97.1 %" in unequal and "99.4 %" in unequal
    assert "weights cannot win" in equal
    assert "its weight" in learnt and "warning" in learnt


def test_the_corrected_share_of_posts_is_the_planted_one_and_the_count_is_not(tmp_path: Path) -> None:
    printed = python(str(EXAMPLES / "generated_text_prevalence.py"), folder=tmp_path)
    months = [line for line in printed.splitlines() if line.startswith("20")]
    assert [month.split()[0] for month in months] == ["2022-06", "2022-12", "2023-06", "2023-12", "2024-06"]
    for month in months:
        planted, called, _, low, high = (float(share) for share in re.findall(r"([\d.]+)%", month))
        assert low <= planted <= high, "the corrected share"
        assert called > 0, "there are alarms where nothing was planted"
    (onset,) = re.findall(r"planted 2022-12, found [\d-]+ \(([\d-]+) to ([\d-]+)\)", printed)
    assert onset[0] <= "2022-12" <= onset[1]


def shown(printed: str, name: str) -> list[float]:
    """The numbers of one row of a printed table, without their intervals."""
    (row,) = re.findall(rf"^\| {re.escape(name)} \|(.*)\|$", printed, re.MULTILINE)
    return [float(cell.split("(")[0].replace("%", "")) for cell in row.split("|") if cell.strip() != "-"]


def test_what_a_prompt_gives_away_and_which_defence_stops_which_attack(tmp_path: Path) -> None:
    printed = python(str(EXAMPLES / "icl_membership.py"), folder=tmp_path)
    gap, inquiry, *copied = shown(printed, "6")
    assert inquiry == 0 < gap < min(copied), "a model that copies says nothing of what it has seen"
    assert shown(printed, "no demonstrations")[2:] == [0, 0, 0], "what is not in the prompt is not copied"
    bare, public, labels, guarded = (shown(printed, name) for name in ("none", "nearest public", "label only", "overlap guard"))
    repeat, brainwash = 4, 5  # behind the strongest attack, right labels, GAP and Inquiry
    assert labels[repeat] == 0 and labels[brainwash] == bare[brainwash] > 80
    assert guarded[repeat] > 80, "that a reply is blocked says as much as the reply"
    assert public[0] < bare[0] / 2


def test_a_detector_that_counts_has_its_floor_taken_out(tmp_path: Path) -> None:
    import numpy as np

    rng = np.random.default_rng(0)
    rows = [f"made up,{label},{score:.4f}" for label in (0, 1) for score in rng.normal(3 * label, 1, 600)]
    (tmp_path / "scores.csv").write_text("\n".join(["detector,label,score", *rows]))
    printed = python(str(EXAMPLES / "detector_scores.py"), "scores.csv", "4", folder=tmp_path)
    floor = {
        method: int(re.findall(rf"{method} +true 0%: (\d+) \((\d+)-(\d+)\)", printed)[0][1]) for method in ("cc", "acc", "pacc")
    }
    assert floor["cc"] > 0 and floor["acc"] == floor["pacc"] == 0


def test_pictograms_become_pictures_ratings_and_a_plan(tmp_path: Path) -> None:
    import json

    import numpy as np

    from assaymark.plan_loading import load_plan

    source, out = tmp_path / "source", tmp_path / "out"
    source.mkdir()
    np.savez(source / "images_32.npz", images=np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8))
    keywords = (["angry", "face"], ["party"], ["party", "angry"])
    rows = [{"index": i, "name": f"sign {i}", "keywords": words} for i, words in enumerate(keywords)]
    (source / "captions.jsonl").write_text("\n".join(map(json.dumps, rows)))
    printed = python(str(EXAMPLES / "real_pictures.py"), str(source), str(out), folder=tmp_path)
    assert "3 pictograms" in printed and "1 gloomy, 1 cheerful" in printed and "wants an encoder" in printed
    assert (out / "pictures" / "pictograms" / "0000.txt").read_text() == "sign 0, angry, face"
    assert (out / "ratings.csv").read_text().splitlines()[1:] == ["pictures/pictograms/0000.png,1.5"]
    assert (out / "labelled.csv").read_text().splitlines()[1:] == ["pictures/pictograms/0001.png,0"], "halves that do not meet"
    assert [step.id for step in load_plan(out / "plan.yaml").steps] == ["prompts", "flags", "scorer", "pictures"]


def test_dated_posts_become_two_models_labelled_texts_and_a_plan(tmp_path: Path) -> None:
    import random

    import pyarrow.parquet as pq

    from assaymark.plan_loading import load_plan

    source, out, rng = tmp_path / "source", tmp_path / "out", random.Random(0)
    source.mkdir()
    words = ["the", "a", "cat", "dog", "bird", "sees", "likes", "finds", "small", "old", "red", "in", "under", "near", "and"]
    for user in ("ann", "bob"):
        texts = [f"{' '.join(rng.choices(words, k=12))} https://t.example/{i} &amp; so" for i in range(260)]
        posts = [f'{1 + i % 12}/{1 + i % 28}/16 9:30,"{text}",{i},{user}' for i, text in enumerate(texts)]
        (source / f"{user}.csv").write_text("\n".join(["created_at,text,favorites,user", *posts]))
    other = tmp_path / "other.txt"
    other.write_text("\n".join(" ".join(rng.choices(words, k=10)) for _ in range(30)))
    printed = python(str(EXAMPLES / "dated_posts.py"), str(source), str(out), "4", str(other), folder=tmp_path)
    assert "reader: perplexity" in printed and "other.parquet: 30 texts" in printed
    stream, labelled = (pq.read_table(out / f"{name}.parquet").to_pydict() for name in ("posts", "labelled"))
    assert set(stream["platform"]) == {"ann", "bob"} and not any("http" in text or "&amp;" in text for text in stream["text"])
    assert not set(stream["text"]) & set(labelled["text"]) and set(labelled["label"]) == {"human", "machine"}
    plan = load_plan(out / "plan.yaml")
    assert [step.id for step in plan.steps] == ["control", "no_release", "other"]
    assert "2016-01-01" < str(plan.steps[1].settings["released"]) < "2016-12-31"


def test_a_copying_model_is_trained_attacked_and_defended(tmp_path: Path) -> None:
    printed = python(str(EXAMPLES / "icl_copying_model.py"), "out", folder=tmp_path)
    assert (tmp_path / "out" / "model" / "model.safetensors").is_file()
    assert len(re.findall(r"  loss \d", printed)) == 15
    assert re.search(r"induction accuracy before \S+ .*, after \S+", printed)
    for attack in ("gap", "repeat", "brainwash", "hybrid"):
        assert re.search(rf"\| {attack} \| -?\d+ \(-?\d+ to \d+\) \| [01]\.\d", printed), attack
    for defence in ("none", "overlap guard", "label only"):
        assert re.search(rf"\| {defence} \| -?\d+ \(-?\d+ to \d+\) \| \d+ % \|", printed), defence
    assert (tmp_path / "out" / "audit.html").is_file() and (tmp_path / "out" / "defences.html").is_file()


def test_scripted_encoders_remember_what_was_planted(tmp_path: Path) -> None:
    printed = python(str(EXAMPLES / "encoder_memorization.py"), folder=tmp_path)
    assert "| C: candidates | 160 | 0.07" in printed and "| stem | 0.0000 (0.0000 to 0.0000) | - |" in printed


def test_claims_about_encoders_are_run_from_training_to_table(tmp_path: Path) -> None:
    printed = python(str(EXAMPLES / "encoder_memorization_claims.py"), folder=tmp_path)
    for objective in ("simclr", "dino", "mae"):
        assert re.search(rf"^{objective}: loss [\d.]+ to [\d.]+; views of shared pictures found", printed, re.MULTILINE), (
            objective
        )
    assert "layermem_calibrated.kind.mlp_minus_attention: " in printed
    assert re.search(r"\| dino and mae \| -?[01]\.\d\d \| -?[01]\.\d\d \| -?[01]\.\d\d \|", printed)
    assert re.search(r"\| 0 \| 0\.\d\d \| 0\.\d\d \|", printed) and re.search(r"\| 1 \| 0\.\d\d \| 0\.\d\d \|", printed)
    assert re.search(r"\| most by delta: \S+ \| [\d.]+ % \| [+-]", printed)
    assert re.search(r"\| 5 most remembered \| \d+% \| [\d.]+ % \| [+-]", printed)
