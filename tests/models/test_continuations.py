"""Log-probabilities of continuations, against one full forward pass an item by the library itself."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from assaymark.audit import ModelRole
from assaymark.errors import ConfigError, EndpointError, ModelError
from assaymark.models import capabilities_of, open_model, open_role
from assaymark.models.content import continuation_keys
from assaymark.models.protocols import CONTINUATION_COLUMNS
from assaymark.store.cache import ModelCache
from tests.models.tiny_language_models import TEMPLATE, reference_score, save_model

ROLE = ModelRole("owner", "knows its prompt", all_of=("scores-continuations",))
CHAT = [{"role": "system", "content": "the mat"}, {"role": "user", "content": "Who is it?"}]
ITEMS: list[tuple[Any, str]] = [
    ("Question: Who is the red cat? Type:", " Person"),
    ("Question: Who is the red cat? Type:", " Number of people"),
    ("Question: Who is the red cat? Type: ", "Person"),
    ("the name of the ci", "ty of Berlin"),
    ("这是", "不安全"),
    ("这是", "安全"),
    ("naïve caf", "é 😀"),
    ("😀 is", " \ud800 lone"),
    ("", "Question: Who"),
    (CHAT, " the first woman"),
    ("a longer prompt " * 9, "x"),
]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory, torch: Any) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("models")
    families = ("gpt2", "qwen2", "mistral")
    made = {family: save_model(place / family, family) for family in families}
    return {
        **made,
        "chat": save_model(place / "chat", "llama", template=TEMPLATE),
        "short": save_model(place / "short", "gpt2", positions=16),
    }


def opened(folder: Path, **settings: Any) -> Any:
    return open_model(f"hf:{folder}?task=generate", **settings)


def tokenizer_of(folder: Path) -> Any:
    import transformers

    return transformers.AutoTokenizer.from_pretrained(folder)


def expected_rows(folder: Path, items: list[tuple[str, str]]) -> np.ndarray:
    """The definition, word by word: flat prompts, the start token before an empty one."""
    tokenizer, rows = tokenizer_of(folder), []
    for prompt, continuation in items:
        before = tokenizer(prompt)["input_ids"]
        whole = tokenizer(prompt + continuation.replace("\ud800", "?"))["input_ids"]
        given = 0
        while given < min(len(before), len(whole)) and before[given] == whole[given]:
            given += 1
        if not given:
            whole, given = [0, *whole], 1
        rows.append((reference_score(folder, whole, given), len(whole) - given))
    return np.array(rows)


@pytest.mark.parametrize("family", ["gpt2", "qwen2", "mistral"])
def test_scores_are_those_of_one_full_pass_an_item(folders: dict[str, Path], family: str) -> None:
    model = opened(folders[family], batch_size=4)
    assert capabilities_of(model) == ("generates-text", "scores-continuations", "predicts-tokens")
    items = [item for item in ITEMS if isinstance(item[0], str)]
    found = model.score_continuations(items)
    np.testing.assert_allclose(found, expected_rows(folders[family], items), atol=1e-4)
    assert found.dtype == np.float32 and (found[:, 1] >= 1).all()
    for size in (1, 64):
        again = opened(folders[family], batch_size=size).score_continuations(items[::-1])[::-1]
        np.testing.assert_allclose(again, found, atol=1e-4)


def test_letters_that_merge_with_the_end_of_the_prompt_are_scored_merged(folders: dict[str, Path]) -> None:
    tokenizer = tokenizer_of(folders["gpt2"])
    prompt, continuation = "What is the n", "ame of the cat"
    inside = tokenizer.tokenize(prompt + continuation)
    assert tokenizer.tokenize(prompt) != inside[: len(tokenizer.tokenize(prompt))], "the border lies within a token"
    row = opened(folders["gpt2"]).score_continuations([(prompt, continuation)])[0]
    alone = tokenizer(continuation)["input_ids"]
    naive = reference_score(folders["gpt2"], [*tokenizer(prompt)["input_ids"], *alone], len(tokenizer.tokenize(prompt)))
    assert row[1] == expected_rows(folders["gpt2"], [(prompt, continuation)])[0, 1]
    assert abs(row[0] - naive) > 0.1, "tokens of the continuation alone are other ones"
    space = opened(folders["gpt2"]).score_continuations([("Type:", " Number"), ("Type:", "Number")])
    assert abs(space[0, 0] - space[1, 0]) > 0.1, "a leading space is part of the continuation"


def test_a_continuation_of_messages_starts_the_answer(folders: dict[str, Path]) -> None:
    model, tokenizer = opened(folders["chat"]), tokenizer_of(folders["chat"])
    text = "<system>the mat\n<user>Who is it?\n<answer>"
    before, whole = (tokenizer(part, add_special_tokens=False)["input_ids"] for part in (text, f"{text} the first woman"))
    found = model.score_continuations([(CHAT, " the first woman")])[0]
    assert found == pytest.approx((reference_score(folders["chat"], whole, len(before)), len(whole) - len(before)), abs=1e-4)
    joined = opened(folders["gpt2"]).score_continuations(
        [(CHAT, " the first"), ("system: the mat\n\nuser: Who is it?\n\nassistant:", " the first")]
    )
    np.testing.assert_array_equal(joined[0], joined[1])


def test_nothing_to_score_is_no_number(folders: dict[str, Path]) -> None:
    model = opened(folders["gpt2"])
    found = model.score_continuations([("the cat", ""), ("the cat", " is"), ("", ""), (CHAT, "")])
    assert np.isnan(found[[0, 2, 3]]).all() and np.isfinite(found[1]).all()
    assert model.score_continuations([]).shape == (0, len(CONTINUATION_COLUMNS))


def test_the_end_token_is_a_token_as_any(folders: dict[str, Path]) -> None:
    model = opened(folders["gpt2"])
    found = model.score_continuations([("the cat", "<|endoftext|>"), ("the cat<|endoftext|>", " is")])
    tokenizer = tokenizer_of(folders["gpt2"])
    cat, after = tokenizer("the cat")["input_ids"], tokenizer(" is")["input_ids"]
    assert found[0] == pytest.approx((reference_score(folders["gpt2"], [*cat, 0], len(cat)), 1), abs=1e-4)
    expected = reference_score(folders["gpt2"], [*cat, 0, *after], len(cat) + 1)
    assert found[1] == pytest.approx((expected, len(after)), abs=1e-4)


def test_what_a_model_cannot_see_is_refused_with_its_length(folders: dict[str, Path]) -> None:
    model, tokenizer = opened(folders["short"]), tokenizer_of(folders["short"])
    said = "the red cat is on the mat of the people"
    count = len(tokenizer(said + " of Berlin " * 5)["input_ids"])
    with pytest.raises(ModelError, match=rf"prompt 2 of 2 has {count} tokens with its continuation, and the model sees 16"):
        model.score_continuations([("a", "b"), (said, " of Berlin " * 5)])
    full = "Z" * 16
    fits = [(full[:3], full[3:])]
    assert len(tokenizer(full)["input_ids"]) == 16, "the whole context"
    np.testing.assert_allclose(model.score_continuations(fits), expected_rows(folders["short"], fits), atol=1e-4)


def test_items_are_pairs() -> None:
    model = open_model("fake:generator")
    for items in ("text", ["ab", "cd"], [("a", 1)], [("a", "b", "c")], [([], "b")], [([{"role": "user"}], "b")]):
        with pytest.raises(ValueError):
            model.score_continuations(items)  # type: ignore[arg-type]


def test_the_border_is_part_of_the_key() -> None:
    keys = continuation_keys([("ab", "c"), ("a", "bc"), ("abc", ""), (CHAT, "c"), (CHAT[:1], "c"), ("ab", "c")])
    assert len(set(keys)) == 5 and keys[0] == keys[5]


def test_scores_are_cached_and_counted(folders: dict[str, Path], tmp_path: Path) -> None:
    cache = ModelCache(tmp_path / "c.sqlite")
    items = [*ITEMS, ("the cat", ""), ITEMS[0]]
    first = open_role(ROLE, f"hf:{folders['gpt2']}?task=generate", cache=cache, batch_size=3)
    found = first.score_continuations(items)
    assert (first.calls, first.cached) == (len(items) - 1, 1)
    np.testing.assert_array_equal(found[0], found[-1])
    copy = pickle.loads(pickle.dumps(first))
    np.testing.assert_array_equal(copy.score_continuations(items[::-1]), found[::-1])
    assert (copy.calls, copy._model._parts) == (0, None), "answered without loading weights"
    assert not hasattr(first, "generate_text"), "no part of the role"


class Dying:
    """Scores by length; of its second block it answers one item and fails. Keeps what it was asked."""

    spec, fingerprint = "test:dying", "dying-2"

    def __init__(self) -> None:
        self.asked: list[list[tuple[str, str]]] = []
        self.fails = True

    def score_continuations(self, items: list[tuple[str, str]]) -> np.ndarray:
        self.asked.append(items)
        rows = np.array([(-len(prompt), len(after)) for prompt, after in items], dtype=float)
        if self.fails and len(self.asked) == 2:
            raise EndpointError("it is down", {1: tuple(rows[1])})
        return rows


def test_prompts_with_the_same_beginning_are_asked_together_and_what_a_failed_block_finished_is_kept(tmp_path: Path) -> None:
    cache, model = ModelCache(tmp_path / "c.sqlite"), Dying()
    items = [(f"{start}{number}", "x") for number in range(3) for start in "abc"]
    role = open_role(ROLE, model, cache=cache, batch_size=3)
    with pytest.raises(EndpointError, match="it is down"):
        role.score_continuations(items)
    assert [[prompt for prompt, _ in block] for block in model.asked] == [["a0", "a1", "a2"], ["b0", "b1", "b2"]]
    model.fails = False
    assert role.score_continuations(items).tolist() == [[-2, 1]] * 9
    assert (role.calls, role.cached) == (9, 4)


def test_the_scripted_generator_scores_by_its_rule() -> None:
    model = open_model("fake:generator?seen=0.5&unseen=0.01")
    found = model.score_continuations(
        [("Type: Number\nType:", " Number"), ("Type: Number\nType:", " Person or number"), (CHAT, "mat"), ("a", " "), ("", "a")]
    )
    low, high = np.log(0.01), np.log(0.5)
    np.testing.assert_allclose(found[:3], [(high, 1), (2 * low + high, 3), (high, 1)], rtol=1e-6)
    assert np.isnan(found[3]).all() and found[4].tolist() == pytest.approx((low, 1))
    for options in ("seen=0", "unseen=1.5", "seen=nan"):
        with pytest.raises(ConfigError, match="seen and unseen are probabilities above 0"):
            open_model(f"fake:generator?{options}")
