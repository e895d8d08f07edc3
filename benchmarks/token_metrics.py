"""Metrics of zero-shot detectors beside one forward pass a metric, and padding to the batch beside padding to the maximum.

The models are made on the spot, with random weights: speed and agreement do not depend on what they have learnt.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from assaymark.models import open_model
from benchmarks import Row, Target, best_seconds

VOCABULARY = 50_257
LONGEST = 4_096  # positions of the Longformer


def run(quick: bool = False) -> list[Row]:
    """All rows of the table."""
    from transformers.utils import logging

    logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as folder:
        rows = [*metric_rows(Path(folder), quick), *padding_rows(Path(folder), quick)]
    return [row._replace(target=None) for row in rows] if quick else rows


def save_tokenizer(folder: Path) -> None:
    """A tokenizer of words w0, w1, ...; its pad token is never in a text."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    names = {"<end>": 0, "<pad>": 1, **{f"w{number}": number for number in range(2, VOCABULARY)}}
    tokenizer = Tokenizer(models.WordLevel(names, unk_token="<end>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    special = {"unk_token": "<end>", "bos_token": "<end>", "eos_token": "<end>", "pad_token": "<pad>"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special).save_pretrained(folder)


def posts(count: int, low: int, high: int) -> list[str]:
    """Posts of `low` to `high` words, the frequent ones more often."""
    rng = np.random.default_rng(0)
    words = [2 + (rng.zipf(1.2, size=int(rng.integers(low, high))) % (VOCABULARY - 2)) for _ in range(count)]
    return [" ".join(f"w{word}" for word in said) for said in words]


def metric_rows(folder: Path, quick: bool) -> list[Row]:
    """All metrics of a text from one pass, and how far they are from those of the published style."""
    import torch
    import transformers

    count = 2 if quick else 10
    texts = posts(count, 30, 50) if quick else posts(count, 50, 250)
    shape = {"n_embd": 128, "n_layer": 4, "n_head": 4, "n_positions": 1024, "initializer_range": 0.1}
    config = transformers.GPT2Config(vocab_size=VOCABULARY, bos_token_id=0, eos_token_id=0, pad_token_id=1, **shape)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        transformers.GPT2LMHeadModel(config).save_pretrained(folder / "gpt2")
    save_tokenizer(folder / "gpt2")
    model = open_model(f"hf:{folder / 'gpt2'}", batch_size=16)
    peer = PublishedStyle(folder / "gpt2")
    found = metrics_of(model, texts)
    ours = best_seconds(lambda: metrics_of(model, texts))
    start = time.perf_counter()
    expected = peer.metrics(texts)
    theirs = time.perf_counter() - start
    error = float((np.abs(found - expected) / np.maximum(1.0, np.abs(expected))).max())
    tokens = sum(len(text.split()) for text in texts)
    note = f"peer: a text and a metric at a time, ranks by sorting; {count} texts, {tokens:,} tokens, 4 layers x 128, "
    note += f"{VOCABULARY:,} tokens in the vocabulary, {torch.get_num_threads()} threads"
    agreement = f"of {found.shape[1]} numbers a text, relative where over 1; against the peer, float32 both"
    return [
        Row("detector metrics, eight of a text", ours, theirs, "s", note, Target("times", ">=", 10)),
        Row("largest difference of a metric", error, None, "", agreement, Target("ours", "<=", 1e-5)),
    ]


def metrics_of(model: Any, texts: list[str]) -> np.ndarray:
    """Likelihood, rank, log-rank, entropy, four GLTR fractions, LRR, Fast-DetectGPT and Binoculars; shape (n, 11)."""
    summary = model.summarise_tokens(texts).astype(np.float64)
    column = dict(zip(model.token_columns, summary.T, strict=True))
    likelihood, expected = column["log_likelihood"], column["expected_log_likelihood"]
    fast = column["tokens"] * (likelihood - expected) / np.sqrt(column["log_likelihood_variance"])
    return np.column_stack([summary[:, 1:9], -likelihood / column["log_rank"], fast, likelihood / expected])


class PublishedStyle:
    """The metrics as the released scripts compute them: a function a metric, a forward pass a call, a batch of one."""

    def __init__(self, folder: Path) -> None:
        from transformers import AutoModelForCausalLM, AutoTokenizer

        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.model = AutoModelForCausalLM.from_pretrained(folder).eval()

    def metrics(self, texts: list[str]) -> np.ndarray:
        import torch

        parts: list[Callable[[Any, Any], list[float]]] = [
            *(self.likelihood, self.rank, self.log_rank, self.entropy, self.gltr),
            *(self.lrr, self.fast_detectgpt, self.binoculars),
        ]
        with torch.no_grad():
            return np.array([[value for part in parts for value in part(*self.logits(text))] for text in texts])

    def logits(self, text: str) -> tuple[Any, Any]:
        tokens = self.tokenizer(text, return_tensors="pt", return_token_type_ids=False)
        return self.model(**tokens).logits[:, :-1], tokens.input_ids[:, 1:]

    def likelihood(self, logits: Any, labels: Any) -> list[float]:
        import torch

        return [torch.log_softmax(logits, dim=-1).gather(-1, labels[..., None]).mean().item()]

    def ranks(self, logits: Any, labels: Any) -> Any:
        matches = (logits.argsort(-1, descending=True) == labels[..., None]).nonzero()
        return matches[:, -1].double() + 1

    def rank(self, logits: Any, labels: Any) -> list[float]:
        return [self.ranks(logits, labels).mean().item()]

    def log_rank(self, logits: Any, labels: Any) -> list[float]:
        return [self.ranks(logits, labels).log().mean().item()]

    def entropy(self, logits: Any, labels: Any) -> list[float]:
        import torch

        return [-(torch.softmax(logits, dim=-1) * torch.log_softmax(logits, dim=-1)).sum(-1).mean().item()]

    def gltr(self, logits: Any, labels: Any) -> list[float]:
        ranks, edges = self.ranks(logits, labels) - 1, (0, 10, 100, 1000, VOCABULARY)
        return [((ranks >= low) & (ranks < high)).double().mean().item() for low, high in pairwise(edges)]

    def lrr(self, logits: Any, labels: Any) -> list[float]:
        return [-self.likelihood(logits, labels)[0] / self.log_rank(logits, labels)[0]]

    def fast_detectgpt(self, logits: Any, labels: Any) -> list[float]:
        import torch

        scores, p = torch.log_softmax(logits, dim=-1), torch.softmax(logits, dim=-1)
        chosen, mean = scores.gather(-1, labels[..., None])[..., 0], (p * scores).sum(-1)
        variance = (p * scores.square()).sum(-1) - mean.square()
        return [((chosen.sum(-1) - mean.sum(-1)) / variance.sum(-1).sqrt()).item()]

    def binoculars(self, logits: Any, labels: Any) -> list[float]:
        import torch

        flat = logits[0]
        crossed = torch.nn.functional.cross_entropy(flat, torch.softmax(flat, dim=-1))
        return [(torch.nn.functional.cross_entropy(flat, labels[0]) / crossed).item()]


def padding_rows(folder: Path, quick: bool) -> list[Row]:
    """Classification of short posts by a model with many positions."""
    import torch
    import transformers

    texts = posts(2 if quick else 8, 150, 250)
    shape: dict[str, Any] = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128}
    shape |= {"vocab_size": VOCABULARY, "initializer_range": 0.2, "pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 0}
    rows = []
    for name, positions, more in (
        ("Longformer", LONGEST // 4 if quick else LONGEST, {"attention_window": 512}),
        ("Roberta", 512 if quick else 1_024, {}),
    ):
        config_class = getattr(transformers, f"{name}Config")
        config = config_class(max_position_embeddings=positions + 2, **shape, **more)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            getattr(transformers, f"{name}ForSequenceClassification")(config).save_pretrained(folder / name)
        save_tokenizer(folder / name)
        model = open_model(f"hf:{folder / name}", batch_size=8)
        padded = partial(padded_to_the_maximum, folder / name, positions)
        scores, peer = model.score_texts(texts), padded(texts[:2])
        ours = best_seconds(lambda model=model: model.score_texts(texts), repeats=1 if quick else 3)
        theirs = best_seconds(lambda padded=padded: padded(texts), repeats=1)
        note = f"peer: padded to {positions:,}, batches of 8; {len(texts)} posts of 150 to 250 tokens, 2 layers x 64"
        case = f"classification, {name.lower()}"
        rows.append(Row(case, ours, theirs, "s", note, Target("times", ">=", 3)))
        error = float(np.abs(scores[:2] - peer).max())
        rows.append(
            Row(
                f"largest difference, {name.lower()}",
                error,
                None,
                "",
                f"of probabilities with SD {scores.std(axis=0)[0]:.2g}",
                Target("ours", "<=", 1e-5),
            )
        )
    return rows


def padded_to_the_maximum(folder: Path, positions: int, texts: list[str]) -> np.ndarray:
    """Probabilities in the way of the released script, its loading included in neither time."""
    import torch

    tokenizer, model = _classifier(folder)
    found = []
    with torch.no_grad():
        for start in range(0, len(texts), 8):
            batch = tokenizer(
                texts[start : start + 8], padding="max_length", truncation=True, max_length=positions, return_tensors="pt"
            )
            found.append(torch.softmax(model(**batch).logits, dim=-1))
    return torch.cat(found).numpy()


_LOADED: dict[Path, tuple[Any, Any]] = {}


def _classifier(folder: Path) -> tuple[Any, Any]:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    if folder not in _LOADED:
        _LOADED[folder] = (
            AutoTokenizer.from_pretrained(folder),
            AutoModelForSequenceClassification.from_pretrained(folder).eval(),
        )
    return _LOADED[folder]
