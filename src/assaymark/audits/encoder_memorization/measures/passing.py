"""The one pass: every layer of both models over the same views, reduced as soon as a layer is finished.

What is kept is one number a layer and scored picture, and the largest, their owners and a sum for every unit: no output
outlives the call that hands it over, so memory does not grow with pictures x activations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from assaymark.audit import Context
from assaymark.audits.encoder_memorization.config import ViewSettings
from assaymark.audits.encoder_memorization.method.class_units import ClassState, class_state
from assaymark.audits.encoder_memorization.reading import Block, Points, blocks
from assaymark.errors import ConfigError
from assaymark.models.protocols import Layer
from assaymark.models.unit_activations import UnitAverages
from assaymark.stats.memorization.units import UnitState

__all__ = ["Measured", "measure"]

Floats = npt.NDArray[np.float64]

MOST_FOR_MEDIAN = 2_000
MOST_CLASSES = 1_000


@dataclass
class Measured:
    """What the pass leaves.

    Attributes
    ----------
    layers : tuple of Layer, in forward order
    align : {"encoder": array, "reference": array}, each (layers, points)
        Mean distance of two views; NaN where a picture is not scored, could not be read, or has no direction.
    spread : the same
        Variance of the distance over the views.
    units, classes : by name of the layer
    activations : by name of the layer, (pictures, units); only for the median
    unread : position of a point without a picture to the reason
    sizes : number of different picture sizes
    """

    layers: tuple[Layer, ...]
    align: dict[str, Floats]
    spread: dict[str, Floats]
    units: dict[str, UnitState] = field(default_factory=dict)
    classes: dict[str, ClassState] = field(default_factory=dict)
    activations: dict[str, list[Floats]] = field(default_factory=dict)
    unread: dict[int, str] = field(default_factory=dict)
    sizes: set[tuple[int, int]] = field(default_factory=set)


def measure(
    dataset: Any,
    points: Points,
    layers: Sequence[Layer],
    *,
    encoder: Any,
    reference: Any = None,
    config: ViewSettings,
    views: str = "pair",
    context: Context,
) -> Measured:
    """Alignment under one or two models and activations of the encoder, in one pass over the pictures.

    Raises
    ------
    ConfigError
        A median over more pictures than can be kept.
    """
    if config.rest == "median" and points.in_units.sum() > MOST_FOR_MEDIAN:
        raise ConfigError(
            f"setting 'rest': a median keeps all activations, of at most {MOST_FOR_MEDIAN:,} pictures; set unit_points lower"
        )
    shape = (len(layers), len(points))
    models = {"encoder": encoder, **({} if reference is None else {"reference": reference})}
    found = Measured(
        tuple(layers),
        {name: np.full(shape, np.nan) for name in models},
        {name: np.full(shape, np.nan) for name in models},
    )
    run = _Pass(found, points, models, config, views, context.seed)
    size = max(1, context.batch_size // 2)  # two views of each
    with context.progress.task("looking into layers", total=len(points), unit="pictures") as task:
        for block in blocks(dataset, points, size=size):
            run.add(block)
            task.advance(len(block.positions) + len(block.unread))
    return found


class _Pass:
    def __init__(
        self, found: Measured, points: Points, models: dict[str, Any], config: ViewSettings, views: str, seed: int
    ) -> None:
        from assaymark.training.augmentation_spec import augmentation

        self._found, self._points, self._models, self._config = found, points, models, config
        self._spec, self._clean, self._seed = augmentation(config.augmentation), views == "clean", seed
        self._names = [layer.name for layer in found.layers]
        self._place = {name: place for place, name in enumerate(self._names)}
        self._units = UnitAverages(found.layers, rectify=config.rectify, cls=config.tokens == "cls", top=config.top_points)
        found.units = self._units.states

    def add(self, block: Block) -> None:
        self._found.unread |= block.unread
        self._found.sizes |= {picture.size for picture in block.pictures}
        if not block.pictures:
            return
        points, positions = self._points, block.positions
        scored = np.flatnonzero(points.scored[positions]) if len(self._models) > 1 else np.zeros(0, np.int64)
        units = np.flatnonzero(points.in_units[positions])
        pixels = self._models["encoder"].raw_pixels(block.pictures)
        sums = {name: _Sums(len(self._names), len(scored)) for name in self._models}
        for view in range(self._config.n_views):
            first = self._view(pixels, positions, 2 * view)
            second = pixels[scored]
            if len(scored) and not self._clean:
                second = self._view(second, positions[scored], 2 * view + 1)
            self._encode(first, second, scored, units, sums["encoder"])
            if len(scored) and "reference" in self._models:
                self._compare(first[scored], second, sums["reference"])
        self._keep(positions, scored, units, sums)

    def _view(self, pixels: Any, positions: npt.NDArray[np.int64], draw: int) -> Any:
        from assaymark.training.views import views

        return views(pixels, ids=self._points.key[positions], draw=draw, seed=self._seed, spec=self._spec)

    def _encode(self, first: Any, second: Any, scored: Any, units: Any, sums: _Sums) -> None:
        """One view of every picture of the block and another of the scored ones through the encoder."""
        import torch

        from assaymark.audits.encoder_memorization.method.alignment import alignment_distances

        count = len(first)

        def visit(name: str, output: Any) -> None:
            if len(units):
                self._units.add(name, output[:count][units])
            if len(scored):
                sums.add(self._place[name], alignment_distances(output[:count][scored], output[count:]))

        self._models["encoder"].record(torch.cat([first, second]), self._names, visit)

    def _compare(self, first: Any, second: Any, sums: _Sums) -> None:
        import torch

        from assaymark.audits.encoder_memorization.method.alignment import alignment_distances

        def visit(name: str, output: Any) -> None:
            sums.add(self._place[name], alignment_distances(*output.chunk(2)))

        self._models["reference"].record(torch.cat([first, second]), self._names, visit)

    def _keep(self, positions: Any, scored: Any, units: Any, sums: dict[str, _Sums]) -> None:
        found, config, n = self._found, self._config, self._config.n_views
        for name, total in sums.items() if len(scored) else ():
            mean = total.first / n
            found.align[name][:, positions[scored]] = mean
            found.spread[name][:, positions[scored]] = np.maximum(total.second / n - mean**2, 0.0)
        for name, mu in self._units.close(self._points.key[positions[units]], views=n).items():
            if config.rest == "median":
                found.activations.setdefault(name, []).append(mu)
            if 1 < len(self._points.classes) <= MOST_CLASSES:
                labels = self._points.label[positions[units]]
                added = class_state(mu, labels, classes=len(self._points.classes))
                old = found.classes.get(name)
                found.classes[name] = added if old is None else ClassState(old.total + added.total, old.points + added.points)


class _Sums:
    """Sums of distances and of their squares over the views, shape (layers, pictures)."""

    def __init__(self, layers: int, pictures: int) -> None:
        self.first, self.second = np.zeros((layers, pictures)), np.zeros((layers, pictures))

    def add(self, place: int, distances: Any) -> None:
        values = distances.double().cpu().numpy()
        self.first[place] += values
        self.second[place] += values**2
