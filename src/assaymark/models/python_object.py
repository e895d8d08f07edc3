"""`py:module:name` - an object of the user's own code, or what a factory without arguments returns, as a model.

The module must be importable: naming it in a spec runs it, which is as safe as importing it.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
from hashlib import blake2b
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from assaymark.errors import ModelError, nearest
from assaymark.models.guard import capability_attributes, capability_methods
from assaymark.models.protocols import CAPABILITIES
from assaymark.models.spec import ModelSpec

if TYPE_CHECKING:
    from assaymark.models.opening import Loading

__all__ = ["PythonObject"]


class PythonObject:
    """Gives a user's object what adapters have besides their methods: a spec, a fingerprint, and pickling by name.

    The object needs the methods and attributes of at least one capability. Without a `fingerprint` of its own it gets a hash of
    the module's source file: editing that file makes cached answers void, editing what the file imports does not.
    """

    def __init__(self, spec: ModelSpec, loading: Loading | None = None) -> None:
        spec.check_options(())
        module_name, _, name = spec.target.partition(":")
        if not module_name or not name:
            raise ModelError(f"model {spec.text!r}: write py:module:name")
        module = _module(module_name, spec)
        model = _object(module, name, spec)
        self.spec = spec.text
        self.fingerprint = str(getattr(model, "fingerprint", None) or _source_fingerprint(module, name))
        self.notes = tuple(getattr(model, "notes", ()))
        self.decision = getattr(model, "decision", None)
        self.cheap = tuple(getattr(model, "cheap", ()))
        self.remote = bool(getattr(model, "remote", False))
        self._parsed = spec
        if not self._adopt(model):
            known = "; ".join(_needs(capability) for capability in CAPABILITIES if capability_methods(capability))
            raise ModelError(f"model {spec.text}: {type(model).__name__} has no capability in full; there are: {known}")

    def __reduce__(self) -> tuple[Any, ...]:
        return PythonObject, (self._parsed,)

    def _adopt(self, model: Any) -> bool:
        """Take over every capability that the object has in full."""
        adopted = False
        for capability in CAPABILITIES:
            members = (*capability_methods(capability), *capability_attributes(capability))
            if all(hasattr(model, member) for member in members):
                adopted = True
                for member in members:
                    setattr(self, member, getattr(model, member))
        return adopted


def _needs(capability: str) -> str:
    """The members that make up a capability, methods first."""
    methods, attributes = capability_methods(capability), capability_attributes(capability)
    return " + ".join(filter(None, (", ".join(methods), ", ".join(attributes))))


def _module(name: str, spec: ModelSpec) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ModelError(f"model {spec.text}: module {name!r} cannot be imported ({error}); is it on PYTHONPATH?") from error


def _object(module: ModuleType, name: str, spec: ModelSpec) -> Any:
    try:
        found = getattr(module, name)
    except AttributeError:
        public = [known for known in vars(module) if not known.startswith("_")]
        raise ModelError(f"model {spec.text}: module {module.__name__!r} has no {name!r}{nearest(name, public)}") from None
    is_model = not isinstance(found, type) and any(
        hasattr(found, method) for name in CAPABILITIES for method in capability_methods(name)
    )
    if is_model or not callable(found):
        return found
    try:
        inspect.signature(found).bind()
    except (TypeError, ValueError) as error:  # ValueError: a built-in that does not tell
        raise ModelError(f"model {spec.text}: {name!r} is not a model, nor a factory without arguments ({error})") from None
    return found()


def _source_fingerprint(module: ModuleType, name: str) -> str:
    source = getattr(module, "__file__", None)
    content = Path(source).read_bytes() if source and Path(source).is_file() else module.__name__.encode()
    return blake2b(content + b"\0" + name.encode(), digest_size=16).hexdigest()
