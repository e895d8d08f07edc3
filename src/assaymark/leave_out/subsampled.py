"""Several models on random halves of a pool: every item is left out by some of them (Feldman and Zhang)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.errors import ConfigError, RunError
from assaymark.leave_out.trained_pair import Steps, TrainsOn

__all__ = ["Subsampled", "membership", "train_subsampled"]


class Subsampled(NamedTuple):
    """Models and what each has seen.

    Attributes
    ----------
    specs : tuple of m str
        Model specs.
    ids : tuple of n str, sorted
    member : array of bool, shape (m, n)
        Whether a model was trained on an item.
    """

    specs: tuple[str, ...]
    ids: tuple[str, ...]
    member: npt.NDArray[np.bool_]


def membership(ids: Sequence[str], *, models: int, share: float = 0.5, seed: int) -> npt.NDArray[np.bool_]:
    """Which items each model sees: the share of the pool with the smallest hashes of model, seed and id, shape (models, n).

    Another model changes nothing for the first ones.
    """
    if models < 2 or not 0 < share < 1:
        raise ConfigError(f"{models} models on a share of {share}: it takes 2 models or more, on a share between 0 and 1")
    member = np.zeros((models, len(ids)), dtype=bool)
    for model in range(models):
        keys = np.array([blake2b(f"{seed}\0{model}\0{one}".encode(), digest_size=8).digest() for one in ids], dtype="S8")
        member[model, np.argsort(keys, kind="stable")[: max(round(share * len(ids)), 1)]] = True
    return member


def train_subsampled(
    train: TrainsOn,
    *,
    ids: Sequence[str],
    models: int,
    share: float = 0.5,
    seed: int,
    folder: Path,
    task: Steps | None = None,
) -> Subsampled:
    """Train models on random parts of a pool; with 8 or more, memory of every item can be estimated at once.

    Parameters
    ----------
    train : callable (ids, seed) -> model spec
        `EncoderTrainer` and `ClipTrainer` with a folder are such; model i gets seed + i.
    ids : sequence of n different str
    models : int
    share : float
        Part of the pool that each sees; a half in [1].
    folder : Path
        Gets membership.parquet (id, and a column a model), and models.txt as they are finished: a killed call trains only what
        is missing.
    task : progress task, optional
        Advanced by 1 a model.

    Notes
    -----
    `models` trainings. The estimator is the difference of mean scores with and without an item; it is the caller's.

    References
    ----------
    .. [1] Feldman, Zhang. What neural networks memorize and why. NeurIPS 2020, eq. 1.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    ordered = sorted(ids)
    member = membership(ordered, models=models, share=share, seed=seed)
    folder.mkdir(parents=True, exist_ok=True)
    table = pa.table({"id": ordered, **{f"model_{i}": row for i, row in enumerate(member)}})
    path = folder / "membership.parquet"
    if path.is_file() and not _extends(pq.read_table(path), table):
        raise RunError(f"folder {folder} holds models on other halves; delete it or name another folder")
    pq.write_table(table, f"{path}.part")
    os.replace(f"{path}.part", path)
    done = folder / "models.txt"
    specs = done.read_text(encoding="utf-8").splitlines()[:models] if done.is_file() else []
    if task is not None:
        task.expect(models)
        task.advance(len(specs))
    for model in range(len(specs), models):
        specs.append(train([one for one, seen in zip(ordered, member[model], strict=True) if seen], seed + model))
        temporary = done.with_name("models.txt.part")
        temporary.write_text("".join(f"{spec}\n" for spec in specs), encoding="utf-8")
        os.replace(temporary, done)
        if task is not None:
            task.advance()
    return Subsampled(tuple(specs), tuple(ordered), member)


def _extends(there: object, here: object) -> bool:
    """Whether the models of the one table are the first of the other, or the other way round."""
    shared = [name for name in there.column_names if name in here.column_names]  # type: ignore[attr-defined]
    return all(there[name].equals(here[name]) for name in shared)  # type: ignore[index]
