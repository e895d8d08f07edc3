"""What a folder of sentence-transformers states: how token vectors become one vector a text. Files only, no torch.

`modules.json` lists the steps, each with its folder: a Transformer, a Pooling (`1_Pooling/config.json`), and behind it Dense
layers and Normalize. `sentence_bert_config.json` states the longest input, `config_sentence_transformers.json` the prompts.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assaymark.errors import ModelError, UnsafeFile

__all__ = ["ACTIVATIONS", "POOLINGS", "Dense", "Normalize", "SentenceModules", "read_modules", "states_pooling"]

_FLAGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
"""Flag of older pooling files to the mode of newer ones, in the order in which several are put side by side."""
POOLINGS = tuple(_FLAGS.values())
ACTIVATIONS = ("ELU", "GELU", "Identity", "LeakyReLU", "ReLU", "SiLU", "Sigmoid", "Tanh")
"""Classes of torch.nn that may follow a dense layer: without settings of their own, so that the name says all."""
_LIBRARY = "sentence_transformers."
_POOLING_FILE = "1_Pooling/config.json"


@dataclass(frozen=True, slots=True)
class Dense:
    """A linear layer with an activation; its weights are `linear.weight` and, with `bias`, `linear.bias` of `weights`."""

    weights: str
    inputs: int
    outputs: int
    bias: bool
    activation: str


@dataclass(frozen=True, slots=True)
class Normalize:
    """Scales vectors to norm 1."""


@dataclass(frozen=True, slots=True)
class SentenceModules:
    """What stands behind the token vectors.

    Attributes
    ----------
    pooling : tuple of str
        One or more of `POOLINGS`; the vectors of several are put side by side.
    layers : tuple of Dense or Normalize
        In the order in which they are applied.
    max_tokens : int or None
        Longest input in tokens; None where the folder states none.
    lower_case : bool
        Texts are put in lower case before the tokenizer sees them.
    files : tuple of str
        Files that decide about the above, relative to the folder.
    notes : tuple of str
        What the reader of a report should know.
    """

    pooling: tuple[str, ...]
    layers: tuple[Dense | Normalize, ...]
    max_tokens: int | None
    lower_case: bool
    files: tuple[str, ...]
    notes: tuple[str, ...]

    def dimension(self, hidden: int) -> int:
        """Width of the embeddings for token vectors of `hidden` numbers."""
        widths = [layer.outputs for layer in self.layers if isinstance(layer, Dense)]
        return widths[-1] if widths else hidden * len(self.pooling)


def states_pooling(folder: Path) -> bool:
    """Whether a model folder says that it is a sentence encoder: it lists a Pooling, or has its file."""
    if (folder / _POOLING_FILE).is_file():
        return True
    try:
        listed = json.loads((folder / "modules.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    entries = listed if isinstance(listed, list) else []
    return any(isinstance(entry, dict) and _class_name(entry) == "Pooling" for entry in entries)


def read_modules(folder: Path, *, spec: str, hidden: int) -> SentenceModules:
    """Read what a folder states about pooling, layers, length and prompts.

    Parameters
    ----------
    folder : Path
    spec : str
        The model as the user named it, for messages.
    hidden : int
        Width of the token vectors.

    Raises
    ------
    ModelError
        A step is none of Pooling, Dense and Normalize of sentence-transformers, or its settings do not fit.
    UnsafeFile
        The weights of a dense layer are pickled only.

    Notes
    -----
    Without a pooling of its own a folder gets the mean over its tokens, which most published encoders were trained with.
    """
    reader = _Reader(folder, spec)
    pooling: tuple[str, ...] | None = None
    layers: list[Dense | Normalize] = []
    width = hidden
    for kind, name in reader.steps():
        if kind == "Pooling":
            if pooling is not None or layers:
                raise ModelError(f"model {spec}: modules.json must list one Pooling, before Dense and Normalize")
            pooling = reader.pooling(name, hidden)
            width = hidden * len(pooling)
        elif kind == "Dense":
            layers.append(dense := reader.dense(name, width))
            width = dense.outputs
        else:
            layers.append(Normalize())
    max_tokens, lower_case = reader.limits()
    unstated = () if pooling else (f"{spec} states no pooling: its embeddings are the mean over the tokens of a text",)
    return SentenceModules(
        pooling or ("mean",), tuple(layers), max_tokens, lower_case, tuple(reader.files), (*unstated, *reader.remarks())
    )


class _Reader:
    """Reads the files of one folder and keeps the names of those that decide about the embeddings."""

    def __init__(self, folder: Path, spec: str) -> None:
        self.files: list[str] = []
        self._folder, self._spec = folder, spec

    def steps(self) -> Iterator[tuple[str, str]]:
        """Class and folder of each step behind the transformer."""
        listed = self._json("modules.json", list)
        if listed is None:
            if (self._folder / _POOLING_FILE).is_file():
                yield "Pooling", Path(_POOLING_FILE).parent.name
            return
        for position, entry in enumerate(listed):
            path = entry.get("path", "") if isinstance(entry, dict) else None
            if not isinstance(path, str) or Path(path).name != path:
                raise self._wrong("modules.json", f"entry {position} has no folder of its own below the model's")
            kind = _class_name(entry)
            if kind == "Transformer" and position == 0 and path == "":
                continue
            if kind not in ("Pooling", "Dense", "Normalize") or not str(entry["type"]).startswith(_LIBRARY):
                raise self._wrong(
                    "modules.json",
                    f"step {position} is {entry.get('type')!r} in {path or '.'!r}; a Transformer in the folder itself, "
                    "Pooling, Dense and Normalize are supported, and no code of a repository is run",
                )
            yield kind, path

    def pooling(self, name: str, hidden: int) -> tuple[str, ...]:
        file = f"{name}/config.json"
        settings = self._required(file)
        stated = settings.get("pooling_mode")
        if stated is None:
            modes = tuple(mode for flag, mode in _FLAGS.items() if settings.get(flag)) or ("mean",)
        else:
            modes = (stated,) if isinstance(stated, str) else tuple(stated)
        unknown = [mode for mode in modes if mode not in POOLINGS]
        if unknown or not modes:
            raise self._wrong(file, f"pooling_mode={stated!r} must be one or more of {', '.join(POOLINGS)}")
        width = settings.get("embedding_dimension", settings.get("word_embedding_dimension", hidden))
        if width != hidden:
            raise self._wrong(file, f"it pools vectors of {width} numbers, but the model's have {hidden}")
        return modes

    def dense(self, name: str, width: int) -> Dense:
        file = f"{name}/config.json"
        settings = self._required(file)
        package, _, activation = str(settings.get("activation_function", "torch.nn.Tanh")).rpartition(".")
        if not package.startswith("torch.nn") or activation not in ACTIVATIONS:
            raise self._wrong(file, f"activation {activation!r} is none of torch.nn's {', '.join(ACTIVATIONS)}")
        names = {settings.get(key) or "sentence_embedding" for key in ("module_input_name", "module_output_name")}
        if settings.get("use_residual") or names != {"sentence_embedding"}:
            raise self._wrong(file, "a dense layer with a residual connection, or on token vectors, is not supported")
        try:
            inputs, outputs = int(settings["in_features"]), int(settings["out_features"])
        except (KeyError, TypeError, ValueError):
            raise self._wrong(file, "in_features and out_features must be whole numbers") from None
        if inputs != width:
            raise self._wrong(file, f"a dense layer for {inputs} numbers follows vectors of {width}")
        return Dense(self._weights(name), inputs, outputs, bool(settings.get("bias", True)), activation)

    def limits(self) -> tuple[int | None, bool]:
        """The longest input in tokens, and whether texts are put in lower case."""
        files = sorted(path.name for path in self._folder.glob("sentence_*_config.json"))
        if not files:
            return None, False
        settings = self._required(files[0])
        task = settings.get("transformer_task", "feature-extraction")
        if task != "feature-extraction":
            raise self._wrong(files[0], f"transformer_task is {task!r}; token vectors need 'feature-extraction'")
        longest = settings.get("max_seq_length")
        if longest is not None and not (isinstance(longest, int) and longest > 0):
            raise self._wrong(files[0], f"max_seq_length={longest!r} must be a positive whole number")
        return longest, bool(settings.get("do_lower_case"))

    def remarks(self) -> Iterator[str]:
        """What the folder states and is not followed."""
        file = "config_sentence_transformers.json"
        settings = self._json(file, dict) or {}
        self.files = [name for name in self.files if name != file]  # it decides about nothing here
        prompts = settings.get("prompts")
        named = sorted(name for name, text in prompts.items() if text) if isinstance(prompts, dict) else []
        if named:
            yield f"{self._spec} states prompts to put before a text ({', '.join(named)}); none is added"
        similarity = settings.get("similarity_fn_name") or "cosine"
        if similarity != "cosine":
            yield f"{self._spec} states {similarity} as its similarity; its embeddings are scaled to norm 1, for cosines"

    def _weights(self, name: str) -> str:
        file = f"{name}/model.safetensors"
        if not (self._folder / file).is_file():
            pickled = sorted(path.name for path in (self._folder / name).glob("*.bin"))
            if pickled:
                raise UnsafeFile(
                    f"model {self._spec}: {name}/{pickled[0]} can run code when loaded, and there is no {file}. If you trust "
                    "it, convert it once: SentenceTransformer(FOLDER).save(FOLDER), of the library sentence-transformers"
                )
            raise ModelError(f"model {self._spec}: modules.json lists a dense layer, but {file} is missing")
        self.files.append(file)
        return file

    def _required(self, file: str) -> dict[str, Any]:
        found: dict[str, Any] | None = self._json(file, dict)
        if found is None:
            raise ModelError(f"model {self._spec}: {file} is missing, which modules.json speaks of")
        return found

    def _json(self, file: str, kind: type) -> Any:
        """Content of a file, None where there is none."""
        path = self._folder / file
        if not path.is_file():
            return None
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            content = None
        if not isinstance(content, kind):
            raise self._wrong(file, f"it cannot be read as a JSON {kind.__name__}")
        self.files.append(file)
        return content

    def _wrong(self, file: str, what: str) -> ModelError:
        return ModelError(f"model {self._spec}: {file}: {what}")


def _class_name(entry: dict[str, Any]) -> str:
    """Last part of a dotted type: modules moved between releases, their classes kept their names."""
    return str(entry.get("type", "")).rpartition(".")[2]
