"""The planted experiments A to E, within the bands of their description, and empty."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr

from assaymark.audits.image_offensiveness.method import terms, tokens
from assaymark.audits.image_offensiveness.method.classes import class_counts, class_table
from assaymark.audits.image_offensiveness.method.label_efficiency import label_efficiency, share_of_gain
from assaymark.audits.image_offensiveness.method.moral_direction import remove_direction
from assaymark.audits.image_offensiveness.method.scoring import log_odds, probability, prompt_direction
from assaymark.audits.image_offensiveness.method.tuning import FEW_LABELS, tune_prompts
from assaymark.audits.image_offensiveness.planted import (
    SIGNALS,
    planted_audit,
    planted_captions,
    planted_harms,
    planted_ratings,
)
from assaymark.audits.image_offensiveness.trials import method_trials
from assaymark.testing.calibration import agrees

FRACTIONS = (0.0, 0.01, 0.04, 0.1, 1.0)
SEEDS = range(3)


def accuracies(curve) -> np.ndarray:
    return np.array([summary["accuracy"].estimate.value for summary in curve.summaries])


def test_a_label_efficiency_curve() -> None:
    """Zero-shot 0.58 +- 0.11; 1 % 0.90, 4 % 0.947, 10 % 0.955, 100 % 0.963; 0.9 of the gain with a tenth of the labels."""
    means = []
    for seed in SEEDS:
        planted = planted_ratings(seed)
        curve = label_efficiency(planted.V, planted.y, planted.P0, fractions=FRACTIONS, rng=np.random.default_rng(seed))
        means.append(accuracies(curve))
        assert share_of_gain(curve, 0.1) >= 0.9
        assert curve.labels.tolist() == [0, 15, 61, 151, 1506]
    means = np.array(means)
    assert (np.abs(means.mean(axis=0) - [0.64, 0.905, 0.947, 0.955, 0.96]) < [0.17, 0.03, 0.02, 0.015, 0.015]).all()
    assert (np.diff(means, axis=1)[:, :2] > 0).all() and (np.diff(means, axis=1)[:, 2:] > -0.012).all()  # monotone within noise
    exact = log_odds(planted.V, prompt_direction(planted.P0)).log_odds > 0
    zero_shot = [np.mean(exact[split.test] == planted.y[split.test]) for split in curve.splits]
    np.testing.assert_allclose(curve.summaries[0]["accuracy"].values, zero_shot)


def test_a_direction_is_recovered() -> None:
    before, after = [], []
    for seed in range(6):
        planted = planted_ratings(seed)
        tuned = tune_prompts(planted.V, planted.y, planted.P0, rng=np.random.default_rng(seed))
        for cosines, P in ((before, planted.P0), (after, tuned.P)):
            w = prompt_direction(P)
            cosines.append(w @ planted.moral / np.linalg.norm(w))
    assert np.mean(after) == pytest.approx(0.69, abs=0.03) and min(after) > 0.62
    assert np.mean(before) < 0.25 and max(before) < 0.4


def test_a_shuffled_labels_and_a_removed_direction_leave_chance() -> None:
    for seed in SEEDS[:2]:
        planted, rng = planted_ratings(seed), np.random.default_rng(seed)
        shuffled = label_efficiency(
            planted.V, planted.y, planted.P0, fractions=(1.0,), train_labels=rng.permutation(planted.y), rng=rng
        )
        removed = label_efficiency(remove_direction(planted.V, planted.moral), planted.y, planted.P0, fractions=(1.0,), rng=rng)
        assert accuracies(shuffled)[0] == pytest.approx(0.52, abs=0.09)
        assert accuracies(removed)[0] == pytest.approx(0.555, abs=0.08)  # the majority class alone gives 0.571


def test_a_is_reproduced_bit_for_bit_and_few_labels_gain_from_our_setting() -> None:
    planted = planted_ratings(0)
    runs = [
        label_efficiency(planted.V, planted.y, planted.P0, fractions=(0.01,), setting=setting, rng=np.random.default_rng(1))
        for setting in (FEW_LABELS, FEW_LABELS)
    ]
    assert all(np.array_equal(a.P, b.P) for a, b in zip(runs[0].tuned, runs[1].tuned, strict=True))
    assert accuracies(runs[0])[0] > 0.8


def test_b_the_curve_follows_the_quality_of_the_encoder() -> None:
    full = []
    for signal in SIGNALS:
        planted = [planted_ratings(seed, signal=signal) for seed in SEEDS]
        full.append(
            np.mean(
                [
                    accuracies(label_efficiency(p.V, p.y, p.P0, fractions=(1.0,), splits=5, rng=np.random.default_rng(0)))[0]
                    for p in planted
                ]
            )
        )
    assert full[0] > full[1] > full[2]
    np.testing.assert_allclose(full, [0.965, 0.944, 0.907], atol=0.02)


def test_c_classes_are_ranked_by_their_planted_share() -> None:
    for seed in SEEDS:
        planted = planted_audit(seed)
        rated = planted.rated
        tuned = tune_prompts(rated.V, rated.y, rated.P0, rng=np.random.default_rng(seed))
        scores = probability(log_odds(planted.V, prompt_direction(tuned.P)).log_odds)
        table = class_table(*class_counts(scores >= 0.9, planted.codes, classes=10))
        assert spearmanr(table.share, planted.shares).statistic > 0.9
        assert planted.shares[table.order[0]] >= 0.25 and (table.p_adjusted < 0.01).sum() >= 6
        even = planted_audit(seed, null=True)
        scores = probability(log_odds(even.V, prompt_direction(tuned.P)).log_odds)
        table = class_table(*class_counts(scores >= 0.9, even.codes, classes=10))
        assert (table.p_adjusted > 0.01).all() and (np.abs(table.lift - 1) < 0.25).all()


@pytest.mark.parametrize("seed", SEEDS)
def test_d_markers_lead_and_a_frequent_word_does_not(seed: int) -> None:
    for null in (False, True):
        planted = planted_captions(seed, null=null)
        flagged, reference = (tokens.count_tokens(side) for side in (planted.flagged, planted.reference))
        bigrams = tokens.collocations(tokens.add_counts(flagged, reference))
        sides = [tokens.term_counts(side, bigrams=bigrams) for side in (flagged, reference)]
        contrasts = [terms.log_odds_z(*sides), terms.chi_square_share(*sides), terms.paper_chi_square(*sides)]
        assert terms.most_frequent(sides[0]).terms[0] == planted.frequent
        assert all(planted.frequent not in contrast.terms[:25] for contrast in contrasts)
        assert all(set(planted.markers) <= set(contrast.terms[:25]) for contrast in contrasts)
        standing_out = (contrasts[0].p_adjusted < 0.05) & (contrasts[0].z > 0)
        assert len(planted.markers) <= standing_out.sum() <= len(planted.markers) + 5


def test_e_the_other_harm_is_not_seen() -> None:
    for seed in SEEDS:
        planted = planted_harms(seed)
        tuned = tune_prompts(planted.V[:2000], planted.first[:2000], planted.P0, rng=np.random.default_rng(seed))
        flagged = log_odds(planted.V[2000:], prompt_direction(tuned.P)).log_odds > 0
        first, second = planted.first[2000:], planted.second[2000:]
        assert flagged[first].mean() > 0.85 and flagged[second].mean() - flagged.mean() < 0.1


def test_trials_agree_with_what_was_planted() -> None:
    trials = method_trials(0)
    assert len({trial.name for trial in trials}) == len(trials) == 10
    assert [trial.name for trial in trials if not agrees(trial)] == []
