"""What harmful, mislabelled or unconsented content does an image-text data set hold, and do its safety devices work?

The answer is a report of rates with intervals: anatomy, lexicon hits, slices by term, the safety tag, hateful texts, the
similarity filter, concept search, caption swaps, faces, class labels, data subjects.

A. Birhane, V. U. Prabhu, E. Kahembwe. "Multimodal datasets: misogyny, pornography, and malignant stereotypes". arXiv
2110.01963; with its follow-ups arXiv 2306.13141, 2311.03449 and 2405.04623.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from assaymark.audits.image_text_dataset.audit import ImageTextDataset
    from assaymark.audits.image_text_dataset.config import ImageTextDatasetConfig

__all__ = ["ImageTextDataset", "ImageTextDatasetConfig"]


def __getattr__(name: str) -> Any:
    from importlib import import_module

    homes = {"ImageTextDataset": "audit", "ImageTextDatasetConfig": "config"}
    if name not in homes:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{homes[name]}"), name)
