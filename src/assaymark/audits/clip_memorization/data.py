"""What goes into the audit: pairs with their sets, held-out pairs, stored embeddings; the two models; and planted inputs."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from assaymark.audit import InputSpec, ModelRole, Planting

__all__ = ["CURE_INPUTS", "INPUTS", "ROLES", "PlantedTruth", "planted_pairs", "planted_truth", "planting"]

PAIRS = InputSpec(
    "pairs",
    "images",
    "pictures with captions: id, image or path, captions (a list) or text (a row for each caption), optional label, the set of "
    "each pair (S, C, I, E) and a flag of captions known to be wrong",
)
SPLIT = InputSpec("split", "table", "sets of the pairs: id, set; in place of a column of the pairs", required=False)
TEST = InputSpec("test", "images", "held-out pairs that no model saw; default: a part of the external pairs", required=False)
EMBEDDINGS = InputSpec(
    "embeddings",
    "table",
    "stored embeddings instead of models: id, image_f, text_f, image_g, text_g (lists of numbers, views one after another)",
    required=False,
)
INPUTS = (PAIRS, SPLIT, TEST, EMBEDDINGS)
CURE_INPUTS = (PAIRS, SPLIT, TEST)

_DUAL = ("embeds-images", "embeds-texts")
_LOOKED_INTO = ("records-activations", "records-text-activations")
MODEL = ModelRole(
    "model",
    "the audited model f: embeds pictures and texts; one that records activations takes views as they are and has UnitMem",
    all_of=_DUAL, any_of=_LOOKED_INTO,
)  # fmt: skip
REFERENCE = ModelRole(
    "reference", "the same training without the candidates, g: what the audited model is compared with",
    all_of=_DUAL, any_of=_LOOKED_INTO,
)  # fmt: skip
INDEPENDENT = ModelRole(
    "independent", "any other dual encoder that saw none of the pairs: a baseline for finding wrong captions",
    all_of=_DUAL, any_of=("records-activations",),
)  # fmt: skip
SENTENCES = ModelRole("sentences", "a text encoder: the reference of the deja-vu test where there is one model only",
                      any_of=("embeds-texts",))  # fmt: skip
PARAPHRASER = ModelRole("paraphraser", "writes further wordings of captions, in place of the rules", any_of=("generates-text",))
SUPERVISED = ModelRole(
    "supervised", "an image encoder of the same architecture trained on labels: its units beside those of the image tower",
    all_of=("records-activations",),
)  # fmt: skip
SELF_SUPERVISED = ModelRole(
    "self_supervised", "an image encoder of the same architecture trained on pictures alone: its units beside those too",
    all_of=("records-activations",),
)  # fmt: skip
ROLES = (MODEL, REFERENCE, INDEPENDENT, SENTENCES, PARAPHRASER, SUPERVISED, SELF_SUPERVISED)

WRONG_SHARE, OFFSET, NOISE, OWNED = 0.15, 0.05, 0.03, 5
CANDIDATES, FULL_CANDIDATES = 120, 5_000


class PlantedTruth(NamedTuple):
    """What the scripted pair of models has in store, see `planted_truth`."""

    candidates: float
    independent: float
    offset: float
    member_auc: float
    wrong_auc: float


def planted_truth() -> PlantedTruth:
    """Set means of raw CLIPMem and both rank areas, from the laws by which strengths and noises are drawn."""
    from scipy.stats import norm

    from assaymark.models.fake_memorizing import RIGHT, STRENGTH_SD, WRONG

    mean = (1 - WRONG_SHARE) * RIGHT + WRONG_SHARE * WRONG
    # Of one pair: the strength's spread, and the noise of two trainings.
    one = STRENGTH_SD**2 + 2 * NOISE**2
    right, wrong = (float(norm.cdf(level / np.sqrt(one + 2 * NOISE**2))) for level in (RIGHT, WRONG))
    member = (1 - WRONG_SHARE) * right + WRONG_SHARE * wrong
    return PlantedTruth(mean + OFFSET, OFFSET - mean, OFFSET, member, float(norm.cdf((WRONG - RIGHT) / np.sqrt(2 * one))))


def planted_pairs(seed: int, *, candidates: int, wrong_share: float = WRONG_SHARE) -> dict[str, list[Any]]:
    """Columns of coded pairs: candidates and as many external pairs, half as many shared and independent ones."""
    import PIL.Image

    from assaymark.models.fake_memorizing import CONCEPTS, CodedPair, coded_caption, coded_picture

    rng = np.random.default_rng([seed, 0xC11B])
    letters = np.repeat(["S", "C", "I", "E"], [candidates // 2, candidates, candidates // 2, candidates])
    numbers = rng.choice(1 << 24, size=len(letters), replace=False)
    shown = rng.integers(CONCEPTS, size=len(letters))
    wrong = (rng.random(len(letters)) < wrong_share) & (letters != "E")
    told = np.where(wrong, (shown + rng.integers(1, CONCEPTS, size=len(letters))) % CONCEPTS, shown)
    columns: dict[str, list[Any]] = {name: [] for name in ("id", "image", "captions", "set", "label", "wrong")}
    for number, letter, concept, other, flag in zip(numbers, letters, shown, told, wrong, strict=True):
        pair = CodedPair(int(number), str(letter), int(concept), bool(flag))
        buffer = io.BytesIO()
        PIL.Image.fromarray(coded_picture(pair)).save(buffer, "PNG")
        caption = pair._replace(concept=int(other))
        columns["id"].append(f"pair-{seed}-{int(number):08d}")
        columns["image"].append(buffer.getvalue())
        columns["captions"].append([coded_caption(caption, wording=k) for k in range(3)])
        columns["set"].append(str(letter))
        columns["label"].append(f"kind {int(concept):02d}")
        columns["wrong"].append(bool(flag))
    return columns


def _owners(columns: dict[str, list[Any]]) -> list[int]:
    """Numbers of the pairs that own a unit: the first candidates."""
    ids = [one for one, letter in zip(columns["id"], columns["set"], strict=True) if letter == "C"]
    return [int(one.rpartition("-")[2]) for one in ids[:OWNED]]


def _unit_truth(owned: int) -> dict[str, float]:
    """Mean UnitMem of the scripted layer: (1 - level) / (1 + level) of an owned unit, 0 of others, without the dead one."""
    from assaymark.models.fake_memorizing import UNIT_LAYER, unit_levels

    found = {}
    for number, tower in enumerate(("image", "text")):
        levels = unit_levels(number)
        found[f"unitmem.{tower}.{UNIT_LAYER}"] = float(((1 - levels) / (1 + levels))[:owned].sum()) / (len(levels) - 1)
    return found


def planting(seed: int, folder: Path, *, null: bool, full: bool) -> Planting:
    """Coded pairs, and two scripted models: f remembers S and C, g remembers S and I; as the null both remember S alone."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = folder / "pairs.parquet"
    columns = planted_pairs(seed, candidates=FULL_CANDIDATES if full else CANDIDATES, wrong_share=0.0 if null else WRONG_SHARE)
    pq.write_table(pa.table(columns), path)
    truth = planted_truth()
    known = {
        "clipmem.raw.candidates": truth.candidates,
        "clipmem.raw.independent": truth.independent,
        "clipmem.raw.external": truth.offset,
        "clipmem.raw.shared": truth.offset,
        "clipmem.calibrated": truth.candidates - truth.offset,
        "clipmem.member_auc": truth.member_auc,
        "wrong_captions.auc.clipmem": truth.wrong_auc,
    }
    nothing = {"clipmem.raw.candidates": 0.0, "clipmem.calibrated": 0.0, "clipmem.member_auc": 0.5}
    owned = [] if null else _owners(columns)
    known |= _unit_truth(len(owned))
    kind, noise = "fake:memorizing-dual-encoder", f"&noise={NOISE}&owners={'|'.join(map(str, owned))}"
    f, g = ("S", "S") if null else ("SC", "SI")
    models = {
        "model": f"{kind}?trained={f}&seed={2 * seed}{noise}",
        "reference": f"{kind}?trained={g}&seed={2 * seed + 1}{noise}" + ("" if null else f"&offset={OFFSET}"),
    }
    settings = {"views": 3, "augmentation": "shift", "resamples": 400, "listed": 5, "unit_pairs": 10_000}
    return Planting({"pairs": str(path)}, nothing if null else known, settings, models, null)
