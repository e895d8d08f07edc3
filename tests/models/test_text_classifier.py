from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from assaymark.errors import ModelError, UnsafeFile
from assaymark.models import capabilities_of, open_model

Saver = Callable[..., Path]
THREE = {0: "hateful", 1: "targeted", 2: "aggressive"}


def direct_logits(folder: Path, texts: list[str], longest: int) -> np.ndarray:
    """One text at a time through transformers itself: no padding, no batches."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    with torch.no_grad():
        rows = [model(**tokenizer(t, return_tensors="pt", truncation=True, max_length=longest)).logits[0] for t in texts]
    return torch.stack(rows).double().numpy()


def sigmoid(logits: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-logits))


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


@pytest.mark.parametrize(("problem", "activation"), [(None, softmax), ("multi_label_classification", sigmoid)])
def test_equals_a_direct_forward_pass(classifier: Saver, texts: list[str], problem: str | None, activation: Any) -> None:
    folder = classifier(id2label=THREE, label2id={v: k for k, v in THREE.items()}, problem_type=problem)
    model = open_model(f"hf:{folder}", batch_size=5)
    assert capabilities_of(model) == ("scores-texts",)
    assert model.multi_label is (problem is not None)
    assert model.labels == tuple(THREE.values())
    scores = model.score_texts(texts)
    expected = activation(direct_logits(folder, texts, 16))
    assert scores.dtype == np.float32
    assert expected.std(axis=0).min() > 0.005  # the random model does tell texts apart
    np.testing.assert_allclose(scores, expected, atol=1e-5)


def test_labels_follow_the_index_not_the_order_in_the_file(classifier: Saver, texts: list[str]) -> None:
    folder = classifier(id2label=THREE, label2id={v: k for k, v in THREE.items()})
    path = folder / "config.json"
    config = json.loads(path.read_text())
    config["id2label"] = {"2": "hateful", "0": "aggressive", "1": "targeted"}
    config["label2id"] = {"hateful": 2, "aggressive": 0, "targeted": 1}
    path.write_text(json.dumps(config))
    model = open_model(str(folder))
    assert model.labels == ("aggressive", "targeted", "hateful")
    np.testing.assert_allclose(model.score_texts(texts), softmax(direct_logits(folder, texts, 16)), atol=1e-5)


def test_batch_size_and_order_do_not_matter(classifier: Saver, texts: list[str]) -> None:
    folder = classifier(id2label=THREE, label2id={v: k for k, v in THREE.items()})
    whole = open_model(f"hf:{folder}", batch_size=64).score_texts(texts)
    single = open_model(f"hf:{folder}", batch_size=1).score_texts(texts)
    backwards = open_model(f"hf:{folder}", batch_size=4).score_texts(texts[::-1])[::-1]
    np.testing.assert_allclose(whole, single, atol=1e-5)
    np.testing.assert_allclose(whole, backwards, atol=1e-5)


def test_empty_texts_are_nan_and_odd_ones_are_not(classifier: Saver) -> None:
    model = open_model(f"hf:{classifier()}")
    scores = model.score_texts(["", "the cat", " \n\t", "\ud800 lone", "x" * 10_000, "cat " * 5_000])
    assert np.isnan(scores).all(axis=1).tolist() == [True, False, True, False, False, False]
    assert model.score_texts([]).shape == (0, 2)


@pytest.mark.parametrize(
    ("family", "positions", "stated", "longest"),
    [("bert", 16, 10**30, 16), ("bert", 16, 9, 9), ("roberta", 16, 10**30, 15)],
)
def test_long_texts_are_cut_at_the_smaller_limit(
    classifier: Saver, family: str, positions: int, stated: int, longest: int
) -> None:
    folder = classifier(family=family, max_position_embeddings=positions, longest=stated)
    long_text = "red green blue cat dog sat on mat photo of square people are good bad very not and is it " * 3
    scores = open_model(f"hf:{folder}").score_texts([long_text])
    np.testing.assert_allclose(scores, softmax(direct_logits(folder, [long_text], longest)), atol=1e-5)


def test_a_longformer_reads_texts_of_any_length_in_one_batch(classifier: Saver, texts: list[str]) -> None:
    settings = {"max_position_embeddings": 66, "attention_window": [4, 8], "pad_token_id": 1, "longest": 10**30}
    folder = classifier(family="longformer", id2label=THREE, label2id={v: k for k, v in THREE.items()}, **settings)
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "pad_token": "[UNK]"}))  # id 1, as the published models have it
    mixed = [*texts, "", " ".join(texts), " ".join(texts[3:8]), "cat " * 62, "cat " * 63, " ".join(texts * 9)]
    scores = open_model(f"hf:{folder}", batch_size=7).score_texts(mixed)
    assert np.isnan(scores[len(texts)]).all()
    kept = [row for row in range(len(mixed)) if row != len(texts)]
    expected = softmax(direct_logits(folder, [mixed[row] for row in kept], 64))  # 66 positions, two behind the padding index
    assert expected.std(axis=0).min() > 0.005
    np.testing.assert_allclose(scores[kept], expected, atol=1e-5)


def test_a_single_output_is_a_sigmoid_with_a_note(classifier: Saver, texts: list[str]) -> None:
    folder = classifier(num_labels=1, id2label={0: "toxic"}, label2id={"toxic": 0}, problem_type="regression")
    model = open_model(f"hf:{folder}")
    assert model.labels == ("toxic",)
    assert model.multi_label
    assert "single output" in model.notes[0]
    np.testing.assert_allclose(model.score_texts(texts), sigmoid(direct_logits(folder, texts, 16)), atol=1e-5)


def test_decoders_without_a_padding_token_read_the_last_word(classifier: Saver, texts: list[str]) -> None:
    folder = classifier(family="gpt2", pad_token_id=None, eos_token_id=3, bos_token_id=2)
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "pad_token": None}))
    scores = open_model(f"hf:{folder}", batch_size=8).score_texts(texts)
    np.testing.assert_allclose(scores, softmax(direct_logits(folder, texts, 16)), atol=1e-5)


def test_the_spec_can_state_a_missing_problem_type(classifier: Saver, texts: list[str]) -> None:
    folder = classifier(id2label=THREE, label2id={v: k for k, v in THREE.items()})
    plain, corrected = open_model(f"hf:{folder}"), open_model(f"hf:{folder}?multi_label=true")
    np.testing.assert_allclose(corrected.score_texts(texts), sigmoid(direct_logits(folder, texts, 16)), atol=1e-5)
    assert plain.fingerprint != corrected.fingerprint
    with pytest.raises(ModelError, match=r"'multilabel'.*did you mean 'multi_label'"):
        open_model(f"hf:{folder}?multilabel=true")


def test_pickle_carries_no_weights_and_answers_the_same(classifier: Saver, texts: list[str]) -> None:
    model = open_model(f"hf:{classifier(hidden_size=64, intermediate_size=256)}")
    expected = model.score_texts(texts)
    blob = pickle.dumps(model)
    assert len(blob) < 5_000
    copy = pickle.loads(blob)
    assert (copy.labels, copy.fingerprint, copy._parts) == (model.labels, model.fingerprint, None)
    np.testing.assert_array_equal(copy.score_texts(texts), expected)


def test_a_pickled_checkpoint_is_refused_unread(classifier: Saver) -> None:
    folder = classifier()
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'false'\ntR.")
    with pytest.raises(UnsafeFile, match=r"pytorch_model\.bin can run code.*convert") as caught:
        open_model(f"hf:{folder}")
    assert "\n" not in str(caught.value)


def test_safetensors_win_over_a_pickle_beside_them(classifier: Saver, texts: list[str]) -> None:
    folder = classifier()
    expected = open_model(f"hf:{folder}").score_texts(texts)
    (folder / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'false'\ntR.")
    np.testing.assert_array_equal(open_model(f"hf:{folder}").score_texts(texts), expected)


def test_a_checkpoint_without_the_head_is_refused_not_filled_with_noise(classifier: Saver) -> None:
    from safetensors.torch import load_file, save_file

    folder = classifier()
    weights = load_file(folder / "model.safetensors")
    kept = {name: tensor for name, tensor in weights.items() if not name.startswith("classifier")}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"lacks 2 weights of BertForSequenceClassification, such as classifier\.bias"):
        open_model(f"hf:{folder}").score_texts(["the cat"])


def test_code_in_a_model_folder_is_never_run(classifier: Saver, tmp_path: Path) -> None:
    folder = classifier()
    mark = tmp_path / "ran"
    (folder / "modeling_evil.py").write_text(f"open({str(mark)!r}, 'w')\nclass Evil: pass\n")
    path = folder / "config.json"
    config = json.loads(path.read_text())
    config["model_type"] = "evil"
    config["auto_map"] = {
        "AutoConfig": "modeling_evil.Evil",
        "AutoModelForSequenceClassification": "modeling_evil.Evil",
    }
    path.write_text(json.dumps(config))
    with pytest.raises(ModelError, match=r"config\.json cannot be loaded"):
        open_model(f"hf:{folder}").score_texts(["the cat"])
    assert not mark.exists()


def test_fingerprint_sees_weights_labels_and_tokenizer(classifier: Saver) -> None:
    def changed(name: str, edit: Callable[[Path], None]) -> str:
        folder = classifier(name)
        edit(folder)
        return open_model(f"hf:{folder}").fingerprint

    def edit_tensor(folder: Path) -> None:
        from safetensors.torch import load_file, save_file

        weights = load_file(folder / "model.safetensors")
        weights["bert.encoder.layer.0.output.dense.weight"][0, 0] += 1
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})

    def edit_text(file: str, old: str, new: str) -> Callable[[Path], None]:
        def edit(folder: Path) -> None:
            content = (folder / file).read_text()
            assert old in content
            (folder / file).write_text(content.replace(old, new, 1))

        return edit

    plain = changed("plain", lambda folder: None)
    assert plain == changed("copy", lambda folder: None)
    different = [
        changed("weights", edit_tensor),
        changed("config", edit_text("config.json", '"hidden_act": "gelu"', '"hidden_act": "relu"')),
        changed("tokenizer", edit_text("tokenizer.json", '"cat"', '"cow"')),
    ]
    assert len({plain, *different}) == 4


def test_other_folders_get_one_line(tmp_path: Path, classifier: Saver) -> None:
    with pytest.raises(ModelError, match=r"no readable config\.json"):
        open_model("hf:./missing", base=tmp_path)
    folder = classifier()
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "architectures": ["BertForMaskedLM"]}))
    with pytest.raises(ModelError, match=r"bert \(BertForMaskedLM\); supported are"):
        open_model(f"hf:{folder}")
    (folder / "model.safetensors").write_bytes(b"\xff" * 100)
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match="damaged"):
        open_model(f"hf:{folder}")


def test_a_missing_hub_model_gets_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("huggingface_hub")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match=r"hf:nobody/nothing@v1 is neither in the local cache.*hf:\./folder") as caught:
        open_model("hf:nobody/nothing@v1")
    assert "\n" not in str(caught.value)


def test_cuda_where_there_is_none_is_said_at_first_use(classifier: Saver, torch: Any) -> None:
    if torch.cuda.is_available():
        assert open_model(f"hf:{classifier()}", device="cuda").score_texts(["the cat"]).shape == (1, 2)
    else:
        with pytest.raises(ModelError, match="sees no CUDA device"):
            open_model(f"hf:{classifier()}", device="cuda").score_texts(["the cat"])
