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
from assaymark.models.protocols import CAPABILITIES

__all__ = [
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
"""Capabilities that answer questions (reads-columns does not)."""


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
    `notes` (what the reader of a report should know about the model), and two counters of this process: `calls`, the items that
    the model computed, and `cached`, the items that were answered without it (from the cache, or as a duplicate in a batch).

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
        self.calls = 0
        self.cached = 0
        self._model, self._cache, self._batch_size = model, cache, batch_size
        self._lock = threading.Lock()
        # Set on the instance, not looked up on demand: run-time protocols inspect the instance without calling __getattr__.
        for capability in capabilities:
            for attribute in capability_attributes(capability):
                setattr(self, attribute, getattr(model, attribute))
            if capability in METHODS:
                setattr(self, METHODS[capability].name, partial(self._answer, capability))

    def __reduce__(self) -> tuple[Any, ...]:
        return _guarded, (self.role, self._model, self.capabilities, self._cache, self._batch_size)

    def __getattr__(self, name: str) -> Any:
        declared = " and ".join(self.__dict__.get("capabilities", ())) or "no capability"
        raise AttributeError(f"{name!r} is not part of what the role {self.__dict__.get('role')!r} declares ({declared})")

    def __repr__(self) -> str:
        return f"GuardedModel({self.role!r}, {self.spec!r}, {', '.join(self.capabilities)})"

    def _answer(self, capability: str, items: Any) -> Array:
        method, content = METHODS[capability]
        if content == "embedding":
            items = np.ascontiguousarray(items, dtype=np.float32)
        keys = KEYS[content](items)
        if not keys:
            return np.empty((0, self._width(capability)), dtype=np.float32)
        first: dict[bytes, int] = {}
        for position, key in enumerate(keys):
            first.setdefault(key, position)
        answers = self._from_cache(capability, list(first))
        missing = [first[key] for key in first if key not in answers]
        if content == "text":
            missing.sort(key=lambda position: len(items[position] or ""))
        for start in range(0, len(missing), self._batch_size):
            answers.update(self._compute(capability, method, items, keys, missing[start : start + self._batch_size]))
        with self._lock:
            self.cached += len(keys) - len(missing)
        return np.stack([answers[key] for key in keys])

    def _from_cache(self, capability: str, keys: list[bytes]) -> dict[bytes, Array]:
        if self._cache is None:
            return {}
        values, found = self._cache.get_many(self.fingerprint, capability, keys)
        if values.shape[1] != self._width(capability):
            return {}
        return {keys[index]: values[index] for index in np.flatnonzero(found)}

    def _compute(self, capability: str, method: str, items: Any, keys: list[bytes], batch: list[int]) -> dict[bytes, Array]:
        chosen = items[batch] if isinstance(items, np.ndarray) else [items[position] for position in batch]
        values = np.asarray(getattr(self._model, method)(chosen), dtype=np.float32)
        if values.shape != (len(batch), self._width(capability)):
            expected = (len(batch), self._width(capability))
            raise ModelError(f"model {self.spec}: {method} answered with shape {values.shape}, expected {expected}")
        with self._lock:
            self.calls += len(batch)
        batch_keys = [keys[position] for position in batch]
        if self._cache is not None:
            self._cache.put_many(self.fingerprint, capability, batch_keys, values)
        return dict(zip(batch_keys, values, strict=True))

    def _width(self, capability: str) -> int:
        return int(self._model.dimension) if capability.startswith("embeds-") else len(self._model.labels)


def _guarded(role: str, model: Any, capabilities: tuple[str, ...], cache: AnswerCache | None, batch_size: int) -> GuardedModel:
    return GuardedModel(role, model, capabilities, cache=cache, batch_size=batch_size)
