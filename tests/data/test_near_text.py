"""Near-duplicates: planted ones are found, others are never merged, and the overlap is the exact one."""

from __future__ import annotations

import subprocess
import sys
import time
from itertools import combinations

import numpy as np
import pytest

from assaymark.data.near_text import near_duplicate_groups, shingles
from assaymark.errors import MissingExtra

WORDS = np.array([f"word{k}" for k in range(5_000)])


def random_texts(rng: np.random.Generator, count: int, length: int) -> list[str]:
    return [" ".join(row) for row in WORDS[rng.zipf(1.3, (count, length)) % len(WORDS)]]


def changed(text: str, rng: np.random.Generator, words: int) -> str:
    out = text.split()
    for place in rng.choice(len(out), words, replace=False):
        out[place] = f"other{rng.integers(1_000_000)}"
    return " ".join(out)


def naive(texts: list[str], threshold: float) -> list[int]:
    """Every pair, with sets of tuples."""
    sets = [{tuple(text.split()[i : i + 5]) for i in range(len(text.split()) - 4)} for text in texts]
    group = list(range(len(texts)))
    for i, j in combinations(range(len(texts)), 2):
        if len(sets[i] & sets[j]) / len(sets[i] | sets[j]) >= threshold:
            low, high = sorted((group[i], group[j]))
            group = [low if g == high else g for g in group]
    return group


def test_planted_copies_are_found_and_random_texts_stay_apart() -> None:
    rng = np.random.default_rng(0)
    originals = random_texts(rng, 300, 200)
    copies = [changed(text, rng, 3) for text in originals[:100]]
    groups = near_duplicate_groups(originals + copies, seed=1)
    assert groups.dtype == np.int64
    assert groups[:300].tolist() == list(range(300)), "no false merge"
    assert groups[300:].tolist() == list(range(100)), "every copy joins its original"
    assert near_duplicate_groups(originals + copies, seed=1).tolist() == groups.tolist()


@pytest.mark.parametrize("threshold", [0.5, 0.8, 0.9])
def test_groups_are_those_of_comparing_every_pair(threshold: float) -> None:
    rng = np.random.default_rng(2)
    texts = random_texts(rng, 30, 60)
    texts += [changed(text, rng, int(k % 6)) for k, text in enumerate(texts * 3)]
    overlaps = naive(texts, threshold)
    groups = near_duplicate_groups(texts, threshold=threshold, permutations=256).tolist()
    agree = sum((groups[i] == groups[j]) == (overlaps[i] == overlaps[j]) for i, j in combinations(range(len(texts)), 2))
    pairs = len(texts) * (len(texts) - 1) // 2
    assert agree / pairs > 0.999
    assert all(overlaps[place] == overlaps[group] for place, group in enumerate(groups)), "nothing is merged by mistake"


def test_case_punctuation_and_spaces_do_not_count() -> None:
    long = "It was the best of times, it was the worst of times, it was the age of wisdom"
    texts = [long, long.upper().replace(",", " -  "), "Thanks!", "thanks", "THANKS ...", "thank you"]
    assert near_duplicate_groups(texts).tolist() == [0, 0, 2, 2, 2, 5]


def test_short_texts_and_scripts_without_spaces_are_compared_by_characters() -> None:
    chinese = "社交媒体上的人工智能生成文本越来越多" * 3
    texts = ["the quick brown fox jumped over dogs", "the quick brown fox jumped over dog", chinese, chinese + "了", "ok", "no"]
    assert near_duplicate_groups(texts).tolist() == [0, 0, 2, 2, 4, 5]


def test_texts_without_a_word_stand_alone() -> None:
    assert near_duplicate_groups(["", None, "...", "", "a", "\ud800"]).tolist() == [0, 1, 2, 3, 4, 5]
    assert near_duplicate_groups([]).tolist() == []
    assert near_duplicate_groups(["a", "a"]).tolist() == [0, 0]
    with pytest.raises(ValueError, match="threshold"):
        near_duplicate_groups(["a"], threshold=0)


def test_a_chain_of_copies_is_one_group() -> None:
    rng = np.random.default_rng(3)
    chain = random_texts(rng, 1, 200)
    for _ in range(5):
        chain.append(changed(chain[-1], rng, 3))
    assert near_duplicate_groups(chain[::-1]).tolist() == [0] * 6
    assert near_duplicate_groups(chain, threshold=1.0).tolist() == list(range(6))


def test_a_template_filled_in_many_times_is_one_group_and_stays_cheap() -> None:
    start = time.perf_counter()
    filled = [" ".join(f"w{k}" for k in range(60)) + f" day {day}" for day in range(1_500)]
    assert set(near_duplicate_groups(filled).tolist()) == {0}
    assert time.perf_counter() - start < 4, "comparing every pair would take longer"


def test_hashes_are_those_of_distinct_runs() -> None:
    (one,) = shingles(["a b c d e f g h i j a b c d e"])
    assert len(one) == 10 and (np.diff(one) > 0).all(), "a run that comes twice is counted once"
    (other,) = shingles(["z a b c d e f g h i j"])
    assert len(np.intersect1d(one, other)) == 6, "the hash of a run does not depend on where it stands"


def test_a_thousand_posts_take_a_second_at_most() -> None:
    texts = random_texts(np.random.default_rng(4), 1_000, 200)
    start = time.perf_counter()
    near_duplicate_groups(texts)
    assert time.perf_counter() - start < 4, "ten thousand may take 20 seconds; this machine may be busy"


def test_without_the_library_the_extra_is_named() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "datasketch", None)
        with pytest.raises(MissingExtra, match=r"assaymark\[language\]"):
            near_duplicate_groups(["a b", "c d"])
    code = "import sys, assaymark.data.near_text; sys.exit('datasketch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0, "imported only where it is used"
