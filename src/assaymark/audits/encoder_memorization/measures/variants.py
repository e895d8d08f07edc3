"""Each way of pruning or tuning an encoder: what it is, and how much it remembers and is good for afterwards."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from assaymark.audit import Context
from assaymark.audits.encoder_memorization.config import MemorizingPartsConfig
from assaymark.audits.encoder_memorization.measures.changed import ChangedEncoder, prunable, weights_of
from assaymark.audits.encoder_memorization.measures.passing import Measured, measure
from assaymark.audits.encoder_memorization.measures.tuning import fine_tune
from assaymark.audits.encoder_memorization.method.layer_choice import select_layers, select_units
from assaymark.audits.encoder_memorization.method.layer_scores import layer_memorization
from assaymark.audits.encoder_memorization.method.surgery import prune_units
from assaymark.audits.encoder_memorization.reading import Points
from assaymark.audits.encoder_memorization.study import LayerUnits, units_of
from assaymark.errors import InputError, ModelError
from assaymark.models.layer_patterns import matching_layers
from assaymark.stats import probe_hits
from assaymark.stats.memorization.four_sets import SETS
from assaymark.stats.memorization.scores import ssl_memorization

__all__ = ["LabelledPictures", "Variant", "Workshop"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class LabelledPictures:
    """Raw pixels (n, 3, h, w), labels (n,) in [0, classes), and which half trains the head."""

    pixels: Any
    labels: npt.NDArray[np.int64]
    train: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, pixels: Any, labels: npt.NDArray[np.int64], *, share: float, rng: np.random.Generator) -> LabelledPictures:
        """Divided at random."""
        train = np.zeros(len(labels), bool)
        train[rng.permutation(len(labels))[: int(share * len(labels))]] = True
        if not train.any() or train.all() or len(np.unique(labels[train])) < 2:
            raise InputError(
                "the labelled pictures are too few for a linear head, or of one class; give more, with a column label"
            )
        return cls(pixels, labels, train)


@dataclass(frozen=True)
class Variant:
    """One changed encoder.

    Attributes
    ----------
    name, title : str
        As it ends the names of estimates, and for people.
    hits : {"own": bool array, ...}
        Which held-out pictures are classified rightly, by set of pictures.
    sslmem, external : arrays, shapes (candidates,) and (external pictures,)
        Raw SSLMem at the representation; empty without a reference. Silencing or tuning moves all pictures, so that only what
        candidates have beyond external ones is memory.
    unitmem : array, shape (units,)
        UnitMem of the units of all layers that can be pruned; NaN where dead.
    parts : int
        Units that were silenced, or layers that were trained.
    """

    name: str
    title: str
    hits: Mapping[str, npt.NDArray[np.bool_]]
    sslmem: Floats
    external: Floats
    unitmem: Floats
    parts: int
    encoder: ChangedEncoder


class Workshop:
    """An encoder, measured once, from which changed copies are made and measured in the same way."""

    def __init__(
        self,
        encoder: ChangedEncoder,
        reference: Any,
        *,
        images: Any,
        points: Points,
        labelled: Mapping[str, LabelledPictures],
        config: MemorizingPartsConfig,
        context: Context,
    ) -> None:
        self._encoder, self._reference, self._images, self._points = encoder, reference, images, points
        self._labelled, self._config, self._context = labelled, config, context
        self.layers = matching_layers(encoder.layers, (*config.layers, encoder.layers[-1].name))
        self.modules = prunable(encoder.module, self.layers)
        if not self.modules:
            raise ModelError(f"model {encoder.spec}: none of its layers is a convolution or linear layer that can be worked on")
        self._measured = self._measure(encoder)
        self._units = {found.layer.name: found for found in units_of(self._measured, config)}

    def steps(self) -> int:
        """Encoders that are measured after this one."""
        return 1 + (3 * len(self._config.shares) if self._config.method == "prune" else 6)

    def variants(self) -> Iterator[Variant]:
        """The encoder as it is, then the changed ones."""
        yield self._variant("before", "as it is", self._encoder, 0, measured=self._measured)
        yield from self._pruned() if self._config.method == "prune" else self._tuned()

    def _pruned(self) -> Iterator[Variant]:
        for share in self._config.shares:
            for choice in ("highest", "lowest", "random"):
                encoder, silenced = self._encoder.copy(), 0
                for layer, module in self.modules.items():
                    rng = self._context.rng(f"prune {share} {layer}")
                    units = select_units(self._units[layer].units.unitmem, share=share, choice=choice, rng=rng)  # type: ignore[arg-type]
                    prune_units(encoder.module, module, units)
                    silenced += len(units)
                name = f"{choice}_{round(100 * share)}"
                yield self._variant(name, f"{share:.0%} of the units silenced: {choice} UnitMem", encoder, silenced)

    def _tuned(self) -> Iterator[Variant]:
        """The head alone comes first: it is what others are compared with."""
        scores = self._layer_scores()
        names = [layer.name for layer in self.layers if weights_of(self._encoder.module, layer)]
        values = [scores.get(name, np.nan) for name in names]
        by_name = {layer.name: layer for layer in self.layers}
        chosen: dict[str, Sequence[str] | None] = {"head": ()}
        for choice in ("most", "least", "last", "random"):
            rng = self._context.rng("random layers")
            picked = select_layers(names, values, count=self._config.layer_count, choice=choice, rng=rng)  # type: ignore[arg-type]
            chosen[choice] = [name for layer in picked for name in weights_of(self._encoder.module, by_name[layer])]
        chosen["all"] = None
        for name, modules in chosen.items():
            title = {"head": "head alone", "all": "all layers", "last": "last layers", "random": "random layers"}.get(
                name, f"{name} memorizing layers"
            )
            encoder = self._encoder.copy()
            head = self._fine_tuned(encoder, modules)
            yield self._variant(name, title, encoder, len(names) if modules is None else len(modules), head=head)

    def _fine_tuned(self, encoder: ChangedEncoder, modules: Sequence[str] | None) -> Any:
        own, config = self._labelled["own"], self._config
        rows = np.flatnonzero(own.train)
        return fine_tune(
            encoder, modules, pixels=own.pixels[rows], labels=own.labels[rows], classes=int(own.labels.max()) + 1,
            epochs=config.epochs, batch=config.batch, lr=config.lr, seed=self._context.seed,
        )  # fmt: skip

    def _layer_scores(self) -> dict[str, float]:
        if self._reference is None or self._config.by == "unitmem":
            return {name: _average(found) for name, found in self._units.items()}
        found = layer_memorization(self._sslmem(self._measured, "C"))
        values = found.delta if self._config.by == "delta" else found.layermem
        return dict(zip([layer.name for layer in self.layers], values.tolist(), strict=True))

    def _measure(self, encoder: ChangedEncoder) -> Measured:
        return measure(
            self._images, self._points, self.layers, encoder=encoder, reference=self._reference, config=self._config,
            views=self._config.views, context=self._context,
        )  # fmt: skip

    def _sslmem(self, measured: Measured, letter: str) -> Floats:
        """Raw SSLMem of the scored pictures of a set, (layers, pictures)."""
        mine = (self._points.sets == SETS.index(letter)) & self._points.scored
        if self._reference is None:
            return np.zeros((len(self.layers), 0))
        return ssl_memorization(measured.align["encoder"][:, mine], measured.align["reference"][:, mine])

    def _variant(
        self, name: str, title: str, encoder: ChangedEncoder, parts: int, *, measured: Measured | None = None, head: Any = None
    ) -> Variant:
        measured = self._measure(encoder) if measured is None else measured
        units = {found.layer.name: found for found in units_of(measured, self._config)}
        unitmem = np.concatenate([units[layer].units.unitmem for layer in self.modules])
        hits = {what: self._hits(encoder, given, head if what == "own" else None) for what, given in self._labelled.items()}
        own, external = (self._sslmem(measured, letter)[-1] for letter in ("C", "E"))
        return Variant(name, title, hits, own, external, unitmem, parts, encoder)

    def _hits(self, encoder: ChangedEncoder, given: LabelledPictures, head: Any) -> npt.NDArray[np.bool_]:
        """By the head that was trained with the encoder, or by a new one on its representation."""
        import torch

        features = encoder.features(given.pixels)
        train, test = given.train, ~given.train
        if head is None:
            return probe_hits(features[train], given.labels[train], features[test], given.labels[test])
        with torch.inference_mode():
            logits = head(torch.from_numpy(features[test]).float()).numpy()
        return np.asarray(logits.argmax(axis=1) == given.labels[test])


def _average(found: LayerUnits) -> float:
    values = found.units.unitmem[np.isfinite(found.units.unitmem)]
    return float(values.mean()) if len(values) else float("nan")
