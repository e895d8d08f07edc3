"""Is a person, a site or a picture in the table, and is it still there in the next release?"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.audits.image_text_dataset.method.top_k import Blocks, Vectors, above
from assaymark.result import Estimate
from assaymark.stats import wilson

__all__ = [
    "Matches",
    "Reason",
    "Release",
    "Verification",
    "join_matches",
    "match_embedding",
    "match_exact",
    "match_name",
    "match_phash",
    "verify_manifest",
]

Rows = npt.NDArray[np.int64]
Hashes = npt.NDArray[np.uint64]
Reason = Literal["url", "domain", "name", "sha256", "md5", "phash", "embedding"]


class Matches(NamedTuple):
    """Match table, one entry per (row, query, reason), sorted by row, then reason, then query.

    `score` is 1 for an exact match, the cosine for an embedding, and 1 - bits / 64 for a perceptual hash.
    """

    row: Rows
    query: Rows
    reason: npt.NDArray[np.str_]
    score: npt.NDArray[np.float64]


def _matches(row: Rows, query: Rows, reason: str, score: npt.NDArray[np.float64] | None = None) -> Matches:
    score = np.ones(len(row)) if score is None else score
    return Matches(np.asarray(row, np.int64), np.asarray(query, np.int64), np.full(len(row), reason), score)


def join_matches(parts: Iterable[Matches]) -> Matches:
    """One table of all reasons, each (row, query, reason) once."""
    tables = [part for part in parts if len(part.row)]
    if not tables:
        return _matches(np.empty(0, np.int64), np.empty(0, np.int64), "url")
    row, query, reason, score = (np.concatenate(column) for column in zip(*tables, strict=True))
    order = np.lexsort((-score, query, reason, row))
    row, query, reason, score = row[order], query[order], reason[order], score[order]
    fresh = np.ones(len(row), dtype=bool)
    fresh[1:] = (row[1:] != row[:-1]) | (query[1:] != query[:-1]) | (reason[1:] != reason[:-1])
    return Matches(row[fresh], query[fresh], reason[fresh], score[fresh])


def match_exact(values: npt.ArrayLike, wanted: npt.ArrayLike, *, reason: Reason) -> Matches:
    """Rows whose value equals a wanted one: URL, registered domain, sha256 or md5 (as strings, or as 64-bit hashes of them).

    O((n + m) log m). Queries that occur twice in `wanted` report the first.
    """
    column, targets = np.asarray(values), np.asarray(wanted)
    if not len(targets) or not len(column):
        return _matches(np.empty(0, np.int64), np.empty(0, np.int64), reason)
    distinct, first = np.unique(targets, return_index=True)
    place = np.minimum(np.searchsorted(distinct, column), len(distinct) - 1)
    row = np.flatnonzero(distinct[place] == column)
    return _matches(row, first[place[row]], reason)


def _plain(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold()


def match_name(texts: Sequence[str | None], names: Sequence[str]) -> Matches:
    """Rows whose text holds a name as whole words, whatever the case, width or spacing ("Ada  LOVELACE").

    Notes
    -----
    Meant for the few rows that a prefilter leaves; the audit's scan uses the lexicon matcher.
    """
    patterns = [re.compile(r"(?<!\w)" + r"\s+".join(map(re.escape, _plain(name).split())) + r"(?!\w)") for name in names]
    plain = [_plain(text) if text else "" for text in texts]
    found = [
        (row, query)
        for query, pattern in enumerate(patterns)
        if pattern.pattern != r"(?<!\w)(?!\w)"
        for row, text in enumerate(plain)
        if pattern.search(text)
    ]
    pairs = np.array(sorted(found), dtype=np.int64).reshape(-1, 2)
    return _matches(pairs[:, 0], pairs[:, 1], "name")


def match_phash(hashes: npt.ArrayLike, wanted: npt.ArrayLike, *, distance: int = 3) -> Matches:
    """Rows whose 64-bit perceptual hash differs from a wanted one in at most `distance` bits. O(n) per query."""
    column, targets = np.asarray(hashes, np.uint64), np.asarray(wanted, np.uint64)
    parts = []
    for query, target in enumerate(targets):
        bits = np.bitwise_count(column ^ target)
        row = np.flatnonzero(bits <= distance)
        parts.append(_matches(row, np.full(len(row), query), "phash", 1 - bits[row] / 64.0))
    return join_matches(parts)


def match_embedding(queries: Vectors, embeddings: Blocks, *, cosine: float = 0.94) -> Matches:
    """Rows whose unit embedding has at least `cosine` with a wanted picture's unit embedding: all of them, not the k best."""
    found = above(queries, embeddings, cosine)
    return join_matches([_matches(found.row, found.query, "embedding", found.score)])


class Release(NamedTuple):
    """What is known of the rows of a release (or of the rows of a removal manifest); None where a column is missing.

    sha256 : array of strings or 64-bit hashes, "" or 0 where unknown
    phash : uint64 array, 0 where unknown
    embedding : unit rows, NaN where unknown
    url : array of strings or 64-bit hashes, "" or 0 where unknown
    """

    sha256: npt.NDArray[Any] | None = None
    phash: Hashes | None = None
    embedding: Vectors | None = None
    url: npt.NDArray[Any] | None = None


class Verification(NamedTuple):
    """A removal manifest held against a later release.

    Attributes
    ----------
    found_by : array of str, shape (n_manifest,)
        "sha256", "url", "phash", "embedding" (the strongest that matched), or "" when the entry is gone.
    row : int64 array, shape (n_manifest,)
        A row of the release where it was found, -1 when gone.
    removed : share of entries that are gone
    drifted : share of the entries still there whose bytes changed, so that only url, phash or embedding finds them, among those
        whose sha256 is known on both sides; 5 to 15 % of re-fetched images is normal
    """

    found_by: npt.NDArray[np.str_]
    row: Rows
    removed: Estimate
    drifted: Estimate


def verify_manifest(
    manifest: Release, release: Release, *, distance: int = 3, cosine: float = 0.94, confidence: float = 0.95
) -> Verification:
    """Look for every manifest entry in a release by content hash, then address, then perceptual hash, then embedding.

    Raises
    ------
    ValueError
        Manifest and release share no kind of evidence.
    """
    searches: list[Matches] = []
    if manifest.sha256 is not None and release.sha256 is not None:
        searches.append(_known_only(_exact(manifest.sha256, release.sha256, "sha256"), manifest.sha256, release.sha256))
    if manifest.url is not None and release.url is not None:
        searches.append(_known_only(_exact(manifest.url, release.url, "url"), manifest.url, release.url))
    if manifest.phash is not None and release.phash is not None:
        near = match_phash(release.phash, manifest.phash, distance=distance)
        searches.append(_known_only(near, manifest.phash, release.phash))
    if manifest.embedding is not None and release.embedding is not None:
        searches.append(match_embedding(manifest.embedding, release.embedding, cosine=cosine))
    if not searches:
        raise ValueError("manifest and release share no kind of evidence: sha256, url, phash or embedding")
    n = max(len(column) for column in manifest if column is not None)
    found_by, row = np.full(n, "", dtype="<U9"), np.full(n, -1, dtype=np.int64)
    for matches in searches:
        query, first = np.unique(matches.query, return_index=True)
        fresh = found_by[query] == ""
        found_by[query[fresh]] = matches.reason[first[fresh]]
        row[query[fresh]] = matches.row[first[fresh]]
    there = found_by != ""
    comparable = np.zeros(n, dtype=bool)
    if manifest.sha256 is not None and release.sha256 is not None and len(release.sha256):
        comparable = there & ~_unknown(manifest.sha256) & ~_unknown(release.sha256)[row]
    changed = int((comparable & (found_by != "sha256")).sum())
    return Verification(
        found_by,
        row,
        wilson(int((~there).sum()), n, confidence=confidence),
        wilson(changed, int(comparable.sum()), confidence=confidence),
    )


def _exact(wanted: npt.NDArray[Any], values: npt.NDArray[Any], reason: Reason) -> Matches:
    """As `match_exact`, but every entry that asks for a value is answered, not the first alone."""
    distinct, place = np.unique(wanted, return_inverse=True)
    found = match_exact(values, distinct, reason=reason)
    hit, first = np.unique(found.query, return_index=True)
    row = np.full(len(distinct), -1, dtype=np.int64)
    row[hit] = found.row[first]
    query = np.flatnonzero(row[place] >= 0)
    return _matches(row[place][query], query, reason)


def _unknown(evidence: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    blank: Any = "" if evidence.dtype.kind in "UO" else b"" if evidence.dtype.kind == "S" else 0
    return np.asarray(evidence == blank, dtype=bool)


def _known_only(matches: Matches, manifest: npt.NDArray[Any], release: npt.NDArray[Any]) -> Matches:
    """Without the entries and rows whose evidence is unknown: an empty hash is no evidence."""
    kept = ~_unknown(manifest)[matches.query] & ~_unknown(release)[matches.row]
    return Matches(matches.row[kept], matches.query[kept], matches.reason[kept], matches.score[kept])
