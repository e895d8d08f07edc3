"""Pictures and small encoders for the tests of the room."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pyarrow as pa

SIDE = 16


def png(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    PIL.Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def pictures(n: int, *, seed: int = 0, side: int = SIDE) -> list[bytes]:
    """Smooth coloured noise."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, size=(n, 4, 4, 3), dtype=np.uint8)
    return [png(np.asarray(PIL.Image.fromarray(one).resize((side, side), PIL.Image.Resampling.BICUBIC))) for one in coarse]


def table(n: int, *, seed: int = 0, sets: Sequence[str] | None = None, side: int = SIDE) -> pa.Table:
    columns: dict[str, Any] = {
        "id": [f"p{k}" for k in range(n)],
        "image": pa.array(pictures(n, seed=seed, side=side), pa.large_binary()),
        "label": [f"class {k % 3}" for k in range(n)],
    }
    if sets is not None:
        columns["set"] = list(sets)
    return pa.table(columns)


def encoder_file(folder: Path, name: str, *, seed: int, architecture: str = "resnet9", **options: Any) -> str:
    """An untrained encoder as a file; the batch normalisation has seen something, so that evaluation mode shows."""
    import torch

    from assaymark.models.encoder_architectures import new_encoder
    from assaymark.models.trained_encoder import save_encoder

    sizes = {"resnet9": {"width": 2}, "vit": {"patch": 4, "width": 8, "depth": 2, "heads": 2}, "mlp": {"widths": (12, 6)}}
    module = new_encoder(architecture, seed=seed, **{"input_size": SIDE, **sizes[architecture], **options})
    with torch.no_grad():
        module.train()(torch.rand(32, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(seed)))
    path = folder / f"{name}.safetensors"
    save_encoder(path, module, mean=(0.5, 0.4, 0.3), std=(0.5, 0.6, 0.7))
    return f"encoder:{path}"
