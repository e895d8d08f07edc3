from __future__ import annotations

import math
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from assaymark.errors import ModelError
from assaymark.models import capabilities_of, open_model
from assaymark.models.dual_encoder import limit_aspect

Saver = Callable[..., Path]
WIDTH = {"clip": 24, "siglip": 16}


def oracle_cosines(folder: Path, family: str, texts: list[str], images: list[Image.Image]) -> np.ndarray:
    """Cosines out of the model's own full forward pass, shape (n_images, n_texts)."""
    import torch
    from transformers import AutoImageProcessor, AutoModel, AutoTokenizer

    model = AutoModel.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    padding = {"clip": "longest", "siglip": "max_length"}[family]
    tokens = tokenizer(texts, padding=padding, truncation=True, max_length=12, return_tensors="pt")
    given = {"input_ids": tokens["input_ids"]}
    if family == "clip":
        given["attention_mask"] = tokens["attention_mask"]
    pixels = AutoImageProcessor.from_pretrained(folder, backend="pil")(images, return_tensors="pt")
    with torch.no_grad():
        logits = model(**given, **pixels).logits_per_image
        logits = logits - getattr(model, "logit_bias", 0.0)
        return (logits / model.logit_scale.exp()).numpy()


@pytest.mark.parametrize("family", ["clip", "siglip"])
def test_cosines_equal_the_full_forward_pass(
    dual_encoder: Saver, family: str, texts: list[str], pictures: list[Image.Image]
) -> None:
    folder = dual_encoder(family, logit_scale=2.5)
    model = open_model(f"hf:{folder}", batch_size=4)
    images = ("embeds-images", "embeds-texts", "trains-images")
    assert capabilities_of(model) == (*images, "records-activations", "records-text-activations")
    assert model.dimension == WIDTH[family]
    assert model.logit_scale == pytest.approx(math.exp(2.5), rel=1e-6)
    image_vectors, text_vectors = model.embed_images(pictures), model.embed_texts(texts)
    assert image_vectors.shape == (len(pictures), WIDTH[family])
    np.testing.assert_allclose(np.linalg.norm(image_vectors, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(text_vectors, axis=1), 1, atol=1e-5)
    expected = oracle_cosines(folder, family, texts, pictures)
    assert expected.std(axis=1).min() > 0.01  # the random model does tell texts apart
    np.testing.assert_allclose(image_vectors @ text_vectors.T, expected, atol=1e-5)


@pytest.mark.parametrize("family", ["clip", "siglip"])
def test_batch_size_does_not_matter(dual_encoder: Saver, family: str, texts: list[str], pictures: list[Image.Image]) -> None:
    folder = dual_encoder(family)
    one, many = open_model(f"hf:{folder}", batch_size=1), open_model(f"hf:{folder}", batch_size=64)
    np.testing.assert_allclose(one.embed_texts(texts), many.embed_texts(texts), atol=1e-5)
    np.testing.assert_allclose(one.embed_images(pictures), many.embed_images(pictures), atol=1e-5)
    assert many.embed_texts([]).shape == many.embed_images([]).shape == (0, WIDTH[family])


def test_any_image_mode_and_shape_is_taken(dual_encoder: Saver) -> None:
    model = open_model(f"hf:{dual_encoder('clip')}")
    colour = Image.new("RGB", (30, 20), (200, 30, 30))
    vectors = model.embed_images(
        [colour, colour.convert("RGBA"), colour.convert("P"), colour.convert("L"), colour.resize((1, 1))]
    )
    assert np.isfinite(vectors).all()
    np.testing.assert_allclose(vectors[0], vectors[1], atol=1e-6)


def test_elongated_images_are_cut_before_they_are_blown_up() -> None:
    pixels = np.zeros((4, 4000, 3), np.uint8)
    pixels[:, 1998:2002] = 255
    cut = limit_aspect(Image.fromarray(pixels))
    assert cut.size == (80, 4)
    assert np.asarray(cut)[:, 38:42].min() == 255
    assert limit_aspect(Image.new("RGB", (3, 1000))).size == (3, 60)
    ordinary = Image.new("RGB", (300, 20))
    assert limit_aspect(ordinary) is ordinary


def test_pickle_keeps_the_facts_and_reloads(dual_encoder: Saver, texts: list[str]) -> None:
    model = open_model(f"hf:{dual_encoder('siglip')}")
    expected = model.embed_texts(texts)
    copy = pickle.loads(pickle.dumps(model))
    assert (copy.dimension, copy.logit_scale, copy.fingerprint) == (model.dimension, model.logit_scale, model.fingerprint)
    assert copy._parts is None
    np.testing.assert_array_equal(copy.embed_texts(texts), expected)


def test_fingerprint_covers_the_image_processor(dual_encoder: Saver) -> None:
    folder = dual_encoder("clip")
    before = open_model(f"hf:{folder}").fingerprint
    path = folder / "preprocessor_config.json"
    path.write_text(path.read_text().replace("0.48145466", "0.5"))
    assert open_model(f"hf:{folder}").fingerprint != before


def test_a_folder_without_image_processor_says_so(dual_encoder: Saver, pictures: list[Image.Image]) -> None:
    folder = dual_encoder("clip")
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(ModelError, match="its image processor cannot be loaded"):
        open_model(f"hf:{folder}").embed_images(pictures)


@pytest.mark.parametrize("family", ["clip", "siglip"])
def test_images_are_prepared_without_torchvision(dual_encoder: Saver, family: str) -> None:
    image_processor = open_model(f"hf:{dual_encoder(family)}")._loaded().image_processor
    assert type(image_processor).__name__.endswith("ProcessorPil")
    assert not any("torchvision" in base.__name__.lower() for base in type(image_processor).__mro__)
