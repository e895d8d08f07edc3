"""A model in a role: only what the role declares, every answer cached by content, every computed item counted."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from assaymark.allowance import Allowance
from assaymark.errors import EndpointError, ModelError
from assaymark.models.chat_prompts import flat_text
from assaymark.models.content import KEYS
from assaymark.models.protocols import CAPABILITIES, CONTINUATION_COLUMNS, Decision

__all__ = [
    "DIRECT",
    "METHODS",
    "AnswerCache",
    "CapabilityMethod",
    "GuardedModel",
    "Role",
    "capability_attributes",
    "capability_methods",
    "declared_capabilities",
]

Array = npt.NDArray[np.float32]


class CapabilityMethod(NamedTuple):
    """The method that answers for a capability, the kind of content it is asked about, and whether it answers in words."""

    name: str
    content: str
    in_words: bool = False


METHODS: dict[str, CapabilityMethod] = {
    "scores-texts": CapabilityMethod("score_texts", "text"),
    "scores-images": CapabilityMethod("score_images", "image"),
    "scores-embeddings": CapabilityMethod("score_embeddings", "embedding"),
    "embeds-images": CapabilityMethod("embed_images", "image"),
    "embeds-texts": CapabilityMethod("embed_texts", "text"),
    "captions-images": CapabilityMethod("caption_images", "image", in_words=True),
    "generates-text": CapabilityMethod("generate_text", "prompt", in_words=True),
    "scores-continuations": CapabilityMethod("score_continuations", "continuation"),
    "scores-tokens": CapabilityMethod("summarise_tokens", "text"),
    "fills-spans": CapabilityMethod("fill_spans", "text", in_words=True),
}
"""Capabilities that answer questions about items (reads-columns does not): their answers are cached and counted."""

DIRECT: dict[str, tuple[str, ...]] = {
    "combines-columns": ("combine_columns",),
    "predicts-tokens": ("next_tokens",),
    "records-activations": ("raw_pixels", "record"),
    "records-text-activations": ("record_texts",),
    "scores-tokens": ("score_tokens",),
    "trains-images": ("feature_module", "prepare_images"),
    "trains-texts": ("encode_texts", "classifier_module", "save_classifier"),
}
"""Methods handed through as they are: arithmetic on what the caller holds, no answer about an item, or one too wide to keep."""

_WORDS_PER_BATCH = 8  # items computed between two writes of answers in words: one takes seconds, not milliseconds


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

    def get_texts(self, model: str, capability: str, keys: Sequence[bytes]) -> list[list[str] | None]: ...

    def put_texts(self, model: str, capability: str, keys: Sequence[bytes], texts: Sequence[Sequence[str]]) -> None: ...


def declared_capabilities(role: Role) -> tuple[str, ...]:
    """Capabilities that a role names, in its order, each once."""
    return tuple(dict.fromkeys((*role.any_of, *role.all_of)))


def capability_attributes(capability: str) -> tuple[str, ...]:
    """Names of the data attributes that come with a capability (`labels`, `dimension`, ...)."""
    return tuple(CAPABILITIES[capability].__annotations__)


def capability_methods(capability: str) -> tuple[str, ...]:
    """Names of the methods that come with a capability."""
    answering = (METHODS[capability].name,) if capability in METHODS else ()
    return answering + DIRECT.get(capability, ())


class _Asked(NamedTuple):
    """Items of one call by content: `unique` keys, the `positions` of their first items, and each item's row in `unique`."""

    unique: list[bytes]
    positions: list[int]
    rows: npt.NDArray[np.intp]

    @classmethod
    def about(cls, items: Any, content: str) -> _Asked:
        keys = KEYS[content](items)
        first: dict[bytes, int] = {}
        for position, key in enumerate(keys):
            first.setdefault(key, position)
        rank = {key: row for row, key in enumerate(first)}
        return cls(list(first), list(first.values()), np.array([rank[key] for key in keys], dtype=np.intp))


class _Found(NamedTuple):
    """Answers of some items, and which of them were there."""

    answers: Array
    found: npt.NDArray[np.bool_]


class GuardedModel:
    """A model as an audit sees it.

    Besides the methods and attributes of the exposed capabilities it has `role`, `capabilities`, `spec`, `fingerprint`,
    `notes` (what the reader of a report should know about the model, as it stands when asked), `decision` (its threshold and
    measured error, or None), `usage` (what a model that is paid for has used, or None), and two counters of this process:
    `calls`, the items that the model computed, and `cached`, the items that were answered without it (from the cache, or as a
    duplicate in a batch). `remote` says whether items leave this machine. What a model calls `cheap` is asked directly.

    Notes
    -----
    Missing items are computed in batches of `batch_size`, texts of similar length and prompts with the same beginning together
    (what a batch shares is worked out once by models that can), and every finished batch is cached
    at once: a killed run loses at most one batch. Of a batch that fails half-way the finished answers are kept too, where the
    model says which they are (`EndpointError.finished`). A batch is computed only if `allowance` has room for all of it;
    `cheap` and `DIRECT` methods are not counted there either.
    """

    def __init__(
        self,
        role: str,
        model: Any,
        capabilities: tuple[str, ...],
        *,
        cache: AnswerCache | None = None,
        batch_size: int = 64,
        allowance: Allowance | None = None,
    ) -> None:
        self.role, self.capabilities = role, capabilities
        self.spec, self.fingerprint = model.spec, model.fingerprint
        self.decision: Decision | None = getattr(model, "decision", None)
        self.remote = bool(getattr(model, "remote", False))
        self.calls = 0
        self.cached = 0
        self._allowance = allowance
        self._model, self._cache, self._batch_size = model, cache, batch_size
        self._at_once: int | None = getattr(model, "at_once", None)
        self._cheap: tuple[str, ...] = tuple(getattr(model, "cheap", ()))
        self._lock = threading.Lock()
        # Set on the instance, not looked up on demand: run-time protocols inspect the instance without calling __getattr__.
        for capability in capabilities:
            for attribute in capability_attributes(capability):
                setattr(self, attribute, getattr(model, attribute))
            for method in self._direct_methods(capability):
                setattr(self, method, getattr(model, method))
            if capability in METHODS and capability not in self._cheap:
                answer = self._answer_in_words if METHODS[capability].in_words else self._answer
                setattr(self, METHODS[capability].name, partial(answer, capability))

    @property
    def notes(self) -> tuple[str, ...]:
        return tuple(getattr(self._model, "notes", ()))

    @property
    def usage(self) -> Any:
        return getattr(self._model, "usage", None)

    def _direct_methods(self, capability: str) -> tuple[str, ...]:
        cheap = (METHODS[capability].name,) if capability in self._cheap else ()
        return (*DIRECT.get(capability, ()), *cheap)

    def __reduce__(self) -> tuple[Any, ...]:
        return _guarded, (self.role, self._model, self.capabilities, self._cache, self._batch_size, self._allowance)

    def __getattr__(self, name: str) -> Any:
        declared = " and ".join(self.__dict__.get("capabilities", ())) or "no capability"
        raise AttributeError(f"{name!r} is not part of what the role {self.__dict__.get('role')!r} declares ({declared})")

    def __repr__(self) -> str:
        return f"GuardedModel({self.role!r}, {self.spec!r}, {', '.join(self.capabilities)})"

    def known(self, capability: str, items: Any, **parameters: Any) -> int:
        """Of some items those that need no computing: their answers are cached, or they repeat another one.

        `calls` would grow by the others, if the method of the capability were called with the items and these parameters.
        """
        if capability not in self.capabilities or capability not in METHODS:
            raise ValueError(f"role {self.role!r} answers no questions of capability {capability!r}")
        if capability in self._cheap:
            return len(items)
        if METHODS[capability].content == "embedding":
            items = np.ascontiguousarray(items, dtype=np.float32)
        asked = _Asked.about(items, METHODS[capability].content)
        if METHODS[capability].in_words:
            missing = sum(answer is None for answer in self._known_texts(_space(capability, parameters), asked.unique))
        else:
            missing = int((~self._from_cache(capability, asked.unique).found).sum())
        return len(items) - missing

    def _answer(self, capability: str, items: Any) -> Array:
        content = METHODS[capability].content
        if content == "embedding":
            items = np.ascontiguousarray(items, dtype=np.float32)
        asked = _Asked.about(items, content)
        answers, found = self._from_cache(capability, asked.unique)
        missing = _arranged(np.flatnonzero(~found).tolist(), lambda row: items[asked.positions[row]], content)
        for rows in _batches(missing, min(self._batch_size, self._at_once or self._batch_size)):
            positions = [asked.positions[row] for row in rows]
            answers[rows] = self._compute(capability, items, positions, [asked.unique[row] for row in rows])
        self._count(cached=len(asked.rows) - len(missing))
        return answers[asked.rows]

    def _answer_in_words(self, capability: str, items: Any, **parameters: Any) -> list[list[str]]:
        """As `_answer`, for lists of texts; the parameters of the call are part of the key."""
        content = METHODS[capability].content
        asked = _Asked.about(items, content)
        space = _space(capability, parameters)
        answers = self._known_texts(space, asked.unique)
        unknown = [row for row, answer in enumerate(answers) if answer is None]
        missing = _arranged(unknown, lambda row: items[asked.positions[row]], content)
        for rows in _batches(missing, min(self._batch_size, self._at_once or _WORDS_PER_BATCH)):
            keep = partial(self._keep_texts, space, [asked.unique[row] for row in rows])
            texts = self._say(capability, [items[asked.positions[row]] for row in rows], parameters, keep)
            for row, said in zip(rows, texts, strict=True):
                answers[row] = said
        self._count(cached=len(asked.rows) - len(missing))
        return [list(answers[row] or ()) for row in asked.rows]

    def _known_texts(self, space: str, keys: list[bytes]) -> list[list[str] | None]:
        known = self._cache.get_texts(self.fingerprint, space, keys) if self._cache is not None else None
        return known or [None] * len(keys)

    def _ask(self, method: str, batch: Any, **parameters: Any) -> Any:
        """What the model says to one batch, if the allowance has room for it."""
        if self._allowance is None:
            return getattr(self._model, method)(batch, **parameters)
        self._allowance.take(len(batch), remote=self.remote, model=f"model {self.spec} ({self.role})")
        try:
            return getattr(self._model, method)(batch, **parameters)
        except BaseException as error:
            finished = error.finished if isinstance(error, EndpointError) else ()
            self._allowance.give_back(len(batch) - len(finished), remote=self.remote)
            raise

    def _say(
        self, capability: str, batch: list[Any], parameters: dict[str, Any], keep: Callable[[Mapping[int, list[str]]], None]
    ) -> list[list[str]]:
        """Answers of the model for one batch, kept before they are returned."""
        method = METHODS[capability].name
        try:
            texts = [list(said) for said in self._ask(method, batch, **parameters)]
        except EndpointError as error:
            keep(error.finished)
            raise
        if len(texts) != len(batch) or not all(isinstance(text, str) for said in texts for text in said):
            raise ModelError(f"model {self.spec}: {method} must answer with a list of texts for each of {len(batch)} items")
        keep(dict(enumerate(texts)))
        return texts

    def _keep_texts(self, space: str, keys: list[bytes], texts: Mapping[int, list[str]]) -> None:
        """Count and cache computed answers by the position of their item in the batch."""
        self._count(calls=len(texts))
        if self._cache is not None and texts:
            self._cache.put_texts(self.fingerprint, space, [keys[row] for row in texts], list(texts.values()))

    def _count(self, *, calls: int = 0, cached: int = 0) -> None:
        with self._lock:
            self.calls += calls
            self.cached += cached

    def _from_cache(self, capability: str, keys: list[bytes]) -> _Found:
        shape = (len(keys), self._width(capability))
        if self._cache is not None and keys:
            values, found = self._cache.get_many(self.fingerprint, capability, keys)
            if values.shape == shape:
                return _Found(values, found)
        return _Found(np.empty(shape, dtype=np.float32), np.zeros(len(keys), dtype=bool))

    def _compute(self, capability: str, items: Any, positions: list[int], keys: list[bytes]) -> Array:
        """Answers of the model for one batch, cached before they are returned."""
        method = METHODS[capability].name
        batch = items[positions] if isinstance(items, np.ndarray) else [items[position] for position in positions]
        try:
            values = np.asarray(self._ask(method, batch), dtype=np.float32)
        except EndpointError as error:
            kept = np.array(list(error.finished.values()), dtype=np.float32).reshape(-1, self._width(capability))
            self._keep(capability, [keys[row] for row in error.finished], kept)
            raise
        expected = (len(positions), self._width(capability))
        if values.shape != expected:
            raise ModelError(f"model {self.spec}: {method} answered with shape {values.shape}, expected {expected}")
        self._keep(capability, keys, values)
        return values

    def _keep(self, capability: str, keys: list[bytes], values: Array) -> None:
        """Count and cache computed answers."""
        self._count(calls=len(keys))
        if self._cache is not None and keys:
            self._cache.put_many(self.fingerprint, capability, keys, values)

    def _width(self, capability: str) -> int:
        if capability == "scores-continuations":
            return len(CONTINUATION_COLUMNS)
        if capability == "scores-tokens":
            return len(self._model.token_columns)
        return int(self._model.dimension) if capability.startswith("embeds-") else len(self._model.labels)


def _space(capability: str, parameters: Mapping[str, Any]) -> str:
    """Where the cache files answers that depend on the parameters of the call."""
    return f"{capability} {json.dumps(parameters, sort_keys=True)}"


_ORDERS: dict[str, Callable[[Any], Any]] = {
    "text": lambda text: len(text or ""),
    "prompt": flat_text,
    "continuation": lambda item: (flat_text(item[0]), item[1]),
}
"""What items of a kind are sorted by before they are cut into batches."""


def _arranged(rows: list[int], item: Callable[[int], Any], content: str) -> list[int]:
    """Rows in the order in which they are cheapest to ask about."""
    order = _ORDERS.get(content)
    return rows if order is None else sorted(rows, key=lambda row: order(item(row)))


def _batches(rows: list[int], size: int) -> Iterator[list[int]]:
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def _guarded(
    role: str,
    model: Any,
    capabilities: tuple[str, ...],
    cache: AnswerCache | None,
    batch_size: int,
    allowance: Allowance | None,
) -> GuardedModel:
    return GuardedModel(role, model, capabilities, cache=cache, batch_size=batch_size, allowance=allowance)
