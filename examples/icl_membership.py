"""Which examples stand in a prompt? A model that copies is attacked by text alone, and then defended.

    python examples/icl_membership.py                      # made-up sentences (seconds on a CPU, no network)
    python examples/icl_membership.py FOLDER OUT [games]   # TREC and AG News (500 games: minutes)

FOLDER holds trec_train.txt (lines "COARSE:fine text", latin-1) and agnews_test.csv (class, title, description). Every tenth
text is set apart as public, for the recipes that need texts which are nobody's secret; the others are the pool that prompts are
drawn from. OUT receives both as Parquet files, and the reports.

The model is no language model: it continues a text as its latest, longest match in the prompt went on, and votes for the label
of the demonstrations that share words with a text, beside a belief that is right in most cases. So it shows what copying alone
gives away. The files in OUT ask a real service, your own, the same: behind a URL, or a folder with a language model

    assaymark audit icl-membership OUT/trec.parquet --set task=trec --model service=openai:MODEL@URL --budget 50k
    assaymark audit icl-membership OUT/trec.parquet --set task=trec --model 'service=hf:FOLDER?task=generate'
    assaymark mitigate icl-membership OUT/trec.parquet public=OUT/trec_public.parquet --set task=trec --model ...
"""

from __future__ import annotations

import csv
import sys
import tempfile
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

import assaymark as am
from assaymark.audits.icl_membership.induction import InductionModel
from assaymark.audits.icl_membership.method.prompts import AG_NEWS, TASK_LABELS, TREC, Templates
from assaymark.audits.icl_membership.planted import LABELS, TEMPLATES, planted_pool
from assaymark.result import Result

SIZES = (6, 1, 3, 12)  # demonstrations; the first is the main one
QUICK = {"recipes": ("nearest_public", "overlap_guard", "label_only"), "instruct": "only_a_label", "transforms": False}
PUBLIC = 10  # every tenth text
TREC_WORDS = dict(zip(("NUM", "LOC", "HUM", "DESC", "ENTY", "ABBR"), TASK_LABELS["trec"], strict=True))
ATTACKS = {"gap": "GAP", "inquiry": "Inquiry", "repeat": "Repeat", "brainwash": "Brainwash", "hybrid": "Hybrid"}


class Task(NamedTuple):
    """Texts with labels, and the words of the service that classifies them."""

    name: str
    texts: list[str]
    labels: list[str]
    templates: Templates
    known: str  # the task by which the audit knows the wordings


def main(folder: Path | None, out: Path, games: int) -> None:
    tasks = [trec(folder), ag_news(folder)] if folder else [made_up()]
    sizes = SIZES if folder else SIZES[:2]
    for task in tasks:
        truth = {normal(text): label for text, label in zip(task.texts, task.labels, strict=True)}
        labels = TASK_LABELS.get(task.known, LABELS)
        model = InductionModel(labels, truth.get, templates=task.templates, name=task.name)
        pool, public = (written(task, out, secret=secret) for secret in (True, False))
        common = {"task": task.known, "similarity": "token_f1", "shadow_trials": min(100, max(games, 20))}
        found = am.audit(
            "icl-membership", {"pool": pool}, models={"service": model}, trials=games, demonstrations=sizes, **common
        )
        cure = am.mitigate(
            "icl-membership", {"pool": pool, "public": public}, models={"service": model},
            trials=max(games * 2 // 5, 20), **common, **({} if folder else QUICK),
        )  # fmt: skip
        print(f"\n{task.name}: {len(task.texts):,} texts, {games} games\n")
        advantages(found, sizes)
        defences(cure)
        for name, result in (("audit", found), ("defences", cure)):
            result.report(out / f"{task.name}_{name}.html")


def advantages(found: Result, sizes: Sequence[int]) -> None:
    """Advantage of each attack in points with its interval, by number of demonstrations and condition."""
    print(f"| demonstrations | {' | '.join(ATTACKS.values())} |\n|{'---|' * (1 + len(ATTACKS))}")
    rows = [(str(k), "" if k == sizes[0] else f".k_{k}") for k in sorted(sizes)]
    rows.append((f"{sizes[0]}, outsiders like members", ".hard"))
    for title, condition in rows:
        print(f"| {title} | {' | '.join(points(found, f'advantage.{name}{condition}') for name in ATTACKS)} |")
    print(f"| no demonstrations | {' | '.join(points(found, f'control.advantage.{name}') for name in ATTACKS)} |")
    areas = (f"{found[f'auc.{name}'].value:.3f}" for name in ATTACKS)
    print(f"| {sizes[0]}: area under the curve | {' | '.join(areas)} |")
    print(f"\nBrainwash with 5 statements for everybody: {points(found, 'advantage.brainwash.fixed')}\n")


def defences(cure: Result) -> None:
    """Strongest attack and right labels behind each defence, and every attack by itself."""
    names = [*ATTACKS.values(), "Repeat, encoded"]
    cells = {(row["defence"], row["attack"]): row["advantage"] for row in cure.tables["by_attack"].rows()}
    print(f"| defence | strongest attack | right labels | {' | '.join(names)} |\n|{'---|' * (3 + len(names))}")
    for row in cure.tables["defences"].rows():
        if row["reason"]:
            continue
        worst = f"{100 * row['advantage']:.0f} ({100 * row['advantage_low']:.0f} to {100 * row['advantage_high']:.0f})"
        each = (cells.get((row["defence"], name)) for name in names)
        shown = " | ".join("-" if value is None else f"{100 * value:.0f}" for value in each)
        print(f"| {row['defence']} | {worst} | {100 * row['accuracy']:.0f} % | {shown} |")


def points(found: Result, name: str) -> str:
    """An advantage in percentage points."""
    estimate = found[name]
    if estimate.value is None or estimate.low is None or estimate.high is None:
        return "undefined"
    return f"{100 * estimate.value:.0f} ({100 * estimate.low:.0f} to {100 * estimate.high:.0f})"


def made_up() -> Task:
    drawn = planted_pool(0, 600)
    return Task("made up", drawn.texts, drawn.labels, TEMPLATES, "generic")


def trec(folder: Path) -> Task:
    lines = (folder / "trec_train.txt").read_text(encoding="latin-1").splitlines()
    rows = [line.split(" ", 1) for line in lines]
    labels = [TREC_WORDS[label.partition(":")[0]] for label, _ in rows]
    return Task("trec", [text for _, text in rows], labels, TREC, "trec")


def ag_news(folder: Path) -> Task:
    with (folder / "agnews_test.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.reader(file) if row and row[0].isdigit()]  # not the heading
    texts = [f"{title} {description}" for _, title, description in rows]
    return Task("ag_news", texts, [TASK_LABELS["ag_news"][int(row[0]) - 1] for row in rows], AG_NEWS, "ag_news")


def written(task: Task, out: Path, *, secret: bool) -> Path:
    """The pool, or the public texts."""
    kept = [row for row in range(len(task.texts)) if (row % PUBLIC > 0) == secret]
    path = out / f"{task.name}{'' if secret else '_public'}.parquet"
    columns = {"text": [task.texts[row] for row in kept], "label": [task.labels[row] for row in kept]}
    pq.write_table(pa.table(columns), path)
    return path


def normal(text: str) -> str:
    """As the audit shows it to the service."""
    return " ".join(unicodedata.normalize("NFKC", text).split())


if __name__ == "__main__":
    if len(sys.argv) > 2:
        source, target, *size = sys.argv[1:]
        Path(target).mkdir(parents=True, exist_ok=True)
        main(Path(source), Path(target), int(size[0]) if size else 500)
    else:
        with tempfile.TemporaryDirectory() as temporary:
            main(None, Path(temporary), 30)
