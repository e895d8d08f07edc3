"""The contrastive objective of dual encoders, for pairs that may have several right partners in a batch."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

__all__ = ["FIRST_SCALE", "LARGEST_SCALE", "contrastive_loss", "masked_tokens", "similarities"]

FIRST_SCALE = math.log(1 / 0.07)
"""Logarithm of the scale at the start of a training ([1], section 2.5)."""
LARGEST_SCALE = math.log(100.0)


def similarities(
    images: torch.Tensor, texts: torch.Tensor, log_scale: torch.Tensor, *, text_noise: float = 0.0, renormalise: bool = False
) -> torch.Tensor:
    """Cosines of pictures and captions times the learnt scale, which stays at most 100 ([1], section 2.5).

    Parameters
    ----------
    images, texts : tensors, shapes (n, d) and (m, d)
        Embeddings of any length.
    log_scale : scalar tensor
    text_noise : float
        Standard deviation, per component, of normal noise on the text embedding that enters the similarity: v + sigma n, a
        regulariser of [2]. In training only. Its length is about sigma sqrt(d): values do not carry over to other widths.
    renormalise : bool
        Bring the noisy embedding back to length 1; not in [2].

    Returns
    -------
    tensor, shape (n, m)

    References
    ----------
    .. [1] Radford et al. Learning transferable visual models from natural language supervision. ICML 2021.
    .. [2] Wang et al. Captured by captions: On memorization and its mitigation in CLIP models. ICLR 2025.
    """
    u, v = (torch.nn.functional.normalize(rows, dim=1) for rows in (images, texts))
    if text_noise:
        v = v + text_noise * torch.randn_like(v)
        v = torch.nn.functional.normalize(v, dim=1) if renormalise else v
    return log_scale.clamp(max=LARGEST_SCALE).exp() * (u @ v.T)


def masked_tokens(ids: torch.Tensor, *, share: float, blank: int, kept: Sequence[int] = ()) -> torch.Tensor:
    """Tokens replaced by a blank one with probability `share`, drawn from torch's generator; those in `kept` stay.

    The regulariser that helped most against deja-vu memorization of dual encoders in Jayaraman et al. (2024, arXiv 2402.02103).
    """
    if not share:
        return ids
    hit = torch.rand(ids.shape, device=ids.device) < share
    for token in kept:
        hit &= ids != token
    return ids.masked_fill(hit, blank)


def contrastive_loss(logits: torch.Tensor, *, matches: torch.Tensor | None = None) -> torch.Tensor:
    """Mean cross-entropy of rows and columns of a similarity matrix against their right partners (InfoNCE, [1]).

    Parameters
    ----------
    logits : tensor, shape (n, m)
        Similarities of n pictures and m captions, times the logit scale.
    matches : tensor of bool, shape (n, m), optional
        Which captions fit which pictures; each row and column needs at least one. Default: the identity, which is the
        published objective. A caption that also fits another picture of the batch must not be pushed away from it: the target
        of a row is the uniform distribution over its matches.

    References
    ----------
    .. [1] Radford et al. Learning transferable visual models from natural language supervision. ICML 2021, figure 3.
    """
    wanted = torch.eye(*logits.shape, device=logits.device) if matches is None else matches.to(logits.dtype)
    by_row = wanted / wanted.sum(dim=1, keepdim=True)
    by_column = wanted / wanted.sum(dim=0, keepdim=True)
    rows = -(by_row * logits.log_softmax(dim=1)).sum(dim=1).mean()
    columns = -(by_column * logits.log_softmax(dim=0)).sum(dim=0).mean()
    return (rows + columns) / 2
