"""The benchmark of the detectors on the test texts: every measure overall, by platform, generator and length."""

from __future__ import annotations

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
from assaymark.audits.generated_text_prevalence.study import Study
from assaymark.result import Estimate
from assaymark.stats import wilson

__all__ = ["Benchmarked", "Published", "benchmark"]

Ints = npt.NDArray[np.int64]


class Published(NamedTuple):
    """A detector at its published threshold: `tpr` and `fpr` of the test texts."""

    detector: str
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
    published = [_published(name, fitting.scores[name], fitting, config.confidence) for name in names]
    return Benchmarked(cells, tuple(found for found in published if found is not None), _lengths(study, fitting, words))


def _grouping(by: str, codes: Ints, names: dict[int, str], *, against_all_humans: bool = False) -> Grouping:
    """Groups in alphabetical order; a text without a name is in none."""
    order = sorted({int(code) for code in codes} & set(names), key=lambda code: names[code])
    place = {code: position for position, code in enumerate(order)}
    return Grouping(
        by, np.array([place.get(int(code), -1) for code in codes]), [names[code] for code in order], against_all_humans
    )


def _published(name: str, scores: TestScores, fitting: Fitting, confidence: float) -> Published | None:
    rule = scores.counter.detector.rule
    if rule is None or rule.threshold is None:
        return None
    turned = -scores.raw if rule.orientation == "negated" else scores.raw
    known, machine = np.isfinite(turned), fitting.label == 1
    called = turned >= rule.threshold
    tpr, fpr = (
        wilson(int((called & known & side).sum()), int((known & side).sum()), confidence=confidence)
        for side in (machine, ~machine)
    )
    return Published(name, abs(rule.threshold), tpr, fpr)


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
