"""Made-up labelled sentences for the prompts of a service that leaks them by fixed probabilities."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from assaymark.audits.icl_membership.method.exact import exact_advantages
from assaymark.audits.icl_membership.planted import planted_pool

__all__ = ["write_prompts"]

POOL, PUBLIC = 400, 150


def write_prompts(folder: Path, *, seed: int) -> dict[str, float]:
    """Write `examples.parquet` and `public.parquet` into `folder`; returns the planted truth by step and estimate name.

    Behind a defence the truth is the largest advantage that it leaves: public texts in place of the examples leave none, half
    of the examples a query half of each, labels alone Brainwash, and without the labels that callers state Repeat.
    """
    folder.mkdir(parents=True, exist_ok=True)
    drawn = planted_pool(seed, POOL + PUBLIC)
    for name, part in (("examples", slice(POOL)), ("public", slice(POOL, None))):
        pq.write_table(pa.table({"text": drawn.texts[part], "label": drawn.labels[part]}), folder / f"{name}.parquet")
    truth = exact_advantages()
    worst = max(truth)
    return {
        **{f"prompt.advantage.{attack}": advantage for attack, advantage in truth._asdict().items()},
        "shield.advantage.none": worst,
        "shield.advantage.nearest_public": 0.0,
        "shield.advantage.subset": worst / 2,
        "shield.advantage.label_only": truth.brainwash,
        "shield.advantage.consistent": truth.repeat,
    }
