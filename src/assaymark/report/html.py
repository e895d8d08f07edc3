"""The HTML report: one file, nothing outside it, readable without JavaScript, on a phone, in the dark and on paper.

A template sees only the views made here. Every value passes `visible` and autoescape; the only markup let through is the
style sheet, the script, and the SVG that `figures` makes.
"""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assaymark.record import RunRecord
from assaymark.report.sections import view_run
from assaymark.report.text import shorten, visible

if TYPE_CHECKING:
    from jinja2 import Environment

__all__ = ["render_html"]

TEMPLATES = Path(__file__).parent / "templates"
TEXT_CHARACTERS = 4_000


def render_html(run: RunRecord, *, pictures: Path | None = None) -> str:
    """The page of a run.

    Notes
    -----
    The content security policy forbids every connection; of scripts it admits the one of this page, by its hash, so that
    markup from data would not run even if it got past the escaping.
    """
    from markupsafe import Markup

    script = (TEMPLATES / "sort.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        _environment()
        .get_template("report.html")
        .render(
            run=view_run(run, pictures=pictures),
            style=Markup((TEMPLATES / "style.css").read_text(encoding="utf-8")),
            script=Markup(script),
            script_hash=f"sha256-{digest}",
        )
    )


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )


def _shown(value: Any) -> Any:
    """What a template prints: text with its hidden characters made visible and an end; markup and numbers as they are."""
    if type(value) is str:
        return shorten(visible(value), TEXT_CHARACTERS)
    return value
