"""Probes of the pass: whatever the order and size of the batches, their merged answers are those of a plain loop."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from assaymark.audits.image_offensiveness.probes.classes import ClassProbe
from assaymark.audits.image_offensiveness.probes.groups import GroupProbe, merge_named, named_counts
from assaymark.audits.image_offensiveness.probes.rule import LABELS, FlagRule, hash_strings
from assaymark.audits.image_offensiveness.probes.scores import ScoreProbe
from assaymark.audits.image_offensiveness.probes.shortlist import ShortlistProbe
from assaymark.audits.image_offensiveness.probes.texts import TextProbe
from assaymark.data.probe import Batch, Probe

RULE = FlagRule(0.9, (("c1", 0.99),))
EDGES = (0.1, 0.5, 0.9, 0.99)


def rows(n: int, seed: int = 0) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    odds = rng.normal(0, 5, n).astype(np.float32)
    odds[rng.random(n) < 0.05] = np.nan
    content = rng.integers(0, max(n // 2, 1), n)  # every content comes about twice
    odds = odds[content] if n else odds
    known = np.isfinite(odds)
    return {
        "log_odds": odds,
        "decision": np.where(known, odds > 0, np.nan).astype(np.float32),
        "official": np.where(known, odds > 1, np.nan).astype(np.float32),
        "state": np.where(known, 0, 4).astype(np.float32),
        "key_a": np.where(known, content, np.nan).astype(np.float32),
        "key_b": np.where(known, (content * 7919) % 1024, np.nan).astype(np.float32),
        "nsfw": rng.random(n).astype(np.float32)[content] if n else np.zeros(0, np.float32),
        "label": [None if c % 11 == 0 else f"c{c % 4}" for c in content],
        "text": [f"word{c % 9} of {c}" if c % 5 else "" for c in content],
        "place": [f"p{c % 3}" for c in content],
    }


def batch_of(columns: dict[str, Any], at: np.ndarray) -> Batch:
    table = {f"q16.{label}": pa.array(columns[label][at]) for label in LABELS}
    table |= {name: pa.array([columns[name][i] for i in at], pa.large_string()) for name in ("label", "text", "place")}
    table |= {"shard": pa.array(np.zeros(len(at), np.int32)), "row": pa.array(at.astype(np.int64))}
    return Batch(pa.table(table))


def probes() -> list[Probe]:
    return [
        ScoreProbe(RULE, nsfw_threshold=0.5),
        ClassProbe(RULE, EDGES, per_stratum=3),
        ShortlistProbe(RULE, size=7, per_class=2),
        TextProbe(RULE, size=10),
        GroupProbe("slice:place", "place", RULE, nsfw_threshold=0.5),
    ]


def equal(a: Any, b: Any) -> bool:
    if isinstance(a, np.ndarray):
        return a.shape == b.shape and bool(np.array_equal(a, b))
    if isinstance(a, tuple):
        return len(a) == len(b) and all(equal(x, y) for x, y in zip(a, b, strict=True))
    return bool(a == b)


@pytest.mark.parametrize("probe", probes(), ids=lambda probe: probe.name)
def test_merging_in_any_order_gives_the_whole(probe: Probe) -> None:
    columns = rows(400)
    whole = probe.finalize(probe.aggregate(batch_of(columns, np.arange(400))))
    rng = np.random.default_rng(3)
    cuts = np.sort(rng.choice(np.arange(1, 400), 9, replace=False))
    parts = [probe.aggregate(batch_of(columns, part)) for part in np.split(np.arange(400), cuts)]
    for _ in range(3):
        order = rng.permutation(len(parts))
        tree = probe.combine([probe.combine([parts[i] for i in order[:4]]), probe.combine([parts[i] for i in order[4:]])])
        assert equal(probe.finalize(tree), whole)


@pytest.mark.parametrize("probe", probes(), ids=lambda probe: probe.name)
def test_no_rows_are_an_answer(probe: Probe) -> None:
    probe.finalize(probe.aggregate(batch_of(rows(0), np.arange(0))))


def flagged_by_hand(columns: dict[str, Any]) -> np.ndarray:
    limits = [np.log(0.99 / 0.01) if label == "c1" else np.log(0.9 / 0.1) for label in columns["label"]]
    return np.array([bool(o >= limit) for o, limit in zip(columns["log_odds"], limits, strict=True)])


def test_counts_of_a_class_with_its_own_threshold() -> None:
    columns = rows(500, seed=1)
    flags, known = flagged_by_hand(columns), np.isfinite(columns["log_odds"])
    probe = ClassProbe(RULE, EDGES, per_stratum=3)
    found = probe.finalize(probe.aggregate(batch_of(columns, np.arange(500))))
    want = Counter(label or "" for label, k in zip(columns["label"], known, strict=True) if k)
    want_flagged = Counter(label or "" for label, f in zip(columns["label"], flags, strict=True) if f)
    assert dict(zip(found.names, found.bins.sum(axis=1), strict=True)) == want
    assert {n: int(k) for n, k in zip(found.names, found.flagged, strict=True) if k} == dict(want_flagged)
    scores = 1 / (1 + np.exp(-columns["log_odds"][known].astype(float)))
    assert found.bins.sum(axis=0).tolist() == np.histogram(scores, [0, *EDGES, 1])[0].tolist()


def test_the_sample_counts_copies_and_is_as_large_as_asked() -> None:
    columns = rows(600, seed=2)
    probe = ClassProbe(RULE, EDGES, per_stratum=3)
    found = probe.finalize(probe.aggregate(batch_of(columns, np.arange(600))))
    sample = found.sample
    strata = Counter(zip(sample.class_key.tolist(), sample.bin.tolist(), strict=True))
    assert max(strata.values()) == 3
    for shard, row, copies in zip(sample.shard, sample.row, sample.copies, strict=True):
        assert shard == 0
        assert copies == int((columns["key_a"] == columns["key_a"][row]).sum())
        assert row == int(np.flatnonzero(columns["key_a"] == columns["key_a"][row])[0])


def test_shortlist_is_the_sorted_head() -> None:
    columns = rows(500, seed=4)
    probe = ShortlistProbe(RULE, size=7, per_class=2)
    found = probe.finalize(probe.aggregate(batch_of(columns, np.arange(500))))
    distinct = {
        (k, label or ""): o for k, label, o in zip(columns["key_a"], columns["label"], columns["log_odds"], strict=True)
    }
    best = sorted((o for (_, _), o in distinct.items() if np.isfinite(o)), reverse=True)[:7]
    assert found.log_odds[found.overall].tolist() == best
    for name in ("c0", "c1", "c2", "c3"):
        key = hash_strings(pa.array([name]))[0]
        of_class = found.log_odds[(found.class_key == key) & found.of_class]
        assert (
            of_class.tolist() == sorted((o for (_, c), o in distinct.items() if c == name and np.isfinite(o)), reverse=True)[:2]
        )


def test_texts_come_from_the_right_side_and_are_a_sample() -> None:
    columns = rows(400, seed=5)
    probe = TextProbe(RULE, size=10)
    found = probe.finalize(probe.aggregate(batch_of(columns, np.arange(400))))
    flags, known = flagged_by_hand(columns), np.isfinite(columns["log_odds"])
    filled = np.array([bool(text) for text in columns["text"]])
    assert found.flagged_rows == int((flags & filled).sum())
    assert found.other_rows == int((known & ~flags & filled).sum())
    assert len(found.flagged) == len(found.others) == 10
    flagged_texts = {text for text, f in zip(columns["text"], flags, strict=True) if f}
    assert set(found.flagged) <= flagged_texts


def test_groups_beyond_the_limit_leave_exact_counts_of_the_others() -> None:
    names = [f"n{i}" for i in range(50)]
    keys = hash_strings(pa.array(names))
    parts = [named_counts(names[i::5], keys[i::5], np.full((10, 1), i + 1, np.int64), most=8) for i in range(5)]
    once = merge_named(parts, most=8)
    stepwise = merge_named([merge_named(parts[:2], most=8), merge_named(parts[2:], most=8)], most=8)
    assert once["names"] == stepwise["names"]
    assert np.array_equal(once["counts"], stepwise["counts"])
    assert set(once["keys"].tolist()) == set(np.sort(keys)[:8].tolist())
