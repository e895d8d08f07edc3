"""One forward pass for a shared prefix: the answers are those without it, and the work is less."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from assaymark.models import open_model
from assaymark.models.prefix_states import PrefixStates
from tests.models.tiny_language_models import LINES, TEMPLATE, save_model

SHARING = ("gpt2", "llama", "qwen2", "bloom", "opt")
ODD = ("mistral", "dynamic", "mamba")
SHOTS = "\n".join(LINES[:3]) + "\n"
QUESTIONS = ["Who is the red cat?", "How many?", "What was the name of the first city of all the people in Berlin?", "安全?"]
PROMPTS = [f"{SHOTS}Question: {question} Type:" for question in QUESTIONS]
OTHERS = ["the mat", f"{LINES[1]}\n{SHOTS}Question: Why? Type:", f"{LINES[1]}\n{SHOTS}Question: Where? Type:"]
CHAT = [[{"role": "system", "content": SHOTS}, {"role": "user", "content": question}] for question in QUESTIONS]
ITEMS = [(prompt, f" {label}") for prompt in [*PROMPTS, *OTHERS] for label in ("Number", "Person")]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory, torch: Any) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("models")
    made = {family: save_model(place / family, family) for family in (*SHARING, *ODD)}
    return {**made, "chat": save_model(place / "chat", "llama", template=TEMPLATE)}


def opened(folder: Path, options: str = "", **settings: Any) -> Any:
    return open_model(f"hf:{folder}?task=generate{options}", **{"batch_size": 3, **settings})


def passes(model: Any, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Shapes (batch, tokens) of all that goes through the first layer from now on."""
    seen: list[tuple[int, int]] = []
    table = model._loaded().model._model.get_input_embeddings()
    forward = table.forward

    def counted(ids: Any) -> Any:
        seen.append(tuple(ids.shape))
        return forward(ids)

    monkeypatch.setattr(table, "forward", counted)
    return seen


@pytest.mark.parametrize("family", [*SHARING, *ODD])
def test_answers_are_those_without_sharing(folders: dict[str, Path], family: str) -> None:
    model, plain = opened(folders[family]), opened(folders[family], "&prefix_cache=false")
    assert (model._loaded().states is not None) == (family in SHARING)
    assert plain._loaded().states is None
    assert model.fingerprint == plain.fingerprint, "a cached answer serves both"
    asked = {"temperature": 0, "max_tokens": 8}
    said = model.generate_text([*PROMPTS, *OTHERS], **asked)
    assert said == plain.generate_text([*PROMPTS, *OTHERS], **asked)
    assert len({texts[0] for texts in said}) > 4
    drawn = {"samples": 2, "max_tokens": 6, "top_p": 0.9, "seed": 4}
    assert model.generate_text(PROMPTS, **drawn) == plain.generate_text(PROMPTS, **drawn)
    np.testing.assert_allclose(model.score_continuations(ITEMS), plain.score_continuations(ITEMS), atol=1e-4)


def test_chat_prompts_share_what_their_template_makes_of_them(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, plain = opened(folders["chat"]), opened(folders["chat"], "&prefix_cache=false")
    seen = passes(model, monkeypatch)
    asked = {"temperature": 0, "max_tokens": 5}
    assert model.generate_text(CHAT, **asked) == plain.generate_text(CHAT, **asked)
    assert seen[0][0] == 1 and seen[0][1] > 64, "the shared beginning, once"
    assert max(tokens for _, tokens in seen[1:]) < 64


def test_a_prefix_is_computed_once_and_kept_for_the_next_call(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = opened(folders["gpt2"], batch_size=2)
    seen = passes(model, monkeypatch)
    model.generate_text(PROMPTS, temperature=0, max_tokens=3)
    shared = seen[0][1]
    assert [shape for shape in seen if shape[1] >= shared] == [(1, shared)], "in two batches, too"
    assert all(batch == 2 for batch, _ in seen[1:])
    seen.clear()
    model.generate_text([f"{SHOTS}Question: Why?"], temperature=0, max_tokens=3)
    assert max(tokens for _, tokens in seen) < 16 and len(seen) == 3
    seen.clear()
    model.score_continuations([(PROMPTS[0], " Number"), (PROMPTS[1], " Person")])
    assert [batch for batch, _ in seen] == [2] and seen[0][1] < 32


def test_who_asks_one_at_a_time_pays_for_the_beginning_once(folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    model, plain = opened(folders["qwen2"]), opened(folders["qwen2"], "&prefix_cache=false")
    seen = passes(model, monkeypatch)
    said = [model.generate_text([prompt], temperature=0, max_tokens=4)[0] for prompt in PROMPTS]
    scores = np.concatenate([model.score_continuations([item]) for item in ITEMS])
    # That of the questions, that of the two other prompts, and one prompt that has nothing in common with any.
    assert len([tokens for _, tokens in seen if tokens > 64]) == 2
    assert said == plain.generate_text(PROMPTS, temperature=0, max_tokens=4)
    np.testing.assert_allclose(scores, plain.score_continuations(ITEMS), atol=1e-4)


def test_kept_states_are_bounded_and_stay_behind_when_pickled(folders: dict[str, Path]) -> None:
    model = opened(folders["llama"])
    states = PrefixStates(model._loaded().model, most=200)
    rng = np.random.default_rng(0)
    texts = [rng.integers(1, 300, 90).tolist() for _ in range(4)]
    for text in texts:
        states.past(text, copies=1)
    assert [states.known(text) for text in texts] == [0, 0, 90, 90], "the latest two"
    states.past(texts[2][:70], copies=3)
    states.past([*texts[3][:85], *texts[0][:10]], copies=1)
    assert (states.known(texts[2]), states.known(texts[3])) == (90, 85), "what is nearly the same takes the place of the other"
    states.past(texts[0] * 3, copies=1)
    assert states.known(texts[0] * 3) == 0, "longer than all that may be kept"
    model.generate_text(PROMPTS, max_tokens=2)
    assert model._loaded().states.known(model._loaded().prompts.of(PROMPTS[0])) > 64
    assert pickle.loads(pickle.dumps(model))._parts is None
    assert len(pickle.dumps(model)) < 20_000


def test_states_are_those_of_the_library_however_they_came_about(folders: dict[str, Path], torch: Any) -> None:
    model = opened(folders["llama"])._loaded().model
    states = PrefixStates(model)
    text = np.random.default_rng(1).integers(1, 300, 60).tolist()
    states.past(text[:40], copies=1)
    ways = {"gone on with": text, "cut": text[:50], "branched off": [*text[:30], *text[:20]]}
    for way, tokens in ways.items():
        past = states.past(tokens, copies=2)
        with torch.inference_mode():
            expected = model._model(torch.tensor([tokens]), use_cache=True).past_key_values
        for layer, reference in zip(past.layers, expected.layers, strict=True):
            for ours, theirs in ((layer.keys, reference.keys), (layer.values, reference.values)):
                assert float((ours - theirs).abs().max()) < 1e-5 and ours.shape[0] == 2, way


def test_weights_can_be_in_half_precision(folders: dict[str, Path], torch: Any) -> None:
    model, exact = opened(folders["llama"], "&dtype=bfloat16"), opened(folders["llama"])
    assert model.fingerprint != exact.fingerprint
    assert model._loaded().model._model.dtype is torch.bfloat16 and model._loaded().states is not None
    found, expected = model.score_continuations(ITEMS), exact.score_continuations(ITEMS)
    np.testing.assert_array_equal(found[:, 1], expected[:, 1])
    assert 0 < np.abs(found[:, 0] - expected[:, 0]).max() < 1
