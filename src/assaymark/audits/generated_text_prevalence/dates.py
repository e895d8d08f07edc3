"""How an input writes its dates, found in a sample of its rows before anything is counted."""

from __future__ import annotations

from typing import Any

from assaymark.audits.generated_text_prevalence.config import GeneratedTextPrevalenceConfig
from assaymark.data.column_sample import sample_column
from assaymark.data.dates import DateFormat, detect_format

__all__ = ["found_dates"]


def found_dates(dataset: Any, config: GeneratedTextPrevalenceConfig) -> DateFormat:
    """The format of created_at: from the settings, or from rows spread over the input."""
    sample = sample_column(dataset, "created_at")
    return detect_format(sample, format=config.date_format, day_first=config.day_first)
