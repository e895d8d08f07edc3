"""`onnx:path` - image scorers in the ONNX format, run by onnxruntime.

What the file does not say comes from a JSON file beside it (`head.onnx` -> `head.json`) or from the spec, which wins:

=============  ====================================================================================================
`labels`       names of the outputs, in order (needed)
`size`         side of the square input in pixels; default: the model's own, when it is fixed
`mean`, `std`  per channel, after scaling pixels to [0, 1]; defaults 0 and 1
`activation`   softmax, sigmoid, or none (default) when the outputs already are probabilities, which is checked
`layout`       nchw (default) or nhwc
`resize`       squash (default) to the square, or crop: shorter side to size, then the middle
`multi_label`  whether labels are probabilities on their own; default: activation is sigmoid
=============  ====================================================================================================
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from assaymark.errors import ConfigError, MissingExtra, ModelError
from assaymark.models.spec import ModelSpec

if TYPE_CHECKING:
    from PIL.Image import Image

    from assaymark.models.opening import Loading

__all__ = ["OnnxImageScorer"]

VERSION = 1
OPTIONS = ("labels", "size", "mean", "std", "activation", "layout", "resize", "multi_label")
Array = npt.NDArray[np.float32]


class OnnxImageScorer:
    """Probabilities of an ONNX image classifier (capability scores-images)."""

    def __init__(self, spec: ModelSpec, loading: Loading) -> None:
        path = spec.path()
        if not path.is_file():
            raise ModelError(f"model {spec.text}: no file {path}")
        spec = _with_sidecar(spec, path)
        spec.check_options(OPTIONS)
        self.spec, self.notes = spec.text, ()
        self._path, self._loading = path, loading
        self._session: Any = _session(path, spec, loading)
        self.labels = spec.names("labels")
        self._activation = _choice(spec, "activation", ("none", "softmax", "sigmoid"))
        self._layout = _choice(spec, "layout", ("nchw", "nhwc"))
        self._resize = _choice(spec, "resize", ("squash", "crop"))
        self.multi_label = spec.flag("multi_label", self._activation == "sigmoid")
        self._mean, self._std = _channels(spec, "mean", 0.0), _channels(spec, "std", 1.0)
        shape = self._session.get_inputs()[0].shape
        self._size = _input_size(spec, shape, self._layout)
        self._fixed_batch = shape[0] if isinstance(shape[0], int) else None
        if not self.labels:
            raise ModelError(f"model {spec.text}: name its outputs: add labels=a,b to the spec or labels to {path.stem}.json")
        identity = repr(("onnx", VERSION, sorted(spec.options.items()))).encode()
        self.fingerprint = blake2b(identity + path.read_bytes(), digest_size=16).hexdigest()
        self._parsed = spec

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_session": None}

    def score_images(self, images: Sequence[Image]) -> Array:
        """Shape (n, n_labels), in [0, 1]."""
        scores = np.empty((len(images), len(self.labels)), dtype=np.float32)
        size = self._fixed_batch or self._loading.batch_size
        for start in range(0, len(images), size):
            batch = images[start : start + size]
            scores[start : start + len(batch)] = self._batch(batch)
        return scores

    def _batch(self, images: Sequence[Image]) -> Array:
        pixels = np.stack([self._pixels(image) for image in images])  # (batch, size, size, 3)
        if self._layout == "nchw":
            pixels = pixels.transpose(0, 3, 1, 2)
        if self._fixed_batch:  # the graph takes no smaller batch: fill up with copies
            pixels = np.resize(pixels, (self._fixed_batch, *pixels.shape[1:]))
        if self._session is None:
            self._session = _session(self._path, self._parsed, self._loading)
        outputs = self._session.run(None, {self._session.get_inputs()[0].name: np.ascontiguousarray(pixels)})[0]
        outputs = np.asarray(outputs, dtype=np.float64).reshape(len(pixels), -1)[: len(images)]
        if outputs.shape[1] != len(self.labels):
            raise ModelError(f"model {self.spec}: it has {outputs.shape[1]} outputs, but {len(self.labels)} labels are named")
        return self._probabilities(outputs)

    def _pixels(self, image: Image) -> Array:
        from PIL.Image import Resampling
        from PIL.ImageOps import fit

        colour, square = image.convert("RGB"), (self._size, self._size)
        crop = self._resize == "crop"
        resized = fit(colour, square, Resampling.BICUBIC) if crop else colour.resize(square, Resampling.BICUBIC)
        return ((np.asarray(resized, dtype=np.float32) / 255.0 - self._mean) / self._std).astype(np.float32)

    def _probabilities(self, outputs: npt.NDArray[np.float64]) -> Array:
        if self._activation == "softmax":
            powers = np.exp(outputs - outputs.max(axis=1, keepdims=True))
            outputs = powers / powers.sum(axis=1, keepdims=True)
        elif self._activation == "sigmoid":
            outputs = np.exp(-np.logaddexp(0.0, -outputs))
        elif not ((outputs > -1e-4) & (outputs < 1 + 1e-4)).all():
            raise ModelError(f"model {self.spec}: outputs are no probabilities; add activation=softmax or activation=sigmoid")
        return np.clip(outputs, 0.0, 1.0).astype(np.float32)


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
        session = onnxruntime.InferenceSession(str(path), providers=providers)
    except Exception as error:  # onnxruntime's exceptions have no common base of their own
        line = (str(error).splitlines() or [""])[0][:200]
        raise ModelError(f"model {spec.text}: onnxruntime cannot load {path.name} ({line})") from error
    if len(session.get_inputs()) != 1 or len(session.get_inputs()[0].shape) != 4:
        shapes = ", ".join(f"{given.name}{given.shape}" for given in session.get_inputs())
        raise ModelError(f"model {spec.text}: an image scorer takes one input of rank 4; this takes {shapes}")
    return session


def _with_sidecar(spec: ModelSpec, path: Path) -> ModelSpec:
    """The spec with the options of the JSON file beside the model put under its own."""
    sidecar = path.with_suffix(".json")
    if not sidecar.is_file():
        return spec
    try:
        stated = json.loads(sidecar.read_text(encoding="utf-8"))
        written = {key: ",".join(map(str, value)) if isinstance(value, list) else str(value) for key, value in stated.items()}
    except (OSError, ValueError, AttributeError) as error:
        raise ModelError(f"model {spec.text}: {sidecar.name} is not a JSON object ({error})") from error
    return replace(spec, options={**written, **spec.options})


def _choice(spec: ModelSpec, name: str, allowed: tuple[str, ...]) -> str:
    value = spec.options.get(name, allowed[0]).lower()
    if value not in allowed:
        raise ConfigError(f"model {spec.text}: {name} is {value!r}; it must be one of {', '.join(allowed)}")
    return value


def _channels(spec: ModelSpec, name: str, default: float) -> Array:
    try:
        values = np.array([float(part) for part in spec.names(name)] or [default] * 3, dtype=np.float32)
    except ValueError:
        raise ConfigError(f"model {spec.text}: {name} must be three numbers, one a channel") from None
    if values.size != 3 or (name == "std" and (values <= 0).any()):
        raise ConfigError(f"model {spec.text}: {name} must be three numbers, one a channel (std over 0)")
    return values


def _input_size(spec: ModelSpec, shape: list[Any], layout: str) -> int:
    side = shape[2] if layout == "nchw" else shape[1]
    size = spec.integer("size", side if isinstance(side, int) else 0)
    if size < 1 or (isinstance(side, int) and size != side):
        fixed = f"; the model takes {side}" if isinstance(side, int) else ""
        raise ModelError(f"model {spec.text}: give the side of its input in pixels, size=224 or the like{fixed}")
    return size
