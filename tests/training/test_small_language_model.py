from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytest.importorskip("accelerate")

from assaymark.demo.small_language_model import (  # noqa: E402
    LanguageModelFacts,
    TokenWindows,
    byte_level_tokenizer,
    next_token_losses,
    train_causal_lm,
)
from assaymark.errors import ConfigError  # noqa: E402
from assaymark.models import open_model  # noqa: E402

WORDS = [f"{a}{b}" for a in ("ba", "ko", "mi", "tu") for b in ("lar", "nes", "vid", "pom")]
SMALL: dict[str, Any] = {"vocabulary": 320, "layers": 1, "width": 32, "context": 16, "steps": 100, "lr": 1e-2, "seed": 3}


def walks(n: int = 200) -> list[str]:
    """Texts in which a word is followed by one of two others: 1 bit a word, although 16 words are equally frequent."""
    rng = np.random.default_rng(0)
    texts = []
    for _ in range(n):
        places = [int(rng.integers(16))]
        for _ in range(int(rng.integers(8, 20))):
            places.append((3 * places[-1] + int(rng.integers(2)) * 5) % 16)
        texts.append("".join(f" {WORDS[place]}" for place in places))
    return texts


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, LanguageModelFacts]:
    folder = tmp_path_factory.mktemp("lm") / "model"
    return folder, train_causal_lm(walks(), folder, **SMALL)


def test_it_learns_which_word_follows(trained: tuple[Path, LanguageModelFacts]) -> None:
    facts = trained[1]
    assert facts.perplexity.low is not None and facts.perplexity.high is not None
    # A word is one token: the best possible is 2 after the first word, and counting words alone gives 16.
    assert 1.9 < facts.perplexity.low < facts.perplexity.high < 4.0
    assert facts.bits_per_byte == pytest.approx(math.log2(facts.perplexity.value or 0) / 6, rel=0.05)  # " balar" is 6 bytes
    assert facts.perplexity.n == 10 and facts.steps == 100


def test_the_folder_is_a_causal_language_model(trained: tuple[Path, LanguageModelFacts]) -> None:
    folder, facts = trained
    model = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    assert type(model).__name__ == "GPT2LMHeadModel"
    assert sum(parameter.numel() for parameter in model.parameters()) == facts.parameters
    assert tokenizer.model_max_length == 16
    for text in ("balar nesko", "Überraschung \U0001f642\n\ttab", walks()[0]):
        assert tokenizer.decode(tokenizer(text)["input_ids"]) == text
    classifier = open_model(f"hf:{folder}?task=train")
    assert len(classifier.encode_texts(walks())[0]) <= 16
    assert classifier.classifier_module(("a", "b"), seed=0)(torch.ones(2, 5).long(), torch.ones(2, 5).bool()).shape == (2, 2)


def test_losses_are_those_of_one_token_after_another(trained: tuple[Path, LanguageModelFacts]) -> None:
    model = transformers.AutoModelForCausalLM.from_pretrained(trained[0]).eval()
    rng = np.random.default_rng(0)
    tokens = [rng.integers(0, 280, size=length) for length in (2, 9, 16, 3, 5)]
    expected = []
    for ids in tokens:
        with torch.no_grad():
            steps = [
                model(torch.tensor(ids[None, :t])).logits[0, -1].double().log_softmax(-1)[ids[t]] for t in range(1, len(ids))
            ]
        expected.append(-float(sum(steps)))
    np.testing.assert_allclose(next_token_losses(model, tokens, batch_size=2), expected, rtol=1e-5)


def test_equal_arguments_give_equal_files_also_after_a_kill(trained: tuple[Path, LanguageModelFacts], tmp_path: Path) -> None:
    class Killed(Exception):
        pass

    class Killing:
        left = 65

        def advance(self, amount: int = 1) -> None:
            self.left -= amount
            if self.left == 0:
                raise Killed

        def expect(self, total: int) -> None: ...

    import assaymark.demo.small_language_model as module

    before, module._SAVE_EVERY = module._SAVE_EVERY, 20
    try:
        with pytest.raises(Killed):
            train_causal_lm(walks(), tmp_path / "model", checkpoints=tmp_path / "work", task=Killing(), **SMALL)
        facts = train_causal_lm(walks(), tmp_path / "model", checkpoints=tmp_path / "work", **SMALL)
    finally:
        module._SAVE_EVERY = before
    assert facts == trained[1]
    for name in ("model.safetensors", "tokenizer.json", "config.json"):
        assert (tmp_path / "model" / name).read_bytes() == (trained[0] / name).read_bytes(), name


def test_windows_are_of_the_stream_and_shared_between_processes() -> None:
    stream = np.arange(500)
    windows = TokenWindows(stream, length=9, size=6, seed=1)
    whole = windows.at(4)[0]
    assert whole.shape == (6, 9) and bool((whole.diff(dim=1) == 1).all())
    assert torch.equal(whole, windows.at(4)[0]) and not torch.equal(whole, windows.at(5)[0])
    parts = [windows.at(4, rank=rank, world=2)[0] for rank in range(2)]
    assert torch.equal(torch.stack(parts, dim=1).flatten(0, 1), whole)


def test_what_is_too_little_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="39 texts are too few"):
        train_causal_lm(walks(39), tmp_path, seed=0)
    with pytest.raises(ConfigError, match="vocabulary must be at least 300"):
        train_causal_lm(walks(), tmp_path, seed=0, vocabulary=100)
    with pytest.raises(ConfigError, match="do not fill a window of 4000"):
        train_causal_lm(walks(40), tmp_path, seed=0, vocabulary=320, context=4000)
    assert len(byte_level_tokenizer(["a b"], vocabulary=300, longest=8)) <= 300
