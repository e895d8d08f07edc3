"""How far apart an encoder puts two views of a picture: the alignment loss behind SSLMem (section 3 of [2] in `method`)."""

from __future__ import annotations

import torch

__all__ = ["alignment_distances"]


def alignment_distances(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Distance of the directions of two outputs, row by row.

    Parameters
    ----------
    first, second : tensors, shape (n, ...)
        Outputs of one layer for two views of n items; flattened.

    Returns
    -------
    tensor, shape (n,), float32, in [0, 2]
        NaN where an output is zero throughout, and so has no direction, or is not finite.

    Notes
    -----
    |a/|a| - b/|b|| from the difference itself: sqrt(2 - 2 cos) loses all digits of distances below about 3e-4 in float32, and
    half precision those below .05. O(n x width).
    """
    a, b = (_directions(output) for output in (first, second))
    return torch.linalg.vector_norm(a - b, dim=1)


def _directions(output: torch.Tensor) -> torch.Tensor:
    flat = output.flatten(1).float()
    length = torch.linalg.vector_norm(flat, dim=1, keepdim=True)
    known = torch.isfinite(length) & (length > 0)
    return torch.where(known, flat / torch.where(known, length, 1.0), torch.nan)
