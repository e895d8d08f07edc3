"""The command line. Exit codes: 0 all gates hold, 1 a gate does not, 2 a mistake of the user's, 3 an audit failed.

Everything beyond typer is imported when a command needs it, so that `assaymark list` answers at once.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from assaymark.command_group import FAILED, INTERRUPTED, GuardedGroup, complain
from assaymark.errors import AssaymarkError, BudgetExceeded
from assaymark.pair_command import train_pair_command

if TYPE_CHECKING:
    from assaymark.plan import Plan
    from assaymark.runner import Live
    from assaymark.store.runs import RunFolder

__all__ = ["app", "main"]

app = typer.Typer(
    cls=GuardedGroup,
    name="assaymark",
    help="Audits of machine learning where it can hurt people: data sets, models, outputs, detectors.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Inputs = Annotated[
    list[str], typer.Argument(metavar="INPUT...", help="path of the first required input, or NAME=PATH for each")
]
AuditId = Annotated[str, typer.Argument(metavar="ID", help="as shown by 'assaymark list'")]
Models = Annotated[list[str] | None, typer.Option("--model", metavar="ROLE=SPEC", help="model for a role, as scorer=hf:gpt2")]
Settings = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="setting of the audit; values are YAML")]
Columns = Annotated[
    list[str] | None,
    typer.Option("--column", metavar="[INPUT.]CONCEPT=COLUMN", help="which column holds what, as text=alt"),
]
Gates = Annotated[list[str] | None, typer.Option("--gate", metavar="TEXT", help="as 'rate.any.high < 0.5%'")]
Engine = Annotated[str | None, typer.Option(help="local, or ray://host:port")]
Seed = Annotated[int, typer.Option(min=0, help="root of all randomness")]
Out = Annotated[Path | None, typer.Option("--out", help="folder of the run; by default runs/NAME-TIME")]
QueryBudget = Annotated[
    str | None,
    typer.Option("--budget", metavar="N", help="queries that models may compute, as 20k; an audit with more asks first"),
]
Reveal = Annotated[bool, typer.Option("--reveal", help="keep raw texts, words and URLs in the result")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="print nothing but errors")]
AsJson = Annotated[bool, typer.Option("--json", help="one JSON document on standard output, nothing else")]
RunPath = Annotated[Path, typer.Argument(metavar="RUN", help="folder of a run")]


def _print_json(content: Any) -> None:
    typer.echo(json.dumps(content, indent=1, ensure_ascii=False, default=str))


def _show_version(wanted: bool) -> None:
    if wanted:
        from assaymark.execution import version

        typer.echo(version())
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[bool, typer.Option("--version", callback=_show_version, is_eager=True, help="show the version")] = False,
) -> None:
    pass


# -- what there is ----------------------------------------------------------------------------------------------------------


@app.command("list")
def list_audits(as_json: AsJson = False) -> None:
    """Every audit and its question."""
    from assaymark.catalog import AUDITS, MITIGATIONS

    rows = [{"id": i, "question": _question(target), "mitigation": i in MITIGATIONS} for i, target in sorted(AUDITS.items())]
    if as_json:
        _print_json(rows)
        return
    width = max((len(str(row["id"])) for row in rows), default=0)
    for row in rows:
        typer.echo(f"{row['id']:<{width}}  {row['question']}{'  (with a mitigation)' if row['mitigation'] else ''}")


def _question(target: str) -> str:
    """First line of the docstring of a room's package: the question, without importing what answers it."""
    import importlib

    module = target.partition(":")[0]
    package = module.removesuffix(".audit")
    lines = (importlib.import_module(package).__doc__ or "").strip().splitlines()
    return lines[0] if lines else ""


@app.command()
def describe(audit_id: AuditId, as_json: AsJson = False) -> None:
    """What an audit asks, takes, can be set to, costs, and cannot say."""
    from assaymark.describe import describe_audit, describe_text

    if as_json:
        _print_json(describe_audit(audit_id))
    else:
        typer.echo(describe_text(audit_id))


# -- running ----------------------------------------------------------------------------------------------------------------


@app.command()
def audit(
    audit_id: AuditId,
    inputs: Inputs,
    models: Models = None,
    settings: Settings = None,
    columns: Columns = None,
    gates: Gates = None,
    engine: Engine = None,
    seed: Seed = 0,
    out: Out = None,
    budget: QueryBudget = None,
    reveal: Reveal = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Run one audit on some inputs."""
    from assaymark.arguments import checked_command

    plan, live = checked_command("audit", audit_id, inputs, models, settings, columns, gates, engine, seed, reveal, budget)
    _once(plan, live, out, quiet, as_json)


@app.command()
def mitigate(
    audit_id: AuditId,
    inputs: Inputs,
    models: Models = None,
    settings: Settings = None,
    columns: Columns = None,
    gates: Gates = None,
    engine: Engine = None,
    seed: Seed = 0,
    out: Out = None,
    budget: QueryBudget = None,
    reveal: Reveal = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Apply the mitigation of an audit, and measure what it bought and cost."""
    from assaymark.arguments import checked_command

    plan, live = checked_command("mitigation", audit_id, inputs, models, settings, columns, gates, engine, seed, reveal, budget)
    _once(plan, live, out, quiet, as_json)


def _once(plan: Plan, live: Live, out: Path | None, quiet: bool, as_json: bool) -> None:
    """Run a plan of one command: a user's mistake inside it is an error of the command, and leaves no empty folder."""
    from assaymark.runner import prepare
    from assaymark.store.runs import DiskFull, RunInUse

    folder = prepare(plan, out)
    try:
        _proceed(folder, quiet=quiet, as_json=as_json, live=live, stop_on_mistake=True)
    except (DiskFull, RunInUse):
        raise
    except AssaymarkError as error:
        if not folder.discard():
            error.args = (f"{error}\n{_how_to_go_on(folder, error)}",)
        raise


def _how_to_go_on(folder: RunFolder, error: AssaymarkError) -> str:
    budget = f" --budget {error.needed or 'N'}" if isinstance(error, BudgetExceeded) else ""
    return f"what was done is kept, continue with: assaymark resume {folder.path}{budget}"


@contextmanager
def _short_warnings(folder: RunFolder, quiet: bool) -> Iterator[None]:
    """Warnings as one line without the source beside it; with --quiet they are in the log alone."""

    def show(
        message: Warning | str, category: type[Warning], filename: str, lineno: int, file: Any = None, line: str | None = None
    ) -> None:
        folder.log("warning", category=category.__name__, message=str(message), place=f"{Path(filename).name}:{lineno}")
        if not quiet:
            complain(f"warning: {' '.join(str(message).split())}")

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield


def _proceed(folder: RunFolder, *, quiet: bool, as_json: bool, **how: Any) -> None:
    from assaymark.console import progress_for, show_run
    from assaymark.runner import proceed
    from assaymark.store.runs import record_to_json

    try:
        with _short_warnings(folder, quiet):
            record = proceed(folder, progress=progress_for(quiet=quiet or as_json), **how)
    except BudgetExceeded as error:
        if not how.get("stop_on_mistake"):
            error.args = (f"{error}\n{_how_to_go_on(folder, error)}",)
        raise
    except KeyboardInterrupt:
        complain(f"interrupted; finished work is kept, continue with: assaymark resume {folder.path}")
        raise typer.Exit(INTERRUPTED) from None
    if as_json:
        _print_json({"folder": str(folder.path), **record_to_json(record)})
    elif not quiet:
        show_run(record, folder.path)
    for gate in record.unknown_gates:
        complain(f"error: gate {gate.text!r}: {gate.reason}")
    for step in record.steps:
        if step.status == "failed":
            complain(f"error: step {step.id} failed: {step.error} ({folder.log_path})")
    raise typer.Exit(record.exit_code)


app.command("train-pair")(train_pair_command)


@app.command()
def run(
    plan: Annotated[Path, typer.Argument(metavar="PLAN", help="plan file (YAML)")],
    out: Out = None,
    engine: Engine = None,
    seed: Annotated[int | None, typer.Option(min=0, help="in the place of the plan's seed")] = None,
    budget: QueryBudget = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Run a plan: its steps, its gates, its report."""
    from assaymark.plan_loading import load_plan
    from assaymark.runner import prepare

    checked = load_plan(plan, engine=engine, seed=seed, budget=_queries(budget))
    _full_disk_is_failure(lambda: _proceed(prepare(checked, out), quiet=quiet, as_json=as_json))


@app.command()
def resume(run: RunPath, budget: QueryBudget = None, quiet: Quiet = False, as_json: AsJson = False) -> None:
    """Continue a run that was killed or had failures."""
    from assaymark.store.runs import RunFolder

    folder = RunFolder.open(run)
    limit = _queries(budget)
    _full_disk_is_failure(lambda: _proceed(folder, quiet=quiet, as_json=as_json, budget=limit))


def _queries(budget: str | None) -> int | None:
    from assaymark.allowance import query_count

    return None if budget is None else query_count(budget)


def _full_disk_is_failure(work: Any) -> None:
    from assaymark.store.runs import DiskFull

    try:
        work()
    except DiskFull as error:
        complain(f"error: {error}")
        raise typer.Exit(FAILED) from None


# -- looking at runs --------------------------------------------------------------------------------------------------------


@app.command()
def report(
    run: RunPath,
    to: Annotated[
        Path | None, typer.Option("--to", metavar="FILE", help=".html, .md or .json; by default the run's own")
    ] = None,
) -> None:
    """Write the report of a run again."""
    from assaymark.report import write_report
    from assaymark.runner import write_reports
    from assaymark.store.runs import RunFolder

    folder = RunFolder.open(run)
    record = folder.load()
    if to is None:
        write_reports(folder, record)
        to = folder.path / "report.html"
    else:
        write_report(record, to, pictures=folder.path)
    typer.echo(str(to))


@app.command()
def compare(
    run_a: Annotated[Path, typer.Argument(metavar="RUN_A")],
    run_b: Annotated[Path, typer.Argument(metavar="RUN_B")],
    as_json: AsJson = False,
) -> None:
    """Two runs side by side: each estimate, the difference with its interval, and whether one is shown."""
    from dataclasses import asdict

    from assaymark.console import show_comparison
    from assaymark.store.views import compare

    rows = compare(run_a, run_b)
    if as_json:
        parts = ("a", "b", "difference")
        plain = [{**row._asdict(), **{p: asdict(e) for p in parts if (e := getattr(row, p)) is not None}} for row in rows]
        _print_json(plain)
    else:
        show_comparison(rows)


# -- trust ------------------------------------------------------------------------------------------------------------------


@app.command()
def calibrate(
    audit_id: AuditId,
    seeds: Annotated[int, typer.Option(min=1, help="how many plantings")] = 20,
    full: Annotated[bool, typer.Option("--full/--small", help="the published sizes, or small ones")] = True,
    save: Annotated[Path | None, typer.Option("--save", help="write the record to this JSON file")] = None,
    budget: QueryBudget = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Run an audit on inputs whose answer is known, over many seeds: truth, mean estimate, coverage."""
    from assaymark.console import progress_for
    from assaymark.describe import calibration_json, calibration_text
    from assaymark.testing.calibration import calibrate

    limit = _queries(budget)
    found = calibrate(audit_id, seeds=seeds, full=full, progress=progress_for(quiet=quiet or as_json), budget=limit)
    if save is not None:
        found.save(save)
    if as_json:
        _print_json(calibration_json(found))
    else:
        typer.echo(calibration_text(found))


@app.command()
def demo(
    out: Annotated[Path, typer.Option("--out", help="folder of the run")] = Path("assaymark-demo"),
    quiet: Quiet = False,
) -> None:
    """Audit made-up data whose answer is known, and write a report: no download, no model, one minute."""
    from assaymark.console import progress_for
    from assaymark.demo import run_demo

    outcome = run_demo(out, progress_for(quiet=quiet), quiet=quiet)
    typer.echo(f"report  {outcome.report}")
    if outcome.found < outcome.planted:
        raise typer.Exit(3)


def main() -> None:
    """Entry point of the `assaymark` command."""
    app(prog_name="assaymark")


if __name__ == "__main__":
    main()
