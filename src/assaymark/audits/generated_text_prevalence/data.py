"""What goes into the audit: dated posts, labelled texts, an annotated sample; and inputs with a planted answer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from assaymark.audit import InputSpec, ModelRole, Planting

__all__ = ["INPUTS", "ROLES", "planting"]

INPUTS = (
    InputSpec(
        "posts", "posts", "one row a post: created_at, text or a score column, and what there is of platform, topic, likes, "
        "comments, author and followers",
    ),
    InputSpec(
        "labelled", "posts", "texts that are known to be human or machine-written: text and label (and generator, platform, "
        "source_id), or pairs as DetectGPT, HC3 and M4 keep them", required=False,
    ),
    InputSpec(
        "annotated", "posts", "a random sample of the stream that people labelled, for prediction-powered estimates",
        required=False,
    ),
)  # fmt: skip

ROLES = (
    ModelRole(
        "detector",
        "a language model whose token probabilities are scored, a classifier of texts, or a column of scores",
        any_of=("scores-tokens", "scores-texts", "reads-columns"),
        many=True,
    ),
    ModelRole("span_filler", "fills gaps in texts, for DetectGPT and NPR (setting perturbations)", any_of=("fills-spans",)),
    ModelRole("trainee", "a text model to train as a detector on the labelled texts", any_of=("trains-texts",)),
    ModelRole("generator", "writes machine-written twins of the labelled human texts", any_of=("generates-text",), many=True),
)


def planting(seed: int, folder: Path, *, null: bool, full: bool) -> Planting:
    """A stream and labelled texts by the same writers, read by the law that people write by.

    Truth: shares by platform, over all months and in the last one, what the release changed, and the ratio of likes.
    """
    from assaymark.audits.generated_text_prevalence.planted import (
        ENGAGEMENT_RATIO,
        MONTHS,
        PLATEAUS,
        UnigramModel,
        planted_posts,
        planted_shares,
        written_texts,
    )

    drawn = planted_posts(seed, 300 if full else 50, null=null)
    rng = np.random.default_rng([seed, 0xDA7])
    order = rng.permutation(len(drawn.machine))
    texts = written_texts(drawn.words, drawn.offsets)
    day = rng.integers(1, 29, size=len(order))
    month = [f"{2022 + (m - 1) // 12}-{(m - 1) % 12 + 1:02d}" for m in drawn.month.tolist()]
    table = pa.table(
        {
            "id": [f"planted-post-{i:08d}" for i in range(len(order))],
            "text": texts,
            "created_at": [f"{at}-{d:02d}T12:00:00Z" for at, d in zip(month, day.tolist(), strict=True)],
            "platform": drawn.platform,
            "topic": _names(drawn.topic),
            "likes": drawn.likes,
            "comments": drawn.comments,
            "author_id": [f"planted-author-{a:08d}" for a in drawn.author.tolist()],
            "followers": drawn.followers,
        }
    ).take(pa.array(order))
    path, labelled = folder / "posts.parquet", folder / "labelled.parquet"
    pq.write_table(table, path)
    pq.write_table(_labelled(seed, 1_000 if full else 400), labelled)
    truth: dict[str, float] = {}
    before = np.arange(1, MONTHS + 1) <= 11
    for name in PLATEAUS:
        shares = planted_shares(name, null=null)
        truth[f"prevalence.{name.lower()}"] = float(shares.mean())
        truth[f"prevalence.{name.lower()}.last"] = float(shares[-1])
        truth[f"prevalence.{name.lower()}.rise"] = float(shares[~before].mean() - shares[before].mean())
    if not null:
        truth["engagement.likes.ratio"] = ENGAGEMENT_RATIO
    settings = {
        "min_words": 5,
        "resamples": 400 if full else 200,
        "permutations": 199 if full else 99,
        "texts": 100,
        "near_duplicates": 0.0,
    }
    return Planting(
        {"posts": str(path), "labelled": str(labelled)}, truth, settings, {"detector.unigram": UnigramModel.spec}, null
    )


def _names(topic: np.ndarray) -> list[str]:
    from assaymark.audits.generated_text_prevalence.planted import TOPICS

    return [TOPICS[number] for number in topic.tolist()]


def _labelled(seed: int, texts: int) -> pa.Table:
    """As many human as machine-written texts, in pairs of one source."""
    from assaymark.audits.generated_text_prevalence.planted import GENERATORS, planted_words, written_texts

    rng = np.random.default_rng([seed, 0x1AB])
    columns: dict[str, list[object]] = {"text": [], "label": [], "generator": [], "source_id": []}
    for name, temperature in (("", 1.0), *GENERATORS.items()):
        size = texts if not name else texts // len(GENERATORS)
        words, offsets = planted_words(np.full(size, bool(name)), rng, temperature=temperature)
        columns["text"] += written_texts(words, offsets)
        columns["label"] += ["machine" if name else "human"] * size
        columns["generator"] += [name or None] * size
        first = 0 if not name else list(GENERATORS).index(name) * size
        columns["source_id"] += [f"planted-source-{first + i:06d}" for i in range(size)]
    return pa.table(columns)
