from __future__ import annotations

import json
import shutil
import time
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("accelerate")

from assaymark.errors import ConfigError, InputError, RunError  # noqa: E402
from assaymark.leave_out import (  # noqa: E402
    ClipRecipe,
    EncoderRecipe,
    split_pool,
    train_clip_pair,
    train_encoder_pair,
    train_pair,
    train_subsampled,
)
from assaymark.leave_out.clip_trainer import ClipTrainer  # noqa: E402
from assaymark.leave_out.encoder_trainer import EncoderTrainer  # noqa: E402
from assaymark.models import open_model  # noqa: E402

N = 60
IDS = [f"picture {i}" for i in range(N)]
SETS = split_pool(IDS, sizes=(30, 10, 10, 10), seed=0).sets
PIXELS = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (N, 3, 16, 16), dtype=np.uint8))
CAPTIONS = [[f"thing {i}", "a thing", f"odd {i % 7}"] for i in range(N)]
SMALL = EncoderRecipe.of("simclr", architecture_options={"width": 2}, epochs=6, batch=16)
TINY = ClipRecipe(hidden=16, layers=1, heads=2, dimension=16, epochs=6, batch=16, lr=3e-3, text_length=5)


class Killed(Exception):
    pass


class Count:
    """A task that dies after so many steps."""

    def __init__(self, last: int | None = None) -> None:
        self.made, self.expected, self._last = 0, 0, last

    def advance(self, amount: int = 1) -> None:
        self.made += amount
        if self.made == self._last:
            raise Killed

    def expect(self, total: int) -> None:
        self.expected = total


def weights(folder: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    return {
        f"{path.parent.name}/{path.name} {k}": v
        for path in sorted(folder.rglob("*.safetensors"))
        for k, v in load_file(path).items()
    }


def equal(first: Path, second: Path) -> bool:
    a, b = (sorted(weights(folder).items(), key=lambda item: item[0].partition("/")[2]) for folder in (first, second))
    return len(a) == len(b) > 0 and all(torch.equal(x, y) for (_, x), (_, y) in zip(a, b, strict=True))


def encoder_pair(folder: Path, **changes: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        settings = {"ids": IDS, "sets": SETS, "recipe": SMALL, "seed": 5, **changes}
        return train_encoder_pair(settings.pop("pixels", PIXELS), folder=folder, **settings)


def clip_pair(folder: Path, **changes: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        settings = {"captions": CAPTIONS, "ids": IDS, "sets": SETS, "recipe": TINY, "seed": 5, **changes}
        return train_clip_pair(PIXELS, folder=folder, **settings)


def test_a_pair_of_encoders_is_there_in_seconds(tmp_path: Path) -> None:
    task = Count()
    encoder_pair(tmp_path.with_name("first"), seed=6)  # loads what training needs
    started = time.perf_counter()
    pair = encoder_pair(tmp_path, task=task)
    assert time.perf_counter() - started < 4
    assert task.made == task.expected == 2 * 6 * 2
    record = json.loads((tmp_path / "pair.json").read_text())
    assert record["identity"]["augmentation"]["hue"] == 0.2 and record["identity"]["recipe"]["epochs"] == 6
    assert record["sizes"] == {"S": 30, "C": 10, "I": 10, "E": 10}
    assert len(record["with"]["losses"]) == len(record["without"]["losses"]) == record["with"]["steps"] == 12
    external = record["with"]["check"]["external"]
    assert external["n"] == 10 and external["chance"] == pytest.approx(1 / 19) and 0 <= external["accuracy"] <= 1
    split = pq.read_table(tmp_path / "split.parquet").to_pydict()
    assert dict(zip(split["id"], split["set"], strict=True)) == dict(zip(IDS, SETS, strict=True)) == pair.sets
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "pair.json",
        "split.parquet",
        "with.safetensors",
        "without.safetensors",
    ]
    f, g = open_model(pair.with_candidates), open_model(pair.without_candidates)
    assert f.dimension == 16 and f.fingerprint != g.fingerprint and f.facts["augmentation"]["name"] == "simclr"
    again = encoder_pair(tmp_path)
    assert again.record == pair.record
    with pytest.raises(RunError, match=r"another recipe \(epochs: 6 there, 7 here"):
        encoder_pair(tmp_path, recipe=EncoderRecipe.of("simclr", architecture_options={"width": 2}, epochs=7, batch=16))
    with pytest.raises(RunError, match="another seed"):
        encoder_pair(tmp_path, seed=6)
    moved = tmp_path.with_name("moved")
    shutil.move(tmp_path, moved)
    assert open_model(encoder_pair(moved).with_candidates).fingerprint == f.fingerprint


@pytest.mark.parametrize(("last", "optimiser"), [(7, "adamw"), (12, "adamw"), (17, "adamw-fused")])
def test_a_killed_pair_ends_like_another(last: int, optimiser: str, tmp_path: Path) -> None:
    recipe = replace(SMALL, optimiser=optimiser)
    whole = encoder_pair(tmp_path / "whole", recipe=recipe)
    with pytest.raises(Killed):
        encoder_pair(tmp_path / "killed", recipe=recipe, task=Count(last))
    assert not (tmp_path / "killed" / "pair.json").exists()
    task = Count()
    continued = encoder_pair(tmp_path / "killed", recipe=recipe, task=task)
    assert task.made == 24
    assert continued.record == whole.record and equal(tmp_path / "whole", tmp_path / "killed")


def test_the_order_of_the_rows_decides_nothing(tmp_path: Path) -> None:
    order = np.random.default_rng(1).permutation(N)
    encoder_pair(tmp_path / "a")
    encoder_pair(tmp_path / "b", pixels=PIXELS[order], ids=[IDS[i] for i in order], sets=[SETS[i] for i in order])
    assert equal(tmp_path / "a", tmp_path / "b")


def test_the_models_differ_in_the_candidates_alone(tmp_path: Path) -> None:
    encoder_pair(tmp_path / "a")
    candidates = torch.tensor([letter == "C" for letter in SETS])
    others = torch.where(candidates[:, None, None, None], 255 - PIXELS, PIXELS)
    encoder_pair(tmp_path / "b", pixels=others)
    a, b = weights(tmp_path / "a"), weights(tmp_path / "b")
    names = [name.partition("/")[2] for name in a]
    same = {name: torch.equal(x, y) for name, x, y in zip(names, a.values(), b.values(), strict=True)}
    assert all(equal_ for name, equal_ in same.items() if name.startswith("without"))
    assert not all(equal_ for name, equal_ in same.items() if name.startswith("with."))


@pytest.mark.parametrize("objective", ["mae", "dino", "simsiam", "vicreg", "supervised"])
def test_every_objective_trains_a_pair(objective: str, tmp_path: Path) -> None:
    shape = {"patch": 4, "width": 16, "depth": 1, "heads": 2} if objective == "mae" else {"width": 2}
    recipe = EncoderRecipe.of(objective, architecture_options=shape, epochs=2, batch=16)
    pair = encoder_pair(tmp_path, recipe=recipe, labels=[i % 3 for i in range(N)])
    assert np.isfinite(pair.record["with"]["losses"]).all()
    assert open_model(pair.with_candidates).dimension == 16
    assert recipe.epochs == 2 and (objective != "mae" or (recipe.lr, recipe.warmup) == (1.2e-3, 0.15))


def test_vectors_are_items_too(tmp_path: Path) -> None:
    points = torch.randn(N, 12)
    recipe = EncoderRecipe(
        architecture="mlp", architecture_options={"widths": (16, 8)}, augmentation="vector", epochs=3, batch=20
    )
    pair = encoder_pair(tmp_path, pixels=points, recipe=recipe)
    assert open_model(pair.with_candidates).dimension == 8


def test_a_training_without_effect_is_named(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="hardly trained"):
        pair = train_encoder_pair(
            PIXELS, ids=IDS, sets=SETS, folder=tmp_path / "e", seed=0,
            recipe=EncoderRecipe(architecture_options={"width": 2}, epochs=1, lr=1e-9),
        )  # fmt: skip
    assert "more epochs (1)" in pair.record["warnings"][0]
    with pytest.warns(UserWarning, match="hardly trained"):
        train_clip_pair(
            PIXELS, captions=CAPTIONS, ids=IDS, sets=SETS, folder=tmp_path / "c", seed=0, recipe=ClipRecipe(epochs=1, lr=1e-9)
        )


def test_mistakes_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"shape \(60, 3, 16, 15\)"):
        encoder_pair(tmp_path, pixels=PIXELS[..., :15])
    with pytest.raises(ConfigError, match="needs labels"):
        encoder_pair(tmp_path, recipe=EncoderRecipe.of("supervised"))
    copies = PIXELS.clone()
    copies[SETS.index("C")] = copies[SETS.index("S")]
    with pytest.raises(InputError, match="1 such in all"):
        encoder_pair(tmp_path, pixels=copies)
    with pytest.raises(InputError, match="'nobody'"):
        clip_pair(tmp_path, drop=["nobody"])
    with pytest.raises(InputError, match="none of them empty"):
        clip_pair(tmp_path, captions=[*CAPTIONS[:-1], []])
    with pytest.raises(ConfigError, match="token_masking"):
        ClipRecipe(token_masking=1.0)


def test_a_pair_of_dual_encoders_learns_its_captions(tmp_path: Path) -> None:
    recipe = ClipRecipe(
        hidden=32, layers=1, heads=2, dimension=16, epochs=40, batch=20, lr=4e-3, text_length=5, weight_decay=0.05
    )
    pair = clip_pair(tmp_path, recipe=recipe)
    shared = pair.record["with"]["check"]["shared"]
    assert shared["n"] == 30 and shared["chance"] == pytest.approx(1 / 30) and shared["accuracy"] > 0.5
    f, g = open_model(pair.with_candidates), open_model(pair.without_candidates)
    assert f.embed_texts(["thing 3"]).shape == g.embed_texts(["thing 3"]).shape == (1, 16)
    assert clip_pair(tmp_path, recipe=recipe).record == pair.record
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pair.json", "split.parquet", "with", "without"]


def test_a_killed_pair_of_dual_encoders_ends_like_another(tmp_path: Path) -> None:
    recipe = ClipRecipe(
        hidden=16, layers=1, heads=2, dimension=16, epochs=4, batch=10, text_noise=0.1, token_masking=0.2, patience=2,
        captions="random", images_per_caption=2, text_length=5,
    )  # fmt: skip
    whole = clip_pair(tmp_path / "whole", recipe=recipe)
    with pytest.raises(Killed):
        clip_pair(tmp_path / "killed", recipe=recipe, task=Count(20))
    task = Count()
    continued = clip_pair(tmp_path / "killed", recipe=recipe, task=task)
    assert task.made == task.expected
    assert continued.record == whole.record and equal(tmp_path / "whole", tmp_path / "killed")


def test_dropped_and_newly_captioned_pairs(tmp_path: Path) -> None:
    candidates = [one for one, letter in zip(IDS, SETS, strict=True) if letter == "C"]
    plain = clip_pair(tmp_path / "plain")
    fewer = clip_pair(tmp_path / "fewer", drop=candidates[:3])
    assert fewer.record["sizes"]["C"] == 7 and {fewer.sets[one] for one in candidates[:3]} == {""}
    other = clip_pair(tmp_path / "other", recaption={candidates[0]: ["a thing"]})
    data = [one.record["identity"]["data"] for one in (plain, fewer, other)]
    assert data[0] == data[1] != data[2]
    assert not equal(tmp_path / "plain" / "with", tmp_path / "other" / "with")
    assert not equal(tmp_path / "plain" / "with", tmp_path / "fewer" / "with"), "what is dropped is not trained on"
    assert equal(tmp_path / "plain" / "without", tmp_path / "fewer" / "without"), "the reference never saw it"


def test_what_captions_lose_is_counted(tmp_path: Path) -> None:
    long = [["one two three four five six", "short"], *([f"thing {i}"] for i in range(1, N))]
    recipe = ClipRecipe(hidden=16, layers=1, heads=2, epochs=1, batch=20, text_length=5, captions="round-robin")
    said = " ".join(clip_pair(tmp_path, captions=long, recipe=recipe).record["warnings"])
    assert "1 of 61 captions are cut after 3 words; text_length 8" in said
    assert "59 of 60 pictures have one caption only" in said


def test_a_trainer_of_the_users_is_called_twice(tmp_path: Path) -> None:
    calls: list[tuple[list[str], int]] = []

    def own(ids: Any, seed: int) -> str:
        calls.append((list(ids), seed))
        return f"fake:encoder?run={len(calls)}"

    pair = train_pair(own, ids=IDS, sets=SETS, seed=4, folder=tmp_path)
    letters = dict(zip(IDS, SETS, strict=True))
    assert [{letters[one] for one in ids} for ids, _ in calls] == [{"S", "C"}, {"S", "I"}]
    assert [seed for _, seed in calls] == [4, 4] and calls[0][0] == sorted(calls[0][0])
    assert (pair.with_candidates, pair.without_candidates) == ("fake:encoder?run=1", "fake:encoder?run=2")
    assert train_pair(own, ids=IDS, sets=SETS, seed=4, folder=tmp_path) == pair and len(calls) == 2
    without = ["" if letter == "E" else letter for letter in SETS]
    train_pair(own, ids=IDS, sets=without, seed=4, folder=tmp_path / "some in no set")
    assert [{letters[one] for one in ids} for ids, _ in calls[2:]] == [{"S", "C"}, {"S", "I"}]


@pytest.mark.parametrize("kind", ["encoder", "clip"])
def test_models_on_random_halves(kind: str, tmp_path: Path) -> None:
    trainer: Any
    if kind == "encoder":
        recipe = EncoderRecipe(architecture_options={"width": 2}, epochs=2, batch=16)
        trainer = EncoderTrainer(PIXELS, ids=IDS, recipe=recipe, folder=tmp_path / "models")
    else:
        trainer = ClipTrainer(PIXELS, captions=CAPTIONS, ids=IDS, recipe=TINY, folder=tmp_path / "models")
    task = Count(last=2)
    with pytest.raises(Killed):
        train_subsampled(trainer, ids=IDS, models=3, seed=0, folder=tmp_path, task=task)
    models = train_subsampled(trainer, ids=IDS, models=3, seed=0, folder=tmp_path)
    assert models.member.shape == (3, N) and models.ids == tuple(sorted(IDS))
    assert len(set(models.specs)) == 3 and all(open_model(spec).dimension == 16 for spec in models.specs)
    table = pq.read_table(tmp_path / "membership.parquet")
    assert table["model_2"].to_pylist() == models.member[2].tolist()
    with pytest.raises(RunError, match="other halves"):
        train_subsampled(trainer, ids=IDS, models=3, seed=1, folder=tmp_path)
