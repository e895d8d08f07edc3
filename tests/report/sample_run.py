"""A run that uses everything a report can show: two steps, gates of every outcome, all severities, all kinds of figure."""

from __future__ import annotations

import numpy as np

from assaymark.record import GateRecord, RunRecord, StepRecord
from assaymark.result import Column, Estimate, Figure, Finding, Flow, Provenance, Result, Table, undefined


def share(successes: int, n: int) -> Estimate:
    p = successes / n
    half = 1.96 * (p * (1 - p) / n) ** 0.5
    return Estimate(p, max(p - half, 0.0), min(p + half, 1.0), n, "Wilson 95 %", "share")


def _rates(rng: np.random.Generator, rows: int) -> dict[str, list[object]]:
    rate = rng.beta(1, 9, rows)
    n = rng.integers(200, 40_000, rows)
    half = 1.96 * np.sqrt(rate * (1 - rate) / n)
    return {"rate": list(rate), "low": list(np.maximum(rate - half, 0)), "high": list(np.minimum(rate + half, 1)), "n": list(n)}


INTERVAL = (
    Column("rate", "share", "Unsafe"),
    Column("rate_low", "low", of="rate"),
    Column("rate_high", "high", of="rate"),
)


def slice_table(rng: np.random.Generator, rows: int = 14) -> Table:
    r = _rates(rng, rows)
    terms = [f"{'abcdefghijklmnopqrstuvwxyz'[i % 26]}word{i}" for i in range(rows)]
    values = {
        "term": terms,
        "rate": [None, *r["rate"][1:]],
        "rate_low": [None, *r["low"][1:]],
        "rate_high": [None, *r["high"][1:]],
        "n": [0, *r["n"][1:]],
        "risk_ratio": [None, *rng.lognormal(0.8, 0.6, rows - 1)],
        "p": [None, *np.sort(rng.beta(0.3, 4, rows - 1))],
        "survives": [None, *(rng.random(rows - 1) < 0.5)],
        "reason": ["no row holds the term", *[""] * (rows - 1)],
    }
    columns = [
        Column("term", "term", "Term"),
        *INTERVAL,
        Column("n", "count", "Rows"),
        Column("risk_ratio", "number", "Risk ratio"),
        Column("p", "p_value", "p (BH)"),
        Column("survives", "flag", "Survives at 0.01"),
        Column("reason", "text", "Reason"),
    ]
    about = "Rows whose caption holds the term, and the share of them with an unsafe token, against all other rows."
    return Table.of("slice_test", "Unsafe share by term", values, columns, description=about)


def curve_table() -> Table:
    theta = np.linspace(0.1, 0.8, 13)
    values: dict[str, list[object]] = {"theta": [], "set": [], "rate": [], "rate_low": [], "rate_high": []}
    for name, factor in (("400M sample", 1.0), ("2B-en sample", 1.16)):
        rate = factor * 0.02 * np.exp(-4 * theta)
        values["theta"] += list(theta)
        values["set"] += [name] * 13
        values["rate"] += list(rate)
        values["rate_low"] += list(rate * 0.93)
        values["rate_high"] += list(rate * 1.07)
    columns = [Column("theta", "number", "Threshold"), Column("set", "label", "Data set"), *INTERVAL]
    return Table.of("hcr_curve", "Hate content rate by threshold", values, columns)


def tag_table() -> Table:
    tags, flags = ["UNLIKELY", "UNSURE", "NSFW"], ["clean", "flagged", "not scored"]
    values = {
        "tag": [t for t in tags for _ in flags],
        "flag": flags * 3,
        "share": [0.96, 0.04, None, 0.83, 0.17, None, 0.51, 0.46, 0.03],
    }
    return Table.of(
        "tags",
        "Safety tag by text flag",
        values,
        [Column("tag", "label", "Tag"), Column("flag", "label", "Flag"), Column("share", "share", "Share of the tag")],
    )


def domain_table(rng: np.random.Generator, rows: int = 2_000) -> Table:
    counts = (4e6 / np.arange(1, rows + 1) ** 0.9).astype(int)
    r = _rates(rng, rows)
    values = {
        "url": [f"https://img{i}.site{i}.example.com/private/path/{i}.jpg?user=jane" for i in range(rows)],
        "id": np.arange(rows) * 7,
        "caption": [f"a private caption number {i}" for i in range(rows)],
        "rows": counts,
        "rate": r["rate"],
        "rate_low": r["low"],
        "rate_high": r["high"],
    }
    columns = [
        Column("url", "url", "Address"),
        Column("id", "id", "Row"),
        Column("caption", "content", "Caption"),
        Column("rows", "count", "Rows"),
        *INTERVAL,
    ]
    return Table.of("domains", "Rows by address", values, columns, description="One row per host, largest first.")


def histogram_table(rng: np.random.Generator) -> Table:
    counts, edges = np.histogram(rng.normal(0.31, 0.04, 200_000), bins=40, range=(0.15, 0.5))
    values = {"similarity": (edges[:-1] + edges[1:]) / 2, "rows": counts}
    return Table.of(
        "similarity",
        "Similarity of image and text",
        values,
        [Column("similarity", "number", "Cosine"), Column("rows", "count", "Rows")],
    )


def shard_table(rng: np.random.Generator) -> Table:
    values = {
        "rows": rng.integers(10_000, 2_000_000, 160),
        "seconds": rng.lognormal(2, 0.5, 160),
        "engine": ["local", "ray"] * 80,
    }
    columns = [
        Column("rows", "count", "Rows in shard"),
        Column("seconds", "number", "Seconds"),
        Column("engine", "label", "Engine"),
    ]
    return Table.of("shards", "Shards", values, columns)


def figures() -> tuple[Figure, ...]:
    interval = {"low": "rate_low", "high": "rate_high"}
    base = ((0.01, "all other rows: 1.0 %"),)
    return (
        Figure(
            "forest",
            "Unsafe share by term",
            "intervals",
            "slice_test",
            "term",
            "rate",
            **interval,
            reference=base,
            caption="Share of the rows with the term whose address or text holds an unsafe token; lines are 95 % intervals.",
        ),
        Figure(
            "curve",
            "Hate content rate by threshold",
            "lines",
            "hcr_curve",
            "theta",
            "rate",
            **interval,
            group="set",
            log_y=True,
            caption="A text counts when any of three scores exceeds the threshold.",
        ),
        Figure(
            "tags",
            "What the safety tag catches",
            "heatmap",
            "tags",
            "flag",
            "share",
            group="tag",
            caption="Rows add up to 100 %.",
        ),
        Figure(
            "bars",
            "Rows with an unsafe token, by term",
            "bars",
            "slice_test",
            "term",
            "n",
            caption="Number of rows behind each rate.",
        ),
        Figure(
            "similarity",
            "Similarity of image and text",
            "histogram",
            "similarity",
            "similarity",
            "rows",
            reference=((0.3, "cut-off 0.30"),),
            caption="Cosine of the two embeddings.",
        ),
        Figure(
            "shards",
            "Speed by shard",
            "points",
            "shards",
            "rows",
            "seconds",
            group="engine",
            log_x=True,
            caption="One point per shard.",
        ),
        Figure(
            "sheet",
            "Blurred contact sheet",
            "picture",
            artifact="sheet.png",
            caption="Eight averages a side; nothing can be made out.",
        ),
        Figure(
            "domains", "Largest hosts", "bars", "domains", "url", "rate", **interval, caption="Share of unsafe rows by host."
        ),
    )


def audit_result(rng: np.random.Generator) -> Result:
    tables = (slice_table(rng), curve_table(), tag_table(), domain_table(rng), histogram_table(rng), shard_table(rng))
    calibration = Table.of(
        "calibration",
        "Planted truth and what this audit made of it",
        {
            "name": ["unsafe share, z0", "unsafe share, base"],
            "truth": [0.34, 0.01],
            "found": [0.338, 0.0101],
            "found_low": [0.33, 0.0098],
            "found_high": [0.346, 0.0104],
            "covered": [0.96, 0.95],
        },
        [
            Column("name", "label", "Estimate"),
            Column("truth", "share", "Truth"),
            Column("found", "share", "Found"),
            Column("found_low", "low", of="found"),
            Column("found_high", "high", of="found"),
            Column("covered", "share", "Intervals that cover it"),
        ],
        description="The audit was run on 100 synthetic data sets whose answer is known.",
    )
    return Result(
        audit="image-text-dataset",
        title="What an image-text data set holds",
        estimates={
            "hate_content_rate.any": share(9_533, 3_200_000),
            "hate_content_rate.hateful": share(9_504, 3_200_000),
            "hate_content_rate.targeted": share(2_707, 3_200_000),
            "hate_content_rate.aggressive": share(502, 3_200_000),
            "tag_audit.recall": share(164, 11_782),
            "tag_audit.recall_lenient": share(2_455, 11_782),
            "tag_audit.precision": undefined("no row carries a human label", unit="share"),
            "slice.risk_ratio.d***": Estimate(34.1, 33.0, 35.3, 34_516, "log delta 95 %", "ratio"),
            "slice.risk_ratio.open": Estimate(3.0, 0.4, float("inf"), 12, "log delta 95 %", "ratio"),
            "gap": Estimate(0.0465, 0.0373, 0.0557, 16_000_000, "Newcombe 95 %", "percentage points"),
            "duplicates": share(41_200, 1_000_000),
            "gini": Estimate(0.86, 0.855, 0.866, 1_200_331, "bootstrap 95 %, 1,000 draws"),
        },
        tables={t.name: t for t in (*tables, calibration)},
        figures=figures(),
        findings=(
            Finding("good", "Duplicates by address and text are rare.", ("duplicates",)),
            Finding(
                "critical",
                "The data set's own safety tag misses almost all rows with an unsafe token.",
                ("tag_audit.recall", "tag_audit.recall_lenient"),
                ("tags",),
                "Do not rely on the tag as a filter; repair it before release, and show each group before and after.",
            ),
            Finding(
                "warning",
                "Hateful captions survive the image filter.",
                ("hate_content_rate.any",),
                ("hcr_curve",),
                "Filter the text as well as the image.",
            ),
            Finding(
                "note",
                "Two terms raise the unsafe share far over the base rate; after correction for 14 comparisons they still do.",
                ("slice.risk_ratio.d***",),
                ("slice_test",),
            ),
        ),
        flows=(Flow("part-*.parquet", 4_137_002, 4_133_500, {"empty caption": 3_100}, {"unreadable shard footer": 402}),),
        notes=(
            "Labels from word lists are weak: a hit is a signal, not a judgement.",
            "Rates are properties of the data set, not of the groups named.",
        ),
        methods="Rates are Wilson intervals at 95 %. Terms are matched at word boundaries; p-values are "
        "Fisher's, adjusted by Benjamini and Hochberg over all terms (Birhane, Prabhu and Kahembwe 2021, section 3).",
        provenance=Provenance(
            "image-text-dataset",
            "0.1.0",
            42,
            settings={
                "theta": 0.5,
                "sample": 100_000,
                "lexicons": ["en.txt", "de.txt"],
                "normalise": {"nfkc": True, "leet": False},
            },
            inputs={
                "pairs": {
                    "source": "https://user:hunter2@bucket.example.org/part-*.parquet?X-Signature=abc",
                    "rows": 4_137_002,
                    "fingerprint": "9f2c1d",
                }
            },
            models={"text_toxicity": {"spec": "hf:unitary/toxic-bert", "calls": 100_000, "api_key": "sk-secret"}},
            libraries={"numpy": "2.4", "pyarrow": "25.0", "daft": "0.7.26"},
            started="2026-11-22 07:31",
            seconds=11_560,
        ),
    )


def scorer_result() -> Result:
    table = Table.of(
        "mixture",
        "Detectors in the mixture",
        {"detector": ["A", "B"], "auc": [0.91, 0.87], "auc_low": [0.9, 0.85], "auc_high": [0.92, 0.89]},
        [
            Column("detector", "label"),
            Column("auc", "number", "AUC"),
            Column("auc_low", "low", of="auc"),
            Column("auc_high", "high", of="auc"),
        ],
    )
    return Result(
        "scorer-mixture",
        "How good the image detectors are",
        {"auc": Estimate(0.934, 0.921, 0.947, 4_900, "DeLong 95 %"), "false_positive_rate": share(260, 4_900)},
        {"mixture": table},
        findings=(Finding("note", "The mixture is better than its best part.", ("auc",), ("mixture",)),),
        provenance=Provenance("scorer-mixture", "0.1.0", 42),
    )


def sample_run(seed: int = 0) -> RunRecord:
    result = audit_result(np.random.default_rng(seed))
    gates = (
        GateRecord(
            "data.hate_content_rate.any.high < 0.5%",
            "data",
            "hate_content_rate.any",
            result["hate_content_rate.any"],
            True,
            "0.30 % is below 0.5 %",
        ),
        GateRecord(
            "data.tag_audit.recall.low > 60%",
            "data",
            "tag_audit.recall",
            result["tag_audit.recall"],
            False,
            "1.18 % is not above 60 %",
        ),
        GateRecord(
            "data.tag_audit.precision.low > 50%",
            "data",
            "tag_audit.precision",
            result["tag_audit.precision"],
            False,
            "no row carries a human label",
        ),
    )
    steps = (
        StepRecord("scorer", "scorer-mixture", status="done", result=scorer_result()),
        StepRecord("data", "image-text-dataset", status="done", result=result),
    )
    plan = {
        "name": "captions-2026-11",
        "engine": "local",
        "inputs": {"pairs": {"path": "part-*.parquet"}},
        "gates": [g.text for g in gates],
    }
    return RunRecord("captions-2026-11", "0.1.0", "2026-11-22 07:31", 11_640, 42, steps, gates, plan)
