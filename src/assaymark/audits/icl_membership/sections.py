"""The parts of the report, in reading order."""

from __future__ import annotations

from collections.abc import Iterator

from assaymark.audits.icl_membership.report.attacks import attack_section, curve_section
from assaymark.audits.icl_membership.report.conditions import condition_section, control_section, position_section
from assaymark.audits.icl_membership.report.cost import cost_section, game_section
from assaymark.audits.icl_membership.study import Study
from assaymark.calibrated import packaged_calibration
from assaymark.section import Section

__all__ = ["sections"]


def sections(study: Study) -> Iterator[Section]:
    yield attack_section(study)
    yield condition_section(study)
    yield position_section(study)
    yield control_section(study)
    yield cost_section(study)
    yield curve_section(study)
    yield game_section(study)
    table = packaged_calibration("assaymark.audits.icl_membership")
    yield Section(tables=[] if table is None else [table])
