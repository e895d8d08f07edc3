"""Which layers are looked at, and that two encoders have the same."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any

from assaymark.errors import ModelError, UnknownName
from assaymark.models.protocols import Layer

__all__ = ["chosen_layers", "same_layers"]


def chosen_layers(layers: Sequence[Layer], patterns: Sequence[str]) -> tuple[Layer, ...]:
    """Layers that a pattern of names or a kind picks, in forward order; the last, the representation, always.

    Raises
    ------
    UnknownName
        A pattern that picks nothing, with the names that are nearest.
    """
    picked = {layers[-1].name}
    for pattern in patterns:
        found = {layer.name for layer in layers if pattern in ("all", layer.kind) or fnmatchcase(layer.name, pattern)}
        if not found:
            known = [*dict.fromkeys(layer.kind for layer in layers), *(layer.name for layer in layers)]
            raise UnknownName("layer", pattern, known, mend="(setting 'layers')")
        picked |= found
    return tuple(layer for layer in layers if layer.name in picked)


def same_layers(encoder: Any, reference: Any) -> None:
    """Refuse two architectures: a layer of one cannot be compared with another layer of the other.

    Raises
    ------
    ModelError
        Naming the first difference.
    """
    one, other = encoder.layers, reference.layers
    for own, theirs in zip(one, other, strict=False):
        if (own.name, own.shape) != (theirs.name, theirs.shape):
            raise ModelError(
                f"encoder and reference differ in architecture: layer {own.name} {own.shape} of {encoder.spec} meets "
                f"{theirs.name} {theirs.shape} of {reference.spec}; give two trainings of one architecture"
            )
    if len(one) != len(other):
        extra = (one if len(one) > len(other) else other)[min(len(one), len(other))]
        raise ModelError(f"encoder and reference differ in architecture: only one of them has the layer {extra.name}")
