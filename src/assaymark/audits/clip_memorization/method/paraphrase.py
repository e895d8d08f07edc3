"""Further wordings of a caption by rules, for captions that have no second one: no language model, the same every time."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from hashlib import blake2b

__all__ = ["ADJECTIVES", "SYNONYMS", "Paraphraser", "rule_paraphrases"]

Paraphraser = Callable[[Sequence[str]], list[list[str]]]
"""Captions to further wordings of each; a language model behind the same signature may take the place of the rules."""

SYNONYMS: dict[str, tuple[str, ...]] = {
    "photo": ("picture", "image"),
    "picture": ("photo", "image"),
    "image": ("picture", "photo"),
    "big": ("large",),
    "large": ("big",),
    "small": ("little",),
    "little": ("small",),
    "happy": ("glad", "cheerful"),
    "sad": ("unhappy",),
    "face": ("visage",),
    "man": ("guy",),
    "woman": ("lady",),
    "child": ("kid",),
    "kid": ("child",),
    "dog": ("hound",),
    "cat": ("kitty",),
    "car": ("automobile",),
    "bike": ("bicycle",),
    "bicycle": ("bike",),
    "street": ("road",),
    "road": ("street",),
    "house": ("home",),
    "boat": ("ship",),
    "ship": ("boat",),
    "sitting": ("seated",),
    "near": ("close to", "beside"),
    "beside": ("near",),
    "couch": ("sofa",),
    "sofa": ("couch",),
    "phone": ("telephone",),
    "tv": ("television",),
}
"""Words to others that mean about the same in a caption."""

_COLOURS = ("red", "green", "blue", "yellow", "orange", "purple", "pink", "brown", "white", "grey", "gray", "black")
_SIZES = ("big", "large", "small", "little", "tiny", "huge", "long", "short", "tall")
_STATES = ("old", "new", "young", "beautiful", "cute", "happy", "sad", "bright", "dark", "wooden", "round", "square")
ADJECTIVES = frozenset((*_COLOURS, *_SIZES, *_STATES))
"""Words that a wording may leave out."""

_WORD = re.compile(r"\w+|\W+")
_JOINT = re.compile(r"\s*(?:,|;| and )\s*")


def rule_paraphrases(captions: Sequence[str], *, count: int = 4, seed: int = 0) -> list[list[str]]:
    """At most `count` further wordings of each caption: synonyms, another order of its parts, an adjective left out.

    Parameters
    ----------
    captions : sequence of str
    count : int
    seed : int

    Returns
    -------
    list of lists of str
        Distinct, none equal to its caption; fewer, or none, where the rules find nothing to change. A wording depends on its
        caption and the seed alone.

    Notes
    -----
    The vocabulary is small and English. The rules keep the meaning; they are no measure of how people would word it.
    """
    return [_wordings(caption, count, seed) for caption in captions]


def _wordings(caption: str, count: int, seed: int) -> list[str]:
    found: dict[str, None] = {}
    for draw in range(8 * count):
        if len(found) == count:
            break
        digest = blake2b(f"{seed} {draw} {caption}".encode("utf-8", "replace"), digest_size=8).digest()
        wording = _reworded(caption, int.from_bytes(digest, "big"))
        if wording and wording != caption:
            found[wording] = None
    return list(found)


def _reworded(caption: str, bits: int) -> str:
    """One wording; the bits decide which rules are applied where."""
    words = _WORD.findall(caption)
    for at, word in enumerate(words):
        options = SYNONYMS.get(word.lower(), ())
        if options and bits & 1:
            words[at] = options[(bits >> 1) % len(options)]
        elif word.lower() in ADJECTIVES and bits & 6 == 6:
            words[at] = ""
        bits = (bits >> 3) | ((bits & 7) << 61)
    text = re.sub(r"\s{2,}", " ", "".join(words)).strip()
    parts = _JOINT.split(text)
    if len(parts) > 1 and bits & 1:
        turn = 1 + (bits >> 1) % (len(parts) - 1)
        text = " and ".join([*parts[turn:], *parts[:turn]])
    return text
