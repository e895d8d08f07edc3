from __future__ import annotations

import json
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from assaymark.audit import ModelRole
from assaymark.errors import ConfigError, ModelError
from assaymark.models import capabilities_of, open_model, open_role, parse_spec, token_statistics
from assaymark.models.token_columns import RANK_COLUMNS, SAMPLED_COLUMNS, TOKEN_COLUMNS, TokenScores, summary_rows
from assaymark.models.token_statistics import chunk_length
from assaymark.store.cache import ModelCache

Saver = Callable[..., Path]
ROLE = ModelRole("language_model", "scores tokens", all_of=("scores-tokens",))
VOCABULARY = 1200


@pytest.fixture
def language_model(tmp_path: Path, torch: Any) -> Saver:
    """Save a tiny language model over words w2, w3, ...; its only special token is also the end, and nothing pads it."""

    def save(
        family: str = "gpt2", name: str = "", *, seed: int = 0, positions: int = 24, words: int = VOCABULARY, **more: Any
    ) -> Path:
        import transformers

        shape = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
        shape |= {"vocab_size": words, "max_position_embeddings": positions, "initializer_range": 0.5}
        shape |= {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": None}
        config_class, model_class, settings = {
            "gpt2": (transformers.GPT2Config, transformers.GPT2LMHeadModel, {}),
            "gpt_neox": (transformers.GPTNeoXConfig, transformers.GPTNeoXForCausalLM, {}),
            "opt": (
                transformers.OPTConfig,
                transformers.OPTForCausalLM,
                {"ffn_dim": 32, "word_embed_proj_dim": 8, "init_std": 0.5},
            ),
            "bert": (transformers.BertConfig, transformers.BertLMHeadModel, {"is_decoder": True}),
            "gemma2": (
                transformers.Gemma2Config,
                transformers.Gemma2ForCausalLM,
                {"final_logit_softcapping": 3.0, "num_key_value_heads": 2, "head_dim": 8},
            ),
        }[family]
        torch.manual_seed(seed)
        folder = tmp_path / (name or f"{family}{seed}")
        model_class(config_class(**{**shape, **settings, **more})).save_pretrained(folder)
        save_words(folder, words)
        return folder

    return save


def save_words(folder: Path, words: int, *, bos: bool = False, first: int = 0) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    vocabulary = {"<end>": 0, "<unk>": 1, **{f"w{first + i}": i for i in range(2, words)}}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    if bos:
        tokenizer.post_processor = processors.TemplateProcessing(single="<end> $A <end>", special_tokens=[("<end>", 0)])
    special = {"bos_token": "<end>", "eos_token": "<end>", "unk_token": "<unk>"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special).save_pretrained(folder)


@pytest.fixture(scope="module")
def posts() -> list[str]:
    rng = np.random.default_rng(0)
    lengths = [2, 3, 20, 7, 7, 11, 15, 2, 24, 9, 18]
    return [" ".join(f"w{word}" for word in rng.integers(2, VOCABULARY, length)) for length in lengths]


def naive_logits(folder: Path, text: str, *, longest: int = 24, before: tuple[int, ...] = ()) -> tuple[np.ndarray, list[int]]:
    """Float64 logits of what follows each prefix, one forward pass a prefix; and the tokens."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder).double().eval()
    ids = [*before, *(int(word[1:]) for word in text.split())][:longest]
    with torch.no_grad():
        return np.array([model(torch.tensor([ids[:t]])).logits[0, -1].numpy() for t in range(1, len(ids))]), ids


def naive_scores(logits: np.ndarray, ids: list[int], reference: np.ndarray | None = None) -> np.ndarray:
    """Rows l, r, H, mu, s^2, by the formulas, token by token."""
    rows = []
    for t, token in enumerate(ids[1:]):
        log_p = logits[t] - np.log(np.exp(logits[t] - logits[t].max()).sum()) - logits[t].max()
        q = np.exp(log_p)
        entropy = -np.sum(q * log_p)
        if reference is not None:
            q = np.exp(reference[t] - reference[t].max())
            q /= q.sum()
        rank = 1 + sorted(-logits[t]).index(-logits[t][token])
        expected = np.sum(q * log_p)
        rows.append([log_p[token], rank, entropy, expected, np.sum(q * log_p**2) - expected**2])
    return np.array(rows).T


@pytest.mark.parametrize(
    ("family", "has_head"), [("gpt2", True), ("gpt_neox", True), ("opt", True), ("bert", False), ("gemma2", False)]
)
def test_equals_the_formulas_token_by_token(language_model: Saver, posts: list[str], family: str, has_head: bool) -> None:
    folder = language_model(family)
    model = open_model(f"hf:{folder}", batch_size=4)
    assert capabilities_of(model) == ("scores-tokens",)
    assert model.token_columns == TOKEN_COLUMNS
    scores, rows = model.score_tokens(posts[:5]), model.summarise_tokens(posts[:5])
    assert model._parts.model.has_head is has_head
    np.testing.assert_array_equal(np.diff(scores.offsets), [1, 2, 19, 6, 6])
    for number, text in enumerate(posts[:5]):
        ll, r, H, mu, s2 = expected = naive_scores(*naive_logits(folder, text))
        here = slice(scores.offsets[number], scores.offsets[number + 1])
        np.testing.assert_allclose([values[here] for values in scores[1:]], expected, rtol=2e-5, atol=2e-5)
        bands = [np.mean((low < r) & (r <= high)) for low, high in [(0, 10), (10, 100), (100, 1000), (1000, np.inf)]]
        means = [len(r), ll.mean(), r.mean(), np.log(r).mean(), H.mean(), *bands, mu.mean(), s2.sum()]
        np.testing.assert_allclose(rows[number], means, rtol=2e-5, atol=2e-5)
    assert scores.rank.dtype == np.int32
    assert np.ptp(scores.variance) > 0.1  # the random model does tell positions apart


def test_neither_order_nor_batch_nor_chunks_matter(
    language_model: Saver, posts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = f"hf:{language_model()}?samples=50"
    whole = open_model(spec, batch_size=64).summarise_tokens(posts)
    np.testing.assert_allclose(open_model(spec, batch_size=1).summarise_tokens(posts), whole, rtol=1e-5, atol=1e-5)
    backwards = open_model(spec, batch_size=3).summarise_tokens(posts[::-1])[::-1]
    np.testing.assert_allclose(backwards, whole, rtol=1e-5, atol=1e-5)
    monkeypatch.setattr(token_statistics, "CHUNK_BYTES", 4 * 5 * VOCABULARY * 7)
    assert chunk_length(VOCABULARY) == 7
    np.testing.assert_allclose(open_model(spec).summarise_tokens(posts), whole, rtol=1e-5, atol=1e-5)


def test_batches_hold_a_bounded_number_of_tokens(
    language_model: Saver, posts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from assaymark.models import token_scorer

    monkeypatch.setattr(token_scorer, "_TYPICAL", 5)
    model = open_model(f"hf:{language_model()}", batch_size=4)
    batches = list(model._token_batches(posts))
    assert sorted(text.row for batch in batches for text in batch) == list(range(len(posts)))
    assert all(len(batch) == 1 or len(batch) * max(len(text.ids) for text in batch) <= 20 for batch in batches)
    assert [len(batch) for batch in batches][:2] == [3, 2]


def test_a_reference_gives_fast_detectgpt_and_binoculars(language_model: Saver, posts: list[str]) -> None:
    scoring, observing = language_model(seed=0), language_model(seed=1)
    model = open_model(f"hf:{scoring}?reference={observing}")
    alone = open_model(f"hf:{scoring}")
    rows = dict(zip(TOKEN_COLUMNS, model.summarise_tokens(posts).T.astype(float), strict=True))
    n = rows["tokens"]
    fast = n * (rows["log_likelihood"] - rows["expected_log_likelihood"]) / np.sqrt(rows["log_likelihood_variance"])
    binoculars = rows["log_likelihood"] / rows["expected_log_likelihood"]
    for number, text in enumerate(posts):
        p, ids = naive_logits(scoring, text)
        q, _ = naive_logits(observing, text)
        ll, _, _, mu, s2 = naive_scores(p, ids, q)
        assert fast[number] == pytest.approx((ll - mu).sum() / np.sqrt(s2.sum()), abs=1e-4)
        assert binoculars[number] == pytest.approx(ll.mean() / mu.mean(), abs=1e-5)
    np.testing.assert_allclose(alone.summarise_tokens(posts)[:, :9], model.summarise_tokens(posts)[:, :9], rtol=1e-5)
    assert model.fingerprint != alone.fingerprint
    same = open_model(f"hf:{scoring}?reference=hf:{scoring}")
    np.testing.assert_allclose(same.summarise_tokens(posts), alone.summarise_tokens(posts), rtol=1e-5, atol=1e-5)


def test_the_reference_travels_with_an_absolute_spec(language_model: Saver) -> None:
    folder = language_model(seed=1)
    spec = parse_spec(f"hf:./{folder.name}?reference=./{folder.name}", base=folder.parent)
    assert spec.absolute() == f"hf:{folder}?reference=hf:{folder}"


def test_samples_come_near_the_analytic_form(language_model: Saver, posts: list[str]) -> None:
    spec = f"hf:{language_model(seed=0)}?reference={language_model(seed=1)}&samples=4000"
    model = open_model(spec)
    assert model.token_columns == TOKEN_COLUMNS + SAMPLED_COLUMNS
    rows = dict(zip(model.token_columns, model.summarise_tokens(posts).T.astype(float), strict=True))
    sd = np.sqrt(rows["log_likelihood_variance"]) / rows["tokens"]
    assert np.all(np.abs(rows["sampled_mean"] - rows["expected_log_likelihood"]) < 4 * sd / np.sqrt(4000))
    np.testing.assert_allclose(rows["sampled_sd"], sd, rtol=0.1)
    other = open_model(f"{spec}&seed=1").summarise_tokens(posts)
    assert not np.any(other[:, -2] == rows["sampled_mean"])
    np.testing.assert_allclose(other[:, :-2], np.array([rows[name] for name in TOKEN_COLUMNS]).T, rtol=1e-5)


def test_texts_without_two_tokens_have_no_row(language_model: Saver) -> None:
    model = open_model(f"hf:{language_model()}?samples=2")
    rows = model.summarise_tokens(["", "w5", " \n\t", "w5 w6", None, "\ud800 w3"])
    assert np.isnan(rows).all(axis=1).tolist() == [True, True, True, False, True, False]
    assert not np.isnan(rows[[3, 5]]).any()
    scores = model.score_tokens(["", "w5", "w5 w6", "w7"])
    assert scores.offsets.tolist() == [0, 0, 0, 1, 1]
    assert model.summarise_tokens([]).shape == (0, 13)
    assert model.score_tokens([]).offsets.tolist() == [0]


def test_long_texts_are_cut_and_said_to_be(language_model: Saver) -> None:
    folder = language_model()
    rng = np.random.default_rng(1)
    words = [f"w{word}" for word in rng.integers(2, VOCABULARY, 100_000)]
    whole, start = open_model(f"hf:{folder}").summarise_tokens([" ".join(words), " ".join(words[:24])])
    np.testing.assert_allclose(whole, start, rtol=1e-5)
    assert whole[0] == 23
    model = open_model(f"hf:{folder}?max_tokens=10")
    assert "at most 10 tokens" in model.notes[0]
    assert model.summarise_tokens([" ".join(words)])[0, 0] == 9
    short = language_model(name="short", positions=12)
    pair = open_model(f"hf:{folder}?reference={short}")
    assert "at most 12 tokens" in pair.notes[0]
    assert pair.summarise_tokens([" ".join(words)])[0, 0] == 11
    for wrong in (1, 25):
        with pytest.raises(ConfigError, match=rf"max_tokens={wrong} must be at least 2 and at most 24"):
            open_model(f"hf:{folder}?max_tokens={wrong}")


def test_the_start_token_is_what_the_tokenizer_or_the_spec_says(language_model: Saver, posts: list[str]) -> None:
    folder = language_model()
    added = open_model(f"hf:{folder}?add_bos=true")
    longest = posts[8]
    for text in (posts[3], longest):
        ll, *_ = naive_scores(*naive_logits(folder, text, before=(0,)))
        assert added.summarise_tokens([text])[0, :2] == pytest.approx([len(ll), ll.mean()], abs=2e-5)
    assert added.summarise_tokens(["w5", ""])[:, 0].tolist() == pytest.approx([1, np.nan], nan_ok=True)
    with_start = language_model(name="with_start")
    save_words(with_start, VOCABULARY, bos=True)
    np.testing.assert_allclose(
        open_model(f"hf:{with_start}").summarise_tokens(posts), added.summarise_tokens(posts), rtol=1e-5, atol=1e-5
    )
    without = open_model(f"hf:{with_start}?add_bos=false").summarise_tokens(posts)
    np.testing.assert_allclose(without, open_model(f"hf:{folder}").summarise_tokens(posts), rtol=1e-5, atol=1e-5)


def test_one_pass_serves_all_metrics_and_is_cached(language_model: Saver, posts: list[str], tmp_path: Path) -> None:
    spec, cache = f"hf:{language_model()}", ModelCache(tmp_path / "c.sqlite")
    first = open_role(ROLE, spec, cache=cache, batch_size=4)
    expected = first.summarise_tokens([*posts, "", posts[0]])
    assert (first.calls, first.cached) == (len(posts) + 1, 1)
    second = open_role(ROLE, spec, cache=cache)
    np.testing.assert_array_equal(second.summarise_tokens([*posts, "", posts[0]]), expected)
    assert (second.calls, second._model._parts) == (0, None)
    assert second.token_columns == TOKEN_COLUMNS
    assert len(second.score_tokens(posts).rank) == np.nansum(expected[:-1, 0])
    copy = pickle.loads(pickle.dumps(first))
    assert copy._model._parts is None
    np.testing.assert_allclose(copy._model.summarise_tokens(posts), expected[:-2], rtol=1e-5)


def test_fingerprints_differ_where_answers_do(language_model: Saver) -> None:
    folder, other = language_model(), language_model(seed=1)
    options = [
        "",
        "?samples=10",
        "?samples=10&seed=1",
        "?max_tokens=9",
        "?add_bos=true",
        "?dtype=bfloat16",
        f"?reference={other}",
    ]
    prints = [open_model(f"hf:{folder}{option}").fingerprint for option in options]
    assert len(set(prints)) == len(prints)
    assert open_model(f"hf:{folder}?seed=1").fingerprint == prints[0]  # nothing is drawn


def test_half_precision_stays_near(language_model: Saver, posts: list[str]) -> None:
    folder = language_model()
    exact, half = (open_model(f"hf:{folder}{option}").summarise_tokens(posts) for option in ("", "?dtype=bfloat16"))
    np.testing.assert_allclose(half[:, 1], exact[:, 1], rtol=0.05)
    assert np.abs(half[:, 1] - exact[:, 1]).max() > 1e-5


def test_a_model_that_looks_ahead_is_refused(language_model: Saver) -> None:
    folder = language_model("bert", is_decoder=False)
    with pytest.raises(ModelError, match="BertLMHeadModel looks at later tokens"):
        open_model(f"hf:{folder}").summarise_tokens(["w5 w6"])


def test_a_reference_has_to_share_the_vocabulary(language_model: Saver) -> None:
    folder, small = language_model(), language_model(name="small", words=1000)
    with pytest.raises(ModelError, match="vocabulary of 1200 tokens and its reference one of 1000"):
        open_model(f"hf:{folder}?reference={small}")
    renamed = language_model(name="renamed")
    save_words(renamed, VOCABULARY, first=3)
    with pytest.raises(ModelError, match="1200 tokens and that of its reference 1200, 1198 of them with another number"):
        open_model(f"hf:{folder}?reference={renamed}").summarise_tokens(["w5 w6"])
    with pytest.raises(ModelError, match="reference must be a model of the hub or a folder"):
        open_model(f"hf:{folder}?reference=fake:token-scorer")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ("samples=1", ConfigError, "samples must be 0 or at least 2"),
        ("dtype=int8", ConfigError, "dtype='int8' must be one of float32"),
        ("ad_bos=true", ModelError, "did you mean 'add_bos'"),
    ],
)
def test_mistakes_in_the_spec_are_named(language_model: Saver, options: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        open_model(f"hf:{language_model()}?{options}")


def test_summary_rows_against_a_loop() -> None:
    rng = np.random.default_rng(0)
    lengths = [0, 5, 1, 0, 40]
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    ranks = rng.choice([1, 10, 11, 100, 101, 1000, 1001, 50_000], size=46).astype(np.int32)
    floats = rng.normal(size=(4, 46)).astype(np.float32)
    rows = summary_rows(TokenScores(offsets, floats[0], ranks, floats[1], floats[2], floats[3]))
    assert np.isnan(rows).all(axis=1).tolist() == [True, False, False, True, False]
    for row, start, stop in zip(rows, offsets, offsets[1:], strict=False):
        if start == stop:
            continue
        r, (ll, H, mu, s2) = ranks[start:stop], floats[:, start:stop].astype(float)
        bands = [np.mean(r <= 10), np.mean((r > 10) & (r <= 100)), np.mean((r > 100) & (r <= 1000)), np.mean(r > 1000)]
        expected = [stop - start, ll.mean(), r.mean(), np.log(r).mean(), H.mean(), *bands, mu.mean(), s2.sum()]
        np.testing.assert_allclose(row, expected, rtol=1e-12)
        assert row[[TOKEN_COLUMNS.index(name) for name in RANK_COLUMNS]].sum() == pytest.approx(1)


def test_an_undefined_number_makes_the_row_undefined() -> None:
    ones, broken = np.ones(3, dtype=np.float32), np.array([1, np.nan, 1], dtype=np.float32)
    rows = summary_rows(TokenScores(np.array([0, 2, 3]), broken, np.ones(3, dtype=np.int32), ones, ones, ones))
    assert np.isnan(rows).all(axis=1).tolist() == [True, False]


def test_the_columns_cost_no_torch() -> None:
    code = "import assaymark.models.token_columns, sys; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_early_configurations_of_t5_are_no_language_model(language_model: Saver) -> None:
    folder = language_model()
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "architectures": ["T5WithLMHeadModel"], "model_type": "t5"}))
    assert capabilities_of(open_model(str(folder))) == ("fills-spans",)


def test_the_scripted_scorer_likes_its_planted_words() -> None:
    spec = "fake:token-scorer?boosted=delve|tapestry&boost=50&samples=500"
    model = open_model(spec)
    assert capabilities_of(model) == ("scores-tokens",)
    plain, planted, empty, one = rows = model.summarise_tokens(["so w3000 w40 here", "so delve Tapestry here", "", "delve"])
    assert planted[1] > plain[1] + 1
    assert np.isnan([empty, one]).all()
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).summarise_tokens(["so delve Tapestry here"]), [planted])
    table = dict(zip(model.token_columns, rows[0].astype(float), strict=True))
    assert table["sampled_mean"] == pytest.approx(table["expected_log_likelihood"], abs=0.4)
    assert table["sampled_sd"] == pytest.approx(np.sqrt(table["log_likelihood_variance"]) / 3, rel=0.2)
    unboosted = open_model("fake:token-scorer?vocabulary=100").score_tokens(["x w0 w9 w99"])
    assert unboosted.rank.tolist() == [1, 10, 100]
    weights = 1 / np.arange(1, 101)
    np.testing.assert_allclose(unboosted.log_probability, np.log((weights / weights.sum())[[0, 9, 99]]), rtol=1e-6)
    with pytest.raises(ModelError, match="did you mean 'boosted'"):
        open_model("fake:token-scorer?bosted=x")
