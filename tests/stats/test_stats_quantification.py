"""Many cells at once: coverage of the intervals on planted truth, what is common to cells, what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from assaymark.errors import ConfigError, InputError
from assaymark.stats import LabelledBins, Rate, bin_counts, labelled_bins, quantify, rogan_gladen, wilson

ALL = ("cc", "acc", "pcc", "pacc", "emq", "hdy", "dys", "mle")
CORRECTED = ("acc", "pacc", "emq", "hdy", "dys", "mle")
SEPARATION = 1.5


def scores(rng: np.random.Generator, labels: np.ndarray, separation: float = SEPARATION) -> np.ndarray:
    """Posteriors of two normals `separation` apart."""
    return 1 / (1 + np.exp(-(separation * (rng.standard_normal(labels.size) + separation * labels) - separation**2 / 2)))


def known(rng: np.random.Generator, each: int = 100, separation: float = SEPARATION) -> LabelledBins:
    labels = np.repeat([0, 1], each)
    return labelled_bins(scores(rng, labels, separation), labels)


def stream(rng: np.random.Generator, prevalence: float, items: int = 2000) -> np.ndarray:
    return bin_counts(scores(rng, (rng.random(items) < prevalence).astype(int)))


def coverage(prevalence: float, sources: str, repetitions: int, methods: tuple[str, ...]) -> dict[str, tuple[float, float]]:
    """Share of intervals that hold the truth, and their mean width."""
    rng = np.random.default_rng(3)
    held: dict[str, list[tuple[bool, float]]] = {method: [] for method in methods}
    for _ in range(repetitions):
        cells = stream(rng, prevalence)[None]
        found = quantify(known(rng), cells, rng=rng, methods=methods, resamples=200, sources=sources)
        for method in methods:
            (e,) = found.estimates[method]
            held[method].append((e.low <= prevalence <= e.high, e.high - e.low))
    return {method: tuple(np.mean(rows, axis=0)) for method, rows in held.items()}


def test_both_sources_cover_and_the_stream_alone_does_not() -> None:
    both = coverage(0.1, "both", 40, ("acc", "pacc", "emq"))
    alone = coverage(0.1, "target", 40, ("pacc",))
    for method in ("acc", "pacc", "emq"):
        assert both[method][0] >= 0.85, method
    assert both["pacc"][1] == pytest.approx(0.19, abs=0.02)
    assert alone["pacc"][0] <= 0.6
    assert alone["pacc"][1] == pytest.approx(0.057, abs=0.006)


@pytest.mark.parametrize("prevalence", [0.0, 0.02])
def test_intervals_at_the_end_of_the_scale(prevalence: float) -> None:
    for method, (held, width) in coverage(prevalence, "both", 20, ("acc", "pacc", "emq")).items():
        assert held >= 0.85, method
        assert width > 0.05, method


def test_points_at_zero_do_not_look_certain() -> None:
    rng = np.random.default_rng(5)
    labelled = known(rng, 400)
    quiet = bin_counts(scores(rng, np.zeros(3000, dtype=int)) * 0.8)
    found = quantify(labelled, quiet[None], rng=rng, methods=CORRECTED, resamples=300)
    for method in ("acc", "pacc", "emq"):
        assert found.points[method][0] == 0, method
        assert found.estimates[method][0].low == 0
        assert found.estimates[method][0].high > 0.01, method


def test_no_false_positive_among_the_labelled_is_not_a_known_rate() -> None:
    rng = np.random.default_rng(6)
    labelled = LabelledBins(np.array([60, 0, 0, 0]), np.array([5, 5, 20, 30]))
    targets = np.array([[1000, 0, 0, 0], [990, 0, 5, 5]])
    found = quantify(labelled, targets, rng=rng, methods=("acc",), resamples=2000)
    for cell, called in enumerate((0, 10)):
        rates = (Rate(called, 1000), Rate(50, 60), Rate(60, 60))
        expected = rogan_gladen(*rates, method="bootstrap", rng=rng, resamples=20_000)
        assert found.estimates["acc"][cell].value == pytest.approx(expected.value, abs=1e-12)
        assert found.estimates["acc"][cell].high == pytest.approx(expected.high, abs=0.005)


def test_acc_is_rogan_gladen() -> None:
    rng = np.random.default_rng(7)
    labelled, target = known(rng), stream(rng, 0.3)
    found = quantify(labelled, target[None], rng=rng, methods=("acc", "cc"), resamples=4000)
    called, fp, tp = (int(part[512:].sum()) for part in (target, *labelled))
    expected = rogan_gladen(Rate(called, 2000), Rate(tp, 100), Rate(100 - fp, 100))
    e = found.estimates["acc"][0]
    assert e.value == pytest.approx(expected.value, abs=1e-12)
    assert (e.low, e.high) == pytest.approx((expected.low, expected.high), abs=0.02)
    assert (e.n, e.unit, e.method) == (2000, "share", "ACC, bootstrap of calibration and stream 95 %, 4000 resamples")
    plain = wilson(called, 2000)
    assert (found.estimates["cc"][0].low, found.estimates["cc"][0].high) == (plain.low, plain.high)


def test_labelled_error_is_common_to_cells() -> None:
    rng = np.random.default_rng(8)
    cells = np.stack([stream(rng, p, 50_000) for p in (0.2, 0.25, 0.4)])
    found = quantify(known(rng), cells, rng=rng, methods=("acc", "pacc", "emq"), resamples=400)
    for method in ("acc", "pacc", "emq"):
        draws = found.draws[method]
        assert np.corrcoef(draws[:, 0], draws[:, 1])[0, 1] > 0.9, method
        change = found.difference(method, 1, 0)
        assert change.low <= 0.05 <= change.high
        assert change.high - change.low < 0.5 * (found.estimates[method][1].high - found.estimates[method][1].low)
        assert change.value == pytest.approx(found.points[method][1] - found.points[method][0])
        assert (change.unit, change.n) == ("percentage points", 100_000)
    alone = quantify(known(rng), cells, rng=rng, methods=("pacc",), resamples=400, sources="target")
    assert abs(np.corrcoef(alone.draws["pacc"].T)[0, 1]) < 0.2
    assert alone.estimates["pacc"][0].method.startswith("PACC, bootstrap of the stream alone")


def test_pooled_weighs_by_items() -> None:
    rng = np.random.default_rng(9)
    cells = np.stack([stream(rng, 0.1, 1000), stream(rng, 0.5, 3000)])
    found = quantify(known(rng), cells, rng=rng, methods=("pacc",), resamples=200)
    pooled = found.pooled("pacc")
    assert pooled.value == pytest.approx(0.25 * found.points["pacc"][0] + 0.75 * found.points["pacc"][1])
    assert found.pooled("pacc", [1, 1]).value == pytest.approx(found.points["pacc"].mean())
    assert not found.pooled("pacc", [0, 0]).defined
    with pytest.raises(InputError, match="negative"):
        found.pooled("pacc", [1, -1])
    with pytest.raises(ValueError, match="2 cells"):
        found.pooled("pacc", [1, 1, 1])


def test_empty_cell_is_undefined_and_the_others_are_not() -> None:
    rng = np.random.default_rng(10)
    cells = np.stack([stream(rng, 0.1), np.zeros(1024, dtype=int)])
    found = quantify(known(rng), cells, rng=rng, methods=ALL, resamples=50)
    for method in ALL:
        assert found.estimates[method][0].defined
        assert found.estimates[method][1].reason == "no items in this cell"
        assert np.isnan(found.draws[method][:, 1]).all()
    assert found.difference("emq", 0, 1).reason == "cell 1: no items in this cell"


@pytest.mark.parametrize(
    ("negatives", "positives", "reason"),
    [(50, 0, "no labelled items of the positive class"), (9, 50, "9 labelled items of the negative class, 10 are needed")],
)
def test_too_few_labelled_items(negatives: int, positives: int, reason: str) -> None:
    rng = np.random.default_rng(11)
    labels = np.repeat([0, 1], [negatives, positives])
    labelled = labelled_bins(scores(rng, labels), labels)
    found = quantify(labelled, stream(rng, 0.1)[None], rng=rng, methods=ALL, resamples=20)
    assert found.estimates["cc"][0].defined
    for method in (*CORRECTED, "pcc"):
        assert found.estimates[method][0].reason.startswith(reason)


def test_a_detector_that_does_not_separate_is_refused() -> None:
    rng = np.random.default_rng(12)
    labels = np.repeat([0, 1], 500)
    labelled = labelled_bins(rng.random(1000), labels)
    found = quantify(labelled, bin_counts(rng.random(500))[None], rng=rng, methods=ALL, resamples=20)
    for method in CORRECTED:
        if method != "acc":
            assert "hardly separates" in found.estimates[method][0].reason, method
    swapped = quantify(LabelledBins(*known(rng)[::-1]), stream(rng, 0.1)[None], rng=rng, methods=("acc",), resamples=20)
    assert swapped.estimates["acc"][0].reason.startswith("TPR - FPR is -0.")


def test_same_generator_same_answer() -> None:
    rng = np.random.default_rng(13)
    labelled, cells = known(rng), stream(rng, 0.2)[None]
    first, second = (quantify(labelled, cells, rng=np.random.default_rng(1), methods=ALL, resamples=50) for _ in range(2))
    assert first.estimates == second.estimates


def test_few_bins_and_other_calibrations() -> None:
    rng = np.random.default_rng(14)
    labels = np.repeat([0, 1], 300)
    labelled = labelled_bins(scores(rng, labels), labels, 20)
    target = bin_counts(scores(rng, (rng.random(3000) < 0.3).astype(int)), 20)[None]
    for calibration in ("platt", "temperature", "isotonic", "none"):
        found = quantify(labelled, target, rng=rng, methods=ALL, resamples=60, calibration=calibration)
        for method in CORRECTED:
            assert found.points[method][0] == pytest.approx(0.3, abs=0.08), (method, calibration)


def test_draws_on_fewer_bins_agree_with_draws_on_all(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(15)
    labelled, cells = known(rng, 200), stream(rng, 0.3, 5000)[None]
    # one block of resamples: both draw the same labelled items first
    coarse = quantify(labelled, cells, rng=np.random.default_rng(1), methods=ALL, resamples=512)
    monkeypatch.setattr("assaymark.stats.prevalence.redraw.DRAWN_BINS", 1024)
    fine = quantify(labelled, cells, rng=np.random.default_rng(1), methods=ALL, resamples=512)
    for method in ALL:
        spread = fine.draws[method].std()
        assert coarse.draws[method].mean() == pytest.approx(fine.draws[method].mean(), abs=0.15 * spread), method
        assert coarse.draws[method].std() == pytest.approx(spread, rel=0.1), method


def test_refusals() -> None:
    rng = np.random.default_rng(16)
    labelled, cells = known(rng), stream(rng, 0.2)[None]
    with pytest.raises(ConfigError, match="pac"):
        quantify(labelled, cells, rng=rng, methods=("pac",))
    with pytest.raises(ConfigError, match="sources"):
        quantify(labelled, cells, rng=rng, sources="neither")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="resamples"):
        quantify(labelled, cells, rng=rng, resamples=1)
    with pytest.raises(ConfigError, match="threshold"):
        quantify(labelled, cells, rng=rng, threshold=1.5)
    with pytest.raises(InputError, match="do not fit"):
        quantify(labelled, cells[:, :100], rng=rng)
    with pytest.raises(InputError, match="negative"):
        quantify(labelled, -cells, rng=rng)
