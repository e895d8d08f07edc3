"""Ask all runs of a folder in SQL: every estimate, gate, finding and table of every run is a row of a view.

    assaymark audit image-text-dataset ...           # as many runs as you like, below runs/
    python examples/sql_over_runs.py runs

The views: `runs`, `steps`, `estimates`, `gates`, `findings`, `table_files`, and one `tables.NAME` for each table of a report.
"""

from __future__ import annotations

import sys

from assaymark.store.views import connect

RATES = """
    SELECT runs.run, step, estimates.name, value, low, high, n
    FROM estimates JOIN runs USING (run)
    WHERE audit = 'image-text-dataset'
      AND estimates.name IN ('slice_test.base_rate', 'tag_audit.recall', 'hate_content_rate.any')
    ORDER BY runs.started, step, estimates.name
"""
WORST_TERMS = """
    SELECT run, step, term, rows, unsafe, rate, p_adjusted
    FROM tables.slice_test
    WHERE p_adjusted < 0.01
    ORDER BY rate DESC
    LIMIT 10
"""
GATES = "SELECT run, text, holds, value, low, high FROM gates ORDER BY run, text"


def main(folder: str) -> None:
    views = connect(folder)
    for title, query in (("rates of every run", RATES), ("terms that stand out", WORST_TERMS), ("gates", GATES)):
        print(f"\n{title}\n{views.sql(query)}")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "runs")
