"""Gaps in texts filled by encoder-decoders of the T5 family, as DetectGPT perturbs a text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.errors import ConfigError, ModelError
from assaymark.models.checkpoint import Checkpoint
from assaymark.models.content import text_keys
from assaymark.models.torch_adapter import (
    TorchAdapter,
    clean_text,
    import_transformers,
    load_tokenizer,
    load_weights,
    number_format,
)

if TYPE_CHECKING:
    from assaymark.models.opening import Loading

__all__ = ["SPAN", "NucleusDraws", "SpanFiller", "check_sampling", "fill", "gaps_of"]

VERSION = 1  # part of the fingerprint: grows when the same checkpoint would answer differently
SPAN = re.compile(r"<extra_id_(\d+)>")
_LONGEST = 150  # tokens of all fills of a text, as in the published code
_ATTEMPTS = 3  # of a version whose gaps are not all filled


class _Parts(NamedTuple):
    tokenizer: Any
    model: Any
    sentinels: dict[int, int]  # number of a gap to its token id


class _Version(NamedTuple):
    """One version that is to be made: of which text, with how many gaps, drawn from which generator."""

    text: int
    sample: int
    gaps: int
    generator: np.random.Generator


class SpanFiller(TorchAdapter):
    """Fills the gaps of masked texts (capability fills-spans).

    Options of the spec: `longest` (150), the tokens that may be said for all gaps of a text; `dtype`.

    Notes
    -----
    The procedure is that of the published code of DetectGPT: tokens are sampled until the sentinel behind the last gap, fills
    stand between sentinels and take the place of the gaps. That code samples among the 50 most probable tokens, the default
    of its library then: `top_k=50`, or 0 for all. It leaves unknown tokens in a fill; here they are left out. A version with
    too few fills is tried three times in all. Each attempt has a generator of its own, seeded by the seed, the masked text,
    and the numbers of sample and attempt.
    """

    def __init__(self, checkpoint: Checkpoint, loading: Loading) -> None:
        super().__init__(checkpoint, loading)
        checkpoint.spec.check_options(("longest", "dtype"))
        import_transformers("language", f"span filler {self.spec}")
        self._dtype, self._longest = number_format(checkpoint.spec), checkpoint.spec.integer("longest", _LONGEST)
        if self._longest < 2:
            raise ConfigError(f"model {self.spec}: longest={self._longest} must be at least 2")
        if loading.device != "cpu":
            self.at_once = loading.batch_size  # a GPU is quickest in full batches
        self.fingerprint = checkpoint.fingerprint(f"span-filler {VERSION} longest={self._longest} dtype={self._dtype}")

    def fill_spans(
        self,
        masked: Sequence[str],
        *,
        samples: int = 1,
        seed: int = 0,
        temperature: float = 1.0,
        top_p: float = 1.0,
        top_k: int = 50,
    ) -> list[list[str]]:
        """`samples` versions a text, "" where gaps stayed open; see `assaymark.models.protocols.FillsSpans`.

        Raises
        ------
        ValueError
            Gaps of a text are not numbered from 0 in their order, or a parameter is out of its range.
        ModelError
            More gaps than the vocabulary has sentinels for.
        """
        check_sampling(samples, temperature, top_p, top_k)
        texts = [clean_text(text) for text in masked]
        gaps = [gaps_of(text) for text in texts]
        filled = [[text if text.strip() else ""] * samples for text in texts]
        keys = [int.from_bytes(key, "big") for key in text_keys(texts)]
        wanted = [(row, sample) for row in range(len(texts)) if gaps[row] for sample in range(samples)]
        wanted.sort(key=lambda version: len(texts[version[0]]))
        for attempt in range(_ATTEMPTS):
            versions = [
                _Version(row, sample, gaps[row], np.random.default_rng([seed, keys[row], sample, attempt]))
                for row, sample in wanted
            ]
            for batch in self._batches(versions):
                said = self._say([texts[version.text] for version in batch], batch, temperature, top_p, top_k)
                for version, fills in zip(batch, said, strict=True):
                    filled[version.text][version.sample] = fill(texts[version.text], fills)
            wanted = [(row, sample) for row, sample in wanted if not filled[row][sample]]
        return filled

    def _say(
        self, texts: list[str], versions: Sequence[_Version], temperature: float, top_p: float, top_k: int
    ) -> list[list[str]]:
        """What the model puts into the gaps of each text."""
        import torch

        tokenizer, model, sentinels = self._loaded()
        gaps = [version.gaps for version in versions]
        if max(gaps) not in sentinels:
            raise ModelError(
                f"model {self.spec}: a text has {max(gaps)} gaps, and the vocabulary sentinels for {max(sentinels)}; mask "
                "fewer spans, or cut the text"
            )
        given = tokenizer(texts, padding=True, return_tensors="pt", verbose=False).to(model.device)
        draws = NucleusDraws([version.generator for version in versions], temperature, top_p, top_k)
        last = torch.tensor([sentinels[number] for number in gaps], device=model.device)

        def finished(ids: Any, scores: Any, **_: Any) -> Any:
            return ids[:, -1] == last

        with torch.inference_mode():
            tokens = model.generate(
                **{name: given[name] for name in ("input_ids", "attention_mask")},
                max_new_tokens=self._longest,
                do_sample=False,  # the draw is made in `NucleusDraws`
                num_beams=1,
                logits_processor=[draws],
                stopping_criteria=[finished],
            )
        return [
            _fills(tokenizer, row, set(sentinels.values()))[:number] for row, number in zip(tokens.tolist(), gaps, strict=True)
        ]

    def _load(self, folder: Path, device: str) -> _Parts:
        transformers = import_transformers("language", f"span filler {self.spec}")
        tokenizer = load_tokenizer(transformers, self._checkpoint, folder)
        vocabulary = tokenizer.get_vocab()
        found = {number: vocabulary.get(f"<extra_id_{number}>") for number in range(len(vocabulary))}
        sentinels: dict[int, int] = {}
        for number, token in found.items():
            if token is None:
                break
            sentinels[number] = token
        if len(sentinels) < 2:
            raise ModelError(f"model {self.spec}: its tokenizer has no <extra_id_0>, <extra_id_1>, ...; take a T5 model")
        model = load_weights(transformers.AutoModelForSeq2SeqLM, self._checkpoint, folder, device, dtype=self._dtype)
        model.generation_config.max_length = None  # else it is weighed against max_new_tokens, with a warning a batch
        return _Parts(tokenizer, model, sentinels)


class NucleusDraws:
    """Draws the next token of each row and leaves it as the only possible one (a logits processor for greedy search).

    Parameters
    ----------
    generators : sequence of numpy Generators
        One a row; each step takes one number from each.
    temperature, top_p, top_k
        The draw is from softmax(logits / temperature) on the `top_k` most probable tokens (0: all), and of these on the
        smallest set with probability `top_p` or more.

    Notes
    -----
    The kept tokens are put in the order of their ids before the distribution function is inverted: rounding may exchange
    neighbours in an order by probability, and would then change the draw.
    """

    def __init__(self, generators: Sequence[np.random.Generator], temperature: float, top_p: float, top_k: int) -> None:
        self._generators = generators
        self._temperature, self._top_p, self._top_k = temperature, top_p, top_k

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        import torch

        kept = min(self._top_k or scores.shape[1], scores.shape[1])
        logits, tokens = torch.topk(scores.double() / self._temperature, kept, dim=1)  # sorted, the largest first
        p = torch.softmax(logits, dim=1)
        p = p * (p.cumsum(dim=1) - p < self._top_p)
        tokens, order = tokens.sort(dim=1)
        below = p.gather(1, order).cumsum(dim=1)
        drawn: npt.NDArray[np.float64] = np.array([[generator.random()] for generator in self._generators])
        places = torch.as_tensor(drawn, device=scores.device) * below[:, -1:]
        chosen = tokens.gather(1, torch.searchsorted(below, places, right=True).clamp_(max=kept - 1))
        return torch.full_like(scores, -torch.inf).scatter_(1, chosen, 0.0)


def check_sampling(samples: int, temperature: float, top_p: float, top_k: int) -> None:
    """Refuse parameters of a draw that are out of their range."""
    if samples < 1 or temperature <= 0 or not 0 < top_p <= 1 or top_k < 0:
        raise ValueError(
            "samples must be at least 1, temperature over 0, top_p in (0, 1] and top_k at least 0, not "
            f"{samples}, {temperature:g}, {top_p:g} and {top_k}"
        )


def gaps_of(masked: str) -> int:
    """Number of gaps of a masked text; they must be numbered from 0 in their order."""
    numbers = [int(number) for number in SPAN.findall(masked)]
    if numbers != list(range(len(numbers))):
        raise ValueError(f"gaps must be numbered <extra_id_0>, <extra_id_1>, ... in their order, not {numbers[:20]}")
    return len(numbers)


def fill(masked: str, fills: Sequence[str]) -> str:
    """The text with `fills` in its gaps; "" where there are fewer fills than gaps."""
    if len(fills) < gaps_of(masked):
        return ""
    return SPAN.sub(lambda gap: fills[int(gap[1])], masked)


def _fills(tokenizer: Any, tokens: list[int], sentinels: set[int]) -> list[str]:
    """What stands between the first two sentinels, the next two, ...: whatever their numbers, as in the published code."""
    places = [place for place, token in enumerate(tokens) if token in sentinels]
    spans = [tokens[start + 1 : stop] for start, stop in pairwise(places)]
    return [str(tokenizer.decode(span, skip_special_tokens=True)).strip() for span in spans]
