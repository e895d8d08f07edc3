"""Prompts of text generators: flat texts and messages, each as the other where a model takes only one of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from assaymark.models.protocols import Continued, Prompt

__all__ = [
    "cut_at_stop",
    "draw_seed",
    "flat_text",
    "messages_of",
    "validate_continuations",
    "validate_prompts",
    "validate_request",
]


def messages_of(prompt: Prompt) -> list[dict[str, str]]:
    """Messages as plain dictionaries; a flat prompt is one message of the user."""
    if isinstance(prompt, str):
        return [{"role": "user", "content": prompt}]
    return [{"role": message["role"], "content": message["content"]} for message in prompt]


def flat_text(prompt: Prompt) -> str:
    """A flat prompt as it is; messages as paragraphs "role: content", then the name of the role that is to answer."""
    if isinstance(prompt, str):
        return prompt
    return "\n\n".join([*(f"{message['role']}: {message['content']}" for message in prompt), "assistant:"])


def cut_at_stop(text: str, stop: Sequence[str]) -> str:
    """The text before the first occurrence of any stop text."""
    places = [place for place in (text.find(ending) for ending in stop) if place >= 0]
    return text[: min(places)] if places else text


def draw_seed(key: bytes, sample: int, seed: int) -> list[int]:
    """Entropy of a generator that depends on the content of a prompt, the number of the sample, and a seed."""
    return [seed, int.from_bytes(key, "big"), sample]


def validate_request(
    prompts: Sequence[Prompt], *, samples: int, temperature: float, top_p: float, max_tokens: int, stop: Sequence[str]
) -> None:
    """Refuse parameters and prompts that no generator can answer.

    Raises
    ------
    ValueError
    """
    if samples < 1 or max_tokens < 1 or not temperature >= 0 or not 0 < top_p <= 1:
        raise ValueError(
            f"samples={samples} and max_tokens={max_tokens} must be at least 1, temperature={temperature} at least 0 and "
            f"top_p={top_p} in (0, 1]"
        )
    if isinstance(stop, str) or not all(stop):
        raise ValueError("stop must be a list of texts that are not empty")
    validate_prompts(prompts)


def validate_continuations(items: Sequence[Continued]) -> None:
    """Refuse items that are not pairs of a prompt and a text.

    Raises
    ------
    ValueError
    """
    if isinstance(items, str) or not all(isinstance(item, tuple | list) and len(item) == 2 for item in items):
        raise ValueError("items must be a list of pairs of a prompt and its continuation")
    if not all(isinstance(continuation, str) for _, continuation in items):
        raise ValueError("a continuation is a text")
    validate_prompts([prompt for prompt, _ in items])


def validate_prompts(prompts: Sequence[Prompt]) -> None:
    """Refuse what is no list of prompts.

    Raises
    ------
    ValueError
    """
    if isinstance(prompts, str):
        raise ValueError("prompts must be a list of prompts, not a single text")
    for prompt in prompts:
        if not isinstance(prompt, str) and not (prompt and all(map(_is_message, prompt))):
            raise ValueError(
                'a prompt is a text, or a list of messages {"role": ..., "content": ...} with at least one of them'
            )


def _is_message(message: object) -> bool:
    return (
        isinstance(message, Mapping)
        and set(message) == {"role", "content"}
        and all(isinstance(value, str) for value in message.values())
    )
