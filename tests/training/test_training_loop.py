from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("accelerate")

from assaymark.errors import ConfigError, ModelError, RunError, UnknownName  # noqa: E402
from assaymark.training import TensorBatches, train  # noqa: E402
from assaymark.training.augment import Augmentation  # noqa: E402

ROWS = 96


class Interrupted(Exception):
    pass


def rows(seed: int = 0, n: int = ROWS) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 5)).astype(np.float32)
    y = (x[:, 0] - 2 * x[:, 1] + 0.3 * rng.normal(size=n) > 0).astype(np.int64)
    return torch.from_numpy(x), torch.from_numpy(y)


def network(seed: int = 0, *, dropout: float = 0.3) -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return torch.nn.Sequential(
            torch.nn.Linear(5, 16), torch.nn.BatchNorm1d(16), torch.nn.ReLU(), torch.nn.Dropout(dropout), torch.nn.Linear(16, 2)
        )


def objective(module: Any, batch: Any) -> Any:
    return torch.nn.functional.cross_entropy(module(batch[0]), batch[1])


def batches(**settings: Any) -> TensorBatches:
    return TensorBatches(*rows(), **{"size": 20, "seed": 3, **settings})


def same(a: Any, b: Any) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def bare_loop(module: Any, *, steps: int, lr: float, optimiser: str) -> list[float]:
    """What anyone would write; no dropout in the module, so nothing is drawn."""
    if optimiser == "sgd":
        torch_optimiser = torch.optim.SGD(module.parameters(), lr=lr, momentum=0.9, weight_decay=5e-4)
    else:
        torch_optimiser = torch.optim.AdamW(module.parameters(), lr=lr, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(torch_optimiser, max_lr=lr, total_steps=steps, cycle_momentum=False)
    x, y = rows()
    losses = []
    module.train()
    for step in range(steps):
        epoch, place = divmod(step, 5)
        picked = np.random.default_rng([3, epoch]).permutation(ROWS)[place * 20 : place * 20 + 20]
        loss = torch.nn.functional.cross_entropy(module(x[picked]), y[picked])
        torch_optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), 0.5)
        torch_optimiser.step()
        schedule.step()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize("optimiser", ["adamw", "sgd"])
def test_equals_a_loop_written_by_hand(optimiser: str) -> None:
    ours, theirs = network(dropout=0.0), network(dropout=0.0)
    outcome = train(
        ours,
        objective,
        batches(),
        epochs=8,
        optimiser=optimiser,
        lr=0.05,
        weight_decay=5e-4,
        schedule="one-cycle",
        clip=0.5,
        seed=0,
    )
    losses = bare_loop(theirs, steps=40, lr=0.05, optimiser=optimiser)
    np.testing.assert_allclose(outcome.losses, losses, rtol=1e-4)
    for a, b in zip(ours.state_dict().values(), theirs.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)
    assert not ours.training and outcome.steps == 40 and outcome.best_step is None


@pytest.mark.parametrize("optimiser", ["adamw", "sgd"])
@pytest.mark.parametrize("killed_at", [7, 13, 20])
def test_a_killed_training_ends_like_another(tmp_path: Path, optimiser: str, killed_at: int) -> None:
    x, y = rows(1)

    def validate(module: Any) -> float:
        return float(torch.nn.functional.cross_entropy(module(x), y))

    settings: dict[str, Any] = {"epochs": 6, "lr": 0.02, "optimiser": optimiser, "seed": 5, "validate": validate, "every": 4}
    whole = network()
    expected = train(whole, objective, batches(), **settings)

    calls = 0

    def failing(module: Any, batch: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls > killed_at:
            raise Interrupted
        return objective(module, batch)

    with pytest.raises(Interrupted):
        train(network(), failing, batches(), checkpoints=tmp_path, **settings)
    (tmp_path / "training.safetensors.part").write_bytes(b"half")  # a kill while the next state was written
    continued = network(seed=99)
    torch.manual_seed(1234)  # nor does the state of the process matter
    outcome = train(continued, objective, batches(), checkpoints=tmp_path, **settings)
    assert same(whole, continued)
    assert outcome.resumed_from == killed_at - killed_at % 4
    np.testing.assert_array_equal(outcome.losses, expected.losses)
    assert (outcome.validations, outcome.best_step) == (expected.validations, expected.best_step)

    again = network(seed=7)
    assert train(again, failing, batches(), checkpoints=tmp_path, **settings).resumed_from == 30, (
        "finished: nothing is computed"
    )
    assert same(whole, again)


def test_other_settings_do_not_continue(tmp_path: Path) -> None:
    train(network(), objective, batches(), steps=6, lr=0.01, seed=0, checkpoints=tmp_path, data_id="a")
    with pytest.raises(RunError, match=r"lr: 0.01 there, 0.02 here"):
        train(network(), objective, batches(), steps=6, lr=0.02, seed=0, checkpoints=tmp_path, data_id="a")
    with pytest.raises(RunError, match=r"data: 'a' there, 'b' here"):
        train(network(), objective, batches(), steps=6, lr=0.01, seed=0, checkpoints=tmp_path, data_id="b")
    with pytest.raises(RunError, match="weights"):
        train(torch.nn.Linear(5, 2), objective, batches(), steps=6, lr=0.01, seed=0, checkpoints=tmp_path, data_id="a")
    path = tmp_path / "training.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(RunError, match="delete it"):
        train(network(), objective, batches(), steps=6, lr=0.01, seed=0, checkpoints=tmp_path, data_id="a")


def test_the_best_weights_are_kept_and_patience_ends_it() -> None:
    values = iter([3.0, 1.0, 2.0, float("nan"), 1.0, 0.0])
    seen: list[Any] = []

    def validate(module: Any) -> float:
        assert not module.training and not torch.is_grad_enabled()
        seen.append({name: tensor.clone() for name, tensor in module.state_dict().items()})
        return next(values)

    module = network()
    outcome = train(module, objective, batches(), epochs=20, lr=0.05, seed=0, validate=validate, validate_every=3, patience=3)
    assert (outcome.best_step, outcome.steps, outcome.stopped_early) == (6, 15, True)
    assert [v.value for v in outcome.validations] == [3.0, 1.0, 2.0, float("inf"), 1.0]
    for name, tensor in module.state_dict().items():
        assert torch.equal(tensor, seen[1][name])


def test_the_process_is_left_as_it_was() -> None:
    from accelerate.state import AcceleratorState, PartialState

    torch.manual_seed(77)
    expected = torch.rand(4)
    numpy_state = np.random.get_state()[1].copy()  # type: ignore[index]
    torch.manual_seed(77)
    before = dict(AcceleratorState._shared_state), dict(PartialState._shared_state)
    module = network()
    marks = set(vars(module))
    train(module, objective, batches(), steps=3, seed=0, precision="bf16")
    train(module, objective, batches(), steps=3, seed=0)  # accelerate alone would refuse the other precision
    assert torch.equal(torch.rand(4), expected)
    assert (np.random.get_state()[1] == numpy_state).all()  # type: ignore[index]
    assert (dict(AcceleratorState._shared_state), dict(PartialState._shared_state)) == before
    assert set(vars(module)) == marks


def test_seeds_decide() -> None:
    first, second, other = network(), network(), network()
    for module, seed in ((first, 1), (second, 1), (other, 2)):
        train(module, objective, batches(), steps=5, seed=seed)
    assert same(first, second)
    assert not same(first, other), "dropout follows the seed"


def test_bf16_learns_and_weights_stay_float32() -> None:
    module = network(dropout=0.0)
    outcome = train(module, objective, batches(), epochs=30, lr=0.02, seed=0, precision="bf16")
    assert outcome.losses[-5:].mean() < 0.5 * outcome.losses[:5].mean()
    assert {parameter.dtype for parameter in module.parameters()} == {torch.float32}


def test_progress_and_augmentation_by_step(tmp_path: Path) -> None:
    class Task:
        done = 0

        def advance(self, amount: int = 1) -> None:
            self.done += amount

    drawn: list[float] = []

    def augment(batch: Any, rng: np.random.Generator) -> Any:
        drawn.append(float(rng.random()))
        return batch

    def run(folder: Path, steps_before: int | None) -> list[float]:
        drawn.clear()
        task = Task()
        if steps_before is not None:
            stop = iter(range(steps_before))

            def failing(module: Any, batch: Any) -> Any:
                if next(stop, None) is None:
                    raise Interrupted
                return objective(module, batch)

            with pytest.raises(Interrupted):
                train(network(), failing, batches(), steps=9, seed=4, checkpoints=folder, every=1, augment=augment)
            drawn.pop()  # of the step that failed
        train(network(), objective, batches(), steps=9, seed=4, checkpoints=folder, every=1, augment=augment, task=task)
        assert task.done == 9
        return list(drawn)

    assert run(tmp_path / "a", None) == run(tmp_path / "b", 4)
    assert len(set(drawn)) == 9


def test_mistakes_are_named() -> None:
    with pytest.raises(ConfigError, match="epochs or as steps"):
        train(network(), objective, batches(), seed=0)
    with pytest.raises(UnknownName, match="adamw"):
        train(network(), objective, batches(), steps=1, seed=0, optimiser="adamv")
    with pytest.raises(UnknownName, match="cosine"):
        train(network(), objective, batches(), steps=1, seed=0, schedule="cosin")
    with pytest.raises(ConfigError, match="precision"):
        train(network(), objective, batches(), steps=1, seed=0, precision="fp64")
    with pytest.raises(ConfigError, match=r"step \d+ of 50: lower the learning rate"):
        train(
            network(),
            lambda module, batch: objective(module, batch) * 1e30,
            batches(),
            steps=50,
            lr=1e30,
            seed=0,
            optimiser="sgd",
        )
    with pytest.raises(ConfigError, match="no rows"):
        TensorBatches(torch.empty(0, 3), size=2, seed=0)
    with pytest.raises(ConfigError, match="needs a GPU"):
        train(network(), objective, batches(), steps=1, seed=0, precision="fp16", device="cpu")
    if not torch.cuda.is_available():
        with pytest.raises(ModelError, match="no CUDA"):
            train(network(), objective, batches(), steps=1, seed=0, device="cuda")


def test_augmentation_goes_through_the_loop() -> None:
    images = torch.randint(0, 256, (12, 3, 8, 8), dtype=torch.uint8)
    labels = torch.arange(12) % 2
    module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 2))
    outcome = train(
        module, objective, TensorBatches(images, labels, size=4, seed=0), epochs=2, seed=0, augment=Augmentation(padding=2)
    )
    assert outcome.steps == 6
