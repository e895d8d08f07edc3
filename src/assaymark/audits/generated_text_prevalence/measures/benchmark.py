"""The benchmark of the detectors on the test texts: every measure overall, by platform, generator and length."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.audits.generated_text_prevalence.measures.fitting import Fitting, TestScores
from assaymark.audits.generated_text_prevalence.method.benchmarking import (
    Cell,
    Grouping,
    benchmark_cells,
    length_grouping,
)
from assaymark.audits.generated_text_prevalence.method.length_matching import LengthMatched, length_matched_auroc
from assaymark.audits.generated_text_prevalence.method.token_detectors import (
    FAST_DETECTGPT_NORMALS,
    fast_detectgpt_probability,
)
from assaymark.audits.generated_text_prevalence.study import Study
from assaymark.result import Estimate
from assaymark.stats import wilson

__all__ = ["Benchmarked", "Published", "benchmark"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


class Published(NamedTuple):
    """A detector at a published threshold, made for `purpose`: `tpr` and `fpr` of the test texts."""

    detector: str
    purpose: str
    threshold: float
    tpr: Estimate
    fpr: Estimate


class Benchmarked(NamedTuple):
    """`cells` by detector, the chosen one first; `lengths` of the chosen one, None where the texts' lengths are not known."""

    cells: dict[str, tuple[Cell, ...]]
    published: tuple[Published, ...]
    lengths: LengthMatched | None


def benchmark(study: Study, fitting: Fitting) -> Benchmarked:
    """All detectors on the same test texts. Probabilities are cut at the threshold; AUROC and TPR go by the probability."""
    config, test = study.config, fitting.test
    rows = fitting.labelled.rows
    groupings = [
        _grouping("platform", rows.platform[test], rows.platforms),
        _grouping("generator", rows.generator[test], rows.generators, against_all_humans=True),
    ]
    words = rows.words[test]
    if words.any() and config.length_edges:
        groupings.append(length_grouping(np.where(words > 0, words, np.nan), edges=config.length_edges))
    names = [fitting.chosen, *(name for name in fitting.scores if name != fitting.chosen)]
    cells = {}
    with study.context.progress.task("measuring detectors", total=len(names), unit="detectors") as task:
        for name in names:
            scores = fitting.scores[name].probability
            cells[name] = benchmark_cells(
                scores,
                fitting.label,
                threshold=config.threshold,
                probability=scores,
                groupings=[grouping for grouping in groupings if len(grouping.names) > 1 or grouping.by == "generator"],
                rng=study.rng(f"benchmark {name}"),
                resamples=config.resamples,
                confidence=config.confidence,
            )
            task.advance()
    published = tuple(found for name in names for found in _published(name, fitting.scores[name], study, fitting))
    return Benchmarked(cells, published, _lengths(study, fitting, words))


def _grouping(by: str, codes: Ints, names: dict[int, str], *, against_all_humans: bool = False) -> Grouping:
    """Groups in alphabetical order; a text without a name is in none."""
    order = sorted({int(code) for code in codes} & set(names), key=lambda code: names[code])
    place = {code: position for position, code in enumerate(order)}
    return Grouping(
        by, np.array([place.get(int(code), -1) for code in codes]), [names[code] for code in order], against_all_humans
    )


def _published(name: str, scores: TestScores, study: Study, fitting: Fitting) -> Iterator[Published]:
    """The detector at the thresholds of its paper, and Fast-DetectGPT by the conversion named in the settings."""
    rule, parameters = scores.counter.detector.rule, study.config.parameters
    if rule is None:
        return
    turned = -scores.raw if rule.orientation == "negated" else scores.raw
    for purpose, threshold in rule.thresholds.items():
        yield _at(name, purpose, turned, threshold, study, fitting)
    if rule.name == "fast-detectgpt" and parameters is not None:
        converted = fast_detectgpt_probability(scores.raw, *FAST_DETECTGPT_NORMALS[parameters])
        yield _at(name, f"probability of {parameters}", converted, study.config.threshold, study, fitting)


def _at(name: str, purpose: str, score: Floats, threshold: float, study: Study, fitting: Fitting) -> Published:
    known, machine = np.isfinite(score), fitting.label == 1
    called = known & (score >= threshold)
    tpr, fpr = (
        wilson(int((called & side).sum()), int((known & side).sum()), confidence=study.config.confidence)
        for side in (machine, ~machine)
    )
    return Published(name, purpose, abs(threshold), tpr, fpr)


def _lengths(study: Study, fitting: Fitting, words: Ints) -> LengthMatched | None:
    if not words.any():
        return None
    return length_matched_auroc(
        fitting.scores[fitting.chosen].probability,
        fitting.label,
        np.where(words > 0, words, np.nan),
        rng=study.rng("length-matched AUROC"),
        resamples=study.config.resamples,
        confidence=study.config.confidence,
    )
