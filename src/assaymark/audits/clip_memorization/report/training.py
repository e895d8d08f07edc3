"""How the pair of models was trained, where the room did it, and whether it learnt enough to say anything."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from assaymark.result import Artifact, Column, Finding, Severity, Table
from assaymark.section import Section

__all__ = ["training_section"]

NAMES = {"with": "model (S and C)", "without": "reference (S and I)"}


def training_section(record: Mapping[str, Any], unreadable: int, split_here: bool, *, kept: bool) -> Section:
    """Steps, losses and contrastive accuracy of both, and the models as artifacts."""
    section = Section()
    rows: list[tuple[Any, ...]] = []
    for name, title in NAMES.items():
        one = record[name]
        losses, check = one.get("losses") or [None], one.get("check") or {}
        accuracy = [(check.get(part) or {}).get("accuracy") for part in ("shared", "external")]
        chance = (check.get("external") or {}).get("chance")
        rows.append((title, int(one["steps"]), losses[0], losses[-1], *accuracy, chance))
    names = ("model", "steps", "first_loss", "last_loss", "shared", "external", "chance")
    values = {name: [row[at] for row in rows] for at, name in enumerate(names)}
    columns = (
        Column("model", "label"), Column("steps", "count"), Column("first_loss", "number", "loss at the start"),
        Column("last_loss", "number", "loss at the end"), Column("shared", "number", "contrastive accuracy, shared pairs"),
        Column("external", "number", "the same, external pairs"), Column("chance", "number", "by chance"),
    )  # fmt: skip
    section.tables.append(Table.of("training", "The models that were trained here", values, columns))
    said = tuple(record.get("warnings") or ())
    for sentence in said:
        severity: Severity = "warning" if "hardly trained" in sentence else "note"
        section.findings.append(Finding(severity, f"Training: {sentence}.", tables=("training",)))
    if unreadable:
        section.notes.append(f"{unreadable:,} pairs have no picture that can be read and were not trained on")
    if split_here:
        section.notes.append("the pairs had no sets: they were split by a hash of their ids")
    if kept:
        section.artifacts += [
            Artifact("model", "model", "pair/with", "the audited model, trained on S and C"),
            Artifact("reference", "model", "pair/without", "its reference, trained on S and I"),
            Artifact("split", "table", "pair/split.parquet", "set of each pair, by id", private=True),
        ]
    section.methods.append(
        f"Both models were trained here with one recipe, from the same first weights and with the same number of steps, on "
        f"{record['sizes']['S']:,} shared pairs and {record['sizes']['C']:,} of their own."
    )
    return section
