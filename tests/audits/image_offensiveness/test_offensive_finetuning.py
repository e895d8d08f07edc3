from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch")
pytest.importorskip("accelerate")

from assaymark.audits.image_offensiveness.measures.finetuning import fine_tune, prepared_pixels  # noqa: E402
from assaymark.errors import ConfigError  # noqa: E402


class TinyEncoder:
    """Features are the means of two random convolutions; each module is a copy of the same published weights."""

    spec, fingerprint, dimension = "py:tiny", "0", 8

    def __init__(self) -> None:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.weights = self.untrained().state_dict()

    @staticmethod
    def untrained() -> Any:
        convolutions = torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU(), torch.nn.Conv2d(8, 8, 3)
        return torch.nn.Sequential(*convolutions, torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())

    def feature_module(self) -> Any:
        module = self.untrained()
        module.load_state_dict(self.weights)
        return module.eval()

    def prepare_images(self, images: Sequence[Image.Image]) -> Any:
        pixels = np.stack([np.asarray(image.convert("RGB").resize((10, 10)), dtype=np.float32) / 127.5 - 1 for image in images])
        return torch.from_numpy(pixels.transpose(0, 3, 1, 2).copy())


def stripes(n: int, seed: int) -> tuple[list[Image.Image], np.ndarray]:
    """Upright against level stripes, with noise: a frozen encoder's mean features hardly tell them apart."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(n) % 2)
    waves = np.where(np.arange(10) % 2 == 0, 60, -60)
    images = (
        128 + np.where(labels[:, None, None] == 1, waves[None, None, :], waves[None, :, None]) + rng.normal(0, 30, (n, 10, 10))
    )
    return [Image.fromarray(np.clip(image, 0, 255).astype(np.uint8)) for image in images], labels


@pytest.fixture(scope="module")
def data() -> dict[str, Any]:
    encoder = TinyEncoder()
    train, labels = stripes(160, 1)
    test, test_labels = stripes(200, 2)
    pixels = [prepared_pixels(encoder, images, batch_size=64) for images in (train, test)]
    return {"encoder": encoder, "pixels": pixels[0], "labels": labels, "test_pixels": pixels[1], "test_labels": test_labels}


def tuned(data: dict[str, Any], **settings: Any) -> Any:
    given = {"epochs": 12, "lr": 0.02, "seed": 0, **settings}
    labels = given.pop("labels", data["labels"])
    return fine_tune(data["encoder"], data["pixels"], labels, data["test_pixels"], **given)


def test_it_learns_what_can_be_learnt_and_nothing_from_shuffled_labels(data: dict[str, Any]) -> None:
    outcome = tuned(data)
    np.testing.assert_allclose(outcome.probabilities.sum(axis=1), 1)
    assert (outcome.probabilities.argmax(axis=1) == data["test_labels"]).mean() > 0.95
    assert outcome.outcome.best_step is not None
    shuffled = tuned(data, labels=np.random.default_rng(0).permutation(data["labels"]))
    assert abs((shuffled.probabilities.argmax(axis=1) == data["test_labels"]).mean() - 0.5) < 0.2


def test_the_encoder_itself_is_trained_and_the_published_weights_are_not(data: dict[str, Any]) -> None:
    before = {name: tensor.clone() for name, tensor in data["encoder"].weights.items()}
    modules: list[Any] = []
    original = data["encoder"].feature_module

    class Watched(TinyEncoder):
        def feature_module(self) -> Any:
            modules.append(original())
            return modules[-1]

    fine_tune(Watched(), data["pixels"], data["labels"], data["test_pixels"], epochs=1, lr=0.01, seed=0)
    assert all(torch.equal(before[name], tensor) for name, tensor in data["encoder"].weights.items())
    assert all(not torch.equal(before[name], tensor) for name, tensor in modules[0].state_dict().items())


def test_same_seed_same_answer_and_it_can_be_continued(data: dict[str, Any], tmp_path: Path) -> None:
    class Killed(Exception):
        pass

    class Task:
        steps = 0

        def advance(self, amount: int = 1) -> None:
            self.steps += amount
            if self.steps == 13:
                raise Killed

        def expect(self, total: int) -> None: ...

    whole = tuned(data, epochs=4)
    with pytest.raises(Killed):
        tuned(data, epochs=4, checkpoints=tmp_path, task=Task())
    torch.manual_seed(99)
    continued = tuned(data, epochs=4, checkpoints=tmp_path)
    assert continued.outcome.resumed_from == 10
    np.testing.assert_array_equal(whole.probabilities, continued.probabilities)
    assert not np.array_equal(whole.probabilities, tuned(data, epochs=4, seed=1).probabilities)


def test_few_images_are_all_learnt_from(data: dict[str, Any]) -> None:
    few = np.r_[np.flatnonzero(data["labels"] == 0)[:6], np.flatnonzero(data["labels"] == 1)[:6]]
    outcome = fine_tune(data["encoder"], data["pixels"][few], data["labels"][few], data["test_pixels"], epochs=2, seed=0)
    assert outcome.outcome.best_step is None and not outcome.outcome.validations


def test_rare_classes_are_heard(data: dict[str, Any]) -> None:
    rare = np.r_[np.flatnonzero(data["labels"] == 0), np.flatnonzero(data["labels"] == 1)[:8]]
    outcome = fine_tune(
        data["encoder"], data["pixels"][rare], data["labels"][rare], data["test_pixels"], epochs=20, lr=0.02, seed=0
    )
    found = outcome.probabilities.argmax(axis=1)[data["test_labels"] == 1]
    assert found.mean() > 0.8


def test_bad_labels_are_named(data: dict[str, Any]) -> None:
    for labels, match in (
        (np.zeros(160, dtype=int), "one class only"),
        (data["labels"] + 1, "within 0 to 1"),
        (data["labels"][:5], "one label an image"),
    ):
        with pytest.raises(ConfigError, match=match):
            tuned(data, labels=labels)
    with pytest.raises(ConfigError, match="no images"):
        prepared_pixels(data["encoder"], [])
