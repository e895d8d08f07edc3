"""Training steps of a text classifier on posts of some 200 tokens: padded to the longest of a batch, or all to the maximum."""

from __future__ import annotations

from typing import Any

import numpy as np

from assaymark.training import TokenBatches, train
from benchmarks import Row, Target, best_seconds

WORDS = 2_000
SIZE = 5  # texts in a batch, that of the published script


def posts(n: int, *, longest: int) -> list[np.ndarray]:
    """Token ids of texts whose lengths are spread as those of posts: median 180, a long tail."""
    rng = np.random.default_rng(0)
    lengths = np.clip(rng.lognormal(np.log(180), 0.7, size=n), 10, longest).astype(int)
    return [rng.integers(4, WORDS, size=length) for length in lengths]


def classifier(family: str, *, longest: int, window: int) -> Any:
    """Four layers of width 128 with a head for two classes."""
    import torch
    import transformers

    from assaymark.models.token_classifier import TokenClassifier

    shape = {
        "vocab_size": WORDS,
        "hidden_size": 128,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "intermediate_size": 512,
    }
    places = {"max_position_embeddings": longest + 2, "pad_token_id": 1}
    # What dropout draws depends on the width of the batch; all else must be equal.
    places |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    attention = {"attention_window": window} if family == "Longformer" else {}
    config = getattr(transformers, f"{family}Config")(**shape, **places, **attention)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return TokenClassifier(getattr(transformers, f"{family}ForSequenceClassification")(config))


class PaddedToMaximum:
    """The same batches as wide as the model allows: `padding="max_length"`."""

    def __init__(self, batches: TokenBatches, longest: int) -> None:
        self._batches, self._longest = batches, longest
        self.steps_per_epoch = batches.steps_per_epoch

    def at(self, step: int, *, rank: int = 0, world: int = 1) -> Any:
        import torch

        ids, mask, *targets = self._batches.at(step, rank=rank, world=world)
        missing = (0, self._longest - ids.shape[1])
        return (torch.nn.functional.pad(ids, missing), torch.nn.functional.pad(mask, missing), *targets)


def run(quick: bool = False) -> list[Row]:
    """Seconds of the same training steps, and whether they end in the same losses."""
    long, window = (256, 32) if quick else (4_096, 512)  # the latter those of longformer-base-4096
    return [*one_family("Roberta", 512, 512, quick=quick), *one_family("Longformer", long, window, quick=quick)]


def one_family(family: str, longest: int, window: int, *, quick: bool) -> list[Row]:
    import torch

    steps, texts = (2, 40) if quick else (6, 400)
    tokens = posts(texts, longest=longest)
    batches = TokenBatches(tokens, torch.arange(texts) % 2, size=SIZE, seed=0)
    losses = {}
    classifier(family, longest=longest, window=window)  # what the library imports on first use is nobody's time

    def training(source: Any) -> None:
        module = classifier(family, longest=longest, window=window)
        losses[type(source)] = train(module, objective, source, steps=steps, lr=1e-4, schedule="linear", seed=0).losses

    def objective(module: Any, batch: Any) -> Any:
        return torch.nn.functional.cross_entropy(module(batch[0], batch[1]), batch[2])

    ours = best_seconds(lambda: training(batches), repeats=1)
    peer = best_seconds(lambda: training(PaddedToMaximum(batches, longest)), repeats=1)
    sizes = f"{steps} steps of {SIZE} texts of {np.mean([len(ids) for ids in tokens]):.0f} tokens on average, 4 layers x 128"
    note = f"peer: the same batches, all padded to {longest:,} tokens; {sizes}"
    target = None if quick else Target("times", ">=", 1.5)
    same = float(np.abs(losses[TokenBatches] - losses[PaddedToMaximum]).max())
    return [
        Row(f"training a detector, {family}", ours, peer, "s", note, target),
        Row(f"same losses, {family}", same, None, "nats", "largest difference in a step", Target("ours", "<=", 1e-4)),
    ]
