from __future__ import annotations

import pickle
import re
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from assaymark.audit import ModelRole
from assaymark.errors import ConfigError, ModelError
from assaymark.models import capabilities_of, open_model, open_role
from assaymark.models.content import text_keys
from assaymark.models.span_filler import NucleusDraws
from assaymark.store.cache import ModelCache

Saver = Callable[..., Path]
ROLE = ModelRole("perturber", "fills gaps", all_of=("fills-spans",))
WORDS = [f"w{number}" for number in range(9)]
SENTINELS = [f"<extra_id_{number}>" for number in range(4)]
FLATNESS = 0.4
MASKED = [
    "w1 <extra_id_0> w2",
    "<extra_id_0> w3 w4 <extra_id_1>",
    "w5",
    "",
    "w1 <extra_id_0> w2 w3 <extra_id_1> w6 <extra_id_2> w8 w8 w8",
    "w7 <extra_id_0>",
]


@pytest.fixture
def span_model(tmp_path: Path, torch: Any) -> Saver:
    """Save a tiny T5 with a few words, so that it says sentinels often enough."""

    def save(name: str = "t5", *, seed: int = 0, sentinels: int = 4) -> Path:
        import transformers
        from tokenizers import Tokenizer, models, pre_tokenizers, processors

        names = ["<pad>", "</s>", "<unk>", *SENTINELS[:sentinels], *WORDS]
        config = transformers.T5Config(
            vocab_size=len(names),
            d_model=16,
            d_kv=8,
            d_ff=32,
            num_layers=1,
            num_heads=2,
            decoder_start_token_id=0,
        )
        torch.manual_seed(seed)
        folder = tmp_path / name
        model = transformers.T5ForConditionalGeneration(config)
        with torch.no_grad():
            model.shared.weight.mul_(FLATNESS)  # also the output layer: logits near one another
        model.save_pretrained(folder)
        tokenizer = Tokenizer(models.WordLevel({name: index for index, name in enumerate(names)}, unk_token="<unk>"))
        tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
        special = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
        fast = transformers.PreTrainedTokenizerFast(
            tokenizer_object=tokenizer, additional_special_tokens=SENTINELS[:sentinels], **special
        )
        fast.save_pretrained(folder)
        return folder

    return save


@lru_cache(maxsize=2)
def published(folder: Path) -> tuple[Any, Any]:
    import transformers

    model = transformers.T5ForConditionalGeneration.from_pretrained(folder).double().eval()
    return model, transformers.AutoTokenizer.from_pretrained(folder)


def naive_fill(folder: Path, masked: str, sample: int, *, seed: int, temperature: float, top_p: float, top_k: int) -> str:
    """One version in the way of the published code: one text, no key-value cache, regular expression on the decoded text."""
    import torch

    model, tokenizer = published(folder)
    gaps = len(re.findall(r"<extra_id_\d+>", masked))
    given = tokenizer(masked, return_tensors="pt")["input_ids"]
    for attempt in range(3):
        rng = np.random.default_rng([seed, int.from_bytes(text_keys([masked])[0], "big"), sample, attempt])
        said = [0]
        while len(said) <= 20 and said[-1] not in (1, 3 + gaps):
            with torch.no_grad():
                logits = model(input_ids=given, decoder_input_ids=torch.tensor([said])).logits[0, -1].numpy() / temperature
            best = sorted(range(len(logits)), key=lambda token: -logits[token])[: top_k or None]
            p = np.exp(logits[best] - logits[best].max())
            p /= p.sum()
            kept = {token: p[place] for place, token in enumerate(best) if p[:place].sum() < top_p}
            drawn, below = rng.random() * sum(kept.values()), 0.0
            for token in sorted(kept):
                below += kept[token]
                if drawn < below:
                    break
            said.append(token)
        text = re.sub("<pad>|</s>|<unk>", "", tokenizer.decode(said)).strip()
        fills = [" ".join(fill.split()) for fill in re.split(r"<extra_id_\d+>", text)[1:-1]]
        if len(fills) >= gaps:
            words = masked.split(" ")
            for number in range(gaps):
                words[words.index(f"<extra_id_{number}>")] = fills[number]
            return " ".join(words)
    return ""


@pytest.mark.parametrize(
    "draw", [{"temperature": 1.0, "top_p": 1.0, "top_k": 50}, {"temperature": 2.0, "top_p": 0.9, "top_k": 12}]
)
def test_follows_the_published_procedure(span_model: Saver, draw: dict[str, Any]) -> None:
    folder = span_model()
    model = open_model(f"hf:{folder}?longest=20", batch_size=5)
    assert capabilities_of(model) == ("fills-spans",)
    filled = model.fill_spans(MASKED, samples=4, seed=3, **draw)
    assert [len(versions) for versions in filled] == [4] * 6
    for masked, versions in zip(MASKED, filled, strict=True):
        assert versions == [naive_fill(folder, masked, sample, seed=3, **draw) if masked else "" for sample in range(4)]
    flat = [version for row, versions in enumerate(filled) if row not in (2, 3) for version in versions]
    assert 2 < sum(map(bool, flat)) < len(flat)  # some gaps were filled, and some stayed open
    assert len(set(flat)) > 5
    assert not any("<extra_id" in version for version in flat)
    assert filled[2] == ["w5"] * 4


def test_versions_depend_on_text_and_seed_alone(span_model: Saver) -> None:
    spec = f"hf:{span_model()}?longest=20"
    whole = open_model(spec).fill_spans(MASKED, samples=3)
    assert open_model(spec, batch_size=1).fill_spans(MASKED[::-1], samples=3)[::-1] == whole
    assert [versions[:2] for versions in whole] == open_model(spec).fill_spans(MASKED, samples=2)
    assert open_model(spec).fill_spans(MASKED, samples=3, seed=1) != whole
    assert open_model(spec).fill_spans([]) == []


def test_the_global_generator_of_torch_is_not_touched(span_model: Saver, torch: Any) -> None:
    model = open_model(f"hf:{span_model()}?longest=5")
    before = torch.random.get_rng_state()
    model.fill_spans(MASKED)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_answers_are_cached_with_their_parameters(span_model: Saver, tmp_path: Path) -> None:
    spec, cache = f"hf:{span_model()}?longest=20", ModelCache(tmp_path / "c.sqlite")
    first = open_role(ROLE, spec, cache=cache)
    said = first.fill_spans(MASKED, samples=2, seed=5)
    second = open_role(ROLE, spec, cache=cache)
    assert second.fill_spans(MASKED, samples=2, seed=5) == said
    assert (first.calls, second.calls) == (6, 0)
    second.fill_spans(MASKED, samples=2, seed=6)
    assert second.calls == 6
    copy = pickle.loads(pickle.dumps(open_model(spec)))
    assert copy._parts is None
    assert copy.fill_spans(MASKED, samples=2, seed=5) == said


@pytest.mark.parametrize(("top_p", "top_k"), [(1.0, 0), (0.7, 0), (1.0, 2), (0.5, 3)])
def test_draws_are_from_the_kept_tokens(torch: Any, top_p: float, top_k: int) -> None:
    n, logits = 20_000, np.log([0.1, 0.4, 0.15, 0.35])
    rows = torch.tensor(logits, dtype=torch.float32).expand(n, 4) * 2.0
    draws = NucleusDraws([np.random.default_rng(number) for number in range(n)], 2.0, top_p, top_k)
    shares = np.bincount(draws(None, rows).argmax(dim=1).numpy(), minlength=4) / n
    kept = {(1.0, 0): [0, 1, 2, 3], (0.7, 0): [1, 3], (1.0, 2): [1, 3], (0.5, 3): [1, 3]}[top_p, top_k]
    expected = np.zeros(4)
    expected[kept] = np.exp(logits[kept]) / np.exp(logits[kept]).sum()
    assert np.abs(shares - expected).max() < 4 * 0.5 / np.sqrt(n)


def test_mistakes_are_named(span_model: Saver) -> None:
    folder = span_model()
    model = open_model(f"hf:{folder}")
    with pytest.raises(ValueError, match=r"numbered <extra_id_0>, <extra_id_1>, ... in their order, not \[1\]"):
        model.fill_spans(["w1 <extra_id_1>"])
    with pytest.raises(ModelError, match="a text has 4 gaps, and the vocabulary sentinels for 3"):
        model.fill_spans([" ".join(SENTINELS)])
    for wrong in ({"samples": 0}, {"temperature": 0.0}, {"top_p": 0.0}, {"top_k": -1}):
        with pytest.raises(ValueError, match="samples must be at least 1"):
            model.fill_spans(MASKED, **wrong)
    with pytest.raises(ConfigError, match="longest=1"):
        open_model(f"hf:{folder}?longest=1")
    with pytest.raises(ModelError, match="no <extra_id_0>"):
        open_model(f"hf:{span_model('bare', sentinels=0)}").fill_spans(["w1 <extra_id_0>"])
    prints = {open_model(f"hf:{folder}{option}").fingerprint for option in ("", "?longest=20", "?dtype=bfloat16")}
    assert len(prints) == 3


def test_the_scripted_filler_fills_and_fails_as_planted() -> None:
    model = open_model("fake:span-filler?words=zorp|blick&length=1&fail=0.25")
    assert capabilities_of(model) == ("fills-spans",)
    texts = [f"{number} <extra_id_0> and <extra_id_1>" for number in range(500)]
    filled = model.fill_spans(texts, samples=2)
    assert all(re.fullmatch(r"\d+ (zorp|blick) and (zorp|blick)|", version) for versions in filled for version in versions)
    failed = np.mean([not version for versions in filled for version in versions])
    assert abs(failed - 0.25) < 4 * np.sqrt(0.25 * 0.75 / 1000)
    assert model.fill_spans(texts[::-1], samples=2)[::-1] == filled
    assert model.fill_spans(texts, seed=1) != model.fill_spans(texts)
    with pytest.raises(ConfigError, match=r"fail in \[0, 1\]"):
        open_model("fake:span-filler?fail=2")
