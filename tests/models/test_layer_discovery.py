from __future__ import annotations

from typing import Any

import pytest

from assaymark.errors import ModelError

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from assaymark.models.activation_recorder import recording  # noqa: E402
from assaymark.models.encoder_architectures import new_encoder  # noqa: E402
from assaymark.models.layer_discovery import discover_layers, discover_places  # noqa: E402


def seen_by_places(network: Any, x: Any) -> dict[str, Any]:
    places = discover_places(network, x)
    seen: dict[str, Any] = {}
    with recording(network, [p.layer.name for p in places], lambda n, o: seen.update({n: o.clone()}), places=places):
        network(x)
    return seen


def resnet9_by_hand(network: Any, x: Any) -> list[Any]:
    """Rows of the paper's table for the CNN, computed layer by layer: convolution with norm and ReLU, pool, residual sum."""
    rows: list[Any] = []

    def convolution(part: Any, x: Any) -> Any:
        rows.append(torch.relu(part.norm(part.conv(x))))
        return rows[-1]

    def pool(x: Any) -> Any:
        rows.append(torch.nn.functional.max_pool2d(x, 2))
        return rows[-1]

    def residual(part: Any, x: Any) -> Any:
        rows.append(x + convolution(part.second, convolution(part.first, x)))
        return rows[-1]

    b = network.body
    x = pool(convolution(b.prep, x))
    x = residual(b.layer1_residual, pool(convolution(b.layer1, x)))
    x = pool(convolution(b.layer2, x))
    x = residual(b.layer3_residual, pool(convolution(b.layer3, x)))
    return [*rows, x.amax(dim=(2, 3))]


def test_resnet9_has_the_rows_of_the_paper() -> None:
    network = new_encoder("resnet9", seed=0, width=4).eval()
    for part in network.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.normal_(part.running_mean, std=0.1)
            nn.init.normal_(part.bias, std=0.1)
    x = torch.rand(3, 3, 32, 32)
    layers = discover_layers(network, x)
    kinds = [layer.kind for layer in layers]
    assert (kinds.count("convolution"), kinds.count("pooling"), kinds.count("residual")) == (8, 4, 2)
    assert kinds[-1] == "representation" and all(layer.rectified for layer in layers)
    with torch.no_grad():
        expected = resnet9_by_hand(network, x)
    seen = seen_by_places(network, x)
    assert list(seen) == [layer.name for layer in layers]
    for (name, found), wanted in zip(seen.items(), expected, strict=True):
        torch.testing.assert_close(found, wanted, msg=name)


def test_a_transformer_has_attention_perceptron_and_hidden_units_of_each_block() -> None:
    network = new_encoder("vit", seed=1, width=12, depth=3, heads=3, patch=4, input_size=8).eval()
    x = torch.rand(2, 3, 8, 8)
    expected: dict[str, Any] = {}
    with torch.no_grad():
        tokens = torch.cat([network.cls_token.expand(2, -1, -1), network.patch_embed(x)], dim=1) + network.pos_embed
        for number, block in enumerate(network.blocks):
            tokens = tokens + block.attn(block.norm1(tokens))
            expected[f"blocks.{number}.attention"] = tokens
            hidden = nn.functional.gelu(block.mlp.fc1(block.norm2(tokens)))
            expected[f"blocks.{number}.mlp.hidden"] = hidden
            tokens = tokens + block.mlp.fc2(hidden)
            expected[f"blocks.{number}.mlp"] = tokens
        expected["representation"] = network.norm(tokens)[:, 0]
    seen = seen_by_places(network, x)
    seen.pop("patch_embed.proj")
    assert list(seen) == list(expected)
    for name, wanted in expected.items():
        torch.testing.assert_close(seen[name], wanted, msg=name)
    layers = {layer.name: layer for layer in discover_layers(network, x)}
    assert layers["patch_embed.proj"].kind == "embedding"
    assert layers["blocks.2.mlp.hidden"] == ("blocks.2.mlp.hidden", "mlp", 2, (5, 48), False, True)
    assert not layers["representation"].class_token
    weighted = {place.layer.name: place.weighted for place in discover_places(network, x) if place.weighted}
    hidden = {f"blocks.{number}.mlp.hidden": f"blocks.{number}.mlp.fc1" for number in range(3)}
    assert weighted == {"patch_embed.proj": "patch_embed.proj", **hidden}


class Functional(nn.Module):
    """Activations, a pool and a sum that are functions, a shared module, and children in another order than they run."""

    def __init__(self, *, inplace: bool) -> None:
        super().__init__()
        self.head = nn.Linear(4, 3)
        self.second = nn.Conv2d(4, 4, 3, padding=1)
        self.first = nn.Conv2d(3, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.act = nn.ReLU(inplace=inplace)
        self.after = nn.Identity()

    def forward(self, x: Any) -> Any:
        x = self.act(self.norm(self.first(x)))
        y = self.second(x)
        y += x
        y = self.after(self.act(y))
        return self.head(torch.relu(y.mean(dim=(2, 3))))


@pytest.mark.parametrize("inplace", [False, True])
def test_functions_and_work_in_place_are_followed(inplace: bool) -> None:
    network = Functional(inplace=inplace).eval()
    x = torch.randn(2, 3, 5, 5)
    layers = discover_layers(network, x)
    assert [(layer.name, layer.kind, layer.rectified) for layer in layers] == [
        ("first", "convolution", True),
        ("second", "convolution", False),
        ("residual", "residual", True),
        ("representation", "representation", False),
    ]
    with torch.no_grad():
        first = torch.relu(network.norm(network.first(x)))
        second = network.second(first)
    seen = seen_by_places(network, x)
    torch.testing.assert_close(seen["first"], first)
    torch.testing.assert_close(seen["second"], second)
    torch.testing.assert_close(seen["residual"], torch.relu(second + first))


def test_a_perceptron_ends_in_its_representation() -> None:
    network = new_encoder("mlp", seed=0, widths=(10, 8, 6), inputs=5).eval()
    layers = discover_layers(network, torch.rand(2, 5))
    assert [(layer.name, layer.kind, layer.shape, layer.rectified) for layer in layers] == [
        ("body.linear0", "linear", (10,), True),
        ("body.linear1", "linear", (8,), True),
        ("representation", "representation", (6,), True),
    ]
    places = discover_places(network, torch.rand(2, 5))
    assert [place.weighted for place in places] == ["body.linear0", "body.linear1", "body.linear2"]


def test_the_meta_device_tells_the_same_and_one_item_too_little() -> None:
    network = new_encoder("vit", seed=0, width=12, depth=2, heads=3, patch=4, input_size=8)
    real = discover_places(network, torch.rand(2, 3, 8, 8))
    assert network.training
    assert discover_places(network.to("meta"), torch.empty(2, 3, 8, 8, device="meta")) == real
    with pytest.raises(ModelError, match="two items or more"):
        discover_places(network, torch.empty(1, 3, 8, 8, device="meta"))


def test_torch_transformer_layers_are_not_hidden_by_their_fast_path() -> None:
    layer = nn.TransformerEncoderLayer(8, 2, dim_feedforward=16, batch_first=True, norm_first=True, activation="gelu")
    network = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).eval()
    names = [layer.name for layer in discover_layers(network, torch.rand(2, 5, 8))]
    assert names[:2] == ["layers.0.attention", "layers.0.mlp.hidden"]
    assert seen_by_places(network, torch.rand(3, 5, 8)).keys() == set(names)


@pytest.mark.parametrize("name", ["resnet18", "vit_tiny_patch16_224", "swin_tiny_patch4_window7_224"])
def test_networks_of_timm(name: str) -> None:
    timm = pytest.importorskip("timm")
    with torch.device("meta"):
        layers = discover_layers(timm.create_model(name, num_classes=0), torch.empty(2, 3, 224, 224))
    kinds = [layer.kind for layer in layers]
    if name == "resnet18":
        assert (kinds.count("convolution"), kinds.count("pooling"), kinds.count("residual")) == (20, 1, 8)
    else:
        assert kinds.count("attention") == 12


def test_a_last_layer_that_is_only_flattened_comes_once() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 6, 4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    layers = discover_layers(network.eval(), torch.zeros(2, 3, 6, 6))
    assert [(layer.name, layer.shape) for layer in layers] == [("0", (4, 4, 4)), ("representation", (6,))]
    wider = discover_layers(network.eval(), torch.zeros(2, 3, 8, 8))
    assert [layer.name for layer in wider] == ["0", "2", "representation"], "a mean over several places is a layer of its own"
