from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from assaymark.training import TensorBatches, module_outputs  # noqa: E402
from assaymark.training.augment import Augmentation, colour_jitter, horizontal_flip, random_crop  # noqa: E402
from assaymark.training.objectives.clip import contrastive_loss  # noqa: E402
from assaymark.training.order import epoch_order, step_seed  # noqa: E402
from assaymark.training.schedule import schedule_factor  # noqa: E402


def test_each_epoch_holds_each_row_once_in_another_order() -> None:
    batches = TensorBatches(torch.arange(23), size=5, seed=1)
    assert batches.steps_per_epoch == 5
    epochs = [torch.cat([batches.at(epoch * 5 + step)[0] for step in range(5)]).tolist() for epoch in range(3)]
    assert all(sorted(epoch) == list(range(23)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]
    assert epochs[1] == epoch_order(23, epoch=1, seed=1).tolist()
    assert batches.at(3)[0].tolist() == epochs[0][15:20], "any step, in any order"
    assert TensorBatches(torch.arange(23), size=5, seed=1, drop_last=True).steps_per_epoch == 4


@pytest.mark.parametrize(("size", "world"), [(8, 2), (7, 2), (8, 3), (5, 4)])
def test_processes_share_a_batch_in_equal_parts(size: int, world: int) -> None:
    batches = TensorBatches(torch.arange(21), size=size, seed=0)
    for step in range(batches.steps_per_epoch):
        whole = batches.rows_at(step).tolist()
        parts = [batches.rows_at(step, rank=rank, world=world).tolist() for rank in range(world)]
        assert len({len(part) for part in parts}) == 1
        assert {row for part in parts for row in part} == set(whole)


def test_step_seeds_do_not_collide() -> None:
    seeds = {step_seed(seed, step, rank=rank) for seed in range(4) for step in range(2_000) for rank in range(4)}
    assert len(seeds) == 32_000
    bits = np.array([[(step_seed(0, step) >> bit) & 1 for bit in range(63)] for step in range(2_000)])
    assert np.abs(bits.mean(axis=0) - 0.5).max() < 0.06  # 5 standard errors


@pytest.mark.parametrize("steps", [1, 2, 3, 10, 320])
def test_schedules_equal_those_of_torch(steps: int) -> None:
    def reference(make: object) -> list[float]:
        optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
        schedule = make(optimiser)  # type: ignore[operator]
        factors = []
        for _ in range(steps):
            factors.append(optimiser.param_groups[0]["lr"])
            optimiser.step()
            schedule.step()
        return factors

    cosine = reference(lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, T_max=steps))
    np.testing.assert_allclose([schedule_factor("cosine", step, steps=steps) for step in range(steps)], cosine, atol=1e-9)
    if steps >= 10:  # torch's divides by zero or starts beyond its peak for fewer
        cycle = reference(lambda o: torch.optim.lr_scheduler.OneCycleLR(o, max_lr=1.0, total_steps=steps, cycle_momentum=False))
        np.testing.assert_allclose([schedule_factor("one-cycle", step, steps=steps) for step in range(steps)], cycle, atol=1e-9)
    assert all(0 <= schedule_factor("one-cycle", step, steps=steps) <= 1 for step in range(steps))


def test_a_crop_is_a_window_of_the_mirrored_picture() -> None:
    images = torch.randint(0, 256, (40, 3, 9, 12), dtype=torch.uint8)
    cropped = random_crop(images, np.random.default_rng(5), padding=3).numpy()
    rng = np.random.default_rng(5)
    top, left = rng.integers(-3, 4, size=40), rng.integers(-3, 4, size=40)
    for i in range(40):
        padded = np.pad(images[i].numpy(), ((0, 0), (3, 3), (3, 3)), mode="reflect")
        expected = padded[:, 3 + top[i] : 12 + top[i], 3 + left[i] : 15 + left[i]]
        np.testing.assert_array_equal(cropped[i], expected)
    assert set(top) == set(left) == set(range(-3, 4))


def test_flips_are_exact_and_as_frequent_as_asked() -> None:
    images = torch.rand(2_000, 1, 2, 3)
    flipped = horizontal_flip(images, np.random.default_rng(0), probability=0.3)
    changed = (flipped != images).flatten(1).any(dim=1)
    assert abs(changed.float().mean() - 0.3) < 0.05
    assert torch.equal(flipped[changed], images[changed].flip(3))


def test_jitter_leaves_grey_grey_and_does_nothing_at_zero() -> None:
    images = torch.rand(30, 3, 4, 4)
    still = colour_jitter(images, np.random.default_rng(0), brightness=0, contrast=0, saturation=0)
    torch.testing.assert_close(still, images)
    grey = torch.rand(30, 1, 4, 4).expand(-1, 3, -1, -1)
    changed = colour_jitter(grey, np.random.default_rng(0), brightness=0, contrast=0, saturation=0.5)
    torch.testing.assert_close(changed, grey)
    brighter = colour_jitter(images * 0.5, np.random.default_rng(0), brightness=0.5, contrast=0, saturation=0)
    factors = 1 + np.random.default_rng(0).uniform(-1, 1, size=(3, 30))[0] * 0.5
    torch.testing.assert_close(brighter, (images * 0.5 * torch.from_numpy(factors).float()[:, None, None, None]).clamp(0, 1))
    wild = colour_jitter(images, np.random.default_rng(0), brightness=1, contrast=1, saturation=1)
    assert float(wild.min()) >= 0 and float(wild.max()) <= 1


def test_augmentation_turns_bytes_into_unit_floats() -> None:
    images = torch.full((3, 3, 6, 6), 255, dtype=torch.uint8)
    changed, labels = Augmentation(padding=2, jitter=0.0)((images, torch.arange(3)), np.random.default_rng(0))
    assert changed.dtype == torch.float32 and bool((changed == 1).all())
    assert labels.tolist() == [0, 1, 2]


def test_contrastive_loss_is_the_published_one_for_single_partners() -> None:
    logits = torch.randn(6, 6, generator=torch.Generator().manual_seed(0)) * 3
    target = torch.arange(6)
    expected = (torch.nn.functional.cross_entropy(logits, target) + torch.nn.functional.cross_entropy(logits.T, target)) / 2
    torch.testing.assert_close(contrastive_loss(logits), expected)
    # Two pictures share a caption: pushing it away from either raises the loss.
    matches = torch.eye(6, dtype=torch.bool)
    matches[0, 1] = matches[1, 0] = True
    pulled = logits.clone()
    pulled[0, 1] = pulled[0, 0] = pulled[1, 0] = pulled[1, 1] = 30.0
    pushed = pulled.clone()
    pushed[0, 1] = pushed[1, 0] = -30.0
    assert contrastive_loss(pulled, matches=matches) < contrastive_loss(pushed, matches=matches) - 5
    assert contrastive_loss(pulled) > contrastive_loss(pushed)


def test_outputs_do_not_depend_on_the_batch_size_or_the_mode() -> None:
    module = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.BatchNorm1d(3), torch.nn.Dropout(0.5))
    rows = torch.randn(17, 4)
    module.train()
    whole = module_outputs(module, rows, batch_size=100)
    assert module.training
    np.testing.assert_allclose(module_outputs(module, rows, batch_size=3), whole, atol=1e-6)
    np.testing.assert_allclose(module_outputs(module, rows * 2, prepare=lambda x: x / 2), whole, atol=1e-6)
    assert module_outputs(module, rows[:0]).shape == (0, 3)
