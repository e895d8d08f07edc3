"""Which training pictures does an image encoder remember, and in which of its layers and units?

Answers with SSLMem, how much better an encoder aligns views of a picture than the same training without it; LayerMem, where in
the network that happens; UnitMem and ClassMem, whether a unit reacts to one picture or to one class; and with the tests between
pictures that were trained on and left out.

W. Wang, A. Dziedzic, M. Backes, F. Boenisch. Localizing Memorization in SSL Vision Encoders. NeurIPS 2024; arXiv:2409.19069.
W. Wang, M. A. Kaleem, A. Dziedzic, M. Backes, N. Papernot, F. Boenisch. Memorization in Self-Supervised Learning Improves
Downstream Generalization. ICLR 2024; arXiv:2401.12233.
"""

from __future__ import annotations

from typing import Any

__all__ = ["EncoderMemorization"]


def __getattr__(name: str) -> Any:
    if name == "EncoderMemorization":
        from assaymark.audits.encoder_memorization.audit import EncoderMemorization

        return EncoderMemorization
    raise AttributeError(name)
