"""From the vectors of tokens to one vector a text: pooling, and the layers of sentence-transformers behind it.

Imports torch: to be imported where a model is loaded, not before.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from assaymark.errors import ModelError
from assaymark.models.sentence_modules import Dense, Normalize
from assaymark.models.torch_adapter import load_part

__all__ = ["pool_tokens", "sentence_layer"]


def pool_tokens(hidden: Tensor, mask: Tensor, modes: Sequence[str]) -> Tensor:
    """One vector a text from the vectors of its tokens.

    Parameters
    ----------
    hidden : tensor, shape (n, tokens, d)
    mask : tensor, shape (n, tokens)
        1 for tokens, 0 for the padding behind them; at least one token a row.
    modes : sequence of str
        Of `assaymark.models.sentence_modules.POOLINGS`: `cls` is the first token, `lasttoken` the last, `max` the largest
        value of each number, `mean` the sum over the tokens by their number, `mean_sqrt_len_tokens` by its root, and in
        `weightedmean` token i = 1, 2, ... weighs i.

    Returns
    -------
    tensor, shape (n, d * len(modes))
    """
    weights = mask.unsqueeze(-1).to(hidden.dtype)  # (n, tokens, 1)
    return torch.cat([_POOLINGS[mode](hidden, weights) for mode in modes], dim=-1)


def _largest(hidden: Tensor, weights: Tensor) -> Tensor:
    return hidden.masked_fill(weights == 0, -torch.inf).amax(dim=1)


def _mean(hidden: Tensor, weights: Tensor) -> Tensor:
    return (hidden * weights).sum(dim=1) / weights.sum(dim=1)


def _mean_by_root(hidden: Tensor, weights: Tensor) -> Tensor:
    return (hidden * weights).sum(dim=1) / weights.sum(dim=1).sqrt()


def _last(hidden: Tensor, weights: Tensor) -> Tensor:
    rows = torch.arange(len(hidden), device=hidden.device)
    return hidden[rows, weights[..., 0].sum(dim=1).long() - 1]


_POOLINGS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cls": lambda hidden, _: hidden[:, 0],
    "max": _largest,
    "mean": _mean,
    "mean_sqrt_len_tokens": _mean_by_root,
    "weightedmean": lambda hidden, weights: _mean(hidden, weights * weights.cumsum(dim=1)),
    "lasttoken": _last,
}


def sentence_layer(layer: Dense | Normalize, folder: Path, device: str, *, spec: str) -> Callable[[Tensor], Tensor]:
    """A layer behind the pooling as a function of vectors, shape (n, inputs) to (n, outputs).

    Raises
    ------
    ModelError
        The weights cannot be read or have another shape than the folder states.
    """
    if isinstance(layer, Normalize):
        return lambda vectors: nn.functional.normalize(vectors, dim=-1)
    tensors = load_part(spec, layer.weights, lambda: load_file(folder / layer.weights, device=device))
    shapes = {"linear.weight": (layer.outputs, layer.inputs)} | ({"linear.bias": (layer.outputs,)} if layer.bias else {})
    found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    if found != shapes:
        raise ModelError(f"model {spec}: {layer.weights} holds {found}; its configuration states {shapes}")
    weight, bias = tensors["linear.weight"].float(), tensors["linear.bias"].float() if layer.bias else None
    activation: Callable[[Tensor], Tensor] = getattr(nn, layer.activation)()
    return lambda vectors: activation(nn.functional.linear(vectors, weight, bias))
