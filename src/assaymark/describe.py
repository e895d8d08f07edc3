"""What `assaymark describe` and `assaymark calibrate` print: an audit's declaration, and its calibration, as text or JSON."""

from __future__ import annotations

import json
import re
import textwrap
from typing import TYPE_CHECKING, Any

from assaymark import catalog
from assaymark.catalog import load_audit, load_mitigation

if TYPE_CHECKING:
    from assaymark.testing.calibration import Calibration

__all__ = ["calibration_json", "calibration_text", "describe_audit", "describe_text"]

WIDTH = 100


def describe_audit(audit_id: str) -> dict[str, Any]:
    """The declaration of an audit as a JSON-ready dictionary."""
    audit = load_audit(audit_id)
    info = audit.info
    return {
        "id": info.id,
        "title": info.title,
        "question": info.question,
        "paper": info.paper,
        "mitigation": audit_id in catalog.MITIGATIONS,
        "inputs": [{"name": i.name, "kind": i.kind, "required": i.required, "description": i.description} for i in info.inputs],
        "models": [
            {
                "role": role.shown,
                "description": role.description,
                "any_of": list(role.any_of),
                "all_of": list(role.all_of),
                "required": role.required,
            }
            for role in info.models
        ],
        "settings": _settings(audit.Config),
        "cure": _cure(audit_id),
        "needs": list(info.needs),
        "cost": info.cost,
        "limits": info.limits,
    }


def _settings(config: Any) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "type": _type_name(field.annotation),
            "default": _plain(field.get_default(call_default_factory=True)),
            "description": field.description or "",
        }
        for name, field in config.model_fields.items()
    ]


def _cure(audit_id: str) -> dict[str, Any] | None:
    """Question, inputs and settings of the mitigation; None where there is none."""
    if audit_id not in catalog.MITIGATIONS:
        return None
    mitigation = load_mitigation(audit_id)
    return {
        "question": mitigation.info.question,
        "inputs": [
            {"name": i.name, "kind": i.kind, "required": i.required, "description": i.description}
            for i in mitigation.info.inputs
        ],
        "settings": _settings(mitigation.Config),
    }


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(value, default=str))


def _type_name(annotation: Any) -> str:
    if isinstance(annotation, type) and not getattr(annotation, "__args__", None):
        return annotation.__name__
    return str(annotation).replace("typing.", "").replace("pathlib._local.", "").replace("pathlib.", "")


def describe_text(audit_id: str) -> str:
    """The declaration of an audit for a person."""
    facts = describe_audit(audit_id)
    lines = [f"{facts['id']}: {facts['title']}", ""]
    lines += _paragraph("", facts["question"]) + _paragraph("", facts["paper"])
    lines += ["", "inputs  NAME=PATH; columns that are not recognised: --column [NAME.]CONCEPT=COLUMN"]
    lines += _input_lines(facts["inputs"])
    lines += ["", "models  --model ROLE=SPEC"] if facts["models"] else []
    for role in facts["models"]:
        able = " or ".join(filter(None, [", ".join(role["any_of"]), " and ".join(role["all_of"])]))
        need = "required" if role["required"] else "optional"
        lines += _paragraph(f"  {role['role']} ({need})  ", f"{role['description']} [{able}]" if able else role["description"])
    lines += ["", "settings  --set KEY=VALUE"] if facts["settings"] else []
    lines += _setting_lines(facts["settings"])
    for part in ("cost", "limits"):
        lines += ["", part, *_paragraph("  ", facts[part])] if facts[part] else []
    if facts["needs"]:
        lines += ["", f"needs  pip install 'assaymark[{','.join(facts['needs'])}]'"]
    if facts["cure"]:
        lines += ["", f"mitigation  assaymark mitigate {facts['id']}", *_paragraph("  ", facts["cure"]["question"])]
        lines += _input_lines([item for item in facts["cure"]["inputs"] if not item["required"]])
        known = {setting["name"] for setting in facts["settings"]}
        lines += _setting_lines([setting for setting in facts["cure"]["settings"] if setting["name"] not in known])
    return "\n".join(lines)


def _input_lines(inputs: list[dict[str, Any]]) -> list[str]:
    lines = []
    for item in inputs:
        need = "required" if item["required"] else "optional"
        lines += _paragraph(f"  {item['name']} ({item['kind']}, {need})  ", item["description"])
    return lines


def _setting_lines(settings: list[dict[str, Any]]) -> list[str]:
    lines = []
    for setting in settings:
        default = json.dumps(setting["default"], ensure_ascii=False)
        default = default if len(default) <= 48 else f"{default[:45]}..."
        choices = re.fullmatch(r"Literal\[(.*)\]", setting["type"])
        allowed = f" (one of {choices[1].replace(chr(39), '')})" if choices else ""
        lines += _paragraph(f"  {setting['name']} = {default}  ", setting["description"] + allowed)
    return lines


def _paragraph(lead: str, text: str) -> list[str]:
    indent = " " * (4 if lead.strip() else len(lead))
    return (
        textwrap.wrap(lead + " ".join(text.split()), WIDTH, subsequent_indent=indent, drop_whitespace=True) if text else [lead]
    )


def calibration_json(found: Calibration) -> dict[str, Any]:
    """A calibration as a JSON-ready dictionary."""
    return found.record()


def calibration_text(found: Calibration) -> str:
    """A calibration as one aligned table, and what the null plantings raised."""
    rows = [("planted number", "the interval should", "truth", "mean estimate", "agreed", "undefined")]
    for row in found.rows:
        mean = "-" if row.mean is None else f"{row.mean:.6g}"
        agreed = "-" if row.agreed.value is None else f"{100 * row.agreed.value:.0f} % of {row.agreed.n}"
        rows.append((row.name, row.expect, f"{row.truth:.6g}", mean, agreed, str(row.undefined)))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    alarms = f"{len(found.null_alarms)} alarms in {found.null_seeds} inputs with nothing planted"
    return "\n".join([*lines, "", f"{found.seeds} seeds; {alarms}", *(f"  {alarm}" for alarm in found.null_alarms)])
