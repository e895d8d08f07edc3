"""The parts of the report, in reading order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from assaymark.audits.encoder_memorization.report.files import file_section
from assaymark.audits.encoder_memorization.report.layers import layer_section
from assaymark.audits.encoder_memorization.report.membership import membership_section
from assaymark.audits.encoder_memorization.report.units import owner_section, unit_section
from assaymark.audits.encoder_memorization.study import Study
from assaymark.calibrated import packaged_calibration
from assaymark.section import Section

__all__ = ["sections"]


def sections(study: Study, ids: Sequence[str]) -> Iterator[Section]:
    """`ids` are those of the points, in their order."""
    yield membership_section(study)
    yield layer_section(study)
    yield unit_section(study, ids)
    yield owner_section(study)
    yield file_section(study, ids)
    table = packaged_calibration("assaymark.audits.encoder_memorization")
    yield Section(tables=[] if table is None else [table])
