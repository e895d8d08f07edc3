"""A small transformer that copies within its context is trained, attacked like any language model, and defended.

    python examples/icl_copying_model.py OUT                      # made-up questions and few steps: shows how it goes
    python examples/icl_copying_model.py OUT FOLDER [STEPS]       # TREC: FOLDER holds trec_train.txt (a quarter of an hour)

OUT/model receives the model, in the layout of transformers; OUT/pool.parquet and OUT/public.parquet a fifth of the texts, at
most 1,000, which it never saw: one that is answered as if it were known is known from the prompt. The same from the command
line:

    assaymark audit icl-membership OUT/pool.parquet --model 'service=hf:OUT/model?task=generate' --set task=trec --set form=flat
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import assaymark as am
from assaymark.console import progress_for
from assaymark.demo.copying_language_model import train_copying_lm
from assaymark.result import Result

TYPES = {
    "ABBR": "Abbreviation",
    "DESC": "Description",
    "ENTY": "Entity",
    "HUM": "Person",
    "LOC": "Location",
    "NUM": "Number",
}
KINDS = {
    "How many {} has the {} of {} ?": "Number",
    "Where is the {} {} of {} ?": "Location",
    "Who made the {} {} of {} ?": "Person",
}
LONGEST = 20  # words; the context holds 6 such examples, as many statements, and the question
PUBLIC = 5  # every fifth text that the model never saw
# A base model continues a text, and reads no instruction.
SERVICE = {"task": "trec", "form": "flat", "instruction": "", "similarity": "token_f1", "repetitions": 6}
SERVICE |= {"attacks": ("gap", "repeat", "brainwash", "hybrid"), "max_tokens": 48}
RECIPES = ("subset", "nearest_public", "labels_only", "overlap_guard", "label_only", "ensemble")


class Example(NamedTuple):
    text: str
    label: str


def main(out: Path, source: Path | None = None, steps: int = 0) -> None:
    rng = np.random.default_rng(0)
    examples = read_trec(source) if source else made_up(rng)
    rng.shuffle(examples)  # type: ignore[arg-type]
    kept = min(len(examples) // 5, 1_000)
    unseen = [example for example in examples[:kept] if len(example.text.split()) <= LONGEST]
    folder = train(out / "model", examples[kept:], steps=steps, full=source is not None)
    service = {"service": f"hf:{folder.resolve()}?task=generate"}
    pool, public = (written(out, unseen, secret=secret) for secret in (True, False))
    sizes = (3, 1, 6) if source else (1,)
    games = {"trials": 150, "shadow_trials": 75} if source else {"trials": 20, "shadow_trials": 10}
    found = am.audit("icl-membership", {"pool": pool}, models=service, demonstrations=sizes, **games, **SERVICE)
    attacks(found)
    found.report(out / "audit.html")
    games = {"trials": 60, "shadow_trials": 60} if source else {"trials": 10, "shadow_trials": 10}
    cure = am.mitigate(
        "icl-membership", {"pool": pool, "public": public}, models=service, demonstrations=sizes[0],
        recipes=RECIPES if source else RECIPES[3:5], instruct="only_a_label", transforms=False, **games, **SERVICE,
    )  # fmt: skip
    defences(cure)
    cure.report(out / "defences.html")


def train(folder: Path, examples: list[Example], *, steps: int, full: bool) -> Path:
    sizes: dict[str, Any] = {} if full else {"vocabulary": 400, "layers": 2, "width": 128, "context": 384}
    steps = steps or (1_800 if full else 30)
    texts, labels = ([example[part] for example in examples] for part in (0, 1))
    with progress_for(quiet=False).task("training", steps, "steps") as task:
        facts = train_copying_lm(folder, texts, labels, **sizes, steps=steps, seed=0, task=task, progress=show)
    print(f"{facts.parameters:,} parameters, {facts.steps:,} steps, {facts.seconds:.0f} s of processor time")
    print(f"perplexity of texts held out {facts.perplexity}")
    print(f"induction accuracy before {facts.induction_before}, after {facts.induction_after}")
    return folder


def show(loss: float, induction: float) -> None:
    print(f"  loss {loss:.3f}, induction accuracy {induction:.3f}")


def read_trec(folder: Path) -> list[Example]:
    lines = (folder / "trec_train.txt").read_text(encoding="latin-1").splitlines()
    found = (line.split(" ", 1) for line in lines)
    labels = {" ".join(text.split()): TYPES[kind.split(":")[0]] for kind, text in found}
    return [Example(text, label) for text, label in labels.items()]


def made_up(rng: np.random.Generator) -> list[Example]:
    names = ["".join(rng.choice(["ba", "ko", "mi", "tu", "lar", "nes", "vid", "pom"], size=3)) for _ in range(60)]
    kinds = [list(KINDS)[number] for number in rng.integers(len(KINDS), size=300)]
    return [Example(kind.format(*rng.choice(names, size=3, replace=False)), KINDS[kind]) for kind in kinds]


def written(out: Path, examples: list[Example], *, secret: bool) -> Path:
    """The pool, or the public texts."""
    kept = [example for row, example in enumerate(examples) if (row % PUBLIC > 0) == secret]
    path = out / ("pool.parquet" if secret else "public.parquet")
    pq.write_table(pa.table({"text": [e.text for e in kept], "label": [e.label for e in kept]}), path)
    return path


def attacks(found: Result) -> None:
    print("\n| attack | advantage, points | area under the curve |\n|---|---|---|")
    for name in found.estimates:
        if "advantage." in name:
            area = found.estimates.get(name.replace("advantage.", "auc."))
            shown = "" if area is None or area.value is None else f"{area.value:.3f}"
            print(f"| {name.replace('advantage.', '')} | {points(found, name)} | {shown} |")


def defences(cure: Result) -> None:
    print("\n| defence | strongest attack, points | right labels |\n|---|---|---|")
    for row in cure.tables["defences"].rows():
        if not row["reason"]:
            worst = f"{100 * row['advantage']:.0f} ({100 * row['advantage_low']:.0f} to {100 * row['advantage_high']:.0f})"
            print(f"| {row['defence']} | {worst} | {100 * row['accuracy']:.0f} % |")


def points(found: Result, name: str) -> str:
    """An advantage in percentage points."""
    estimate = found[name]
    if estimate.value is None or estimate.low is None or estimate.high is None:
        return "undefined"
    return f"{100 * estimate.value:.0f} ({100 * estimate.low:.0f} to {100 * estimate.high:.0f})"


if __name__ == "__main__":
    _, target, *rest = sys.argv
    main(Path(target), *(Path(path) for path in rest[:1]), *(int(number) for number in rest[1:2]))
