"""THE list: one line per audit, strings only, so that listing audits imports none of them."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from assaymark.errors import AssaymarkError, UnknownName

if TYPE_CHECKING:
    from assaymark.audit import Audit, Mitigation

__all__ = ["AUDITS", "MITIGATIONS", "load_audit", "load_mitigation"]

AUDITS: dict[str, str] = {
    "image-text-dataset": "assaymark.audits.image_text_dataset.audit:ImageTextDataset",
}

MITIGATIONS: dict[str, str] = {
    "image-text-dataset": "assaymark.audits.image_text_dataset.mitigate:FilterRows",
}


def _load(target: str) -> type:
    module, _, name = target.partition(":")
    return getattr(importlib.import_module(module), name)  # type: ignore[no-any-return]


def load_audit(audit_id: str) -> type[Audit]:
    if audit_id not in AUDITS:
        raise UnknownName("audit", audit_id, AUDITS)
    return _load(AUDITS[audit_id])


def load_mitigation(audit_id: str) -> type[Mitigation]:
    if audit_id not in AUDITS:
        raise UnknownName("audit", audit_id, AUDITS)
    if audit_id not in MITIGATIONS:
        raise AssaymarkError(f"{audit_id} has no mitigation; those with one: {', '.join(sorted(MITIGATIONS))}")
    return _load(MITIGATIONS[audit_id])
