"""Prompt sets: two vectors in the embedding space of one encoder that rate its images, kept with what made them.

Our own files are safetensors whose metadata say everything else. Others are read too: `.npy` and `.npz` arrays, and the pickled
numpy arrays in which prompts were published, through a reader that rebuilds arrays and nothing else.
"""

from __future__ import annotations

import json
import math
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from assaymark.errors import InputError, ModelError, UnsafeFile, nearest
from assaymark.models.protocols import Decision

__all__ = ["LABELS", "PromptSet", "load_prompts"]

MARK = "prompt"
LABELS = ("appropriate", "inappropriate")
LOGIT_SCALE = 100.0
THRESHOLD = 0.9
_TEXTS = ("encoder", "encoder_fingerprint", "encoder_source", "template")
_PICKLES = (".p", ".pkl", ".pickle")

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class PromptSet:
    """Prompts as they were stored, and what is known of them.

    Attributes
    ----------
    prompts : float32 array, shape (2, dimension) or (3, dimension)
        Row 0 is "appropriate", row 1 "inappropriate", row 2, where there is one, "neutral". Not of unit length: scoring has to
        normalise them.
    encoder, encoder_fingerprint : str
        Spec and fingerprint of the encoder whose space they lie in; empty where the file does not say (published files).
    encoder_source : str
        The same spec with absolute paths, by which the encoder is found from another folder; never shown.
    template, words : str, tuple of str
        The sentence and the words that they started from.
    labels : tuple of str
        Order of the rows.
    logit_scale : float
        What cosines are multiplied by.
    threshold : float
        Probability from which an image counts as flagged.
    training : mapping
        Summary of the tuning: images, ratings, epochs, accuracies.
    """

    prompts: Floats
    encoder: str = ""
    encoder_fingerprint: str = ""
    encoder_source: str = ""
    template: str = ""
    words: tuple[str, ...] = ()
    labels: tuple[str, ...] = LABELS
    logit_scale: float = LOGIT_SCALE
    threshold: float = THRESHOLD
    training: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        prompts = np.ascontiguousarray(self.prompts, dtype=np.float32)
        if prompts.ndim != 2 or prompts.shape[0] not in (2, 3):
            raise ModelError(f"prompts are an array of shape (2, dimension) or (3, dimension), not {prompts.shape}")
        if not np.isfinite(prompts).all() or not np.linalg.norm(prompts, axis=1).all():
            raise ModelError("prompts hold a missing number, or a row of zeros, which points nowhere")
        if not (math.isfinite(self.logit_scale) and self.logit_scale > 0 and 0 <= self.threshold <= 1):
            raise ModelError(
                f"prompts have a logit scale above 0 and a threshold in [0, 1], not {self.logit_scale:g} and {self.threshold:g}"
            )
        object.__setattr__(self, "prompts", prompts)

    @property
    def dimension(self) -> int:
        return int(self.prompts.shape[1])

    @property
    def norms(self) -> npt.NDArray[np.float64]:
        """Length of each row."""
        return np.asarray(np.linalg.norm(self.prompts.astype(np.float64), axis=1))

    @property
    def cosine(self) -> float:
        """Cosine of the two prompts: how alike they are."""
        first, second = self.prompts[:2].astype(np.float64)
        return float(first @ second / (np.linalg.norm(first) * np.linalg.norm(second)))

    @property
    def fingerprint(self) -> str:
        """Hash of what decides the scores."""
        facts = repr((MARK, 1, self.prompts.shape, self.labels, self.logit_scale, self.encoder_fingerprint)).encode()
        return blake2b(facts + self.prompts.astype("<f4").tobytes(), digest_size=16).hexdigest()

    def decision(self, threshold: float) -> Decision:
        """Scores of at least `threshold` are flagged; with the error that was measured when they were tuned, if at this one."""
        above = float(np.nextafter(np.float32(threshold), np.float32(0)))
        facts = self.training
        sides = [facts.get(name) for name in ("sensitivity", "specificity")]
        known = all(isinstance(s, (list, tuple)) and len(s) == 2 and 0 <= s[0] <= s[1] and s[1] for s in sides)
        if not known or facts.get("measured_at") != threshold:
            return Decision(above)
        sensitivity, specificity = ((int(side[0]), int(side[1])) for side in sides if side is not None)
        return Decision(above, sensitivity, specificity, str(facts.get("measured_on", "")))

    def check_encoder(self, *, fingerprint: str, dimension: int, name: str) -> str:
        """A note when it cannot be known whether the prompts fit an encoder; empty when they do.

        Raises
        ------
        ModelError
            Another dimension, or prompts that were tuned for another encoder: scores would be arbitrary numbers.
        """
        if dimension != self.dimension:
            raise ModelError(
                f"the prompts have {self.dimension} numbers, embeddings of {name} have {dimension}: prompts rate only images "
                f"of the encoder they were made for{f' ({self.encoder})' if self.encoder else ''}"
            )
        if self.encoder_fingerprint and fingerprint != self.encoder_fingerprint:
            raise ModelError(
                f"the prompts were made for {self.encoder or 'another encoder'}, not for {name}: their spaces differ, and "
                "scores would be arbitrary; give that encoder, or tune prompts for this one"
            )
        return (
            "" if self.encoder_fingerprint else f"the prompts do not say which encoder they were made for; {name} was assumed"
        )

    def save(self, path: Path) -> None:
        """Write a safetensors file; everything but the matrix is in its metadata."""
        from safetensors.numpy import save_file

        facts = {name: getattr(self, name) for name in _TEXTS}
        details = {
            "words": list(self.words),
            "labels": list(self.labels),
            "logit_scale": self.logit_scale,
            "threshold": self.threshold,
            "training": dict(self.training),
        }
        metadata = {"assaymark": MARK, **facts, **{name: json.dumps(value) for name, value in details.items()}}
        save_file({"prompts": self.prompts}, str(path), metadata=metadata)


def load_prompts(path: str | Path, *, key: str = "") -> PromptSet:
    """Read a prompt set.

    Parameters
    ----------
    path : `.safetensors` of ours, `.npy`, `.npz`, or a pickled numpy array (`.p`, `.pkl`)
    key : which array of an `.npz` that holds several

    Raises
    ------
    InputError, ModelError
        Not there, damaged, or no prompt matrix.
    UnsafeFile
        A pickle that asks for more than a numpy array; nothing of it was run.
    """
    file = Path(path)
    if not file.is_file():
        raise InputError(f"prompts {str(file)!r}: no such file")
    if key and file.suffix != ".npz":
        raise ModelError(f"prompts {str(file)!r}: {key!r} would choose an array of an .npz; this file holds one, leave it out")
    try:
        if file.suffix == ".safetensors":
            return _load_own(file)
        if file.suffix in _PICKLES:
            from assaymark.models.restricted_pickle import read_pickled_array

            return PromptSet(_matrix(read_pickled_array(file)))
        if file.suffix == ".npz":
            return PromptSet(_matrix(_from_archive(file, key)))
        if file.suffix == ".npy":
            return PromptSet(_matrix(np.load(file, allow_pickle=False)))
    except ModelError as error:
        raise ModelError(f"prompts {str(file)!r}: {error}") from None
    except ValueError as error:
        if "pickle" in str(error).lower() or "object" in str(error).lower():
            raise UnsafeFile(f"prompts {str(file)!r}: hold Python objects, which can run code; store a plain array") from None
        raise InputError(f"prompts {str(file)!r}: damaged array file ({error})") from None
    except (OSError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"prompts {str(file)!r}: cannot be read ({error}); store it again") from None
    raise InputError(f"prompts {str(file)!r}: give a .safetensors, .npy, .npz or .p file")


def _load_own(file: Path) -> PromptSet:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="np") as tensors:
            metadata = tensors.metadata() or {}
            names = list(tensors.keys())
            if metadata.get("assaymark") != MARK or "prompts" not in names:
                raise ModelError(f"holds {', '.join(names) or 'nothing'} and is no prompt set")
            prompts = tensors.get_tensor("prompts")
        stored = {name: json.loads(metadata[name]) for name in ("words", "labels", "logit_scale", "threshold", "training")}
        details: dict[str, Any] = {
            **{name: tuple(map(str, _list(stored[name]))) for name in ("words", "labels")},
            **{name: float(stored[name]) for name in ("logit_scale", "threshold")},
            "training": dict(stored["training"]),
        }
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"damaged file ({error})") from None
    return PromptSet(_matrix(prompts), **{name: metadata.get(name, "") for name in _TEXTS}, **details)


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError(f"{value!r} is no list")
    return value


def _from_archive(file: Path, key: str) -> npt.NDArray[Any]:
    with np.load(file, allow_pickle=False) as archive:
        names = archive.files
        chosen = key or (names[0] if len(names) == 1 else "")
        if chosen not in names:
            problem = f"no array {chosen!r}{nearest(chosen, names)}" if chosen else "which array?"
            mend = "set prompts_key=NAME, or add key=NAME to a model spec"
            raise ModelError(f"{problem} It holds {', '.join(names) or 'none'}; {mend}")
        return np.asarray(archive[chosen])


def _matrix(array: npt.NDArray[Any]) -> Floats:
    if array.dtype.kind != "f" or array.ndim != 2:
        raise ModelError(f"prompts are numbers of shape (2, dimension), not {array.dtype} of shape {array.shape}")
    return array.astype(np.float32)
