"""Which images of a data set show what people would find offensive, insulting, threatening or frightening - and what is it?

The answer is a shortlist for people to review, ranked by a frozen image-text encoder and two tuned prompt vectors, with the
share of flagged images, the classes and terms they concentrate in, and how far to trust it: question 16 of "Datasheets for
Datasets". P. Schramowski, C. Tauchmann, K. Kersting. "Can Machines Help Us Answering Question 16 in Datasheets, and In Turn
Reflecting on Inappropriate Content?". FAccT 2022; with P. Schramowski, K. Kersting. "Inferring Offensiveness In Images From
Natural Language Supervision". arXiv 2110.04222.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from assaymark.audits.image_offensiveness.audit import ImageOffensiveness
    from assaymark.audits.image_offensiveness.config import ImageOffensivenessConfig

__all__ = ["ImageOffensiveness", "ImageOffensivenessConfig"]


def __getattr__(name: str) -> Any:
    from importlib import import_module

    homes = {"ImageOffensiveness": "audit", "ImageOffensivenessConfig": "config"}
    if name not in homes:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{homes[name]}"), name)
