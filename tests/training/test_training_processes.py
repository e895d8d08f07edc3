"""Two processes on one machine train the network that one process trains."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("accelerate")

SOURCE = Path(__file__).resolve().parents[2] / "src"
PROGRAM = """
import os

import torch
from assaymark.training import TensorBatches, train

torch.set_num_threads(1)
x = torch.randn(40, 6, generator=torch.Generator().manual_seed(0))
y = (x[:, 0] > x[:, 1]).long()
torch.manual_seed(0)
module = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.Tanh(), torch.nn.Linear(8, 2))


def objective(module, batch):
    return torch.nn.functional.cross_entropy(module(batch[0]), batch[1])


def validate(module):
    return float(objective(module, (x, y)))


outcome = train(
    module, objective, TensorBatches(x, y, size=4, seed=1), accumulate=2, epochs=3, lr=0.05, clip=1.0, seed=0,
    validate=validate, patience=2, checkpoints=folder / "state",
)
if os.environ.get("RANK", "0") == "0":
    torch.save([list(module.state_dict().values()), torch.tensor(outcome.losses), outcome.best_step], folder / "trained.pt")
if torch.distributed.is_initialized():
    torch.distributed.destroy_process_group()
"""


def run(folder: Path, world: int) -> list[object]:
    folder.mkdir()
    if world == 1:  # in this process, which has torch loaded
        exec(PROGRAM, {"folder": folder})
        return torch.load(folder / "trained.pt", weights_only=True)  # type: ignore[no-any-return]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    program = f"from pathlib import Path\nfolder = Path({str(folder)!r})\n{PROGRAM}"
    processes = []
    for rank in range(world):
        place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "RANK": str(rank), "LOCAL_RANK": str(rank)}
        place |= {"WORLD_SIZE": str(world), "LOCAL_WORLD_SIZE": str(world), "ACCELERATE_USE_CPU": "true"}
        environment = {**os.environ, **(place if world > 1 else {}), "PYTHONPATH": str(SOURCE)}
        processes.append(subprocess.Popen([sys.executable, "-c", program], env=environment, stderr=subprocess.PIPE, text=True))
    for process in processes:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
    return torch.load(folder / "trained.pt", weights_only=True)  # type: ignore[no-any-return]


def test_two_processes_equal_one(tmp_path: Path) -> None:
    (alone, losses, best), (together, losses_2, best_2) = run(tmp_path / "one", 1), run(tmp_path / "two", 2)
    assert best == best_2
    torch.testing.assert_close(losses, losses_2, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(alone, together, rtol=1e-4, atol=1e-5)
