"""What happens between the logits and the text: draws from the nucleus, and where a text stops."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

__all__ = ["NucleusNoise", "StopTexts"]

_SPARE = 4  # tokens around a stop text that may hold parts of it


class NucleusNoise:
    """Logits / temperature within the nucleus, plus Gumbel noise: the largest is a draw from what is left of the softmax.

    The nucleus is the smallest set of most probable words whose probabilities reach `top_p` (Holtzman et al., "The curious case
    of neural text degeneration", ICLR 2020, eq. 3).

    Parameters
    ----------
    generators : sequence of numpy Generators
        One a row of the batch; each step draws one number a word from each.
    """

    def __init__(self, generators: Sequence[np.random.Generator], temperature: float, top_p: float) -> None:
        self._generators, self._temperature, self._top_p = generators, temperature, top_p

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        """Noisy scores, shape (batch, words), minus infinity outside the nucleus; O(words log words) a row."""
        import torch

        scaled = scores.float() / self._temperature
        if self._top_p < 1:
            ordered, words = torch.softmax(scaled, dim=-1).sort(dim=-1, descending=True, stable=True)
            outside = ordered.cumsum(dim=-1) - ordered >= self._top_p  # the first word stays: nothing comes before it
            scaled = scaled.masked_fill(torch.zeros_like(outside).scatter(-1, words, outside), -torch.inf)
        # -log of an exponential variable is a Gumbel variable.
        drawn = np.stack([rng.standard_exponential(scores.shape[-1], dtype=np.float32) for rng in self._generators])
        return scaled - torch.tensor(drawn, device=scores.device).log()


class StopTexts:
    """Tells `generate` which rows have said a stop text. Only the last tokens are read, so that each step costs the same.

    It may overlook one that is spread over very many tokens, which costs time only: the finished text is cut in any case.
    """

    def __init__(self, tokenizer: Any, stop: tuple[str, ...], width: int) -> None:
        self._tokenizer, self._stop, self._width = tokenizer, stop, width
        self._tail = max(len(text.encode()) for text in stop) + _SPARE

    def __call__(self, input_ids: Any, scores: Any, **_: Any) -> Any:
        import torch

        tails = input_ids[:, self._width :][:, -self._tail :].tolist()
        texts = self._tokenizer.batch_decode(tails, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        said = [any(ending in text for ending in self._stop) for text in texts]
        return torch.tensor(said, dtype=torch.bool, device=input_ids.device)
