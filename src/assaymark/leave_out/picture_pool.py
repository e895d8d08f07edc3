"""The items of a pool from files: pictures of one size in memory, with their ids, captions, labels and sets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from assaymark.data.dataset import Dataset, open_input
from assaymark.data.images import PictureError, decode_image
from assaymark.data.readers.base import Unreadable
from assaymark.errors import InputError, SchemaError, nearest

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["PicturePool", "read_pool"]

_AT_ONCE = 256
_CONCEPTS = ("id", "path", "url", "text", "label", "image")


class PicturePool(NamedTuple):
    """Pictures that could be read, each once.

    Attributes
    ----------
    ids : list of n str
        From the columns id, path or url, the first that there is; else a hash of the picture.
    pixels : tensor, shape (n, 3, side, side), uint8
    captions : list of n lists of str
        Empty where none were asked for.
    labels, sets : list of n str, or None
        None where there is no such column.
    skipped : mapping
        Rows that are not in the pool, by reason.
    notes : tuple of str
    """

    ids: list[str]
    pixels: Any
    captions: list[list[str]]
    labels: list[str] | None
    sets: list[str] | None
    skipped: Mapping[str, int]
    notes: tuple[str, ...]


class _Rows(NamedTuple):
    """What is collected while rows are read."""

    captions: dict[str, list[str]]
    labels: dict[str, str]
    sets: dict[str, str]
    pixels: dict[str, Any]


def read_pool(
    value: Any,
    *,
    prepare: Callable[[Sequence[Image]], Any],
    captioned: bool = False,
    columns: Mapping[str, str] | None = None,
    captions_column: str = "captions",
    set_column: str = "set",
    task: Any = None,
) -> PicturePool:
    """Read all pictures of an input of kind "images": a folder of pictures, a table with pictures or their paths.

    Parameters
    ----------
    prepare : callable
        Pictures to a uint8 tensor (n, 3, side, side), as the models will see them.
    captioned : bool
        Captions are needed: the list column `captions_column`, or texts. Rows of one id are one picture with several captions.
    columns : mapping of concept to column, optional
    task : progress task, optional
        Advanced by 1 a row.

    Raises
    ------
    InputError, SchemaError
        Nothing to read, no captions, or an id in two sets.

    Notes
    -----
    One pass; pixels stay in memory.
    """
    dataset = open_input("images", value, name="pool", schema=dict(columns or {}) or "auto")
    if not isinstance(dataset, Dataset):
        raise InputError(f"{dataset.source}: stored embeddings, of which no encoder can be trained; give the pictures")
    dataset.require("image")
    listed = captions_column if captioned and captions_column in dataset.columns else ""
    if captioned and not listed and "text" not in dataset:
        hint = nearest(captions_column, dataset.columns)
        raise SchemaError(f"{dataset.source}: no column {captions_column!r} with lists of captions, nor one of texts{hint}")
    if task is not None and dataset.rows is not None:
        task.expect(dataset.rows)
    found, skipped, sizes = _Rows({}, {}, {}, {}), Counter[str](), Counter[tuple[int, int]]()
    waiting: list[tuple[str, Image]] = []
    for record in _records(dataset, listed, set_column):
        if task is not None:
            task.advance()
        _take(record, found, waiting, skipped, sizes, captioned=captioned)
        if len(waiting) >= _AT_ONCE:
            _prepared(waiting, found, prepare)
    _prepared(waiting, found, prepare)
    if not found.pixels:
        reasons = ", ".join(f"{count} {reason}" for reason, count in skipped.items())
        raise InputError(f"{dataset.source}: no picture could be read{f' ({reasons})' if reasons else ''}")
    return _pool(dataset, found, skipped, sizes, has_sets=set_column in dataset.columns)


def _records(dataset: Dataset, listed: str, set_column: str) -> Iterator[dict[str, Any]]:
    """Rows of all files, with captions and set under these names; a file that breaks is named in `dataset.failed`."""
    own = {concept: dataset.mapping[concept] for concept in _CONCEPTS if concept in dataset}
    extra = {"set": set_column} if set_column in dataset.columns else {}
    plain = replace(dataset, mapping={**own, **extra}, kind="pairs")
    lists = replace(dataset, mapping={listed: listed}, kind="table") if listed else None
    for shard in dataset.shards:
        try:
            for part in dataset.reader.parts(shard):
                others = iter(lists.batches(part, [listed])) if lists is not None else None
                for batch in plain.batches(part, [*own, *extra]):
                    rows = batch.table.to_pylist()
                    if others is not None:
                        for row, given in zip(rows, next(others).table.column(0).to_pylist(), strict=True):
                            row["captions"] = given
                    yield from rows
        except Unreadable as error:
            dataset.failed[error.path] = error.reason


def _take(
    record: dict[str, Any],
    found: _Rows,
    waiting: list[tuple[str, Image]],
    skipped: Counter[str],
    sizes: Counter[tuple[int, int]],
    *,
    captioned: bool,
) -> None:
    given = record.get("captions") if record.get("captions") is not None else record.get("text")
    texts = [text.strip() for text in (given if isinstance(given, list) else [given]) if isinstance(text, str) and text.strip()]
    content = record.get("image") or b""
    one = next((str(record[name]) for name in ("id", "path", "url") if record.get(name)), None)
    one = one or blake2b(content, digest_size=8).hexdigest()
    if captioned and not texts:
        skipped["without a caption"] += 1
        return
    letter = str(record.get("set") or "").strip()
    if one in found.captions:  # another caption of a picture that is known
        if found.sets[one] != letter:
            raise InputError(f"id {one!r} is in set {found.sets[one] or 'none'} and in {letter or 'none'}; give it one set")
        found.captions[one] = list(dict.fromkeys([*found.captions[one], *texts]))
        if not texts:
            skipped["an id that was read before"] += 1
        return
    try:
        picture = decode_image(content)
    except PictureError as error:
        skipped[error.reason] += 1
        return
    found.captions[one], found.labels[one], found.sets[one] = list(dict.fromkeys(texts)), str(record.get("label") or ""), letter
    sizes[picture.size] += 1
    waiting.append((one, picture))


def _prepared(waiting: list[tuple[str, Image]], found: _Rows, prepare: Callable[[Sequence[Image]], Any]) -> None:
    if waiting:
        found.pixels.update(zip((one for one, _ in waiting), prepare([picture for _, picture in waiting]), strict=True))
        waiting.clear()


def _pool(
    dataset: Dataset, found: _Rows, skipped: Counter[str], sizes: Counter[tuple[int, int]], *, has_sets: bool
) -> PicturePool:
    import torch

    ids = list(found.pixels)
    pixels = torch.from_numpy(np.stack([np.asarray(found.pixels[one]) for one in ids]))
    notes = list(dataset.notes)
    if len(sizes) > 1 or next(iter(sizes)) != tuple(pixels.shape[2:]):
        notes.append(f"pictures of {len(sizes)} sizes are brought to {pixels.shape[3]} x {pixels.shape[2]} pixels")
    for path, reason in dataset.failed.items():
        notes.append(f"{path} could not be read: {reason}")
    return PicturePool(
        ids,
        pixels,
        [found.captions[one] for one in ids],
        [found.labels[one] for one in ids] if any(found.labels.values()) else None,
        [found.sets[one] for one in ids] if has_sets else None,
        dict(sorted(skipped.items())),
        tuple(notes),
    )
