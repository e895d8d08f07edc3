"""Planted experiments on the methods alone: what counting gets wrong, what corrections and their intervals get right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr

from assaymark.audit import Trial
from assaymark.audits.generated_text_prevalence.method.score_calibration import ScoreCalibration, calibrate_score
from assaymark.audits.generated_text_prevalence.planted import (
    MONTHS,
    ONSET,
    PLATEAUS,
    STYLE_NUMBERS,
    TOPICS,
    WORDS,
    PlantedPosts,
    planted_posts,
    planted_shares,
    planted_words,
    unigram_scores,
)
from assaymark.models.token_columns import TOKEN_COLUMNS, summary_rows
from assaymark.result import Estimate
from assaymark.stats import newcombe, wilson, word_contrast
from assaymark.stats.onset import onset_point
from assaymark.stats.prevalence import (
    LabelledBins,
    Quantification,
    Rate,
    bin_counts,
    quantify,
    rogan_gladen,
    sensitivity_band,
)
from assaymark.stats.trend import theil_sen

__all__ = ["method_trials"]

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

BINS = 256
METHODS = ("cc", "acc", "pacc", "emq", "hdy", "mle")
D_PRIME, LABELLED, TARGETS, SHARE = 1.5, 100, 2_000, 0.1
"""Check 3: distance of the two normal scores, labelled texts of each kind, posts, and their true share."""

REPEATS = 3
STREAM_D_PRIME, STREAM_LABELLED = 3.0, 500


def method_trials(seed: int, *, full: bool = False) -> Sequence[Trial]:
    """Checks 1 to 6: the floor, the corrected curve, coverage, the onset, words and topics, and an unseen generator."""
    return [
        *_curve(seed, posts=300 if full else 150),
        *_coverage(seed),
        *_words(seed, posts=300 if full else 120),
        *_unseen(seed),
    ]


class _Detector(NamedTuple):
    """Scores N(-d/2, 1) of people and N(d/2, 1) of machines as probabilities at even odds: calibrated, TPR = 1 - FPR known."""

    distance: float

    def draw(self, machine: Bools, rng: np.random.Generator) -> Floats:
        score = rng.standard_normal(machine.size) + np.where(machine, 0.5, -0.5) * self.distance
        return np.asarray(1.0 / (1.0 + np.exp(-self.distance * score)))

    @property
    def fpr(self) -> float:
        return float(ndtr(-self.distance / 2))

    def labelled(self, texts: int, rng: np.random.Generator) -> LabelledBins:
        sides = [bin_counts(self.draw(np.full(texts, machine), rng), BINS) for machine in (False, True)]
        return LabelledBins(*sides)


def _curve(seed: int, *, posts: int) -> list[Trial]:
    """Checks 1, 2 and 4 on platforms A (to 38 %) and C (to 2 %), the rise from month 12."""
    rng = np.random.default_rng([seed, 0xC1])
    detector = _Detector(STREAM_D_PRIME)
    labelled = detector.labelled(STREAM_LABELLED, rng)
    trials: list[Trial] = []
    for name in ("A", "C"):
        shares = planted_shares(name)
        counts = np.array([bin_counts(detector.draw(rng.random(posts) < share, rng), BINS) for share in shares])
        cells = np.concatenate([counts, counts[: ONSET - 1].sum(axis=0)[None]])
        found = quantify(labelled, cells, rng=rng, methods=METHODS, resamples=400)
        trials += _curve_trials(name, detector, counts, shares, found, rng)
    return trials


def _curve_trials(
    name: str,
    detector: _Detector,
    counts: npt.NDArray[np.int64],
    shares: Floats,
    found: Quantification,
    rng: np.random.Generator,
) -> list[Trial]:
    called, posts = counts[:, BINS // 2 :].sum(axis=1), counts.sum(axis=1)
    early = slice(0, ONSET - 1)
    floor = wilson(int(called[early].sum()), int(posts[early].sum()))
    seen = shares[-1] * (1 - detector.fpr) + (1 - shares[-1]) * detector.fpr
    onset = onset_point(called, posts, rng=rng, permutations=99)
    points, draws = (part[..., :MONTHS] for part in found.course("pacc"))
    slope = theil_sen(points, draws=draws, unit="percentage points")
    trials = [
        Trial(f"1: {name}, share called before the onset is the FPR", detector.fpr, floor),
        Trial(f"2: {name}, share called in month 34 is biased as computed", seen, wilson(int(called[-1]), int(posts[-1]))),
        *(Trial(f"1: {name}, {m} before the onset", 0.0, found.estimates[m][MONTHS], "not above") for m in METHODS[1:]),
        *(Trial(f"2: {name}, {m} in month 34", float(shares[-1]), found.estimates[m][MONTHS - 1]) for m in METHODS[1:]),
    ]
    if name == "C":
        return [*trials, Trial("4: C, slope in shares a month", 0.001, slope, "not above")]
    at = float(MONTHS if onset.index is None else onset.index + 1)
    within = Estimate(at, at - 2, at + 2, int(posts.sum()), "flat-rise-flat fit, two months either way")
    return [*trials, Trial("4: A, month of the onset, within 2", float(ONSET), within)]


def _coverage(seed: int) -> list[Trial]:
    """Check 3: intervals that know both sources of error, and those that know the posts alone."""
    detector, trials = _Detector(D_PRIME), []
    for repeat in range(REPEATS):
        rng = np.random.default_rng([seed, repeat, 0xC3])
        labelled = detector.labelled(LABELLED, rng)
        cells = bin_counts(detector.draw(rng.random(TARGETS) < SHARE, rng), BINS)[None]
        both = quantify(labelled, cells, rng=rng, methods=METHODS, resamples=400)
        alone = quantify(labelled, cells, rng=rng, methods=("pacc",), resamples=400, sources="target")
        trials += [Trial(f"3: {method}, both sources", SHARE, both.estimates[method][0]) for method in METHODS[1:]]
        trials.append(_widened(both.estimates["pacc"][0], alone.estimates["pacc"][0]))
    return trials


def _widened(both: Estimate, alone: Estimate) -> Trial:
    """Intervals of the posts alone hold the truth in 40 % of cases (see `quantify`): they are a third to a half as wide."""
    widths = [
        estimate.high - estimate.low for estimate in (both, alone) if estimate.low is not None and estimate.high is not None
    ]
    ratio = widths[0] / widths[1]
    found = Estimate(ratio, ratio, ratio, both.n, "widths of two intervals", "ratio")
    return Trial("3: pacc, interval of both sources over that of the posts alone", 2.0, found, "above")


def _likelihood(words: npt.NDArray[np.int64], offsets: npt.NDArray[np.int64]) -> Floats:
    summary = summary_rows(unigram_scores(words, offsets))
    return np.asarray(summary[:, TOKEN_COLUMNS.index("log_likelihood")])


def _fitted(seed: int, temperature: float, texts: int) -> tuple[Floats, Bools, ScoreCalibration]:
    """Scores and labels of labelled texts, and the calibration that half of them give."""
    rng = np.random.default_rng([seed, 0xF1])
    machine = np.arange(texts) % 2 == 1
    score = _likelihood(*planted_words(machine, rng, temperature=temperature))
    half = np.arange(texts) < texts // 2
    return score[~half], machine[~half], calibrate_score(score[half], machine[half])


def _words(seed: int, *, posts: int) -> list[Trial]:
    """Check 5: over-used words lead the list, and technology the topics, though the labels are a detector's calls."""
    _, _, calibration = _fitted(seed, 0.7, 1_000)
    drawn: PlantedPosts = planted_posts(seed, posts)
    called = calibration.probability(_likelihood(drawn.words, drawn.offsets)) >= 0.5
    post = np.repeat(np.arange(len(called)), np.diff(drawn.offsets))
    once = np.unique(post * WORDS + drawn.words)
    sides = [np.bincount(once[called[once // WORDS] == side] % WORDS, minlength=WORDS) for side in (True, False)]
    contrast = word_contrast(sides[0], sides[1], sides[0] + sides[1])
    z = np.where(np.isfinite(contrast.z) & (sides[0] + sides[1] >= 10), contrast.z, -np.inf)
    leading = float(np.isin(np.argsort(-z)[:40], STYLE_NUMBERS).sum())
    topics = np.array([called[drawn.topic == number].mean() for number in range(len(TOPICS))])
    rank = float(1 + (topics > topics[0]).sum())
    return [
        Trial(
            "5: over-used words among the first 40, of 30", 24.5, Estimate(leading, leading, leading, 40, "count", "count"),
            "above",
        ),
        Trial("5: rank of the topic technology", 1.0, Estimate(rank, rank, rank, len(TOPICS), "rank", "count")),
    ]  # fmt: skip


def _unseen(seed: int) -> list[Trial]:
    """Check 6: posts of a machine that writes more like people than the one the detector was measured on."""
    share, posts, rng = PLATEAUS["A"], 3_000, np.random.default_rng([seed, 0xC6])
    score, machine, calibration = _fitted(seed, 0.7, 2_000)
    called = calibration.probability(score) >= 0.5
    known = Rate(int(called[machine].sum()), int(machine.sum()))
    specificity = Rate(int((~called[~machine]).sum()), int((~machine).sum()))
    later = _likelihood(*planted_words(np.ones(500, dtype=bool), rng, temperature=0.9))
    found = calibration.probability(later) >= 0.5
    new = Rate(int(found.sum()), found.size)
    stream = _likelihood(*planted_words(rng.random(posts) < share, rng, temperature=0.9))
    observed = Rate(int((calibration.probability(stream) >= 0.5).sum()), posts)
    band = sensitivity_band(observed, {"old": known, "new": new}, specificity).band
    drop = newcombe(known.successes, known.trials, new.successes, new.trials)
    return [
        Trial("6: TPR of the known machine minus that of the new one", 0.0, drop, "above"),
        Trial("6: share corrected by the known machine's TPR", share, rogan_gladen(observed, known, specificity), "below"),
        Trial("6: sensitivity band over both machines", share, band),
    ]
