"""Causal language models: hidden states once, logits for as many positions at a time as memory allows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from assaymark.errors import ModelError
from assaymark.models.checkpoint import Checkpoint
from assaymark.models.torch_adapter import load_weights

__all__ = ["TOLERANCE", "CausalLM", "load_causal_lm", "padded"]

_PROBED = 16  # tokens of the text by which the parts of a model are tested
TOLERANCE = {"float32": 1e-3, "bfloat16": 5e-2, "float16": 5e-2}  # of the SD of the logits


class CausalLM:
    """A language model in two steps: `states` of a batch, then `logits` of any of its positions.

    Where the logits are a linear map of the last hidden state, the states are these; where an architecture does more (a
    transformation, a cap, a scale), they are the logits themselves, in the model's own number format. Which of the two holds
    is measured when the model is loaded. So is causality: a model whose early predictions change with later tokens is refused.
    """

    def __init__(self, spec: str, model: Any, *, dtype: str, longest: int) -> None:
        self._model = model
        model.config.use_cache = False  # a pass over whole texts needs none
        self._body: Any = None
        self._head: Any = None
        self.vocabulary = self._probe(spec, TOLERANCE[dtype], min(_PROBED, longest))

    @property
    def has_head(self) -> bool:
        """Whether logits can be made for a part of the positions."""
        return self._head is not None

    @property
    def device(self) -> Any:
        return self._model.device

    @property
    def config(self) -> Any:
        return self._model.config

    def states(self, ids: Any, mask: Any, *, past: Any = None) -> Any:
        """Shape (batch, length, width), from token ids and the mask of what is no padding, each of shape (batch, length).

        `past`, a cache of transformers, holds what stands before the ids, and takes them up; the mask then tells of it too.
        """
        given = {"input_ids": ids, "attention_mask": mask}
        if past is not None:
            given |= {"past_key_values": past, "use_cache": True}
        if self._body is None:
            return self._model(**given).logits
        return self._body(**given).last_hidden_state

    def write(self, ids: Any, mask: Any, *, past: Any = None, **settings: Any) -> Any:
        """What `generate` of transformers returns; the most probable token each time, unless a logits processor says otherwise.

        `ids` hold the tokens of `past` too, padding may stand behind these.
        """
        given = {} if past is None else {"past_key_values": past}
        return self._model.generate(ids, attention_mask=mask, do_sample=False, num_beams=1, **given, **settings)

    def own_cache(self) -> Any:
        """The cache that the model makes by itself, after one token."""
        import torch

        ids = torch.zeros((1, 1), dtype=torch.long, device=self.device)
        return self._model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=True).past_key_values

    def logits(self, states: Any) -> Any:
        """Float32 logits of the next token, shape (positions, vocabulary), from states of shape (positions, width)."""
        return (states if self._head is None else self._head(states)).float()

    def _probe(self, spec: str, tolerance: float, length: int) -> int:
        """Test the parts on a text of tokens from all over the vocabulary; the number of logits."""
        import torch

        rows = int(self._model.get_input_embeddings().weight.shape[0])
        with torch.inference_mode():
            ids = torch.linspace(0, rows - 1, length, device=self.device).long()[None]
            mask = torch.ones_like(ids)
            whole = self._model(input_ids=ids, attention_mask=mask).logits.float()
            start = self._model(input_ids=ids[:, : length // 2], attention_mask=mask[:, : length // 2]).logits.float()
            limit = tolerance * float(whole.std())
            if float((whole[:, : length // 2] - start).abs().max()) > limit:
                raise ModelError(
                    f"model {spec}: {type(self._model).__name__} looks at later tokens, so that it has no probability of a "
                    "next token; take a causal language model"
                )
            body, head = self._model.base_model, self._model.get_output_embeddings()
            if body is not self._model and head is not None:
                states = getattr(body(input_ids=ids, attention_mask=mask), "last_hidden_state", None)
                if states is not None and states.shape[-1] == head.weight.shape[-1]:
                    made = head(states).float()
                    if made.shape == whole.shape and float((made - whole).abs().max()) <= limit:
                        self._body, self._head = body, head
        return int(whole.shape[-1])


def padded(
    texts: Sequence[Sequence[int]], padding: int, *, device: Any, left: bool = False, before: int = 0
) -> tuple[Any, Any]:
    """Token ids, shape (texts, longest), and the mask, shape (texts, before + longest): `before` tokens are in a cache."""
    import torch

    width = max(map(len, texts))
    gaps = [[padding] * (width - len(text)) for text in texts]
    pairs = list(zip(gaps, texts, strict=True))
    ids = [[*gap, *text] if left else [*text, *gap] for gap, text in pairs]
    mask = [[0] * len(gap) + [1] * len(text) if left else [1] * len(text) + [0] * len(gap) for gap, text in pairs]
    seen = torch.tensor([[1] * before + row for row in mask], device=device)
    return torch.tensor(ids, dtype=torch.long, device=device), seen


def load_causal_lm(
    transformers: Any, checkpoint: Checkpoint, folder: Path, device: str, *, dtype: str, longest: int
) -> CausalLM:
    """The language model of a folder, its weights in `dtype`.

    Raises
    ------
    ModelError
        Weights are missing, or the model is not causal.
    """
    model = load_weights(transformers.AutoModelForCausalLM, checkpoint, folder, device, dtype=dtype)
    return CausalLM(checkpoint.spec.text, model, dtype=dtype, longest=longest)
