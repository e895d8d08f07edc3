"""Model folders in the Hugging Face layout: found or fetched, checked, fingerprinted; the adapter follows from config.json.

Only `*.safetensors` weights are read and no code of a repository is ever run: a pickled checkpoint runs what its author wrote
into it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from assaymark.errors import MissingExtra, ModelError, UnsafeFile, is_fetch_failure
from assaymark.models.sentence_modules import states_pooling
from assaymark.models.spec import ModelSpec, UnknownOption

if TYPE_CHECKING:
    from assaymark.models.opening import Loading

__all__ = ["Checkpoint", "find_checkpoint", "open_checkpoint", "prepare_environment"]

_FETCHED = ["*.json", "*.safetensors", "*.txt", "*.model", "*.jinja"]
_PICKLED = ("pytorch_model*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.h5", "*.msgpack")
_PREPROCESSING = ("*token*.json", "*processor*.json", "special_tokens_map.json", "*.txt", "*.model", "vocab.json", "*.jinja")
_BY_ARCHITECTURE = {
    "ForSequenceClassification": "text_classifier:TextClassifier",
    "ForImageClassification": "image_classifier:ImageClassifier",
    "ViTMAEForPreTraining": "image_encoder:ImageEncoder",  # as MAE was published; its decoder is not used
    "BlipForConditionalGeneration": "captioner:Captioner",
    "GitForCausalLM": "captioner:Captioner",
    "VisionEncoderDecoderModel": "captioner:Captioner",
    "StableDiffusionSafetyChecker": "safety_checker:open_safety_checker",
    "T5ForConditionalGeneration": "span_filler:SpanFiller",
    "T5WithLMHeadModel": "span_filler:SpanFiller",  # as early configurations of T5 have it; no causal model
    "ForCausalLM": "token_scorer:TokenScorer",
    "LMHeadModel": "token_scorer:TokenScorer",
}
"""Ending of an architecture to the adapter; the first that fits."""
_BY_TASK = {"generate": "text_generator:TextGenerator", "train": "trainable_text:TrainableText"}
"""Option `task` of a spec to the adapter; without it config.json decides."""
_SUPPORTED = (
    "...ForSequenceClassification, ...ForImageClassification, vision models and sentence encoders without a head (...Model, or "
    "what sentence-transformers saved), clip and siglip; for captions BLIP, GIT and VisionEncoderDecoder; causal language "
    "models (...ForCausalLM, ...LMHeadModel) and T5"
)
_TOKENIZERS = ("tokenizer.json", "tokenizer_config.json", "vocab.txt", "*.model")
_HEADER_LIMIT = 100_000_000  # bytes; the limit of the format
_HUB_SECONDS = 15.0
_EDGE = 4096  # bytes hashed at either end of a tensor


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checked model folder.

    Attributes
    ----------
    spec : ModelSpec
    folder : Path
        The folder itself, or the local snapshot of a hub model.
    config : dict
        Parsed config.json.
    commit : str or None
        Commit of the snapshot of a hub model, by which another machine can fetch the same.
    """

    spec: ModelSpec
    folder: Path
    config: dict[str, Any]
    commit: str | None = None

    @property
    def weights(self) -> list[Path]:
        return sorted(self.folder.glob("*.safetensors"))

    def present(self) -> Path:
        """The folder, fetched again by commit where it is missing (a pickled adapter that arrived on another machine)."""
        if self.folder.is_dir():
            return self.folder
        if self.commit is None:
            raise ModelError(f"model {self.spec.text}: folder {self.folder} is not on this machine; put it on shared storage")
        return _fetch(self.spec, self.commit)

    def fingerprint(self, adapter: str, *, parts: Sequence[str] = ()) -> str:
        """Hash of what decides the answers, 32 hex digits.

        All of config.json, tokenizer and processor files; of the weights the names, the headers (every tensor's name, type
        and shape) and the first and last 4 KiB of every tensor, which any training step changes. `adapter` carries the
        adapter's name, version and options; `parts` names further files of the folder that it reads. Reads a few MB of a model
        of any size.
        """
        state = blake2b(adapter.encode(), digest_size=16)
        preprocessing = {path for pattern in _PREPROCESSING for path in self.folder.glob(pattern)}
        further = [self.folder / part for part in parts]
        whole = [path for path in further if path.suffix != ".safetensors"]
        for path in [self.folder / "config.json", *sorted(preprocessing), *whole]:
            content = path.read_bytes()
            state.update(f"\0{self._name(path)} {len(content)}\0".encode() + content)
        for path in [*self.weights, *(path for path in further if path not in whole)]:
            state.update(f"\0{self._name(path)} {path.stat().st_size}\0".encode())
            with path.open("rb") as file:
                for part in _telling_parts(file, path):
                    state.update(part)
        return state.hexdigest()

    def _name(self, path: Path) -> str:
        return path.relative_to(self.folder).as_posix()

    def scalar(self, name: str) -> float:
        """A one-element tensor, without loading the others."""
        from safetensors import safe_open

        for path in self.weights:
            with safe_open(path, framework="pt") as tensors:
                if name in tensors.keys():  # noqa: SIM118 - not a mapping
                    return float(tensors.get_tensor(name).float().reshape(()))
        raise ModelError(f"model {self.spec.text}: its weights hold no {name!r}")


def open_checkpoint(spec: ModelSpec, loading: Loading) -> Any:
    """The adapter for the task that the spec names, or that fits config.json: by architecture, or by model type."""
    checkpoint = find_checkpoint(spec)
    kind = str(checkpoint.config.get("model_type", ""))
    architectures = [str(name) for name in checkpoint.config.get("architectures") or ()]
    found = _by_task(spec, architectures) or _adapter_of(checkpoint.folder, kind, architectures)
    if found is None:
        says = f"{kind or 'no model_type'} ({', '.join(architectures) or 'no architectures'})"
        mend = f"; a timm model is written timm:{spec.target}" if "architecture" in checkpoint.config else ""
        raise ModelError(f"model {spec.text}: config.json says {says}; supported are {_SUPPORTED}{mend}")
    module, _, adapter = found.partition(":")
    return getattr(import_module(f"assaymark.models.{module}"), adapter)(checkpoint, loading)


def _by_task(spec: ModelSpec, architectures: list[str]) -> str | None:
    """The adapter that the option `task` asks for, where a model can do several things."""
    task = spec.options.get("task")
    if task is None:
        return None
    if task not in _BY_TASK:
        raise UnknownOption("task", task, _BY_TASK, mend=f"(model {spec.text})")
    if task == "generate" and not any(name.endswith(("ForCausalLM", "LMHeadModel")) for name in architectures):
        says = ", ".join(architectures) or "no architectures"
        raise ModelError(f"model {spec.text}: task=generate is for causal language models; config.json says {says}")
    return _BY_TASK[task]


def _adapter_of(folder: Path, kind: str, architectures: list[str]) -> str | None:
    """Module and factory for a model type and its architectures, which come first: CLIP has classifiers too.

    Before them comes a pooling beside the model: many sentence encoders keep the architecture that they were trained from.
    """
    has_pictures = (folder / "preprocessor_config.json").is_file()
    if states_pooling(folder) and not has_pictures:
        return "sentence_encoder:SentenceEncoder"
    for ending, adapter in _BY_ARCHITECTURE.items():
        if any(name.endswith(ending) for name in architectures):
            return adapter
    if kind in ("clip", "siglip"):
        return "dual_encoder:DualEncoder"
    if not any(name.endswith("Model") for name in architectures):
        return None
    if has_pictures:
        return "image_encoder:ImageEncoder"
    # The text tower of a pair of encoders reads another token than a mean would, and needs its projection.
    has_words = any(file.is_file() for name in _TOKENIZERS for file in folder.glob(name))
    return "sentence_encoder:SentenceEncoder" if has_words and not kind.endswith("_text_model") else None


def find_checkpoint(spec: ModelSpec) -> Checkpoint:
    """Find a local folder or fetch a hub model, and refuse what must not be loaded.

    Raises
    ------
    ModelError
        No such folder or hub model, or no weights.
    UnsafeFile
        Only pickled weights.
    """
    is_local = Path(spec.target).is_absolute()
    folder = Path(spec.target) if is_local else _fetch(spec, spec.revision)
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"model {spec.text}: no readable config.json in {folder} ({_first_line(error)})") from error
    checkpoint = Checkpoint(spec, folder, config, None if is_local else folder.name)
    if not checkpoint.weights:
        _refuse(spec, folder, is_local)
    return checkpoint


def _refuse(spec: ModelSpec, folder: Path, is_local: bool) -> None:
    pickled = sorted(path.name for pattern in _PICKLED for path in folder.glob(pattern))
    if pickled:
        raise UnsafeFile(
            f"model {spec.text}: {pickled[0]} can run code when loaded, and there are no *.safetensors. If you trust it, "
            "convert it once: transformers.AutoModel...from_pretrained(FOLDER).save_pretrained(FOLDER)"
        )
    mend = "" if is_local else "; many models have a converted copy in a pull request: try @refs/pr/1, or convert it locally"
    raise ModelError(f"model {spec.text}: no *.safetensors weights, and only those are read{mend}")


def prepare_environment() -> None:
    """Switch off telemetry and fork warnings; to be called before transformers or huggingface_hub is first imported."""
    for name, value in (("HF_HUB_DISABLE_TELEMETRY", "1"), ("DO_NOT_TRACK", "1"), ("TOKENIZERS_PARALLELISM", "false")):
        os.environ.setdefault(name, value)


def _fetch(spec: ModelSpec, revision: str | None) -> Path:
    """The local snapshot of a hub model: fetched, or, where the hub does not answer, from an earlier time."""
    prepare_environment()
    try:
        from huggingface_hub import HfApi, snapshot_download
    except ImportError as error:
        raise MissingExtra("language", f"hub model {spec.text}") from error
    reason = ""
    try:
        # Asked first, since only this call takes a limit on how long the hub may be silent.
        HfApi().model_info(spec.target, revision=revision, timeout=_HUB_SECONDS)
    except Exception as error:
        reason = _reason(error)
    try:
        found = snapshot_download(spec.target, revision=revision, allow_patterns=_FETCHED, local_files_only=bool(reason))
    except Exception as error:
        reason = reason or _reason(error)
        raise ModelError(
            f"hub model {spec.text} is neither in the local cache nor could it be fetched ({reason}); check the "
            "name and your access, or fetch it on another machine and give hf:./folder"
        ) from error
    return Path(found)


def _reason(error: Exception) -> str:
    """The first line of an error of the hub's library; any other is a defect, and is raised."""
    if not isinstance(error, (OSError, ValueError)) and not is_fetch_failure(error):
        raise error
    return _first_line(error)


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:160].rstrip('. ')}" if lines else type(error).__name__


def _telling_parts(file: BinaryIO, path: Path) -> Iterator[bytes]:
    """The header of a safetensors file and both ends of every tensor."""
    length = int.from_bytes(file.read(8), "little")
    header = file.read(length) if length <= _HEADER_LIMIT else b""
    try:
        tensors = {name: entry for name, entry in json.loads(header).items() if name != "__metadata__"}
        spans = sorted((int(start), int(stop)) for start, stop in (entry["data_offsets"] for entry in tensors.values()))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ModelError(f"weights {path} are damaged: not a safetensors header") from error
    yield header
    for start, stop in spans:
        file.seek(8 + length + start)
        yield file.read(max(0, min(_EDGE, stop - start)))
        if stop - start > _EDGE:
            file.seek(8 + length + stop - _EDGE)
            yield file.read(_EDGE)
