"""Posts written before language models existed: the true share is 0, and the curves have to cover it.

The language model of the detector counts pairs of words in a part of the posts; the machine draws its words from such counts of
another part. Both are real, if small, and the posts and their drift over three years are real.
"""

from __future__ import annotations

import csv
import html
import io
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from hashlib import blake2b
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import assaymark as am
from assaymark.result import Result

pytestmark = pytest.mark.shared_data

AUTHORS = ("BarackObama", "realDonaldTrump")
LEAST_WORDS = 8
SHARPNESS = 2.0
"""The machine draws from the counts to this power: it prefers what is frequent, as a low temperature does."""


class Post(NamedTuple):
    words: list[str]
    created_at: str
    platform: str
    likes: str
    comments: str


def read_posts(folder: Path) -> Iterator[tuple[int, Post]]:
    """Posts with the part (0 to 3) that the hash of their words puts them into."""
    for author in AUTHORS:
        raw = (folder / "tweets_538" / f"{author}.csv").read_bytes().decode("ascii", errors="ignore")
        for row in csv.DictReader(io.StringIO(raw, newline="")):
            text = re.sub(r"(https?:|pic\.twitter\.com)\S*", " ", html.unescape(row["text"]).lower())
            words = re.findall(r"[\w'@#]+|[.,!?]", text)
            if len(words) >= LEAST_WORDS:
                part = blake2b(" ".join(words).encode(), digest_size=2).digest()[0] % 4
                yield part, Post(words, row["created_at"], author, row["favorites"], row["replies"])


class Bigrams:
    """p(word | word before), mixed with p(word): a language model of one word's memory."""

    def __init__(self, texts: list[list[str]]) -> None:
        self.single = Counter(word for text in texts for word in text)
        self.total = sum(self.single.values())
        self.after: dict[str, Counter[str]] = defaultdict(Counter)
        for text in texts:
            for first, second in pairwise(text):
                self.after[first][second] += 1

    def likelihood(self, text: list[str]) -> float:
        """Mean log-probability of all words but the first."""
        logs = []
        for first, second in pairwise(text):
            alone = (self.single[second] + 0.5) / (self.total + 0.5 * len(self.single))
            seen = self.after.get(first)
            pair = seen[second] / seen.total() if seen else alone
            logs.append(np.log(0.5 * pair + 0.5 * alone))
        return float(np.mean(logs))

    def write(self, start: str, length: int, rng: np.random.Generator) -> list[str]:
        words = [start]
        while len(words) < length:
            counts = self.after.get(words[-1]) or self.single
            weights = np.array(list(counts.values()), dtype=float) ** SHARPNESS
            words.append(list(counts)[int(rng.choice(len(weights), p=weights / weights.sum()))])
        return words


@pytest.fixture(scope="module")
def controls(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A stream and labelled texts by author, with a column of scores; their texts stay behind."""
    folder = tmp_path_factory.mktemp("posts")
    parts: list[list[Post]] = [[], [], [], []]
    for part, post in read_posts(shared_data):
        parts[part].append(post)
    reader, machine = (Bigrams([post.words for post in part]) for part in parts[:2])
    rng = np.random.default_rng(0)
    labelled = [
        {"source_id": str(i), "platform": post.platform, "label": label, "likelihood": reader.likelihood(words)}
        for i, post in enumerate(parts[2])
        for label, words in (("human", post.words), ("machine", machine.write(post.words[0], len(post.words), rng)))
    ]
    stream = [
        {
            "created_at": post.created_at,
            "platform": post.platform,
            "likes": post.likes,
            "comments": post.comments,
            "likelihood": reader.likelihood(post.words),
        }
        for post in parts[3]
    ]
    for name, rows in (("labelled", labelled), ("stream", stream)):
        for author in AUTHORS:
            own = [row for row in rows if row["platform"] == author]
            pq.write_table(pa.Table.from_pylist(own), folder / f"{name}-{author}.parquet")
    return {path.stem: path for path in folder.glob("*.parquet")}


def audited(stream: Path, labelled: Path, **settings: int) -> Result:
    return am.audit(
        "generated-text-prevalence",
        {"posts": str(stream), "labelled": str(labelled)},
        models={"detector.bigrams": "column:likelihood"},
        seed=0,
        released="2016-07-01",
        resamples=200,
        permutations=99,
        near_duplicates=0,
        **settings,
    )


@pytest.mark.parametrize("author", AUTHORS)
def test_the_corrected_share_covers_nought(controls: dict[str, Path], author: str) -> None:
    result = audited(controls[f"stream-{author}"], controls[f"labelled-{author}"])
    auroc, share = result["detector.bigrams.auroc"], result[f"prevalence.{author.lower()}"]
    assert auroc.low is not None and auroc.low > 0.7, "or nothing is shown"
    assert share.low == 0.0 and share.high is not None and share.high < 0.2
    assert result[f"prevalence.{author.lower()}.called"].value > 0.05, "not corrected, it would be a discovery"
    assert not [finding.sentence for finding in result.findings if finding.severity == "warning"]
    assert not result["engagement.likes.ratio"].defined
    months = result.tables["prevalence"].rows()
    apart = sum(month["pacc_low"] > 0 for month in months)
    assert apart <= 2, f"{apart} of {len(months)} months exclude 0"


def test_labelled_texts_of_somebody_else_are_warned_of(controls: dict[str, Path]) -> None:
    """An author's posts, corrected by what the detector does on another's."""
    first, second = AUTHORS
    result = audited(controls[f"stream-{first}"], controls[f"labelled-{second}"])
    warned = [finding.sentence for finding in result.findings if finding.severity == "warning"]
    assert any("they are not like the stream" in sentence for sentence in warned)


def test_two_authors_together_are_each_corrected_by_their_own_texts(controls: dict[str, Path], tmp_path: Path) -> None:
    """Corrected with the errors on both authors' texts, one author's share is too high: that must not go unsaid."""
    for name in ("stream", "labelled"):
        tables = [pq.read_table(controls[f"{name}-{author}"]) for author in AUTHORS]
        pq.write_table(pa.concat_tables(tables), tmp_path / f"{name}.parquet")
    own, pooled = (
        audited(tmp_path / "stream.parquet", tmp_path / "labelled.parquet", least_platform=least) for least in (50, 0)
    )
    doubts = [finding for finding in pooled.findings if "differ by platform" in finding.sentence]
    assert len(doubts) == 1 and all(author in doubts[0].sentence for author in AUTHORS)
    assert not [finding for finding in own.findings if "differ by platform" in finding.sentence]
    for name in (*(author.lower() for author in AUTHORS), "all_platforms"):
        assert own[f"prevalence.{name}"].low == 0.0, name
