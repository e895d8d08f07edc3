from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from assaymark.errors import ConfigError, MissingExtra, ModelError
from assaymark.models import capabilities_of, open_model

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

WEIGHTS = np.array([[4.0, -4.0], [0.0, 1.0], [-2.0, 3.0]], dtype=np.float32)  # (channel, output)


def save_model(path: Path, *, batch: int | str = "n", size: int | str = 8, layout: str = "nchw", softmax: bool = False) -> Path:
    """Outputs are the mean of each channel times WEIGHTS."""
    from onnx import TensorProto, helper, numpy_helper

    shape = [batch, 3, size, size] if layout == "nchw" else [batch, size, size, 3]
    axes = numpy_helper.from_array(np.array([2, 3] if layout == "nchw" else [1, 2], dtype=np.int64), "axes")
    weights = numpy_helper.from_array(WEIGHTS, "weights")
    nodes = [
        helper.make_node("ReduceMean", ["pixels", "axes"], ["means"], keepdims=0),
        helper.make_node("MatMul", ["means", "weights"], ["logits"]),
    ]
    if softmax:
        nodes.append(helper.make_node("Softmax", ["logits"], ["scores"], axis=1))
    output = helper.make_tensor_value_info("scores" if softmax else "logits", TensorProto.FLOAT, [batch, 2])
    given = helper.make_tensor_value_info("pixels", TensorProto.FLOAT, shape)
    graph = helper.make_graph(nodes, "tiny", [given], [output], [axes, weights])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    path.write_bytes(model.SerializeToString())
    return path


def flat_images() -> tuple[list[Image.Image], np.ndarray]:
    colours = np.array([[255, 0, 0], [0, 255, 0], [10, 20, 250], [128, 128, 128], [0, 0, 0]])
    return [Image.new("RGB", (13, 9), tuple(map(int, colour))) for colour in colours], colours / 255.0


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
def test_scores_equal_the_formula(tmp_path: Path, activation: str, layout: str) -> None:
    path = save_model(tmp_path / "head.onnx", layout=layout)
    options = f"labels=unsafe,fine&mean=0.5,0.4,0.3&std=0.2,0.3,0.4&activation={activation}&layout={layout}"
    model = open_model(f"onnx:{path}?{options}", batch_size=2)
    images, pixels = flat_images()
    logits = ((pixels - [0.5, 0.4, 0.3]) / [0.2, 0.3, 0.4]) @ WEIGHTS
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    expected = powers / powers.sum(axis=1, keepdims=True) if activation == "softmax" else 1 / (1 + np.exp(-logits))
    assert capabilities_of(model) == ("scores-images",)
    assert (model.labels, model.multi_label) == (("unsafe", "fine"), activation == "sigmoid")
    np.testing.assert_allclose(model.score_images(images), expected, atol=1e-5)
    assert model.score_images([]).shape == (0, 2)


def test_sidecar_says_it_and_the_spec_overrides(tmp_path: Path) -> None:
    path = save_model(tmp_path / "head.onnx", size="side")
    stated = {"labels": ["unsafe", "fine"], "size": 12, "mean": [0.1, 0.1, 0.1], "activation": "softmax", "multi_label": False}
    path.with_suffix(".json").write_text(json.dumps(stated))
    model = open_model("onnx:head.onnx", base=tmp_path)
    assert (model.labels, model._format.size, model.multi_label) == (("unsafe", "fine"), 12, False)
    other = open_model("onnx:head.onnx?activation=sigmoid&multi_label=true", base=tmp_path)
    assert other.multi_label
    assert other.fingerprint != model.fingerprint


def test_a_fixed_batch_is_filled_up(tmp_path: Path) -> None:
    images, _ = flat_images()
    free = open_model(f"onnx:{save_model(tmp_path / 'free.onnx')}?labels=a,b&activation=sigmoid")
    fixed = open_model(f"onnx:{save_model(tmp_path / 'fixed.onnx', batch=4)}?labels=a,b&activation=sigmoid")
    np.testing.assert_allclose(fixed.score_images(images), free.score_images(images), atol=1e-6)


def test_outputs_that_are_probabilities_already(tmp_path: Path) -> None:
    images, _ = flat_images()
    path = save_model(tmp_path / "head.onnx", softmax=True)
    scores = open_model(f"onnx:{path}?labels=a,b").score_images(images)
    np.testing.assert_allclose(scores.sum(axis=1), 1, atol=1e-5)
    raw = save_model(tmp_path / "raw.onnx")
    with pytest.raises(ModelError, match="no probabilities; add activation=softmax"):
        open_model(f"onnx:{raw}?labels=a,b").score_images(images)
    with pytest.raises(ModelError, match="2 outputs, but 3 labels"):
        open_model(f"onnx:{path}?labels=a,b,c").score_images(images)


def test_crop_keeps_the_middle_and_squash_all(tmp_path: Path) -> None:
    path = save_model(tmp_path / "head.onnx")
    wide = Image.new("RGB", (24, 8), (0, 0, 0))
    wide.paste((255, 0, 0), (8, 0, 16, 8))
    crop = open_model(f"onnx:{path}?labels=a,b&activation=sigmoid&resize=crop").score_images([wide])
    squash = open_model(f"onnx:{path}?labels=a,b&activation=sigmoid").score_images([wide])
    full = open_model(f"onnx:{path}?labels=a,b&activation=sigmoid").score_images([Image.new("RGB", (8, 8), (255, 0, 0))])
    np.testing.assert_allclose(crop, full, atol=1e-5)
    assert squash[0, 0] < crop[0, 0] - 0.1


def test_pickle_reopens_the_session(tmp_path: Path) -> None:
    images, _ = flat_images()
    model = open_model(f"onnx:{save_model(tmp_path / 'head.onnx')}?labels=a,b&activation=softmax")
    copy = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(copy.score_images(images), model.score_images(images))


def test_mistakes_are_named(tmp_path: Path) -> None:
    path = save_model(tmp_path / "head.onnx")
    free = save_model(tmp_path / "free.onnx", size="side")
    (tmp_path / "broken.onnx").write_bytes(b"no model")
    for spec, error, message in [
        (f"onnx:{path}", ModelError, "name its outputs: add labels=a,b"),
        (f"onnx:{path}?labels=a,b&size=9", ModelError, "the model takes 8"),
        (f"onnx:{free}?labels=a,b", ModelError, "size=224 or the like"),
        (f"onnx:{path}?labels=a,b&activation=tanh", ConfigError, "activation is 'tanh'"),
        (f"onnx:{path}?labels=a,b&std=1,0,1", ConfigError, "std must be three numbers"),
        (f"onnx:{path}?label=a,b", ModelError, "did you mean 'labels'"),
        (f"onnx:{tmp_path}/none.onnx?labels=a", ModelError, "no file"),
        (f"onnx:{tmp_path}/broken.onnx?labels=a", ModelError, r"cannot load broken\.onnx"),
    ]:
        with pytest.raises(error, match=message) as caught:
            open_model(spec)
        assert "\n" not in str(caught.value)


def test_without_the_library_the_install_line_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save_model(tmp_path / "head.onnx")
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    with pytest.raises(MissingExtra, match=r"pip install 'assaymark\[vision\]'"):
        open_model(f"onnx:{path}?labels=a,b")


def save_head(path: Path, *, dimension: int | str = 6, batch: int | str = "n", outputs: int = 1, sigmoid: bool = True) -> Path:
    """A linear head with weights 0, 1, 2, ... / 10."""
    from onnx import TensorProto, helper, numpy_helper

    columns = dimension if isinstance(dimension, int) else 6
    weights = np.arange(columns * outputs, dtype=np.float32).reshape(columns, outputs) / 10
    nodes = [helper.make_node("MatMul", ["vectors", "weights"], ["logits"])]
    if sigmoid:
        nodes.append(helper.make_node("Sigmoid", ["logits"], ["scores"]))
    graph = helper.make_graph(
        nodes,
        "head",
        [helper.make_tensor_value_info("vectors", TensorProto.FLOAT, [batch, dimension])],
        [helper.make_tensor_value_info("scores" if sigmoid else "logits", TensorProto.FLOAT, [batch, outputs])],
        [numpy_helper.from_array(weights, "weights")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    path.write_bytes(model.SerializeToString())
    return path


def unit_vectors(n: int, d: int = 6) -> np.ndarray:
    vectors = np.random.default_rng(5).normal(size=(n, d)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.mark.parametrize("batch", ["n", 4])
def test_embedding_heads_are_told_by_the_rank_of_their_input(tmp_path: Path, batch: int | str) -> None:
    model = open_model(f"onnx:{save_head(tmp_path / 'head.onnx', batch=batch)}", batch_size=3)
    assert capabilities_of(model) == ("scores-embeddings",)
    assert (model.labels, model.dimension, model.multi_label) == (("unsafe",), 6, False)
    vectors = unit_vectors(7)
    expected = 1 / (1 + np.exp(-(vectors @ (np.arange(6) / 10))))
    np.testing.assert_allclose(model.score_embeddings(vectors)[:, 0], expected, atol=1e-6)
    np.testing.assert_allclose(pickle.loads(pickle.dumps(model)).score_embeddings(vectors)[:, 0], expected, atol=1e-6)
    assert model.score_embeddings(vectors[:0]).shape == (0, 1)
    with pytest.raises(ModelError, match=r"embeddings of width 6; their shape is \(2, 5\)"):
        model.score_embeddings(unit_vectors(2, 5))


def test_regression_heads_are_clipped(tmp_path: Path) -> None:
    path = save_head(tmp_path / "head.onnx", sigmoid=False)
    vectors = unit_vectors(20) * 3
    raw = vectors @ (np.arange(6) / 10)
    assert raw.min() < -0.1
    assert raw.max() > 1
    clipped = open_model(f"onnx:{path}?activation=clip").score_embeddings(vectors)[:, 0]
    np.testing.assert_allclose(clipped, np.clip(raw, 0, 1), atol=1e-5)
    with pytest.raises(ModelError, match="no probabilities"):
        open_model(f"onnx:{path}").score_embeddings(vectors)


def test_heads_with_several_outputs_are_reduced_by_the_table(tmp_path: Path) -> None:
    path = save_head(tmp_path / "head.onnx", outputs=5, sigmoid=False)
    vectors = unit_vectors(8)
    logits = vectors @ (np.arange(30).reshape(6, 5) / 10)
    powers = np.exp(logits)
    shares = powers / powers.sum(axis=1, keepdims=True)
    model = open_model(f"onnx:{path}?activation=softmax&labels=sexy,neutral,porn,drawings,hentai")
    np.testing.assert_allclose(model.score_embeddings(vectors)[:, 0], shares[:, [0, 2, 4]].sum(axis=1), atol=1e-5)
    assert "the sum of sexy, porn, hentai" in model.notes[0]
    every = open_model(f"onnx:{path}?activation=softmax&unsafe=none&labels=sexy,neutral,porn,drawings,hentai")
    np.testing.assert_allclose(every.score_embeddings(vectors), shares, atol=1e-5)
    assert every.fingerprint != model.fingerprint


def test_mistakes_about_heads_are_named(tmp_path: Path) -> None:
    free, two = save_head(tmp_path / "free.onnx", dimension="d"), save_head(tmp_path / "two.onnx", outputs=2)
    for spec, message in [
        (f"onnx:{free}", "dimension=768 or the like"),
        (f"onnx:{two}?labels=a,b&dimension=5", "the model takes 6"),
        (f"onnx:{two}", "name its outputs"),
        (f"onnx:{two}?labels=a,b&size=224", "unknown option 'size'"),
    ]:
        with pytest.raises(ModelError, match=message):
            open_model(spec)
    assert open_model(f"onnx:{free}?dimension=6").dimension == 6


def test_blue_first(tmp_path: Path) -> None:
    images, pixels = flat_images()
    path = save_model(tmp_path / "head.onnx")
    options = "labels=unsafe,fine&activation=sigmoid&mean=0.1,0.2,0.3"
    model = open_model(f"onnx:{path}?{options}&channels=bgr")
    logits = (pixels[:, ::-1] - [0.1, 0.2, 0.3]) @ WEIGHTS
    np.testing.assert_allclose(model.score_images(images), 1 / (1 + np.exp(-logits)), atol=1e-5)


@pytest.mark.parametrize(("preset", "side"), [("keras-mobilenet", 224), ("keras-inception", 299)])
def test_presets_of_the_keras_detectors(tmp_path: Path, preset: str, side: int) -> None:
    from onnx import TensorProto, helper, numpy_helper

    weights = np.random.default_rng(2).normal(size=(3, 5)).astype(np.float32) * 4
    nodes = [
        helper.make_node("ReduceMean", ["pixels", "axes"], ["means"], keepdims=0),
        helper.make_node("MatMul", ["means", "weights"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["scores"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "keras",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["n", side, side, 3])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n", 5])],
        [numpy_helper.from_array(np.array([1, 2], dtype=np.int64), "axes"), numpy_helper.from_array(weights, "weights")],
    )
    path = tmp_path / "keras.onnx"
    path.write_bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9).SerializeToString())
    images, pixels = flat_images()
    powers = np.exp(pixels @ weights)
    shares = powers / powers.sum(axis=1, keepdims=True)  # drawings, hentai, neutral, porn, sexy
    model = open_model(f"onnx:{path}?preset={preset}")
    assert model.labels == ("unsafe",)
    np.testing.assert_allclose(model.score_images(images)[:, 0], shares[:, [1, 3, 4]].sum(axis=1), atol=1e-4)
    with pytest.raises(ModelError, match="unknown preset 'keras-mobilnet' - did you mean 'keras-mobilenet'"):
        open_model(f"onnx:{path}?preset=keras-mobilnet")


@pytest.mark.parametrize("outputs", [1, 2])
def test_preset_of_open_nsfw(tmp_path: Path, outputs: int) -> None:
    """Means of BGR pixels on the scale 0 to 255 minus (104, 117, 123), of the middle 224 of 256 x 256."""
    from onnx import TensorProto, helper, numpy_helper

    weights = np.array([[0.02, 0.01], [0.0, -0.03], [-0.01, 0.02]], dtype=np.float32)
    nodes = [
        helper.make_node("ReduceMean", ["pixels", "axes"], ["means"], keepdims=0),
        helper.make_node("MatMul", ["means", "weights"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["both"], axis=1),
        helper.make_node("Slice", ["both", "first", "last", "axis"], ["scores"]),
    ]
    bounds = {"axes": [2, 3], "first": [2 - outputs], "last": [2], "axis": [1]}
    graph = helper.make_graph(
        nodes,
        "open_nsfw",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["n", 3, 224, 224])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n", outputs])],
        [numpy_helper.from_array(np.array(value, dtype=np.int64), name) for name, value in bounds.items()]
        + [numpy_helper.from_array(weights, "weights")],
    )
    path = tmp_path / "open_nsfw.onnx"
    path.write_bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9).SerializeToString())
    images, pixels = flat_images()
    framed = Image.new("RGB", (256, 256), (255, 255, 255))  # only the margin that is cut off is white
    framed.paste((10, 20, 250), (16, 16, 240, 240))
    logits = (pixels[:, ::-1] * 255 - [104, 117, 123]) @ weights
    expected = 1 / (1 + np.exp(logits[:, 0] - logits[:, 1]))
    model = open_model(f"onnx:{path}?preset=open-nsfw")
    assert model.labels == ("unsafe",)
    np.testing.assert_allclose(model.score_images(images)[:, 0], expected, atol=1e-4)
    np.testing.assert_allclose(model.score_images([framed])[0, 0], expected[2], atol=1e-4)
