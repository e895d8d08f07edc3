"""What the transformers adapters share: device, lazy weights, pickling without them, quiet and complete loading."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from assaymark.errors import ConfigError, MissingExtra, ModelError
from assaymark.models.checkpoint import Checkpoint, prepare_environment

if TYPE_CHECKING:
    from assaymark.models.opening import Loading
    from assaymark.models.spec import ModelSpec

__all__ = [
    "TorchAdapter",
    "clean_text",
    "import_transformers",
    "indexed_labels",
    "load_config",
    "load_part",
    "load_tokenizer",
    "load_weights",
    "longest_input",
    "number_format",
    "position_limit",
    "torch_device",
]

DTYPES = ("float32", "bfloat16", "float16")
# Positions of these families start behind the padding index, so that two of max_position_embeddings are never used.
_OFFSET_POSITIONS = {
    "camembert",
    "data2vec-text",
    "longformer",
    "roberta",
    "roberta-prelayernorm",
    "xlm-roberta",
    "xlm-roberta-xl",
    "xmod",
}
_LOADING = threading.RLock()  # one load at a time: two threads must not hold two copies of the weights
T = TypeVar("T")


class TorchAdapter(ABC):
    """Base of adapters whose weights load on first use.

    Pickles everything but the weights, so that a worker knows labels, dimension and fingerprint at once and pays for the
    weights only if it is asked something.
    """

    def __init__(self, checkpoint: Checkpoint, loading: Loading) -> None:
        self.spec = checkpoint.spec.text
        self.notes: tuple[str, ...] = ()
        self._checkpoint, self._loading = checkpoint, loading
        self._parts: Any = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_parts": None}

    @abstractmethod
    def _load(self, folder: Path, device: str) -> Any:
        """The loaded parts of the model, kept as `_loaded()`."""
        ...

    def _loaded(self) -> Any:
        """What `_load` returned, loading it now if it is not there."""
        if self._parts is None:
            with _LOADING:
                if self._parts is None:
                    self._parts = self._load(self._checkpoint.present(), torch_device(self._loading.device))
        return self._parts

    def _batches(self, items: Sequence[Any]) -> list[Sequence[Any]]:
        """Items in runs of the batch size."""
        size = self._loading.batch_size
        return [items[start : start + size] for start in range(0, len(items), size)]


def import_transformers(extra: str, purpose: str) -> Any:
    """The transformers module with telemetry off, or the install line."""
    prepare_environment()
    try:
        import torch  # noqa: F401 - transformers imports without it, and fails later with a stack trace
        import transformers
    except ImportError as error:
        raise MissingExtra(extra, purpose) from error
    return transformers


def torch_device(name: str) -> str:
    """`"cpu"` or `"cuda"` for a device setting, "auto" being cuda where there is one."""
    import torch

    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise ModelError("device is cuda, but torch sees no CUDA device here; use --device cpu or auto")
    return "cuda" if available and name != "cpu" else "cpu"


def load_part(spec: str, what: str, load: Callable[[], T]) -> T:
    """Run a library's loader; its complaints about a broken or unsupported folder become one line for the user."""
    try:
        return load()
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, ImportError, AttributeError) as error:
        line = (str(error).strip().splitlines() or [""])[0][:200]
        raise ModelError(f"model {spec}: its {what} cannot be loaded ({type(error).__name__}: {line})") from error


def load_config(transformers: Any, checkpoint: Checkpoint) -> Any:
    return load_part(
        checkpoint.spec.text,
        "config.json",
        lambda: transformers.AutoConfig.from_pretrained(checkpoint.folder, local_files_only=True, trust_remote_code=False),
    )


def indexed_labels(spec: str, config: Any) -> tuple[str, ...]:
    """Labels of a classifier by output index, whatever the order in which `id2label` lists them."""
    by_index = {int(index): str(label) for index, label in config.id2label.items()}
    labels = tuple(by_index[index] for index in sorted(by_index))
    if sorted(by_index) != list(range(len(by_index))) or len(set(labels)) < len(labels):
        raise ModelError(f"model {spec}: id2label in config.json must give each index from 0 a label of its own")
    return labels


def load_tokenizer(transformers: Any, checkpoint: Checkpoint, folder: Path) -> Any:
    return load_part(
        checkpoint.spec.text,
        "tokenizer",
        lambda: transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False),
    )


def load_weights(
    auto_class: Any,
    checkpoint: Checkpoint,
    folder: Path,
    device: str,
    *,
    optional: tuple[str, ...] = (),
    dtype: str = "float32",
) -> Any:
    """A transformers model in float32 (or `dtype`) and evaluation mode, every weight from the checkpoint.

    Missing weights are an error: transformers would fill them with random numbers, and a randomly initialised head answers as
    confidently as a trained one. Only those whose names start with one of `optional` may lack: parts that are not used.
    """
    with _quiet():
        model, report = load_part(
            checkpoint.spec.text,
            "weights",
            lambda: auto_class.from_pretrained(
                folder,
                use_safetensors=True,
                local_files_only=True,
                trust_remote_code=False,
                dtype=dtype,
                output_loading_info=True,
            ),
        )
    absent = sorted(name for name in map(str, report.get("missing_keys") or ()) if not name.startswith(optional))
    if absent:
        raise ModelError(
            f"model {checkpoint.spec.text}: the checkpoint lacks {len(absent)} weights of {type(model).__name__}, such as "
            f"{absent[0]}; it was trained for another task"
        )
    return model.to(device).eval()


def number_format(spec: ModelSpec) -> str:
    """Option `dtype` of a spec: the number format of the weights; float32 unless stated."""
    stated = spec.options.get("dtype", "float32")
    if stated not in DTYPES:
        raise ConfigError(f"model {spec.text}: dtype={stated!r} must be one of {', '.join(DTYPES)}")
    return stated


def position_limit(config: Any) -> int | None:
    """Tokens that the position table of a model has room for; None where config.json states none."""
    positions = getattr(config, "max_position_embeddings", None)
    if positions and config.model_type in _OFFSET_POSITIONS:
        positions -= (config.pad_token_id or 0) + 1
    return int(positions) if positions else None


def longest_input(tokenizer: Any, config: Any, *, unstated: int = 512) -> int:
    """Tokens that fit: the smaller of what tokenizer and position table allow."""
    return int(min(tokenizer.model_max_length, position_limit(config) or unstated))


@contextmanager
def _quiet() -> Iterator[None]:
    """No progress bars of the library between ours, and no table of surplus weights: what lacks is told by `load_weights`."""
    from transformers.utils import logging as library_logging

    logging: Any = library_logging  # its functions carry no type hints
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if shown:
            logging.enable_progress_bar()


def clean_text(text: str | None) -> str:
    """Text that a tokenizer accepts: missing is empty, lone surrogates become question marks."""
    return (text or "").encode("utf-8", "replace").decode("utf-8")
