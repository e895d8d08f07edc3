"""The parts of the report, in reading order."""

from __future__ import annotations

from collections.abc import Iterator

from assaymark.audits.icl_membership.config import IclMembershipConfig
from assaymark.audits.icl_membership.report.attacks import attack_section, curve_section
from assaymark.audits.icl_membership.report.conditions import condition_section, control_section, position_section
from assaymark.audits.icl_membership.report.cost import cost_section, game_section
from assaymark.audits.icl_membership.report.replies import reply_section
from assaymark.audits.icl_membership.study import Study
from assaymark.calibrated import packaged_calibration
from assaymark.result import Finding, undefined
from assaymark.section import Section

__all__ = ["sections", "undefined_sections"]


def sections(study: Study) -> Iterator[Section]:
    yield attack_section(study)
    yield condition_section(study)
    yield position_section(study)
    yield control_section(study)
    yield reply_section(study.main.played.attacked, prefix_words=study.config.prefix_words)
    yield cost_section(study)
    yield curve_section(study)
    yield game_section(study)
    table = packaged_calibration("assaymark.audits.icl_membership")
    yield Section(tables=[] if table is None else [table])


def undefined_sections(reason: str, config: IclMembershipConfig) -> Iterator[Section]:
    """What is said where no game could be drawn: everything is undefined for one reason."""
    names = [f"advantage.{attack}" for attack in config.attacks] + ["advantage.worst"]
    lost = undefined(reason, unit="percentage points")
    yield Section(
        estimates=dict.fromkeys(names, lost),
        findings=[Finding("warning", f"Nothing was attacked: {reason}.", ("advantage.worst",))],
    )
