"""Tune prompts on rated images, audit a data set with them, let people look at a sample, and audit again with their verdicts.

python examples/image_offensiveness.py                       # made-up embeddings with a known answer; seconds, no network
python examples/image_offensiveness.py q16_prompts.npz       # the published prompts: what leaving them un-normalised decides
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import assaymark as am
from assaymark.audits.image_offensiveness.planted import planted_audit, planted_prompt_images
from assaymark.models.prompt_files import PromptSet, load_prompts


def main() -> None:
    if len(sys.argv) > 1:
        return published(Path(sys.argv[1]))
    planted = planted_audit(seed=0, n=4_000)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        rated = planted.rated
        pq.write_table(pa.table({"embedding": rated.V.tolist(), "rating": rated.ratings}), root / "ratings.parquet")
        labels = [f"class {code}" for code in planted.codes]
        images = pa.table({"embedding": planted.V.astype(np.float32).tolist(), "label": labels})
        pq.write_table(images, root / "images.parquet")
        PromptSet(rated.P0).save(root / "words.safetensors")  # what a text encoder would give for two words

        options: dict[str, Any] = {"splits": 4, "fractions": [0, 0.1, 1.0]}
        options |= {"prompts": root / "words.safetensors", "out": root / "tuned"}
        cure = am.mitigate("image-offensiveness", root / "ratings.parquet", **options)
        print(f"{'words as prompts are right in':34}{cure['before.accuracy']}")
        print(f"{'tuned prompts are right in':34}{cure['after.accuracy']}")

        prompts = root / "tuned" / cure.artifacts["prompts"].file
        first = am.audit("image-offensiveness", root / "images.parquet", prompts=prompts, out=root / "first")
        print(f"{'flagged':34}{first['flagged.share']}")
        verdicts = looked_at(
            root / "first" / first.artifacts["review_queue"].file, planted.offensive, root / "verdicts.parquet"
        )
        second = am.audit("image-offensiveness", {"images": root / "images.parquet", "verdicts": verdicts}, prompts=prompts)
        print(f"{'offensive, by those who looked':34}{second['prevalence.reviewed']}, planted {planted.prevalence:.1%}")
        print(f"{'of the flagged':34}{second['flagged.precision']}")
        for row in second.tables["class_table"].rows()[:3]:
            print(f"  {row['class']:32}{row['share']:.1%} flagged, lift {row['lift']:.2f}")


def looked_at(queue: Path, offensive: np.ndarray, verdicts: Path) -> Path:
    """People's work: fill in what is empty."""
    table = pq.read_table(queue)
    found = [str(int(offensive[row])) for row in table.column("row").to_pylist()]
    pq.write_table(table.set_column(table.column_names.index("verdict"), "verdict", pa.array(found)), verdicts)
    return verdicts


def published(file: Path) -> None:
    """Images without any lean: unit prompts call half of them offensive; prompts as stored do not."""
    with np.load(file) as archive:
        keys = archive.files
    print(f"{'prompts':12}{'lengths':>16}{'cosine':>8}   called offensive as stored / of unit length / decided differently")
    for key in keys:
        images = planted_prompt_images(load_prompts(file, key=key).prompts)
        found = am.audit("image-offensiveness", pa.table({"embedding": images.tolist()}), prompts=file, prompts_key=key)
        rows = found.tables["prompts"].rows()
        lengths = ", ".join(f"{row['length']:.2f}" for row in rows)
        shares = " / ".join(f"{found[f'decision_rule.{name}'].value:.1%}" for name in ("official", "normalised", "differs"))
        print(f"{key:12}{lengths:>16}{rows[1]['cosine']:>8.3f}   {shares}")


if __name__ == "__main__":
    main()
