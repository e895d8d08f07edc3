from __future__ import annotations

import sys

import numpy as np
import pytest
from PIL import Image

from assaymark.errors import MissingExtra, ModelError
from assaymark.models import open_model


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
