"""What a row of a score table says, parsed once for all probes, and the hashes that decide where it goes.

No hash depends on the place of a row or on the answer of a model: the split and the sample of rows are the same in any order of
the rows, on any machine, whatever the batch size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.audits.scorer_mixture.columns import GROUP, SCORE, SLICE, SPLIT
from assaymark.data.hashing import hash_column, mixed
from assaymark.data.probe import Batch

__all__ = ["FIT", "REASONS", "SPLITS", "TEST", "TRAIN", "Parsed", "RowRules"]

Floats = npt.NDArray[np.float64]
Keys = npt.NDArray[np.uint64]

TRAIN, FIT, TEST = 0, 1, 2
SPLITS = ("train", "fit", "test")
_SPLIT_NAMES = {
    **{"train": TRAIN, "training": TRAIN},
    **{"fit": FIT, "val": FIT, "valid": FIT, "validation": FIT, "dev": FIT, "calibration": FIT, "oof": FIT},
    **{"test": TEST, "eval": TEST, "evaluation": TEST, "holdout": TEST},
}
REASONS = ("no label", "label that is neither", "split that is none of train, fit, test", "no score")


class Parsed(NamedTuple):
    """Rows of a batch that can be used, and why others cannot.

    `scores` (m, scorers) hold NaN where a score is missing; `label` is 0 or 1; `split` indexes `SPLITS`; `key` orders the
    sample; `unit` is equal for rows that must not be split up;
    `kept` are positions in the batch; `dropped` counts `REASONS`. `classes` (m, class columns) and `class_label` (m,) are for
    scorers of several classes, -1 for a label that is no class. `low`, `high` (columns,) are the extremes of each score column.
    """

    scores: Floats
    label: npt.NDArray[np.int8]
    split: npt.NDArray[np.int8]
    key: Keys
    unit: Keys
    kept: npt.NDArray[np.int64]
    dropped: npt.NDArray[np.int64]
    classes: Floats
    class_label: npt.NDArray[np.int16]
    low: Floats
    high: Floats


def _combined(parts: Sequence[Keys], rows: int) -> Keys:
    total = np.zeros(rows, dtype=np.uint64)
    for part in parts:
        total = mixed(total ^ part)
    return total


@dataclass(frozen=True)
class RowRules:
    """How a batch becomes `Parsed`; the same for all probes of a scan. Pickled to workers: settings only.

    Attributes
    ----------
    columns, models : score columns, and names of models whose scores are the columns `member.NAME` of the batch.
    class_scorers, classes, positive_classes : for scorers of several classes; columns are NAME:CLASS.
    identity : concepts that say what a row is: the picture's content first, so that copies of it stay together.
    needs_score : whether a row without any score is dropped (not so when networks are yet to be trained on its picture).
    picture_reasons : why a picture can be left out; the batch then holds the column `members.skipped` of their numbers.
    """

    columns: tuple[str, ...]
    models: tuple[str, ...] = ()
    class_scorers: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    positives: frozenset[str] = frozenset()
    negatives: frozenset[str] | None = None
    slices: tuple[str, ...] = ()
    identity: tuple[str, ...] = ()
    has_group: bool = False
    has_split: bool = False
    fit_share: float = 0.5
    seed: int = 0
    labelled: bool = True
    needs_score: bool = True
    picture_reasons: tuple[str, ...] = ()

    @property
    def scorers(self) -> tuple[str, ...]:
        return (*(self.class_scorers or self.columns), *self.models)

    @property
    def concepts(self) -> tuple[str, ...]:
        """Columns that a probe with these rules reads."""
        marks = [GROUP] * self.has_group + [SPLIT] * self.has_split + ["label"] * self.labelled
        names = [f"{SCORE}{name}" for name in self.columns] + [f"{SLICE}{name}" for name in self.slices]
        skipped = ["members.skipped"] * bool(self.picture_reasons)
        return (*marks, *names, *self.identity, *(f"members.{name}" for name in self.models), *skipped)

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why a row is not used, in the order of `Parsed.dropped`."""
        return (*REASONS, *(f"no score: picture {reason}" for reason in self.picture_reasons))

    def parse(self, batch: Batch) -> Parsed:
        """The batch under these rules, computed once for all probes."""
        return batch.once(("parsed", self), lambda: self._parse(batch))

    def _parse(self, batch: Batch) -> Parsed:
        columns, low, high = self._column_scores(batch)
        answers = [batch.numbers(f"members.{name}") for name in self.models]
        scores = np.column_stack([self._binary(columns), *answers]) if answers else self._binary(columns)
        label, class_label = self._labels(batch)
        split = self._splits(batch, columns, label)
        scored = np.isfinite(scores).any(axis=1)
        pictures = batch.numbers("members.skipped").astype(np.int64) if self.picture_reasons else np.zeros(batch.rows, np.int64)
        unscored = ~scored & (self.needs_score | (pictures > 0))
        why = np.where(pictures > 0, len(REASONS) + pictures - 1, REASONS.index("no score"))
        reasons = [label == -1, label == -2, split < 0, unscored]
        first = np.select(reasons, [0, 1, 2, why], -1)
        kept = np.flatnonzero(first < 0)
        dropped = np.bincount(first[first >= 0], minlength=len(self.reasons)).astype(np.int64)
        key, unit = self._keys(batch)[kept], self._units(batch)[kept]
        classes = columns[kept] if self.classes else np.zeros((len(kept), 0))
        return Parsed(scores[kept], label[kept], split[kept], key, unit, kept, dropped, classes, class_label[kept], low, high)

    def _column_scores(self, batch: Batch) -> tuple[Floats, Floats, Floats]:
        """Values of the score columns (infinite counts as missing), and the extremes of each."""
        values = np.full((batch.rows, len(self.columns)), np.nan)
        for i, name in enumerate(self.columns):
            values[:, i] = batch.numbers(f"{SCORE}{name}")
        values[~np.isfinite(values)] = np.nan
        seen = np.where(np.isnan(values), np.inf, values), np.where(np.isnan(values), -np.inf, values)
        return values, seen[0].min(axis=0, initial=np.inf), seen[1].max(axis=0, initial=-np.inf)

    def _binary(self, columns: Floats) -> Floats:
        """p_unsafe of each scorer: its column, or the sum over its positive classes."""
        if not self.classes:
            return columns
        unsafe = np.array([label.strip().casefold() in self.positives for label in self.classes])
        cube = columns.reshape(len(columns), len(self.class_scorers), len(self.classes))
        return np.asarray(np.clip(cube[:, :, unsafe].sum(axis=2), 0.0, 1.0))

    def _labels(self, batch: Batch) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.int16]]:
        """1 positive, 0 negative, -1 missing, -2 neither; and the position among the classes, -1 for none."""
        if not self.labelled:
            return np.zeros(batch.rows, dtype=np.int8), np.full(batch.rows, -1, dtype=np.int16)
        encoded = batch.column("label").dictionary_encode()
        names = [str(value).strip().casefold() for value in encoded.dictionary.to_pylist()]
        classes = [label.strip().casefold() for label in self.classes]
        codes = [self._label_code(name) for name in names]
        place = [classes.index(name) if name in classes else -1 for name in names]
        index = encoded.indices.fill_null(len(names)).to_numpy(zero_copy_only=False)
        return np.array([*codes, -1], dtype=np.int8)[index], np.array([*place, -1], dtype=np.int16)[index]

    def _label_code(self, name: str) -> int:
        if not name:
            return -1
        if name in self.positives:
            return 1
        return 0 if self.negatives is None or name in self.negatives else -2

    def _splits(self, batch: Batch, columns: Floats, label: npt.NDArray[np.int8]) -> npt.NDArray[np.int8]:
        if self.has_split:
            encoded = batch.column(SPLIT).dictionary_encode()
            codes = [_SPLIT_NAMES.get(str(value).strip().casefold(), -1) for value in encoded.dictionary.to_pylist()]
            index = encoded.indices.fill_null(len(codes)).to_numpy(zero_copy_only=False)
            return np.asarray(np.array([*codes, -1], dtype=np.int8)[index])
        shares = mixed(self._units(batch) ^ mixed(np.full(batch.rows, self.seed, np.uint64))).astype(np.float64) / 2.0**64
        return np.where(shares < self.fit_share, FIT, TEST).astype(np.int8)

    def _content(self, batch: Batch) -> Keys:
        """Hash of what a row is: its picture, embedding or id; of a bare table, its scores and label."""
        here = [name for name in self.identity if name in batch]
        names = here[:1] or [*(f"{SCORE}{name}" for name in self.columns), *(["label"] if self.labelled else [])]
        return batch.once(("content", self), lambda: _combined([hash_column(batch.column(n)) for n in names], batch.rows))

    def _units(self, batch: Batch) -> Keys:
        return batch.once(("units", self), lambda: self._group_or_content(batch))

    def _group_or_content(self, batch: Batch) -> Keys:
        """Hash of what must not be split up: the group where a row has one, else the row's content."""
        content = self._content(batch)
        if not self.has_group:
            return content
        group = batch.column(GROUP)
        known = group.is_valid().to_numpy(zero_copy_only=False)
        return np.where(known, mixed(hash_column(group)), content)

    def _keys(self, batch: Batch) -> Keys:
        """Hash of all that a row holds: rows with equal keys are alike, so that their order does not matter."""
        names = [name for name in self.concepts if not name.startswith("members.") and name in batch]
        return _combined([self._content(batch), *(hash_column(batch.column(name)) for name in names)], batch.rows)
