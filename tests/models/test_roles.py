from __future__ import annotations

import pickle
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from assaymark.audit import ModelRole
from assaymark.errors import ModelError
from assaymark.models import capabilities_of, open_model, open_role
from assaymark.models.guard import capability_methods
from assaymark.models.protocols import CAPABILITIES, EmbedsTexts, ScoresTexts
from assaymark.store.cache import ModelCache

TEXT_ROLE = ModelRole("text_toxicity", "scores captions", any_of=("scores-texts", "reads-columns"))


@dataclass
class Lengths:
    """Scores a text by its length and keeps what it was shown."""

    spec: str = "test:lengths"
    fingerprint: str = "lengths-1"
    labels: tuple[str, ...] = ("long",)
    multi_label: bool = True
    shown: list[list[str]] = field(default_factory=list)
    fail_at: int | None = None
    secret: str = "training data"

    def score_texts(self, texts: Sequence[str]) -> np.ndarray:
        if self.fail_at is not None and len(self.shown) >= self.fail_at:
            raise KeyboardInterrupt
        self.shown.append(list(texts))
        return np.array([[len(text) / 100] for text in texts], dtype=np.float32)


def test_only_the_declared_capability_is_there() -> None:
    role = ModelRole("encoder", "embeds captions", all_of=("embeds-texts",))
    model = open_role(role, "fake:dual-encoder?dimension=16")
    assert isinstance(model, EmbedsTexts)
    assert capabilities_of(model) == ("embeds-texts",)
    assert (model.dimension, model.logit_scale, model.spec) == (16, 100.0, "fake:dual-encoder?dimension=16")
    assert model.embed_texts(["red"]).shape == (1, 16)
    for hidden in ("embed_images", "labels", "score_texts", "model", "config", "secret", "_directions"):
        with pytest.raises(AttributeError, match=f"'{hidden}' is not part of what the role 'encoder' declares"):
            getattr(model, hidden)


def test_an_object_can_take_a_role_and_shows_no_more() -> None:
    model = open_role(TEXT_ROLE, Lengths())
    assert isinstance(model, ScoresTexts)
    assert model.labels == ("long",)
    assert not hasattr(model, "secret")
    assert not hasattr(model, "shown")


def test_any_of_takes_either_side_and_all_of_needs_all() -> None:
    assert open_role(TEXT_ROLE, "column:hateful,targeted").columns == ("hateful", "targeted")
    both = ModelRole("dual", "both sides", all_of=("embeds-images", "embeds-texts"))
    assert open_role(both, "fake:dual-encoder").capabilities == ("embeds-images", "embeds-texts")
    with pytest.raises(ModelError, match="role 'dual': it lacks embeds-images and embeds-texts; it offers scores-texts"):
        open_role(both, "fake:text-keywords")
    with pytest.raises(ModelError, match="lacks one of scores-texts, reads-columns; it offers embeds-images and embeds-texts"):
        open_role(TEXT_ROLE, "fake:dual-encoder")
    either = ModelRole("unsafe", "", any_of=("scores-images",), all_of=("embeds-images", "scores-embeddings"))
    with pytest.raises(ModelError, match="lacks scores-embeddings, or one of scores-images"):
        open_role(either, "fake:dual-encoder")
    with pytest.raises(ModelError, match=r"object cannot take.*offers no capability"):
        open_role(TEXT_ROLE, object())


def test_duplicates_are_computed_once_and_short_texts_together() -> None:
    lengths = Lengths()
    model = open_role(TEXT_ROLE, lengths, batch_size=2)
    texts = ["aaaa", "b", "aaaa", "ccc", "b", "dd"]
    assert model.score_texts(texts)[:, 0].tolist() == pytest.approx([0.04, 0.01, 0.04, 0.03, 0.01, 0.02])
    assert lengths.shown == [["b", "dd"], ["ccc", "aaaa"]]
    assert (model.calls, model.cached) == (4, 2)
    assert model.score_texts([]).shape == (0, 1)


def test_a_second_pass_computes_nothing(tmp_path: Path) -> None:
    cache = ModelCache(tmp_path / "c.sqlite")
    texts = [f"text {number} badword" for number in range(50)] + ["", "  "]
    first = open_role(TEXT_ROLE, "fake:text-keywords", cache=cache, batch_size=8)
    expected = first.score_texts(texts)
    second = open_role(TEXT_ROLE, "fake:text-keywords", cache=ModelCache(cache.path))
    np.testing.assert_array_equal(second.score_texts(texts), expected)
    assert (first.calls, first.cached) == (52, 0)
    assert (second.calls, second.cached) == (0, 52)
    third = open_role(TEXT_ROLE, "fake:text-keywords?seed=1", cache=cache)
    third.score_texts(texts)
    assert third.calls == 52


def test_an_interrupted_run_keeps_its_finished_batches(tmp_path: Path) -> None:
    cache = ModelCache(tmp_path / "c.sqlite")
    texts = ["x" * number for number in range(1, 11)]
    broken = open_role(TEXT_ROLE, Lengths(fail_at=3), cache=cache, batch_size=2)
    with pytest.raises(KeyboardInterrupt):
        broken.score_texts(texts)
    resumed = open_role(TEXT_ROLE, Lengths(), cache=cache, batch_size=2)
    plain = Lengths().score_texts(texts)
    np.testing.assert_array_equal(resumed.score_texts(texts), plain)
    assert (resumed.calls, resumed.cached) == (4, 6)


def test_images_and_embeddings_are_cached_by_content(tmp_path: Path) -> None:
    cache = ModelCache(tmp_path / "c.sqlite")
    red, blue = Image.new("RGB", (8, 8), "red"), Image.new("RGB", (8, 8), "blue")
    images = open_role(ModelRole("i", "", any_of=("scores-images",)), "fake:image-scorer", cache=cache)
    scores = images.score_images([red, blue, red.copy()])
    assert (images.calls, images.cached) == (2, 1)
    np.testing.assert_array_equal(scores[0], scores[2])
    palettes = [Image.new("P", (8, 8)), Image.new("P", (8, 8))]
    palettes[0].putpalette([255, 0, 0])
    palettes[1].putpalette([0, 0, 255])
    assert (images.score_images(palettes)[:, 0] > 0.5).tolist() == [True, False]
    vectors = open_model("fake:dual-encoder").embed_images([red, blue])
    embeddings = open_role(ModelRole("e", "", any_of=("scores-embeddings",)), "fake:embedding-scorer", cache=cache)
    assert (embeddings.score_embeddings(vectors[[0, 1, 0]])[:, 0] > 0.5).tolist() == [True, False, True]
    assert embeddings.score_embeddings(vectors.tolist()).shape == (2, 1)
    assert (embeddings.calls, embeddings.cached) == (2, 3)


def test_a_role_travels_to_a_worker(tmp_path: Path) -> None:
    model = open_role(TEXT_ROLE, "fake:text-keywords", cache=ModelCache(tmp_path / "c.sqlite"), batch_size=3)
    expected = model.score_texts(["a badword", "fine"])
    copy = pickle.loads(pickle.dumps(model))
    assert (copy.calls, copy.role, copy.labels, copy.fingerprint) == (0, model.role, model.labels, model.fingerprint)
    np.testing.assert_array_equal(copy.score_texts(["a badword", "fine"]), expected)
    assert copy.cached == 2


def test_a_broken_cache_costs_no_answers(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    model = open_role(TEXT_ROLE, "fake:text-keywords", cache=ModelCache(tmp_path / "file" / "c.sqlite"))
    with pytest.warns(RuntimeWarning, match="the run goes on"):
        assert (model.score_texts(["badword", "fine"])[:, 0] > 0.5).tolist() == [True, False]
    assert model.calls == 2


def test_a_model_that_answers_with_another_shape_is_named() -> None:
    with pytest.raises(ModelError, match=r"test:lengths: score_texts answered with shape \(2, 1\), expected \(2, 2\)"):
        open_role(TEXT_ROLE, Lengths(labels=("a", "b"))).score_texts(["x", "y"])


def test_every_capability_that_answers_can_be_guarded() -> None:
    for name, protocol in CAPABILITIES.items():
        methods = [member for member in vars(protocol) if callable(vars(protocol)[member]) and not member.startswith("_")]
        assert tuple(methods) == capability_methods(name), name


def test_transformers_roles_cache_count_and_pickle(classifier: Any, texts: list[str], tmp_path: Path) -> None:
    cache = ModelCache(tmp_path / "c.sqlite")
    spec = str(classifier())
    first = open_role(TEXT_ROLE, spec, cache=cache, batch_size=4)
    expected = first.score_texts(texts)
    copy = pickle.loads(pickle.dumps(first))
    np.testing.assert_array_equal(copy.score_texts(texts), expected)
    assert (first.calls, copy.calls) == (len(set(texts)), 0)
    assert copy._model._parts is None  # answered from the cache without loading weights


@pytest.mark.parametrize(("setting", "value"), [("device", "tpu"), ("batch_size", 0)])
def test_loading_settings_are_checked(setting: str, value: Any) -> None:
    from assaymark.errors import ConfigError

    with pytest.raises(ConfigError, match=f"{setting} is {value!r}"):
        open_model("fake:text-keywords", **{setting: value})


CAPTION_ROLE = ModelRole("captioner", "says what a picture shows", all_of=("captions-images",))


class Scripted:
    """Captions that count how often they were asked for."""

    spec, fingerprint = "test:captions", "captions-1"

    def __init__(self, *, breaks_at: int | None = None) -> None:
        self.asked, self.breaks_at = 0, breaks_at

    def caption_images(self, images: Any, *, prompt: str = "A picture of", samples: int = 2, seed: int = 0) -> list[list[str]]:
        if self.breaks_at is not None and self.asked >= self.breaks_at:
            raise RuntimeError("interrupted")
        self.asked += len(images)
        return [[f"{prompt} {image.size[0]} wide \u00e4 \ud83d {seed}"] * samples for image in images]


def squares(n: int) -> list[Image.Image]:
    return [Image.new("RGB", (width + 1, 2)) for width in range(n)]


def test_captions_are_cached_by_content_and_parameters(tmp_path: Path) -> None:
    cache = ModelCache(tmp_path / "c.sqlite")
    model = open_role(CAPTION_ROLE, Scripted(), cache=cache)
    images = squares(3)
    expected = Scripted().caption_images([*images, images[0]], samples=3)
    assert model.caption_images([*images, images[0]], samples=3) == expected
    assert (model.calls, model.cached) == (3, 1)
    assert model.caption_images(images[::-1], samples=3) == expected[2::-1]
    assert (model.calls, model.cached) == (3, 4)
    for other in ({"samples": 2}, {"samples": 3, "seed": 1}, {"samples": 3, "prompt": "Here is"}):
        assert model.caption_images(images, **other) == Scripted().caption_images(images, **other)
    assert model.calls == 12
    again = open_role(CAPTION_ROLE, Scripted(breaks_at=0), cache=ModelCache(tmp_path / "c.sqlite"))
    assert again.caption_images(images, seed=1, samples=3) == Scripted().caption_images(images, seed=1, samples=3)
    assert again.calls == 0
    assert model.caption_images([]) == []


def test_an_interrupted_captioning_goes_on_where_it_stopped(tmp_path: Path) -> None:
    cache, images = ModelCache(tmp_path / "c.sqlite"), squares(20)
    with pytest.raises(RuntimeError, match="interrupted"):
        open_role(CAPTION_ROLE, Scripted(breaks_at=8), cache=cache).caption_images(images)
    resumed = open_role(CAPTION_ROLE, Scripted(), cache=cache)
    assert resumed.caption_images(images) == Scripted().caption_images(images)
    assert (resumed.calls, resumed.cached) == (12, 8)


def test_answers_are_not_shared_between_callers(tmp_path: Path) -> None:
    model = open_role(CAPTION_ROLE, Scripted())
    first, second = model.caption_images([squares(1)[0]] * 2)
    first.append("changed")
    assert len(second) == 2


def test_captions_of_another_form_are_named() -> None:
    class Flat(Scripted):
        def caption_images(self, images: Any, **parameters: Any) -> Any:
            return [["one"]]

    with pytest.raises(ModelError, match="caption_images must answer with a list of texts for each of 2 items"):
        open_role(CAPTION_ROLE, Flat()).caption_images(squares(2))


def test_methods_that_give_no_answers_are_handed_through() -> None:
    class Trainable:
        spec, fingerprint, dimension = "test:trainable", "trainable-1", 3

        def feature_module(self) -> str:
            return "module"

        def prepare_images(self, images: Any) -> int:
            return len(images)

    role = ModelRole("backbone", "is trained further", all_of=("trains-images",))
    model = open_role(role, Trainable())
    assert (model.feature_module(), model.prepare_images(squares(2)), model.dimension) == ("module", 2, 3)
    assert (model.calls, model.cached) == (0, 0)
    copy = pickle.loads(pickle.dumps(open_role(CAPTION_ROLE, "fake:captioner")))
    assert copy.caption_images(squares(2)) == open_model("fake:captioner").caption_images(squares(2))
