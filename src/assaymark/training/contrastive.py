"""The contrastive objective of dual encoders, for pairs that may have several right partners in a batch."""

from __future__ import annotations

import torch

__all__ = ["contrastive_loss"]


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
