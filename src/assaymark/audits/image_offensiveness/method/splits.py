"""Repeated stratified random splits that keep near duplicates together, and growing parts of their training data.

The paper draws ten splits of 1,674 images into 1,506 for training and 168 = 96 + 72 for testing. They overlap: they are not a
partition, and figures over them are not independent (see `corrected_resampled_t`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["FRACTIONS", "Split", "nested_fractions", "shuffle_splits", "stratified_holdout"]

Rows = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

FRACTIONS = (0.0, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0)
"""Shares of the training data of the label-efficiency curve; 0 is zero-shot."""


class Split(NamedTuple):
    """Positions of the rows for training and for testing, each in rising order."""

    train: Rows
    test: Rows


def _labels(y: Any) -> Flags:
    labels = np.asarray(y)
    if labels.ndim != 1 or not np.isin(labels, (0, 1)).all():
        raise ValueError("y: expected one label per row, 0 or 1")
    positive = labels == 1
    if positive.all() or not positive.any():
        raise ValueError(f"y: all {labels.size} labels are of one class; a split needs images of both")
    return np.asarray(positive)


def _quota(positive: Flags, share: float) -> npt.NDArray[np.int64]:
    """Rows to hold out of each class: the parts rounded down, what is missing from the whole taken from the rarer class."""
    sizes = np.array([(~positive).sum(), positive.sum()])
    # the slack absorbs the rounding of share * n
    quota = np.floor(share * sizes + 1e-9).astype(np.int64)
    rarer = int(np.argmin(sizes))
    quota[rarer] += int(np.ceil(share * sizes.sum() - 1e-9)) - quota.sum()
    return np.asarray(np.clip(quota, 1, sizes - 1))


def _hold_out(positive: Flags, codes: Rows, quota: npt.NDArray[np.int64], rng: np.random.Generator) -> Flags:
    """Whole groups, in random order, as long as neither class exceeds its quota."""
    counts = np.stack([np.bincount(codes[positive == k], minlength=codes.max() + 1) for k in (False, True)], axis=1)
    taken = np.zeros(len(counts), dtype=np.bool_)
    left = quota.copy()
    for group in rng.permutation(len(counts)):
        if (counts[group] <= left).all():
            taken[group] = True
            left -= counts[group]
            if not left.any():
                break
    return np.asarray(taken[codes])


def shuffle_splits(
    y: Any, *, splits: int = 10, test: float = 0.1, groups: Any = None, rng: np.random.Generator
) -> tuple[Split, ...]:
    """Random splits with the same share of each class held out.

    Parameters
    ----------
    y : array_like, shape (n,), 0/1 or bool
    splits : int
    test : float in (0, 1)
        Share held out: 0.1 of 962 + 712 holds out 96 + 72, as published.
    groups : array_like, shape (n,), optional
        Near duplicates share a value (of a perceptual hash, say): a group is never divided between training and testing.
        A group larger than what is to be held out of its class stays in training.

    Raises
    ------
    ValueError
        One class only, fewer than two rows of a class, or groups that leave a side without a class.

    Notes
    -----
    O(splits * n).
    """
    positive = _labels(y)
    if not 0.0 < test < 1.0:
        raise ValueError(f"test {test!r} is a share between 0 and 1")
    if min(positive.sum(), (~positive).sum()) < 2:
        raise ValueError("y: a split needs two images of each class")
    codes = np.arange(positive.size) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    if codes.shape != positive.shape:
        raise ValueError(f"{positive.size} labels but groups of shape {codes.shape}")
    quota = _quota(positive, test)
    drawn = []
    for _ in range(splits):
        out = _hold_out(positive, codes, quota, rng)
        if any(len(np.unique(positive[side])) < 2 for side in (out, ~out)):
            raise ValueError("groups are so large that one side of a split lacks a class: hold out more, or group less widely")
        drawn.append(Split(np.flatnonzero(~out), np.flatnonzero(out)))
    return tuple(drawn)


def nested_fractions(
    y: Any, train: Rows, *, fractions: Sequence[float] = FRACTIONS, rng: np.random.Generator
) -> tuple[Rows, ...]:
    """Parts of the training rows, one for each fraction: stratified, and every part holds the smaller ones.

    Parameters
    ----------
    y : array_like, shape (n,)
        Labels of all rows.
    train : int array
        Rows to choose from.
    fractions : sequence of float in [0, 1]
        0 gives no row (zero-shot); any other fraction gives at least one row of each class.
    """
    positive = _labels(y)
    if any(not 0.0 <= share <= 1.0 for share in fractions):
        raise ValueError("fractions are shares between 0 and 1")
    orders = [rng.permutation(train[positive[train] == k]) for k in (False, True)]
    parts = []
    for share in fractions:
        counts = [0 if share == 0 else max(1, round(share * order.size)) for order in orders]
        parts.append(np.sort(np.concatenate([order[:count] for order, count in zip(orders, counts, strict=True)])))
    return tuple(parts)


def stratified_holdout(y: Any, *, share: float, rng: np.random.Generator) -> Flags:
    """Mask of rows held out for validation: `share` of each class, at least one row, never all of it."""
    positive = _labels(y)
    held = np.zeros(positive.size, dtype=np.bool_)
    for k in (False, True):
        rows = np.flatnonzero(positive == k)
        count = min(max(1, round(share * rows.size)), rows.size - 1)
        held[rng.permutation(rows)[:count]] = True
    return held
