"""Tokens of prompts and of what follows them, for causal language models in the transformers layout."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from assaymark.models.chat_prompts import flat_text, messages_of
from assaymark.models.checkpoint import Checkpoint
from assaymark.models.protocols import Prompt
from assaymark.models.shared_prefixes import common_length
from assaymark.models.token_texts import byte_tokens, mended, token_texts
from assaymark.models.torch_adapter import clean_text

__all__ = ["Followed", "PromptTokens", "context_length", "has_template", "stated_ends"]

_NO_LIMIT = 10**6  # tokenizers without a limit state 10^30


class Followed(NamedTuple):
    """A prompt with its continuation: all tokens, and how many of them are given."""

    tokens: list[int]
    given: int


class PromptTokens:
    """Token ids of prompts, with and without a continuation.

    Messages go through the chat template, which writes the special tokens itself; without one they are joined into a text. What
    a tokenizer puts behind a text is left off, since the text goes on. A prompt without any token is the start token.

    Parameters
    ----------
    ends : tuple of int
        Tokens that end a text, those of the tokenizer itself excepted.
    start : int, optional
        The model's start token, for tokenizers that have none.
    """

    def __init__(self, tokenizer: Any, *, ends: tuple[int, ...] = (), start: int | None = None) -> None:
        own = tokenizer.eos_token_id
        self.tokenizer = tokenizer
        self.ends = tuple(sorted({*ends, *([own] if own is not None else [])}))
        starts = (tokenizer.bos_token_id, start, *self.ends, 0)
        self._start = next(token for token in starts if token is not None)
        self._texts: tuple[str, ...] = ()
        self.padding = self.ends[0] if self.ends else 0  # masked wherever it stands

    def of(self, prompt: Prompt) -> list[int]:
        """Tokens of a prompt; at least one."""
        return self._encoded(*self._written(prompt)) or [self._start]

    def texts(self, size: int) -> tuple[str, ...]:
        """What each of the `size` tokens of the model adds to a text (see `token_texts`); worked out once."""
        if len(self._texts) != size:
            self._texts = token_texts(self.tokenizer, size=size, ends=self.ends)
        return self._texts

    def within_character(self, prompt: Prompt, *, size: int) -> list[int]:
        """Tokens of a prompt that may end within a character; bytes without a token of their own are left off."""
        if not isinstance(prompt, str):
            return self.of([{name: mended(value).text for name, value in message.items()} for message in prompt])
        text, pending = mended(prompt)
        known = byte_tokens(self.texts(size)) if pending else {}
        return [*self.of(text), *(known[byte] for byte in pending if byte in known)]

    def followed(self, prompt: Prompt, continuation: str) -> Followed:
        """Tokens of a prompt that goes on; given is the longest common prefix of these and those of the prompt alone.

        Where nothing is common, the start token is put before, so that every token has something that it follows.
        """
        text, special = self._written(prompt)
        before, whole = self._encoded(text, special), self._encoded(text + clean_text(continuation), special)
        given = common_length(before, whole)
        return Followed(whole, given) if given else Followed([self._start, *whole], 1)

    def said(self, before: Sequence[int], after: Sequence[int]) -> str:
        """The text of new tokens as it follows the prompt: decoded alone they may lose the space they begin with."""
        settings = {"skip_special_tokens": True, "clean_up_tokenization_spaces": False}
        head, whole = (self.tokenizer.decode(tokens, **settings) for tokens in (list(before), [*before, *after]))
        return str(whole[len(head) :] if whole.startswith(head) else self.tokenizer.decode(list(after), **settings))

    def before_end(self, tokens: list[int]) -> list[int]:
        """Tokens before the first that ends a text."""
        end = next((place for place, token in enumerate(tokens) if token in self.ends), len(tokens))
        return tokens[:end]

    def _written(self, prompt: Prompt) -> tuple[str, bool]:
        """The text of a prompt, and whether special tokens are still to be added."""
        if isinstance(prompt, str) or not self.tokenizer.chat_template:
            return clean_text(flat_text(prompt)), True
        messages = [{name: clean_text(value) for name, value in message.items()} for message in messages_of(prompt)]
        return str(self.tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)), False

    def _encoded(self, text: str, special: bool) -> list[int]:
        coded = self.tokenizer(text, add_special_tokens=special, return_special_tokens_mask=True, verbose=False)
        tokens, added = list(coded["input_ids"]), list(coded["special_tokens_mask"])
        # Only what the tokenizer added behind the text: a text may end in a special token of its own.
        while tokens and special and added[len(tokens) - 1] and tokens[-1] in self.ends:
            tokens.pop()
        return tokens


def stated_ends(checkpoint: Checkpoint) -> tuple[int, ...]:
    """End tokens of generation_config.json and config.json: chat models have several."""
    try:
        stated = json.loads((checkpoint.folder / "generation_config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        stated = {}
    found = [config.get("eos_token_id") for config in (stated, checkpoint.config) if isinstance(config, dict)]
    tokens = [token for entry in found for token in (entry if isinstance(entry, list) else [entry])]
    return tuple(sorted({token for token in tokens if isinstance(token, int)}))


def has_template(folder: Path) -> bool:
    """Whether a model comes with a chat template."""
    try:
        stated = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        stated = {}
    return bool(stated.get("chat_template")) or (folder / "chat_template.jinja").is_file()


def context_length(tokenizer: Any, config: Any) -> int:
    """Tokens that the model sees: what its positions allow, else what its tokenizer states."""
    positions = getattr(config, "max_position_embeddings", None)
    return int(positions or min(tokenizer.model_max_length, _NO_LIMIT))
