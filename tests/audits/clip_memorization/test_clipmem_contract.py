"""The contract of audits on planted pairs with two scripted models."""

from __future__ import annotations

from pathlib import Path

from assaymark.audits.clip_memorization.audit import ClipMemorization
from assaymark.testing import check_audit


def test_contract(tmp_path: Path) -> None:
    check_audit(ClipMemorization, tmp_path)
