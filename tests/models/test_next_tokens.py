"""Distributions of the next token, against one full forward pass a prompt; and what tokens add to a text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from assaymark.audit import ModelRole
from assaymark.errors import ModelError
from assaymark.models import capabilities_of, open_model, open_role
from assaymark.models.token_texts import byte_tokens, mended, token_texts
from tests.models.conftest import save_tokenizer as save_word_tokenizer
from tests.models.tiny_language_models import LINES, TEMPLATE, save_model

ROLE = ModelRole("writer", "predicts", any_of=("predicts-tokens",))
SHOTS = "\n".join(LINES[:3]) + "\n"
PROMPTS = ["Question: Who is the", "这是", "", "the name 😀", f"{SHOTS}Question: Who", f"{SHOTS}Question: How many 安", "a"]
CHAT = [{"role": "user", "content": "Who is it?"}]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory, torch: Any) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("models")
    made = {family: save_model(place / family, family) for family in ("gpt2", "llama", "mamba")}
    return {
        **made,
        "chat": save_model(place / "chat", "llama", template=TEMPLATE),
        "short": save_model(place / "short", "gpt2", positions=16),
        "wide": save_model(place / "wide", "gpt2", vocab_size=400),
    }


def opened(folder: Path, options: str = "", **settings: Any) -> Any:
    return open_model(f"hf:{folder}?task=generate{options}", **settings)


def tokenizer_of(folder: Path) -> Any:
    import transformers

    return transformers.AutoTokenizer.from_pretrained(folder)


def expected_row(folder: Path, tokens: list[int]) -> np.ndarray:
    import torch
    import transformers

    model = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    with torch.no_grad():
        return torch.softmax(model(torch.tensor([tokens])).logits[0, -1].double(), dim=-1).numpy()


@pytest.mark.parametrize("family", ["gpt2", "llama", "mamba"])
def test_distributions_are_those_of_one_full_pass_a_prompt(folders: dict[str, Path], family: str) -> None:
    model, tokenizer = opened(folders[family], batch_size=3), tokenizer_of(folders[family])
    assert "predicts-tokens" in capabilities_of(model)
    found, tokens = model.next_tokens(PROMPTS)
    assert found.dtype == np.float32 and found.shape == (len(PROMPTS), len(tokens)) == (7, 320)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)
    for row, prompt in zip(found, PROMPTS, strict=True):
        np.testing.assert_allclose(row, expected_row(folders[family], tokenizer(prompt)["input_ids"] or [0]), atol=1e-5)
    for size, options in ((1, ""), (64, "&prefix_cache=false")):
        again = opened(folders[family], options, batch_size=size).next_tokens(PROMPTS[::-1]).probabilities
        np.testing.assert_allclose(again[::-1], found, atol=1e-5)
    assert model.next_tokens([]).probabilities.shape == (0, 320)


def test_the_most_probable_token_is_what_the_model_says(folders: dict[str, Path]) -> None:
    model = opened(folders["gpt2"])
    found, tokens = model.next_tokens(PROMPTS)
    said = model.generate_text(PROMPTS, temperature=0, max_tokens=1)
    whole = [text for text in (tokens[row.argmax()] for row in found) if text.isascii()]
    assert len(whole) > 3
    for row, texts in zip(found, said, strict=True):
        assert not tokens[row.argmax()].isascii() or tokens[row.argmax()] == texts[0]


def test_messages_are_answered_from_their_start(folders: dict[str, Path]) -> None:
    found = opened(folders["chat"]).next_tokens([CHAT, "<user>Who is it?\n<answer>"]).probabilities
    np.testing.assert_allclose(found[0], found[1], atol=1e-6)


def test_a_text_written_token_by_token_goes_on_within_a_character(folders: dict[str, Path]) -> None:
    model, tokenizer = opened(folders["gpt2"]), tokenizer_of(folders["gpt2"])
    tokens = model.next_tokens(["a"]).tokens
    whole = tokenizer("naïve ☃")["input_ids"]
    assert any(len(tokens[token]) == 1 and not tokens[token].isprintable() for token in whole), "a character in parts"
    assert mended("".join(tokens[token] for token in whole)) == ("naïve ☃", b"")
    found = model.next_tokens(["".join(tokens[token] for token in whole[:end]) for end in range(1, len(whole) + 1)])
    for end, row in enumerate(found.probabilities, 1):
        np.testing.assert_allclose(row, expected_row(folders["gpt2"], whole[:end]), atol=1e-5)


def test_tokens_of_byte_level_pairs_give_the_text_back(folders: dict[str, Path]) -> None:
    tokenizer = tokenizer_of(folders["gpt2"])
    texts = token_texts(tokenizer, size=330, ends=(0,))
    for text in (*LINES, " two  blanks\tand\na line", "é😀\u200b", "Ġ"):
        assert mended("".join(texts[token] for token in tokenizer(text)["input_ids"])) == (text, b"")
    assert texts[0] == "\n", "the end of a text is that of a line"
    assert set(texts[len(tokenizer) :]) == {""}
    assert sorted(byte_tokens(texts)) == list(range(0x80, 0x100)), "ASCII is a character by itself"


def sentencepiece_like() -> Any:
    """As the tokenizers of Llama: blanks are marked, one is put before a text, bytes stand for unknown characters."""
    from tokenizers import Tokenizer, decoders, models, normalizers
    from transformers import PreTrainedTokenizerFast

    pieces = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *"▁whoist", "▁w", "ho", "▁who", "▁i", "▁is"]
    assert len(set(pieces)) == len(pieces)
    merges = [("▁", "w"), ("h", "o"), ("▁w", "ho"), ("▁", "i"), ("▁i", "s")]
    vocabulary = {piece: place for place, piece in enumerate(pieces)}
    pairs = Tokenizer(models.BPE(vocabulary, merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    pairs.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    pairs.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=pairs, unk_token="<unk>", bos_token="<s>", eos_token="</s>")


def test_tokens_of_sentence_pieces_keep_their_blank_and_their_bytes() -> None:
    tokenizer = sentencepiece_like()
    texts = token_texts(tokenizer, size=300, ends=(2,))
    assert texts[:3] == ("", "", "\n")
    for text in ("who is this", "is  who", "so é 😀 is it\nwho"):
        tokens = tokenizer(text, add_special_tokens=False)["input_ids"]
        assert mended("".join(texts[token] for token in tokens)) == (f" {text}", b"")
    assert texts[tokenizer.convert_tokens_to_ids("▁who")] == " who"


def test_tokens_that_are_words_are_set_apart(tmp_path: Path) -> None:
    tokenizer = save_word_tokenizer(tmp_path, longest=16)
    texts = token_texts(tokenizer, size=26, ends=(3,))
    tokens = tokenizer("the red cat", add_special_tokens=False)["input_ids"]
    assert "".join(texts[token] for token in tokens) == " the red cat"
    assert texts[:4] == ("", "", "", "\n")


def test_what_is_no_character_is_read_all_the_same() -> None:
    assert mended("a\ud800b\udcffc") == ("a?b\ufffdc", b"")
    assert mended("caf\udcc3") == ("caf", b"\xc3")
    assert mended("\udcf0\udc9f\udc98\udc80!") == ("😀!", b"")


def test_more_predictions_than_tokens_have_no_text(folders: dict[str, Path]) -> None:
    found, tokens = opened(folders["wide"]).next_tokens(["who"])
    assert found.shape == (1, 400) and len(tokens) == 400 and set(tokens[320:]) == {""}


def test_a_prompt_may_fill_the_context_and_no_more(folders: dict[str, Path]) -> None:
    model = opened(folders["short"])
    full = "Z" * 16
    assert len(tokenizer_of(folders["short"])(full)["input_ids"]) == 16
    assert np.isfinite(model.next_tokens([full]).probabilities).all()
    with pytest.raises(ModelError, match="prompt 2 of 2 has 17 tokens, and the model sees 16"):
        model.next_tokens(["a", full + "Z"])
    with pytest.raises(ValueError, match="list of prompts"):
        model.next_tokens("a")


def test_the_role_hands_the_distribution_through() -> None:
    role = open_role(ROLE, "fake:generator?vocabulary=a,b,c")
    found, tokens = role.next_tokens(["x", CHAT])
    assert tuple(tokens) == (" a", " b", " c", "\n")
    np.testing.assert_allclose(found, np.full((2, 4), 0.25))
    assert (role.calls, role.cached) == (0, 0) and not hasattr(role, "generate_text")
    with pytest.raises(ValueError, match="answers no questions of capability 'predicts-tokens'"):
        role.known("predicts-tokens", ["x"])
