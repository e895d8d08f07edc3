"""What adapters with a text tower share, so that an audit can look into it (capability records-text-activations)."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from assaymark.models.image_recording import found_places
from assaymark.models.protocols import Layer, Visit

if TYPE_CHECKING:
    from assaymark.models.activation_recorder import Place

__all__ = ["GivenTexts", "RecordsTextLayers"]


class GivenTexts(NamedTuple):
    """A loaded text tower, its arguments for some texts, and a mask, shape (n, tokens): true where a token is of the text."""

    module: Any
    arguments: Mapping[str, Any]
    mask: Any


class RecordsTextLayers:
    """Layers of a text tower and what they put out; the adapter says which tower, and what a sketch of it is."""

    spec: str

    @property
    def text_layers(self) -> tuple[Layer, ...]:
        """In the order in which a forward pass finishes them; the last is the representation."""
        return tuple(place.layer for place in self._text_places)

    def record_texts(self, texts: Sequence[str], layers: Sequence[str], visit: Visit) -> None:
        """One forward pass. Outputs of tokens have the full length of the tower; behind the end of a text they are zero."""
        from assaymark.models.activation_recorder import recording

        given = self._given_texts(texts)
        lengths = {layer.name: layer.shape[0] for layer in self.text_layers if len(layer.shape) == 2}

        def padded(name: str, output: Any) -> None:
            visit(name, _zeroed(output, given.mask, lengths[name]) if name in lengths else output)

        with recording(given.module, layers, padded, places=self._text_places):
            given.module(**given.arguments)

    @cached_property
    def _text_places(self) -> tuple[Place, ...]:
        places = found_places(self.spec, self._text_sketch)
        # A model with both towers also holds the class token of the other one.
        return tuple(place._replace(layer=place.layer._replace(class_token=False)) for place in places)

    @abstractmethod
    def _given_texts(self, texts: Sequence[str]) -> GivenTexts:
        """The tower with its weights and what it takes for these texts, cut at its length."""
        ...

    @abstractmethod
    def _text_sketch(self) -> tuple[Any, Any]:
        """The tower without weights and arguments for two texts of full length, on the meta device, the default there."""
        ...


def _zeroed(output: Any, mask: Any, length: int) -> Any:
    """Outputs of shape (n, t, d) with zeros at padded tokens and behind them, shape (n, length, d)."""
    # Filled, not multiplied: a padded position may hold anything, also NaN.
    kept = output.masked_fill(~mask.bool()[:, :, None], 0.0)
    if kept.shape[1] == length:
        return kept
    whole = kept.new_zeros(len(kept), length, kept.shape[2])
    whole[:, : kept.shape[1]] = kept
    return whole
