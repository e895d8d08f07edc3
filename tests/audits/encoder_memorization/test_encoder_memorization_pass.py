"""The one pass against loops that look at one view at a time, as the published scripts do."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
import torch

from assaymark.audit import Context
from assaymark.audits.encoder_memorization.audit import EncoderMemorization
from assaymark.audits.encoder_memorization.config import EncoderMemorizationConfig
from assaymark.audits.encoder_memorization.measures.passing import measure
from assaymark.audits.encoder_memorization.reading import read_points
from assaymark.audits.encoder_memorization.study import units_of
from assaymark.data import open_input
from assaymark.data.images import decode_image
from assaymark.execution import execute
from assaymark.models import open_model
from assaymark.training.augmentation_spec import augmentation
from assaymark.training.views import views
from tests.audits.encoder_memorization.encoders import encoder_file, table

N, VIEWS = 10, 3


@pytest.fixture(scope="module", params=["resnet9", "vit"])
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple:
    folder = tmp_path_factory.mktemp("pair")
    specs = [encoder_file(folder, name, seed=seed, architecture=request.param) for name, seed in (("f", 1), ("g", 2))]
    return tuple(open_model(spec) for spec in specs)


def outputs(model, pixels: torch.Tensor) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = {}
    model.record(pixels, [layer.name for layer in model.layers], lambda name, output: found.update({name: output.clone()}))
    return found


def view_of(pixels: torch.Tensor, key: int, draw: int, config: EncoderMemorizationConfig, seed: int) -> torch.Tensor:
    return views(pixels, ids=np.array([key]), draw=draw, seed=seed, spec=augmentation(config.augmentation))


def distance(a: torch.Tensor, b: torch.Tensor) -> float:
    a, b = a.flatten().double(), b.flatten().double()
    return float((a / a.norm() - b / b.norm()).norm())


@pytest.mark.parametrize("kind", ["pair", "clean"])
def test_one_view_at_a_time_gives_the_same(pair: tuple, kind: str) -> None:
    config = EncoderMemorizationConfig.build({"n_views": VIEWS, "views": kind, "augmentation": "simclr"})
    data = open_input("images", table(N, sets="SSSCCCCIIE"), name="images")
    context = Context(seed=3, batch_size=6)
    points = read_points(data, None, config, context, candidates=9, others=9, scored=True)
    encoder, reference = pair
    found = measure(
        data, points, encoder.layers, encoder=encoder, reference=reference, config=config, views=kind, context=context
    )
    assert len(points) == N and points.in_units.sum() == 7
    rows = {int(row): place for place, row in enumerate(points.row)}
    contents = table(N).column("image").to_pylist()
    mu = {layer.name: np.zeros((N, layer.units)) for layer in encoder.layers}
    for row, place in rows.items():
        pixels = encoder.raw_pixels([decode_image(contents[row])])
        sums = np.zeros((2, len(encoder.layers)))
        for view in range(VIEWS):
            first = view_of(pixels, points.key[place], 2 * view, config, 3)
            second = pixels if kind == "clean" else view_of(pixels, points.key[place], 2 * view + 1, config, 3)
            for which, model in enumerate((encoder, reference)):
                one, other = outputs(model, first), outputs(model, second)
                sums[which] += [distance(one[layer.name], other[layer.name]) for layer in encoder.layers]
                for layer in encoder.layers if which == 0 else ():
                    output = one[layer.name][0] if layer.rectified else one[layer.name][0].clamp_min(0)
                    unit = output.mean(dim=(1, 2)) if output.ndim == 3 else output.mean(dim=0) if output.ndim == 2 else output
                    mu[layer.name][place] += unit.double().numpy() / VIEWS
        assert found.align["encoder"][:, place] == pytest.approx(sums[0] / VIEWS, abs=1e-5)
        assert found.align["reference"][:, place] == pytest.approx(sums[1] / VIEWS, abs=1e-5)
    for rest in ("mean", "median"):
        settings = config.model_copy(update={"rest": rest})
        again = measure(data, points, encoder.layers, encoder=encoder, config=settings, context=context)
        for unit in units_of(again, settings):
            trained = mu[unit.layer.name][points.in_units]
            expected = [naive(column, rest) for column in trained.T]
            assert unit.units.unitmem == pytest.approx(expected, abs=2e-5, nan_ok=True), unit.layer.name
            alive = np.flatnonzero(unit.units.unitmem > 1e-4)
            assert unit.units.owner[alive].tolist() == points.key[points.in_units][trained.argmax(axis=0)][alive].tolist()


def naive(column: np.ndarray, rest: str) -> float:
    best = int(column.argmax())
    others = np.delete(column, best)
    middle = others.mean() if rest == "mean" else np.median(others)
    total = column[best] + middle
    return float((column[best] - middle) / total) if total > 1e-8 else float("nan")


def test_batches_and_files_do_not_matter(tmp_path) -> None:
    specs = {"encoder": encoder_file(tmp_path, "f", seed=1), "reference": encoder_file(tmp_path, "g", seed=2)}
    whole = table(24, sets="SSCCIIEE" * 3)
    settings = {"n_views": 2, "resamples": 100}
    found = execute(EncoderMemorization, inputs={"images": whole}, models=specs, settings=settings)
    other = execute(
        EncoderMemorization, inputs={"images": whole.take(pa.array(list(range(23, -1, -1))))}, models=specs, settings=settings,
        batch_size=5,
    )  # fmt: skip
    for name, estimate in found.estimates.items():
        if estimate.defined:
            assert other[name].value == pytest.approx(estimate.value, abs=1e-5), name
