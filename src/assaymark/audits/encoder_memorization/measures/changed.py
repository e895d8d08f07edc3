"""An encoder whose weights are changed in memory, seen as an adapter is; and which modules hold the weights of a layer."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from assaymark.errors import ModelError
from assaymark.models.protocols import Layer, Visit

__all__ = ["ChangedEncoder", "prunable", "weights_of"]

TOGETHER = 64


class ChangedEncoder:
    """A network that can be cut and tuned, with the pictures' way into it.

    Parameters
    ----------
    source : adapter with trains-images and records-activations
    module : torch module, optional
        Default: a copy of the source's.
    pictures : a few pictures
        The normalisation is read off what the source makes of them: channel by channel a scale and a shift.
    """

    def __init__(self, source: Any, pictures: Sequence[Any], *, module: Any = None) -> None:
        self.spec, self._source, self._pictures = source.spec, source, list(pictures[:8])
        self.module = source.feature_module() if module is None else module
        self.dimension = int(source.dimension)

    def copy(self) -> ChangedEncoder:
        """Another one, to be changed by itself."""
        made = ChangedEncoder(self._source, self._pictures, module=copy.deepcopy(self.module))
        made.__dict__["normalisation"], made.__dict__["_places"] = self.normalisation, self._places
        return made

    @cached_property
    def normalisation(self) -> npt.NDArray[np.float64]:
        """Scale and shift of each channel, shape (2, 3)."""
        raw = self._source.raw_pixels(self._pictures).double().numpy()
        ready = self._source.prepare_images(self._pictures).double().numpy()
        found = np.zeros((2, raw.shape[1]))
        for channel in range(raw.shape[1]):
            x, y = raw[:, channel].ravel(), ready[:, channel].ravel() if raw.shape == ready.shape else np.zeros(0)
            if len(x) != len(y) or np.ptp(x) == 0:
                raise ModelError(
                    f"model {self.spec}: how it normalises pixels cannot be told, so its weights cannot be worked on"
                )
            scale = np.cov(x, y)[0, 1] / np.var(x, ddof=1)
            found[:, channel] = scale, y.mean() - scale * x.mean()
            if np.abs(found[0, channel] * x + found[1, channel] - y).max() > 1e-3:
                raise ModelError(f"model {self.spec}: it does more to pixels than to normalise them by channel")
        return found

    def normalised(self, pixels: Any) -> Any:
        """Raw pixels in [0, 1] as the network wants them."""
        import torch

        scale, shift = (torch.tensor(row, dtype=pixels.dtype)[:, None, None] for row in self.normalisation)
        return pixels * scale + shift

    def raw_pixels(self, images: Sequence[Any]) -> Any:
        return self._source.raw_pixels(images)

    @cached_property
    def _places(self) -> Any:
        from assaymark.models.layer_discovery import discover_places

        example = self.normalised(self._source.raw_pixels((self._pictures * 2)[:2]))
        was_training = self.module.training
        found = discover_places(self.module.eval(), example)
        self.module.train(was_training)
        return found

    @property
    def layers(self) -> tuple[Layer, ...]:
        return tuple(place.layer for place in self._places)

    def record(self, pixels: Any, layers: Sequence[str], visit: Visit) -> None:
        from assaymark.models.activation_recorder import recording

        with recording(self.module, layers, visit, places=self._places):
            self.module(self.normalised(pixels))

    def features(self, pixels: Any) -> npt.NDArray[np.float64]:
        """Representations of raw pixels, shape (n, dimension), in batches of a fixed size."""
        from assaymark.training import module_outputs

        found = module_outputs(self.module, pixels, batch_size=TOGETHER, prepare=self.normalised)
        return np.asarray(found, np.float64)


def weights_of(module: Any, layer: Layer) -> tuple[str, ...]:
    """Names of the modules that hold the weights of a layer; none for a pooling or a sum."""
    from torch import nn

    weighted = {name: part for name, part in module.named_modules() if isinstance(part, (nn.Conv2d, nn.Linear))}
    if layer.name in weighted:
        return (layer.name,)
    block, _, part = layer.name.removesuffix(".hidden").rpartition(".")
    inside = [name for name in weighted if name.startswith(f"{block}.")] if block else []
    attending = [name for name in inside if "att" in name.removeprefix(block)]
    if layer.kind == "attention" and part == "attention":
        return tuple(attending)
    if layer.kind == "mlp" and part == "mlp":
        found = [name for name in inside if name not in attending]
        hidden = [name for name in found if weighted[name].out_features == layer.units]
        return tuple(hidden[:1]) if layer.name.endswith(".hidden") else tuple(found)
    return ()


def prunable(module: Any, layers: Sequence[Layer]) -> dict[str, str]:
    """Layers whose units are the output rows of one module, {layer: module}, each module once."""
    found: dict[str, str] = {}
    for layer in layers:
        names = weights_of(module, layer)
        single = layer.name in names or layer.name.endswith(".hidden")
        if len(names) == 1 and single and names[0] not in found.values():
            found[layer.name] = names[0]
    return found
