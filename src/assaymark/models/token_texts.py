"""What each token of a vocabulary adds to a text, so that a text can be written token by token outside of a model.

A token may hold a part of a character. Its bytes then stand in the text as lone surrogates (those of Python's error handler
`surrogateescape`), until the tokens that follow complete the character: `mended` puts the bytes together.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, NamedTuple

__all__ = ["END_TEXT", "Mended", "byte_tokens", "mended", "token_texts"]

END_TEXT = "\n"
"""What a token that ends a text adds to it: texts that are written on end with their line."""

_LOST = "\ufffd"  # what tokenizers make of bytes that are no character
_BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")  # a byte as sentencepiece writes it
_FOREIGN = re.compile("[\ud800-\udc7f\udd00-\udfff]")  # lone surrogates that are no bytes


class Mended(NamedTuple):
    """A text without lone surrogates, and the bytes behind it that only begin a character."""

    text: str
    pending: bytes


def mended(text: str) -> Mended:
    r"""Put the bytes of characters together; what is no character becomes a question mark or U+FFFD.

    Examples
    --------
    >>> mended("caf\udcc3\udca9 \udcc3")
    Mended(text='café ', pending=b'\xc3')
    """
    raw = _FOREIGN.sub("?", text).encode("utf-8", "surrogateescape")
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    whole = decoder.decode(raw)
    return Mended(whole, decoder.getstate()[0])


def token_texts(tokenizer: Any, *, size: int, ends: Iterable[int]) -> tuple[str, ...]:
    """Text of each token behind another one, shape (size,).

    Parameters
    ----------
    tokenizer
        Of transformers.
    size : int
        Predictions of the model; beyond the tokenizer's vocabulary they have no text.
    ends : iterable of int
        Tokens that end a text: they add `END_TEXT`.

    Returns
    -------
    tuple of str
        Joined they are the text of the tokens, up to a blank before the first word. Special tokens that end nothing add
        nothing.

    Notes
    -----
    A tokenizer is asked for the text of a pair of tokens, from which that of the first one is taken off: decoded alone many
    tokens lose the blank they begin with. O(size).
    """
    known = min(size, 1 + max(tokenizer.get_vocab().values()))  # some vocabularies have holes
    special = {*tokenizer.all_special_ids, *ends}
    anchor = _anchor(tokenizer, known, special)
    head = _decoded(tokenizer, anchor)[0]
    pairs = _decoded(tokenizer, *([*anchor, token] for token in range(known)))
    names = tokenizer.convert_ids_to_tokens(list(range(known)))
    texts = [
        "" if token in special else _added(pair, head, name)
        for token, (pair, name) in enumerate(zip(pairs, names, strict=True))
    ] + [""] * (size - known)
    for token in ends:
        if token < size:
            texts[token] = END_TEXT
    return tuple(texts)


def byte_tokens(texts: Iterable[str]) -> dict[int, int]:
    """Token of each byte that is no character by itself, for vocabularies that have such tokens."""
    single = ((token, ord(text) - 0xDC00) for token, text in enumerate(texts) if len(text) == 1 and _is_byte(text))
    return {byte: token for token, byte in reversed(list(single))}


def _decoded(tokenizer: Any, *tokens: list[int]) -> list[str]:
    return list(tokenizer.batch_decode(list(tokens), skip_special_tokens=True, clean_up_tokenization_spaces=False))


def _anchor(tokenizer: Any, known: int, special: set[int]) -> list[int]:
    """A token that stands as a word of its own, before which nothing is needed; none, if there is no such token."""
    for token in range(known):
        if token not in special and _decoded(tokenizer, [token])[0].strip(" \ufffd").isalnum():
            return [token]
    return []


def _added(pair: str, head: str, name: str | None) -> str:
    """What a token adds, by the text behind the anchor; by its name, where it is a part of a character."""
    text = pair[len(head) :] if pair.startswith(head) else pair
    if _LOST not in text or name is None:
        return text
    stated = _BYTE.fullmatch(name)
    if stated:
        return bytes([int(stated[1], 16)]).decode("utf-8", "surrogateescape")
    alphabet = _byte_alphabet()
    if all(sign in alphabet for sign in name):
        return bytes(alphabet[sign] for sign in name).decode("utf-8", "surrogateescape")
    return text


def _is_byte(text: str) -> bool:
    return 0xDC80 <= ord(text) <= 0xDCFF


@lru_cache(maxsize=1)
def _byte_alphabet() -> dict[str, int]:
    """Byte of each sign of byte-level vocabularies: printable Latin-1 stands for itself, the rest follows from U+0100 on."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    rest = [byte for byte in range(256) if byte not in set(plain)]
    return {chr(byte): byte for byte in plain} | {chr(0x100 + place): byte for place, byte in enumerate(rest)}
