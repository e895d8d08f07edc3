"""A finished calibration of an audit, kept beside its code as JSON and shown in the reports of that audit as a table."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from assaymark.result import Column, Table

__all__ = ["calibration_table", "packaged_calibration"]

COLUMNS = (
    Column("planted", "label", "planted number"),
    Column("expectation", "text", "the interval should"),
    Column("truth", "number", "truth"),
    Column("mean_estimate", "number", "mean estimate"),
    Column("mean_width", "number", "mean interval width"),
    Column("seeds", "count", "seeds"),
    Column("undefined", "count", "undefined"),
    Column("agreed", "share", "share of seeds that agree"),
    Column("agreed_low", "low", of="agreed"),
    Column("agreed_high", "high", of="agreed"),
)


def calibration_table(record: Mapping[str, Any]) -> Table:
    """The table named "calibration" that reports show, from the record that `assaymark calibrate --save` writes."""
    values = {column.name: [row[column.name] for row in record["rows"]] for column in COLUMNS}
    alarms = f"{len(record['null_alarms'])} findings above 'note' in {record['null_seeds']} data sets with nothing planted"
    made = f"{record['seeds']} data sets with planted answers, {record['size']} size"
    command = f"; made by: {record['command']}" if record.get("command") else ""
    title = f"Calibration of {record['audit']} on planted truth"
    return Table.of("calibration", title, values, COLUMNS, description=f"{made}; {alarms}{command}.")


def packaged_calibration(package: str) -> Table | None:
    """The calibration in `calibration.json` of a package, such as ``assaymark.audits.image_text_dataset``.

    None while an audit has none yet: the first calibration runs without; reports say that it is missing.
    """
    kept = files(package).joinpath("calibration.json")
    return calibration_table(json.loads(kept.read_text(encoding="utf-8"))) if kept.is_file() else None
