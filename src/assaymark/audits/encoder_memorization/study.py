"""What was measured, turned into scores once; what the sections of the report look at."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from assaymark.audit import Context
from assaymark.audits.encoder_memorization.config import EncoderMemorizationConfig, ViewSettings
from assaymark.audits.encoder_memorization.measures.passing import Measured
from assaymark.audits.encoder_memorization.method.class_units import ClassMemorization, class_memorization_of
from assaymark.audits.encoder_memorization.method.layer_scores import NORMS
from assaymark.audits.encoder_memorization.reading import Points
from assaymark.models.protocols import Layer
from assaymark.stats import normalised_scores
from assaymark.stats.memorization.four_sets import SETS
from assaymark.stats.memorization.scores import DISTANCE_BOUND, ssl_memorization
from assaymark.stats.memorization.units import UnitMemorization, unit_memorization, unit_memorization_of

__all__ = ["LayerUnits", "Study", "units_of"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class LayerUnits:
    """Units of one layer; `classes` is None where there are no classes to compare."""

    layer: Layer
    units: UnitMemorization
    classes: ClassMemorization | None
    points: int


def units_of(measured: Measured, config: ViewSettings) -> tuple[LayerUnits, ...]:
    """UnitMem, and ClassMem where there are labels, of every layer."""
    found = []
    for layer in measured.layers:
        state = measured.units.get(layer.name)
        if state is None:
            continue
        if config.rest == "median":
            matrix = unit_memorization(np.concatenate(measured.activations[layer.name]), rest="median", top=config.top_points)
            units = matrix._replace(owner=state.owner[0])
        else:
            units = unit_memorization_of(state, shift=config.rectify == "shift" and not layer.rectified)
        by_class = measured.classes.get(layer.name)
        classes = None if by_class is None else class_memorization_of([by_class], others=config.class_rest)
        found.append(LayerUnits(layer, units, classes, state.points))
    return tuple(found)


@dataclass(frozen=True)
class Study:
    points: Points
    measured: Measured
    config: EncoderMemorizationConfig
    context: Context
    trained_here: bool = False

    def rng(self, step: str) -> np.random.Generator:
        """A generator of its own for each step."""
        return self.context.rng(step)

    @property
    def layers(self) -> tuple[Layer, ...]:
        return self.measured.layers

    @property
    def paired(self) -> bool:
        """There is a reference, so that SSLMem is defined."""
        return "reference" in self.measured.align

    @cached_property
    def letters(self) -> npt.NDArray[np.str_]:
        """Set of each point, empty where it is in none."""
        return np.array([*SETS, ""])[self.points.sets]

    @cached_property
    def raw(self) -> Floats:
        """SSLMem before normalisation, shape (layers, points); NaN throughout without a reference."""
        align = self.measured.align
        if not self.paired:
            return np.full((len(self.layers), len(self.points)), np.nan)
        return ssl_memorization(align["encoder"], align["reference"])

    def of_set(self, letter: str, *, layer: int = -1) -> Floats:
        """Raw SSLMem of the scored points of a set that are defined; by default of the representation."""
        values = self.raw[layer, self.points.sets == SETS.index(letter)]
        return np.asarray(values[np.isfinite(values)])

    @cached_property
    def candidates(self) -> npt.NDArray[np.int64]:
        """Positions of the scored candidates."""
        return np.flatnonzero((self.points.sets == SETS.index("C")) & self.points.scored)

    @cached_property
    def candidate_scores(self) -> Floats:
        """Raw SSLMem of the candidates at every layer."""
        return np.asarray(self.raw[:, self.candidates])

    def scores(self, norm: str) -> Floats:
        """SSLMem of the candidates, each layer on its own scale."""
        return np.stack([normalised_scores(row, by=NORMS[norm], bound=DISTANCE_BOUND) for row in self.candidate_scores])

    @cached_property
    def units(self) -> tuple[LayerUnits, ...]:
        return units_of(self.measured, self.config)
