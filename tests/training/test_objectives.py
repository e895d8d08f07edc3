from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("accelerate")

from assaymark.errors import ConfigError, UnknownName  # noqa: E402
from assaymark.training import TensorBatches, Views, ssl_module, train  # noqa: E402
from assaymark.training.augmentation_spec import AUGMENTATIONS  # noqa: E402
from assaymark.training.objectives.clip import masked_tokens, similarities  # noqa: E402
from assaymark.training.objectives.dino import dino_loss  # noqa: E402
from assaymark.training.objectives.encoder_training import own_loss  # noqa: E402
from assaymark.training.objectives.mae import masked_error, patches_of, random_masking  # noqa: E402
from assaymark.training.objectives.nt_xent import nt_xent_loss, pairs_found  # noqa: E402
from assaymark.training.objectives.simsiam import simsiam_loss  # noqa: E402
from assaymark.training.objectives.vicreg import vicreg_loss  # noqa: E402


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


def test_simsiam_is_equations_2_and_4_and_stops_the_gradient() -> None:
    p, z = projections(seed=1), tuple(part.requires_grad_() for part in projections(seed=2))

    def cosine(a: np.ndarray, b: np.ndarray) -> float:
        return float(np.mean([x @ y / np.linalg.norm(x) / np.linalg.norm(y) for x, y in zip(a, b, strict=True)]))

    expected = -(cosine(p[0].numpy(), z[1].detach().numpy()) + cosine(p[1].numpy(), z[0].detach().numpy())) / 2
    loss = simsiam_loss((p[0].requires_grad_(), p[1]), z)
    assert float(loss.detach()) == pytest.approx(expected, abs=1e-12)
    loss.backward()
    assert z[0].grad is None and p[0].grad is not None


def test_vicreg_is_its_three_terms() -> None:
    first, second = (part.numpy() for part in projections(n=9, d=4, seed=3))
    distance = ((first - second) ** 2).mean()
    spread = np.mean([np.maximum(0, 1 - np.sqrt(z.var(axis=0, ddof=1) + 1e-4)).mean() for z in (first, second)])
    covariances = [np.cov(z.T) for z in (first, second)]
    shared = sum((c[~np.eye(4, dtype=bool)] ** 2).sum() / 4 for c in covariances)
    found = vicreg_loss(torch.from_numpy(first), torch.from_numpy(second), invariance=2.0, variance=3.0, covariance=5.0)
    assert float(found) == pytest.approx(2 * distance + 3 * spread + 5 * shared, abs=1e-12)


def test_dino_is_equation_3() -> None:
    student, teacher, centre = projections(seed=4), projections(seed=5), torch.linspace(-1, 1, 5).double()

    def softmax(logits: np.ndarray) -> np.ndarray:
        exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
        return exponentials / exponentials.sum(axis=1, keepdims=True)

    expected = 0.0
    for i in (0, 1):
        wanted = softmax((teacher[1 - i].numpy() - centre.numpy()) / 0.04)
        expected -= (wanted * np.log(softmax(student[i].numpy() / 0.1))).sum(axis=1).mean() / 2
    assert float(dino_loss(student, teacher, centre)) == pytest.approx(expected, rel=1e-9)


def test_masked_error_sees_hidden_patches_only() -> None:
    masking = random_masking(6, 16, share=0.75)
    assert masking.seen.shape == (6, 4) and masking.hidden.sum(dim=1).tolist() == [12.0] * 6
    assert all(masking.hidden[i, masking.seen[i]].sum() == 0 for i in range(6))
    wanted = torch.rand(6, 16, 12)
    wrong = wanted + 2.0 * (1 - masking.hidden[:, :, None])
    assert float(masked_error(wrong, wanted, masking.hidden)) == 0.0
    off = wanted + 0.5 * masking.hidden[:, :, None]
    assert float(masked_error(off, wanted, masking.hidden)) == pytest.approx(0.25, rel=1e-5)


def test_patches_are_read_row_by_row() -> None:
    pixels = torch.rand(2, 3, 4, 6)
    patches = patches_of(pixels, 2).view(2, 6, 2, 2, 3)
    for place, (row, column) in enumerate([(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)]):
        window = pixels[:, :, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
        assert torch.equal(patches[:, place], window.permute(0, 2, 3, 1))


def test_similarities_are_scaled_cosines_with_noise_on_the_texts() -> None:
    images, texts = (z.float() for z in projections(n=400, d=30, seed=6))
    scale = torch.tensor(2.0)
    cosines = similarities(images, texts, scale)
    expected = np.exp(2.0) * torch.nn.functional.cosine_similarity(images[:, None], texts[None], dim=2)
    torch.testing.assert_close(cosines, expected, rtol=1e-4, atol=1e-5)
    assert float(similarities(images, images, torch.tensor(20.0)).max()) == pytest.approx(100.0, rel=1e-4)
    torch.manual_seed(0)
    noisy = similarities(images, texts, torch.tensor(0.0), text_noise=0.15) - similarities(images, texts, torch.tensor(0.0))
    assert float(noisy.std()) == pytest.approx(0.15, rel=0.05)  # u is of length 1, so u.n has the standard deviation of n
    bound = similarities(images, texts, torch.tensor(0.0), text_noise=5.0, renormalise=True)
    assert float(bound.abs().max()) <= 1 + 1e-5


def test_masked_tokens_spare_the_marks() -> None:
    ids = torch.randint(0, 50, (200, 20))
    hidden = masked_tokens(ids, share=0.3, blank=1, kept=(0, 2, 3))
    special = (ids == 0) | (ids == 2) | (ids == 3)
    assert torch.equal(hidden[special], ids[special])
    assert float((hidden != ids)[~special].float().mean()) == pytest.approx(0.3, abs=0.03)
    assert masked_tokens(ids, share=0.0, blank=1) is ids


def blobs(n: int = 96, *, seed: int = 0) -> torch.Tensor:
    """Points around six prototypes: what two views of a point share."""
    rng = np.random.default_rng(seed)
    return torch.from_numpy((rng.normal(size=(6, 24))[np.arange(n) % 6] + 0.3 * rng.normal(size=(n, 24))).astype(np.float32))


def encoder_of(width: int = 16) -> torch.nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(7)
        layers = [torch.nn.Linear(24, width), torch.nn.BatchNorm1d(width), torch.nn.ReLU(), torch.nn.Linear(width, width)]
        return torch.nn.Sequential(*layers)


OPTIONS: dict[str, dict[str, Any]] = {"supervised": {"classes": 6}, "dino": {"momentum": 0.9}}


def fit(name: str, *, steps: int, seed: int = 0, **settings: Any) -> tuple[Any, Any]:
    module = ssl_module(encoder_of(), name, dimension=16, seed=3, **OPTIONS.get(name, {}))
    points = blobs()
    tensors = (points, torch.arange(len(points)) % 6) if module.labelled else (points,)
    batches = TensorBatches(*tensors, size=32, seed=seed, drop_last=True)
    spec = AUGMENTATIONS["vector"]
    outcome = train(module, own_loss, batches, steps=steps, lr=3e-3, augment=Views(spec, module.views), seed=seed, **settings)
    return module, outcome


def spread(encoder: Any) -> float:
    """Mean squared distance within the six kinds, by that between all points."""
    z = torch.nn.functional.normalize(encoder.eval()(blobs(seed=0)), dim=1).detach().double()
    within = torch.stack([z[kind::6].var(dim=0).sum() for kind in range(6)]).mean()
    return float(within / z.var(dim=0).sum())


@pytest.mark.parametrize("name", ["simclr", "simsiam", "vicreg", "dino", "supervised"])
def test_objectives_bring_together_what_views_share(name: str) -> None:
    module, outcome = fit(name, steps=120)
    # The loss of DINO rises while its centre, 0 at the start, finds its place.
    start = 20 if name == "dino" else 0
    assert outcome.losses[-15:].mean() < outcome.losses[start : start + 15].mean()
    assert spread(module.encoder) < 0.8 * spread(encoder_of())


class Killed(Exception):
    pass


@pytest.mark.parametrize("name", ["dino", "simsiam"])
def test_a_killed_training_ends_like_another(name: str, tmp_path: Path) -> None:
    class Deadly:
        made = 0

        def advance(self, amount: int = 1) -> None:
            self.made += amount
            if self.made == 17:
                raise Killed

    whole, straight = fit(name, steps=30)
    with pytest.raises(Killed):
        fit(name, steps=30, checkpoints=tmp_path, every=5, task=Deadly())
    continued, outcome = fit(name, steps=30, checkpoints=tmp_path, every=5)
    assert outcome.resumed_from == 15
    np.testing.assert_array_equal(outcome.losses, straight.losses)
    for key, tensor in whole.state_dict().items():
        assert torch.equal(tensor, continued.state_dict()[key]), key


def test_the_teacher_is_the_average_of_the_students() -> None:
    module = ssl_module(encoder_of(), "dino", dimension=16, seed=0, momentum=0.9)
    before = [p.clone() for p in module.encoder.parameters()]
    for parameter in module.student.parameters():
        parameter.data += 1.0
    module.after_step(1, steps=100)
    assert all(torch.allclose(p, b + 0.1) for p, b in zip(module.encoder.parameters(), before, strict=True))
    module.after_step(100, steps=100)  # the momentum is nearly 1 by now
    assert all(torch.allclose(p, b + 0.1, atol=1e-3) for p, b in zip(module.encoder.parameters(), before, strict=True))


def test_modules_are_made_from_seeds_and_say_what_they_lack() -> None:
    first, second = (ssl_module(encoder_of(), "simclr", dimension=16, seed=1) for _ in "ab")
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    with pytest.raises(UnknownName, match="simclr"):
        ssl_module(encoder_of(), "simclear", dimension=16, seed=1)
    with pytest.raises(ConfigError, match="temprature"):
        ssl_module(encoder_of(), "simclr", dimension=16, seed=1, temprature=0.1)
    with pytest.raises(ConfigError, match="architecture vit"):
        ssl_module(encoder_of(), "mae", dimension=16, seed=1)


def test_views_are_normalised_behind_the_augmentation() -> None:
    module = ssl_module(torch.nn.Flatten(), "simclr", dimension=12, seed=0, mean=[0.5, 0.5, 0.5], std=[0.25, 0.5, 1.0])
    seen = module.represented(torch.ones(1, 3, 2, 2)).view(3, 4)
    assert seen.tolist() == [[2.0] * 4, [1.0] * 4, [0.5] * 4]
