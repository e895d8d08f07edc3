"""Made-up pictures and captioned pictures, and what two pairs of scripted models remember of them."""

from __future__ import annotations

from pathlib import Path

from assaymark.audits.clip_memorization.data import planting as planted_pairs
from assaymark.audits.encoder_memorization.data import planting as planted_pictures

__all__ = ["write_memory"]

SHOWN = (
    *("sslmem.candidates", "sslmem.independent", "sslmem.calibrated"),
    *("layermem.blocks.0.mlp", "layermem.blocks.1.mlp", "unitmem.stem"),
)
CAPTIONED = ("clipmem.raw.candidates", "clipmem.calibrated", "clipmem.member_auc", "wrong_captions.auc.clipmem")


def write_memory(folder: Path, *, seed: int) -> dict[str, float]:
    """Write `pictures.parquet` and `pairs.parquet`; returns the planted truth by step and estimate name.

    The models that remember them are named in the plan: they are scripted, and know by its content what was shown to them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    encoders = planted_pictures(seed, folder)
    clip = planted_pairs(seed, folder, null=False, full=False)
    return {
        **{f"encoder.{name}": encoders.truth[name] for name in SHOWN},
        **{f"captions.{name}": clip.truth[name] for name in CAPTIONED},
    }
