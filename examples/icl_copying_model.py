"""A small language model that copies within its context, and what its answers give away about the examples in its prompt.

    python examples/icl_copying_model.py OUT                      # made-up questions and few steps: shows how it goes
    python examples/icl_copying_model.py OUT FOLDER [STEPS]       # TREC: FOLDER holds trec_train.txt (minutes)

The model is written to OUT, in the layout of transformers. A fifth of the texts, at most 1,000, is kept from it. They are the
examples in the prompts: one that is answered as if it were known is known from the prompt. In each trial the prompt holds k
of them; one of the k, the member, and another, the non-member, are attacked in three ways:

Repeat: the first three words of the text are given; the score is the token F1 of the answer with the rest of the text.
GAP: the text is given; a hit is an answer with its true label. Advantage = hits of members - hits of non-members.
Brainwash: a wrong label is stated j = 0, 1, 2, ... times; the score is the first j at which the answer is that label.

AUC is over all trials; for the advantage the first half of the trials sets the threshold, and the other half counts.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from assaymark.console import progress_for
from assaymark.demo.copying_language_model import train_copying_lm
from assaymark.models import open_model
from assaymark.result import Estimate
from assaymark.stats.ranking import roc_auc, roc_curve
from assaymark.stats.resampling import bootstrap_ratio

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
TRIALS = 120  # half of them for the thresholds
PREFIX = 3  # words
LONGEST = 20  # words; the context holds 6 such examples, as many statements, and the question
MOST = 6  # statements of a wrong label
REPRODUCED = 0.9  # token F1 from which a text counts as reproduced


class Example(NamedTuple):
    text: str
    label: str


def main(out: Path, source: Path | None = None, steps: int = 0, *, trials: int = TRIALS) -> None:
    rng = np.random.default_rng(0)
    examples = read_trec(source) if source else made_up(rng)
    rng.shuffle(examples)  # type: ignore[arg-type]
    kept = min(len(examples) // 5, 1_000)
    pool, learnt = examples[:kept], examples[kept:]
    sizes: dict[str, Any] = {} if source else {"vocabulary": 400, "layers": 2, "width": 128, "context": 256}
    steps = steps or (1_800 if source else 30)
    with progress_for(quiet=False).task("training", steps, "steps") as task:
        facts = train_copying_lm(
            out, [e.text for e in learnt], [e.label for e in learnt], **sizes, steps=steps, seed=0, task=task, progress=show
        )
    print(f"{facts.parameters:,} parameters, {facts.steps:,} steps, {facts.seconds:.0f} s of processor time")
    print(f"perplexity of texts held out {facts.perplexity}")
    print(f"induction accuracy before {facts.induction_before}, after {facts.induction_after}")
    model: Any = open_model(f"hf:{out.resolve()}?task=generate")
    for k in (1, 3, 6) if source else (1,):
        attack(model, pool, k=k, trials=trials if source else 8, rng=np.random.default_rng([1, k]))


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


def attack(model: Any, pool: Sequence[Example], *, k: int, trials: int, rng: np.random.Generator) -> None:
    """Print how far members and non-members of prompts with k examples differ."""
    long = [example for example in pool if PREFIX < len(example.text.split()) <= LONGEST]
    labels = sorted({example.label for example in pool})
    heads, targets, wrong = [], [], []
    for _ in range(trials):
        drawn = [long[row] for row in rng.choice(len(long), size=k + 1, replace=False)]
        member, other = drawn[int(rng.integers(k))], drawn[k]
        head = "".join(shown(example) for example in drawn[:k])
        for target in (member, other):
            heads.append(head)
            targets.append(target)
            wrong.append(str(rng.choice([label for label in labels if label != target.label])))
    is_member = np.tile([True, False], trials)
    repeated, alone = repeat_scores(model, heads, targets), repeat_scores(model, [""] * len(heads), targets)
    hits = np.array([reply == t.label for reply, t in zip(answers(model, heads, targets), targets, strict=True)], dtype=float)
    stated = iterations(model, heads, targets, wrong)
    gap = bootstrap_ratio(hits[is_member] - hits[~is_member], np.ones(trials), rng=rng)
    print(f"k = {k}, {trials} trials")
    print(f"  Repeat     AUC {roc_auc(repeated, is_member)}, advantage {advantage(repeated, is_member)}")
    rates = [float((scores >= REPRODUCED).mean()) for scores in (repeated[is_member], repeated[~is_member], alone)]
    print("  reproduced members {:.0%}, non-members {:.0%}, without any example in the prompt {:.0%}".format(*rates))
    print(f"  GAP        advantage {gap}; hits of members {hits[is_member].mean():.0%}")
    print(f"  Brainwash  AUC {roc_auc(stated, is_member)}, advantage {advantage(stated, is_member)}")
    means = [stated[is_member].mean(), stated[~is_member].mean()]
    print("  statements needed: members {:.2f}, non-members {:.2f}".format(*means))


def shown(example: Example, *, label: str | None = None) -> str:
    return f"Question: {example.text}\nType: {label or example.label}\n\n"


def repeat_scores(model: Any, heads: Sequence[str], targets: Sequence[Example]) -> Any:
    words = [target.text.split() for target in targets]
    prompts = [f"{head}Question: {' '.join(own[:PREFIX])}" for head, own in zip(heads, words, strict=True)]
    replies = model.generate_text(prompts, temperature=0.0, max_tokens=48, stop=["\n"])
    return np.array([token_f1(reply[0].split(), own[PREFIX:]) for reply, own in zip(replies, words, strict=True)])


def token_f1(said: Sequence[str], true: Sequence[str]) -> float:
    shared = sum((Counter(said) & Counter(true)).values())
    return 2 * shared / (len(said) + len(true))


def answers(model: Any, heads: Sequence[str], targets: Sequence[Example]) -> list[str]:
    prompts = [f"{head}Question: {target.text}\nType:" for head, target in zip(heads, targets, strict=True)]
    return [reply[0].strip() for reply in model.generate_text(prompts, temperature=0.0, max_tokens=6, stop=["\n"])]


def iterations(model: Any, heads: Sequence[str], targets: Sequence[Example], wrong: Sequence[str]) -> Any:
    """Smallest number of statements after which the wrong label is the answer; MOST + 1 where it never is."""
    needed = np.full(len(heads), MOST + 1)
    for j in range(MOST + 1):
        open_ = np.flatnonzero(needed > MOST)
        told = [heads[row] + j * shown(targets[row], label=wrong[row]) for row in open_]
        said = answers(model, told, [targets[row] for row in open_]) if len(open_) else []
        needed[[row for row, reply in zip(open_, said, strict=True) if reply == wrong[row]]] = j
    return needed.astype(float)


def advantage(scores: Any, is_member: Any) -> Estimate:
    """TPR - FPR on the second half of the trials, at the threshold that is best on the first; with an interval over trials."""
    half = len(scores) // 4 * 2
    curve = roc_curve(scores[:half], is_member[:half])
    called = scores[half:] >= curve.thresholds[int(np.argmax(curve.tpr - curve.fpr))]
    differences = called[is_member[half:]].astype(float) - called[~is_member[half:]]
    return bootstrap_ratio(differences, np.ones(len(differences)), rng=np.random.default_rng(2))


if __name__ == "__main__":
    _, target, *rest = sys.argv
    main(Path(target), *(Path(path) for path in rest[:1]), *(int(number) for number in rest[1:2]))
