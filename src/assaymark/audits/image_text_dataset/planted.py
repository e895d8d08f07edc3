"""Synthetic data whose answer is known: the planted experiments of the image-text audit.

A tables, B retrieval, C caption swap, D scale law, E downstream; each returns inputs and truth, and each can be planted empty.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

__all__ = [
    "IDENTITY_WORDS",
    "UNSAFE_TOKENS",
    "PlantedDownstream",
    "PlantedRetrieval",
    "PlantedScale",
    "PlantedSwap",
    "PlantedTable",
    "planted_caption_swap",
    "planted_downstream",
    "planted_retrieval",
    "planted_scale_law",
    "planted_tables",
]

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

IDENTITY_WORDS = tuple(f"z{i}" for i in range(6))
UNSAFE_TOKENS = ("porn", "adult", "xxx", "sex")
"""The paper's tokens that are words by themselves, so that word mode and substring mode both find them."""

_DECOYS = ("essex", "adulthood", "sussex", "adulterate", "middlesex", "unisex")
_FILLERS = (
    "photo",
    "of",
    "the",
    "blue",
    "garden",
    "old",
    "city",
    "table",
    "river",
    "bright",
    "paper",
    "house",
    "market",
    "new",
)
_HOSTS = (*(f"site{i}.example" for i in range(40)), "stock.example", "shop.example")


class PlantedTable(NamedTuple):
    """Experiment A. `truth` holds the planted probabilities, `realised` what the draw made of them, under the same names.

    unsafe, url_only : bool arrays, shape (rows,): the label by construction, and whether only the URL shows it
    term : int64 array, shape (rows,): index into `IDENTITY_WORDS`, -1 for none
    decoy : bool array: an innocent word that contains a token
    """

    table: pa.Table
    truth: dict[str, float]
    realised: dict[str, float]
    unsafe: Flags
    url_only: Flags
    term: npt.NDArray[np.int64]
    decoy: Flags


def _choose(words: tuple[str, ...], index: npt.NDArray[np.integer]) -> pa.Array:
    return pa.array(words).take(pa.array(index))


def planted_tables(seed: int, rows: int = 200_000, *, null: bool = False) -> PlantedTable:
    """Experiment A: a table with LAION's columns and planted unsafe rates, tags and decoys.

    Parameters
    ----------
    seed : int
    rows : int
    null : bool
        All rows unsafe at the base rate, whatever the word, and a tag that marks every unsafe row.

    Notes
    -----
    Each identity word stands in 2 % of the texts; z0 is unsafe at 0.34, z1 at 0.10, everything else at 0.01. Given unsafe, the
    tag is NSFW with 0.014, UNSURE with 0.194, else UNLIKELY; else UNSURE with 0.01. 5 % of the unsafe rows show the token in
    the URL alone. 3 % of all rows hold a decoy. Similarity is normal around 0.30 and does not depend on anything.
    """
    rng = np.random.default_rng([seed, 0xA])
    share = 0.02 * len(IDENTITY_WORDS)
    term = np.where(rng.random(rows) < share, rng.integers(len(IDENTITY_WORDS), size=rows), -1)
    rate = dict.fromkeys(IDENTITY_WORDS, 0.01) | ({} if null else {"z0": 0.34, "z1": 0.10})
    rates = np.array([*rate.values(), 0.01])  # index -1: no identity word
    unsafe = rng.random(rows) < rates[term]
    url_only = unsafe & (rng.random(rows) < 0.05)
    in_url = url_only | (unsafe & (rng.random(rows) < 0.3))
    decoy = rng.random(rows) < 0.03
    tag = _tags(rng, unsafe, null=null)
    table = pa.table(
        {
            "SAMPLE_ID": pa.array(rng.integers(2**52, size=rows).astype(np.float64)),
            "URL": _urls(rng, in_url),
            "TEXT": _texts(rng, term, unsafe & ~url_only, decoy),
            "HEIGHT": pa.array(rng.integers(64, 1600, size=rows, dtype=np.int32)),
            "WIDTH": pa.array(rng.integers(64, 1600, size=rows, dtype=np.int32)),
            "LICENSE": _choose(("?", "cc-by-4.0"), (rng.random(rows) < 0.05).astype(np.int64)),
            "NSFW": _choose(("UNLIKELY", "UNSURE", "NSFW"), tag),
            "similarity": pa.array(np.clip(rng.normal(0.30, 0.04, size=rows), -1, 1)),
        }
    )
    truth = {f"unsafe_rate.{word}": float(value) for word, value in rate.items()} | {
        "unsafe_rate.base": 0.01,
        "tag_recall.strict": 1.0 if null else 0.014,
        "tag_recall.lenient": 1.0 if null else 0.208,
        "url_only": 0.05,
        "decoys": 0.03,
    }
    return PlantedTable(table, truth, _realised(term, unsafe, url_only, decoy, tag), unsafe, url_only, term, decoy)


def _tags(rng: np.random.Generator, unsafe: Flags, *, null: bool) -> npt.NDArray[np.int64]:
    draw = rng.random(len(unsafe))
    marked = np.where(draw < 0.014, 2, np.where(draw < 0.014 + 0.194, 1, 0))
    if null:
        marked = np.full(len(unsafe), 2)
    return np.where(unsafe, marked, np.where(draw < 0.01, 1, 0)).astype(np.int64)


def _urls(rng: np.random.Generator, in_url: Flags) -> pa.Array:
    """Hosts by a steep power law; the row number makes each URL unique."""
    rows = len(in_url)
    host = np.minimum((len(_HOSTS) * rng.random(rows) ** 2).astype(np.int64), len(_HOSTS) - 1)
    token = np.where(in_url, rng.integers(len(UNSAFE_TOKENS), size=rows), len(UNSAFE_TOKENS))
    folder = _choose((*UNSAFE_TOKENS, "img"), token)
    number = pc.cast(pa.array(np.arange(rows)), pa.string())
    return pc.binary_join_element_wise("https://", _choose(_HOSTS, host), "/", folder, "/", number, ".jpg", "")


def _texts(rng: np.random.Generator, term: npt.NDArray[np.int64], in_text: Flags, decoy: Flags) -> pa.Array:
    """filler [identity word] filler filler [unsafe token] [decoy] filler; with few fillers, texts repeat as alt-texts do."""
    rows = len(term)
    fillers = [_choose(_FILLERS, rng.integers(len(_FILLERS), size=rows)) for _ in range(4)]
    word = _choose((*IDENTITY_WORDS, ""), np.where(term < 0, len(IDENTITY_WORDS), term))
    token = np.where(in_text, rng.integers(len(UNSAFE_TOKENS), size=rows), len(UNSAFE_TOKENS))
    trap = np.where(decoy, rng.integers(len(_DECOYS), size=rows), len(_DECOYS))
    pieces = [fillers[0], word, fillers[1], fillers[2], _choose((*UNSAFE_TOKENS, ""), token), _choose((*_DECOYS, ""), trap)]
    joined = pc.binary_join_element_wise(*pieces, fillers[3], " ")
    return pc.replace_substring_regex(joined, " {2,}", " ")


def _realised(
    term: npt.NDArray[np.int64], unsafe: Flags, url_only: Flags, decoy: Flags, tag: npt.NDArray[np.int64]
) -> dict[str, float]:
    """The planted shares as they came out; NaN for a share of nothing."""

    def share(part: Flags, of: Flags) -> float:
        return float(part[of].mean()) if of.any() else float("nan")

    shares = {f"unsafe_rate.{word}": share(unsafe, term == i) for i, word in enumerate(IDENTITY_WORDS)}
    return shares | {
        "unsafe_rate.base": share(unsafe, term < 0),
        "tag_recall.strict": share(tag == 2, unsafe),
        "tag_recall.lenient": share(tag >= 1, unsafe),
        "url_only": share(url_only, unsafe),
        "decoys": float(decoy.mean()) if len(decoy) else float("nan"),
    }


def _unit(vectors: Floats) -> Floats:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=-1, keepdims=True))


class PlantedRetrieval(NamedTuple):
    """Experiment B: image = a * concept + b * unsafe_dir * u + noise.

    embeddings : float32 (n, d), unit rows; queries : float64 (n_concepts, d), unit concept directions
    unsafe : bool (n,); concept : int64 (n,), -1 for background; named : bool (n, n_concepts), the TEXT holds the concept's word
    flagged : bool (n,), what a safety filter with the planted recall and false alarm rate removes
    """

    embeddings: npt.NDArray[np.float32]
    queries: Floats
    random_queries: Floats
    unsafe: Flags
    concept: npt.NDArray[np.int64]
    named: Flags
    flagged: Flags
    truth: dict[str, float]


def planted_retrieval(seed: int, *, n: int = 20_000, d: int = 64, biased: bool = False, null: bool = False) -> PlantedRetrieval:
    """Experiment B.

    Parameters
    ----------
    biased : bool
        Only the embeddings are biased: the unsafe rows near the first concept do not name it in their texts. Otherwise the
        words are planted too, and text search finds the same.
    null : bool
        The first concept is as safe as all others.

    Notes
    -----
    Concept 0 holds 0.4 unsafe rows, all others 0.02. The filter removes 0.7 of the unsafe and 0.05 of the safe rows.
    """
    rng = np.random.default_rng([seed, 0xB])
    n_concepts = 4
    axes = np.linalg.qr(rng.standard_normal((d, n_concepts + 1)))[0].T
    directions, unsafe_direction = axes[:n_concepts], axes[-1]
    concept = np.where(rng.random(n) < 0.08 * n_concepts, rng.integers(n_concepts, size=n), -1)
    member = concept >= 0
    hot = (concept == 0) & (not null)
    unsafe = rng.random(n) < np.where(hot, 0.4, 0.02)
    named = concept[:, None] == np.arange(n_concepts)
    if biased:
        # The unsafe neighbours of the concept do not name it; some unrelated background rows do.
        named[:, 0] &= ~unsafe
        named[~member & (rng.random(n) < 0.02), 0] = True
    pull = 1.0 + 0.2 * rng.standard_normal(n)
    images = np.where(member[:, None], pull[:, None] * directions[concept], 0.0)
    images += 0.6 * unsafe[:, None] * unsafe_direction + 0.12 * rng.standard_normal((n, d))
    # The query leans as CLIP's did: an unsafe row is no further from the concept's query than a safe one.
    queries = directions.copy()
    if not null:
        queries[0] = _unit(directions[0] + 0.3 * unsafe_direction)
    flagged = rng.random(n) < np.where(unsafe, 0.7, 0.05)
    truth = {"unsafe.concept": 0.02 if null else 0.4, "unsafe.base": 0.02, "filter.recall": 0.7, "filter.over_block": 0.05}
    # Random searches ask for things that have nothing to do with the planted directions.
    loose = rng.standard_normal((30, d))
    random_queries = _unit(loose - loose @ axes.T @ axes)
    unit = _unit(images).astype(np.float32)
    return PlantedRetrieval(unit, queries, random_queries, unsafe, concept, named, flagged, truth)


class PlantedSwap(NamedTuple):
    """Experiment C: unit vectors of images and of both captions, one row per (image, template) pair."""

    images: Floats
    benign: Floats
    harmful: Floats
    image: npt.NDArray[np.int64]
    group: npt.NDArray[np.str_]
    truth: dict[str, float]


def planted_caption_swap(
    seed: int, *, images: int = 300, templates: int = 4, d: int = 32, tau: float = 0.30, null: bool = False
) -> PlantedSwap:
    """Experiment C: harmful captions get +0.03 cosine for images of G1, none for G2, around tau.

    Notes
    -----
    Captions are built with an exact cosine: cos * x + sqrt(1 - cos^2) * (unit vector orthogonal to x).
    """
    rng = np.random.default_rng([seed, 0xC])
    n = images * templates
    image = np.repeat(np.arange(images), templates)
    group = np.where(image % 2 == 0, "G1", "G2")
    pictures = _unit(rng.standard_normal((images, d)))[image]
    gain = 0.0 if null else 0.03
    level = tau + rng.normal(0, 0.02, size=images)[image] + rng.normal(0, 0.005, size=n)
    shift = np.where(group == "G1", gain, 0.0) + rng.normal(0, 0.01, size=images)[image] + rng.normal(0, 0.005, size=n)

    def caption(cosine: Floats) -> Floats:
        other = rng.standard_normal((n, d))
        other -= (other * pictures).sum(axis=1, keepdims=True) * pictures
        return cosine[:, None] * pictures + np.sqrt(1 - cosine**2)[:, None] * _unit(other)

    truth = {"delta.G1": gain, "delta.G2": 0.0, "tau": tau}
    return PlantedSwap(pictures, caption(level), caption(level + shift), image, group, truth)


class PlantedScale(NamedTuple):
    """Experiment D: texts above 0.5 per shard of the smaller dataset A and the larger one B, and texts per shard."""

    counts_a: npt.NDArray[np.int64]
    counts_b: npt.NDArray[np.int64]
    n_a: npt.NDArray[np.int64]
    n_b: npt.NDArray[np.int64]
    truth: dict[str, float]


def planted_scale_law(seed: int, *, equal: bool = False) -> PlantedScale:
    """Experiment D: 32 shards at 0.298 % and 128 shards at 0.344 % (both 0.298 % when `equal`), 100,000 texts each.

    Scores of real texts pile up near 0; only their exceedances matter here, so these are drawn as binomial counts.
    """
    rng = np.random.default_rng([seed, 0xD])
    rate_a, rate_b = 0.00298, 0.00298 if equal else 0.00344
    n_a, n_b = np.full(32, 100_000), np.full(128, 100_000)
    truth = {"rate_a": rate_a, "rate_b": rate_b, "increase": 100 * (rate_b / rate_a - 1)}
    return PlantedScale(rng.binomial(n_a, rate_a), rng.binomial(n_b, rate_b), n_a, n_b, truth)


class PlantedDownstream(NamedTuple):
    """Experiment E: cosines of faces and classes under two encoders, and labels; class 0 is the human one.

    `truth` holds, per encoder, the gap in mean P(human) between group g1 and g2.
    """

    scores_a: Floats
    scores_b: Floats
    race: npt.NDArray[np.str_]
    gender: npt.NDArray[np.str_]
    truth: dict[str, float]


def planted_downstream(seed: int, *, faces: int = 600, classes: int = 8, null: bool = False) -> PlantedDownstream:
    """Experiment E: the human class of group r1 loses cosine, more under encoder B than under A.

    The true gaps are computed from 200,000 faces of the same law, so they carry an error of about 0.001.
    """
    losses = (0.0, 0.0) if null else (0.01, 0.02)

    def draw(rng: np.random.Generator, n: int) -> tuple[Floats, Floats, npt.NDArray[np.str_]]:
        race = np.where(np.arange(n) % 2 == 0, "r1", "r2")
        shared = 0.20 + rng.normal(0, 0.005, size=(n, classes))
        shared[:, 0] += 0.025
        scores = []
        for loss in losses:
            mine = shared + rng.normal(0, 0.003, size=(n, classes))
            mine[race == "r1", 0] -= loss
            scores.append(mine)
        return scores[0], scores[1], race

    a, b, race = draw(np.random.default_rng([seed, 0xE]), faces)
    gender = np.where(np.arange(faces) % 4 < 2, "f", "m")
    truth = {}
    big_a, big_b, big_race = draw(np.random.default_rng(0xE), 200_000)
    for name, scores in (("gap_a", big_a), ("gap_b", big_b)):
        weights = np.exp(100 * (scores - scores.max(axis=1, keepdims=True)))
        human = weights[:, 0] / weights.sum(axis=1)
        truth[name] = float(human[big_race == "r1"].mean() - human[big_race == "r2"].mean())
    return PlantedDownstream(a, b, race, gender, truth)
