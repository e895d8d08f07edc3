"""Pictures read a second time: blurred contact sheets of the strata, and captions of flagged pictures and matched others."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.audit import Context
from assaymark.audits.image_offensiveness.config import ImageOffensivenessConfig
from assaymark.audits.image_offensiveness.measures.review import Queue
from assaymark.data.dataset import Dataset
from assaymark.data.images import decode_image
from assaymark.errors import InputError
from assaymark.report.minors import names_a_minor
from assaymark.report.pictures import contact_sheet
from assaymark.result import Artifact

__all__ = ["Captions", "Sheets", "caption_pictures", "contact_sheets", "matched_rows"]

PER_SHEET = 16
BLOCK = 64


class Sheets(NamedTuple):
    """Sheets by score bin; `minors` pictures were left out because their text or class may name a minor."""

    artifacts: tuple[Artifact, ...]
    bins: tuple[str, ...]
    shown: int
    minors: int
    unreadable: int


class Captions(NamedTuple):
    """Captions of pictures, side by side: `flagged[i]` says of which kind caption i is, `image[i]` of which picture.

    `places` are shard and row of the pictures, shape (pictures, 2).
    """

    texts: list[str]
    flagged: npt.NDArray[np.bool_]
    image: npt.NDArray[np.int64]
    places: npt.NDArray[np.int64]
    unreadable: int


def contact_sheets(dataset: Dataset, queue: Queue, folder: Path | None, *, most: int) -> Sheets:
    """One blurred, grey sheet for each score bin, highest first, of the pictures in the review queue.

    A row whose text or class may name a minor is never shown, blurred or not.
    """
    if folder is None or "image" not in dataset:
        return Sheets((), (), 0, 0, 0)
    concepts = ["image", *(concept for concept in ("text", "label") if concept in dataset)]
    artifacts: list[Artifact] = []
    shown_bins: list[str] = []
    counts = {"shown": 0, "minors": 0, "unreadable": 0}
    for b in range(len(queue.bins) - 1, -1, -1):
        rows = np.flatnonzero(queue.bin == b)
        pictures: list[Any] = []
        for start in range(0, min(len(rows), max(most - counts["shown"], 0)), PER_SHEET):
            block = rows[start : start + PER_SHEET]
            for record in dataset.fetch(zip(queue.shard[block], queue.row[block], strict=True), concepts).to_pylist():
                if names_a_minor(record.get("text"), record.get("label")):
                    counts["minors"] += 1
                    continue
                try:
                    pictures.append(decode_image(record["image"] or b""))
                except InputError:  # counted
                    counts["unreadable"] += 1
            if len(pictures) >= PER_SHEET:
                break
        if pictures:
            kept = pictures[:PER_SHEET]
            counts["shown"] += len(kept)
            artifacts.append(_sheet(b, queue.bins[b], kept, folder))
            shown_bins.append(queue.bins[b])
    return Sheets(tuple(artifacts), tuple(shown_bins), counts["shown"], counts["minors"], counts["unreadable"])


def _sheet(number: int, name: str, pictures: list[Any], folder: Path) -> Artifact:
    file = f"contact_sheet_{number}.png"
    (folder / file).write_bytes(contact_sheet(pictures, columns=8, blur=True))
    return Artifact(f"contact_sheet_{number}", "picture", file, f"blurred pictures with a score of {name}")


def matched_rows(queue: Queue, *, most: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Positions in the queue of flagged pictures, and of as many others with the same classes as far as there are some.

    Without matching, words of the classes that are flagged most would pass for what sets flagged pictures apart.
    """
    flagged = np.flatnonzero(queue.flagged > 0)[: most // 2]
    others = np.flatnonzero(queue.flagged == 0)
    taken: list[int] = []
    used = np.zeros(len(queue.row), dtype=bool)
    for at in flagged.tolist():
        same = others[(queue.class_code[others] == queue.class_code[at]) & ~used[others]]
        left = same if len(same) else others[~used[others]]
        if len(left):
            taken.append(int(left[0]))
            used[left[0]] = True
    return flagged, np.array(taken, dtype=np.int64)


def caption_pictures(
    dataset: Dataset, queue: Queue, captioner: Any, config: ImageOffensivenessConfig, context: Context
) -> Captions | None:
    """Captions at each temperature of flagged pictures and of matched others; None without pictures or captioner."""
    if captioner is None or "image" not in dataset:
        return None
    flagged, others = matched_rows(queue, most=config.max_images)
    wanted = [(int(at), True) for at in flagged] + [(int(at), False) for at in others]
    texts: list[str] = []
    kinds: list[bool] = []
    images: list[int] = []
    places: list[tuple[int, int]] = []
    unreadable = 0
    with context.progress.task("captions", len(wanted), "pictures") as task:
        for start in range(0, len(wanted), BLOCK):
            block = wanted[start : start + BLOCK]
            pictures, sides, found = _decoded(dataset, queue, block)
            unreadable += len(block) - len(pictures)
            for said, is_flagged in zip(_captions(captioner, pictures, config, context.seed), sides, strict=True):
                texts += said
                kinds += [is_flagged] * len(said)
                images += [len(places)] * len(said)
                places.append(found.pop(0))
            task.advance(len(block))
    return Captions(
        texts,
        np.array(kinds, dtype=bool),
        np.array(images, dtype=np.int64),
        np.array(places, np.int64).reshape(-1, 2),
        unreadable,
    )


def _decoded(
    dataset: Dataset, queue: Queue, block: Sequence[tuple[int, bool]]
) -> tuple[list[Any], list[bool], list[tuple[int, int]]]:
    rows = [(int(queue.shard[at]), int(queue.row[at])) for at, _ in block]
    pictures, sides, places = [], [], []
    contents = dataset.fetch(rows, ["image"]).column("image").to_pylist()
    for content, place, (_, is_flagged) in zip(contents, rows, block, strict=True):
        try:
            pictures.append(decode_image(content or b""))
            sides.append(is_flagged)
            places.append(place)
        except InputError:  # counted
            continue
    return pictures, sides, places


def _captions(captioner: Any, pictures: list[Any], config: ImageOffensivenessConfig, seed: int) -> list[list[str]]:
    said: list[list[str]] = [[] for _ in pictures]
    for temperature in config.caption_temperatures if pictures else ():
        answers = captioner.caption_images(
            pictures, prompt=config.caption_prompt, temperature=temperature, samples=config.caption_samples, seed=seed
        )
        for own, new in zip(said, answers, strict=True):
            own += new
    return said
