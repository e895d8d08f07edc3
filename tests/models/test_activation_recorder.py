from __future__ import annotations

import weakref
from typing import Any

import numpy as np
import pytest

from assaymark.errors import ModelError

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from assaymark.models.activation_recorder import first_tensor, recording  # noqa: E402
from assaymark.models.encoder_architectures import new_encoder  # noqa: E402
from assaymark.models.layer_discovery import discover_places  # noqa: E402


class Odd(nn.Module):
    """Outputs of every form: a tuple, a mapping, a module that is called twice, children registered in another order."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(4, 2)
        self.shared = nn.Linear(4, 4)
        self.pair = Pair()

    def forward(self, x: Any) -> dict[str, Any]:
        x = self.shared(self.shared(x).relu())
        x, _ = self.pair(x)
        return {"nothing": None, "features": (self.last(x), x)}


class Pair(nn.Module):
    def forward(self, x: Any) -> tuple[Any, str]:
        return 2 * x, "beside it"


def recorded(module: Any, names: list[str], *given: Any, **settings: Any) -> dict[str, Any]:
    seen: dict[str, Any] = {}
    with recording(module, names, lambda name, output: seen.update({name: output.clone()}), **settings):
        module(*given)
    return seen


def hooks(module: Any) -> int:
    return sum(len(part._forward_hooks) + len(part._forward_pre_hooks) for part in module.modules())


def test_outputs_of_every_form_in_the_order_of_execution() -> None:
    module, x = Odd().eval(), torch.rand(3, 4)
    seen = recorded(module, ["representation", "last", "shared#1", "shared", "pair"], x)
    assert list(seen) == ["shared", "shared#1", "pair", "last", "representation"]
    with torch.no_grad():
        first = module.shared(x)
        second = module.shared(first.relu())
    for name, expected in {"shared": first, "shared#1": second, "pair": 2 * second, "last": module.last(2 * second)}.items():
        torch.testing.assert_close(seen[name], expected)
    torch.testing.assert_close(seen["representation"], seen["last"])


def test_calls_are_counted_anew_in_each_pass() -> None:
    module, seen = Odd().eval(), []
    with recording(module, ["shared#1"], lambda name, output: seen.append(output.clone())) as record:
        for _ in range(3):
            module(torch.ones(2, 4))
    assert len(seen) == 3 and record.seen == {"shared#1": 3} and record.passes == 3


def test_hooks_go_on_exit_and_by_an_error() -> None:
    module = Odd()
    recorded(module, ["last"], torch.rand(2, 4))
    assert hooks(module) == 0
    with pytest.raises(RuntimeError), recording(module, ["last"], lambda *_: None):
        module(torch.rand(2, 5))
    assert hooks(module) == 0 and module.training

    def broken(name: str, output: Any) -> None:
        raise KeyError(name)

    with pytest.raises(KeyError), recording(module, ["last"], broken):
        module(torch.rand(2, 4))
    assert hooks(module) == 0


def test_training_mode_is_switched_said_and_put_back() -> None:
    network = new_encoder("resnet9", seed=0, width=2, input_size=16)
    network.body.prep.eval()  # a part that was frozen stays frozen
    before = {name: value.clone() for name, value in network.state_dict().items()}
    modes = [part.training for part in network.modules()]
    x = torch.rand(4, 3, 16, 16)
    seen: dict[str, Any] = {}
    with recording(network, ["body.layer1"], lambda name, output: seen.update({name: output.clone()})) as record:
        network(x)
        assert not any(part.training for part in network.modules())
        assert torch.is_inference_mode_enabled()
    assert [part.training for part in network.modules()] == modes
    assert "training mode, 7 of them batch normalisations: switched to evaluation" in record.notes[0]
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    network.eval()
    torch.testing.assert_close(seen["body.layer1"], recorded(network, ["body.layer1"], x)["body.layer1"])
    with recording(network, ["body.layer1"], lambda *_: None) as record:
        network(x)
    assert record.notes == ()


def test_unknown_layers_and_layers_that_do_not_run_are_named() -> None:
    module = Odd()
    with pytest.raises(ModelError, match="unknown layer 'sharde' - did you mean 'shared'"):
        recorded(module, ["sharde"], torch.rand(2, 4))
    with pytest.raises(ModelError, match="does not run through shared#2"):
        recorded(module, ["shared", "shared#2"], torch.rand(2, 4))
    module.pair.forward = lambda x: (x, None)  # type: ignore[method-assign]
    module.last.forward = lambda x: "no tensor"  # type: ignore[method-assign, assignment, return-value]
    with pytest.raises(ModelError, match="layer last: its output holds no tensor"):
        recorded(module, ["last"], torch.rand(2, 4))


def test_half_precision_is_seen_in_float32() -> None:
    module = nn.Sequential(nn.Linear(3, 2)).to(torch.bfloat16)
    assert recorded(module, ["0"], torch.rand(2, 3, dtype=torch.bfloat16))["0"].dtype == torch.float32


def test_first_tensor() -> None:
    x = torch.rand(2)
    for values in (x, (None, x), {"a": "b", "c": [x, 3]}, ({"k": (x,)},)):
        assert first_tensor(values) is x
    assert first_tensor(("a", None)) is None


def test_every_place_is_seen_as_its_layer_says_also_with_other_batches() -> None:
    network = new_encoder("vit", seed=0, width=12, depth=2, heads=3, patch=4, input_size=8).eval()
    places = discover_places(network, torch.rand(2, 3, 8, 8))
    names = [place.layer.name for place in places]
    x = torch.rand(7, 3, 8, 8)
    whole = recorded(network, names, x, places=places)
    assert list(whole) == names  # finished in this order
    for place in places:
        assert tuple(whole[place.layer.name].shape) == (7, *place.layer.shape)
    for row in (0, 6):
        alone = recorded(network, names, x[row : row + 1], places=places)
        for name in names:
            torch.testing.assert_close(alone[name][0], whole[name][row], atol=1e-5, rtol=1e-5)


def test_no_output_outlives_its_visit_and_memory_does_not_grow_with_the_points() -> None:
    psutil = pytest.importorskip("psutil")
    network = new_encoder("vit", seed=0, width=24, depth=12, heads=3, patch=4, input_size=32).eval()
    places = discover_places(network, torch.rand(2, 3, 32, 32))
    names = [place.layer.name for place in places]
    seen: list[weakref.ref[Any]] = []
    alive: list[int] = []

    def visit(name: str, output: Any) -> None:
        seen.append(weakref.ref(output))
        alive.append(sum(reference() is not None for reference in seen[-20:]))

    memory = []
    with recording(network, names, visit, places=places):
        for _ in range(20):
            network(torch.rand(16, 3, 32, 32))
            memory.append(psutil.Process().memory_info().rss)
    assert len(seen) == 20 * len(names) and len(names) == 38
    assert max(alive) <= 3 and not any(reference() is not None for reference in seen)
    kept = 16 * sum(int(np.prod(place.layer.shape)) for place in places) * 4  # bytes of one pass, if it were collected
    assert memory[-1] - memory[4] < 2 * kept < 15 * kept
