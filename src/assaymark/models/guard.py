"""A model in a role: only what the role declares, every answer cached by content, every computed item counted."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from assaymark.errors import ModelError
from assaymark.models.content import KEYS
from assaymark.models.protocols import CAPABILITIES, Decision

__all__ = [
    "DIRECT",
    "METHODS",
    "AnswerCache",
    "CapabilityMethod",
    "GuardedModel",
    "Role",
    "capability_attributes",
    "declared_capabilities",
]

Array = npt.NDArray[np.float32]


class CapabilityMethod(NamedTuple):
    """The method that answers for a capability, and the kind of content it is asked about."""

    name: str
    content: str


METHODS: dict[str, CapabilityMethod] = {
    "scores-texts": CapabilityMethod("score_texts", "text"),
    "scores-images": CapabilityMethod("score_images", "image"),
    "scores-embeddings": CapabilityMethod("score_embeddings", "embedding"),
    "embeds-images": CapabilityMethod("embed_images", "image"),
    "embeds-texts": CapabilityMethod("embed_texts", "text"),
}
"""Capabilities whose answers are worth keeping."""

DIRECT: dict[str, tuple[str, ...]] = {"combines-columns": ("combine_columns",)}
"""Methods that are handed through as they are: arithmetic on values that the caller holds already."""


class Role(Protocol):
    """What is read of `assaymark.audit.ModelRole`."""

    @property
    def name(self) -> str: ...

    @property
    def any_of(self) -> tuple[str, ...]: ...

    @property
    def all_of(self) -> tuple[str, ...]: ...


class AnswerCache(Protocol):
    """What is used of `assaymark.store.cache.ModelCache`."""

    def get_many(self, model: str, capability: str, keys: Sequence[bytes]) -> tuple[Array, npt.NDArray[np.bool_]]: ...

    def put_many(self, model: str, capability: str, keys: Sequence[bytes], values: Array) -> None: ...


def declared_capabilities(role: Role) -> tuple[str, ...]:
    """Capabilities that a role names, in its order, each once."""
    return tuple(dict.fromkeys((*role.any_of, *role.all_of)))


def capability_attributes(capability: str) -> tuple[str, ...]:
    """Names of the data attributes that come with a capability (`labels`, `dimension`, ...)."""
    return tuple(CAPABILITIES[capability].__annotations__)


class GuardedModel:
    """A model as an audit sees it.

    Besides the methods and attributes of the exposed capabilities it has `role`, `capabilities`, `spec`, `fingerprint`,
    `notes` (what the reader of a report should know about the model), `decision` (its threshold and measured error, or None),
    and two counters of this process: `calls`, the items that the model computed, and `cached`, the items that were answered
    without it (from the cache, or as a duplicate in a batch). What a model calls `cheap` is asked directly.

    Notes
    -----
    Missing items are computed in batches of `batch_size`, texts of similar length together, and every finished batch is cached
    at once: a killed run loses at most one batch.
    """

    def __init__(
        self, role: str, model: Any, capabilities: tuple[str, ...], *, cache: AnswerCache | None = None, batch_size: int = 64
    ) -> None:
        self.role, self.capabilities = role, capabilities
        self.spec, self.fingerprint = model.spec, model.fingerprint
        self.notes: tuple[str, ...] = tuple(getattr(model, "notes", ()))
        self.decision: Decision | None = getattr(model, "decision", None)
        self.calls = 0
        self.cached = 0
        self._model, self._cache, self._batch_size = model, cache, batch_size
        self._cheap: tuple[str, ...] = tuple(getattr(model, "cheap", ()))
        self._lock = threading.Lock()
        # Set on the instance, not looked up on demand: run-time protocols inspect the instance without calling __getattr__.
        for capability in capabilities:
            for attribute in capability_attributes(capability):
                setattr(self, attribute, getattr(model, attribute))
            for method in self._direct_methods(capability):
                setattr(self, method, getattr(model, method))
            if capability in METHODS and capability not in self._cheap:
                setattr(self, METHODS[capability].name, partial(self._answer, capability))

    def _direct_methods(self, capability: str) -> tuple[str, ...]:
        cheap = (METHODS[capability].name,) if capability in self._cheap else ()
        return (*DIRECT.get(capability, ()), *cheap)

    def __reduce__(self) -> tuple[Any, ...]:
        return _guarded, (self.role, self._model, self.capabilities, self._cache, self._batch_size)

    def __getattr__(self, name: str) -> Any:
        declared = " and ".join(self.__dict__.get("capabilities", ())) or "no capability"
        raise AttributeError(f"{name!r} is not part of what the role {self.__dict__.get('role')!r} declares ({declared})")

    def __repr__(self) -> str:
        return f"GuardedModel({self.role!r}, {self.spec!r}, {', '.join(self.capabilities)})"

    def _answer(self, capability: str, items: Any) -> Array:
        content = METHODS[capability].content
        if content == "embedding":
            items = np.ascontiguousarray(items, dtype=np.float32)
        keys = KEYS[content](items)
        first: dict[bytes, int] = {}
        for position, key in enumerate(keys):
            first.setdefault(key, position)
        unique, positions = list(first), list(first.values())
        answers, found = self._from_cache(capability, unique)
        missing = np.flatnonzero(~found).tolist()
        if content == "text":
            missing.sort(key=lambda row: len(items[positions[row]] or ""))
        for start in range(0, len(missing), self._batch_size):
            rows = missing[start : start + self._batch_size]
            answers[rows] = self._compute(capability, items, [positions[row] for row in rows], [unique[row] for row in rows])
        with self._lock:
            self.cached += len(keys) - len(missing)
        rank = {key: row for row, key in enumerate(unique)}
        return answers[np.fromiter((rank[key] for key in keys), dtype=np.intp, count=len(keys))]

    def _from_cache(self, capability: str, keys: list[bytes]) -> tuple[Array, npt.NDArray[np.bool_]]:
        shape = (len(keys), self._width(capability))
        if self._cache is not None and keys:
            values, found = self._cache.get_many(self.fingerprint, capability, keys)
            if values.shape == shape:
                return values, found
        return np.empty(shape, dtype=np.float32), np.zeros(len(keys), dtype=bool)

    def _compute(self, capability: str, items: Any, positions: list[int], keys: list[bytes]) -> Array:
        """Answers of the model for one batch, cached before they are returned."""
        method = METHODS[capability].name
        batch = items[positions] if isinstance(items, np.ndarray) else [items[position] for position in positions]
        values = np.asarray(getattr(self._model, method)(batch), dtype=np.float32)
        expected = (len(positions), self._width(capability))
        if values.shape != expected:
            raise ModelError(f"model {self.spec}: {method} answered with shape {values.shape}, expected {expected}")
        with self._lock:
            self.calls += len(positions)
        if self._cache is not None:
            self._cache.put_many(self.fingerprint, capability, keys, values)
        return values

    def _width(self, capability: str) -> int:
        return int(self._model.dimension) if capability.startswith("embeds-") else len(self._model.labels)


def _guarded(role: str, model: Any, capabilities: tuple[str, ...], cache: AnswerCache | None, batch_size: int) -> GuardedModel:
    return GuardedModel(role, model, capabilities, cache=cache, batch_size=batch_size)
