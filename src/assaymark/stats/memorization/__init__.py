"""What audits of memorization share, whatever is scored: four sets, their tests, ways to normalise; SSLMem, UnitMem.

A pool is split once into four sets: *shared* S, on which both models train; *candidates* C, on which only the audited model f
trains; *independent* I, on which only the reference g trains; *external* E, on which neither does. A score is positive where f
holds on to an item more than g does, so the means of C are above 0, those of I below, those of S and E near it.

>>> from assaymark.stats import normalised_scores
>>> normalised_scores([0.5, -0.25, 0.0]).tolist()
[1.0, -0.5, 0.0]
"""

from __future__ import annotations

from assaymark.stats.memorization.four_sets import calibrated_scores, four_set_tests
from assaymark.stats.memorization.normalisation import normalised_scores
from assaymark.stats.memorization.subsampling import subsampled_scores

__all__ = ["calibrated_scores", "four_set_tests", "normalised_scores", "subsampled_scores"]
