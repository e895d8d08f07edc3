from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from assaymark.errors import ConfigError, ModelError
from assaymark.models import capabilities_of, open_model
from assaymark.models.convnet import ConvNetSpec, build_convnet, network_pixels, save_convnet

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)


def saved(path: Path, *, seed: int = 0, labels: tuple[str, ...] = ("unsafe",), **layout: Any) -> Any:
    spec = ConvNetSpec(**{"depth": 3, "width": 4, "input_size": 16, "classes": len(labels), **layout})
    network = build_convnet(spec, seed=seed)
    save_convnet(path, network, spec=spec, labels=labels, mean=MEAN, std=STD)
    return network.eval()


def by_hand(network: Any, images: list[Image.Image], *, size: int = 16) -> np.ndarray:
    """One picture at a time, layer by layer in numpy where it is easy: convolutions stay torch's."""
    import torch

    rows = []
    for image in images:
        pixels = np.asarray(image.convert("RGB").resize((size, size), Image.Resampling.BICUBIC), dtype=np.float64) / 255
        x = torch.from_numpy((pixels - MEAN) / STD).permute(2, 0, 1)[None].float()
        for layer in network:
            if isinstance(layer, torch.nn.AdaptiveAvgPool2d):
                x = x.mean(dim=(2, 3))
            elif isinstance(layer, torch.nn.BatchNorm2d):
                mean, var = layer.running_mean[:, None, None], layer.running_var[:, None, None]
                x = (x - mean) / (var + layer.eps).sqrt() * layer.weight[:, None, None] + layer.bias[:, None, None]
            elif not isinstance(layer, torch.nn.Dropout):
                x = layer(x)
        rows.append(x.detach().numpy()[0])
    return np.array(rows)


@pytest.mark.parametrize("activation", ["relu", "prelu"])
@pytest.mark.parametrize("labels", [("unsafe",), ("plain", "striped", "dotted")])
def test_scores_equal_the_layers_by_hand(
    tmp_path: Path, torch: Any, pictures: list[Image.Image], labels: tuple[str, ...], activation: str
) -> None:
    network = saved(tmp_path / "net.safetensors", labels=labels, activation=activation, kernel=5)
    model = open_model("convnet:net.safetensors", base=tmp_path, batch_size=2)
    assert capabilities_of(model) == ("scores-images",)
    assert (model.labels, model.multi_label) == (labels, len(labels) == 1)
    logits = by_hand(network, pictures)
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    expected = 1 / (1 + np.exp(-logits)) if len(labels) == 1 else powers / powers.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(model.score_images(pictures), expected, atol=1e-5)
    assert model.score_images([]).shape == (0, len(labels))


def test_layout_of_the_family(torch: Any) -> None:
    network = build_convnet(ConvNetSpec(depth=5, width=16, kernel=3, input_size=64, classes=2), seed=0)
    convolutions = [layer for layer in network if isinstance(layer, torch.nn.Conv2d)]
    assert [layer.out_channels for layer in convolutions] == [16, 16, 32, 32, 64, 64, 128, 128, 128, 128]
    assert [type(layer).__name__ for layer in network[-4:]] == ["AdaptiveAvgPool2d", "Flatten", "Dropout", "Linear"]
    assert network[-2].p == 0.5
    assert network(torch.zeros(2, 3, 64, 64)).shape == (2, 2)


def test_seed_decides_the_weights_and_nothing_global_moves(torch: Any) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    a, b, c = (build_convnet(ConvNetSpec(width=4), seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.rand(3), expected)
    assert torch.equal(a[0].weight, b[0].weight)
    assert not torch.equal(a[0].weight, c[0].weight)


def test_pickles_without_weights_and_tells_files_apart(tmp_path: Path, torch: Any, pictures: list[Image.Image]) -> None:
    saved(tmp_path / "a.safetensors", seed=0, width=16, depth=4)
    saved(tmp_path / "b.safetensors", seed=1, width=16, depth=4)
    model, other = (open_model(f"convnet:{tmp_path / name}.safetensors") for name in "ab")
    assert model.fingerprint != other.fingerprint
    scores = model.score_images(pictures)
    shipped = pickle.dumps(model)
    assert len(shipped) < 5_000 < (tmp_path / "a.safetensors").stat().st_size
    np.testing.assert_array_equal(pickle.loads(shipped).score_images(pictures), scores)
    assert not np.allclose(scores, other.score_images(pictures))


def test_any_mode_and_size_becomes_rgb_squares() -> None:
    images = [Image.new(mode, size, 0) for mode in ("L", "RGBA", "CMYK", "P", "1", "I;16") for size in ((1, 1), (40, 7))]
    assert network_pixels(images, 12).shape == (12, 12, 12, 3)
    assert network_pixels([], 12).shape == (0, 12, 12, 3)


def test_files_from_elsewhere_are_refused(tmp_path: Path, torch: Any) -> None:
    from safetensors.torch import save_file

    def opening(name: str, match: str) -> None:
        with pytest.raises(ModelError, match=match):
            open_model(f"convnet:{tmp_path / name}").score_images([Image.new("RGB", (9, 9))])

    opening("absent.safetensors", "no file")
    (tmp_path / "text.safetensors").write_text("nothing of the kind, and rather short")
    opening("text.safetensors", "not a safetensors file")
    save_file({"x": torch.zeros(2)}, tmp_path / "other.safetensors")
    opening("other.safetensors", "no network of ours")
    facts = '{"layout": {"depth": 3, "width": 4, "input_size": 16}, "labels": ["a", "b"], "mean": [0,0,0], "std": [1,1,1]}'
    metadata = {"format": "assaymark-convnet 1", "facts": facts}
    save_file({"x": torch.zeros(2)}, tmp_path / "labels.safetensors", metadata=metadata)
    opening("labels.safetensors", "do not fit together")
    save_file(
        {"x": torch.zeros(2)}, tmp_path / "weights.safetensors", metadata={**metadata, "facts": facts.replace(', "b"', "")}
    )
    opening("weights.safetensors", "do not fit its layout")


def test_impossible_layouts_are_named() -> None:
    for layout, match in (
        ({"depth": 6, "input_size": 32}, "outlast"),
        ({"kernel": 4}, "odd"),
        ({"activation": "gelu"}, "prelu"),
        ({"width": 0}, "at least 1"),
    ):
        with pytest.raises(ConfigError, match=match):
            ConvNetSpec(**layout)  # type: ignore[arg-type]
