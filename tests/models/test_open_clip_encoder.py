from __future__ import annotations

import pickle
import sys
from typing import Any

import numpy as np
import pytest
from PIL import Image

from assaymark.errors import MissingExtra, ModelError
from assaymark.models import capabilities_of, open_model


def test_without_the_library_the_install_line_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "open_clip", None)
    with pytest.raises(MissingExtra, match=r"openclip:ViT-B-32/openai needs.*pip install 'assaymark\[openclip\]'"):
        open_model("openclip:ViT-B-32/openai")


def test_unknown_architectures_and_tags_are_named() -> None:
    pytest.importorskip("open_clip")
    with pytest.raises(ModelError, match="unknown open_clip architecture 'ViT-B-23'"):
        open_model("openclip:ViT-B-23/openai")
    with pytest.raises(ModelError, match="unknown open_clip weights of ViT-B-32 'opennai'"):
        open_model("openclip:ViT-B-32/opennai")


def test_random_weights_give_unit_vectors(monkeypatch: pytest.MonkeyPatch) -> None:
    open_clip = pytest.importorskip("open_clip")
    create = open_clip.create_model_and_transforms
    monkeypatch.setattr(open_clip, "create_model_and_transforms", lambda name, **kwargs: create(name, device="cpu"))
    model = open_model("openclip:RN50/openai")
    vectors = [model.embed_images([Image.new("RGB", (20, 30))]), model.embed_texts(["a cat", "a dog"])]
    for vector in vectors:
        assert vector.shape[1] == model.dimension
        np.testing.assert_allclose(np.linalg.norm(vector, axis=1), 1, atol=1e-5)
    assert model.logit_scale == pytest.approx(1 / 0.07, rel=1e-4)
    seen: dict[str, Any] = {}
    pixels = model.raw_pixels([Image.new("RGB", (20, 30))])
    model.record(pixels, ["representation"], lambda name, output: seen.update(image=output.clone()))
    names = ["representation", model.text_layers[0].name]
    model.record_texts(["a cat", "a dog", "!"], names, lambda name, output: seen.update({name: output.clone()}))
    unit = [(part / part.norm(dim=1, keepdim=True)).numpy() for part in (seen["image"], seen["representation"])]
    np.testing.assert_allclose(unit[0], vectors[0], atol=1e-5)
    np.testing.assert_allclose(unit[1][:2], vectors[1], atol=1e-5)
    assert (seen[names[1]] != 0).any(dim=2).sum(dim=1).tolist() == [4, 4, 3]  # start and end among them


class ScriptedLibrary:
    """The part of open_clip's interface that the adapter uses, with a model that embeds by brightness and length."""

    def __init__(self, torch: Any) -> None:
        self.torch, self.created = torch, []

    def list_models(self) -> list[str]:
        return ["ViT-B-32"]

    def list_pretrained_tags_by_model(self, name: str) -> list[str]:
        return ["openai", "laion2b_s34b_b79k"]

    def get_model_config(self, name: str) -> dict[str, int]:
        return {"embed_dim": 2}

    def get_pretrained_cfg(self, name: str, tag: str) -> dict[str, bool]:
        return {"quick_gelu": True} if tag == "openai" else {}

    def get_tokenizer(self, name: str) -> Any:
        return lambda texts: self.torch.tensor([[len(text)] for text in texts])

    def create_model_and_transforms(self, name: str, **settings: Any) -> tuple[Any, None, Any]:
        torch, library = self.torch, self

        class Encoder(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.logit_scale = torch.nn.Parameter(torch.tensor(4.0))

            def encode_image(self, pixels: Any, normalize: bool) -> Any:
                return library.on_circle(pixels.mean(dim=(1, 2, 3)))

            def encode_text(self, tokens: Any, normalize: bool) -> Any:
                return library.on_circle(tokens[:, 0] / 10)

        self.created.append((name, settings))
        return Encoder(), None, lambda image: torch.tensor(np.asarray(image, dtype=np.float32) / 255).permute(2, 0, 1)

    def on_circle(self, angle: Any) -> Any:
        return self.torch.stack([angle.cos(), angle.sin()], dim=1)


def test_the_adapter_against_a_scripted_library(torch: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    library = ScriptedLibrary(torch)
    monkeypatch.setitem(sys.modules, "open_clip", library)
    model = open_model("openclip:ViT-B-32/openai", batch_size=2)
    assert library.created == []
    images = [Image.new("RGB", (4, 4), (level, level, level)) for level in (0, 100, 255)]
    angles = np.array([0, 100, 255]) / 255
    np.testing.assert_allclose(model.embed_images(images), np.stack([np.cos(angles), np.sin(angles)], axis=1), atol=1e-6)
    np.testing.assert_allclose(model.embed_texts(["", "abc", None])[:, 1], np.sin([0, 0.3, 0]), atol=1e-6)
    assert model.embed_images([]).shape == model.embed_texts([]).shape == (0, 2)
    assert model.logit_scale == pytest.approx(np.exp(4), rel=1e-6)
    assert capabilities_of(model) == ("embeds-images", "embeds-texts")
    ((name, settings),) = library.created
    assert (name, settings["pretrained"], settings["load_weights_only"]) == ("ViT-B-32", "openai", True)
    assert settings["force_quick_gelu"]
    other = open_model("openclip:ViT-B-32/laion2b_s34b_b79k")
    other.embed_texts(["a"])
    assert not library.created[1][1]["force_quick_gelu"]
    assert other.fingerprint != model.fingerprint
    copy = pickle.loads(pickle.dumps(model))
    assert (copy.fingerprint, copy._parts) == (model.fingerprint, None)
    np.testing.assert_array_equal(copy.embed_texts(["abc"]), model.embed_texts(["abc"]))
    with pytest.raises(ModelError, match="unknown open_clip weights of ViT-B-32 'opennai' - did you mean 'openai'"):
        open_model("openclip:ViT-B-32/opennai")
