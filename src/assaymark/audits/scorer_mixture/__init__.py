"""Is this image adult or unsafe, decided more reliably by several scorers together than by any one of them?

Answers with one calibrated verdict (a weighted sum of scorers with its threshold and measured error) and with the evidence of
what each scorer adds: weights with their limits, collinearity, paired comparison with the average and the best single scorer.

M. Al-Shabi, T. Connie, A. B. J. Teoh. Adult content recognition from images using a mixture of convolutional neural networks.
arXiv:1612.09506, 2016; Smart content recognition from images using a mixture of convolutional neural networks, in Computational
Science and Technology, LNEE 488, Springer, 2018.
"""

from __future__ import annotations

from typing import Any

__all__ = ["ScorerMixture"]


def __getattr__(name: str) -> Any:
    if name == "ScorerMixture":
        from assaymark.audits.scorer_mixture.audit import ScorerMixture

        return ScorerMixture
    raise AttributeError(name)
