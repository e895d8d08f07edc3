from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from assaymark.audit import ModelRole
from assaymark.errors import ConfigError, ModelError
from assaymark.models import capabilities_of, open_model
from assaymark.models.opening import open_role

Saver = Callable[..., Path]
LABELS = ("people", "machines", "both")
SHAPE = {"vocab_size": 40, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
PLACES = {"max_position_embeddings": 40, "pad_token_id": 0, "initializer_range": 0.5}
FAMILIES = {
    "Bert": {**SHAPE, **PLACES},
    "Roberta": {**SHAPE, **PLACES},
    "Longformer": {**SHAPE, **PLACES, "attention_window": 8},
    "DistilBert": {"vocab_size": 40, "dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 32, **PLACES},
    "GPT2": {"vocab_size": 40, "n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 40, "initializer_range": 0.5},
}


@pytest.fixture
def checkpoint(classifier: Saver, torch: Any) -> Callable[..., Path]:
    """Save a model of any class name with the tokenizer of the tiny classifiers."""

    def save(class_name: str, *, longest: int = 40, padding: bool = True, **settings: Any) -> Path:
        import transformers

        folder = classifier(class_name, longest=longest)
        (folder / "model.safetensors").unlink()
        model_class = getattr(transformers, class_name)
        family = next(name for name in FAMILIES if class_name.startswith(name))
        torch.manual_seed(0)
        model_class(model_class.config_class(**{**FAMILIES[family], **settings})).save_pretrained(folder)
        if not padding:
            path = folder / "tokenizer_config.json"
            path.write_text(json.dumps({**json.loads(path.read_text()), "pad_token": None}))
        return folder

    return save


def logits_of(module: Any, tokens: list[Any]) -> np.ndarray:
    from assaymark.training import sequence_outputs

    return sequence_outputs(module, tokens, batch_size=7)


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits.astype(float) - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


CLASSES = [
    *("BertModel", "BertForMaskedLM", "RobertaForMaskedLM", "RobertaModel", "LongformerModel", "LongformerForMaskedLM"),
    *("DistilBertForMaskedLM", "GPT2LMHeadModel", "GPT2Model", "RobertaForSequenceClassification"),
]


@pytest.mark.parametrize("class_name", CLASSES)
def test_a_saved_classifier_answers_as_the_module_does(
    checkpoint: Saver, tmp_path: Path, texts: list[str], class_name: str
) -> None:
    folder = checkpoint(class_name, padding=not class_name.startswith("GPT2"))
    model = open_model(f"hf:{folder}?task=train")
    assert capabilities_of(model) == ("trains-texts",)
    module = model.classifier_module(LABELS, seed=3)
    assert not module.training
    longest_first = [*texts, " ".join(texts)]  # the last is cut
    expected = softmax(logits_of(module, model.encode_texts(longest_first, max_tokens=24)))
    assert expected.std(axis=0).min() > 0.005
    model.save_classifier(module, tmp_path / "saved", LABELS, max_tokens=24)

    saved = open_model(f"hf:{tmp_path / 'saved'}", batch_size=5)
    assert (saved.labels, saved.multi_label) == (LABELS, False)
    np.testing.assert_allclose(saved.score_texts(longest_first), expected, atol=1e-5)
    config = json.loads((tmp_path / "saved" / "config.json").read_text())
    assert config["problem_type"] == "single_label_classification"
    assert config["label2id"] == {label: index for index, label in enumerate(LABELS)}


@pytest.mark.parametrize("class_name", ["RobertaForMaskedLM", "LongformerModel", "GPT2LMHeadModel"])
def test_padding_does_not_change_the_logits(checkpoint: Saver, texts: list[str], class_name: str) -> None:
    from assaymark.training.token_batches import padded

    model = open_model(f"hf:{checkpoint(class_name)}?task=train")
    module, tokens = model.classifier_module(LABELS, seed=0), model.encode_texts(texts)
    alone = np.concatenate([module(*padded([ids])).detach().numpy() for ids in tokens])
    np.testing.assert_allclose(logits_of(module, tokens), alone, atol=1e-5)
    ids, mask = padded(tokens)
    np.testing.assert_allclose(module(ids.masked_fill(~mask, 17), mask).detach().numpy(), alone, atol=1e-5)


def test_longformer_looks_at_everything_from_its_first_token(checkpoint: Saver, torch: Any) -> None:
    """As the published classifier does by itself; a window of 8 alone would not reach word 30 in two layers."""
    model = open_model(f"hf:{checkpoint('LongformerModel')}?task=train")
    module = model.classifier_module(LABELS, seed=0)
    ids = torch.randint(4, 40, (1, 36), generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(ids, dtype=torch.bool)
    torch.testing.assert_close(module(ids, mask), module.model(input_ids=ids, attention_mask=mask.long()).logits)
    changed = ids.clone()
    changed[0, 33] = 5 if ids[0, 33] != 5 else 6
    assert not torch.allclose(module(ids, mask), module(changed, mask))


def test_the_seed_draws_the_head_and_nothing_else(checkpoint: Saver, torch: Any) -> None:
    model = open_model(f"hf:{checkpoint('RobertaForSequenceClassification')}?task=train")
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first, again, other = (model.classifier_module(LABELS, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.rand(3), expected), "global generators stay as they are"
    states = [module.state_dict() for module in (first, again, other)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    differing = {name for name in states[0] if not torch.equal(states[0][name], states[2][name])}
    assert differing == {"model.classifier.dense.weight", "model.classifier.out_proj.weight"}
    published = open_model(f"hf:{checkpoint('RobertaForSequenceClassification')}?task=train").classifier_module(
        ("LABEL_0", "LABEL_1"), seed=1
    )
    assert tuple(published.state_dict()["model.classifier.out_proj.weight"].shape) == (2, 16)
    assert first.model.roberta is not again.model.roberta


def test_texts_are_cut_where_the_model_ends(checkpoint: Saver) -> None:
    folder = checkpoint("LongformerModel", longest=10**30)
    model = open_model(f"hf:{folder}?task=train")
    long_text = "red green blue cat dog " * 30
    assert [len(ids) for ids in model.encode_texts([long_text, "cat", ""])] == [39, 3, 2]  # padding index 0: 39 positions
    assert [len(ids) for ids in model.encode_texts([long_text], max_tokens=12)] == [12]
    assert model.encode_texts(["\ud800 cat"])[0].dtype == np.int32
    assert len(pickle.dumps(model)) < 20_000


def test_it_takes_a_role(checkpoint: Saver) -> None:
    role = ModelRole("base", "is fine-tuned", all_of=("trains-texts",))
    folder = checkpoint("RobertaModel")
    model = open_role(role, f"hf:{folder}?task=train")
    assert [len(ids) for ids in model.encode_texts(["cat", "the dog"])] == [3, 4]
    assert (model.calls, model.cached) == (0, 0)
    with pytest.raises(ModelError, match="it lacks trains-texts"):
        open_role(role, f"hf:{checkpoint('RobertaForSequenceClassification')}")


def test_what_is_wrong_is_named(checkpoint: Saver, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = checkpoint("BertForMaskedLM")
    with pytest.raises(ModelError, match=r"unknown task 'trian' - did you mean 'train'\?"):
        open_model(f"hf:{folder}?task=trian")
    with pytest.raises(ModelError, match="unknown option 'labels'"):
        open_model(f"hf:{folder}?task=train&labels=a")
    model = open_model(f"hf:{folder}?task=train")
    for labels in (["one"], ["a", "a"]):
        with pytest.raises(ConfigError, match="two or more different"):
            model.classifier_module(labels, seed=0)
    with pytest.raises(ConfigError, match="3 outputs"):
        model.save_classifier(model.classifier_module(LABELS, seed=0), tmp_path / "x", ["a", "b"])

    weights = load_file(folder / "model.safetensors")
    lacking = {name: tensor for name, tensor in weights.items() if "layer.1.attention.self.query" not in name}
    save_file(lacking, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"lacks 2 weights of BertForSequenceClassification.*layer\.1"):
        open_model(f"hf:{folder}?task=train").classifier_module(LABELS, seed=0)
