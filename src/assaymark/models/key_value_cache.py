"""Caches of transformers that begin with given keys and values, and grow without copying them for every token."""

from __future__ import annotations

from functools import cache
from typing import Any

__all__ = ["Layers", "cache_of"]

_ROOM = 32  # tokens for which there is room in a cache that has to grow

Layers = list[tuple[Any, Any]]
"""Keys and values of each layer, shape (1, heads, tokens, width)."""


def cache_of(layers: Layers, copies: int, *, grows: bool = True) -> Any:
    """A cache that holds the states of each layer for a batch of `copies` texts, and leaves them as they are.

    One that does not grow serves a single pass, and takes the memory of one layer at a time.
    """
    from transformers import DynamicCache

    made = DynamicCache()
    for keys, values in layers:
        layer = (_roomy_layer() if grows else _passing_layer())()
        layer.lazy_initialization(keys, values)
        # Views of one copy, until something is added.
        layer.keys, layer.values = (state.expand(copies, *state.shape[1:]) for state in (keys, values))
        made.layers.append(layer)
    return made


@cache
def _roomy_layer() -> Any:
    """A layer of a cache with room for the next tokens: these are written there, where the library's copies everything."""
    from transformers.cache_utils import DynamicLayer

    class RoomyLayer(DynamicLayer):
        keys: Any
        values: Any
        held: tuple[Any, Any] | None = None  # what keys and values are the beginning of

        def update(self, key_states: Any, value_states: Any, *_: Any, **__: Any) -> tuple[Any, Any]:
            start = self.get_seq_length()
            stop = start + key_states.shape[-2]
            if self.held is None or stop > self.held[0].shape[-2]:
                self.held = _with_room(self.keys, stop + _ROOM), _with_room(self.values, stop + _ROOM)
            for held, new in zip(self.held, (key_states, value_states), strict=True):
                held[..., start:stop, :] = new
            self.keys, self.values = (held[..., :stop, :] for held in self.held)
            return self.keys, self.values

    return RoomyLayer


@cache
def _passing_layer() -> Any:
    """A layer of a cache that forgets what comes after it was made."""
    import torch
    from transformers.cache_utils import DynamicLayer

    class PassingLayer(DynamicLayer):
        keys: Any
        values: Any

        def update(self, key_states: Any, value_states: Any, *_: Any, **__: Any) -> tuple[Any, Any]:
            return torch.cat([self.keys, key_states], dim=-2), torch.cat([self.values, value_states], dim=-2)

    return PassingLayer


def _with_room(states: Any, tokens: int) -> Any:
    held = states.new_empty((*states.shape[:-2], tokens, states.shape[-1]))
    held[..., : states.shape[-2], :] = states
    return held
