"""Sentence encoders of the transformers layout, with what sentence-transformers puts beside them."""

from __future__ import annotations

import json
import math
import pickle
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from assaymark.audit import ModelRole
from assaymark.errors import ModelError, UnsafeFile
from assaymark.models.opening import open_model, open_role
from assaymark.models.protocols import capabilities_of
from assaymark.models.sentence_modules import POOLINGS

Saver = Callable[..., Path]
Matrix = npt.NDArray[np.float64]
PACKAGE = "sentence_transformers.models"


def write(folder: Path, file: str, content: Any) -> None:
    path = folder / file
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content))


def state(folder: Path, *steps: str, pooling: dict[str, Any] | None = None, package: str = PACKAGE) -> None:
    """Write modules.json with the steps `Pooling`, `Dense` and `Normalize` behind the transformer."""
    listed = [{"idx": 0, "name": "0", "path": "", "type": f"{package}.Transformer"}]
    listed += [{"path": f"{row}_{step}", "type": f"{package}.{step}"} for row, step in enumerate(steps, 1)]
    write(folder, "modules.json", listed)
    write(folder, "1_Pooling/config.json", pooling or {"word_embedding_dimension": 16, "pooling_mode_mean_tokens": True})


def add_dense(
    folder: Path, name: str = "2_Dense", *, activation: str = "torch.nn.modules.activation.Tanh", **settings: Any
) -> tuple[Matrix, Matrix]:
    """Write a dense layer from 16 to 6 numbers, and return its weight and bias."""
    from safetensors.numpy import save_file

    rng = np.random.default_rng(3)
    weight, bias = rng.normal(size=(6, 16)).astype(np.float32), rng.normal(size=6).astype(np.float32)
    write(
        folder,
        f"{name}/config.json",
        {"in_features": 16, "out_features": 6, "bias": True, "activation_function": activation} | settings,
    )
    save_file({"linear.weight": weight, "linear.bias": bias}, folder / name / "model.safetensors")
    return weight.astype(float), bias.astype(float)


def token_vectors(folder: Path, texts: Sequence[str], *, longest: int = 16, model_class: str = "AutoModel") -> list[Matrix]:
    """Vectors of the tokens of each text, read by itself: no padding touches them."""
    import torch
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = getattr(transformers, model_class).from_pretrained(folder).eval()
    found = []
    with torch.no_grad():
        for text in texts:
            ids = tokenizer(text, truncation=True, max_length=longest, return_tensors="pt")["input_ids"]
            found.append(np.asarray(model(input_ids=ids).last_hidden_state[0].double().numpy()))
    return found


def pooled(hidden: Matrix, mode: str) -> Matrix:
    """The poolings as sums over one text, token by token."""
    count = len(hidden)
    if mode == "cls":
        return hidden[0]
    if mode == "lasttoken":
        return hidden[-1]
    if mode == "max":
        return np.array([max(column) for column in hidden.T])
    weights = range(1, count + 1) if mode == "weightedmean" else [1] * count
    total = np.array([math.fsum(weight * value for weight, value in zip(weights, column, strict=True)) for column in hidden.T])
    return total / (math.sqrt(count) if mode == "mean_sqrt_len_tokens" else sum(weights))


def unit(rows: Sequence[Matrix]) -> Matrix:
    return np.array([row / math.sqrt(math.fsum(row**2)) for row in rows])


@pytest.mark.parametrize("family", ["bert", "distilbert", "mpnet", "xlm-roberta", "t5"])
def test_families_without_a_stated_pooling_get_the_mean(sentence_encoder: Saver, texts: list[str], family: str) -> None:
    folder = sentence_encoder(family)
    model = open_model(f"hf:{folder}", batch_size=5)
    assert capabilities_of(model) == ("embeds-texts",)
    assert (model.dimension, model.logit_scale) == (16, 1.0)
    assert len(model.notes) == 1 and "states no pooling" in model.notes[0]
    kind = "T5EncoderModel" if family == "t5" else "AutoModel"
    expected = unit([pooled(hidden, "mean") for hidden in token_vectors(folder, texts[:8], model_class=kind)])
    assert expected.std(axis=0).max() > 0.05  # the random model does tell texts apart
    np.testing.assert_allclose(model.embed_texts(texts)[:8], expected, atol=1e-5)


@pytest.mark.parametrize("mode", POOLINGS)
def test_each_pooling_equals_a_sum_over_one_text(sentence_encoder: Saver, texts: list[str], mode: str) -> None:
    folder = sentence_encoder()
    state(folder, "Pooling", "Normalize", pooling={"embedding_dimension": 16, "pooling_mode": mode, "include_prompt": True})
    expected = unit([pooled(hidden, mode) for hidden in token_vectors(folder, texts[:8])])
    model = open_model(f"hf:{folder}")
    assert model.notes == ()
    np.testing.assert_allclose(model.embed_texts(texts)[:8], expected, atol=1e-5)


def test_flags_of_older_files_are_put_side_by_side(sentence_encoder: Saver, texts: list[str]) -> None:
    folder = sentence_encoder()
    flags = {"pooling_mode_mean_tokens": True, "pooling_mode_lasttoken": False, "pooling_mode_cls_token": True}
    state(folder, "Pooling", pooling={"word_embedding_dimension": 16, **flags})
    hidden = token_vectors(folder, texts[:4])
    expected = unit([np.concatenate([pooled(one, "cls"), pooled(one, "mean")]) for one in hidden])
    model = open_model(f"hf:{folder}")
    assert model.dimension == 32
    np.testing.assert_allclose(model.embed_texts(texts[:4]), expected, atol=1e-5)


def test_newer_files_state_modes_as_a_list_in_their_order(sentence_encoder: Saver, texts: list[str]) -> None:
    folder = sentence_encoder()
    state(
        folder,
        "Pooling",
        pooling={"embedding_dimension": 16, "pooling_mode": ["max", "cls"]},
        package="sentence_transformers.sentence_transformer.modules.some_file",
    )
    hidden = token_vectors(folder, texts[:4])
    expected = unit([np.concatenate([pooled(one, "max"), pooled(one, "cls")]) for one in hidden])
    np.testing.assert_allclose(open_model(f"hf:{folder}").embed_texts(texts[:4]), expected, atol=1e-5)


def test_dense_layers_are_applied_in_their_order(sentence_encoder: Saver, texts: list[str]) -> None:
    folder = sentence_encoder()
    state(folder, "Pooling", "Normalize", "Dense")
    weight, bias = add_dense(folder, "3_Dense")
    means = unit([pooled(hidden, "mean") for hidden in token_vectors(folder, texts[:6])])
    model = open_model(f"hf:{folder}")
    assert model.dimension == 6
    np.testing.assert_allclose(model.embed_texts(texts[:6]), unit(list(np.tanh(means @ weight.T + bias))), atol=1e-5)


@pytest.mark.parametrize("architecture", ["BertForMaskedLM", "BertLMHeadModel"])
@pytest.mark.parametrize("file", ["modules.json", "1_Pooling/config.json"])
def test_a_stated_pooling_comes_before_the_architecture(sentence_encoder: Saver, architecture: str, file: str) -> None:
    """all-mpnet-base-v2 says that it is a masked model, and embedders made from decoders say ...ForCausalLM."""
    folder = sentence_encoder()
    expected = open_model(f"hf:{folder}").embed_texts(["the cat"])
    config = json.loads((folder / "config.json").read_text())
    write(folder, "config.json", {**config, "architectures": [architecture]})
    state(folder, "Pooling")
    if file == "1_Pooling/config.json":
        (folder / "modules.json").unlink()
    model = open_model(f"hf:{folder}")
    assert capabilities_of(model) == ("embeds-texts",)
    np.testing.assert_array_equal(model.embed_texts(["the cat"]), expected)


def test_neither_batch_nor_order_matters(sentence_encoder: Saver, texts: list[str]) -> None:
    folder = sentence_encoder()
    one, many = open_model(f"hf:{folder}", batch_size=1), open_model(f"hf:{folder}", batch_size=64)
    order = np.random.default_rng(0).permutation(len(texts))
    np.testing.assert_allclose(one.embed_texts(texts), many.embed_texts(texts), atol=1e-5)
    np.testing.assert_allclose(many.embed_texts([texts[row] for row in order]), many.embed_texts(texts)[order], atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(many.embed_texts(texts), axis=1), 1, atol=1e-6)
    assert many.embed_texts([]).shape == (0, 16)


@pytest.mark.parametrize("size", [1, 8])
def test_texts_without_a_token_of_their_own_are_nan(sentence_encoder: Saver, size: int) -> None:
    model = open_model(f"hf:{sentence_encoder()}", batch_size=size)
    vectors = model.embed_texts(["the cat", "", None, " \n", "\u3000", "\ud800", "the cat"])
    np.testing.assert_array_equal(np.isnan(vectors).all(axis=1), [False, True, True, True, True, False, False])
    assert np.isfinite(vectors[[0, 5, 6]]).all()
    np.testing.assert_allclose(vectors[0], vectors[-1], atol=1e-6)


def test_what_the_tokenizer_drops_is_nan_too(sentence_encoder: Saver) -> None:
    folder = sentence_encoder()
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    tokenizer["normalizer"] = {"type": "Replace", "pattern": {"String": "\x07"}, "content": ""}
    write(folder, "tokenizer.json", tokenizer)
    for size in (1, 8):
        vectors = open_model(f"hf:{folder}", batch_size=size).embed_texts(["\x07\x07", "a\x07", "a"])
        assert np.isnan(vectors[0]).all()
        np.testing.assert_allclose(vectors[1], vectors[2], atol=1e-6)


def test_the_stated_length_cuts(sentence_encoder: Saver, texts: list[str]) -> None:
    folder = sentence_encoder()
    write(folder, "sentence_bert_config.json", {"max_seq_length": 5, "do_lower_case": False})
    text = "the cat sat on a mat"
    expected = unit([pooled(token_vectors(folder, [text], longest=5)[0], "mean")])
    np.testing.assert_allclose(open_model(f"hf:{folder}").embed_texts([text]), expected, atol=1e-5)
    write(folder, "sentence_bert_config.json", {"max_seq_length": 4_000})  # the position table has room for 16
    long = " ".join(["cat"] * 100)
    expected = unit([pooled(token_vectors(folder, [long], longest=16)[0], "mean")])
    np.testing.assert_allclose(open_model(f"hf:{folder}").embed_texts([long]), expected, atol=1e-5)


def test_lower_case_where_the_folder_says_so(sentence_encoder: Saver) -> None:
    folder = sentence_encoder()
    state(folder, "Pooling")
    cased = open_model(f"hf:{folder}").embed_texts(["the cat", "THE Cat"])
    assert not np.allclose(*cased, atol=1e-3)
    write(folder, "sentence_roberta_config.json", {"max_seq_length": 16, "do_lower_case": True})
    lowered = open_model(f"hf:{folder}").embed_texts(["the cat", "THE Cat"])
    np.testing.assert_allclose(lowered, cased[[0, 0]], atol=1e-6)


def test_prompts_and_other_similarities_are_told_not_followed(sentence_encoder: Saver) -> None:
    folder = sentence_encoder()
    state(folder, "Pooling")
    before = open_model(f"hf:{folder}")
    settings = {"prompts": {"query": "query: ", "document": ""}, "default_prompt_name": "query", "similarity_fn_name": "dot"}
    write(folder, "config_sentence_transformers.json", settings)
    model = open_model(f"hf:{folder}")
    assert [note.partition(" states ")[2] for note in model.notes] == [
        "prompts to put before a text (query); none is added",
        "dot as its similarity; its embeddings are scaled to norm 1, for cosines",
    ]
    np.testing.assert_array_equal(model.embed_texts(["a cat"]), before.embed_texts(["a cat"]))
    assert model.fingerprint == before.fingerprint


def test_the_fingerprint_sees_every_file_that_decides(sentence_encoder: Saver) -> None:
    folder = sentence_encoder()
    prints = [open_model(f"hf:{folder}").fingerprint]
    state(folder, "Pooling", "Dense")
    add_dense(folder)
    prints.append(open_model(f"hf:{folder}").fingerprint)
    assert open_model(f"hf:{folder}").fingerprint == prints[-1]
    for file, old, new in (
        ("1_Pooling/config.json", "_mean_tokens", "_max_tokens"),
        ("2_Dense/config.json", "Tanh", "ReLU"),
        ("modules.json", '"name": "0"', '"name": "first"'),
    ):
        content = (folder / file).read_text()
        assert old in content
        (folder / file).write_text(content.replace(old, new))
        prints.append(open_model(f"hf:{folder}").fingerprint)
    weights = bytearray((folder / "2_Dense/model.safetensors").read_bytes())
    weights[-1] ^= 1
    (folder / "2_Dense/model.safetensors").write_bytes(weights)
    prints.append(open_model(f"hf:{folder}").fingerprint)
    write(folder, "sentence_bert_config.json", {"max_seq_length": 8})
    prints.append(open_model(f"hf:{folder}").fingerprint)
    assert len(set(prints)) == len(prints) == 7


def test_a_pickle_carries_no_weights(sentence_encoder: Saver, texts: list[str]) -> None:
    folder = sentence_encoder()
    state(folder, "Pooling", "Dense")
    add_dense(folder)
    model = open_model(f"hf:{folder}")
    expected = model.embed_texts(texts)
    copy = pickle.loads(pickle.dumps(model))
    assert copy._parts is None
    assert (copy.dimension, copy.fingerprint, copy.notes) == (model.dimension, model.fingerprint, model.notes)
    np.testing.assert_array_equal(copy.embed_texts(texts), expected)


def test_the_layer_behind_the_first_token_may_lack_and_no_other(sentence_encoder: Saver, texts: list[str]) -> None:
    from safetensors.numpy import load_file, save_file

    folder = sentence_encoder()
    expected = open_model(f"hf:{folder}").embed_texts(texts)
    tensors = load_file(folder / "model.safetensors")
    without = {name: values for name, values in tensors.items() if not name.startswith("pooler.")}
    assert len(without) == len(tensors) - 2
    save_file(without, folder / "model.safetensors", metadata={"format": "pt"})
    np.testing.assert_array_equal(open_model(f"hf:{folder}").embed_texts(texts), expected)
    gone = "encoder.layer.1.output.dense.weight"
    save_file({k: v for k, v in without.items() if k != gone}, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match="lacks 1 weights"):
        open_model(f"hf:{folder}").embed_texts(texts)


def test_code_and_steps_that_are_not_known_are_refused(sentence_encoder: Saver) -> None:
    folder = sentence_encoder()
    for step, package in (("LSTM", PACKAGE), ("Pooling", "modeling_mine"), ("WordWeights", PACKAGE)):
        state(folder, step, package=package)
        with pytest.raises(ModelError, match=r"modules\.json: step [01] is .* no code of a repository is run"):
            open_model(f"hf:{folder}")
    for path in ("../1_Pooling", "/etc", None):
        write(folder, "modules.json", [{"path": path, "type": f"{PACKAGE}.Pooling"}])
        with pytest.raises(ModelError, match="entry 0 has no folder of its own"):
            open_model(f"hf:{folder}")
    for listed in ({"0": {}}, ["Pooling"]):
        write(folder, "modules.json", listed)
        with pytest.raises(ModelError, match=r"modules\.json: "):
            open_model(f"hf:{folder}")


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"activation_function": "os.system"}, "activation 'system' is none of torch.nn's"),
        ({"activation_function": "torch.nn.Softmax"}, "activation 'Softmax' is none"),
        ({"use_residual": True}, "residual"),
        ({"module_input_name": "token_embeddings"}, "on token vectors"),
        ({"in_features": 12}, "a dense layer for 12 numbers follows vectors of 16"),
        ({"out_features": None}, "whole numbers"),
    ],
)
def test_dense_layers_that_do_not_fit_are_refused(sentence_encoder: Saver, settings: dict[str, Any], says: str) -> None:
    folder = sentence_encoder()
    state(folder, "Pooling", "Dense")
    add_dense(folder, **settings)
    with pytest.raises(ModelError, match=rf"2_Dense/config\.json: .*{says}"):
        open_model(f"hf:{folder}")


def test_dense_weights_are_safetensors_of_the_stated_shape(sentence_encoder: Saver) -> None:
    folder = sentence_encoder()
    state(folder, "Pooling", "Dense")
    add_dense(folder, bias=False)
    with pytest.raises(ModelError, match=r"2_Dense/model\.safetensors holds .*bias.*; its configuration states"):
        open_model(f"hf:{folder}").embed_texts(["a cat"])
    (folder / "2_Dense/model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"2_Dense/model\.safetensors is missing"):
        open_model(f"hf:{folder}")
    (folder / "2_Dense/pytorch_model.bin").write_bytes(b"\x80")
    with pytest.raises(UnsafeFile, match=r"2_Dense/pytorch_model\.bin can run code"):
        open_model(f"hf:{folder}")


@pytest.mark.parametrize(
    ("file", "content", "says"),
    [
        ("1_Pooling/config.json", {"pooling_mode": "median"}, "pooling_mode='median' must be one or more of cls, max"),
        ("1_Pooling/config.json", {"word_embedding_dimension": 384}, "vectors of 384 numbers, but the model's have 16"),
        ("1_Pooling/config.json", [], "cannot be read as a JSON dict"),
        ("sentence_bert_config.json", {"max_seq_length": -1}, "must be a positive whole number"),
        ("sentence_bert_config.json", {"transformer_task": "fill-mask"}, "token vectors need 'feature-extraction'"),
    ],
)
def test_settings_that_do_not_fit_name_their_file(sentence_encoder: Saver, file: str, content: Any, says: str) -> None:
    folder = sentence_encoder()
    state(folder, "Pooling")
    write(folder, file, content)
    with pytest.raises(ModelError, match=file.replace(".", r"\.")) as caught:
        open_model(f"hf:{folder}")
    assert says in str(caught.value)


def test_other_models_without_a_head_stay_refused(sentence_encoder: Saver, torch: Any, tmp_path: Path) -> None:
    import transformers

    folder = sentence_encoder()
    config = json.loads((folder / "config.json").read_text())
    write(folder, "config.json", {**config, "architectures": ["CLIPTextModel"], "model_type": "clip_text_model"})
    with pytest.raises(ModelError, match=r"supported are .*sentence encoders"):
        open_model(f"hf:{folder}")
    write(folder, "config.json", config)
    for file in ("tokenizer.json", "tokenizer_config.json"):
        (folder / file).unlink()
    with pytest.raises(ModelError, match="supported are"):
        open_model(f"hf:{folder}")
    pair = sentence_encoder(name="pair")
    size = {"d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2, "decoder_attention_heads": 2}
    transformers.BartModel(transformers.BartConfig(vocab_size=40, **size)).save_pretrained(pair)
    with pytest.raises(ModelError, match="bart is no text encoder"):
        open_model(f"hf:{pair}")


def test_roles_take_it_for_texts_alone(sentence_encoder: Saver) -> None:
    spec = f"hf:{sentence_encoder()}"
    model = open_role(ModelRole("encoder", "embeds texts", all_of=("embeds-texts",)), spec)
    vectors = model.embed_texts(["a cat", "", "a cat"])
    assert np.isnan(vectors[1]).all()
    np.testing.assert_array_equal(vectors[0], vectors[2])
    assert (model.calls, model.cached) == (2, 1)
    with pytest.raises(ModelError, match="lacks embeds-images; it offers embeds-texts"):
        open_role(ModelRole("dual_encoder", "both", all_of=("embeds-images", "embeds-texts")), spec)
