"""Audit a made-up image-text data set whose answer is known, drop what the audit is about, and audit what is left.

    python examples/image_text_dataset.py            # seconds on a CPU, no network

The data set has LAION's columns. Six invented words stand for groups of people; rows that name `z0` hold an unsafe token in
34 % of all cases, `z1` in 10 %, everything else in 1 %, and the safety tag marks 1.4 % of them.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import pyarrow.parquet as pq

import assaymark as am
from assaymark.audits.image_text_dataset.planted import planted_tables

TERMS = ["z0", "z1", "z2", "z3", "z4", "z5"]


def main() -> None:
    planted = planted_tables(seed=0, rows=20_000)
    with tempfile.TemporaryDirectory() as folder:
        pairs = Path(folder) / "pairs.parquet"
        pq.write_table(planted.table, pairs)

        before = am.audit("image-text-dataset", pairs, terms=TERMS, seed=0)
        print(f"{'':28}{'planted':>9}  estimated")
        for term in TERMS:
            print(f"unsafe rows that name {term:6}{planted.truth[f'unsafe_rate.{term}']:>9.1%}  {before[f'slice_test.{term}']}")
        print(f"{'recall of the safety tag':28}{planted.truth['tag_recall.strict']:>9.1%}  {before['tag_audit.recall']}")

        run = Path(folder) / "filtered"
        cure = am.mitigate("image-text-dataset", pairs, drop=["unsafe"], terms=TERMS, out=run)
        print(f"\nkept rows                   {cure['filter.kept']}")
        for finding in cure.findings:
            print(f"{finding.severity:8}{finding.sentence}")

        after = am.audit("image-text-dataset", str(run / cure.artifacts["filtered"].file), terms=TERMS, seed=0)
        print(f"\nunsafe rows, before and after: {before['slice_test.base_rate']}; {after['slice_test.base_rate']}")


if __name__ == "__main__":
    main()
