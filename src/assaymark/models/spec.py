"""Model specs: the strings by which a user names a model.

===================================  ==================================================================
`hf:org/name`, `hf:org/name@v1`      a model of the Hugging Face hub, optionally at a revision
`hf:./folder`, `./folder`            a local folder with config.json and *.safetensors
`openclip:ViT-B-32/laion2b_s34b_b79k`  architecture / pretrained tag of open_clip
`onnx:head.onnx?labels=a,b`          an ONNX scorer of images, or of image embeddings
`convnet:net.safetensors`            a small network that Assaymark trained
`encoder:net.safetensors`            an image encoder that Assaymark trained; with `?architecture=` weights from elsewhere
`nudenet:320n.onnx?size=320`         the NudeNet detector of body parts, as a scorer of images
`timm:org/name`, `timm:./folder`     an image classifier of the timm library, or an encoder without classes
`column:score`, `column:a,b`         precomputed scores in columns of the input
`prompt:prompts.safetensors`         tuned prompts as a head on embeddings; with `?encoder=SPEC` also on pictures
`mixture:folder`                     a fitted mixture of scorers, with its members
`openai:MODEL@BASE_URL`              a language model behind any server that speaks OpenAI's protocol
`api:https://host/path?field=text`   a remote detector of texts that answers in JSON
`py:module:name`                     an object, or a factory without arguments, of an importable module
`fake:kind?key=value`                a scripted stand-in with planted behaviour
===================================  ==================================================================

Options follow a question mark, as in a URL: `?key=value&key=value`. The URL of `api:` may have a query of its own: there the
options follow the last question mark, so that `api:https://host/path?v=2?field=text` has the URL https://host/path?v=2, and
`api:https://host/path?v=2?` has it without any option. A question mark within an option is written %3F. A file or folder
that a step left says itself what it is, so its path alone is a spec too.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import parse_qsl, urlencode

from assaymark.errors import ConfigError, ModelError, UnknownName, nearest

__all__ = ["ADAPTERS", "ModelSpec", "UnknownOption", "UnknownScheme", "absolute_spec", "parse_spec"]

ADAPTERS: dict[str, str] = {
    "hf": "assaymark.models.checkpoint:open_checkpoint",
    "openclip": "assaymark.models.open_clip_encoder:OpenClipEncoder",
    "onnx": "assaymark.models.onnx_scorer:open_onnx",
    "convnet": "assaymark.models.convnet:ConvNetScorer",
    "encoder": "assaymark.models.trained_encoder:TrainedEncoder",
    "nudenet": "assaymark.models.nudenet:NudeNetScorer",
    "timm": "assaymark.models.timm_encoder:open_timm",
    "column": "assaymark.models.columns:ColumnScores",
    "mixture": "assaymark.models.mixture:open_mixture",
    "prompt": "assaymark.models.prompt_head:open_prompt_head",
    "openai": "assaymark.models.echoing_endpoint:open_openai",
    "api": "assaymark.models.remote_detector:RemoteDetector",
    "py": "assaymark.models.python_object:PythonObject",
    "fake": "assaymark.models.fake:open_fake",
}
"""Scheme to "module:factory". A factory takes `(spec, loading)` and returns an adapter; it is imported when first used."""

_SCHEME = re.compile(r"([a-z][a-z0-9+-]+):(.*)", re.DOTALL | re.IGNORECASE)
_HUB_ID = re.compile(r"[\w.-]+(?:/[\w.-]+)?")
_HEADER_LIMIT = 1_000_000  # bytes of the header of a safetensors file that are looked at
_HUB_SCHEMES = ("hf", "timm")  # a hub id or a folder
_FILE_SCHEMES = ("convnet", "encoder", "mixture", "nudenet", "onnx", "prompt")
_URL_SCHEMES = ("api",)  # the target is a URL, which may hold a question mark
_SPEC_OPTIONS = ("encoder", "reference")  # options whose value is a spec
_TRUE, _FALSE = {"true", "yes", "1", "on"}, {"false", "no", "0", "off"}


class UnknownScheme(UnknownName, ModelError):
    """The part before the colon of a model spec is not one that Assaymark can open."""


class UnknownOption(UnknownName, ModelError):
    """An option after the question mark of a model spec that its adapter does not have."""


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A parsed spec.

    Attributes
    ----------
    text : str
        As the user wrote it; what messages and provenance show.
    scheme, target : str
        Key of `ADAPTERS`, and what is to be opened: a path, a hub id, column names, ...
    revision : str or None
        Branch, tag or commit of a hub model.
    options : mapping of str to str
    base : Path or None
        Folder to which relative paths refer (that of the plan file); None is the working directory.
    """

    text: str
    scheme: str
    target: str
    revision: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    base: Path | None = None

    def path(self) -> Path:
        """The target as an absolute path, relative ones seen from `base`."""
        return ((self.base or Path.cwd()) / os.path.expanduser(self.target)).resolve()

    def absolute(self) -> str:
        """A spec that opens the same model from any folder: for files that a step hands on, not for reports."""
        is_path = self.scheme in _FILE_SCHEMES or Path(self.target).is_absolute()
        target = str(self.path()) if is_path else self.target + (f"@{self.revision}" if self.revision else "")
        options = {
            name: absolute_spec(value, base=self.base) if name in _SPEC_OPTIONS else value
            for name, value in self.options.items()
        }
        return f"{self.scheme}:{target}" + (f"?{urlencode(options, safe='/:,@')}" if options or "?" in target else "")

    def check_options(self, known: Collection[str]) -> None:
        for name in self.options:
            if name not in known:
                raise UnknownOption("option", name, known, mend=f"(model {self.text})")

    def number(self, name: str, default: float) -> float:
        try:
            return float(self.options.get(name, default))
        except ValueError:
            raise ConfigError(f"model {self.text}: {name}={self.options[name]!r} is not a number") from None

    def integer(self, name: str, default: int) -> int:
        value = self.number(name, default)
        if value != int(value):
            raise ConfigError(f"model {self.text}: {name}={self.options[name]!r} is not a whole number")
        return int(value)

    def flag(self, name: str, default: bool) -> bool:
        value = self.options.get(name, str(default)).lower()
        if value not in _TRUE | _FALSE:
            raise ConfigError(f"model {self.text}: {name}={value!r} is neither true nor false")
        return value in _TRUE

    def names(self, name: str) -> tuple[str, ...]:
        """A comma-separated option as a tuple without empty entries; `()` when it is absent."""
        return tuple(part.strip() for part in self.options.get(name, "").split(",") if part.strip())


def parse_spec(text: str, *, base: Path | None = None) -> ModelSpec:
    """Parse a model spec. Nothing is opened or imported; only the existence of local folders is looked at.

    Raises
    ------
    UnknownScheme
        Scheme not in `ADAPTERS`.
    ModelError
        Neither a scheme nor a folder with config.json, or an empty or malformed target.
    """
    written = text.strip()
    match = _SCHEME.fullmatch(written)
    if match is None:
        return _bare_path(written, base)
    scheme, rest = match[1].lower(), match[2]
    if scheme not in ADAPTERS:
        known = f"- known: {', '.join(sorted(ADAPTERS))} " if nearest(scheme, ADAPTERS) else ""
        raise UnknownScheme("model scheme", scheme, ADAPTERS, mend=f"{known}(model {written})")
    cut = rest.rfind("?") if scheme in _URL_SCHEMES else rest.find("?")
    target, query = (rest[:cut], rest[cut + 1 :]) if cut >= 0 else (rest, "")
    if not target:
        raise ModelError(f"model {written!r} says nothing after the colon; write for example {scheme}:{_EXAMPLES[scheme]}")
    spec = ModelSpec(written, scheme, target, options=_options(query, written), base=base)
    return _hub_or_folder(spec) if scheme in _HUB_SCHEMES else spec


def absolute_spec(text: str, *, base: Path | None) -> str:
    """A spec that opens the same model from any folder; one that names an object in memory stays as it is."""
    try:
        return parse_spec(text, base=base).absolute()
    except ModelError:
        return text


_EXAMPLES = {
    "hf": "org/name",
    "openclip": "ViT-B-32/laion2b_s34b_b79k",
    "onnx": "head.onnx",
    "convnet": "net.safetensors",
    "encoder": "net.safetensors",
    "nudenet": "320n.onnx",
    "timm": "org/name",
    "column": "score",
    "mixture": "folder",
    "prompt": "prompts.safetensors",
    "openai": "model@http://localhost:8000/v1",
    "api": "https://host/path?field=text&score=probability",
    "py": "package.module:factory",
    "fake": "text-keywords?unsafe=word",
}


def _options(query: str, written: str) -> dict[str, str]:
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
    except ValueError:
        raise ModelError(f"model {written!r}: options are written ?key=value&key=value") from None
    options = dict(pairs)
    if len(options) < len(pairs):
        raise ModelError(f"model {written!r} gives an option twice")
    return options


_MARKS = {"config.json": "hf", "mixture.json": "mixture"}
"""File in a model folder to the scheme that opens the folder."""


def file_mark(path: Path) -> str:
    """Scheme that the metadata of a safetensors file of ours name; empty for any other file."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(length)) if length <= _HEADER_LIMIT else {}
        return str(header.get("__metadata__", {}).get("assaymark", ""))
    except (OSError, ValueError, AttributeError):
        return ""


def _bare_path(written: str, base: Path | None) -> ModelSpec:
    target, _, query = written.partition("?")
    spec = ModelSpec(written, "hf", target, options=_options(query, written), base=base)
    if written:
        path = spec.path()
        marks = [scheme for name, scheme in _MARKS.items() if (path / name).is_file()]
        schemes = marks or [s for s in (file_mark(path), path.suffix.removeprefix(".")) if s in ADAPTERS and path.is_file()]
        if schemes:
            return replace(spec, scheme=schemes[0], target=str(path))
    is_hub_id = _HUB_ID.fullmatch(written) and not written.startswith(".") and not spec.path().exists()
    hint = f"; for a hub model write hf:{written}" if is_hub_id else ""
    raise ModelError(f"model {written!r} has no scheme and is neither a model folder nor a model file{hint}")


def _hub_or_folder(spec: ModelSpec) -> ModelSpec:
    """Paths are what looks like one, or is a model folder; all else is a hub id with an optional revision."""
    looks_like_path = spec.target.startswith((".", "/", "~")) or (spec.path() / "config.json").is_file()
    if looks_like_path:
        return replace(spec, target=str(spec.path()))
    name, _, revision = spec.target.partition("@")
    if not _HUB_ID.fullmatch(name) or ("@" in spec.target and not revision):
        forms = f"a hub id ({spec.scheme}:org/name, {spec.scheme}:org/name@revision) nor a folder ({spec.scheme}:./folder)"
        raise ModelError(f"model {spec.text!r} is neither {forms}")
    return replace(spec, target=name, revision=revision or None)
