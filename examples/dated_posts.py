"""A negative control: dated posts that people wrote before language models could, in which the true share is 0.

    python examples/dated_posts.py FOLDER OUT                     # two small language models and machine twins (minutes)
    python examples/dated_posts.py FOLDER OUT 600 OTHER.txt       # and labelled texts of another kind, one a line
    assaymark run OUT/plan.yaml

FOLDER holds CSV files with created_at and text, and what there is of favorites, replies and user (each user becomes a platform
of the report). A hash of its words sends each post into one of four parts: one trains the language model that reads, one
another language model, the machine; one is the human side of the labelled texts, whose first words the machine continues; the
last is the stream. The number is the training steps of each model.

In the plan, `control` compares the reading model's scores with a classifier trained on the labelled texts and counts the
stream with the better one; `no_release` pretends that a generator came out in the middle, when nothing happened. With OTHER,
`other` corrects by labelled texts that are not like the stream: its curve is wrong, and a warning should say so.
"""

from __future__ import annotations

import csv
import html
import io
import re
import sys
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from assaymark.console import progress_for
from assaymark.data.dates import parse_dates
from assaymark.demo.small_language_model import train_causal_lm
from assaymark.models import open_model

PARTS = {"reader": 0.3, "machine": 0.2, "labelled": 0.25, "stream": 0.25}
LEAST_WORDS = 8
START = 4  # words that the machine is given
TEMPERATURE = 0.5
OTHERS = 800  # texts of another kind

PLAN = """\
name: dated-posts
seed: 0
inputs:
  posts: {{path: posts.parquet}}
  labelled: {{path: labelled.parquet}}{other_input}
steps:
  - id: control
    audit: generated-text-prevalence
    inputs: {{posts: $posts, labelled: $labelled}}
    models: {{detector.reader: "hf:reader", trainee: "hf:reader?task=train"}}
    set: {{{common}, train_rate: 5.0e-4, train_epochs: 6, train_batch: 16, train_accumulate: 1, train_tokens: 64}}
  - id: no_release
    audit: generated-text-prevalence
    inputs: {{posts: $posts, labelled: $labelled}}
    models: {{detector.reader: "hf:reader"}}
    set: {{{common}, released: {middle}}}
{other_step}"""
OTHER_STEP = """\
  - id: other
    audit: generated-text-prevalence
    inputs: {{posts: $posts, labelled: $other}}
    models: {{detector.reader: "hf:reader"}}
    set: {{{common}, released: {middle}}}
"""


def main(source: Path, out: Path, steps: int = 600, other: Path | None = None) -> None:
    parts: dict[str, list[dict[str, Any]]] = {name: [] for name in PARTS}
    for post in read_posts(source):
        parts[part_of(post["text"])].append(post)
    if not parts["stream"]:
        raise SystemExit(f"no CSV file in {source} holds posts of {LEAST_WORDS} words (columns created_at and text)")
    print("posts: " + ", ".join(f"{len(posts):,} {name}" for name, posts in parts.items()))
    out.mkdir(parents=True, exist_ok=True)
    for seed, name in enumerate(("reader", "machine")):
        with progress_for(quiet=False).task(f"training the {name}", steps, "steps") as task:
            texts = [post["text"] for post in parts[name]]
            facts = train_causal_lm(
                texts, out / name, vocabulary=2_000, layers=2, context=64, steps=steps, lr=2e-3, seed=seed, task=task
            )
        print(f"{name}: perplexity {facts.perplexity}, {facts.bits_per_byte:.2f} bits a byte of texts held out")
    pq.write_table(pa.Table.from_pylist(parts["stream"]), out / "posts.parquet")
    write_labelled(parts["labelled"], out / "machine", out / "labelled.parquet")
    if other is not None:
        lines = (clean(line) for line in other.read_text(encoding="utf-8").splitlines())
        texts = [line for line in dict.fromkeys(lines) if len(line.split()) >= LEAST_WORDS][:OTHERS]
        write_labelled([{"text": text} for text in texts], out / "machine", out / "other.parquet")
    write_plan(out, middle_of(parts["stream"]), other=other is not None)


def read_posts(folder: Path) -> Iterator[dict[str, Any]]:
    """Posts of some length, with a platform, likes and comments where the files have them."""
    for path in sorted(folder.glob("*.csv")):
        for row in csv.DictReader(io.StringIO(decoded(path), newline="")):
            text = clean(row["text"])
            if len(text.split()) >= LEAST_WORDS:
                yield {
                    "text": text,
                    "created_at": row["created_at"],
                    "platform": row.get("user") or path.stem,
                    "likes": row.get("favorites"),
                    "comments": row.get("replies"),
                }


def decoded(path: Path) -> str:
    """UTF-8, or else what ASCII there is: in files that were decoded wrongly more than once, nothing else means anything."""
    data = path.read_bytes()
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return re.sub(rb"[\x80-\xff]+", b" ", data).decode("ascii")


def clean(text: str) -> str:
    """Without links, whose random letters no language model can know, and with single spaces."""
    return " ".join(re.sub(r"(https?:|pic\.twitter\.com)\S*", " ", html.unescape(text)).split())


def part_of(text: str) -> str:
    """Equal words always fall into one part."""
    words = " ".join(re.findall(r"\w+", text.lower()))
    place = int.from_bytes(blake2b(words.encode(), digest_size=8).digest(), "big") / 2**64
    for name, share in PARTS.items():
        if place < share:
            return name
        place -= share
    return "stream"


def write_labelled(posts: Sequence[dict[str, Any]], machine: Path, path: Path) -> None:
    """Each human text and a machine's twin of it, which begins with the same words."""
    prompts = [" ".join(post["text"].split()[:START]) for post in posts]
    model: Any = open_model(f"hf:{machine.resolve()}?task=generate")
    replies = model.generate_text(prompts, temperature=TEMPERATURE, max_tokens=58)
    rows = []
    for number, (post, start, said) in enumerate(zip(posts, prompts, replies, strict=True)):
        common = {"source_id": str(number), "platform": post.get("platform")}
        rows.append({**common, "text": post["text"], "label": "human", "created_at": post.get("created_at")})
        twin = clean(start + said[0])
        # A twin that the stream would leave out is left out here too, but its human text stays: those are like the stream.
        if len(twin.split()) >= LEAST_WORDS:
            rows.append({**common, "text": twin, "label": "machine", "generator": "machine"})
    columns = {name: [row.get(name) for row in rows] for name in ("text", "label", "source_id", "generator")}
    optional = {name: [row.get(name) for row in rows] for name in ("platform", "created_at")}
    pq.write_table(pa.table(columns | {name: cells for name, cells in optional.items() if any(cells)}), path)
    print(f"{path.name}: {len(posts):,} texts and {len(rows) - len(posts):,} twins")


def middle_of(posts: Sequence[dict[str, Any]]) -> str:
    """The day that leaves every platform the most posts on both sides."""
    read = parse_dates(pa.array([post["created_at"] for post in posts]))
    times = read.microseconds.astype("M8[us]").astype("M8[D]")[read.valid]
    platforms = np.array([post["platform"] for post in posts])[read.valid]

    def fewest(day: np.datetime64) -> int:
        sides = [(np.sum(own < day), np.sum(own >= day)) for own in (times[platforms == name] for name in set(platforms))]
        return int(min(min(pair) for pair in sides))

    return str(max(np.unique(times), key=fewest))


def write_plan(out: Path, middle: str, *, other: bool) -> None:
    common = f"min_words: {LEAST_WORDS}, texts: 500"
    step = OTHER_STEP.format(common=common, middle=middle) if other else ""
    more = "\n  other: {path: other.parquet}" if other else ""
    plan = PLAN.format(common=common, middle=middle, other_input=more, other_step=step)
    (out / "plan.yaml").write_text(plan, encoding="utf-8")


if __name__ == "__main__":
    _, folder, target, *rest = sys.argv
    main(Path(folder), Path(target), *(int(number) for number in rest[:1]), *(Path(path) for path in rest[1:2]))
