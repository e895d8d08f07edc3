"""The folder of a pair: two models, who was in which set, and how they were trained. Finished once, it is only read."""

from __future__ import annotations

import json
import os
import shutil
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from assaymark.errors import RunError
from assaymark.leave_out.split import checked_sets

__all__ = ["Fitted", "PairTrainer", "Steps", "TrainedPair", "TrainsOn", "pair_in", "train_built_in", "train_pair"]

_FORMAT, _FILE, _SPLIT, _CHECKPOINTS = "assaymark-pair 1", "pair.json", "split.parquet", "training"
_CURVE = 200  # points of a loss curve that are kept

TrainsOn = Callable[[Sequence[str], int], str]
"""A trainer of the user's: ids and seed to a model spec. Equal arguments must give an equally trained model."""


class Steps(Protocol):
    """What is used of a progress task (`assaymark.audit.Task`)."""

    def advance(self, amount: int = 1) -> None: ...

    def expect(self, total: int) -> None: ...


class Fitted(NamedTuple):
    """One trained model.

    Attributes
    ----------
    spec : str
        Model spec, its file or folder below the folder of the pair.
    losses : array, shape (steps,)
    facts : mapping
        What was measured on it, as JSON.
    warnings : tuple of str
    """

    spec: str
    losses: npt.NDArray[np.float64]
    facts: Mapping[str, Any]
    warnings: tuple[str, ...] = ()


class PairTrainer(Protocol):
    """Trains the models of a pair, which differ in the items they see and in nothing else."""

    def identity(self) -> dict[str, Any]:
        """What decides how a training ends, besides items and seed: recipe and data, as JSON."""
        ...

    def steps(self, rows: int) -> int:
        """Updates of the weights on so many items."""
        ...

    def fit(self, ids: Sequence[str], *, seed: int, out: Path, checkpoints: Path, steps: int, task: Steps | None) -> Fitted: ...


class TrainedPair(NamedTuple):
    """Two models of one recipe.

    Attributes
    ----------
    with_candidates, without_candidates : str
        Model specs of f (trained on S and C) and of g (on S and I).
    sets : mapping of id to "S", "C", "I" or "E"
    record : mapping
        What `pair.json` says: recipe, augmentation, seed, hash of the data, losses, checks, warnings.
    folder : Path
    """

    with_candidates: str
    without_candidates: str
    sets: Mapping[str, str]
    record: Mapping[str, Any]
    folder: Path


def pair_in(folder: Path, *, identity: Mapping[str, Any] | None = None) -> TrainedPair | None:
    """The finished pair of a folder; None where there is none.

    Parameters
    ----------
    identity : mapping, optional
        Recipe, seed, sets and data that it has to have.

    Raises
    ------
    RunError
        The folder holds a pair of another identity (naming the first difference), or its record is damaged.
    """
    import pyarrow.parquet as pq

    path = folder / _FILE
    if not path.is_file():
        return None
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        split = pq.read_table(folder / _SPLIT).to_pydict()
        sound = record["format"] == _FORMAT
        models = [_spec_in(folder, record[name]["model"]) for name in ("with", "without")]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"pair {path} cannot be read ({error}); delete its folder to train it again") from error
    if not sound:
        raise RunError(f"pair {path} is of another version; delete its folder to train it again")
    if identity is not None:
        there, here = record["identity"], json.loads(json.dumps(identity))
        for name in here:
            if there.get(name) != here[name]:
                difference = _first_difference(there.get(name), here[name])
                raise RunError(
                    f"folder {folder} holds a pair with another {name} ({difference}); delete it or name another folder"
                )
    return TrainedPair(models[0], models[1], dict(zip(split["id"], split["set"], strict=True)), record, folder)


def train_built_in(
    trainer: PairTrainer,
    *,
    ids: Sequence[str],
    sets: Sequence[str],
    contents: Sequence[bytes] | None,
    seed: int,
    folder: Path,
    task: Steps | None = None,
) -> TrainedPair:
    """Train both models from the same first weights with as many steps; a killed call is continued, a finished one returned."""
    letters = checked_sets(ids, sets, contents=contents)
    by_id = dict(sorted(zip(ids, letters.tolist(), strict=True)))
    # Sorted: the order of the rows that came in decides nothing.
    trained_on = {name: _ids_of(by_id, letters_) for name, letters_ in _TRAINED_ON.items()}
    identity = {**trainer.identity(), "seed": seed, "sets": _digest(by_id)}
    steps = trainer.steps(len(trained_on["with"]))
    if task is not None:
        task.expect(2 * steps)
    found = pair_in(folder, identity=identity)
    if found is not None:
        if task is not None:
            task.advance(2 * steps)
        return found
    fitted = {
        name: trainer.fit(
            trained_on[name], seed=seed, out=folder / name, checkpoints=folder / _CHECKPOINTS / name, steps=steps, task=task
        )
        for name in _TRAINED_ON
    }
    return _written(folder, fitted, by_id=by_id, identity=identity)


_TRAINED_ON = {"with": ("S", "C"), "without": ("S", "I")}


def _ids_of(by_id: Mapping[str, str], letters: tuple[str, ...]) -> list[str]:
    """Ids in some sets. Letters are a tuple: "" (no set: dropped, or left over by a split) is in every string."""
    return [one for one, letter in by_id.items() if letter in letters]


def train_pair(train: TrainsOn, *, ids: Sequence[str], sets: Sequence[str], seed: int, folder: Path) -> TrainedPair:
    """A pair from a trainer of the user's: called with the sorted ids of S and C, then with those of S and I, and the seed.

    Parameters
    ----------
    train : callable (ids, seed) -> model spec
    ids, sets : sequences of n str
        As `split_pool` or `checked_sets` give them.
    folder : Path
        For the record; a finished one is returned without a call.
    """
    letters = checked_sets(ids, sets)
    by_id = dict(sorted(zip(ids, letters.tolist(), strict=True)))
    identity = {"kind": "own", "seed": seed, "sets": _digest(by_id)}
    found = pair_in(folder, identity=identity)
    if found is not None:
        return found
    fitted = {name: Fitted(train(_ids_of(by_id, letters_), seed), np.empty(0), {}) for name, letters_ in _TRAINED_ON.items()}
    return _written(folder, fitted, by_id=by_id, identity=identity)


def _written(
    folder: Path, fitted: Mapping[str, Fitted], *, by_id: Mapping[str, str], identity: Mapping[str, Any]
) -> TrainedPair:
    """Split first, record last: a folder with a record is complete. Checkpoints are of no use afterwards."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder.mkdir(parents=True, exist_ok=True)
    shared = set.intersection(*(set(one.warnings) for one in fitted.values()))
    said = [text if text in shared else f"model {name}: {text}" for name, one in fitted.items() for text in one.warnings]
    said = list(dict.fromkeys(said))
    record: dict[str, Any] = {"format": _FORMAT, "identity": dict(identity), "warnings": said}
    record["sizes"] = {letter: list(by_id.values()).count(letter) for letter in "SCIE"}
    for name, one in fitted.items():
        curve = (
            [float(part.mean()) for part in np.array_split(one.losses, min(_CURVE, len(one.losses)))] if len(one.losses) else []
        )
        record[name] = {"model": _relative(folder, one.spec), "steps": len(one.losses), "losses": curve, **one.facts}
    table = pa.table({"id": list(by_id), "set": list(by_id.values())})
    pq.write_table(table, folder / f"{_SPLIT}.part")
    os.replace(folder / f"{_SPLIT}.part", folder / _SPLIT)
    (folder / f"{_FILE}.part").write_text(json.dumps(record, indent=1, ensure_ascii=False), encoding="utf-8")
    os.replace(folder / f"{_FILE}.part", folder / _FILE)
    shutil.rmtree(folder / _CHECKPOINTS, ignore_errors=True)
    for text in said:
        warnings.warn(text, stacklevel=4)
    found = pair_in(folder)
    assert found is not None
    return found


def _relative(folder: Path, spec: str) -> str:
    """A spec whose path is below the folder, relative to it, so that the folder can be moved; others as they are."""
    scheme, _, path = spec.partition(":")
    if not path or not Path(path).exists() or not Path(path).resolve().is_relative_to(folder.resolve()):
        return spec
    return f"{scheme}:./{Path(path).resolve().relative_to(folder.resolve()).as_posix()}"


def _spec_in(folder: Path, spec: str) -> str:
    scheme, _, path = spec.partition(":./")
    return f"{scheme}:{folder.resolve() / path}" if path else spec


def _digest(by_id: Mapping[str, str]) -> str:
    from hashlib import blake2b

    return blake2b(json.dumps(list(by_id.items())).encode(), digest_size=16).hexdigest()


def _first_difference(there: Any, here: Any) -> str:
    if isinstance(there, dict) and isinstance(here, dict):
        for name in here:
            if there.get(name) != here[name]:
                return f"{name}: {_first_difference(there.get(name), here[name])}"
    return f"{there!r} there, {here!r} here"
