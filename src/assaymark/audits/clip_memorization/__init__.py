"""Which picture-caption pairs has a CLIP-like model stored one by one, and does its text or its image tower store them?

Answers with CLIPMem, the alignment of a pair under the model minus that under a reference that never saw it: its mean over four
sets of pairs with their tests, its three terms, the share of each tower, the pairs that are remembered most, how well the score
finds wrong captions beside simpler ones, and what the model is good for.

W. Wang, A. Dziedzic, G. C. Kim, M. Backes, F. Boenisch. Captured by Captions: On Memorization and its Mitigation in CLIP
Models. ICLR 2025; arXiv:2502.07830.
"""

from __future__ import annotations

from typing import Any

__all__ = ["ClipMemorization"]


def __getattr__(name: str) -> Any:
    if name == "ClipMemorization":
        from assaymark.audits.clip_memorization.audit import ClipMemorization

        return ClipMemorization
    raise AttributeError(name)
