from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch")
pytest.importorskip("accelerate")

from assaymark.audits.scorer_mixture.measures import networks, zoo  # noqa: E402
from assaymark.audits.scorer_mixture.measures.networks import Recipe  # noqa: E402
from assaymark.audits.scorer_mixture.measures.textures import (  # noqa: E402
    BROKEN,
    SOUND,
    planted_textures,
    texture_scores,
)
from assaymark.audits.scorer_mixture.measures.zoo import (  # noqa: E402
    out_of_fold_scores,
    train_zoo,
    zoo_scores,
    zoo_specs,
)
from assaymark.audits.scorer_mixture.trials import texture_trials  # noqa: E402
from assaymark.errors import ConfigError  # noqa: E402
from assaymark.models import open_model  # noqa: E402
from assaymark.models.convnet import ConvNetSpec  # noqa: E402
from assaymark.testing.calibration import agrees  # noqa: E402

TINY = ConvNetSpec(depth=2, width=4, input_size=8)


def small(n: int = 60, *, side: int = 8, seed: int = 0) -> tuple[Any, Any]:
    """Bright against dark pictures: learnt in a few steps."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(n) % 2)
    images = rng.integers(0, 120, (n, side, side, 3)) + 100 * labels[:, None, None, None]
    return images.astype(np.uint8), labels


def accuracy(scores: Any, labels: Any) -> float:
    return float(((scores >= 0.5) == labels).mean())


def test_a_family_of_different_layouts() -> None:
    specs = zoo_specs(36, input_size=64, seed=0)
    assert len(set(specs)) == 36
    assert {spec.depth for spec in specs} == {3, 4, 5} and {spec.width for spec in specs} == {16, 32, 64}
    assert {spec.kernel for spec in specs} == {3, 5} and {spec.activation for spec in specs} == {"relu", "prelu"}
    assert zoo_specs(5, input_size=64, seed=0) == zoo_specs(5, input_size=64, seed=0) != zoo_specs(5, input_size=64, seed=1)
    assert {spec.depth for spec in zoo_specs(40, input_size=16, seed=0)} == {3, 4}
    with pytest.raises(ConfigError, match="no such zoo"):
        zoo_specs(3, input_size=4, seed=0)


def test_classes_that_cannot_be_spread_over_the_folds_are_refused() -> None:
    images, labels = small(40)
    settings: dict[str, Any] = {"epochs": 1, "seed": 0, "k": 5}
    with pytest.raises(ConfigError, match="one class only"):
        out_of_fold_scores(images, np.zeros(40, dtype=int), [TINY], **settings)
    with pytest.raises(ConfigError, match="5 folds need 5 images of each class"):
        out_of_fold_scores(images, (np.arange(40) < 4).astype(int), [TINY], **settings)
    with pytest.raises(ConfigError, match="5 groups"):
        out_of_fold_scores(images, labels, [TINY], groups=np.arange(40) // 12, **settings)


def test_no_image_is_scored_by_a_network_that_saw_it(monkeypatch: pytest.MonkeyPatch) -> None:
    images, labels = small(53)
    groups = np.arange(53) // 2
    memories: list[set[bytes]] = []

    def memorise(images: Any, labels: Any, specs: Any, **settings: Any) -> tuple[set[bytes], ...]:
        assert len(images) == len(labels) == len(settings["groups"])
        memories.append({image.tobytes() for image in images})
        return tuple(memories[-1] for _ in specs)

    def recall(networks: Any, images: Any) -> Any:
        return np.array([[float(image.tobytes() in memory) for memory in networks] for image in images])

    monkeypatch.setattr(zoo, "train_zoo", memorise)
    monkeypatch.setattr(zoo, "zoo_scores", recall)
    outcome = out_of_fold_scores(images, labels, [TINY, TINY], epochs=1, seed=0, k=4, groups=groups)
    assert outcome.scores.shape == (53, 2)
    assert not outcome.scores.any(), "1 would be an image that was learnt"
    assert len(memories) == 5 and len(memories[-1]) == 53
    assert all(len(set(outcome.folds[groups == group])) == 1 for group in groups)


def test_the_validation_images_are_not_learnt_from(monkeypatch: pytest.MonkeyPatch) -> None:
    import assaymark.training

    images, labels = small(40)
    given: list[Any] = []
    original = assaymark.training.TensorBatches

    def watched(pixels: Any, target: Any, **settings: Any) -> Any:
        given.append(pixels)
        return original(pixels, target, **settings)

    monkeypatch.setattr(assaymark.training, "TensorBatches", watched, raising=False)
    groups = np.arange(40) // 2
    train_zoo(images, labels, [TINY], epochs=1, seed=3, groups=groups)
    learnt = {picture.permute(1, 2, 0).numpy().tobytes() for picture in given[0]}
    out = np.array([image.tobytes() not in learnt for image in images])
    assert 2 <= out.sum() <= 8
    assert all(len(set(out[groups == group])) == 1 for group in groups)


def test_out_of_fold_networks_learn_and_are_saved(tmp_path: Path) -> None:
    images, labels = small(80, side=12)
    specs = [TINY, ConvNetSpec(depth=1, width=8, kernel=5, activation="prelu", input_size=12)]
    settings: dict[str, Any] = {"epochs": 12, "lr": 0.03, "seed": 0, "k": 2, "recipe": Recipe(batch_size=8)}
    outcome = out_of_fold_scores(images, labels, specs, folder=tmp_path, **settings)
    assert min(accuracy(column, labels) for column in outcome.scores.T) > 0.9
    again = out_of_fold_scores(images, labels, specs, **settings)
    np.testing.assert_array_equal(outcome.scores, again.scores)
    scores = zoo_scores(outcome.networks, images)
    pictures = [Image.fromarray(image) for image in images]
    for i, network in enumerate(outcome.networks):
        model = open_model(f"convnet:{tmp_path}/network_{i}.safetensors")
        assert model.labels == ("unsafe",) and network.path == tmp_path / f"network_{i}.safetensors"
        np.testing.assert_allclose(model.score_images(pictures)[:, 0], scores[:, i], atol=1e-5)


def test_a_killed_zoo_goes_on(tmp_path: Path) -> None:
    class Killed(Exception):
        pass

    class Task:
        def __init__(self, last: int) -> None:
            self.last = last

        def advance(self, amount: int = 1) -> None:
            self.last -= amount
            if self.last < 0:
                raise Killed

        def expect(self, total: int) -> None: ...

    images, labels = small()
    specs, settings = [TINY, TINY], {"epochs": 3, "seed": 1, "recipe": Recipe(batch_size=16)}
    whole = train_zoo(images, labels, specs, **settings)  # type: ignore[arg-type]
    with pytest.raises(Killed):
        train_zoo(images, labels, specs, work=tmp_path, task=Task(17), **settings)  # type: ignore[arg-type]
    continued = train_zoo(images, labels, specs, work=tmp_path, **settings)  # type: ignore[arg-type]
    assert [network.outcome.resumed_from for network in continued] == [12, 4]
    np.testing.assert_array_equal(zoo_scores(whole, images), zoo_scores(continued, images))


def test_balanced_loss_weighs_classes_alike() -> None:
    rng = np.random.default_rng(0)
    labels = (rng.random(200) < 0.1).astype(np.int64)
    logits = torch.from_numpy(rng.normal(size=(200, 1)))
    weights = torch.from_numpy(networks._class_weights(labels, 2))
    p = 1 / (1 + np.exp(-logits.numpy()[:, 0]))
    by_class = [-np.log(p[labels == 1]).mean(), -np.log(1 - p[labels == 0]).mean()]
    loss = networks._loss(TINY, weights)(logits, torch.from_numpy(labels))
    assert float(loss) == pytest.approx(np.mean(by_class), abs=1e-12)
    two = torch.cat([torch.zeros(200, 1, dtype=torch.float64), logits], dim=1)
    softmax = networks._loss(ConvNetSpec(classes=2), weights)(two, torch.from_numpy(labels))
    assert float(softmax) == pytest.approx(np.mean(by_class), abs=1e-12)


def test_several_classes(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(90) % 3
    images = rng.integers(0, 90, (90, 8, 8, 3)).astype(np.uint8)
    images[np.arange(90), :, :, labels] += 120
    spec = ConvNetSpec(depth=1, width=8, input_size=8, classes=3)
    trained = train_zoo(images, labels, [spec], epochs=8, lr=0.02, seed=0, names=("red", "green", "blue"), folder=tmp_path)
    scores = zoo_scores(trained, images)
    assert scores.shape == (90, 1, 3)
    np.testing.assert_allclose(scores.sum(axis=2), 1)
    assert (scores[:, 0].argmax(axis=1) == labels).mean() > 0.9
    assert open_model(f"convnet:{tmp_path}/network_0.safetensors").labels == ("red", "green", "blue")
    with pytest.raises(ConfigError, match="learns 0 to 1"):
        train_zoo(images, labels, [TINY], epochs=1, seed=0)
    with pytest.raises(ConfigError, match="uint8"):
        train_zoo(images / 255.0, labels, [spec], epochs=1, seed=0)


def test_textures_differ_in_nothing_simple() -> None:
    images, labels = planted_textures(0, 2_000)
    assert labels.sum() == 1_000
    for feature in (images.mean(axis=(1, 2, 3)), images.std(axis=(1, 2)).mean(axis=1), *images.mean(axis=(1, 2)).T):
        gap = feature[labels == 1].mean() - feature[labels == 0].mean()
        assert abs(gap) < 0.15 * feature.std()
    again = planted_textures(0, 2_000)
    np.testing.assert_array_equal(images, again.images)


def test_weights_find_the_broken_network() -> None:
    layouts = ((2, 8, 3, "relu"), (2, 8, 3, "prelu"), (2, 6, 3, "relu"), (2, 8, 3, "relu"), (2, 6, 3, "prelu"))
    scores = texture_scores(0, train=400, fit=200, test=400, layouts=layouts)

    trials = texture_trials(scores)
    assert all(agrees(trial) for trial in trials[:2]), "no worse than the average and the best single network"

    def fitted(columns: slice) -> tuple[float, float, float, Any]:
        """Accuracy of least squares, of the average and of the best single network on the test images; the weights."""
        design = np.column_stack([scores.fit[:, columns], np.ones(200)])
        weights = np.linalg.lstsq(design, scores.fit_labels, rcond=None)[0]
        best = np.argmax((scores.fit_labels == (scores.fit[:, columns] >= 0.5).T).mean(axis=1))
        test = scores.test[:, columns]
        mixture = test @ weights[:-1] + weights[-1]
        values = (accuracy(s, scores.test_labels) for s in (mixture, test.mean(axis=1), test[:, best]))
        return (*values, weights[:-1])  # type: ignore[return-value]

    ols, average, single, _ = fitted(SOUND)
    assert ols > 0.85
    assert ols >= average - 0.005 and ols >= single - 0.005
    ols, average, _, weights = fitted(BROKEN)
    assert ols > average and trials[2].estimate.value == pytest.approx(ols - average)
    assert abs(weights[-1]) < 0.5 * np.abs(weights).max()
    assert abs(accuracy(scores.test[:, 5], scores.test_labels) - 0.5) < 0.1
