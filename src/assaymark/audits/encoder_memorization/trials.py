"""Planted experiments on the methods: vectors of which the atypical ones are known, learnt by small encoders."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from assaymark.audit import Trial
from assaymark.audits.encoder_memorization.method.layer_choice import select_units
from assaymark.audits.encoder_memorization.method.layer_scores import layer_memorization
from assaymark.audits.encoder_memorization.method.surgery import prune_units
from assaymark.audits.encoder_memorization.vector_world import (
    FULL,
    SMALL,
    WIDTHS,
    Alignments,
    VectorWorld,
    alignments,
    encoder_on,
    vector_world,
)
from assaymark.result import Estimate
from assaymark.stats import accuracy_difference, bootstrap_difference, probe_hits, roc_auc, wilson
from assaymark.stats.memorization.scores import ssl_memorization
from assaymark.stats.memorization.units import UnitMemorization, unit_memorization

__all__ = ["method_trials"]

PLANTED_ABOVE = 0.95
PRUNED = 0.2
LAST_HIDDEN = len(WIDTHS) - 2


def method_trials(seed: int, *, full: bool = False) -> Sequence[Trial]:
    """Memory of atypical vectors, owners of units, equal encoders, a planted unit.

    The published size adds what takes longer to learn or a third training: the sets against one another, a supervised twin,
    two seeds on equal data, and pruning.
    """
    laboratory = _Laboratory(seed, full=full)
    return [*laboratory.trials(), *(laboratory.slow_trials() if full else ())]


class _Laboratory:
    """One world with its two encoders, measured once."""

    def __init__(self, seed: int, *, full: bool) -> None:
        self.world: VectorWorld = vector_world(seed, size=FULL if full else SMALL)
        self.encoder: Any = encoder_on(self.world, "SC")
        self.seen = alignments(self.world, self.encoder)
        unseen = alignments(self.world, encoder_on(self.world, "SI"))
        self.raw = ssl_memorization(self.seen.align, unseen.align)  # (layers, n)
        self.rng = np.random.default_rng([seed, 0x72])
        self.trained = self.world.rows("SC")

    def trials(self) -> Iterator[Trial]:
        last, outlier = self.raw[-1], self.world.outlier
        candidates, external = self.world.rows("C"), self.world.rows("E")
        yield Trial(
            "outliers among the candidates minus inliers: SSLMem", 0.0,
            self._difference(last[candidates[outlier[candidates]]], last[candidates[~outlier[candidates]]]), "above",
        )  # fmt: skip
        yield Trial(
            "outliers among the candidates minus external ones: SSLMem", 0.0,
            self._difference(last[candidates[outlier[candidates]]], last[external[outlier[external]]]), "above",
        )  # fmt: skip
        found = roc_auc(last[candidates], outlier[candidates])
        yield Trial("outliers ranked above inliers by SSLMem", 0.5, found, "above")
        base = float(outlier[self.trained].mean())
        for layer in (0, 1):
            yield Trial(f"units of layer {layer + 1} owned by outliers", base, self._owned(self.seen, layer), "above")
        same = layer_memorization(ssl_memorization(self.seen.align, self.seen.align)).layermem
        yield Trial("an encoder against itself: LayerMem", 0.0, _exact(float(np.abs(same).max()), len(candidates)))
        yield Trial("a unit planted for one vector: UnitMem", PLANTED_ABOVE, self._planted_unit(), "above")

    def slow_trials(self) -> Iterator[Trial]:
        last = self.raw[-1]
        shared, candidates, independent, external = (last[self.world.rows(letter)] for letter in "SCIE")
        yield Trial("candidates minus shared: SSLMem", 0.0, self._difference(candidates, shared), "above")
        yield Trial("candidates minus external: SSLMem", 0.0, self._difference(candidates, external), "above")
        yield Trial("shared minus independent: SSLMem", 0.0, self._difference(shared, independent), "above")
        twin = alignments(self.world, encoder_on(self.world, "SC", objective="supervised"))
        own, other = (np.concatenate([self._alive(found, layer) for layer in (1, 2, 3)]) for found in (self.seen, twin))
        yield Trial("UnitMem minus that of a supervised twin, layers 2 to 4", 0.0, self._difference(own, other), "above")
        again = alignments(self.world, encoder_on(self.world, "SC", seed=500))
        moved = ssl_memorization(self.seen.align[-1], again.align[-1])
        yield Trial(
            "two seeds on equal data: candidates minus external", 0.0,
            self._difference(moved[self.world.rows("C")], moved[self.world.rows("E")]),
        )  # fmt: skip
        yield Trial("pruned by UnitMem minus pruned at random: probe accuracy", 0.0, self._pruning("highest"))
        yield Trial("pruned by lowest UnitMem minus pruned at random: probe accuracy", 0.0, self._pruning("lowest"))

    def _difference(self, one: npt.NDArray[np.float64], other: npt.NDArray[np.float64]) -> Estimate:
        return bootstrap_difference(one, other, rng=self.rng, resamples=400)

    def _units(self, found: Alignments, layer: int) -> UnitMemorization:
        return unit_memorization(found.activations[layer][self.trained])

    def _alive(self, found: Alignments, layer: int) -> npt.NDArray[np.float64]:
        unitmem = self._units(found, layer).unitmem
        return unitmem[np.isfinite(unitmem)]

    def _owned(self, found: Alignments, layer: int) -> Estimate:
        units = self._units(found, layer)
        owners = self.trained[units.owner[units.unitmem > 0]]
        return wilson(int(self.world.outlier[owners].sum()), len(owners))

    def _planted_unit(self) -> Estimate:
        """One more unit on the last hidden layer, in the direction of one vector and silent for all others."""
        hidden = self._hidden(self.encoder)[self.trained]
        target = int(self.rng.integers(len(hidden)))
        reaction = hidden @ hidden[target] / np.linalg.norm(hidden[target])
        planted = np.maximum(reaction - np.delete(reaction, target).max(), 0.0)
        units = unit_memorization(planted[:, None])
        if units.dead[0]:  # the vector is not the farthest in its own direction: there is no such unit
            target = int(np.argmax(np.linalg.norm(hidden, axis=1)))
            reaction = hidden @ hidden[target] / np.linalg.norm(hidden[target])
            planted = np.maximum(reaction - np.delete(reaction, target).max(), 0.0)
            units = unit_memorization(planted[:, None])
        found = float(units.unitmem[0]) if units.owner[0] == target else 0.0
        return _exact(found, len(hidden))

    def _hidden(self, encoder: Any) -> npt.NDArray[np.float64]:
        """Outputs of the last hidden layer for the vectors as they are."""
        import torch

        with torch.inference_mode():
            return np.asarray(encoder.body[: 2 * LAST_HIDDEN + 2](torch.from_numpy(self.world.x)).double().numpy())

    def _pruning(self, choice: Any) -> Estimate:
        """Probe accuracy on external and independent vectors, whose label is their prototype.

        Half of the coordinates are dropped and noise is added: the vectors as they are leave a probe nothing to get wrong.
        """
        hits = [self._probe(choice), self._probe("random")]
        return accuracy_difference(*hits, rng=self.rng)

    def _probe(self, choice: Any) -> npt.NDArray[np.bool_]:
        import copy

        import torch

        from assaymark.training.augmentation_spec import AugmentationSpec
        from assaymark.training.views import views

        pruned = copy.deepcopy(self.encoder)
        unitmem = self._units(self.seen, LAST_HIDDEN).unitmem
        prune_units(pruned, f"body.linear{LAST_HIDDEN}", select_units(unitmem, share=PRUNED, choice=choice, rng=self.rng))
        world = self.world
        shown = views(
            torch.from_numpy(world.x),
            ids=np.arange(len(world.x)),
            draw=0,
            seed=world.seed,
            spec=AugmentationSpec(drop=0.5, noise=1.0),
        )
        with torch.inference_mode():
            features = pruned(shown).double().numpy()
        typical = ~self.world.outlier
        train, test = (np.intersect1d(self.world.rows(letters), np.flatnonzero(typical)) for letters in ("SC", "IE"))
        return probe_hits(features[train], self.world.label[train], features[test], self.world.label[test])


def _exact(value: float, n: int) -> Estimate:
    return Estimate(value, value, value, n, "exact")
