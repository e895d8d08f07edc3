from __future__ import annotations

import json
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from assaymark.errors import ConfigError, MissingExtra, ModelError
from assaymark.models import capabilities_of, open_model

VIT = "ViTForImageClassification"
FIVE = ("drawings", "hentai", "neutral", "porn", "sexy")


def named(labels: tuple[str, ...]) -> dict[str, Any]:
    return {"id2label": dict(enumerate(labels)), "label2id": {label: index for index, label in enumerate(labels)}}


def permuted(folder: Path, target: Path, order: list[int]) -> Path:
    """The same classifier with its outputs in another order; config.json lists them from the last to the first."""
    from safetensors.torch import load_file, save_file

    target.mkdir()
    weights = load_file(folder / "model.safetensors")
    for name in ("classifier.weight", "classifier.bias"):
        weights[name] = weights[name][order].clone()
    save_file(weights, target / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    labels = config["id2label"]
    config["id2label"] = {str(index): labels[str(order[index])] for index in reversed(range(len(order)))}
    config["label2id"] = {label: int(index) for index, label in config["id2label"].items()}
    (target / "config.json").write_text(json.dumps(config))
    (target / "preprocessor_config.json").write_bytes((folder / "preprocessor_config.json").read_bytes())
    return target


def reference_logits(folder: Path, images: list[Image.Image]) -> np.ndarray:
    """Outputs of transformers itself, on pixels prepared by hand."""
    import torch
    from transformers import AutoModelForImageClassification

    square = [image.convert("RGB").resize((16, 16), Image.Resampling.BILINEAR) for image in images]
    pixels = np.stack([(np.asarray(image, dtype=np.float32) / 255 - 0.5) / 0.5 for image in square]).transpose(0, 3, 1, 2)
    model = AutoModelForImageClassification.from_pretrained(folder, use_safetensors=True).eval()
    with torch.no_grad():
        return model(pixel_values=torch.tensor(pixels)).logits.numpy()


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("labels", [("normal", "nsfw"), ("NSFW", "SFW"), ("neutral", "low", "medium", "high"), FIVE])
def test_a_permuted_id2label_gives_the_same_unsafe_probability(
    vision_model: Callable[..., Path], pictures: list[Image.Image], tmp_path: Path, labels: tuple[str, ...]
) -> None:
    folder = vision_model(VIT, initializer_range=0.5, **named(labels))
    positive = {"nsfw", "medium", "high", "hentai", "porn", "sexy"}
    logits = reference_logits(folder, pictures)
    expected = softmax(logits)[:, [label.lower() in positive for label in labels]].sum(axis=1)
    assert np.ptp(expected) > 0.02
    model = open_model(str(folder), batch_size=2)
    assert (model.labels, model.multi_label) == (("unsafe",), True)
    np.testing.assert_allclose(model.score_images(pictures)[:, 0], expected, atol=1e-5)
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(len(labels)).tolist()
        other = open_model(str(permuted(folder, tmp_path / f"permuted{seed}", order)))
        np.testing.assert_allclose(other.score_images(pictures)[:, 0], expected, atol=1e-5)


def test_the_note_says_what_was_summed(vision_model: Callable[..., Path]) -> None:
    folder = vision_model(VIT, **named(FIVE))
    assert "the sum of hentai, porn, sexy" in open_model(str(folder)).notes[0]
    narrow = open_model(f"hf:{folder}?unsafe=Porn,hentai")
    assert "the sum of hentai, porn" in narrow.notes[0]
    assert "sexy" not in narrow.notes[0]
    every = open_model(f"hf:{folder}?unsafe=none")
    assert (every.labels, every.notes, every.multi_label) == (FIVE, (), False)
    prints = {open_model(f"hf:{folder}{option}").fingerprint for option in ("", "?unsafe=porn,hentai", "?unsafe=none")}
    assert len(prints) == 3


def test_unknown_labels_are_kept_with_a_note(vision_model: Callable[..., Path], pictures: list[Image.Image]) -> None:
    folder = vision_model(VIT, **named(("cat", "dog", "gun")))
    model = open_model(str(folder))
    assert model.labels == ("cat", "dog", "gun")
    assert "unsafe=a,b" in model.notes[0]
    np.testing.assert_allclose(model.score_images(pictures), softmax(reference_logits(folder, pictures)), atol=1e-5)
    stated = open_model(f"hf:{folder}?unsafe=gun")
    np.testing.assert_allclose(stated.score_images(pictures)[:, 0], model.score_images(pictures)[:, 2], atol=1e-6)
    with pytest.raises(ModelError, match="unknown label 'gan' - did you mean 'gun'"):
        open_model(f"hf:{folder}?unsafe=gan")
    with pytest.raises(ConfigError, match="unsafe= names no label"):
        open_model(f"hf:{folder}?unsafe=")


def test_independent_labels_take_a_sigmoid_and_the_maximum(
    vision_model: Callable[..., Path], pictures: list[Image.Image]
) -> None:
    folder = vision_model(VIT, problem_type="multi_label_classification", initializer_range=0.5, **named(FIVE))
    probabilities = 1 / (1 + np.exp(-reference_logits(folder, pictures)))
    np.testing.assert_allclose(
        open_model(str(folder)).score_images(pictures)[:, 0], probabilities[:, [1, 3, 4]].max(axis=1), atol=1e-5
    )
    every = open_model(f"hf:{folder}?unsafe=none")
    assert every.multi_label
    np.testing.assert_allclose(every.score_images(pictures), probabilities, atol=1e-5)
    single = vision_model(VIT, "single", initializer_range=0.5, **named(("nsfw",)))
    expected = 1 / (1 + np.exp(-reference_logits(single, pictures)))
    np.testing.assert_allclose(open_model(str(single)).score_images(pictures), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("class_name", "dimension"),
    [(VIT, 16), ("ResNetForImageClassification", 12), ("CLIPForImageClassification", 16), ("Dinov2ForImageClassification", 32)],
)
def test_features_are_what_the_head_reads(
    vision_model: Callable[..., Path], pictures: list[Image.Image], torch: Any, class_name: str, dimension: int
) -> None:
    folder = vision_model(class_name, **named(("normal", "nsfw")))
    model = open_model(str(folder), batch_size=2)
    assert capabilities_of(model) == ("scores-images", "embeds-images", "trains-images", "records-activations")
    assert (model.dimension, model.logit_scale) == (dimension, 1.0)
    expected = softmax(reference_logits(folder, pictures))[:, 1]
    np.testing.assert_allclose(model.score_images(pictures)[:, 0], expected, atol=1e-5)
    vectors = model.embed_images(pictures)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    module = model.feature_module().eval()
    features = module(model.prepare_images(pictures))
    logits = model._loaded().features.head(features).detach().numpy()
    np.testing.assert_allclose(softmax(logits)[:, 1], expected, atol=1e-5)
    np.testing.assert_allclose(vectors, (features / features.norm(dim=1, keepdim=True)).detach().numpy(), atol=1e-5)
    assert model.embed_images([]).shape == (0, dimension)
    assert model.score_images([]).shape == (0, 1)


@pytest.mark.parametrize(
    ("class_name", "dimension"), [("ViTModel", 16), ("ResNetModel", 12), ("Dinov2Model", 16), ("CLIPVisionModel", 16)]
)
def test_backbones_without_a_head_embed(
    vision_model: Callable[..., Path], pictures: list[Image.Image], torch: Any, class_name: str, dimension: int, tmp_path: Path
) -> None:
    if class_name == "CLIPVisionModel":
        import transformers

        config = transformers.CLIPVisionConfig(
            hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32, image_size=16, patch_size=8
        )
        folder = tmp_path / "clip-vision"
        transformers.CLIPVisionModel(config).save_pretrained(folder)
        transformers.ViTImageProcessorPil(size={"height": 16, "width": 16}).save_pretrained(folder)
    else:
        folder = vision_model(class_name)
    model = open_model(str(folder), batch_size=2)
    assert capabilities_of(model) == ("embeds-images", "trains-images", "records-activations")
    vectors = model.embed_images(pictures)
    assert vectors.shape == (5, model.dimension) == (5, dimension)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    features = model.feature_module().eval()(model.prepare_images(pictures)).detach().numpy()
    np.testing.assert_allclose(vectors, features / np.linalg.norm(features, axis=1, keepdims=True), atol=1e-5)
    assert np.ptp(vectors, axis=0).max() > 1e-3


def test_the_class_token_needs_no_pooler(vision_model: Callable[..., Path], pictures: list[Image.Image]) -> None:
    from safetensors.torch import load_file, save_file

    folder = vision_model("ViTModel")
    complete = open_model(str(folder)).embed_images(pictures)
    weights = load_file(folder / "model.safetensors")
    left = {name: tensor for name, tensor in weights.items() if not name.startswith("pooler.")}
    assert len(left) < len(weights)
    save_file(left, folder / "model.safetensors", metadata={"format": "pt"})
    np.testing.assert_array_equal(open_model(str(folder)).embed_images(pictures), complete)
    del left["layernorm.weight"]
    save_file(left, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"lacks 1 weights of ViTModel, such as layernorm\.weight"):
        open_model(str(folder)).embed_images(pictures)


def test_modules_train_and_leave_the_model_alone(
    vision_model: Callable[..., Path], pictures: list[Image.Image], torch: Any
) -> None:
    model = open_model(str(vision_model(VIT, **named(("normal", "nsfw")))))
    before = model.score_images(pictures)
    module = model.feature_module()
    pixels = model.prepare_images(pictures)
    assert (pixels.dtype, tuple(pixels.shape)) == (torch.float32, (5, 3, 16, 16))
    optimizer = torch.optim.SGD(module.parameters(), lr=1.0)
    module(pixels).square().mean().backward()
    assert all(part.grad is not None for part in module.parameters())
    optimizer.step()
    np.testing.assert_array_equal(model.score_images(pictures), before)
    fresh = model.feature_module()(pixels).detach()
    assert not torch.allclose(module(pixels).detach(), fresh)


def test_neither_order_nor_mode_nor_batch_changes_scores(
    vision_model: Callable[..., Path], pictures: list[Image.Image]
) -> None:
    folder = vision_model(VIT, initializer_range=0.5, **named(("normal", "nsfw")))
    grey = pictures[0].convert("L")
    images = [*pictures, grey, grey.convert("P"), pictures[1].convert("CMYK"), pictures[2].convert("RGBA")]
    images += [Image.new("RGB", (1, 1)), Image.new("1", (3, 5)), Image.new("I;16", (4, 4)), Image.new("RGB", (1, 5000))]
    scores = open_model(str(folder), batch_size=4).score_images(images)
    assert ((scores >= 0) & (scores <= 1)).all()
    np.testing.assert_allclose(open_model(str(folder), batch_size=1).score_images(images[::-1])[::-1], scores, atol=1e-5)


def test_pickles_without_weights(vision_model: Callable[..., Path], pictures: list[Image.Image]) -> None:
    for class_name in (VIT, "ResNetModel"):
        model = open_model(str(vision_model(class_name, class_name)))
        answer = model.embed_images(pictures)
        sent = pickle.dumps(model)
        assert len(sent) < 20_000
        copy = pickle.loads(sent)
        assert (copy.fingerprint, copy.dimension, copy._parts) == (model.fingerprint, model.dimension, None)
        np.testing.assert_array_equal(copy.embed_images(pictures), answer)


def test_fingerprints_tell_weights_and_preprocessing_apart(vision_model: Callable[..., Path]) -> None:
    one = vision_model(VIT, "one", **named(("normal", "nsfw")))
    prints = {open_model(str(one)).fingerprint, open_model(str(vision_model(VIT, "two", seed=1))).fingerprint}
    settings = json.loads((one / "preprocessor_config.json").read_text())
    (one / "preprocessor_config.json").write_text(json.dumps({**settings, "do_normalize": False}))
    assert len(prints | {open_model(str(one)).fingerprint}) == 3


def test_a_wrapped_timm_network_names_the_extra(vision_model: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    folder = vision_model(VIT, **named(("normal", "nsfw")))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(
        json.dumps({**config, "model_type": "timm_wrapper", "architectures": ["TimmWrapperForImageClassification"]})
    )
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(MissingExtra, match=r"pip install 'assaymark\[openclip\]'"):
        open_model(str(folder))


def test_a_clip_without_a_head_stays_a_dual_encoder(dual_encoder: Callable[..., Path], pictures: list[Image.Image]) -> None:
    for family in ("clip", "siglip"):
        model = open_model(str(dual_encoder(family)))
        assert {"embeds-images", "embeds-texts", "trains-images"} <= set(capabilities_of(model))
        features = model.feature_module()(model.prepare_images(pictures))
        assert features.requires_grad
        vectors = features.detach().numpy()
        np.testing.assert_allclose(
            vectors / np.linalg.norm(vectors, axis=1, keepdims=True), model.embed_images(pictures), atol=1e-5
        )
