"""Prompt tuning against finite differences, autograd, and a plain loop; many problems against one after the other."""

from __future__ import annotations

import numpy as np
import pytest

from assaymark.audits.image_offensiveness.method.scoring import log_odds, logits, prompt_direction
from assaymark.audits.image_offensiveness.method.tuning import (
    FEW_LABELS,
    PAPER,
    Job,
    prompt_gradient,
    tune_many,
    tune_prompts,
)
from assaymark.audits.image_offensiveness.planted import planted_ratings


def cross_entropy(V: np.ndarray, y: np.ndarray, P: np.ndarray, scale: float) -> float:
    a = V / np.linalg.norm(V, axis=1, keepdims=True)
    z = scale * a @ (P / np.linalg.norm(P, axis=1, keepdims=True)).T
    return float(np.mean(np.logaddexp(z[:, 0], z[:, 1]) - z[np.arange(len(y)), y.astype(int)]))


@pytest.mark.parametrize("scale", [100.0, 5.0])
def test_gradient_against_finite_differences(scale: float) -> None:
    rng = np.random.default_rng(0)
    V, y, P = rng.standard_normal((40, 6)), rng.random(40) < 0.4, 3 * rng.standard_normal((2, 6))
    P[1] = P[0] + 0.3 * P[1]
    numeric = np.zeros_like(P)
    for index in np.ndindex(P.shape):
        step = np.zeros_like(P)
        step[index] = 1e-5
        numeric[index] = (cross_entropy(V, y, P + step, scale) - cross_entropy(V, y, P - step, scale)) / 2e-5
    V32 = V.astype(np.float32)  # what the method works on
    np.testing.assert_allclose(prompt_gradient(V32, y, P, logit_scale=scale), numeric, rtol=1e-4, atol=1e-5)


def test_gradient_against_autograd() -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(1)
    V = rng.standard_normal((60, 16)).astype(np.float32)
    y, P = rng.random(60) < 0.4, rng.standard_normal((2, 16))
    rows = torch.tensor(P, requires_grad=True)
    a = torch.nn.functional.normalize(torch.tensor(V, dtype=torch.float64), dim=1)
    z = 100 * a @ torch.nn.functional.normalize(rows, dim=1).T
    torch.nn.functional.cross_entropy(z, torch.tensor(y.astype(int))).backward()
    np.testing.assert_allclose(prompt_gradient(V, y, P), rows.grad.numpy(), rtol=1e-5, atol=1e-7)


def plain_adam(V: np.ndarray, y: np.ndarray, P0: np.ndarray, *, epochs: int, l2_init: float, decay: float) -> np.ndarray:
    start = P0 / np.linalg.norm(P0, axis=1, keepdims=True)
    P, m, v = start.copy(), np.zeros_like(start), np.zeros_like(start)
    for t in range(1, epochs + 1):
        g = prompt_gradient(V, y, P) + l2_init * (P - start) + decay * P
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        P = P - 0.01 * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
    return P


def test_descent_against_a_plain_loop() -> None:
    planted = planted_ratings(0, d=32, inoffensive=80, offensive=60)
    options = {"epochs": 60, "l2_init": 0.3}
    tuned = tune_prompts(planted.V, planted.y, planted.P0, weight_decay=0.2, rng=np.random.default_rng(0), **options)
    expected = plain_adam(planted.V, planted.y, planted.P0.astype(np.float64), decay=0.2, **options)
    np.testing.assert_allclose(tuned.P, expected, atol=1e-5)
    first = cross_entropy(planted.V, planted.y, planted.P0.astype(np.float64), 100.0)
    assert tuned.loss_curve[0] == pytest.approx(first, rel=1e-4) and tuned.loss_curve[-1] < first
    assert tuned.epochs_run == tuned.best_epoch == 60 == len(tuned.loss_curve)


@pytest.mark.parametrize("setting", [PAPER, FEW_LABELS, PAPER._replace(optimiser="sgd", lr=1e-3)])
def test_many_equal_one_after_the_other(setting) -> None:
    planted = planted_ratings(1, d=48, inoffensive=150, offensive=110)
    rng = np.random.default_rng(2)
    setting = setting._replace(epochs=150, patience=15)
    jobs = []
    for size in (6, 20, 60, 200):
        rows = np.sort(rng.permutation(len(planted.y))[:size])
        held = rng.random(size) < 0.3 if setting.validation else np.zeros(size, dtype=bool)
        jobs.append(Job(rows[~held], planted.y, rows[held]))
    jobs.insert(2, Job(np.empty(0, np.int64), planted.y))
    together = tune_many(planted.V, planted.P0, jobs, setting=setting, calibrate_bias=True)
    for job, many in zip(jobs, together, strict=True):
        alone = tune_many(planted.V, planted.P0, [job], setting=setting, calibrate_bias=True)[0]
        np.testing.assert_allclose(many.P, alone.P, atol=1e-5)
        np.testing.assert_allclose(many.loss_curve, alone.loss_curve, atol=1e-5)
        assert (many.epochs_run, many.best_epoch) == (alone.epochs_run, alone.best_epoch)
        assert many.bias == pytest.approx(alone.bias, abs=1e-5)
    unit = planted.P0 / np.linalg.norm(planted.P0, axis=1, keepdims=True)
    np.testing.assert_allclose(together[2].P, unit, atol=1e-6)
    assert together[2].epochs_run == 0 and together[2].loss_curve.size == 0


def test_early_stop_keeps_the_best_epoch() -> None:
    planted = planted_ratings(3, d=128, inoffensive=40, offensive=30)
    tuned = tune_prompts(planted.V, planted.y, planted.P0, validation=0.4, patience=10, lr=0.1, rng=np.random.default_rng(0))
    curve = tuned.validation_curve
    assert tuned.epochs_run < 300 and tuned.best_epoch == np.argmin(curve) and tuned.epochs_run - 1 - tuned.best_epoch == 10
    batched = tune_prompts(
        planted.V, planted.y, planted.P0, validation=0.4, patience=10, lr=0.1, batch=8, rng=np.random.default_rng(0)
    )
    assert batched.best_epoch == np.argmin(batched.validation_curve) and batched.epochs_run < 300


def test_mini_batches_learn_and_reproduce() -> None:
    planted = planted_ratings(4, d=64)
    runs = [
        tune_prompts(planted.V, planted.y, planted.P0, batch=128, epochs=30, rng=np.random.default_rng(5)) for _ in range(2)
    ]
    assert np.array_equal(runs[0].P, runs[1].P)
    assert np.mean((log_odds(planted.V, prompt_direction(runs[0].P)).log_odds > 0) == planted.y) > 0.93
    other = tune_prompts(planted.V, planted.y, planted.P0, batch=128, epochs=30, rng=np.random.default_rng(6))
    assert not np.array_equal(runs[0].P, other.P)


def test_class_weights_move_the_decision() -> None:
    planted = planted_ratings(5, signal=0.08)
    flagged = []
    for weights in ((4.0, 1.0), "balanced", (1.0, 4.0)):
        tuned = tune_prompts(planted.V, planted.y, planted.P0, class_weights=weights, rng=np.random.default_rng(0))
        flagged.append(np.mean(log_odds(planted.V, prompt_direction(tuned.P)).log_odds > 0))
    assert flagged[0] < flagged[1] - 0.03 < flagged[2] - 0.06


def test_bias_is_fitted_where_it_is_asked_for() -> None:
    planted = planted_ratings(7, signal=0.1)
    tuned = tune_prompts(planted.V, planted.y, planted.P0, epochs=5, calibrate_bias=True, rng=np.random.default_rng(0))
    z = logits(planted.V, tuned.P)
    margin = z[:, 1] - z[:, 0] + tuned.bias
    assert tuned.bias != 0 and np.mean(1 / (1 + np.exp(-margin))) == pytest.approx(planted.y.mean(), abs=0.005)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y": np.full(20, 2)}, "0 or 1"),
        ({"V": np.zeros((20, 4))}, "zero or not finite"),
        ({"P0": np.eye(4)[:3]}, "two prompt rows"),
        ({"optimiser": "newton"}, "neither 'adam'"),
        ({"class_weights": "balanced", "y": np.zeros(20)}, "both classes"),
        ({"lr": 0.0}, "not above 0"),
    ],
)
def test_what_cannot_be_tuned_is_refused(change: dict, message: str) -> None:
    arguments = {"V": np.random.default_rng(0).standard_normal((20, 4)), "y": np.arange(20) % 2, "P0": np.eye(4)[:2]} | change
    V, y, P0 = (arguments.pop(name) for name in ("V", "y", "P0"))
    with pytest.raises(ValueError, match=message):
        tune_prompts(V, y, P0, rng=np.random.default_rng(0), **arguments)
