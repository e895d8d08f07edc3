"""Fine-tuning of a few layers with a linear head (use U1 of the paper), through the project's one training loop."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from assaymark.audits.encoder_memorization.measures.changed import ChangedEncoder
from assaymark.audits.encoder_memorization.method.surgery import freeze_except

__all__ = ["fine_tune"]


def fine_tune(
    encoder: ChangedEncoder,
    modules: Sequence[str] | None,
    *,
    pixels: Any,
    labels: npt.NDArray[np.int64],
    classes: int,
    epochs: int,
    batch: int,
    lr: float,
    seed: int,
    task: Any = None,
) -> Any:
    """Train a linear head together with some modules of the encoder, in place.

    Parameters
    ----------
    modules : names of modules that learn; () for the head alone, None for everything
    pixels : tensor, shape (n, 3, h, w), in [0, 1]
    labels : int array, shape (n,)

    Returns
    -------
    The head, a torch module from representations to logits.
    """
    import torch
    from torch import nn

    from assaymark.training import TensorBatches, train

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        head = nn.Linear(encoder.dimension, classes)
    handles = [] if modules is None else freeze_except(encoder.module, modules)
    if modules is None:
        encoder.module.requires_grad_(True)
    whole = nn.ModuleDict({"encoder": encoder.module, "head": head})
    batches = TensorBatches(encoder.normalised(pixels), torch.from_numpy(labels), size=batch, seed=seed)

    def objective(module: Any, rows: tuple[Any, Any]) -> Any:
        return nn.functional.cross_entropy(module["head"](module["encoder"](rows[0])), rows[1])

    try:
        train(whole, objective, batches, epochs=epochs, lr=lr, seed=seed, task=task)
    finally:
        for handle in handles:
            handle.remove()
    return head.eval()
