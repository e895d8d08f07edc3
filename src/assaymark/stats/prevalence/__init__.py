"""Prevalence: of a class in a stream that a detector scored, with the detector's own error in the interval."""

from __future__ import annotations

from assaymark.stats.prevalence.rates import LEAST_YOUDEN, Rate, rogan_gladen
from assaymark.stats.prevalence.stratified import stratified_prevalence

__all__ = ["LEAST_YOUDEN", "Rate", "rogan_gladen", "stratified_prevalence"]
