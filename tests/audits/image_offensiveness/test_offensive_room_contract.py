"""The contract of every audit, on the planted inputs of this room."""

from __future__ import annotations

from pathlib import Path

from assaymark.testing import check_audit


def test_contract(tmp_path: Path) -> None:
    check_audit("image-offensiveness", tmp_path)
