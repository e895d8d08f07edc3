from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytest.importorskip("accelerate")

from assaymark.audits.generated_text_prevalence.measures import detector_training as room  # noqa: E402
from assaymark.audits.generated_text_prevalence.measures.detector_training import (  # noqa: E402
    DetectorSettings,
    held_out_groups,
    train_detector,
    weighted_f1,
)
from assaymark.errors import ConfigError, InputError, RunError  # noqa: E402
from assaymark.models import open_model  # noqa: E402

WORDS = 120
SHAPE = {"vocab_size": WORDS + 4, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
PLACES = {"max_position_embeddings": 66, "pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3, "initializer_range": 0.1}
BASES = {
    "RobertaForMaskedLM": {**SHAPE, **PLACES},
    "LongformerModel": {**SHAPE, **PLACES, "attention_window": 8},
    "GPT2LMHeadModel": {"vocab_size": WORDS + 4, "n_embd": 32, "n_layer": 1, "n_head": 2, "n_positions": 64, "bos_token_id": 2},
}
QUICK = DetectorSettings(epochs=4, batch_size=8, accumulate=2, lr=4e-3, max_tokens=48, validation=0.2)
FEW = {"epochs": 2, "accumulate": 1, "batch_size": 24}  # not enough to be right everywhere


def base_model(folder: Path, class_name: str) -> str:
    """An untrained checkpoint with a word-level tokenizer of the words w0, w1, ..."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    names = ["<pad>", "<unk>", "<s>", "</s>", *(f"w{i}" for i in range(WORDS))]
    tokens = Tokenizer(models.WordLevel({name: i for i, name in enumerate(names)}, unk_token="<unk>"))
    tokens.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    if not class_name.startswith("GPT2"):
        tokens.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 2), ("</s>", 3)])
    special = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}
    if not class_name.startswith("GPT2"):
        special["pad_token"] = "<pad>"
    transformers.PreTrainedTokenizerFast(tokenizer_object=tokens, **special).save_pretrained(folder)
    model_class = getattr(transformers, class_name)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model_class(model_class.config_class(**BASES[class_name])).save_pretrained(folder)
    return f"hf:{folder}?task=train"


def authors(n: int = 120, seed: int = 0) -> tuple[list[str], np.ndarray, list[str]]:
    """Pairs of texts by source: words of people follow Zipf's law; the machine says some of them much more often."""
    rng = np.random.default_rng(seed)
    people = 1.0 / np.arange(1, WORDS + 1)
    machine = people * np.where(np.arange(WORDS) % 8 == 5, 12.0, 1.0)
    texts, labels, groups = [], [], []
    for source in range(n):
        for label, weights in enumerate((people, machine)):
            words = rng.choice(WORDS, size=rng.integers(25, 60), p=weights / weights.sum())
            texts.append(" ".join(f"w{word}" for word in words))
            labels.append(label)
            groups.append(f"post {source}")
    return texts, np.array(labels), groups


def trained(model: Any, folder: Path, **changes: Any) -> room.TrainedDetector:
    texts, labels, groups = authors(changes.pop("n", 120))
    settings = replace(QUICK, **changes.pop("settings", {}))
    arguments: dict[str, Any] = {"rng": np.random.default_rng(1), "seed": 7, "folder": folder, "settings": settings, **changes}
    return train_detector(model, texts, labels, groups, **arguments)


@pytest.mark.parametrize("class_name", list(BASES))
def test_it_learns_to_tell_two_authors_apart(tmp_path: Path, class_name: str) -> None:
    class Task:
        done = total = 0

        def advance(self, amount: int = 1) -> None:
            self.done += amount

        def expect(self, total: int) -> None:
            self.total = total

    task = Task()
    detector = trained(open_model(base_model(tmp_path / "base", class_name)), tmp_path / "detector", task=task)
    assert detector.metrics["weighted_f1"].value is not None and detector.metrics["weighted_f1"].value > 0.9
    assert (detector.training_texts, detector.validation_texts) == (192, 48)
    assert task.done == task.total == detector.outcome.steps == 4 * 12
    assert [epoch.number for epoch in detector.history] == [1, 2, 3, 4]
    best = max(detector.history, key=lambda epoch: epoch.weighted_f1)
    assert detector.chosen_epoch == best.number
    assert detector.metrics["weighted_f1"].value == pytest.approx(best.weighted_f1), "the best epoch is what was kept"

    saved = open_model(str(detector.folder), batch_size=7)
    assert saved.labels == ("Human-written", "AI-generated") and not saved.multi_label
    texts, labels, _ = authors(150, seed=9)  # others by the same authors
    found = saved.score_texts(texts)[:, 1] > 0.5
    assert (found == labels).mean() > 0.9


def test_the_saved_metrics_can_be_had_again_from_the_folder(tmp_path: Path) -> None:
    from sklearn.metrics import accuracy_score, f1_score, recall_score

    detector = trained(open_model(base_model(tmp_path / "base", "RobertaForMaskedLM")), tmp_path / "d", settings=FEW)
    texts, labels, groups = authors()
    rows = held_out_groups(np.unique(groups, return_inverse=True)[1], share=0.2, seed=42)
    found = open_model(str(detector.folder)).score_texts([text for text, out in zip(texts, rows, strict=True) if out])
    called = found.argmax(axis=1)
    metrics = detector.metrics
    assert 0 < (called != labels[rows]).sum() < 24, "some errors, so that the figures differ"
    assert metrics["accuracy"].value == pytest.approx(accuracy_score(labels[rows], called))
    assert metrics["weighted_f1"].value == pytest.approx(f1_score(labels[rows], called, average="weighted"))
    assert metrics["sensitivity"].value == pytest.approx(recall_score(labels[rows], called))
    assert metrics["false_positive_rate"].value == pytest.approx(1 - recall_score(1 - labels[rows], 1 - called))
    assert all(estimate.low < estimate.high for estimate in metrics.values())  # type: ignore[operator]


def test_a_killed_training_ends_like_another(tmp_path: Path) -> None:
    model = open_model(base_model(tmp_path / "base", "RobertaForMaskedLM"))
    settings = {"epochs": 2, "accumulate": 3}
    whole = trained(model, tmp_path / "whole", settings=settings, n=40)

    class Killed(Exception):
        pass

    class Killing:
        left = 5  # in the second epoch

        def advance(self, amount: int = 1) -> None:
            self.left -= amount
            if self.left == 0:
                raise Killed

        def expect(self, total: int) -> None:
            assert total == 6

    work = tmp_path / "work"
    with pytest.raises(Killed):
        trained(model, tmp_path / "killed", settings=settings, n=40, work=work, task=Killing())
    assert not (tmp_path / "killed").exists()
    continued = trained(model, tmp_path / "continued", settings=settings, n=40, work=work)
    assert continued.outcome.resumed_from == 3
    for name in ("model.safetensors", "config.json", "tokenizer.json"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "continued" / name).read_bytes(), name
    assert (continued.history, continued.metrics) == (whole.history, whole.metrics)
    with pytest.raises(RunError, match="data"):
        trained(model, tmp_path / "other", settings={**settings, "max_tokens": 20}, n=40, work=work)


def test_sources_are_never_split() -> None:
    rng = np.random.default_rng(0)
    for _ in range(40):
        sources = np.unique(rng.integers(0, 60, size=400), return_inverse=True)[1]
        rows = held_out_groups(sources, share=0.1, seed=int(rng.integers(100)))
        assert not set(sources[rows]) & set(sources[~rows])
        assert 40 <= rows.sum() < 40 + np.bincount(sources).max(), "no more than the share asks for"
    order = rng.permutation(400)
    np.testing.assert_array_equal(
        held_out_groups(sources[order], share=0.1, seed=3), held_out_groups(sources, share=0.1, seed=3)[order]
    )


def test_weighted_f1_is_that_of_sklearn_on_every_resample() -> None:
    from sklearn.metrics import f1_score

    rng = np.random.default_rng(0)
    called, machine = rng.random(40) < 0.5, rng.random(40) < 0.3
    weights = rng.integers(0, 4, size=(25, 40))
    expected = [f1_score(machine, called, sample_weight=row, average="weighted") for row in weights]
    np.testing.assert_allclose(weighted_f1(weights, called, machine), expected)
    nobody = np.zeros(40, dtype=bool)
    expected = [f1_score(machine, nobody, sample_weight=row, average="weighted", zero_division=0) for row in weights]
    np.testing.assert_allclose(weighted_f1(weights, nobody, machine), expected)


def test_no_errors_are_not_certainty() -> None:
    perfect = np.arange(40) % 2 == 0
    metrics = room._metrics(perfect, perfect, np.arange(40) // 4, rng=np.random.default_rng(0))
    assert all(m.high - m.low > 0.2 for m in metrics.values()), "ten sources say no more than ten trials"
    assert (metrics["weighted_f1"].value, metrics["false_positive_rate"].value) == (1.0, 0.0)


class Unused:
    fingerprint = "none"

    def encode_texts(self, texts: Any, **_: Any) -> Any:
        raise AssertionError("the texts were not fit to be used")

    classifier_module = save_classifier = encode_texts


@pytest.mark.parametrize(
    ("texts", "labels", "groups", "message"),
    [
        (["a b"] * 10, [0, 1] * 5, range(10), "10 texts are too few"),
        (["a b"] * 40, [1] * 40, range(40), "all texts are AI-generated"),
        (["a b"] * 40, [0, 2] * 20, range(40), "labels must be 0"),
        ([" "] + ["a b"] * 39, [0, 1] * 20, range(40), "1 texts are empty, the first in row 0"),
        (["a b"] * 40, [0, 1] * 20, [0] * 40, "training side of the split holds nothing"),
        (["a b"] * 40, [0, 1] * 20, [0, 1] * 20, "side of the split holds only"),
    ],
)
def test_material_that_cannot_be_trained_on_is_named(
    tmp_path: Path, texts: list[str], labels: list[int], groups: Any, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        train_detector(Unused(), texts, labels, list(groups), folder=tmp_path, rng=np.random.default_rng(0), seed=0)
    with pytest.raises(ConfigError, match="validation is 0"):
        DetectorSettings(validation=0.0)


def test_the_defaults_are_the_published_ones() -> None:
    settings = DetectorSettings()
    assert (settings.epochs, settings.batch_size * settings.accumulate, settings.lr, settings.weight_decay) == (
        10,
        40,
        2e-5,
        0.01,
    )
    assert (settings.max_tokens, settings.validation, settings.split_seed) == (4096, 0.1, 42)
    assert json.dumps(room.LABELS) == '["Human-written", "AI-generated"]'
