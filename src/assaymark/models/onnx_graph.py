"""An ONNX file with one input, run by onnxruntime: opened, checked, run batch by batch, pickled as its path."""

from __future__ import annotations

import json
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from assaymark.errors import ConfigError, MissingExtra, ModelError
from assaymark.models.spec import ModelSpec

if TYPE_CHECKING:
    from assaymark.models.opening import Loading

__all__ = ["OnnxGraph", "choice", "probabilities", "with_sidecar"]

ACTIVATIONS = ("none", "softmax", "sigmoid", "clip")
Array = npt.NDArray[np.float32]


class OnnxGraph:
    """A graph from one float tensor to (first of all) one other.

    Attributes
    ----------
    shape : list
        Of the input; an entry that is no int is free.
    width : int or None
        Last dimension of the first output, where the graph fixes it.
    """

    def __init__(self, spec: ModelSpec, loading: Loading) -> None:
        self.path, self._spec, self._loading = spec.path(), spec, loading
        if not self.path.is_file():
            raise ModelError(f"model {spec.text}: no file {self.path}")
        self._session: Any = _session(self.path, spec, loading)
        given = self._session.get_inputs()
        if len(given) != 1:
            names = ", ".join(f"{tensor.name}{tensor.shape}" for tensor in given)
            raise ModelError(f"model {spec.text}: a scorer takes one input; this takes {names}")
        self.shape: list[Any] = list(given[0].shape)
        self._input = given[0].name
        last = (self._session.get_outputs()[0].shape or [None])[-1]
        self.width = last if isinstance(last, int) else None
        self._fixed_batch = self.shape[0] if self.shape and isinstance(self.shape[0], int) else None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_session": None}

    @property
    def batch_size(self) -> int:
        """Items a run: what the graph fixes, or what the user set."""
        return self._fixed_batch or self._loading.batch_size

    def fingerprint(self, *identity: Any) -> str:
        """Hash of the file and of what else decides the answers."""
        return blake2b(repr(identity).encode() + self.path.read_bytes(), digest_size=16).hexdigest()

    def run(self, batch: Array) -> npt.NDArray[Any]:
        """First output for at most `batch_size` items. A graph that takes no smaller batch gets copies, which are cut off."""
        if self._session is None:
            self._session = _session(self.path, self._spec, self._loading)
        given = np.resize(batch, (self._fixed_batch, *batch.shape[1:])) if self._fixed_batch else batch
        outputs = self._session.run(None, {self._input: np.ascontiguousarray(given, dtype=np.float32)})[0]
        return np.asarray(outputs)[: len(batch)]


def _session(path: Path, spec: ModelSpec, loading: Loading) -> Any:
    try:
        import onnxruntime  # type: ignore[import-untyped,unused-ignore]
    except ImportError as error:
        raise MissingExtra("vision", f"model {spec.text}") from error
    available = onnxruntime.get_available_providers()
    if loading.device == "cuda" and "CUDAExecutionProvider" not in available:
        raise ModelError(f"model {spec.text}: device is cuda, but this onnxruntime runs on {', '.join(available)}")
    cuda = loading.device != "cpu" and "CUDAExecutionProvider" in available
    providers = (["CUDAExecutionProvider"] if cuda else []) + ["CPUExecutionProvider"]
    try:
        return onnxruntime.InferenceSession(str(path), providers=providers)
    except Exception as error:  # onnxruntime's exceptions have no common base of their own
        line = (str(error).splitlines() or [""])[0][:200]
        raise ModelError(f"model {spec.text}: onnxruntime cannot load {path.name} ({line})") from error


def with_sidecar(spec: ModelSpec) -> ModelSpec:
    """The spec with the options of the JSON file beside the model put under its own."""
    sidecar = spec.path().with_suffix(".json")
    if not sidecar.is_file():
        return spec
    try:
        stated = json.loads(sidecar.read_text(encoding="utf-8"))
        written = {key: ",".join(map(str, value)) if isinstance(value, list) else str(value) for key, value in stated.items()}
    except (OSError, ValueError, AttributeError) as error:
        raise ModelError(f"model {spec.text}: {sidecar.name} is not a JSON object ({error})") from error
    return replace(spec, options={**written, **spec.options})


def choice(spec: ModelSpec, name: str, allowed: tuple[str, ...]) -> str:
    """An option with a closed set of values; the first is the default."""
    value = spec.options.get(name, allowed[0]).lower()
    if value not in allowed:
        raise ConfigError(f"model {spec.text}: {name} is {value!r}; it must be one of {', '.join(allowed)}")
    return value


def probabilities(spec: ModelSpec, outputs: npt.NDArray[Any], activation: str, *, labels: int) -> Array:
    """Outputs of a graph as probabilities, shape (n, labels).

    `clip` is for regressions on 0 and 1, whose outputs are probabilities that overshoot.

    Raises
    ------
    ModelError
        Another number of outputs than labels, or outputs outside [0, 1] with activation none.
    """
    values = np.asarray(outputs, dtype=np.float64).reshape(len(outputs), -1)
    if values.shape[1] != labels:
        raise ModelError(f"model {spec.text}: it has {values.shape[1]} outputs, but {labels} labels are named")
    if activation == "softmax":
        powers = np.exp(values - values.max(axis=1, keepdims=True))
        values = powers / powers.sum(axis=1, keepdims=True)
    elif activation == "sigmoid":
        values = np.exp(-np.logaddexp(0.0, -values))
    elif activation == "none" and not ((values > -1e-4) & (values < 1 + 1e-4)).all():
        raise ModelError(f"model {spec.text}: outputs are no probabilities; add activation=softmax or activation=sigmoid")
    return np.clip(values, 0.0, 1.0).astype(np.float32)
