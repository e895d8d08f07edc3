"""The published prompt vectors, through the audit: lengths, cosines, and what leaving them un-normalised decides."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from assaymark.audits.image_offensiveness.audit import ImageOffensiveness
from assaymark.audits.image_offensiveness.method.scoring import (
    log_odds,
    logits,
    probability,
    probability_of_each,
    prompt_direction,
    unit_rows,
)
from assaymark.audits.image_offensiveness.planted import planted_prompt_images
from assaymark.execution import execute
from assaymark.models import open_model
from assaymark.models.prompt_files import PromptSet, load_prompts

PUBLISHED = {  # key: lengths of the rows, their cosine
    "ViT_B_16": ((13.47, 13.34), 0.838),
    "ViT_B_32": ((13.25, 13.08), 0.851),
    "ViT_L_14": ((22.17, 21.35), 0.887),
}


DIFFERING = {"ViT_B_16": 0.039, "ViT_B_32": 0.054, "ViT_L_14": 0.212}
"""Share of images without any lean that prompts as stored decide differently, on 20,000 of them."""


@pytest.mark.shared_data
@pytest.mark.parametrize("key", PUBLISHED)
def test_published_prompts_are_imported_as_published(shared_data: Path, key: str) -> None:
    file = shared_data / "q16-prompts" / "q16_prompts.npz"
    prompts = load_prompts(file, key=key)
    images = planted_prompt_images(prompts.prompts, n=3_000)
    result = execute(
        ImageOffensiveness,
        inputs={"images": pa.table({"embedding": images.tolist()})},
        settings={"prompts": str(file), "prompts_key": key},
    )
    rows = result.tables["prompts"].rows()
    lengths, cosine = PUBLISHED[key]
    assert [round(row["length"], 2) for row in rows] == list(lengths)
    assert round(rows[1]["cosine"], 3) == cosine
    assert result["decision_rule.normalised"].value == pytest.approx(0.5, abs=0.04)
    # Row 0 is the longer one in all three: as stored it wins more often than its direction earns.
    differs, official, normalised = (result[f"decision_rule.{name}"] for name in ("differs", "official", "normalised"))
    assert official.high < normalised.low  # type: ignore[operator]
    assert differs.value == pytest.approx(normalised.value - official.value)  # type: ignore[operator]
    assert differs.value == pytest.approx(DIFFERING[key], abs=0.02)


@pytest.mark.parametrize("rows", [2, 3])
def test_the_model_gives_the_scores_of_the_method(rows: int, tmp_path: Path) -> None:
    """The formula stands in the method and in the adapter, which may not import it: they must not part."""
    rng = np.random.default_rng(rows)
    P = (rng.standard_normal((rows, 24)) * [[13.0], [9.0], [4.0]][:rows]).astype(np.float32)
    PromptSet(P).save(tmp_path / "prompts.safetensors")
    V = unit_rows(rng.standard_normal((500, 24))).rows
    expected = probability_of_each(logits(V, P))[:, 1]
    if rows == 2:
        np.testing.assert_allclose(probability(log_odds(V, prompt_direction(P)).log_odds), expected, atol=2e-5)
    found = open_model(str(tmp_path / "prompts.safetensors")).score_embeddings(V)[:, 0]
    np.testing.assert_allclose(found, expected, atol=2e-5)
