"""Rows that concern a data subject: exact URL, domain, name, content hash, near perceptual hash."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from assaymark.audits.image_text_dataset.probes.sample import perceptual_hashes
from assaymark.audits.image_text_dataset.probes.vocabulary import normalised
from assaymark.data.lexicon import Lexicon, Matcher, Term
from assaymark.data.probe import Batch, Probe
from assaymark.errors import ConfigError

__all__ = ["KINDS", "FindProbe", "Matches", "Wanted", "parse_wanted"]

Ints = npt.NDArray[np.int64]
KINDS = ("url", "domain", "name", "sha256", "md5", "phash", "image")
CONCEPT = {"url": "url", "domain": "url", "name": "text", "sha256": "sha256", "md5": "md5", "phash": "phash"}


class Wanted(NamedTuple):
    kind: str
    value: str


class Matches(NamedTuple):
    """Every matching (row, request) pair; the list is the removal manifest, so it is not cut."""

    shard: Ints
    row: Ints
    request: Ints  # index into the requests


def parse_wanted(requests: Sequence[str]) -> tuple[Wanted, ...]:
    """`domain=example.org` and the like.

    Raises
    ------
    ConfigError
        For a request without a known kind or value, a perceptual hash of another form, or a picture that is not there.
    """
    wanted = []
    for request in requests:
        kind, _, value = request.partition("=")
        if kind.strip() not in KINDS or not value.strip():
            raise ConfigError(f"setting 'find': {request!r} is not KIND=VALUE with KIND one of {', '.join(KINDS)}")
        wanted.append(Wanted(kind.strip(), value.strip()))
        _check(wanted[-1], request)
    return tuple(wanted)


def _check(wanted: Wanted, request: str) -> None:
    """A hash of the wrong length would be searched for in vain, and a picture that is missing only after the whole pass."""
    digits = {"sha256": 64, "md5": 32, "phash": 16}.get(wanted.kind)
    if digits is not None and not re.fullmatch(rf"[0-9a-fA-F]{{{digits}}}", wanted.value):
        raise ConfigError(f"setting 'find': {request!r}: a {wanted.kind} has {digits} hexadecimal digits")
    if wanted.kind == "image" and not Path(wanted.value).is_file():
        raise ConfigError(f"setting 'find': {request!r}: there is no file {wanted.value}")


class FindProbe(Probe):
    name = "find_me"
    optional = ("url", "text", "sha256", "md5", "phash")

    def __init__(self, wanted: Sequence[Wanted], *, distance: int = 3) -> None:
        self.wanted, self.distance = tuple(wanted), distance
        self._names = [i for i, w in enumerate(self.wanted) if w.kind == "name"]
        terms = tuple(Term(self.wanted[i].value, mode="word") for i in self._names)
        self._matcher = Matcher((Lexicon.of("names", terms),), mode="word") if terms else None

    def aggregate(self, batch: Batch) -> Mapping[str, Any]:
        rows: list[Ints] = [np.zeros(0, np.int64)]
        requests: list[Ints] = [np.zeros(0, np.int64)]
        for i, wanted in enumerate(self.wanted):
            if wanted.kind in ("name", "image") or CONCEPT[wanted.kind] not in batch:
                continue
            found = np.flatnonzero(self._matching(batch, wanted))
            rows.append(found)
            requests.append(np.full(len(found), i, dtype=np.int64))
        if self._matcher is not None and "text" in batch:
            hits = self._matcher.find(normalised(batch, self._matcher.normalise), normalised=True)
            rows.append(hits.rows.astype(np.int64))
            requests.append(np.asarray(self._names, dtype=np.int64)[hits.terms])
        where = np.concatenate(rows)
        return {
            "shard": batch.numbers("shard")[where].astype(np.int64),
            "row": batch.numbers("row")[where].astype(np.int64),
            "request": np.concatenate(requests),
        }

    def _matching(self, batch: Batch, wanted: Wanted) -> npt.NDArray[np.bool_]:
        if wanted.kind == "phash":
            return np.asarray(hamming(batch, int(wanted.value, 16)) <= self.distance)
        if wanted.kind == "domain":
            mask = pc.match_substring_regex(batch.column("url").cast(pa.string()), host_pattern(wanted.value))
        elif wanted.kind == "url":
            mask = pc.equal(batch.column("url").cast(pa.string()), wanted.value)
        else:
            mask = pc.equal(pc.utf8_lower(batch.column(wanted.kind).cast(pa.string())), wanted.value.lower())
        return np.asarray(pc.fill_null(mask, False).to_numpy(zero_copy_only=False), dtype=bool)

    def combine(self, states: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        columns = {name: np.concatenate([np.asarray(s[name]) for s in states]) for name in ("shard", "row", "request")}
        order = np.lexsort((columns["request"], columns["row"], columns["shard"]))
        return {name: values[order] for name, values in columns.items()}

    def finalize(self, state: Mapping[str, Any]) -> Matches:
        return Matches(state["shard"], state["row"], state["request"])


def host_pattern(domain: str) -> str:
    """Pattern (RE2) of the URLs whose host is the domain or lies below it, with or without scheme, login and port."""
    start = r"(?i)^\s*(?:(?:[a-z][a-z0-9+.\-]*:)?//)?(?:[^/?#\s@]*@)?"
    return rf"{start}(?:[^/?#\s:@]*\.)?{re.escape(domain.strip('.'))}\.?(?:[:/?#]|$)"


def hamming(batch: Batch, wanted: int) -> npt.NDArray[np.int64]:
    """Bits by which each row's 64-bit perceptual hash (16 hexadecimal digits) differs; 65 where there is none."""
    hashes = perceptual_hashes(batch)
    distance = np.bitwise_count(hashes.values ^ np.uint64(wanted)).astype(np.int64)
    distance[~hashes.known] = 65
    return np.asarray(distance)
