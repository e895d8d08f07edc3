"""Keys and values of the beginnings of prompts: worked out once, and kept for the next prompts that begin alike."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.models.causal_lm import CausalLM, padded
from assaymark.models.key_value_cache import Layers, cache_of
from assaymark.models.shared_prefixes import common_length

__all__ = ["KEPT_TOKENS", "PrefixStates", "prefix_states"]

KEPT_TOKENS = 4096  # of all kept prefixes together; a token of GPT-2 takes 72 KB, one of a 7B model in half precision 0.5 MB
_MOSTLY = 0.9  # a prefix of which so much is in a newer one makes way for that
_PROBED = 24  # tokens of the text by which sharing is tested
_BY_LENGTH = {"dynamic", "longrope"}  # rotary frequencies that follow the length of the whole text
# What a library's model raises when its cache is not what we take it for.
_UNFIT = (AttributeError, IndexError, KeyError, NotImplementedError, RuntimeError, TypeError, ValueError)


class _Kept(NamedTuple):
    tokens: npt.NDArray[np.int64]
    layers: Layers


class PrefixStates:
    """States of the last few prefixes that a model was asked about, at most `most` tokens together.

    What a longer prefix has computed serves every shorter one, and is where one that only begins alike is gone on from.
    """

    def __init__(self, model: CausalLM, *, most: int = KEPT_TOKENS) -> None:
        self._model, self._most = model, most
        self._kept: list[_Kept] = []  # the latest used is the last
        self._lock = threading.Lock()

    def known(self, tokens: Sequence[int]) -> int:
        """How many of the first tokens are kept."""
        with self._lock:
            return self._nearest(np.array(tokens, dtype=np.int64))[1]

    def past(self, tokens: Sequence[int], *, copies: int, grows: bool = True) -> Any:
        """A cache of transformers that holds the tokens, for a batch of `copies` texts that begin with them.

        `grows` is false where one pass is all that it is for.
        """
        wanted = np.array(tokens, dtype=np.int64)
        with self._lock:
            kept, common = self._nearest(wanted)
            layers = [] if kept is None else [(keys[..., :common, :], values[..., :common, :]) for keys, values in kept.layers]
            if kept is not None and common == len(wanted):
                self._kept = [*(entry for entry in self._kept if entry is not kept), kept]
            else:
                layers = _continued(self._model, layers, wanted[common:].tolist())
                self._keep(_Kept(wanted, layers))
        return cache_of(layers, copies, grows=grows)

    def _nearest(self, tokens: npt.NDArray[np.int64]) -> tuple[_Kept | None, int]:
        """The kept prefix that shares most with the tokens, and how much that is."""
        shared = [common_length(entry.tokens, tokens) for entry in self._kept]
        best = max(range(len(shared)), key=shared.__getitem__, default=None)
        return (None, 0) if best is None or not shared[best] else (self._kept[best], shared[best])

    def _keep(self, new: _Kept) -> None:
        others = [entry for entry in self._kept if common_length(entry.tokens, new.tokens) < _MOSTLY * len(entry.tokens)]
        kept = [*others, new]
        while kept and sum(len(entry.tokens) for entry in kept) > self._most:
            kept.pop(0)
        self._kept = kept


def prefix_states(model: CausalLM, *, tolerance: float, longest: int) -> PrefixStates | None:
    """A store of states, or None where a model cannot share prefixes.

    Measured on one probe: logits of texts that go on from a shared prefix must be those of the texts one by one, when scored
    (padded behind) and when continued (padded between prefix and text). Refused before that are caches which forget (sliding
    windows, recurrent states) and rotary frequencies which change with the length of the text.

    Parameters
    ----------
    tolerance : float
        Largest difference, in standard deviations of the logits.
    longest : int
        Tokens that the model reads.
    """
    import torch

    length = min(_PROBED, longest - 2)
    if length < 6 or _follows_length(model.config):
        return None
    try:
        with torch.inference_mode():
            fits = _keeps_everything(model) and _agree(model, length, tolerance)
    except _UNFIT:
        return None
    return PrefixStates(model) if fits else None


def _follows_length(config: Any) -> bool:
    text = config.get_text_config()
    stated = getattr(text, "rope_parameters", None) or getattr(text, "rope_scaling", None) or {}
    each = [stated, *(value for value in stated.values() if isinstance(value, dict))]  # one for each kind of layer, in some
    return any(value.get("rope_type", value.get("type")) in _BY_LENGTH for value in each)


def _keeps_everything(model: CausalLM) -> bool:
    """Whether the cache that the model makes by itself is a plain one in every layer."""
    from transformers import DynamicCache
    from transformers.cache_utils import DynamicLayer

    made = model.own_cache()
    return type(made) is DynamicCache and bool(made.layers) and all(type(layer) is DynamicLayer for layer in made.layers)


def _agree(model: CausalLM, length: int, tolerance: float) -> bool:
    """Whether two texts with a shared prefix and different lengths are read as each of them alone."""
    import torch

    ids = torch.linspace(0, model.vocabulary - 1, length, device=model.device).long().tolist()
    shared, texts = length // 2, [ids, ids[: length - 3]]
    prefix, own = _continued(model, [], ids[:shared]), [text[shared:] for text in texts]
    behind, mask = padded(own, 0, device=model.device, before=shared)
    scored = model.logits(model.states(behind, mask, past=cache_of(prefix, 2, grows=False)))
    between, mask = padded(own, 0, device=model.device, left=True, before=shared)
    given = torch.cat([torch.tensor([ids[:shared]] * 2, device=model.device), between], dim=1)
    written = _next_logits(model, given, mask, past=cache_of(prefix, 2))
    for row, text in enumerate(texts):
        alone, seen = padded([text], 0, device=model.device)
        whole, following = model.logits(model.states(alone, seen))[0], _next_logits(model, alone, seen)[0]
        steps = 2 if written[row, 0].argmax() == following[0].argmax() else 1  # after another token all is different
        gaps = (scored[row, : len(own[row])] - whole[shared:], written[row, :steps] - following[:steps])
        if not all(float(gap.abs().max()) <= tolerance * float(whole.std()) for gap in gaps):
            return False
    return True


def _next_logits(model: CausalLM, ids: Any, mask: Any, *, past: Any = None) -> Any:
    """Logits of the next two tokens, shape (batch, 2, vocabulary)."""
    import torch

    said = model.write(ids, mask, past=past, max_new_tokens=2, output_logits=True, return_dict_in_generate=True, pad_token_id=0)
    return torch.stack(said.logits, dim=1).float()


def _continued(model: CausalLM, layers: Layers, tokens: list[int]) -> Layers:
    """States of a prefix with some more tokens; one forward pass."""
    import torch

    before = layers[0][0].shape[-2] if layers else 0
    growing = cache_of(layers, 1)
    with torch.inference_mode():
        ids = torch.tensor([tokens], device=model.device)
        model.states(ids, torch.ones((1, before + len(tokens)), dtype=torch.long, device=model.device), past=growing)
    return [(layer.keys.contiguous(), layer.values.contiguous()) for layer in growing.layers]
