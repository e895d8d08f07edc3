"""Things named by a string and imported at the moment of use: how lower parts reach higher ones without knowing them."""

from __future__ import annotations

import importlib
from typing import Any

__all__ = ["load_object"]


def load_object(target: str) -> Any:
    """The object behind `"package.module:name"`."""
    module, _, name = target.partition(":")
    return getattr(importlib.import_module(module), name)
