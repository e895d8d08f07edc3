"""CLIPMem against self-influence by TracInCP (captum) and plain similarity, at finding wrong captions; and what each costs.

The peer comes with the group `bench`, beside assaymark: it needs torch, which the environment of the other peers does not
have. Where it cannot be imported its columns stay empty.
"""

from __future__ import annotations

import importlib.util
import time
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from assaymark.audits.clip_memorization.method.alignment import alignment, held_out_means
from assaymark.audits.clip_memorization.small_world import (
    FULL,
    TINY,
    Training,
    World,
    encode,
    small_world,
    train_encoder,
    world_memory,
)
from assaymark.stats import roc_auc
from benchmarks import Row, Target, best_seconds

SEED = 51


def run(quick: bool = False) -> list[Row]:
    """All rows of the table."""
    rows = [*detection_rows(quick), linearity_row(quick)]
    return [row._replace(target=None) for row in rows] if quick else rows


class _Found(NamedTuple):
    area: float | None
    seconds: float | None


def detection_rows(quick: bool) -> list[Row]:
    """AUC of wrong captions among the candidates, and seconds to score these once models are trained."""
    sizes = TINY if quick else FULL
    world, training = small_world(SEED, sizes), Training(epochs=sizes.epochs, seed=SEED)
    f, g = (train_encoder(world, letters, training) for letters in ("SC", "SI"))
    started = time.perf_counter()
    seen = [encode(world, towers, training) for towers in (f, g)]
    raw = world_memory(world, *seen).raw
    seconds = time.perf_counter() - started
    own = world.sets[world.rows("SCIE")] == "C"
    wrong = world.wrong[world.rows("C")]
    ours = _area(raw[own], wrong)
    half = train_encoder(world, "SC", replace(training, epochs=sizes.epochs // 2))
    peer = self_influence(world, [half, f], wrong)
    n = len(wrong)
    peers = "captum TracInCP self-influence, linear and convolution layers, 2 checkpoints of the model"
    said = f"{n} candidates, {wrong.sum()} wrong; peer: {peers}"
    scored = f"two models over 10 views of all {len(raw):,} pairs; peer: as above, {n} candidates"
    low = "peer: low similarity under"
    return [
        Row("AUC of wrong captions", ours, peer.area, "", said),
        Row("AUC, similarity of the model", ours, _area(-seen[0].alignment.pair[own], wrong), "", f"{low} the model itself"),
        Row(
            "AUC, similarity of the reference",
            ours,
            _area(-seen[1].alignment.pair[own], wrong),
            "",
            f"{low} one that never saw the pair",
        ),
        Row("scoring a trained pair", seconds, peer.seconds, "s", scored),
    ]


def _area(scores: Any, wrong: Any) -> float:
    return float(roc_auc(scores, wrong).value or 0.0)


def self_influence(world: World, checkpoints: list[Any], wrong: Any) -> _Found:
    """TracInCP with the loss of a picture among the captions of all candidates, summed over the checkpoints."""
    if importlib.util.find_spec("captum") is None:
        return _Found(None, None)
    import torch
    from captum.influence import TracInCP

    rows = world.rows("C")
    tokens = torch.from_numpy(world.tokens[rows][:, 0])

    class AmongCaptions(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.towers = checkpoints[-1]

        def forward(self, pixels: Any) -> Any:
            u, v = (torch.nn.functional.normalize(one, dim=1) for one in self.towers(pixels, tokens))
            return self.towers.scale.exp() * (u @ v.T)

    states = {
        str(number): {name: value.clone() for name, value in one.state_dict().items()} for number, one in enumerate(checkpoints)
    }

    def load(module: Any, name: str) -> float:
        module.towers.load_state_dict(states[name])
        return 1.0

    pixels = torch.from_numpy(world.pixels[rows][:, 0])
    data = torch.utils.data.TensorDataset(pixels, torch.arange(len(rows)))
    loss = torch.nn.CrossEntropyLoss(reduction="none")
    module = AmongCaptions()
    # It cannot take the scalar scale among the parameters.
    layers = [name for name, part in module.named_modules() if isinstance(part, (torch.nn.Linear, torch.nn.Conv2d))]
    tracing = TracInCP(
        module, data, list(states), checkpoints_load_func=load, layers=layers, loss_fn=loss, batch_size=50
    )  # fmt: skip
    started = time.perf_counter()
    found = tracing.self_influence(show_progress=False).detach().numpy()
    return _Found(_area(found, wrong), time.perf_counter() - started)


def linearity_row(quick: bool) -> Row:
    """Mean cosine with N held-out items: by their mean embedding, or cosine by cosine."""
    rng = np.random.default_rng(SEED)
    n, views, tests, d = (200, 2, 100, 32) if quick else (1_000, 5, 1_000, 256)
    u, v, t, i = (rng.standard_normal(shape) for shape in ((n, views, d), (n, views, d), (tests, d), (tests, d)))
    u, v, t, i = (x / np.linalg.norm(x, axis=-1, keepdims=True) for x in (u, v, t, i))
    means = held_out_means(i, t)

    def every_cosine() -> Any:
        pair = (u * v).sum(axis=2)
        return (pair - (u @ t.T).mean(axis=2) - (v @ i.T).mean(axis=2)).mean(axis=1)

    apart = float(np.abs(alignment(u, v, means=means).total - every_cosine()).max())
    ours, peer = best_seconds(lambda: alignment(u, v, means=means)), best_seconds(every_cosine)
    note = f"peer: all {tests:,} cosines of {n:,} x {views} views; largest difference {apart:.0e}"
    return Row("alignment with held-out items", ours, peer, "s", note, Target("times", ">=", 5))
