"""Results for people: one offline HTML file, a Markdown card, JSON; figures; redaction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from assaymark.report.document import write_report

__all__ = ["write_report"]


def __getattr__(name: str) -> Any:
    if name == "write_report":
        from assaymark.report.document import write_report

        return write_report
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
