"""How bad the worst of several attacks is, when the worst was found by trying them all.

References
----------
.. [1] Chernozhukov, V., Lee, S. and Rosen, A. M. (2013). Intersection bounds: estimation and inference. Econometrica 81,
   667-737 (why a maximum of estimates is biased, and one-sided limits of the maximum).
"""

from __future__ import annotations

from collections.abc import Mapping
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from assaymark.errors import ConfigError
from assaymark.result import Estimate, undefined
from assaymark.stats.bootstrap_weights import BLOCK_ITEMS
from assaymark.stats.checks import normal_quantile
from assaymark.stats.membership.advantages import advantage_table, as_estimate, cut_at, interval_name
from assaymark.stats.membership.comparisons import check_same_trials
from assaymark.stats.membership.shares import ShareTable, sum_of_shares
from assaymark.stats.membership.trials import AttackScores, Units, trial_scores

__all__ = ["WorstAdvantage", "worst_advantage"]


class WorstAdvantage(NamedTuple):
    """The attack with the highest advantage, the limits of the highest advantage of all, and each attack by itself."""

    attack: str
    advantage: Estimate
    each: dict[str, Estimate]


def worst_advantage(
    attacks: Mapping[str, AttackScores],
    *,
    rng: np.random.Generator,
    draws: int = 10_000,
    units: Units = "trials",
    confidence: float = 0.95,
) -> WorstAdvantage:
    """The highest of several attacks' advantages (or of one attack under several wordings), on the same trials.

    Parameters
    ----------
    attacks : mapping of name to AttackScores
        Scores on the same trials; each threshold fitted elsewhere.
    rng : numpy.random.Generator
    draws : int
        Normal draws from which the critical value of the lower limit is read.
    units : "trials", "rows" or a pair of label arrays
        As for `trial_scores`; one description for all.

    Returns
    -------
    WorstAdvantage
        `advantage` is the highest observed one, with limits for the highest *true* one. `attack` is its name ("" without
        any). Attacks without answers or without a threshold are undefined in `each` and take no part.

    Notes
    -----
    The highest of several estimates is too high on average: the luckiest attack wins. Resampling the maximum does not show
    this, it adds the same bias once more. Here the lower limit is the highest of lower limits that hold *for all attacks at
    once*: its critical value is the quantile of the maximum of normals with the attacks' correlation over trials, so twenty
    wordings of one inquiry cost little more than one. The upper limit needs no such care: the truly worst attack's own
    limit holds it ([1]). Both together hold the highest true advantage with at least the confidence, and are those of
    `advantage` where there is one attack.

    Share of 95 % intervals that hold the truth, ten attacks on 500 trials, 1,000 repetitions (`python -m benchmarks
    membership_intervals`): all alike .969 (calls uncorrelated) and .971 (correlation .9), where the percentile bootstrap of
    the maximum reaches .008 and .732; one attack 20 pp ahead .974 and .970 (.964 and .960).
    """
    if not attacks:
        raise ConfigError("there is no attack to choose from")
    check_same_trials(attacks)
    scores = {name: trial_scores(a.member, a.nonmember, units=units) for name, a in attacks.items()}
    cuts = {name: cut_at(attack.threshold) for name, attack in attacks.items()}
    lacks = {name: found.lack or cuts[name].reason for name, found in scores.items()}
    tables = {name: advantage_table(scores[name], cuts[name].value) for name, lack in lacks.items() if not lack}
    sums = {name: sum_of_shares(table, (1.0, -1.0), confidence=confidence) for name, table in tables.items()}
    each = {
        name: as_estimate(sums[name], found, interval_name(found, confidence), unit="percentage points")
        if name in sums
        else found.undefined(lacks[name], interval_name(found, confidence), unit="percentage points")
        for name, found in scores.items()
    }
    any_scores = next(iter(scores.values()))
    method = f"highest of {len(sums)} attacks, lower limit for all at once, {interval_name(any_scores, confidence)}"
    if not sums:
        reason = "no attack has an advantage: " + "; ".join(f"{name}: {lack}" for name, lack in lacks.items())
        return WorstAdvantage("", undefined(reason, n=any_scores.n, method=method, unit="percentage points"), each)
    joint = _joint_confidence(list(tables.values()), rng=rng, draws=draws, confidence=confidence)
    low = max(sum_of_shares(table, (1.0, -1.0), confidence=joint).low for table in tables.values())
    worst = max(sums, key=lambda name: sums[name].value)
    highest = Estimate(
        sums[worst].value, low, max(found.high for found in sums.values()), each[worst].n, method, "percentage points"
    )
    return WorstAdvantage(worst, highest, each)


def _joint_confidence(tables: list[ShareTable], *, rng: np.random.Generator, draws: int, confidence: float) -> float:
    """Two-sided confidence whose one-sided lower limits hold for all attacks at once with (1 + confidence) / 2.

    The maximum of correlated normals is simulated. An attack without variance (all right, say) is taken as independent of
    the others, which is cautious. The answer lies between the single interval and Bonferroni's.
    """
    tail = (1.0 - confidence) / 2.0
    normal_quantile(confidence)
    influence = np.column_stack([t.residuals[:, 0] / t.sizes[0] - t.residuals[:, 1] / t.sizes[1] for t in tables])
    covariance = influence.T @ influence
    scale = np.sqrt(np.diag(covariance))
    scale = np.where(scale > 1e-12, scale, 1.0)
    correlation = covariance / np.outer(scale, scale)
    np.fill_diagonal(correlation, 1.0)
    roots, axes = np.linalg.eigh(correlation)
    factor = axes * np.sqrt(np.maximum(roots, 0.0))
    rows = max(1, BLOCK_ITEMS // len(tables))
    highest = np.concatenate(
        [(rng.standard_normal((min(rows, draws - at), len(tables))) @ factor.T).max(axis=1) for at in range(0, draws, rows)]
    )
    reached = 1.0 - NormalDist().cdf(float(np.quantile(highest, 1.0 - tail)))
    return 1.0 - 2.0 * min(max(reached, tail / len(tables)), tail)
