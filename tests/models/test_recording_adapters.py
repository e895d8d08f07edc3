from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from assaymark.audit import ModelRole
from assaymark.errors import ModelError
from assaymark.models import capabilities_of, open_model, open_role
from assaymark.models.layer_patterns import matching_layers, same_architecture

Saver = Callable[..., Path]
ROLE = ModelRole("encoder", "is looked into", any_of=("records-activations",))
DECODER = {f"decoder_{name}": 2 for name in ("num_hidden_layers", "num_attention_heads")} | {"decoder_hidden_size": 16}


def recorded(model: Any, images: list[Image.Image]) -> dict[str, np.ndarray]:
    seen: dict[str, np.ndarray] = {}
    names = [layer.name for layer in model.layers]
    model.record(model.raw_pixels(images), names, lambda name, output: seen.update({name: output.cpu().numpy().copy()}))
    assert list(seen) == names
    for layer in model.layers:
        assert seen[layer.name].shape == (len(images), *layer.shape)
        assert not layer.rectified or seen[layer.name].min() >= 0
    return seen


def recorded_texts(model: Any, texts: list[str]) -> dict[str, np.ndarray]:
    seen: dict[str, np.ndarray] = {}
    names = [layer.name for layer in model.text_layers]
    model.record_texts(texts, names, lambda name, output: seen.update({name: output.cpu().numpy().copy()}))
    for layer in model.text_layers:
        assert seen[layer.name].shape == (len(texts), *layer.shape)
    return seen


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.parametrize(
    ("class_name", "rows"),
    [
        ("ViTModel", 8),
        ("Dinov2Model", 8),
        ("ResNetModel", 10),
        ("ViTForImageClassification", 8),
        ("ResNetForImageClassification", 10),
        ("ViTMAEForPreTraining", 8),
    ],
)
def test_the_last_layer_is_what_is_embedded(
    vision_model: Saver, pictures: list[Image.Image], class_name: str, rows: int
) -> None:
    folder = vision_model(class_name, **(DECODER if class_name.startswith("ViTMAE") else {}))
    opened = open_model(f"hf:{folder}", batch_size=2)
    assert {"embeds-images", "records-activations"} <= set(capabilities_of(opened))
    assert len(opened.layers) == rows
    assert opened._parts is None  # what it can do is known without its weights
    model = pickle.loads(pickle.dumps(opened))
    assert model.layers == opened.layers
    seen = recorded(model, pictures)
    np.testing.assert_allclose(unit(seen["representation"]), model.embed_images(pictures), atol=1e-5)
    pixels = model.raw_pixels(pictures)
    assert pixels.min() >= 0 and pixels.max() <= 1 and pixels.dtype.is_floating_point
    for row in (0, len(pictures) - 1):
        for name, output in recorded(model, pictures[row : row + 1]).items():
            np.testing.assert_allclose(output[0], seen[name][row], atol=1e-5)


def test_masked_autoencoders_see_every_patch_in_place(vision_model: Saver, torch: Any, pictures: list[Image.Image]) -> None:
    model = open_model(f"hf:{vision_model('ViTMAEForPreTraining', **DECODER)}")
    body = model._loaded().features.body
    with torch.no_grad():
        patches = body.embeddings.patch_embeddings(model.prepare_images(pictures)) + body.embeddings.position_embeddings[:, 1:]
    seen: dict[str, Any] = {}
    from assaymark.models.activation_recorder import recording

    with recording(body, ["embeddings"], lambda name, output: seen.update({name: output.clone()})):
        model._loaded().features(model.prepare_images(pictures))
    torch.testing.assert_close(seen["embeddings"][:, 1:], patches)


@pytest.mark.parametrize("class_name", ["ViTModel", "Dinov2Model"])
def test_blocks_equal_the_hidden_states_of_transformers(
    vision_model: Saver, torch: Any, pictures: list[Image.Image], class_name: str
) -> None:
    import transformers

    folder = vision_model(class_name)
    model = open_model(f"hf:{folder}")
    seen = recorded(model, pictures)
    network = getattr(transformers, class_name).from_pretrained(folder).eval()
    with torch.no_grad():
        states = network(model.prepare_images(pictures), output_hidden_states=True).hidden_states
    outputs = matching_layers(model.layers, ["block"])
    assert [layer.kind for layer in outputs] == ["mlp", "mlp"] and all(layer.class_token for layer in outputs)
    for layer, state in zip(outputs, states[1:], strict=True):
        np.testing.assert_allclose(seen[layer.name], state, atol=1e-5)


@pytest.mark.parametrize("family", ["clip", "siglip"])
def test_towers_of_dual_encoders(
    dual_encoder: Saver, torch: Any, family: str, pictures: list[Image.Image], texts: list[str]
) -> None:
    import transformers

    folder = dual_encoder(family)
    model = open_model(f"hf:{folder}")
    np.testing.assert_allclose(unit(recorded(model, pictures)["representation"]), model.embed_images(pictures), atol=1e-5)
    seen = recorded_texts(model, texts)
    np.testing.assert_allclose(unit(seen["representation"]), model.embed_texts(texts), atol=1e-5)
    assert model.layers[-1].shape == model.text_layers[-1].shape == (model.dimension,)
    assert not any(layer.class_token for layer in model.text_layers)
    # Each text alone, unpadded (SigLIP: padded as it was trained), out of transformers itself.
    network = transformers.AutoModel.from_pretrained(folder).eval().text_model
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    padding = "max_length" if family == "siglip" else False
    outputs = matching_layers(model.text_layers, ["block"])
    for row, text in enumerate(texts):
        tokens = tokenizer([text], padding=padding, truncation=True, max_length=12, return_tensors="pt")
        length = int(tokens["attention_mask"].sum())
        with torch.no_grad():
            states = network(input_ids=tokens["input_ids"], output_hidden_states=True).hidden_states
        for layer, state in zip(outputs, states[1:], strict=True):
            np.testing.assert_allclose(seen[layer.name][row, :length], state[0, :length], atol=1e-5)
            assert not seen[layer.name][row, length:].any()


def test_texts_that_are_cut_are_counted_once(dual_encoder: Saver) -> None:
    model = open_model(f"hf:{dual_encoder('clip')}")
    long = "a cat sat on the mat and a dog sat on the cat"
    model.embed_texts(["a cat", "very good"])
    assert model.notes == ()
    for _ in range(2):
        model.embed_texts([long, "a cat", long])
    recorded_texts(model, [long + " and it is good"])
    assert model.notes == ("different texts longer than the 12 tokens that it reads, which were cut: 2",)


@pytest.mark.parametrize("architecture", ["resnet9", "vit"])
def test_encoders_trained_here(tmp_path: Path, torch: Any, pictures: list[Image.Image], architecture: str) -> None:
    from assaymark.models.encoder_architectures import new_encoder
    from assaymark.models.trained_encoder import save_encoder

    small = {"vit": {"width": 12, "depth": 2, "patch": 4}, "resnet9": {"width": 2}}[architecture]
    for name, seed in (("f", 0), ("g", 1)):
        network = new_encoder(architecture, seed=seed, input_size=16, **small)
        save_encoder(tmp_path / f"{name}.safetensors", network, mean=(0.5, 0.4, 0.3), std=(0.2, 0.25, 0.3))
    f, g = (open_model(str(tmp_path / f"{name}.safetensors")) for name in "fg")
    same_architecture(f.layers, g.layers)
    assert f._network is None
    np.testing.assert_allclose(unit(recorded(f, pictures)["representation"]), f.embed_images(pictures), atol=1e-5)
    with pytest.raises(ModelError, match=r"unknown layer 'representatoin' - did you mean 'representation'"):
        f.record(f.raw_pixels(pictures), ["representatoin"], lambda *_: None)


def test_a_role_hands_recording_through_and_nothing_else(
    vision_model: Saver, dual_encoder: Saver, pictures: list[Image.Image], texts: list[str]
) -> None:
    role = open_role(ROLE, f"hf:{vision_model('ViTModel')}")
    assert role.capabilities == ("records-activations",)
    seen = recorded(role, pictures)
    assert (role.calls, role.cached) == (0, 0)
    assert role.dimension == seen["representation"].shape[1]
    with pytest.raises(AttributeError, match="not part of what the role 'encoder' declares"):
        role.embed_images(pictures)
    both = ModelRole("dual", "both", all_of=("records-activations", "records-text-activations"))
    dual = open_role(both, f"hf:{dual_encoder('clip')}")
    assert recorded_texts(dual, texts)["representation"].shape == (len(texts), dual.dimension)
    with pytest.raises(ModelError, match="it lacks records-text-activations; it offers"):
        open_role(both, f"hf:{vision_model('ViTModel', name='other')}")


def test_a_processor_that_does_more_than_normalise_is_refused(vision_model: Saver, pictures: list[Image.Image]) -> None:
    folder = vision_model("ViTModel")
    path = folder / "preprocessor_config.json"
    settings = json.loads(path.read_text())
    path.write_text(json.dumps(settings | {"rescale_factor": 1 / 127.5, "image_mean": [1.0, 0.9, 1.1]}))
    model = open_model(f"hf:{folder}")
    np.testing.assert_allclose(unit(recorded(model, pictures)["representation"]), model.embed_images(pictures), atol=1e-5)
    processor = model._loaded().image_processor

    class Odd:
        def __getattr__(self, name: str) -> Any:
            return getattr(processor, name)

        def __call__(self, images: Any, **settings: Any) -> Any:
            made = processor(images, **settings)
            return made if settings.get("do_normalize") is False else {"pixel_values": made["pixel_values"] ** 2}

    model = open_model(f"hf:{folder}")
    model._parts = model._loaded()._replace(image_processor=Odd())
    with pytest.raises(ModelError, match="does more than rescale and normalise"):
        recorded(model, pictures)


def test_a_network_whose_layers_cannot_be_found_lacks_the_capability_and_says_why(vision_model: Saver) -> None:
    folder = vision_model("ViTModel")
    path = folder / "preprocessor_config.json"
    path.write_text(path.read_text().replace('"height": 16', '"height": 24'))
    model = open_model(f"hf:{folder}")
    assert capabilities_of(model) == ("embeds-images", "trains-images")
    with pytest.raises(ModelError, match=r"lacks records-activations.*its layers cannot be loaded \(ValueError: Input"):
        open_role(ModelRole("encoder", "is looked into", all_of=("records-activations",)), f"hf:{folder}")


def test_weights_that_are_no_numbers_are_counted(vision_model: Saver, torch: Any, pictures: list[Image.Image]) -> None:
    from safetensors.torch import load_file, save_file

    folder = vision_model("ViTModel")
    weights = load_file(folder / "model.safetensors")
    weights["layernorm.bias"][:3] = float("nan")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    model = open_model(f"hf:{folder}")
    assert np.isnan(recorded(model, pictures)["representation"]).any()
    assert model.notes[0].startswith("3 of ") and "not finite, in layernorm.bias" in model.notes[0]


def test_a_module_of_the_callers_own(tmp_path: Path, torch: Any, pictures: list[Image.Image]) -> None:
    from assaymark.models.encoder_architectures import new_encoder
    from assaymark.models.square_encoder import ModuleEncoder
    from assaymark.models.trained_encoder import save_encoder

    module = new_encoder("resnet9", seed=0, width=2, input_size=16)
    settings: dict[str, Any] = {"mean": (0.5, 0.4, 0.3), "std": (0.2, 0.25, 0.3)}
    save_encoder(tmp_path / "net.safetensors", module, **settings)
    filed = open_model(str(tmp_path / "net.safetensors"))
    model = ModuleEncoder(module, input_size=16, **settings)
    assert "modules were in training mode, 8 of them batch normalisations: switched to evaluation" in model.notes[0]
    before = {name: value.clone() for name, value in module.state_dict().items()}
    role = open_role(ModelRole("encoder", "is looked into", all_of=("records-activations", "embeds-images")), model)
    assert role.layers == filed.layers and role.notes == model.notes and role.dimension == 16
    for name, output in recorded(role, pictures).items():
        np.testing.assert_array_equal(output, recorded(filed, pictures)[name])
    np.testing.assert_allclose(role.embed_images(pictures), filed.embed_images(pictures), atol=1e-6)
    assert module.training and all(torch.equal(before[name], value) for name, value in module.state_dict().items())
    assert pickle.loads(pickle.dumps(model)).fingerprint == model.fingerprint
    with torch.no_grad():
        module.body.layer2.norm.running_mean[0] += 1e-3
    assert ModuleEncoder(module.eval(), input_size=16, **settings).fingerprint != model.fingerprint
    assert ModuleEncoder(module, input_size=16, **settings).notes == ()


def test_a_timm_encoder(tmp_path: Path, torch: Any, pictures: list[Image.Image]) -> None:
    timm = pytest.importorskip("timm")
    from safetensors.torch import save_file

    for classes in (0, 3):
        network = timm.create_model("resnet18", num_classes=classes)
        folder = tmp_path / str(classes)
        folder.mkdir()
        save_file(network.state_dict(), folder / "model.safetensors")
        config = {"architecture": "resnet18", "num_classes": classes, "label_names": ["a", "b", "c"][:classes]}
        config["pretrained_cfg"] = {"input_size": [3, 64, 64], "mean": [0.5, 0.4, 0.3], "std": [0.2, 0.3, 0.4]}
        (folder / "config.json").write_text(json.dumps(config))
    model = open_model(f"timm:{tmp_path}/0")
    assert capabilities_of(model) == ("embeds-images", "trains-images", "records-activations")
    np.testing.assert_allclose(unit(recorded(model, pictures)["representation"]), model.embed_images(pictures), atol=1e-5)
    assert capabilities_of(open_model(f"timm:{tmp_path}/3")) == ("scores-images",)
    headless = open_model(f"timm:{tmp_path}/3?task=encoder")
    assert headless.embed_images(pictures).shape == (len(pictures), 512)
    assert headless.notes == ("fc.bias, fc.weight of the file are no part of the encoder and are not used",)
    with pytest.raises(ModelError, match="unknown task 'encode' - did you mean 'encoder'"):
        open_model(f"timm:{tmp_path}/3?task=encode")


def test_weights_of_timm_open_without_it_too(tmp_path: Path, torch: Any, pictures: list[Image.Image]) -> None:
    timm = pytest.importorskip("timm")
    network = timm.create_model("vit_tiny_patch16_224", num_classes=0).eval()
    torch.save({"model": network.state_dict()}, tmp_path / "weights.pth")
    options = "architecture=vit&patch=16&width=192&depth=12&heads=3&input_size=224&mean=0&std=1"
    model = open_model(f"encoder:{tmp_path}/weights.pth?{options}")
    with torch.no_grad():
        expected = network(model.prepare_images(pictures)).numpy()
    np.testing.assert_allclose(model.embed_images(pictures), unit(expected), atol=1e-5)


def test_a_network_of_timm_trained_by_others_or_here(tmp_path: Path, torch: Any, pictures: list[Image.Image]) -> None:
    timm = pytest.importorskip("timm")
    from assaymark.models.encoder_architectures import new_encoder
    from assaymark.models.trained_encoder import save_encoder

    network = timm.create_model("resnet18", num_classes=0).eval()
    torch.save({"state_dict": {f"backbone.{k}": v for k, v in network.state_dict().items()}}, tmp_path / "solo.ckpt")
    model = open_model(f"encoder:{tmp_path}/solo.ckpt?architecture=timm&name=resnet18&input_size=64&mean=0&std=1")
    with torch.no_grad():
        expected = unit(network(model.prepare_images(pictures)).numpy())
    np.testing.assert_allclose(model.embed_images(pictures), expected, atol=1e-5)
    assert (model.dimension, len(model.layers)) == (512, 30)
    own = new_encoder("timm", seed=0, name="resnet18", input_size=32)
    save_encoder(tmp_path / "own.safetensors", own, mean=(0.5,) * 3, std=(0.5,) * 3)
    assert open_model(str(tmp_path / "own.safetensors")).embed_images(pictures).shape == (len(pictures), 512)
    with pytest.raises(ModelError, match="its architecture cannot be loaded"):
        new_encoder("timm", seed=0, name="resnet1")
