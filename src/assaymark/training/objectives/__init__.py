"""What encoders are trained with, one objective a file: the loss on tensors, and a module with what it needs beside an encoder.

`ssl_module` makes that module; `train(module, own_loss, batches, augment=Views(spec, module.views))` trains it, and
`module.encoder` is taken out. Dual encoders have their loss in `clip`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from assaymark.errors import ConfigError, UnknownName

if TYPE_CHECKING:
    from assaymark.training.objectives.encoder_training import EncoderTraining

__all__ = ["OBJECTIVES", "ssl_module"]

_HOMES = {
    "dino": "dino:Dino",
    "mae": "mae:MaskedAutoencoder",
    "simclr": "nt_xent:SimClr",
    "simsiam": "simsiam:SimSiam",
    "supervised": "supervised:Supervised",
    "vicreg": "vicreg:VicReg",
}
OBJECTIVES = tuple(_HOMES)


def ssl_module(encoder: Any, objective: str, *, dimension: int, seed: int, **options: Any) -> EncoderTraining:
    """An encoder ready to be trained: called with the views of a batch, the module gives the loss.

    Parameters
    ----------
    encoder : torch module, (n, ...) -> (n, dimension)
    objective : one of OBJECTIVES
    dimension : int
        Width of the representation.
    seed : int
        Of the weights beside the encoder; global generators stay as they are.
    **options
        Of the objective (`temperature`, `projection`, `classes`, ...), and `mean` and `std` of normalised pixels.

    Returns
    -------
    EncoderTraining
        Its `encoder` is what the training is for; `views` and `labelled` say what `forward` takes.

    Raises
    ------
    UnknownName, ConfigError
        No objective has this name, or it has no such option.
    """
    import torch

    if objective not in _HOMES:
        raise UnknownName("objective", objective, OBJECTIVES)
    module, _, name = _HOMES[objective].partition(":")
    make = getattr(import_module(f"assaymark.training.objectives.{module}"), name)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        try:
            made: EncoderTraining = make(encoder, dimension=dimension, **options)
        except TypeError as error:
            raise ConfigError(f"objective {objective}: {error}") from error
    return made
