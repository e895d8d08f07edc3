"""Readers, schemas and the one pass: whatever a user points at becomes rows whose columns are known by concept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from assaymark.data.dataset import Dataset, open_input

__all__ = ["Dataset", "open_input"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from assaymark.data import dataset

    return getattr(dataset, name)
