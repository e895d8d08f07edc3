from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from assaymark.training.objectives.nt_xent import nt_xent_loss, pairs_found  # noqa: E402


def projections(n: int = 7, d: int = 5, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.normal(size=(n, d))), torch.from_numpy(rng.normal(size=(n, d)))


def naive_nt_xent(first: np.ndarray, second: np.ndarray, temperature: float) -> float:
    z = [v / np.sqrt((v**2).sum()) for v in (*first, *second)]
    n, losses = len(first), []
    for i in range(2 * n):
        partner = (i + n) % (2 * n)
        others = [np.exp(z[i] @ z[k] / temperature) for k in range(2 * n) if k != i]
        losses.append(-np.log(np.exp(z[i] @ z[partner] / temperature) / sum(others)))
    return float(np.mean(losses))


@pytest.mark.parametrize("temperature", [0.1, 0.5, 2.0])
def test_nt_xent_is_equation_1(temperature: float) -> None:
    first, second = projections()
    expected = naive_nt_xent(first.numpy(), second.numpy(), temperature)
    assert float(nt_xent_loss(first, second, temperature=temperature)) == pytest.approx(expected, abs=1e-12)


def test_nt_xent_is_that_of_pytorch_metric_learning() -> None:
    losses = pytest.importorskip("pytorch_metric_learning.losses")
    first, second = (z.float().requires_grad_() for z in projections(n=40, d=16))
    ours = nt_xent_loss(first, second, temperature=0.2)
    theirs = losses.NTXentLoss(temperature=0.2)(torch.cat([first, second]), torch.arange(40).repeat(2))
    assert float(ours) == pytest.approx(float(theirs), abs=1e-6)
    gradients = [torch.autograd.grad(loss, first)[0] for loss in (ours, theirs)]
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-7)


def test_pairs_are_found_when_views_agree() -> None:
    first, _ = projections(n=30, d=20)
    assert float(pairs_found(first, first * 2)) == 1.0
    n = 400
    a, b = projections(n=n, d=20)
    assert float(pairs_found(a, b)) < 10 / n
