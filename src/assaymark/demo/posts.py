"""A made-up stream of posts with planted truths, in the forms that exports have: a CSV of posts, pairs of texts as JSON lines.

People and machines draw made-up words from two related laws, so that a detector of machine-written texts is there without a
download; a machine's posts are liked less often.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from assaymark.audits.generated_text_prevalence.planted import planted_words, written_texts

__all__ = ["write_posts"]

MONTHS, POSTS = 30, 80  # from January 2022 on, and posts a month and platform
RISING, RISE = 11, 12  # the months without any machine, and those in which its share climbs to the plateau
PLATEAUS = {"blogs": 0.40, "forum": 0.05}
LIKES_RATIO = 0.6
"""Likes of a machine's post over those of a person's, at equal followers, topic and month."""

LENGTH = (40, 100)  # words; posts below 50 are left out by default
TOPICS = ("bread", "bicycles", "chess", "gardens")
AUTHORS = 1_500
PAIRS = 800
GENERATORS = {"parrot-1": 0.65, "parrot-2": 0.75}
"""Temperatures of the two machines that write the pairs, half of them each, and the stream likewise."""


def write_posts(folder: Path, *, seed: int) -> dict[str, float]:
    """Write `posts.csv` and `pairs.jsonl` into `folder`; returns the planted truth by estimate name."""
    rng = np.random.default_rng([seed, 0x905])
    folder.mkdir(parents=True, exist_ok=True)
    rows = [row for name in PLATEAUS for row in _posts(name, rng)]
    with (folder / "posts.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows[i] | {"id": f"post-{place:05d}"} for place, i in enumerate(rng.permutation(len(rows)).tolist()))
    with (folder / "pairs.jsonl").open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(pair) + "\n" for pair in _pairs(rng))
    return _truth()


def _truth() -> dict[str, float]:
    blogs, forum = (planted_shares(name) for name in ("blogs", "forum"))
    return {
        "prevalence.blogs": float(blogs.mean()),
        "prevalence.blogs.last": float(blogs[-1]),
        "prevalence.blogs.rise": float(blogs[RISING:].mean() - blogs[:RISING].mean()),
        "prevalence.forum": float(forum.mean()),
        "prevalence.forum.last": float(forum[-1]),
        "engagement.likes.ratio": LIKES_RATIO,
    }


def planted_shares(platform: str) -> npt.NDArray[np.float64]:
    """The machine's share in each month, shape (MONTHS,): nothing, then a straight climb, then level."""
    return PLATEAUS[platform] * np.clip((np.arange(MONTHS) + 1 - RISING) / RISE, 0.0, 1.0)


def _posts(platform: str, rng: np.random.Generator) -> list[dict[str, Any]]:
    month = np.repeat(np.arange(MONTHS), POSTS)
    size = len(month)
    machine = rng.random(size) < planted_shares(platform)[month]
    topic, day = rng.integers(len(TOPICS), size=size), rng.integers(1, 29, size=size)
    followers = np.rint(np.exp(rng.normal(np.where(machine, 6.2, 6.8), 1.2))).astype(np.int64)
    mean = 10.0 * np.exp(0.3 * (np.log1p(followers) - 6.5) + 0.1 * topic) * np.where(machine, LIKES_RATIO, 1.0)
    likes = rng.poisson(mean * rng.gamma(2.0, 0.5, size=size))
    author = rng.integers(AUTHORS, size=size)
    written = [_texts(machine, rng, temperature=temperature) for temperature in GENERATORS.values()]
    return [
        {
            "id": "",
            "created_at": f"{2022 + month[i] // 12}-{month[i] % 12 + 1:02d}-{day[i]:02d}T12:00:00Z",
            "platform": platform,
            "tag": TOPICS[topic[i]],
            "body": written[i % len(written)][i],
            "likes": int(likes[i]),
            "user_id": f"{platform}-{author[i]:04d}",
            "followers": int(followers[i]),
        }
        for i in range(size)
    ]


def _pairs(rng: np.random.Generator) -> list[dict[str, str]]:
    """A person's text and a machine's, in the layout of M4."""
    human = _texts(np.zeros(PAIRS, dtype=bool), rng, temperature=1.0)
    size = PAIRS // len(GENERATORS)
    pairs = []
    for number, (name, temperature) in enumerate(GENERATORS.items()):
        written = _texts(np.ones(size, dtype=bool), rng, temperature=temperature)
        for own, other in zip(human[number * size :], written, strict=False):
            pairs.append({"source": "made up", "model": name, "human_text": own, "machine_text": other})
    return pairs


def _texts(machine: npt.NDArray[np.bool_], rng: np.random.Generator, *, temperature: float) -> list[str]:
    return written_texts(*planted_words(machine, rng, temperature=temperature, length=LENGTH))
