"""Questions about one long prompt: its keys and values worked out once, or again with every question.

The model is made on the spot, with random weights: speed and agreement do not depend on what it has learnt.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from assaymark.models import open_model
from benchmarks import Row, Target
from benchmarks.token_metrics import save_tokenizer

VOCABULARY = 50_257
ANSWER = 12  # tokens
BATCH = 18


class Sizes(NamedTuple):
    layers: int
    width: int
    prefixes: tuple[int, ...]  # words of each prompt's shared beginning
    questions: int  # about each
    repeats: int


class Ways(NamedTuple):
    """Seconds with and without sharing, and the tokens that a reader would count: prompts, and answers or continuations."""

    shared: float
    plain: float
    tokens: int


def run(quick: bool = False) -> list[Row]:
    """All rows of the table."""
    from transformers.utils import logging

    logging.disable_progress_bar()
    sizes = Sizes(2, 64, (100,), 4, 1) if quick else Sizes(12, 256, (750,), 18, 1)
    with tempfile.TemporaryDirectory() as folder:
        rows = comparison(saved_model(Path(folder), sizes), sizes)
    return [row._replace(target=None) for row in rows] if quick else rows


def saved_model(folder: Path, sizes: Sizes) -> Path:
    """A GPT-2 whose weights are large enough that its answers differ; nothing ends a text."""
    import torch
    import transformers

    shape = {"n_embd": sizes.width, "n_layer": sizes.layers, "n_head": sizes.width // 32, "n_positions": 1024}
    ends = {"bos_token_id": None, "eos_token_id": None, "pad_token_id": None}
    config = transformers.GPT2Config(vocab_size=VOCABULARY, initializer_range=0.1, **shape, **ends)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        transformers.GPT2LMHeadModel(config).save_pretrained(folder)
    save_tokenizer(folder)
    return folder


def questions(sizes: Sizes) -> list[str]:
    """Prompts that go on with 10 to 40 words behind each prefix, prefix after prefix."""
    rng = np.random.default_rng(0)

    def words(count: int) -> list[str]:
        return [f"w{word}" for word in rng.integers(2, VOCABULARY, count)]

    prefixes = [words(length) for length in sizes.prefixes]
    return [" ".join([*prefix, *words(int(rng.integers(10, 41)))]) for prefix in prefixes for _ in range(sizes.questions)]


def comparison(folder: Path, sizes: Sizes) -> list[Row]:
    import torch

    prompts = questions(sizes)
    items = [(prompt, continuation) for prompt in prompts for continuation in (" w7 w8", " w9")]
    work: list[tuple[str, Callable[[Any, list[Any]], Any], list[Any], int]] = [
        (f"{ANSWER} new tokens", partial(generated, max_tokens=ANSWER), prompts, ANSWER),
        ("two continuations scored", scored, items, 2),
    ]
    lengths = " and ".join(map(str, sizes.prefixes))
    about = f"{sizes.questions} questions behind {lengths} shared tokens; {sizes.layers} layers x {sizes.width}, "
    about += f"{torch.get_num_threads()} threads"
    rows = []
    for case, ask, asked, more in work:
        tokens = sum(len((item if isinstance(item, str) else item[0]).split()) + more for item in asked)
        together = compared(folder, ask, [asked], tokens=tokens, repeats=sizes.repeats)
        alone = compared(folder, ask, [[item] for item in asked], tokens=tokens, repeats=1)
        for how, ways in (("in batches", together), ("one at a time", alone)):
            speed = f"{ways.tokens / ways.shared:,.0f} against {ways.tokens / ways.plain:,.0f} tokens a second"
            note = f"peer: prefix_cache=false; {speed}; {about}"
            # Who waits for one answer at a time waits for its tokens, one pass each, which no sharing makes fewer.
            target = None if ask is not scored and ways is alone else Target("times", ">=", 3)
            rows.append(Row(f"{case}, {how}", ways.shared, ways.plain, "s", note, target))
        note = f"peer: prefix_cache=false, one at a time, the plainest way; {about}"
        rows.append(Row(f"{case}, batches against one at a time", together.shared, alone.plain, "s", note))
    return [*rows, agreement(folder, prompts, items)]


def compared(folder: Path, ask: Callable[[Any, list[Any]], Any], calls: list[list[Any]], *, tokens: int, repeats: int) -> Ways:
    """Least seconds of both ways; each time a fresh store of states, for the second time would find all of the first."""
    seconds = {}
    for options in ("", "&prefix_cache=false"):
        model = opened(folder, options)
        spent = []
        for _ in range(repeats):
            loaded = model._loaded()
            if loaded.states is not None:
                model._parts = loaded._replace(states=type(loaded.states)(loaded.model))
            start = time.perf_counter()
            for call in calls:
                ask(model, call)
            spent.append(time.perf_counter() - start)
        seconds[options] = min(spent)
    return Ways(seconds[""], seconds["&prefix_cache=false"], tokens)


def opened(folder: Path, options: str) -> Any:
    model = open_model(f"hf:{folder}?task=generate{options}", batch_size=BATCH)
    model.generate_text(["w2 w3"], temperature=0, max_tokens=1)  # weights are loaded in nobody's time
    return model


def generated(model: Any, prompts: list[str], *, max_tokens: int) -> list[str]:
    return [texts[0] for texts in model.generate_text(prompts, temperature=0, max_tokens=max_tokens)]


def scored(model: Any, items: list[tuple[str, str]]) -> Any:
    return model.score_continuations(items)


def agreement(folder: Path, prompts: list[str], items: list[tuple[str, str]]) -> Row:
    """The largest difference of a log-likelihood, where all texts are equal; infinite where one is not."""
    model, plain = (opened(folder, options) for options in ("", "&prefix_cache=false"))
    few, some = prompts[:BATCH], items[-BATCH:]
    same = generated(model, few, max_tokens=ANSWER) == generated(plain, few, max_tokens=ANSWER)
    error = float(np.abs(scored(model, some) - scored(plain, some)).max()) if same else float("inf")
    note = f"nats, of {len(some)} continuations; {len(few)} greedy texts are equal to the letter"
    return Row("largest difference by sharing", error, None, "nats", note, Target("ours", "<=", 1e-4))
