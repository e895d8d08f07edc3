"""Outputs of a module for many rows, batch by batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

__all__ = ["module_outputs"]


def module_outputs(
    module: Any, rows: torch.Tensor, *, batch_size: int = 256, prepare: Callable[[torch.Tensor], torch.Tensor] | None = None
) -> npt.NDArray[np.float32]:
    """Outputs in evaluation mode, without gradients, on the device that the module is on.

    Parameters
    ----------
    module : torch module
        Its training mode is as before afterwards.
    rows : tensor, shape (n, ...)
    prepare : callable, optional
        Applied to each batch on the device first, e.g. a normalisation.

    Returns
    -------
    array, shape (n, ...), float32
    """
    device = next(module.parameters()).device
    was_training = module.training
    module.eval()
    parts = []
    with torch.inference_mode():
        for start in range(0, max(len(rows), 1), batch_size):  # no rows are one empty batch, which tells the width
            batch = rows[start : start + batch_size].to(device)
            parts.append(module(batch if prepare is None else prepare(batch)).float().cpu().numpy())
    module.train(was_training)
    return np.concatenate(parts)
