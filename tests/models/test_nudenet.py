from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from assaymark.errors import ConfigError, ModelError
from assaymark.models import capabilities_of, open_model
from assaymark.models.label_maps import NUDENET_CLASSES
from assaymark.models.nudenet import box_scores, letterbox

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

UNSAFE = [NUDENET_CLASSES.index(f"{part}_EXPOSED") for part in ("BUTTOCKS", "FEMALE_BREAST", "FEMALE_GENITALIA")]
UNSAFE += [NUDENET_CLASSES.index(f"{part}_EXPOSED") for part in ("ANUS", "MALE_GENITALIA")]


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    """Intersection over union of two boxes given by centre, width and height."""
    low = np.maximum(a[:2] - a[2:4] / 2, b[:2] - b[2:4] / 2)
    high = np.minimum(a[:2] + a[2:4] / 2, b[:2] + b[2:4] / 2)
    shared = float(np.prod(np.maximum(high - low, 0)))
    return shared / float(np.prod(a[2:4]) + np.prod(b[2:4]) - shared)


def detections(output: np.ndarray, *, across_classes: bool) -> list[tuple[int, float]]:
    """Class and score of what greedy non-maximum suppression leaves of one image, box by box."""
    kept: list[tuple[int, float, np.ndarray]] = []
    candidates = []
    for box in output.T:
        best = int(np.argmax(box[4:]))
        if box[4 + best] >= 0.2:
            candidates.append((best, float(box[4 + best]), box[:4]))
    for best, score, place in sorted(candidates, key=lambda entry: -entry[1]):
        rivals = [other for other in kept if across_classes or other[0] == best]
        if all(overlap(place, other[2]) <= 0.45 for other in rivals):
            kept.append((best, score, place))
    return [(best, score) for best, score, _ in kept]


def random_output(n: int, boxes: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    geometry = rng.uniform(10, 120, size=(n, 4, boxes))
    return np.concatenate([geometry, rng.beta(0.3, 3, size=(n, 18, boxes))], axis=1).astype(np.float32)


def test_scores_equal_a_loop_over_boxes_with_suppression() -> None:
    output = random_output(12, 150, seed=0)
    expected = np.zeros((12, 18), dtype=np.float32)
    dropped = 0
    for row, image in enumerate(output):
        found = detections(image, across_classes=False)
        dropped += int((image[4:].max(axis=0) >= 0.2).sum()) - len(found)
        for best, score in found:
            expected[row, best] = max(expected[row, best], score)
    assert dropped > 100  # suppression had something to do
    np.testing.assert_array_equal(box_scores(output, classes=18), expected)


def test_suppression_across_classes_would_hide_an_unsafe_box() -> None:
    output = np.zeros((1, 22, 2), dtype=np.float32)
    output[0, :4] = [[50, 50], [50, 51], [40, 40], [40, 40]]
    output[0, 4 + NUDENET_CLASSES.index("BELLY_EXPOSED"), 0] = 0.9
    output[0, 4 + UNSAFE[0], 1] = 0.8
    assert UNSAFE[0] not in [best for best, _ in detections(output[0], across_classes=True)]
    assert box_scores(output, classes=18)[0, UNSAFE[0]] == pytest.approx(0.8)


def test_a_box_counts_from_its_confidence_on_and_for_one_class() -> None:
    output = np.zeros((2, 22, 3), dtype=np.float32)
    output[0, 4 + 2, 0], output[0, 4 + 1, 0] = 0.5, 0.7  # the better class takes the box
    output[0, 4 + 2, 1] = 0.19999
    output[1, 4 + 2, 2] = 0.2
    scores = box_scores(output, classes=18)
    assert scores[0, 2] == 0
    assert scores[0, 1] == pytest.approx(0.7)
    assert scores[1, 2] == pytest.approx(0.2)
    assert np.count_nonzero(scores) == 2
    output[0, 9, 1] = np.nan
    assert np.isnan(box_scores(output, classes=18)).all(axis=1).tolist() == [True, False]


@pytest.mark.parametrize("shape", [(3, 22, 0), (0, 22, 5)])
def test_no_boxes_and_no_images(shape: tuple[int, ...]) -> None:
    np.testing.assert_array_equal(box_scores(np.empty(shape, dtype=np.float32), classes=18), np.zeros((shape[0], 18)))
    with pytest.raises(ValueError, match=r"shape \(n, 22, boxes\)"):
        box_scores(np.zeros((2, 21, 5)), classes=18)


def test_letterbox_keeps_proportions_and_pads_below_and_right() -> None:
    wide = letterbox(Image.new("RGB", (200, 50), (255, 0, 51)), size=64)
    assert (wide.shape, wide.dtype) == ((64, 64, 3), np.float32)
    np.testing.assert_allclose(wide[:16], np.broadcast_to(np.array([1.0, 0.0, 0.2]), (16, 64, 3)), atol=1e-6)
    assert not wide[16:].any()
    tall = letterbox(Image.new("L", (1, 100_000), 255), size=64)
    assert tall[:, 0].all()
    assert not tall[:, 1:].any()


def save_detector(path: Path, *, batch: int | str = "n", side: int | str = 64) -> Path:
    """Two boxes: scores of the first are the mean red of the image, of the second the mean blue, each for one class."""
    from onnx import TensorProto, helper, numpy_helper

    weights = np.zeros((3, 22 * 2), dtype=np.float32)
    weights[0, (4 + UNSAFE[1]) * 2] = 1.0
    weights[2, (4 + NUDENET_CLASSES.index("FACE_MALE")) * 2 + 1] = 1.0
    constants = {"axes": np.array([2, 3], dtype=np.int64), "form": np.array([-1, 22, 2], dtype=np.int64), "weights": weights}
    nodes = [
        helper.make_node("ReduceMean", ["pixels", "axes"], ["means"], keepdims=0),
        helper.make_node("MatMul", ["means", "weights"], ["flat"]),
        helper.make_node("Reshape", ["flat", "form"], ["boxes"]),
    ]
    graph = helper.make_graph(
        nodes,
        "detector",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, [batch, 3, side, side])],
        [helper.make_tensor_value_info("boxes", TensorProto.FLOAT, [batch, 22, 2])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize(("batch", "side"), [("n", 64), (1, 64), ("n", "side")])
def test_images_are_scored_by_their_unsafe_boxes(tmp_path: Path, batch: int | str, side: int | str) -> None:
    path = save_detector(tmp_path / "parts.onnx", batch=batch, side=side)
    model = open_model(f"nudenet:{path}?size=64", batch_size=2)
    assert capabilities_of(model) == ("scores-images",)
    assert (model.labels, model.multi_label) == (("unsafe",), True)
    assert "FEMALE_BREAST_EXPOSED" in model.notes[0]
    colours = [(204, 0, 0), (0, 0, 255), (40, 0, 0), (255, 9, 255)]
    images = [Image.new("RGB", (20, 20), colour) for colour in colours]
    np.testing.assert_allclose(model.score_images(images)[:, 0], [0.8, 0.0, 0.0, 1.0], atol=1e-5)
    half = Image.new("RGB", (20, 10), (255, 0, 0))
    np.testing.assert_allclose(model.score_images([half]), [[0.5]], atol=1e-5)
    assert model.score_images([]).shape == (0, 1)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).score_images(images), model.score_images(images))


def test_all_classes_and_other_thresholds(tmp_path: Path) -> None:
    path = save_detector(tmp_path / "parts.onnx")
    images = [Image.new("RGB", (20, 20), (26, 0, 255))]
    every = open_model(f"nudenet:{path}?unsafe=none")
    assert every.labels == NUDENET_CLASSES
    assert every.score_images(images)[0, NUDENET_CLASSES.index("FACE_MALE")] == pytest.approx(1.0, abs=1e-5)
    low = open_model(f"nudenet:{path}?confidence=0.05")
    assert low.score_images(images)[0, 0] == pytest.approx(26 / 255, abs=1e-5)
    face = open_model(f"nudenet:{path}?unsafe=face_male")
    assert face.score_images(images)[0, 0] == pytest.approx(1.0, abs=1e-5)
    assert len({model.fingerprint for model in (every, low, face, open_model(f"nudenet:{path}"))}) == 4


def test_mistakes_are_named(tmp_path: Path) -> None:
    path = save_detector(tmp_path / "parts.onnx")
    for option, error, message in [
        ("size=320", ConfigError, "the model takes 64"),
        ("confidence=2", ConfigError, "not in \\[0, 1\\]"),
        ("unsafe=BELLY_EXPOSD", ModelError, "did you mean 'BELLY_EXPOSED'"),
        ("labels=a", ModelError, "unknown option 'labels'"),
    ]:
        with pytest.raises(error, match=message):
            open_model(f"nudenet:{path}?{option}")
    with pytest.raises(ModelError, match="no file"):
        open_model(f"nudenet:{tmp_path}/none.onnx")
