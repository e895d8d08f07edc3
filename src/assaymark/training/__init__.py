"""The one training loop for every room that trains, on a CPU, one GPU or many.

`train` takes a torch module, an objective (module, batch) -> loss, and batches whose content is a function of the step; it
can be stopped at any moment and continued (`loop`). Beside it: data order (`order`; `token_batches` for texts of unequal
length, `pair_batches` for captioned pictures), learning rates (`schedule`), augmentations on the device (`augment`, and
`views` that belong to their items), what encoders are trained with (`objectives`), the training of dual encoders
(`dual_encoder`) and outputs in batches (`inference`). This package alone imports accelerate.
"""

from __future__ import annotations

from typing import Any

from assaymark.errors import MissingExtra

__all__ = [
    "AugmentationSpec",
    "PairBatches",
    "TensorBatches",
    "TokenBatches",
    "TrainingOutcome",
    "Views",
    "augmentation",
    "fit_dual_encoder",
    "module_outputs",
    "sequence_outputs",
    "ssl_module",
    "train",
]

_HOMES = {
    "AugmentationSpec": "augmentation_spec",
    "PairBatches": "pair_batches",
    "Views": "views",
    "augmentation": "augmentation_spec",
    "fit_dual_encoder": "dual_encoder",
    "ssl_module": "objectives",
    "TensorBatches": "order",
    "TokenBatches": "token_batches",
    "TrainingOutcome": "outcome",
    "module_outputs": "inference",
    "sequence_outputs": "token_batches",
    "train": "loop",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(name)
    from importlib import import_module

    try:
        import torch  # noqa: F401 - the modules below cannot be imported without it
    except ImportError as error:
        raise MissingExtra("vision", "training a network") from error
    return getattr(import_module(f"assaymark.training.{_HOMES[name]}"), name)
