"""Planted experiments on the methods."""

from __future__ import annotations

from collections.abc import Sequence

from assaymark.audit import Trial

__all__ = ["method_trials"]


def method_trials(seed: int, *, full: bool = False) -> Sequence[Trial]:
    """Nothing yet."""
    return ()
