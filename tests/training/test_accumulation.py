from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("accelerate")

from assaymark.errors import ConfigError, RunError  # noqa: E402
from assaymark.training import TensorBatches, TokenBatches, train  # noqa: E402
from assaymark.training.order import micro_batches  # noqa: E402
from assaymark.training.schedule import schedule_factor  # noqa: E402
from assaymark.training.token_batches import length_grouped, padded, sequence_outputs  # noqa: E402

ROWS = 53  # no multiple of anything: the last batch and the last step of an epoch are smaller


def material() -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(ROWS, 5)).astype(np.float32)
    return torch.from_numpy(x), torch.from_numpy((x[:, 0] > x[:, 1]).astype(np.int64))


def network() -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return torch.nn.Sequential(torch.nn.Linear(5, 16), torch.nn.Tanh(), torch.nn.Linear(16, 2)).double()


def objective(module: Any, batch: Any) -> Any:
    return torch.nn.functional.cross_entropy(module(batch[0].double()), batch[1])


@pytest.mark.parametrize(("size", "together"), [(4, 3), (5, 4), (2, 7)])
@pytest.mark.parametrize("clip", [None, 0.1])
def test_small_batches_together_equal_one_large_batch(size: int, together: int, clip: float | None) -> None:
    settings: dict[str, Any] = {"epochs": 4, "lr": 0.02, "weight_decay": 0.01, "schedule": "linear", "clip": clip, "seed": 0}
    small, large = network(), network()
    outcome = train(small, objective, TensorBatches(*material(), size=size, seed=3), accumulate=together, **settings)
    expected = train(large, objective, TensorBatches(*material(), size=size * together, seed=3), **settings)
    assert outcome.steps == expected.steps == 4 * math.ceil(ROWS / (size * together))
    np.testing.assert_allclose(outcome.losses, expected.losses, atol=1e-9)
    for a, b in zip(small.state_dict().values(), large.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-9)


def test_steps_take_every_batch_once_and_end_with_the_epoch() -> None:
    for per_epoch, together in ((7, 3), (6, 3), (1, 8), (5, 1)):
        steps = [
            micro_batches(step, per_epoch=per_epoch, together=together) for step in range(3 * math.ceil(per_epoch / together))
        ]
        assert [number for step in steps for number in step] == list(range(3 * per_epoch))
        assert all(step[0] // per_epoch == step[-1] // per_epoch for step in steps)


def test_a_training_is_not_continued_with_steps_of_another_size(tmp_path: Path) -> None:
    batches = TensorBatches(*material(), size=4, seed=3)
    train(network(), objective, batches, steps=3, seed=0, accumulate=2, checkpoints=tmp_path)
    with pytest.raises(RunError, match="accumulate: 2 there, 4 here"):
        train(network(), objective, batches, steps=3, seed=0, accumulate=4, checkpoints=tmp_path)
    with pytest.raises(ConfigError, match="accumulate is 0"):
        train(network(), objective, batches, epochs=1, seed=0, accumulate=0)
    with pytest.raises(ConfigError, match="warmup belongs to the schedules linear and cosine; constant"):
        train(network(), objective, batches, epochs=1, seed=0, schedule="constant", warmup=0.1)
    with pytest.raises(ConfigError, match="share of the steps"):
        train(network(), objective, batches, epochs=1, seed=0, schedule="linear", warmup=1.0)


@pytest.mark.parametrize("steps", [1, 2, 10, 321])
@pytest.mark.parametrize("warmup", [0.0, 0.1, 0.77])
def test_the_linear_schedule_is_that_of_transformers(steps: int, warmup: float) -> None:
    transformers = pytest.importorskip("transformers")
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = transformers.get_linear_schedule_with_warmup(optimiser, math.ceil(warmup * steps), steps)
    expected = []
    for _ in range(steps):
        expected.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        schedule.step()
    cosine = transformers.get_cosine_schedule_with_warmup(optimiser, math.ceil(warmup * steps), steps).lr_lambdas[0]
    for step in range(steps):
        assert schedule_factor("cosine", step, steps=steps, warmup=warmup) == pytest.approx(cosine(step), abs=1e-12)
    ours = [schedule_factor("linear", step, steps=steps, warmup=warmup) for step in range(steps)]
    np.testing.assert_allclose(ours, expected, atol=1e-12)


# --- sequences of unequal length ---------------------------------------------------------------------------------------------


def sequences(rows: int = 1_003) -> list[np.ndarray]:
    rng = np.random.default_rng(4)
    lengths = np.clip(rng.lognormal(4, 0.8, size=rows), 1, 500).astype(int)
    return [rng.integers(0, 90, size=length) for length in lengths]


def test_padding_adds_nothing_but_padding() -> None:
    tokens = [np.array([5, 0, 7]), np.array([], dtype=np.int64), np.array([1])]
    ids, mask = padded(tokens)
    assert ids.tolist() == [[5, 0, 7], [0, 0, 0], [1, 0, 0]]
    assert mask.tolist() == [[True] * 3, [False] * 3, [True, False, False]]


@pytest.mark.parametrize("by_length", [True, False])
def test_every_epoch_holds_every_text_once_in_other_batches(by_length: bool) -> None:
    tokens = sequences()
    batches = TokenBatches(tokens, torch.arange(len(tokens)), size=8, seed=1, by_length=by_length)
    epochs = []
    for epoch in range(2):
        seen = []
        for step in range(batches.steps_per_epoch):
            ids, mask, rows = batches.at(epoch * batches.steps_per_epoch + step)
            assert ids.shape[1] == max(len(tokens[row]) for row in rows.tolist()), "no wider than its longest text"
            for row, sequence, real in zip(rows.tolist(), ids, mask, strict=True):
                np.testing.assert_array_equal(sequence[real].numpy(), tokens[row])
            seen.append(rows.tolist())
        assert sorted(row for batch in seen for row in batch) == list(range(len(tokens)))
        epochs.append(seen)
    assert batches.steps_per_epoch == math.ceil(len(tokens) / 8)
    assert not {tuple(sorted(batch)) for batch in epochs[0]} & {tuple(sorted(batch)) for batch in epochs[1]}
    assert batches.at(5)[2].tolist() == epochs[0][5], "any step, in any order"


def test_batches_by_length_have_little_padding_and_come_in_random_order() -> None:
    tokens = sequences()
    lengths = np.array([len(sequence) for sequence in tokens])

    def width(by_length: bool) -> np.ndarray:
        batches = TokenBatches(tokens, size=8, seed=1, by_length=by_length)
        return np.array([batches.at(step)[0].shape for step in range(batches.steps_per_epoch)])

    grouped, mixed = width(True), width(False)
    assert grouped.prod(axis=1).sum() < 1.1 * lengths.sum() < 1.7 * lengths.sum() < mixed.prod(axis=1).sum()
    widths = grouped[:, 1].astype(float)
    assert abs(np.corrcoef(widths[:-1], widths[1:])[0, 1]) < 0.3, "lengths come in no waves"
    rng = np.random.default_rng(0)
    assert sorted(np.concatenate(length_grouped(np.arange(1_003), lengths, size=8, rng=rng)).tolist()) == list(range(1_003))


@pytest.mark.parametrize("world", [2, 3])
def test_processes_share_texts_in_equal_parts(world: int) -> None:
    batches = TokenBatches(sequences(50), size=7, seed=0)
    for step in range(batches.steps_per_epoch):
        parts = [batches.rows_at(step, rank=rank, world=world) for rank in range(world)]
        assert len({len(part) for part in parts}) == 1
        assert set(np.concatenate(parts)) == set(batches.rows_at(step))


def test_outputs_are_in_the_order_of_the_texts() -> None:
    class Total(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.factor = torch.nn.Parameter(torch.ones(1))

        def forward(self, ids: Any, mask: Any) -> Any:
            assert not self.training
            return (ids * mask).sum(dim=1, keepdim=True) * self.factor

    tokens = sequences(31)
    module = Total().train()
    expected = [[float(sequence.sum())] for sequence in tokens]
    np.testing.assert_array_equal(sequence_outputs(module, tokens, batch_size=4), expected)
    assert module.training


def test_texts_that_cannot_be_trained_on_are_named() -> None:
    with pytest.raises(ConfigError, match="no texts"):
        TokenBatches([], size=2, seed=0)
    with pytest.raises(ConfigError, match="text 1 has no tokens"):
        TokenBatches([[1], []], size=2, seed=0)
    with pytest.raises(ConfigError, match="batch size"):
        TokenBatches([[1]], size=0, seed=0)
    with pytest.raises(ValueError, match="targets"):
        TokenBatches([[1]], torch.zeros(2), size=1, seed=0)
