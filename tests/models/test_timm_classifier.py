from __future__ import annotations

import json
import pickle
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from assaymark.errors import MissingExtra, ModelError
from assaymark.models import capabilities_of, open_model

WEIGHTS = np.array([[4.0, 0.0, -2.0], [-4.0, 1.0, 3.0]], dtype=np.float32)  # (output, channel)


class ScriptedLibrary:
    """The part of timm's interface that the adapter uses: a linear layer on the mean colour."""

    def __init__(self, torch: Any) -> None:
        self.torch, self.created, self.stated = torch, [], []
        self.data = SimpleNamespace(resolve_data_config=self.resolve, create_transform=self.transform)

    def create_model(self, name: str, pretrained: bool, **settings: Any) -> Any:
        torch = self.torch

        class Network(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.head = torch.nn.Linear(3, settings["num_classes"])

            def forward(self, pixels: Any) -> Any:
                return self.head(pixels.mean(dim=(2, 3)))

        assert not pretrained
        self.created.append((name, settings))
        return Network()

    def resolve(self, args: dict[str, Any], pretrained_cfg: dict[str, Any], model: Any) -> dict[str, Any]:
        self.stated.append(pretrained_cfg)
        return {"mean": pretrained_cfg["mean"], "size": pretrained_cfg["input_size"][1]}

    def transform(self, mean: list[float], size: int, is_training: bool) -> Any:
        assert not is_training

        def prepare(image: Image.Image) -> Any:
            pixels = np.asarray(image.resize((size, size)), dtype=np.float32) / 255 - np.array(mean, dtype=np.float32)
            return self.torch.tensor(pixels).permute(2, 0, 1)

        return prepare


@pytest.fixture
def library(torch: Any, monkeypatch: pytest.MonkeyPatch) -> ScriptedLibrary:
    scripted = ScriptedLibrary(torch)
    monkeypatch.setitem(sys.modules, "timm", scripted)
    monkeypatch.setitem(sys.modules, "timm.data", scripted.data)
    return scripted


def save(folder: Path, torch: Any, *, names: Any = ("NSFW", "SFW"), order: tuple[int, ...] = (0, 1), **changes: Any) -> Path:
    from safetensors.torch import save_file

    folder.mkdir()
    tensors = {"head.weight": torch.tensor(WEIGHTS[list(order)]), "head.bias": torch.zeros(len(order))}
    save_file(tensors, folder / "model.safetensors")
    config = {
        "architecture": "vit_tiny_patch16_384",
        "num_classes": len(order),
        "label_names": names,
        "model_args": {"img_size": 8},
        "pretrained_cfg": {"input_size": [3, 8, 8], "mean": [0.5, 0.4, 0.3]},
        **changes,
    }
    (folder / "config.json").write_text(json.dumps({name: value for name, value in config.items() if value is not None}))
    return folder


def colours() -> tuple[list[Image.Image], np.ndarray]:
    values = np.array([[255, 0, 0], [0, 255, 0], [10, 20, 250]])
    return [Image.new("RGB", (9, 12), tuple(map(int, value))) for value in values], values / 255


def test_scores_of_named_outputs_in_any_order(tmp_path: Path, torch: Any, library: ScriptedLibrary) -> None:
    images, pixels = colours()
    logits = (pixels - [0.5, 0.4, 0.3]) @ WEIGHTS.T
    expected = 1 / (1 + np.exp(logits[:, 1] - logits[:, 0]))  # of the first output, NSFW
    model = open_model(f"timm:{save(tmp_path / 'one', torch)}", batch_size=2)
    assert library.created == []
    assert capabilities_of(model) == ("scores-images",)
    assert model.labels == ("unsafe",)
    np.testing.assert_allclose(model.score_images(images)[:, 0], expected, atol=1e-5)
    assert library.created == [("vit_tiny_patch16_384", {"num_classes": 2, "img_size": 8})]
    for number, (names, order) in enumerate([(("SFW", "NSFW"), (1, 0)), ({"1": "nsfw", "0": "sfw"}, (1, 0))]):
        other = open_model(f"timm:{save(tmp_path / f'other{number}', torch, names=names, order=order)}")
        np.testing.assert_allclose(other.score_images(images)[:, 0], expected, atol=1e-5)
    every = open_model("timm:./one?unsafe=none", base=tmp_path)
    assert every.labels == ("NSFW", "SFW")
    np.testing.assert_allclose(every.score_images(images)[:, 0], expected, atol=1e-5)
    assert every.fingerprint != model.fingerprint
    assert model.score_images([]).shape == (0, 1)
    copy = pickle.loads(pickle.dumps(model))
    assert (copy.fingerprint, copy._parts) == (model.fingerprint, None)
    np.testing.assert_array_equal(copy.score_images(images), model.score_images(images))


def test_older_folders_and_folders_without_names(tmp_path: Path, torch: Any, library: ScriptedLibrary) -> None:
    images, _ = colours()
    flat = {"input_size": [3, 8, 8], "mean": [0.5, 0.4, 0.3], "pretrained_cfg": None, "labels": ["nsfw", "sfw"]}
    older = open_model(f"timm:{save(tmp_path / 'older', torch, names=None, **flat)}")
    newer = open_model(f"timm:{save(tmp_path / 'newer', torch)}")
    np.testing.assert_allclose(older.score_images(images), newer.score_images(images), atol=1e-6)
    bare = open_model(f"timm:{save(tmp_path / 'bare', torch, names=None)}")
    assert bare.labels == ("output_0", "output_1")
    assert "unsafe=a,b" in bare.notes[0]
    stated = open_model("timm:bare?unsafe=output_0&multi_label=true", base=tmp_path)
    assert "'unsafe' is its output_0" in stated.notes[0]


def test_mistakes_are_named(tmp_path: Path, torch: Any, library: ScriptedLibrary) -> None:
    for number, (changes, message) in enumerate(
        [
            ({"architecture": None}, "names no timm architecture"),
            ({"names": ("a", "a")}, "must give each of its 2 outputs a name"),
            ({"names": ("a", "b", "c")}, "must give each of its 2 outputs a name"),
        ]
    ):
        with pytest.raises(ModelError, match=message):
            open_model(f"timm:{save(tmp_path / str(number), torch, **changes)}")
    with pytest.raises(ModelError, match=r"neither a hub id \(timm:org/name"):
        open_model("timm:org/name/more/parts")
    with pytest.raises(ModelError, match="a timm model is written timm:"):
        open_model(str(save(tmp_path / "hf", torch)))
    folder = save(tmp_path / "broken", torch)
    from safetensors.torch import save_file

    save_file({"head.weight": torch.zeros(2, 3)}, folder / "model.safetensors")
    with pytest.raises(ModelError, match="its weights cannot be loaded"):
        open_model(f"timm:{folder}").score_images(colours()[0])


def test_without_the_library_the_install_line_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(MissingExtra, match=r"timm:org/name needs.*pip install 'assaymark\[openclip\]'"):
        open_model("timm:org/name")
