"""SQL over all runs, and two runs side by side.

`connect` gives a DuckDB connection with the views `runs`, `estimates`, `gates`, `findings` and `table_files`, and one view
`tables.NAME` for each table that any run holds (with the columns `run` and `step` in front). How a rate moved over releases:

    SELECT runs.started, estimates.value, estimates.low, estimates.high
    FROM estimates JOIN runs USING (run)
    WHERE estimates.name = 'share.positive' AND estimates.value IS NOT NULL
    ORDER BY runs.started

Times are UTC. Views read the files when they are queried; runs that came later need a new `connect`.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from assaymark.errors import RunError
from assaymark.record import RunRecord
from assaymark.result import Estimate

if TYPE_CHECKING:
    import duckdb

__all__ = ["Comparison", "compare", "connect"]

Verdict = Literal["differs", "no difference shown", "undefined"]

_RUN_COLUMNS = {
    "schema_version": "BIGINT",
    "name": "VARCHAR",
    "version": "VARCHAR",
    "started": "TIMESTAMP",
    "seconds": "DOUBLE",
    "seed": "BIGINT",
    "reveal": "BOOLEAN",
    "exit_code": "BIGINT",
    "steps": "JSON[]",
    "gates": "JSON[]",
}

# Limits are VARCHAR in the file when infinite ("Infinity"), so every number goes through ->> and a cast.
_ESTIMATE = "{source}->>'value' AS DOUBLE) AS value, CAST({source}->>'low' AS DOUBLE) AS low, CAST({source}->>'high' AS DOUBLE)"

_VIEWS = {
    "runs": """
        SELECT run, folder, name, version, started, seconds, seed, reveal, exit_code, len(steps) AS steps,
               len([s FOR s IN steps IF (s->>'status') <> 'done']) AS steps_not_done,
               len(gates) AS gates, len([g FOR g IN gates IF (g->>'holds') <> 'true']) AS gates_not_held
        FROM run_files""",
    "steps": """
        SELECT run, folder, step->>'id' AS step, step->>'audit' AS audit, step->>'kind' AS kind, step->>'status' AS status,
               step->>'error' AS error, step->'result' AS result
        FROM (SELECT run, folder, unnest(steps) AS step FROM run_files)""",
    "estimates": f"""
        SELECT run, folder, step, audit, e->>'name' AS name, CAST({_ESTIMATE.format(source="e")} AS high,
               CAST(e->>'n' AS BIGINT) AS n, e->>'method' AS method, e->>'unit' AS unit, e->>'reason' AS reason
        FROM (SELECT * EXCLUDE (result), unnest(CAST(result->'estimates' AS JSON[])) AS e FROM steps)""",
    "findings": """
        SELECT run, folder, step, audit, f->>'severity' AS severity, f->>'sentence' AS sentence, f->>'advice' AS advice
        FROM (SELECT * EXCLUDE (result), unnest(CAST(result->'findings' AS JSON[])) AS f FROM steps)""",
    "gates": f"""
        SELECT run, folder, g->>'text' AS text, g->>'step' AS step, g->>'estimate_name' AS estimate,
               (g->>'holds') = 'true' AS holds, g->>'reason' AS reason,
               CAST({_ESTIMATE.format(source="(g->'estimate')")} AS high
        FROM (SELECT run, folder, unnest(gates) AS g FROM run_files)""",
}


def connect(runs_folder: str | Path = "runs") -> duckdb.DuckDBPyConnection:
    """In-memory DuckDB connection with views over every run below `runs_folder` (at any depth).

    Raises
    ------
    RunError
        When the folder does not exist.
    """
    import duckdb

    root = Path(runs_folder)
    if not root.is_dir():
        raise RunError(f"{root} is not a folder of runs")
    connection = duckdb.connect(config={"autoinstall_known_extensions": "false"})
    files = sorted(str(path.resolve()) for path in root.rglob("run.json"))
    connection.execute(f"CREATE TEMP VIEW run_files AS {_read_runs(files)}")
    for name, query in _VIEWS.items():
        connection.execute(f"CREATE VIEW {name} AS {query}")
    _add_tables(connection, files)
    return connection


def _read_runs(files: list[str]) -> str:
    if not files:
        columns = ", ".join(f"CAST(NULL AS {kind}) AS {name}" for name, kind in _RUN_COLUMNS.items())
        return f"SELECT '' AS run, '' AS folder, {columns} WHERE false"
    columns = ", ".join(f"{name}: '{kind}'" for name, kind in _RUN_COLUMNS.items())
    paths = ", ".join(_quoted(file) for file in files)
    return f"""
        SELECT parse_filename(parse_path_folder) AS run, parse_path_folder AS folder, * EXCLUDE (filename, parse_path_folder)
        FROM (SELECT *, parse_dirpath(filename) AS parse_path_folder
              FROM read_json([{paths}], columns={{{columns}}}, format='unstructured', filename=true,
                             maximum_object_size=1000000000))"""


def _quoted(text: str) -> str:
    """SQL string literal; a folder may be called O'Brien."""
    return "'" + text.replace("'", "''") + "'"


def _add_tables(connection: duckdb.DuckDBPyConnection, run_files: list[str]) -> None:
    by_name: dict[str, list[tuple[str, str, str]]] = {}
    for run_file in run_files:
        folder = Path(run_file).parent
        for file in sorted(folder.glob("tables/*.parquet")):
            step, dot, name = file.stem.partition(".")
            if dot and step:
                by_name.setdefault(name, []).append((folder.name, step, str(file)))
    rows = [f"({_quoted(r)}, {_quoted(s)}, {_quoted(n)}, {_quoted(f)})" for n, at in by_name.items() for r, s, f in at]
    listing = f"VALUES {', '.join(rows)}" if rows else "SELECT '', '', '', '' WHERE false"
    connection.execute(f"CREATE VIEW table_files(run, step, name, file) AS {listing}")
    connection.execute("CREATE SCHEMA tables")
    for name, places in by_name.items():
        files = ", ".join(_quoted(file) for _, _, file in places)
        view = '"' + name.replace('"', '""') + '"'
        connection.execute(
            f"""CREATE VIEW tables.{view} AS SELECT listed.run, listed.step, data.* EXCLUDE (filename)
            FROM read_parquet([{files}], union_by_name=true, filename=true, hive_partitioning=false) AS data
            JOIN main.table_files AS listed ON listed.file = data.filename"""
        )


class Comparison(NamedTuple):
    """One estimate in two runs. `difference` is b - a with its interval; None where it cannot be given."""

    name: str
    a: Estimate | None
    b: Estimate | None
    difference: Estimate | None
    verdict: Verdict
    reason: str


def compare(run_a: str | Path | RunRecord, run_b: str | Path | RunRecord) -> list[Comparison]:
    """Every estimate of two runs side by side, in the order of the first.

    The interval of a difference is built from the two estimates' own intervals (method of variance estimates recovery [1]),
    which for two Wilson intervals is Newcombe's interval for a difference of proportions [2]. It supposes that the two runs
    are independent: for two runs on the same rows it is too wide, and "no difference shown" says little.

    References
    ----------
    [1] Zou & Donner, Stat. Med. 27 (2008) 1693, eq. 3.  [2] Newcombe, Stat. Med. 17 (1998) 873, method 10.
    """
    a, b = (run if isinstance(run, RunRecord) else _load(run) for run in (run_a, run_b))
    from_a, from_b = _estimates(a), _estimates(b)
    if len(a.steps) == len(b.steps) == 1:  # two single audits are compared whatever their steps are called
        from_b = {f"{a.steps[0].id}.{name.removeprefix(b.steps[0].id + '.')}": e for name, e in from_b.items()}
    names = [*from_a, *(name for name in from_b if name not in from_a)]
    return [_compared(name, from_a.get(name), from_b.get(name)) for name in names]


def _load(run: str | Path) -> RunRecord:
    from assaymark.store.runs import RunFolder

    return RunFolder.open(run).load()


def _estimates(record: RunRecord) -> dict[str, Estimate]:
    return {
        f"{step.id}.{name}": estimate
        for step in record.steps
        if step.result is not None
        for name, estimate in step.result.estimates.items()
    }


def _compared(name: str, a: Estimate | None, b: Estimate | None) -> Comparison:
    if a is None or b is None:
        return Comparison(name, a, b, None, "undefined", f"only in the {'second' if a is None else 'first'} run")
    for estimate, which in ((a, "first"), (b, "second")):
        if not estimate.defined:
            return Comparison(name, a, b, None, "undefined", f"undefined in the {which} run: {estimate.reason}")
    if a.unit != b.unit:
        return Comparison(name, a, b, None, "undefined", f"a {a.unit} in the first run, a {b.unit} in the second")
    if _confidence(a.method) != _confidence(b.method):
        return Comparison(name, a, b, None, "undefined", f"intervals of two kinds: {a.method}, {b.method}")
    difference = _difference(a, b)
    if difference is None:
        return Comparison(name, a, b, None, "undefined", "an infinite estimate has no difference")
    shown = bool(difference.low is not None and difference.high is not None and (difference.low > 0 or difference.high < 0))
    return Comparison(name, a, b, difference, "differs" if shown else "no difference shown", "")


def _confidence(method: str) -> str:
    """The confidence level that a method names, as in "Wilson 95 %"; intervals of two levels do not compare."""
    found = re.search(r"(\d+(?:\.\d+)?)\s*%", method)
    return found[1] if found else ""


def _difference(a: Estimate, b: Estimate) -> Estimate | None:
    values = [x for x in (a.value, a.low, a.high, b.value, b.low, b.high) if x is not None]
    if len(values) != 6 or math.isinf(values[0]) or math.isinf(values[3]):
        return None
    value_a, low_a, high_a, value_b, low_b, high_b = values
    value = value_b - value_a
    low = value - math.hypot(value_b - low_b, high_a - value_a)
    high = value + math.hypot(high_b - value_b, value_a - low_a)
    both_wilson = "wilson" in a.method.lower() and "wilson" in b.method.lower()
    method = f"{'Newcombe' if both_wilson else 'from the two intervals'} {_confidence(a.method) or '?'} %"
    unit: Any = "percentage points" if a.unit in ("share", "percentage points") else a.unit
    return Estimate(value, min(low, value), max(high, value), min(a.n, b.n), method, unit)
