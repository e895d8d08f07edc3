"""What an encoder remembers, beside scripts that look at one view of one picture at a time, as the published ones do."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from assaymark.audit import Context
from assaymark.audits.encoder_memorization.config import EncoderMemorizationConfig
from assaymark.audits.encoder_memorization.measures.passing import Measured, measure
from assaymark.audits.encoder_memorization.reading import Points, read_points
from assaymark.audits.encoder_memorization.study import units_of
from assaymark.data import open_input
from assaymark.models import open_model
from benchmarks import Row, Target

SIDE, PAIRS, DRAWS = 16, 10, 10


class Bench(NamedTuple):
    """Pictures in an opened input, and two untrained encoders."""

    data: Any
    pixels: Any
    encoder: Any
    reference: Any


def run(quick: bool = False) -> list[Row]:
    """All rows of the table."""
    with tempfile.TemporaryDirectory() as folder:
        rows = [
            *unit_rows(Path(folder), 20 if quick else 200),
            *score_rows(Path(folder), 20 if quick else 500),
            *memory_rows(Path(folder), *((20, 60) if quick else (200, 1_600))),
        ]
    return [row._replace(target=None) for row in rows] if quick else rows


def made(folder: Path, n: int, *, sets: str = "C", side: int = SIDE, architecture: str = "resnet9", **options: Any) -> Bench:
    import io

    import PIL.Image
    import torch

    from assaymark.models.encoder_architectures import new_encoder
    from assaymark.models.trained_encoder import save_encoder

    rng = np.random.default_rng(n)
    pixels = rng.integers(0, 256, size=(n, side, side, 3), dtype=np.uint8)
    contents = []
    for one in pixels:
        stream = io.BytesIO()
        PIL.Image.fromarray(one).save(stream, "PNG")
        contents.append(stream.getvalue())
    table = pa.table({"id": [f"p{k}" for k in range(n)], "image": contents, "set": [sets] * n})
    models = []
    for seed in (1, 2):
        module = new_encoder(architecture, seed=seed, input_size=side, **options)
        with torch.no_grad():
            module.train()(torch.rand(32, 3, side, side))
        path = folder / f"{architecture}{seed}.safetensors"
        save_encoder(path, module, mean=(0.5,) * 3, std=(0.5,) * 3)
        models.append(open_model(f"encoder:{path}", batch_size=64))
    ready = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
    return Bench(open_input("images", table, name="images"), ready, *models)


def read(bench: Bench, config: EncoderMemorizationConfig, *, scored: bool) -> Points:
    return read_points(bench.data, None, config, Context(), candidates=10**6, others=0, scored=scored)


def passed(bench: Bench, points: Points, config: EncoderMemorizationConfig, *, paired: bool) -> Measured:
    return measure(
        bench.data, points, bench.encoder.layers, encoder=bench.encoder, reference=bench.reference if paired else None,
        config=config, context=Context(batch_size=128),
    )  # fmt: skip


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    found = work()
    return time.perf_counter() - start, found


def unit_rows(folder: Path, n: int) -> list[Row]:
    """UnitMem of a ResNet9, median of the rest, against batches of one with the clean picture encoded beside every draw."""
    bench = made(folder, n, width=16)
    config = EncoderMemorizationConfig.build({"rest": "median", "n_views": DRAWS, "unit_points": n})
    points = read(bench, config, scored=False)
    passed(bench, points, config, paired=False)  # warm
    ours, measured = timed(lambda: passed(bench, points, config, paired=False))
    peer, expected = timed(lambda: one_by_one_units(bench, points, config))
    found = {unit.layer.name: unit.units.unitmem for unit in units_of(measured, config)}
    worst = max(float(np.nanmax(np.abs(found[name] - value))) for name, value in expected.items())
    note = f"peer: batches of one, clean picture encoded again; ResNet9 of width 16, {n} pictures, {DRAWS} draws, all layers"
    return [
        Row("UnitMem", ours, peer, "s", note, Target("times", ">=", 8)),
        Row("UnitMem: largest difference", worst, 0.0, "", "median of the rest, evaluation mode", Target("ours", "<=", 1e-5)),
    ]


def one_by_one_units(bench: Bench, points: Points, config: EncoderMemorizationConfig) -> dict[str, np.ndarray]:
    names = [layer.name for layer in bench.encoder.layers]
    mu = {layer.name: np.zeros((len(points), layer.units)) for layer in bench.encoder.layers}
    for place, row in enumerate(points.row.tolist()):
        pixels = bench.pixels[row : row + 1]
        for draw in range(DRAWS):
            outputs(bench.encoder, pixels, names)  # the clean picture, each time, as the published script does
            for name, output in outputs(bench.encoder, view(pixels, points, place, 2 * draw, config), names).items():
                activation = output.clamp_min(0)
                flat = activation.mean(dim=(2, 3)) if activation.ndim == 4 else activation
                mu[name][place] += flat[0].double().numpy() / DRAWS
    found = {}
    for name, values in mu.items():
        ordered = np.sort(values, axis=0)
        largest, rest = ordered[-1], np.median(ordered[:-1], axis=0)
        with np.errstate(invalid="ignore", divide="ignore"):
            found[name] = np.where(largest + rest < 1e-8, np.nan, (largest - rest) / (largest + rest))
    return found


def outputs(model: Any, pixels: Any, names: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    model.record(pixels, names, lambda name, output: found.update({name: output.clone()}))
    return found


def view(pixels: Any, points: Points, place: int, draw: int, config: EncoderMemorizationConfig) -> Any:
    from assaymark.training.augmentation_spec import augmentation
    from assaymark.training.views import views

    return views(pixels, ids=points.key[place : place + 1], draw=draw, seed=0, spec=augmentation(config.augmentation))


def score_rows(folder: Path, n: int) -> list[Row]:
    """SSLMem and LayerMem of all layers, against twenty forward passes a picture and model."""
    bench = made(folder, n, width=16)
    config = EncoderMemorizationConfig.build({"n_views": PAIRS, "unit_points": 2})
    points = read(bench, config, scored=True)
    ours, measured = timed(lambda: passed(bench, points, config, paired=True))
    some = min(n, 50)  # the loop takes as long for every picture: a part of them tells
    peer, expected = timed(lambda: one_by_one_scores(bench, points, config, some))
    raw = (measured.align["reference"] - measured.align["encoder"])[:, :some]
    worst = float(np.abs(raw - expected).max())
    note = (
        f"peer: a picture and view at a time, timed on {some}; ResNet9 of width 16, {n} candidates, {PAIRS} pairs, all layers"
    )
    return [
        Row("SSLMem and LayerMem", ours, peer * n / some, "s", note, Target("times", ">=", 8)),
        Row("SSLMem: largest difference", worst, 0.0, "", "all layers", Target("ours", "<=", 1e-5)),
    ]


def one_by_one_scores(bench: Bench, points: Points, config: EncoderMemorizationConfig, some: int) -> np.ndarray:
    names = [layer.name for layer in bench.encoder.layers]
    raw = np.zeros((len(names), some))
    for place in range(some):
        pixels = bench.pixels[int(points.row[place])][None]
        for pair in range(PAIRS):
            for sign, model in ((1, bench.reference), (-1, bench.encoder)):
                first, second = (outputs(model, view(pixels, points, place, 2 * pair + side, config), names) for side in (0, 1))
                for layer, name in enumerate(names):
                    a, b = (output[name].flatten() / output[name].norm() for output in (first, second))
                    raw[layer, place] += sign * float((a - b).norm()) / PAIRS
    return raw


def memory_rows(folder: Path, few: int, many: int) -> list[Row]:
    """Memory that the pass takes beyond what was there before, with few and with many pictures."""
    import psutil

    grown = []
    options: dict[str, Any] = {"architecture": "vit", "side": 32, "patch": 4, "width": 96, "depth": 12, "heads": 3}
    for n in (few, few, many):  # the first warms the allocator
        bench = made(folder, n, **options)
        config = EncoderMemorizationConfig.build({"n_views": 2, "unit_points": n, "candidates": n})
        points = read(bench, config, scored=True)
        process, peak, done = psutil.Process(), [0], threading.Event()
        before = process.memory_info().rss

        def watch(process: Any = process, peak: list[int] = peak, done: threading.Event = done) -> None:
            while not done.wait(0.01):
                peak[0] = max(peak[0], process.memory_info().rss)

        watcher = threading.Thread(target=watch)
        watcher.start()
        passed(bench, points, config, paired=True)
        done.set()
        watcher.join()
        grown.append(max(peak[0] - before, 0) / 2**20)
    note = f"peer: {few} pictures; ViT of 12 layers, all outputs, {many} pictures"
    return [Row("memory of the pass", grown[2], grown[1], "MiB", note, Target("ours", "<=", grown[1] + 32))]
