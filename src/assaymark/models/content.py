"""Content keys: what the cache files a text, an image, an embedding or a question to a language model under.

A key depends on what the model is shown and on nothing else (not on the path, the row or the file's compression), so that
a moved or re-encoded data set is not computed again. 128 bits of BLAKE2b: 10^10 items collide with probability 10^-19.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["KEYS", "continuation_keys", "embedding_keys", "image_keys", "prompt_keys", "text_keys"]

_BYTES = 16


def text_keys(texts: Sequence[str | None]) -> list[bytes]:
    """Hash of the UTF-8 form; a missing text counts as the empty one, lone surrogates are kept apart."""
    return [blake2b((text or "").encode("utf-8", "surrogatepass"), digest_size=_BYTES).digest() for text in texts]


def image_keys(images: Sequence[Image]) -> list[bytes]:
    """Hash of mode, size and decoded pixels."""
    return [_image_key(image) for image in images]


def _image_key(image: Image) -> bytes:
    if image.mode in ("P", "PA"):
        image = image.convert("RGBA")  # indices mean nothing without their palette
    state = blake2b(f"{image.mode} {image.size[0]}x{image.size[1]} ".encode(), digest_size=_BYTES)
    state.update(image.tobytes())
    return state.digest()


def embedding_keys(embeddings: npt.NDArray[np.float32]) -> list[bytes]:
    """Hash of each row, as float32; shape (n, dimension)."""
    rows = np.ascontiguousarray(embeddings, dtype=np.float32)
    return [blake2b(row.tobytes(), digest_size=_BYTES).digest() for row in rows]


def prompt_keys(prompts: Sequence[str | Sequence[Mapping[str, str]]]) -> list[bytes]:
    """Hash of a flat prompt as that of its text, of messages as that of their JSON; never equal for the two kinds."""
    return [text_keys([prompt])[0] if isinstance(prompt, str) else _messages_key(prompt) for prompt in prompts]


def _messages_key(messages: Sequence[Mapping[str, str]]) -> bytes:
    canonical = json.dumps([dict(message) for message in messages], sort_keys=True, separators=(",", ":"))
    return blake2b(canonical.encode(), digest_size=_BYTES, person=b"messages").digest()


def continuation_keys(items: Sequence[tuple[str | Sequence[Mapping[str, str]], str]]) -> list[bytes]:
    """Hash of the prompt's key and the continuation's: where the border lies counts."""
    prompts = prompt_keys([prompt for prompt, _ in items])
    said = text_keys([continuation for _, continuation in items])
    pairs = (before + after for before, after in zip(prompts, said, strict=True))
    return [blake2b(pair, digest_size=_BYTES, person=b"continuation").digest() for pair in pairs]


KEYS: dict[str, Callable[[Any], list[bytes]]] = {
    "text": text_keys,
    "image": image_keys,
    "embedding": embedding_keys,
    "prompt": prompt_keys,
    "continuation": continuation_keys,
}
"""Kind of content to its key function."""
