"""What every command has in common: whatever goes wrong ends in one line and an exit code."""

from __future__ import annotations

import sys
from typing import Any

import typer
from typer.core import TyperGroup

from assaymark.errors import AssaymarkError

__all__ = ["FAILED", "INTERRUPTED", "GuardedGroup", "complain"]

FAILED = 3
INTERRUPTED = 130


class GuardedGroup(TyperGroup):
    """Turns what goes wrong into one line and an exit code; a traceback is never printed."""

    def main(self, *args: Any, **extra: Any) -> Any:
        standalone = extra.get("standalone_mode", True)
        extra["standalone_mode"] = False
        if not standalone:
            return super().main(*args, **extra)
        try:
            code = super().main(*args, **extra)
        except Exception as error:
            if not hasattr(error, "format_message"):
                raise
            sys.exit(_usage(error))
        sys.exit(code if isinstance(code, int) else 0)

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except AssaymarkError as error:
            complain(f"error: {error}")
            raise typer.Exit(2) from None
        except KeyboardInterrupt:
            typer.echo("interrupted", err=True)
            raise typer.Exit(INTERRUPTED) from None
        except Exception as error:
            if type(error).__module__.startswith(("click", "typer")) or isinstance(error, BrokenPipeError):
                raise
            from assaymark.execution import keep_traceback

            complain(f"error: {type(error).__name__} in assaymark itself; traceback in {keep_traceback()}")
            raise typer.Exit(FAILED) from None


def complain(text: str) -> None:
    """To standard error, without control characters: names from data must not move the cursor or colour the screen."""
    from assaymark.console import printable

    for line in text.splitlines():
        typer.echo(printable(line), err=True)


def _usage(error: Any) -> int:
    """Say what is wrong with the words of a command, in one line instead of a framed box; returns the exit code."""
    if type(error).__name__ == "NoArgsIsHelpError":
        error.show()
    else:
        context = getattr(error, "ctx", None)
        where = "" if context is None else f" See: {context.command_path} --help"
        message = " ".join(error.format_message().split())
        complain(f"error: {message}{'' if message.endswith('.') else '.'}{where}")
    return int(error.exit_code)
