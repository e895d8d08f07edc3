from __future__ import annotations

import pickle

import numpy as np
import pytest
from PIL import Image

from assaymark.errors import ConfigError, ModelError
from assaymark.models import capabilities_of, open_model
from assaymark.models.fake import COLOURS


def test_keywords_decide_the_probability() -> None:
    model = open_model("fake:text-keywords?hateful=badword|worse&targeted=other")
    assert model.labels == ("hateful", "targeted")
    texts = ["a BADWORD here", "badwords", "worse, other", "nothing", "", None]
    scores = model.score_texts(texts)
    assert (scores[:4] > 0.5).tolist() == [[True, False], [False, False], [True, True], [False, False]]
    assert np.isnan(scores[4:]).all()
    assert len(np.unique(scores[:4])) == 8
    np.testing.assert_array_equal(model.score_texts(texts[::-1])[::-1], scores)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).score_texts(texts), scores)


def test_planted_error_rates_are_met() -> None:
    model = open_model("fake:text-keywords?unsafe=bad&sensitivity=0.8&specificity=0.99&seed=3")
    n = 20_000
    flagged_bad = (model.score_texts([f"bad {number}" for number in range(n)]) > 0.5).mean()
    flagged_good = (model.score_texts([f"good {number}" for number in range(n)]) > 0.5).mean()
    assert abs(flagged_bad - 0.8) < 4 * np.sqrt(0.8 * 0.2 / n)
    assert abs(flagged_good - 0.01) < 4 * np.sqrt(0.01 * 0.99 / n)


def test_images_and_texts_of_a_colour_are_near() -> None:
    model = open_model("fake:dual-encoder?dimension=32&seed=7")
    assert capabilities_of(model) == ("embeds-images", "embeds-texts")
    names = list(COLOURS)
    images = model.embed_images([Image.new("RGB", (20, 30), COLOURS[name]) for name in names])
    texts = model.embed_texts([f"a photo of a {name} square" for name in names])
    np.testing.assert_allclose(np.linalg.norm(images, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(texts, axis=1), 1, atol=1e-6)
    cosines = images @ texts.T
    assert cosines.argmax(axis=1).tolist() == list(range(len(names)))
    assert np.diag(cosines).min() > 0.8
    assert (cosines - 2 * np.eye(len(names))).max() < 0.5


def test_planted_concepts_take_a_colour() -> None:
    model = open_model("fake:dual-encoder?concepts=nurse:pink,pilot:blue")
    pink = model.embed_images([Image.new("RGB", (9, 9), COLOURS["pink"])])
    nurse, pilot = (model.embed_texts(["the nurse", "the pilot"]) @ pink.T)[:, 0]
    assert nurse > 0.9
    assert pilot < 0.4


def test_two_images_of_a_colour_differ_and_seeds_differ() -> None:
    half = Image.new("RGB", (8, 8), COLOURS["red"])
    half.paste(COLOURS["blue"], (0, 0, 4, 8))
    first, other = open_model("fake:dual-encoder"), open_model("fake:dual-encoder?seed=1")
    vectors = first.embed_images([half, half.rotate(90)])
    assert 0.9 < vectors[0] @ vectors[1] < 0.99999
    red_blue = first.embed_texts(["red", "blue"]) @ vectors[0]
    assert abs(red_blue[0] - red_blue[1]) < 0.1
    assert first.fingerprint != other.fingerprint
    assert not np.allclose(first.embed_texts(["red"]), other.embed_texts(["red"]))
    assert first.embed_images([]).shape == first.embed_texts([]).shape == (0, 32)


def test_image_and_embedding_scorers_agree_with_the_encoder() -> None:
    images = [Image.new("RGB", (8, 8), COLOURS[name]) for name in ("red", "blue", "white")]
    spec = "?unsafe=red&sky=blue"
    expected = [[True, False], [False, True], [False, False]]
    assert (open_model(f"fake:image-scorer{spec}").score_images(images) > 0.5).tolist() == expected
    vectors = open_model("fake:dual-encoder?dimension=24&seed=5").embed_images(images)
    scorer = open_model(f"fake:embedding-scorer{spec}&dimension=24&seed=5")
    assert (scorer.score_embeddings(vectors) > 0.5).tolist() == expected


@pytest.mark.parametrize(
    ("spec", "error", "message"),
    [
        ("fake:text-keyword", ModelError, "unknown fake model 'text-keyword' - did you mean 'text-keywords'"),
        ("fake:image-scorer?unsafe=redd", ModelError, "unknown colour 'redd' - did you mean 'red'"),
        ("fake:dual-encoder?dimension=4", ConfigError, "at least 11"),
        ("fake:dual-encoder?sead=4", ModelError, "did you mean 'seed'"),
        ("fake:text-keywords?noise=0.9", ConfigError, "noise must lie"),
    ],
)
def test_mistakes_are_named(spec: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        open_model(spec)
