"""Planted experiments on the methods alone: how prompts tune, what a review covers, what captions show, what is missed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from assaymark.audit import Trial
from assaymark.audits.image_offensiveness.method.classes import class_counts, class_table
from assaymark.audits.image_offensiveness.method.label_efficiency import label_efficiency
from assaymark.audits.image_offensiveness.method.review import allocate, draw_review, reviewed_prevalence, score_strata
from assaymark.audits.image_offensiveness.method.scoring import log_odds, probability, prompt_direction
from assaymark.audits.image_offensiveness.method.terms import log_odds_z
from assaymark.audits.image_offensiveness.method.tokens import add_counts, collocations, count_tokens, term_counts
from assaymark.audits.image_offensiveness.method.tuning import tune_prompts
from assaymark.audits.image_offensiveness.planted import (
    INOFFENSIVE,
    OFFENSIVE,
    planted_audit,
    planted_captions,
    planted_harms,
    planted_ratings,
)
from assaymark.result import Estimate
from assaymark.stats import newcombe, wilson

__all__ = ["method_trials"]

TOLD_APART = 0.90
"""Accuracy that tuning on a tenth of the labels must exceed (95.5 % in the card of the experiment)."""

ADMITTED_EXCESS = 0.10
"""How far above its flag rate a prompt may find a harm that it was not tuned on."""

REVIEWED = 600


def method_trials(seed: int) -> Sequence[Trial]:
    """Experiments A (label efficiency), C (data-set audit), D (captions) and E (two kinds of harm), planted and empty."""
    return [*_label_efficiency(seed), *_dataset(seed), *_captions(seed), *_harms(seed)]


def _accuracy(seed: int, *, null: bool, fraction: float) -> Estimate:
    planted = planted_ratings(seed, null=null)
    rng = np.random.default_rng([seed, 0xA1])
    curve = label_efficiency(planted.V, planted.y, planted.P0, fractions=(fraction,), rng=rng)
    return curve.summaries[0]["accuracy"].estimate


def _label_efficiency(seed: int) -> list[Trial]:
    majority = INOFFENSIVE / (INOFFENSIVE + OFFENSIVE)
    return [
        Trial(
            "prompts tuned on a tenth of the labels: accuracy", TOLD_APART, _accuracy(seed, null=False, fraction=0.1), "above"
        ),
        Trial("no moral direction: accuracy of tuned prompts", majority, _accuracy(seed, null=True, fraction=1.0), "not above"),
    ]


def _dataset(seed: int) -> list[Trial]:
    trials = []
    for null in (False, True):
        planted = planted_audit(seed, null=null)
        rng = np.random.default_rng([seed, 0xC1])
        rated = planted.rated
        tuned = tune_prompts(rated.V, rated.y, rated.P0, rng=rng)
        scores = probability(log_odds(planted.V, prompt_direction(tuned.P)).log_odds)
        strata = score_strata(scores)
        rows = draw_review(strata.stratum, allocate(strata.sizes, REVIEWED, expected=strata.expected), rng=rng)
        prevalence = reviewed_prevalence(strata.sizes, strata.stratum[rows], planted.offensive[rows])
        classes = len(planted.shares)
        n, k = class_counts(scores >= 0.9, planted.codes, classes=classes)
        table = class_table(n, k)
        worst = int(np.argmax(planted.shares))
        lift = Estimate(
            table.lift[worst], table.lift_limits.low[worst], table.lift_limits.high[worst], n[worst], "Katz, lift", "ratio"
        )
        kind = "equal classes" if null else "ten classes"
        trials.append(Trial(f"{kind}: prevalence from the review", planted.prevalence, prevalence))
        if null:
            found = int(np.nansum(table.p_adjusted < 0.05))
            trials.append(Trial("equal classes: share of classes that stand out", 0.05, wilson(found, classes), "not above"))
        else:
            trials.append(Trial("ten classes: lift of the worst", 1.0, lift, "above"))
    return trials


def _captions(seed: int) -> list[Trial]:
    planted, empty = (planted_captions(seed, null=null) for null in (False, True))
    found = []
    for captions in (planted, empty):
        sides = [count_tokens(side) for side in (captions.flagged, captions.reference)]
        bigrams = collocations(add_counts(*sides))
        found.append(log_odds_z(*(term_counts(side, bigrams=bigrams) for side in sides)))
    leading = len(set(planted.markers) & set(found[0].terms[:25]))
    false = int(np.sum((found[1].p_adjusted < 0.05) & (found[1].z > 0)))
    markers = wilson(leading, len(planted.markers))
    return [
        Trial("captions: share of marker words among the first 25 terms", 0.8, markers, "above"),
        Trial("equal captions: share of terms that stand out", 0.05, wilson(false, len(found[1].terms)), "not above"),
    ]


def _harms(seed: int) -> list[Trial]:
    planted = planted_harms(seed)
    half = len(planted.V) // 2
    rng = np.random.default_rng([seed, 0xE1])
    tuned = tune_prompts(planted.V[:half], planted.first[:half], planted.P0, rng=rng)
    flagged = log_odds(planted.V[half:], prompt_direction(tuned.P)).log_odds > 0
    first, second = planted.first[half:], planted.second[half:]
    own = wilson(int(flagged[first].sum()), int(first.sum()))
    other = newcombe(int(flagged[second].sum()), int(second.sum()), int(flagged[~second].sum()), int((~second).sum()))
    return [
        Trial("two harms: recall of the one tuned on", 0.8, own, "above"),
        Trial("two harms: excess recall of the other", ADMITTED_EXCESS, other, "below"),
    ]
