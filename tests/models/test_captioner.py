from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from assaymark.errors import ModelError
from assaymark.models import capabilities_of, open_model
from assaymark.models.captioner import GumbelNoise
from assaymark.models.fake import COLOURS

Saver = Callable[..., Path]


FAMILIES = ["blip", "git", "pair"]


@pytest.mark.parametrize("family", FAMILIES)
def test_captions_depend_on_picture_and_seed_alone(captioner: Saver, pictures: list[Image.Image], family: str) -> None:
    model = open_model(f"hf:{captioner(family)}?longest=6", batch_size=4)
    assert capabilities_of(model) == ("captions-images",)
    asked = {"prompt": "a photo of", "temperature": 1.0, "samples": 2, "seed": 3}
    captions = model.caption_images(pictures, **asked)
    assert [len(said) for said in captions] == [2] * 5
    assert len({text for said in captions for text in said}) > 5
    assert all(len(text.split()) <= 6 for said in captions for text in said)
    alone = open_model(f"hf:{captioner(family)}?longest=6", batch_size=1)
    assert alone.caption_images(pictures[::-1], **asked)[::-1] == captions
    assert model.caption_images(pictures, **{**asked, "seed": 4}) != captions
    assert model.caption_images(pictures[:1], **{**asked, "samples": 3})[0][:2] == captions[0]
    assert model.caption_images([]) == []


@pytest.mark.parametrize("family", FAMILIES)
def test_temperature_zero_is_the_greedy_continuation(captioner: Saver, pictures: list[Image.Image], family: str) -> None:
    import torch
    import transformers

    folder = captioner(family)
    captions = open_model(f"hf:{folder}?longest=5").caption_images(pictures, prompt="the red", temperature=0, samples=2)
    assert all(said[0] == said[1] for said in captions)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    automatic = transformers.VisionEncoderDecoderModel if family == "pair" else transformers.AutoModelForImageTextToText
    model = automatic.from_pretrained(folder, use_safetensors=True).eval()
    processor = transformers.AutoImageProcessor.from_pretrained(folder, backend="pil")
    for image, said in zip(pictures, captions, strict=True):
        pixels = processor([image], return_tensors="pt")["pixel_values"]
        words = [2, *tokenizer("the red", add_special_tokens=False)["input_ids"]]
        with torch.no_grad():
            for _ in range(5):  # one forward pass a word, without any cache
                given = torch.tensor([words])
                if family == "blip":
                    seen = model.vision_model(pixel_values=pixels)[0]
                    logits = model.text_decoder(input_ids=given, encoder_hidden_states=seen).logits
                elif family == "git":
                    logits = model(input_ids=given, pixel_values=pixels).logits
                else:
                    logits = model(pixel_values=pixels, decoder_input_ids=given).logits
                words.append(int(logits[0, -1].argmax()))
                if words[-1] == 3:
                    break
        assert said[0] == tokenizer.decode(words[3:], skip_special_tokens=True)


def test_the_global_generator_of_torch_is_not_touched(captioner: Saver, pictures: list[Image.Image], torch: Any) -> None:
    model = open_model(f"hf:{captioner('blip')}?longest=3")
    before = torch.random.get_rng_state()
    model.caption_images(pictures[:1], samples=1)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_noise_draws_from_the_softmax(torch: Any) -> None:
    logits = torch.tensor([[0.0, 1.0, -1.0, 2.0]])
    noise = GumbelNoise([np.random.default_rng(number) for number in range(20_000)], temperature=0.5)
    drawn = noise(None, logits.expand(20_000, 4)).argmax(dim=1)
    shares = torch.bincount(drawn, minlength=4) / 20_000
    expected = torch.softmax(logits[0] / 0.5, dim=0)
    assert (shares - expected).abs().max() < 4 * 0.5 / np.sqrt(20_000)


def test_captioners_pickle_without_weights(captioner: Saver, pictures: list[Image.Image]) -> None:
    folder = captioner("git")
    model = open_model(f"hf:{folder}?longest=4")
    said = model.caption_images(pictures[:2], samples=1)
    copy = pickle.loads(pickle.dumps(model))
    assert (copy.fingerprint, copy._parts) == (model.fingerprint, None)
    assert copy.caption_images(pictures[:2], samples=1) == said
    assert (
        len({model.fingerprint, open_model(str(folder)).fingerprint, open_model(str(captioner("git", seed=1))).fingerprint})
        == 3
    )
    for wrong in ({"temperature": -1.0}, {"samples": 0}):
        with pytest.raises(ValueError, match="at least"):
            model.caption_images(pictures, **wrong)


def test_the_scripted_captioner_names_the_main_colour() -> None:
    model = open_model("fake:captioner?red=zorp|blick")
    assert capabilities_of(model) == ("captions-images",)
    images = [Image.new("RGB", (8, 8 + index), colour) for index, colour in enumerate(COLOURS.values())]
    captions = model.caption_images(images)
    assert all(colour in text for colour, said in zip(COLOURS, captions, strict=True) for text in said)
    planted = [
        text for image in range(40) for text in model.caption_images([Image.new("RGB", (9, 9 + image), COLOURS["red"])])[0]
    ]
    assert all(("zorp" in text) != ("blick" in text) for text in planted)
    assert 60 < sum("zorp" in text for text in planted) < 140
    assert not any("zorp" in text or "blick" in text for said in captions[1:] for text in said)
    assert model.caption_images(images[::-1])[::-1] == captions
    assert all(len(set(said)) == 1 for said in model.caption_images(images, temperature=0))
    assert model.caption_images([]) == []
    with pytest.raises(ModelError, match="did you mean 'red'"):
        open_model("fake:captioner?rad=x")
