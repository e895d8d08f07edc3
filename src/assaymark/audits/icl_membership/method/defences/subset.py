"""Data defence: each query sees k' of the k demonstrations.

References
----------
.. [1] Wen, R. et al. (2024). Membership inference attacks against in-context learning. CCS; arXiv:2409.01380.
.. [2] Jia, J. et al. (2019). MemGuard. CCS (noise is drawn once for each query, so that it cannot be averaged
   away).
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

import numpy as np

from assaymark.audits.icl_membership.method.defences.records import Change, DataDefence
from assaymark.audits.icl_membership.method.prompts import Demonstration
from assaymark.audits.icl_membership.method.words import words_of

__all__ = ["query_generator", "subset"]


def query_generator(query: str, *, key: bytes) -> np.random.Generator:
    """Random numbers that depend on the words of a query and a secret of the operator alone.

    Parameters
    ----------
    query : str
        Case, punctuation and blanks do not matter: with them an attacker would get as many draws as it likes for one question.
    key : bytes, at most 64
        Kept from users: whoever knows it knows which demonstrations each query sees.
    """
    digest = blake2b(" ".join(words_of(query)).encode(), key=key, digest_size=16).digest()
    return np.random.default_rng(int.from_bytes(digest, "big"))


def subset(demonstrations: Sequence[Demonstration], *, keep: int, rng: np.random.Generator) -> DataDefence:
    """`keep` of the demonstrations at random, in their order.

    Parameters
    ----------
    demonstrations : sequence of (text, label), k of them
    keep : int in [1, k]
    rng : numpy.random.Generator
        `query_generator(query, key=...)`: the same query always sees the same demonstrations, so that asking again tells
        nothing new. A generator that runs on: each query is an own draw; m repetitions see a given demonstration at least
        once with probability 1 - (1 - keep / k)^m, which tends to 1, so that averaging undoes the defence.

    Returns
    -------
    DataDefence

    Notes
    -----
    Source: sub-sampling of the data defences of [1]; drawing by content after [2]. Guarantee: none: a demonstration that is
    drawn leaks as before. Cost: no model call, but the prompt prefix changes from query to query, so that its keys and values
    cannot be reused. Does not stop: rephrased queries, which are new draws with either generator; Brainwash, whose queries
    for j = 0, 1, ... are so many draws.

    Examples
    --------
    >>> demonstrations = [("a", "A"), ("b", "B"), ("c", "A"), ("d", "B")]
    >>> one, two = (subset(demonstrations, keep=2, rng=query_generator(q, key=b"k")) for q in ("What is it?", "what is IT"))
    >>> one.demonstrations == two.demonstrations, len(one.demonstrations)
    (True, 2)
    """
    count = len(demonstrations)
    if not 1 <= keep <= count:
        raise ValueError(f"keep = {keep} of {count} demonstrations: it lies between 1 and {count}")
    chosen = np.zeros(count, dtype=np.bool_)
    chosen[rng.choice(count, size=keep, replace=False)] = True
    changes = tuple(
        Change(i, "kept" if stays else "left out", None, "" if stays else "not drawn")
        for i, stays in enumerate(chosen.tolist())
    )
    return DataDefence(tuple(d for d, stays in zip(demonstrations, chosen.tolist(), strict=True) if stays), changes)
