"""`encoder:net.safetensors` - image encoders trained here, one file each with weights, layout and preprocessing.

`encoder:weights.pth?architecture=vit&patch=16&width=384&depth=12&heads=6&input_size=224` opens weights that somebody else
saved: MAE, DINO and DeiT name theirs as the vision transformer here does.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import fields
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from assaymark.errors import ConfigError, MissingExtra, ModelError
from assaymark.models.encoder_layouts import LAYOUTS, EncoderLayout, PerceptronLayout, encoder_layout, layout_facts
from assaymark.models.image_pixels import Normalisation
from assaymark.models.spec import ModelSpec, UnknownOption, file_mark
from assaymark.models.square_encoder import SquareEncoder

if TYPE_CHECKING:
    from PIL.Image import Image

    from assaymark.models.opening import Loading

__all__ = ["TrainedEncoder", "save_encoder"]

VERSION = 1  # part of the fingerprint: grows when the same file would answer differently
_FORMAT = "assaymark-encoder 1"
_MIDDLE = (0.5, 0.5, 0.5)  # mean and deviation of pixels where a foreign file states none: [-1, 1]
_LOADING = threading.RLock()


def save_encoder(
    path: Path,
    module: Any,
    *,
    mean: Sequence[float],
    std: Sequence[float],
    layout: EncoderLayout | None = None,
    facts: Mapping[str, Any] | None = None,
) -> None:
    """Write an encoder into one safetensors file, as a whole or not at all; the path is then a model spec.

    Parameters
    ----------
    path : Path
    module : torch module
        As `encoder_architectures.new_encoder` makes it, on any device; no projector or head.
    mean, std : three floats
        Per channel, of pixels scaled to [0, 1]; what training normalised by.
    layout : EncoderLayout, optional
        Default: `module.layout`.
    facts : mapping, optional
        What was done to it (objective, epochs, seed, ...), as JSON; kept as `TrainedEncoder.facts`.
    """
    import os

    from safetensors.torch import save_file

    if len(mean) != 3 or len(std) != 3 or min(std) <= 0:
        raise ValueError("mean and std take three numbers each, those of std above 0")
    stated = {
        "layout": layout_facts(layout or module.layout),
        "mean": [float(value) for value in mean],
        "std": [float(value) for value in std],
        "facts": dict(facts or {}),
    }
    # Copies: two names of one tensor (tied weights) are refused by the format.
    weights = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in module.state_dict().items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.part")
    save_file(weights, temporary, metadata={"assaymark": "encoder", "format": _FORMAT, "facts": json.dumps(stated)})
    os.replace(temporary, path)


class _Described(NamedTuple):
    """What a file, or a spec, says of an encoder beside its weights."""

    layout: EncoderLayout
    mean: tuple[float, ...]
    std: tuple[float, ...]
    facts: Mapping[str, Any]
    notes: tuple[str, ...]


class TrainedEncoder(SquareEncoder):
    """Features of an encoder in one file (capabilities embeds-images, trains-images, records-activations).

    `facts` says what was done to it, as far as the file does. Pictures are squashed to squares of `input_size` pixels. Weights
    load on first use and are not pickled.
    """

    def __init__(self, spec: ModelSpec, loading: Loading) -> None:
        path = spec.path()
        if not path.is_file():
            raise ModelError(f"model {spec.text}: no file {path}")
        ours = path.suffix == ".safetensors" and file_mark(path) == "encoder"
        described = _stated(path, spec) if ours else _foreign(spec)
        self.spec, self.facts = spec.text, described.facts
        self.layout = described.layout
        self.dimension, self.input_size = self.layout.dimension, self.layout.input_size
        self._path, self._loading, self._options = path, loading, dict(spec.options)
        self._normalisation, self._described_notes = Normalisation(described.mean, described.std), described.notes
        self._loaded_notes: tuple[str, ...] = ()
        self.fingerprint = _fingerprint(path, self._options)
        self._network: Any = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_network": None}

    @property
    def notes(self) -> tuple[str, ...]:
        """What the reader of a report should know; weights that are not finite are noticed when they are loaded."""
        return self._described_notes + self._loaded_notes

    def raw_pixels(self, images: Sequence[Image]) -> Any:
        """Float32 tensor on the CPU, shape (n, 3, input_size, input_size), in [0, 1]."""
        if isinstance(self.layout, PerceptronLayout) and self.layout.inputs:
            raise ModelError(f"model {self.spec}: it takes vectors of {self.layout.inputs} numbers, no pictures")
        return super().raw_pixels(images)

    def _batch_size(self) -> int:
        return self._loading.batch_size

    def _recorded_module(self) -> Any:
        return self._loaded()

    def _normalising(self) -> Normalisation:
        return self._normalisation

    def _sketch(self) -> tuple[Any, Any]:
        import torch

        from assaymark.models.encoder_architectures import build_encoder

        size = self.layout.input_size
        return build_encoder(self.layout), torch.empty(2, 3, size, size)

    def _loaded(self) -> Any:
        with _LOADING:
            if self._network is None:
                self._network = self._load()
        return self._network

    def _load(self) -> Any:
        try:
            import torch  # noqa: F401 - without it the modules below fail with a stack trace
        except ImportError as error:
            raise MissingExtra("vision", f"model {self.spec}") from error
        from assaymark.models.encoder_architectures import new_encoder
        from assaymark.models.state_dicts import fit_weights, non_finite_note, read_weights
        from assaymark.models.torch_adapter import torch_device

        facts = layout_facts(self.layout)
        network = new_encoder(facts["architecture"], seed=0, **facts["options"])
        weights = read_weights(self._path, self.spec, key=self._options.get("key", ""))
        notes = fit_weights(network, weights, self.spec, prefix=self._options.get("prefix", ""))
        self._loaded_notes = notes + non_finite_note(network.state_dict())
        return network.to(torch_device(self._loading.device)).eval()


def _fingerprint(path: Path, options: Mapping[str, str]) -> str:
    """Hash of the file and of the options that say how to read it, 32 hex digits."""
    with path.open("rb") as file:
        content = hashlib.file_digest(file, "sha256").hexdigest()
    decided = repr(("encoder", VERSION, content, sorted(options.items())))
    return blake2b(decided.encode(), digest_size=16).hexdigest()


def _stated(path: Path, spec: ModelSpec) -> _Described:
    """What a file of ours says, checked before its weights are read."""
    from safetensors import SafetensorError, safe_open

    spec.check_options(())
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
        if metadata.get("format") != _FORMAT:
            raise ModelError(f"model {spec.text}: {path.name} is of the format {metadata.get('format')!r}, not {_FORMAT!r}")
        stated = json.loads(metadata["facts"])
        layout = encoder_layout(str(stated["layout"]["architecture"]), stated["layout"]["options"])
        mean, std = (tuple(map(float, stated[name])) for name in ("mean", "std"))
        sound = len(mean) == len(std) == 3 and min(std) > 0 and isinstance(stated["facts"], dict)
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, ConfigError) as error:
        raise ModelError(f"model {spec.text}: the metadata of {path.name} are damaged ({error})") from error
    if not sound:
        raise ModelError(f"model {spec.text}: the metadata of {path.name} do not fit together (mean, std or facts)")
    return _Described(layout, mean, std, stated["facts"], ())


def _foreign(spec: ModelSpec) -> _Described:
    """What the options of a spec say of weights from elsewhere."""
    architecture = spec.options.get("architecture")
    if architecture is None:
        mend = f"say what they belong to: ?architecture={'|'.join(LAYOUTS)}"
        raise ModelError(f"model {spec.text}: {spec.path().name} holds weights without a layout of ours; {mend}")
    if architecture not in LAYOUTS:
        raise UnknownOption("architecture", architecture, LAYOUTS, mend=f"(model {spec.text})")
    own = [field.name for field in fields(LAYOUTS[architecture])]
    spec.check_options(("architecture", "prefix", "key", "mean", "std", *own))
    layout = encoder_layout(architecture, {name: spec.options[name] for name in own if name in spec.options})
    mean, std = (_channels(spec, name) for name in ("mean", "std"))
    notes: tuple[str, ...] = ()
    if "mean" not in spec.options or "std" not in spec.options:
        notes = ("its file does not say how pixels are normalised; 0.5 is taken where ?mean= and ?std= do not",)
    if min(std) <= 0:
        raise ConfigError(f"model {spec.text}: std must be above 0")
    return _Described(layout, mean, std, {}, notes)


def _channels(spec: ModelSpec, name: str) -> tuple[float, ...]:
    """Three numbers, or one for all channels."""
    try:
        values = tuple(float(part) for part in spec.names(name)) or _MIDDLE
    except ValueError:
        values = ()
    if len(values) not in (1, 3):
        raise ConfigError(f"model {spec.text}: {name}={spec.options[name]!r} must be one number or three, with commas")
    return values * (3 // len(values))
