"""Layers of a network by what a user calls them, and whether two networks have the same."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from assaymark.errors import ModelError, UnknownName
from assaymark.models.protocols import Layer

__all__ = ["UnmatchedPattern", "block_outputs", "matching_layers", "same_architecture"]

_ALL = "all"
_BLOCK = "block"


class UnmatchedPattern(UnknownName, ModelError):
    """A pattern that fits no layer; the message offers the nearest names."""


def matching_layers(layers: Sequence[Layer], patterns: Iterable[str]) -> tuple[Layer, ...]:
    """Layers that fit one of some patterns, each once and in the order of the network.

    Parameters
    ----------
    layers : sequence of Layer
    patterns : iterable of str
        "all"; a kind ("convolution", "pooling", "residual", "attention", "mlp", "linear", "embedding", "representation");
        "block", the output of each block; "hidden", the units within perceptrons of blocks, which "mlp" leaves out where it
        is followed by the sub-block they belong to; a name; or a name with *, ? and [], as files are matched.

    Raises
    ------
    ModelError
        A pattern that fits no layer, with the nearest names and kinds.

    Examples
    --------
    >>> layers = [Layer("conv1", "convolution", None, (4, 8, 8), True), Layer("fc", "linear", None, (3,), False)]
    >>> [layer.name for layer in matching_layers(layers, ["conv*"])]
    ['conv1']
    """
    wanted: set[str] = set()
    for pattern in patterns:
        found = {layer.name for layer in _fitting(layers, pattern)}
        if not found:
            raise UnmatchedPattern("layer", pattern, [layer.name for layer in layers] + list(_kinds(layers)))
        wanted |= found
    return tuple(layer for layer in layers if layer.name in wanted)


def _fitting(layers: Sequence[Layer], pattern: str) -> Sequence[Layer]:
    if pattern == _ALL:
        return layers
    if pattern == _BLOCK:
        return block_outputs(layers)
    if pattern == "hidden":
        return [layer for layer in layers if _is_hidden(layer)]
    if pattern in _kinds(layers):
        return [layer for layer in layers if layer.kind == pattern and not _is_hidden(layer)]
    return [layer for layer in layers if fnmatchcase(layer.name, pattern)]


def _kinds(layers: Sequence[Layer]) -> tuple[str, ...]:
    """Words that stand for several layers, of those that this network has."""
    groups = {_ALL: bool(layers), _BLOCK: bool(block_outputs(layers)), "hidden": any(map(_is_hidden, layers))}
    return tuple(dict.fromkeys([*(layer.kind for layer in layers), *(name for name, has in groups.items() if has)]))


def _is_hidden(layer: Layer) -> bool:
    """Whether units are those within the perceptron of a block, and not what the block hands on."""
    return layer.kind == "mlp" and layer.name.partition("#")[0].endswith(".hidden")


def block_outputs(layers: Sequence[Layer]) -> tuple[Layer, ...]:
    """The last layer of each numbered block: what it hands on."""
    last = {layer.block: layer for layer in layers if layer.block is not None}
    return tuple(last.values())


def same_architecture(layers_f: Sequence[Layer], layers_g: Sequence[Layer]) -> None:
    """Check that two networks have the same layers in the same order, so that they can be compared layer by layer.

    Raises
    ------
    ModelError
        The first difference: a layer that one of them lacks, or what is different about it.
    """
    for position, (f, g) in enumerate(zip(layers_f, layers_g, strict=False), start=1):
        if f == g:
            continue
        if f.name != g.name:
            difference = f"layer {position} is {f.name} in the first and {g.name} in the second"
        else:
            field = next(name for name in Layer._fields if getattr(f, name) != getattr(g, name))
            difference = f"{field} of layer {f.name} is {getattr(f, field)} in the first and {getattr(g, field)} in the second"
        raise ModelError(_misfit(difference))
    if len(layers_f) != len(layers_g):
        raise ModelError(_misfit(f"the first has {len(layers_f)} layers and the second {len(layers_g)}"))


def _misfit(difference: str) -> str:
    return f"the two encoders differ in architecture: {difference}; both must be trained from one architecture"
