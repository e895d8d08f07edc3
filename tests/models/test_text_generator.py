from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from assaymark.audit import ModelRole
from assaymark.errors import ConfigError, EndpointError, ModelError
from assaymark.models import capabilities_of, open_model, open_role
from assaymark.models.chat_prompts import cut_at_stop
from assaymark.models.content import prompt_keys, text_keys
from assaymark.models.decoding import NucleusNoise
from assaymark.store.cache import ModelCache
from tests.models.conftest import save_tokenizer

ROLE = ModelRole("generator", "writes", all_of=("generates-text",))
PROMPTS = ["the red cat", "a photo of the blue square and the dog", "people", "is it good", "not very bad people are good"]
CHAT = [{"role": "system", "content": "the cat"}, {"role": "user", "content": "is it good"}]
TEMPLATE = "{% for m in messages %}a {{ m['content'] }} {% endfor %}{% if add_generation_prompt %}the mat{% endif %}"

Saver = Callable[..., Path]


@pytest.fixture
def language_model(tmp_path: Path, torch: Any) -> Saver:
    """Save a tiny GPT-2 whose weights are large enough that it does not repeat itself; 26 words, token 3 ends a text."""

    def save(name: str = "writer", *, positions: int = 40, seed: int = 0, template: str = "", ends: bool = True) -> Path:
        import transformers

        torch.manual_seed(seed)
        config = transformers.GPT2Config(
            **{"vocab_size": 26, "n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": positions, "initializer_range": 0.7},
            **{"bos_token_id": 2, "eos_token_id": 3 if ends else None, "pad_token_id": 0},
        )
        folder = tmp_path / name
        model = transformers.GPT2LMHeadModel(config)
        model.generation_config.repetition_penalty = 5.0  # to be left unused
        model.save_pretrained(folder)
        tokenizer = save_tokenizer(folder, longest=positions)
        if template:
            tokenizer.chat_template = template
            tokenizer.save_pretrained(folder)
        return folder

    return save


def written(folder: Path, **settings: Any) -> Any:
    return open_model(f"hf:{folder}?task=generate", **settings)


def reference(folder: Path, ids: list[int], **settings: Any) -> list[int]:
    """The greedy continuation by the library, one prompt at a time and without padding."""
    import torch
    import transformers

    model = transformers.GPT2LMHeadModel.from_pretrained(folder).eval()
    model.generation_config = transformers.GenerationConfig(eos_token_id=3, pad_token_id=0)
    with torch.no_grad():
        return model.generate(torch.tensor([ids]), do_sample=False, **settings)[0, len(ids) :].tolist()


def test_temperature_zero_is_the_greedy_continuation(language_model: Saver) -> None:
    import transformers

    folder = language_model()
    model = written(folder)
    assert capabilities_of(model) == ("generates-text", "scores-continuations", "predicts-tokens")
    said = model.generate_text(PROMPTS, temperature=0, max_tokens=8, samples=2)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    for prompt, texts in zip(PROMPTS, said, strict=True):
        ids = tokenizer(prompt)["input_ids"][:-1]  # without the end that the tokenizer adds
        expected = tokenizer.decode(reference(folder, ids, max_new_tokens=8), skip_special_tokens=True)
        assert texts[0] == texts[1]
        assert texts[0].strip() == expected
    assert len({texts[0] for texts in said}) > 2


def test_samples_depend_on_prompt_and_seed_alone(language_model: Saver) -> None:
    folder = language_model()
    asked = {"samples": 3, "temperature": 0.9, "top_p": 0.95, "max_tokens": 10, "seed": 5}
    model = written(folder, batch_size=4)
    said = model.generate_text([*PROMPTS, CHAT], **asked)
    assert len({text for texts in said for text in texts}) == 18
    assert written(folder, batch_size=1).generate_text([CHAT, *PROMPTS[::-1]], **asked) == [said[5], *said[4::-1]]
    assert written(folder, batch_size=64).generate_text(PROMPTS * 2, **asked) == said[:5] * 2
    assert model.generate_text(PROMPTS[:1], **{**asked, "samples": 1}) == [said[0][:1]]
    assert model.generate_text(PROMPTS, **{**asked, "seed": 6}) != said[:5]
    assert model.generate_text([], **asked) == []


def test_the_global_generator_of_torch_is_not_touched(language_model: Saver, torch: Any) -> None:
    model = written(language_model())
    before = torch.random.get_rng_state()
    model.generate_text(PROMPTS[:1], max_tokens=3)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_draws_follow_the_softmax_within_the_nucleus(torch: Any) -> None:
    logits = torch.tensor([[0.0, 1.0, -1.0, 2.0]])
    drawn = 5_000

    def shares(top_p: float) -> Any:
        noise = NucleusNoise([np.random.default_rng(number) for number in range(drawn)], 0.8, top_p)
        return torch.bincount(noise(None, logits.expand(drawn, 4)).argmax(dim=1), minlength=4) / drawn

    full = torch.softmax(logits[0] / 0.8, dim=0)
    assert (shares(1.0) - full).abs().max() < 4 * 0.5 / np.sqrt(drawn)
    kept = torch.tensor([0.0, full[1], 0.0, full[3]])  # 0.72 < 0.9, 0.72 + 0.21 >= 0.9
    assert full[3] < 0.9 <= full[3] + full[1]
    assert (shares(0.9) - kept / kept.sum()).abs().max() < 4 * 0.5 / np.sqrt(drawn)
    assert shares(0.9)[[0, 2]].tolist() == [0, 0]
    assert shares(1e-6).tolist() == [0, 0, 0, 1]


def test_a_text_ends_before_a_stop_text_and_at_its_limit(language_model: Saver) -> None:
    model = written(language_model(ends=False))
    asked = {"samples": 4, "max_tokens": 20, "seed": 1}
    whole = model.generate_text(PROMPTS, **asked)
    assert max(len(text.split()) for texts in whole for text in texts) == 20
    stopped = model.generate_text(PROMPTS, stop=["cat", "d m"], **asked)
    assert stopped == [[cut_at_stop(text, ["cat", "d m"]) for text in texts] for texts in whole]
    assert stopped != whole
    assert not [text for texts in stopped for text in texts if "cat" in text]


def test_a_stop_text_ends_the_work_too(language_model: Saver, monkeypatch: pytest.MonkeyPatch) -> None:
    model = written(language_model())
    text = model.generate_text(["the red cat"], temperature=0, max_tokens=20)[0][0]
    word = text.split()[2]
    steps: list[int] = []
    forward = model._loaded().model._model.forward

    def counted(*args: Any, **given: Any) -> Any:
        steps.append(1)
        return forward(*args, **given)

    monkeypatch.setattr(model._loaded().model._model, "forward", counted)
    model.generate_text(["the red cat"], temperature=0, max_tokens=20, stop=[word])
    assert len(steps) <= 3


def test_a_text_follows_its_prompt_with_its_space(language_model: Saver) -> None:
    text = written(language_model()).generate_text(["the red"], temperature=0, max_tokens=2)[0][0]
    assert text.startswith(" ") and not text.startswith("  ")


def test_end_tokens_end_a_text(language_model: Saver) -> None:
    folder = language_model(ends=True)
    said = written(folder).generate_text(["the red cat"], samples=40, temperature=1.5, max_tokens=30, seed=2)[0]
    lengths = [len(text.split()) for text in said]
    assert min(lengths) < 15 and not [text for text in said if "[SEP]" in text]
    assert len(set(lengths)) > 5


def test_messages_go_through_the_template(language_model: Saver) -> None:
    model = written(language_model("chat", template=TEMPLATE))
    assert model.notes == ()
    asked = {"temperature": 0, "max_tokens": 6}
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(model._checkpoint.folder)
    ids = tokenizer("a the cat a is it good the mat", add_special_tokens=False)["input_ids"]
    expected = tokenizer.decode(reference(model._checkpoint.folder, ids, max_new_tokens=6), skip_special_tokens=True)
    assert model.generate_text([CHAT], **asked)[0][0].strip() == expected
    plain = written(language_model("plain"))
    assert "has no chat template" in plain.notes[0]
    flat = plain.generate_text(["system: the cat\n\nuser: is it good\n\nassistant:"], **asked)
    assert plain.generate_text([CHAT], **asked) == flat
    assert plain.fingerprint != model.fingerprint


def test_prompts_beyond_the_context_are_refused_with_their_length(language_model: Saver) -> None:
    model = written(language_model(positions=12))
    with pytest.raises(ModelError, match=r"prompt 2 of 2 has 21 tokens, and the model sees 12 with its answer"):
        model.generate_text(["the cat", "the " * 20])
    said = model.generate_text(["the cat sat on the mat the cat", "a"], samples=5, max_tokens=30)
    assert max(len(text.split()) for text in said[0]) <= 12 - 9, "start token and eight words"
    assert max(len(text.split()) for text in said[1]) <= 12 - 2
    assert len(model.generate_text([""], max_tokens=4)[0]) == 1


def test_generators_pickle_without_weights(language_model: Saver) -> None:
    folder = language_model()
    model = written(folder)
    said = model.generate_text(PROMPTS[:2], max_tokens=4)
    copy = pickle.loads(pickle.dumps(model))
    assert (copy.fingerprint, copy._parts) == (model.fingerprint, None)
    assert copy.generate_text(PROMPTS[:2], max_tokens=4) == said
    assert written(language_model("other", seed=1)).fingerprint != model.fingerprint


def test_the_task_must_fit_the_model(language_model: Saver, classifier: Saver) -> None:
    with pytest.raises(ModelError, match=r"unknown task .sing"):
        open_model(f"hf:{language_model()}?task=sing")
    with pytest.raises(ModelError, match=r"for causal language models; config\.json says BertForSequenceClassification"):
        open_model(f"hf:{classifier()}?task=generate")
    with pytest.raises(ModelError, match="did you mean 'task'"):
        open_model(f"hf:{language_model('second')}?task=generate&tusk=1")


def test_keys_of_prompts_tell_texts_from_messages() -> None:
    turned = [{"content": message["content"], "role": message["role"]} for message in CHAT]
    import json

    written_out = json.dumps(CHAT, sort_keys=True, separators=(",", ":"))
    keys = prompt_keys([CHAT, turned, CHAT[::-1], CHAT[:1], written_out, "the cat"])
    assert keys[0] == keys[1]
    assert len(set(keys)) == 5
    assert keys[5] == text_keys(["the cat"])[0]


def test_texts_are_cached_with_their_parameters(tmp_path: Path) -> None:
    cache = ModelCache(tmp_path / "cache.sqlite")
    prompts = [*PROMPTS, CHAT, PROMPTS[0]]
    first = open_role(ROLE, "fake:generator", cache=cache)
    said = first.generate_text(prompts, samples=2, stop=["people"], seed=3)
    assert (first.calls, first.cached) == (6, 1)
    second = open_role(ROLE, "fake:generator", cache=cache)
    assert second.generate_text(prompts, samples=2, stop=["people"], seed=3) == said
    assert (second.calls, second.cached) == (0, 7)
    second.generate_text(prompts, samples=2, stop=["people"], seed=4)
    assert second.calls == 6


class Dying:
    """Echoes prompts; of its second block it answers one prompt and fails."""

    spec, fingerprint, at_once = "test:dying", "dying-1", 2
    blocks = 0
    usage = "much"

    def generate_text(self, prompts: list[Any], **_: Any) -> list[list[str]]:
        self.blocks += 1
        if self.blocks == 2:
            raise EndpointError("it is down", {1: ["kept"]})
        return [["" for _ in range(2)] for _ in prompts]


def test_what_a_failed_block_finished_is_kept(tmp_path: Path) -> None:
    cache = ModelCache(tmp_path / "cache.sqlite")
    model = open_role(ROLE, Dying(), cache=cache)
    assert model.usage == "much"
    with pytest.raises(EndpointError, match="it is down"):
        model.generate_text(list("abcdef"))
    assert model.calls == 3
    again = open_role(ROLE, Dying(), cache=cache)
    again._model.blocks = 5
    assert again.generate_text(list("abcdef")) == [["", ""], ["", ""], ["", ""], ["kept"], ["", ""], ["", ""]]
    assert (again.calls, again.cached) == (3, 3)


def test_the_scripted_generator_follows_its_rules() -> None:
    model = open_model("fake:generator?vocabulary=zorp,blick,plim&words=12")
    assert capabilities_of(model) == ("generates-text", "scores-continuations", "predicts-tokens")
    said = model.generate_text([*PROMPTS, CHAT], samples=3)
    assert {word for texts in said for text in texts for word in text.split()} == {"zorp", "blick", "plim"}
    assert {len(text.split()) for texts in said for text in texts} == {12}
    assert len({text for texts in said for text in texts}) == 18
    assert model.generate_text([CHAT, *PROMPTS[::-1]], samples=3) == [said[5], *said[4::-1]]
    assert model.generate_text(PROMPTS, samples=3, seed=1) != said[:5]
    assert model.generate_text(PROMPTS[:1], max_tokens=4)[0][0] == " ".join(said[0][0].split()[:4])
    assert "blick" not in model.generate_text(PROMPTS[:1], stop=["blick"])[0][0]
    assert len(set(model.generate_text(PROMPTS[:1], samples=3, temperature=0)[0])) == 1
    assert open_model("fake:generator?echo=true").generate_text(["the cat", CHAT]) == [["the cat"], ["is it good"]]
    replies = open_model("fake:generator?reply=yes|no").generate_text(["a"], samples=200)[0]
    assert 60 < replies.count("yes") < 140 and set(replies) == {"yes", "no"}
    silent = open_model("fake:generator?empty=0.25").generate_text(["a"], samples=400)[0]
    assert 60 < silent.count("") < 140
    with pytest.raises(ConfigError, match="give one of reply, echo and vocabulary"):
        open_model("fake:generator?echo=true&reply=a")
