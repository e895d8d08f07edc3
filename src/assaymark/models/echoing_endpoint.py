"""`openai:MODEL@BASE_URL?scores=echo` - continuations scored by servers whose completions endpoint echoes a prompt (vLLM)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import accumulate
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.errors import ConfigError, EndpointError
from assaymark.models.chat_prompts import flat_text, validate_continuations
from assaymark.models.endpoint_settings import described
from assaymark.models.openai_endpoint import OpenAIEndpoint, Withheld
from assaymark.models.protocols import CONTINUATION_COLUMNS, Continued
from assaymark.models.retrying import Transient, answer_all
from assaymark.models.shared_prefixes import common_length
from assaymark.models.spec import ModelSpec

if TYPE_CHECKING:
    from assaymark.models.opening import Loading

__all__ = ["Echo", "EchoingEndpoint", "open_openai"]

_UNSCORED = (float("nan"), float("nan"))
_MEND = "; where completions echo no log-probabilities, leave out scores=echo"


def open_openai(spec: ModelSpec, loading: Loading | None = None) -> OpenAIEndpoint:
    """The endpoint of a spec; without `scores=echo` it writes texts, and scores none."""
    stated = spec.options.get("scores")
    if stated not in (None, "echo"):
        raise ConfigError(f"model {spec.text}: scores={stated!r} must be echo, or left out")
    return OpenAIEndpoint(spec, loading) if stated is None else EchoingEndpoint(spec, loading)


class Echo(NamedTuple):
    """A text as a server read it, and what it wrote behind it.

    Attributes
    ----------
    tokens : list of str
    log_p : list of float or None
        Natural logarithms; None for the first token, which follows nothing.
    offsets : list of int
        Where each token begins, in characters.
    read : int
        How many of the tokens are those of the text.
    """

    tokens: list[str]
    log_p: list[float | None]
    offsets: list[int]
    read: int

    def behind(self, prompt: str, text: str) -> range | None:
        """Places of the tokens that end behind a prompt, where the echoed text goes on; None where the server hides them.

        Offsets are trusted where the tokens spell the text (some servers count the start token in), or where they are no mere
        sum of the lengths of the tokens: those of broken characters are wrong. An empty token is the beginning of a character.
        """
        sums = [0, *accumulate(map(len, self.tokens))]
        spelt = "".join(self.tokens)
        shift = next((start for start in sums[:-1] if spelt.startswith(text, start)), None)
        if shift is None and self.offsets == sums[:-1]:
            return None
        starts = [place - shift for place in sums] if shift is not None else [*self.offsets, len(spelt)]
        places = range(len(self.tokens))
        ends = [max(starts[place + 1], starts[place]) for place in places]
        mine = [p for p in places if 0 <= starts[p] < len(text) and (starts[p] >= len(prompt) or ends[p] > len(prompt))]
        if mine and self.log_p[mine[0]] is None and not self.tokens[mine[0]]:
            mine = mine[1:]  # a start token that is written as nothing
        return range(mine[0], mine[-1] + 1) if mine else range(0)


class EchoingEndpoint(OpenAIEndpoint):
    """A remote model that writes texts, and says how probable it finds given ones (also scores-continuations).

    The prompt with its continuation goes to the completions endpoint with `echo`, `logprobs` and a limit of one token, and what
    ends behind the prompt is the continuation. Where a server's offsets cannot tell (characters of several tokens), the prompt
    is echoed too, and the tokens behind what both have in common count. Messages are joined into one text: the server's chat
    template is not to be had there.
    """

    def __init__(self, spec: ModelSpec, loading: Loading | None = None) -> None:
        super().__init__(spec, loading)
        joined = (f"{self._where}: where continuations are scored, messages are joined into one text, without a chat template",)
        self.notes += joined if self._chat else ()

    def score_continuations(self, items: Sequence[Continued]) -> npt.NDArray[np.float32]:
        """Shape (n, 2); see `assaymark.models.protocols.ScoresContinuations`.

        A row is NaN too where the continuation holds the first token of all, of which servers say nothing, and where a content
        filter withheld the answer.

        Raises
        ------
        ModelError
            No key.
        EndpointError
            The service refused, echoes nothing, or gave no usable answer after all retries; what it answered before is in
            `finished`.
        """
        validate_continuations(items)
        if not items:
            return np.empty((0, len(CONTINUATION_COLUMNS)), dtype=np.float32)
        self._client()
        ask = partial(self._score, {})
        return np.array(answer_all(ask, list(items), concurrency=self._settings.concurrency), dtype=np.float32)

    def _score(self, prompts: dict[str, Echo], item: Continued) -> tuple[float, float]:
        """Log-likelihood and tokens of one continuation; `prompts` holds the echoes of prompts that were needed."""
        prompt, continuation = flat_text(item[0]), item[1]
        if not continuation:
            return _UNSCORED
        try:
            whole = self._echo(prompt + continuation)
            mine = whole.behind(prompt, prompt + continuation)
            if mine is None:
                if prompt and prompt not in prompts:
                    prompts[prompt] = self._echo(prompt)
                mine = range(_shared(prompts[prompt], whole) if prompt else 0, whole.read)
        except Withheld:
            return _UNSCORED
        log_p = [value for value in whole.log_p[mine.start : mine.stop] if value is not None]
        return (float(np.sum(log_p)), len(mine)) if mine and len(log_p) == len(mine) else _UNSCORED

    def _echo(self, text: str) -> Echo:
        # Some servers refuse a limit of 0 tokens; what they write is left off.
        request = {"model": self._model, "prompt": text, "echo": True, "logprobs": 1, "max_tokens": 1, "temperature": 0}
        return self._settings.retrying(partial(self._echoed, request), endpoint=self._where)

    def _echoed(self, request: dict[str, Any]) -> Echo:
        """The echo in one reply."""
        answer = self._answer(request, chat=False, mend=_MEND)
        choices = answer.get("choices") if isinstance(answer, dict) else None
        choice = choices[0] if isinstance(choices, list) and choices else None
        if not isinstance(choice, dict) or not isinstance(choice.get("text"), str):
            raise Transient(f"its reply holds no list of choices with texts, but is {described(answer)}")
        said = choice.get("logprobs")
        echo = _echo_of(said, answer.get("usage"))
        if echo is None and isinstance(said, dict) and "tokens" in said:
            raise Transient(f"its log-probabilities have another form, {described(said)}")
        if echo is None or len(echo.tokens) < echo.read or request["prompt"] not in choice["text"]:
            raise EndpointError(f"{self._where} echoes no log-probabilities of a prompt; leave out scores=echo")
        self._count(answer.get("usage"))
        return echo


def _shared(first: Echo, second: Echo) -> int:
    """Tokens that two echoes begin with alike."""
    numbers = {token: number for number, token in enumerate(dict.fromkeys([*first.tokens, *second.tokens]))}
    begins = ([numbers[token] for token in echo.tokens[: echo.read]] for echo in (first, second))
    return common_length(*begins)


def _echo_of(said: Any, usage: Any) -> Echo | None:
    """Log-probabilities as the protocol has them; None where they have another form."""
    if not isinstance(said, dict):
        return None
    columns: list[Any] = [said.get(name) for name in ("tokens", "token_logprobs", "text_offset")]
    tokens, log_p, offsets = columns
    kinds: tuple[tuple[Any, Any], ...] = ((tokens, str), (log_p, int | float | None), (offsets, int))
    if not all(isinstance(column, list) and all(isinstance(value, kind) for value in column) for column, kind in kinds):
        return None
    if not len(tokens) == len(log_p) == len(offsets) > 0:
        return None
    stated = usage.get("prompt_tokens") if isinstance(usage, dict) else None
    read = stated if isinstance(stated, int) else max(1, len(tokens) - 1)
    return Echo(tokens, log_p, offsets, read)
