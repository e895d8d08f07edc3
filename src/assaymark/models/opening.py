"""From a model spec to an adapter (`open_model`), or to a checked, cached and counted one in a role (`open_role`)."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from assaymark.allowance import Allowance
from assaymark.errors import ConfigError, ModelError
from assaymark.models.guard import AnswerCache, GuardedModel, Role, declared_capabilities
from assaymark.models.image_recording import NotRecordable
from assaymark.models.protocols import capabilities_of
from assaymark.models.spec import ADAPTERS, parse_spec

__all__ = ["DEVICES", "Loading", "open_model", "open_role"]

DEVICES = ("cpu", "cuda", "auto")


@dataclass(frozen=True, slots=True)
class Loading:
    """How a model is to be run: where, and how many items at a time. Neither changes what it answers (beyond rounding)."""

    device: str = "cpu"
    batch_size: int = 64

    def __post_init__(self) -> None:
        if self.device not in DEVICES:
            raise ConfigError(f"device is {self.device!r}; it must be one of {', '.join(DEVICES)}")
        if self.batch_size < 1:
            raise ConfigError(f"batch_size is {self.batch_size}; it must be at least 1")


def open_model(spec: str, *, device: str = "cpu", batch_size: int = 64, base: Path | None = None) -> Any:
    """Open the model behind a spec string.

    Parameters
    ----------
    spec : str
        See `assaymark.models.spec`.
    device : {"cpu", "cuda", "auto"}
    batch_size : int
        Items per forward pass.
    base : Path, optional
        Folder to which relative paths in the spec refer.

    Returns
    -------
    An adapter with one or more of the capabilities in `assaymark.models.protocols`. It can be pickled: weights stay
    behind and are loaded again, when first needed, by whoever unpickles it.

    Raises
    ------
    ModelError, UnsafeFile, MissingExtra
    """
    parsed = parse_spec(spec, base=base)
    loading = Loading(device, batch_size)
    module, _, factory = ADAPTERS[parsed.scheme].partition(":")
    return getattr(import_module(module), factory)(parsed, loading)


def open_role(
    role: Role,
    spec: Any,
    *,
    cache: AnswerCache | None = None,
    device: str = "cpu",
    batch_size: int = 64,
    base: Path | None = None,
    allowance: Allowance | None = None,
) -> GuardedModel:
    """Open a model for a role of an audit: checked, restricted to what the role declares, cached and counted.

    Parameters
    ----------
    role : assaymark.audit.ModelRole
    spec : str or adapter
        A spec string, or an object that already is a model (as tests and notebooks have).
    cache : ModelCache, optional
    allowance : Allowance, optional
        How much the models of this command may compute; without one there is no limit.

    Raises
    ------
    ModelError
        The model lacks a capability that the role needs; the message names both sides.
    """
    model = open_model(spec, device=device, batch_size=batch_size, base=base) if isinstance(spec, str) else spec
    wanted = declared_capabilities(role)
    # Only those: to find the layers of a network, which its protocol asks for, takes a second where it is large.
    exposed = capabilities_of(model, among=wanted)
    fits = not wanted or bool(set(role.any_of) & set(exposed)) or (bool(role.all_of) and set(role.all_of) <= set(exposed))
    if not fits:
        raise ModelError(_misfit(role, spec, capabilities_of(model)) + _why_not_recordable(model, wanted))
    return GuardedModel(role.name, model, exposed, cache=cache, batch_size=batch_size, allowance=allowance)


def _misfit(role: Role, spec: Any, offered: tuple[str, ...]) -> str:
    name = spec if isinstance(spec, str) else f"{type(spec).__name__} object"
    has = " and ".join(offered) or "no capability (an adapter needs spec, fingerprint and the methods of a capability)"
    missing = [capability for capability in role.all_of if capability not in offered]
    needs = " and ".join(missing) if missing else f"one of {', '.join(role.any_of)}"
    either = f", or one of {', '.join(role.any_of)}" if missing and role.any_of else ""
    return f"model {name} cannot take the role {role.name!r}: it lacks {needs}{either}; it offers {has}"


def _why_not_recordable(model: Any, wanted: tuple[str, ...]) -> str:
    """Why the layers of a network could not be found, where that is what a role asks for."""
    for capability, attribute in (("records-activations", "layers"), ("records-text-activations", "text_layers")):
        if capability in wanted:
            try:
                getattr(model, attribute)
            except NotRecordable as error:
                return f". {error}"
            except AttributeError:
                continue
    return ""
