"""CLIPMem over the four sets: means, tests, terms, the common offset, and the verdict."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from assaymark.audit import Context
from assaymark.audits.clip_memorization.config import ScoringSettings
from assaymark.audits.clip_memorization.measures.scoring import Scores
from assaymark.audits.clip_memorization.method.alignment import BOUND, ClipMem
from assaymark.result import Column, Estimate, Figure, Finding, Table, format_interval, undefined
from assaymark.section import Section, interval_columns, interval_values
from assaymark.stats import bootstrap_difference, bootstrap_mean, four_set_tests
from assaymark.stats.memorization.four_sets import LEAVE_OUT_SETS, offset_check

__all__ = ["WORDS", "set_section", "term_section", "without_reference"]

WORDS = {"S": "shared", "C": "candidates", "I": "independent", "E": "external"}
BINS = 30
NORMALISED = {
    "range": "the largest |raw| of all scored pairs",
    "official_range": "the range of the candidates' raw scores",
    "bound": f"the theoretical bound {BOUND:g}",
    "none": "nothing",
}


class Means(NamedTuple):
    """Means of one kind of score by set, and their names."""

    name: str
    by_set: dict[str, Estimate]


def mean_of(values: Any, what: str, *, config: ScoringSettings, rng: np.random.Generator) -> Estimate:
    """Bootstrap mean of the finite values; undefined, with the reason, below two."""
    kept = np.asarray(values, dtype=np.float64)
    kept = kept[np.isfinite(kept)]
    if len(kept) < 2:
        return undefined(f"{len(kept)} of the {what} have a score", n=len(kept))
    return bootstrap_mean(kept, rng=rng, resamples=config.resamples, confidence=config.confidence)


def difference_of(first: Any, second: Any, *, config: ScoringSettings, rng: np.random.Generator) -> Estimate:
    """Bootstrap difference of two means over finite values."""
    a, b = (np.asarray(x, dtype=np.float64) for x in (first, second))
    a, b = a[np.isfinite(a)], b[np.isfinite(b)]
    if min(len(a), len(b)) < 2:
        return undefined(f"{len(a)} candidates and {len(b)} external pairs have a score", n=len(a) + len(b))
    return bootstrap_difference(a, b, rng=rng, resamples=config.resamples, confidence=config.confidence)


def set_section(scores: Scores, found: ClipMem, config: ScoringSettings, context: Context) -> Section:
    """Means, tests and the distribution of the score in each set, and what follows from them."""
    section = Section()
    sets = scores.pool.sets
    options: dict[str, Any] = {"config": config}
    means = {
        prefix: {
            letter: mean_of(values[sets == letter], f"{word} pairs", rng=context.rng(f"{prefix}{word}"), **options)
            for letter, word in WORDS.items()
        }
        for prefix, values in (("clipmem.", found.normalised), ("clipmem.raw.", found.raw))
    }
    for prefix, by_set in means.items():
        section.estimates |= {f"{prefix}{WORDS[letter]}": estimate for letter, estimate in by_set.items()}
    calibrated = difference_of(found.raw[sets == "C"], found.raw[sets == "E"], rng=context.rng("calibrated"), **options)
    section.estimates["clipmem.calibrated"] = calibrated
    tests = four_set_tests(found.raw, sets, confidence=config.confidence)
    member = next(t.auc for t in tests if (t.first, t.second) == ("C", "E"))
    section.estimates["clipmem.member_auc"] = replace(member, unit="probability")  # a scale of its own beside scores
    section.tables += [_set_table(sets, found, means), _test_table(tests), _distribution(sets, found)]
    section.figures.append(
        Figure(
            "distribution",
            "CLIPMem in the four sets",
            "lines",
            table="distribution",
            x="score",
            y="density",
            group="set",
            x_title=_axis(config),
            y_title="share of the set",
            reference=(),
        )
    )
    _say(section, scores, found, config, context)
    section.methods.append(
        f"CLIPMem: alignment under the model minus that under the reference (raw, in [-{BOUND:g}, {BOUND:g}]); "
        f"K = {config.views} common views (pictures: {config.augmentation}, texts: {config.text_views}), "
        f"N = {len(scores.tests):,} held-out pairs, whose mean embeddings stand for them exactly. "
        f"Normalised by {NORMALISED[config.normalisation]}; the scale is taken as fixed in intervals. "
        "Calibrated (ours): candidates minus external pairs, which takes off the offset that two trainings have in common on "
        "all pairs. The models' own randomness is not in the intervals: train several pairs for that."
    )
    return section


def _axis(config: ScoringSettings) -> str:
    return "raw CLIPMem" if config.normalisation == "none" else f"CLIPMem, divided by {NORMALISED[config.normalisation]}"


def _set_table(sets: Any, found: ClipMem, means: dict[str, dict[str, Estimate]]) -> Table:
    letters = list(WORDS)
    values: dict[str, Any] = {
        "set": [f"{letter}: {WORDS[letter]}" for letter in letters],
        "meaning": [LEAVE_OUT_SETS[letter].partition(": ")[2] for letter in letters],
        "pairs": [int((sets == letter).sum()) for letter in letters],
        "unscored": [int(np.isnan(found.raw[sets == letter]).sum()) for letter in letters],
        **interval_values("normalised", (means["clipmem."][letter] for letter in letters)),
        **interval_values("raw", (means["clipmem.raw."][letter] for letter in letters)),
        "calibrated": [None if letter == "E" else _mean(found.calibrated[sets == letter]) for letter in letters],
        "sd": [_sd(found.raw[sets == letter]) for letter in letters],
    }
    columns = (
        Column("set", "label"), Column("meaning", "text"), Column("pairs", "count", "scored pairs"),
        Column("unscored", "count", "of them without a score"),
        *interval_columns("normalised", "number", "CLIPMem, normalised"), *interval_columns("raw", "number", "raw"),
        Column("calibrated", "number", "raw minus mean of E"), Column("sd", "number", "sd of raw"),
    )  # fmt: skip
    return Table.of("sets", "CLIPMem by set", values, columns)


def _mean(values: Any) -> float | None:
    kept = values[np.isfinite(values)]
    return float(kept.mean()) if len(kept) else None


def _sd(values: Any) -> float | None:
    kept = values[np.isfinite(values)]
    return float(kept.std(ddof=1)) if len(kept) > 1 else None


def _test_table(tests: Any) -> Table:
    signs = {"greater": ">", "less": "<", "two-sided": "≠"}
    values: dict[str, Any] = {
        "comparison": [f"{t.first} {signs[t.welch.alternative]} {t.second}" for t in tests],
        "t": [None if t.welch.reason else t.welch.statistic for t in tests],
        "p": [None if t.welch.reason else t.welch.p_value for t in tests],
        "d": [None if t.welch.reason else t.welch.effect for t in tests],
        **interval_values("auc", (t.auc for t in tests)),
        "reason": [t.welch.reason for t in tests],
    }
    columns = (
        Column("comparison", "label", "tested"), Column("t", "number", "Welch t"), Column("p", "p_value"),
        Column("d", "number", "Cohen's d"), *interval_columns("auc", "number", "rank AUC"), Column("reason", "text"),
    )  # fmt: skip
    return Table.of("set_tests", "Tests of the raw score between sets", values, columns)


def _distribution(sets: Any, found: ClipMem) -> Table:
    """Share of each set in bins of the normalised score."""
    values = np.where(np.isfinite(found.normalised), found.normalised, np.nan)
    known = values[np.isfinite(values)]
    low, high = (float(known.min()), float(known.max())) if len(known) else (-1.0, 1.0)
    edges = np.linspace(low, high if high > low else low + 1.0, BINS + 1)
    rows: dict[str, list[Any]] = {"set": [], "score": [], "density": [], "pairs": []}
    for letter, word in WORDS.items():
        own = values[(sets == letter) & np.isfinite(values)]
        if not len(own):
            continue
        counts = np.histogram(own, edges)[0]
        rows["set"] += [word] * BINS
        rows["score"] += ((edges[1:] + edges[:-1]) / 2).tolist()
        rows["pairs"] += counts.tolist()
        rows["density"] += (counts / len(own)).tolist()
    columns = (
        Column("set", "label"), Column("score", "number", "CLIPMem, middle of a bin"), Column("pairs", "count"),
        Column("density", "number", "share of the set"),
    )  # fmt: skip
    return Table.of("distribution", "Distribution of the score by set", rows, columns)


def _say(section: Section, scores: Scores, found: ClipMem, config: ScoringSettings, context: Context) -> None:
    calibrated, auc = section.estimates["clipmem.calibrated"], section.estimates["clipmem.member_auc"]
    raw, candidates = section.estimates["clipmem.raw.candidates"], section.estimates["clipmem.candidates"]
    named = ("clipmem.calibrated", "clipmem.candidates", "clipmem.raw.candidates", "clipmem.member_auc")
    if calibrated.low is None or calibrated.value is None:
        section.findings.append(
            Finding("note", f"CLIPMem of the candidates is undefined: {calibrated.reason}.", named[:1], ("sets",))
        )
        return
    remembers = calibrated.low > config.remembers
    verb = "The model remembers its candidates" if remembers else "The model is not shown to remember its candidates"
    section.findings.append(
        Finding(
            "warning" if remembers else "good",
            f"{verb}: their CLIPMem is {format_interval(calibrated)} above that of pairs that nobody saw (raw mean "
            f"{format_interval(raw)}; normalised {format_interval(candidates)}); a candidate scores higher than an unseen pair "
            f"with probability {format_interval(auc)}.",
            named,
            ("sets", "set_tests"),
            "Look at the pairs that are remembered most, and at what the mitigation offers: several captions a picture first."
            if remembers
            else "",
        )
    )
    check = offset_check(
        found.raw, scores.pool.sets, rng=context.rng("offset"), resamples=config.resamples, limit=config.offset_limit,
        confidence=config.confidence,
    )  # fmt: skip
    if check.large:
        section.findings.append(
            Finding(
                "note",
                f"The two trainings differ on all pairs alike: the mean score of pairs that nobody saw is "
                f"{format_interval(check.offset)}, {check.share:.0%} of that of the candidates. Read the calibrated score.",
                ("clipmem.raw.external", "clipmem.raw.candidates", "clipmem.calibrated"),
                ("sets",),
            )
        )


def term_section(scores: Scores, found: ClipMem, config: ScoringSettings, context: Context) -> Section:
    """Which of the three terms the candidates differ in: the pair itself, or how it keeps away from everything else."""
    sets = scores.pool.sets
    titles = {
        "pair": "picture near its caption",
        "image": "picture away from other captions",
        "text": "caption away from other pictures",
    }
    terms = {
        name: difference_of(
            getattr(found, name)[sets == "C"], getattr(found, name)[sets == "E"], config=config, rng=context.rng(f"term {name}")
        )
        for name in titles
    }
    section = Section(estimates={f"clipmem.terms.{name}": estimate for name, estimate in terms.items()})
    values = {"term": list(titles.values()), **interval_values("difference", terms.values())}
    columns = (Column("term", "label"), *interval_columns("difference", "number", "candidates minus external pairs"))
    section.tables.append(Table.of("terms", "Contributions to raw CLIPMem, candidates minus external pairs", values, columns))
    return section


def without_reference() -> Section:
    """CLIPMem needs two models: said once, where there is one."""
    reason = "there is no reference model that was trained without the candidates"
    names = [f"clipmem.{word}" for word in WORDS.values()] + ["clipmem.calibrated", "clipmem.member_auc"]
    section = Section(estimates={name: undefined(reason) for name in names})
    section.findings.append(
        Finding(
            "note",
            f"CLIPMem is undefined: {reason}. What is shown in its place are proxies of one model; none is CLIPMem.",
            ("clipmem.candidates",),
            advice="Train the same model without the candidates and give it as the role reference.",
        )
    )
    return section
