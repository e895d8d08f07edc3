"""Cut-offs of further encoders: a planted shift of the similarity is the shift of the cut-off that keeps as much."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from assaymark.audits.image_text_dataset import ImageTextDataset
from assaymark.errors import SchemaError
from assaymark.execution import execute
from assaymark.result import Result

SHIFT = 0.05


def audited(names: tuple[str, str], **settings: object) -> Result:
    first = np.random.default_rng(3).normal(0.28, 0.04, size=20_000)
    table = pa.table({"text": ["a river"] * len(first), names[0]: first, names[1]: first - SHIFT})
    return execute(ImageTextDataset, inputs={"pairs": table}, settings={"probes": ["admission"], "terms": ["z0"], **settings})


@pytest.mark.parametrize(
    ("names", "settings"),
    [
        (("similarity", "other"), {"encoder_columns": ["other"]}),
        (("clip_l14_similarity_score", "clip_b32_similarity_score"), {}),
    ],
)
def test_the_planted_shift_is_found(names: tuple[str, str], settings: dict[str, object]) -> None:
    result = audited(names, **settings)
    equal = result[f"admission.equal_share.{names[1]}.0.3"]
    assert equal.low <= 0.3 - SHIFT <= equal.high  # type: ignore[operator]
    row = next(row for row in result.tables["encoder_cutoffs"].rows() if row["tau"] == 0.3)
    assert row["kept_there_high"] < row["kept_low"]  # the same number keeps far less there


def test_a_column_that_is_not_there_is_named() -> None:
    with pytest.raises(SchemaError, match="no score column 'othr' - did you mean 'other'"):
        audited(("similarity", "other"), encoder_columns=["othr"])
