"""Claims about what encoders remember, on handwritten digits: one training of one architecture beside another.

    python examples/encoder_memorization_claims.py                              # all, on made-up pictures: no learning, seconds
    python examples/encoder_memorization_claims.py FOLDER OUT vit 11 12         # fully connected layers and attention, depth
    python examples/encoder_memorization_claims.py FOLDER OUT objectives 11     # SimCLR, DINO and MAE side by side
    python examples/encoder_memorization_claims.py FOLDER OUT epochs 11         # UnitMem during training, two augmentations
    python examples/encoder_memorization_claims.py FOLDER OUT replacement 12    # layers exchanged for those of another encoder
    python examples/encoder_memorization_claims.py FOLDER OUT removal 11 12 13  # trained anew without what was remembered most

FOLDER holds t10k-images-idx3-ubyte.gz and t10k-labels-idx1-ubyte.gz; minutes a seed on one core. OUT keeps pairs of encoders,
which a later call takes up again, and a run with its report for each audit.
"""

from __future__ import annotations

import gzip
import io
import shutil
import sys
import tempfile
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from scipy.stats import spearmanr

import assaymark as am
from assaymark.audits.encoder_memorization.measures.changed import weights_of
from assaymark.audits.encoder_memorization.method.layer_choice import select_layers
from assaymark.audits.encoder_memorization.method.surgery import replace_layers
from assaymark.console import progress_for
from assaymark.execution import user_salt
from assaymark.leave_out import EncoderRecipe, TrainedPair, train_encoder_pair
from assaymark.leave_out.encoder_trainer import EncoderTrainer
from assaymark.models.encoder_architectures import new_encoder
from assaymark.models.opening import open_model
from assaymark.models.trained_encoder import save_encoder
from assaymark.report.redaction import hash_content
from assaymark.result import Result
from assaymark.stats import accuracy_difference, bootstrap_difference, probe_hits, roc_auc, wilson
from assaymark.training import module_outputs

ODD = 10  # every tenth picture is atypical: its negative, upside down
MIDDLE = (0.5, 0.5, 0.5)


@dataclass(frozen=True)
class Scale:
    """How many pictures and epochs: set once, before the figures of docs/encoder-memorization.md were looked at."""

    sets: tuple[int, int, int, int] = (300, 150, 150, 200)  # S, C, I, E
    large: tuple[int, int, int, int] = (700, 300, 300, 300)  # for fully connected and convolutional encoders
    held_out: int = 4_000
    batch: int = 90
    epochs: int = 300
    small_epochs: int = 100
    removed: int = 100
    views: int = 10


TINY = Scale((30, 15, 15, 15), (30, 15, 15, 15), 40, 15, 1, 1, 5, 2)
VIT = {"architecture": "vit", "architecture_options": {"patch": 7, "width": 64, "depth": 4, "heads": 4}}
MLP = {"architecture": "mlp", "architecture_options": {"widths": [256, 256, 256, 64]}}
RESNET = {"architecture": "resnet9", "architecture_options": {"width": 8}}
CONTRASTIVE = {"objective": "simclr", "objective_options": {"temperature": 0.1, "projection": 32}}
OBJECTIVES: dict[str, dict[str, Any]] = {"simclr": CONTRASTIVE, "dino": {"objective": "dino"}, "mae": {"objective": "mae"}}


@dataclass(frozen=True)
class Digits:
    """Pictures, (n, 1, side, side) uint8, their labels and sets ("" is held out), in an order of the seed."""

    pixels: torch.Tensor
    labels: np.ndarray
    sets: np.ndarray

    def rows(self, letters: str) -> np.ndarray:
        return np.flatnonzero([letter in letters and letter != "" for letter in self.sets])

    @property
    def held(self) -> np.ndarray:
        return np.flatnonzero(self.sets == "")

    def ids(self, rows: np.ndarray) -> list[str]:
        return [f"d{row}" for row in rows]


class Laboratory:
    """One seed: its pictures, and trainings and audits of them in a folder."""

    def __init__(self, folder: Path | None, out: Path, seed: int, scale: Scale) -> None:
        self.out, self.seed, self.scale, self._salt = out / str(seed), seed, scale, user_salt()
        self._images, self._labels = made_up(seed) if folder is None else read_digits(folder)

    def digits(self, sizes: Sequence[int], *, side: int, negative: bool = False) -> Digits:
        """Other pictures for each seed; with `negative` the ones after these, as negatives: another data set."""
        order = np.random.default_rng(self.seed).permutation(len(self._images))
        n = sum(sizes) + self.scale.held_out
        chosen = order[n : 2 * n] if negative else order[:n]
        images = 255 - self._images[chosen] if negative else self._images[chosen].copy()
        if not negative:
            images[: sum(sizes) : ODD] = 255 - images[: sum(sizes) : ODD, ::-1]
        sets = np.concatenate([np.repeat(list("SCIE"), sizes), np.repeat("", n - sum(sizes))])
        sets[: sum(sizes)] = np.random.default_rng([self.seed, 1]).permutation(sets[: sum(sizes)])
        small = np.stack([np.asarray(PIL.Image.fromarray(image).resize((side, side))) for image in images])
        return Digits(torch.from_numpy(small)[:, None], self._labels[chosen], sets)

    def recipe(self, *parts: dict[str, Any], augmentation: str, **changes: Any) -> EncoderRecipe:
        settings = {"lr": 1e-3, "batch": self.scale.batch, "epochs": self.scale.epochs, "augmentation": augmentation}
        return EncoderRecipe(**{**settings, **{key: value for part in parts for key, value in part.items()}, **changes})

    def pair(self, name: str, digits: Digits, recipe: EncoderRecipe) -> TrainedPair:
        rows = digits.rows("SCIE")
        with warnings.catch_warnings(), progress_for(quiet=False).task(f"training {name}", None, "steps") as task:
            warnings.simplefilter("ignore")
            pair = train_encoder_pair(
                digits.pixels[rows], ids=digits.ids(rows), sets=digits.sets[rows].tolist(), recipe=recipe, seed=self.seed,
                folder=self.out / "pairs" / name, task=task,
            )  # fmt: skip
        for warning in pair.record["warnings"]:
            print(f"{name}: {warning}", flush=True)
        return pair

    def encoder(self, name: str, digits: Digits, rows: np.ndarray, recipe: EncoderRecipe) -> str:
        """One encoder on some of the pictures."""
        trainer = EncoderTrainer(
            digits.pixels, ids=digits.ids(np.arange(len(digits.sets))), recipe=recipe, folder=self.out / name
        )
        return trainer(sorted(digits.ids(rows)), self.seed)

    def hashed(self, digits: Digits, rows: np.ndarray) -> list[str]:
        """Ids as files of scores have them."""
        return [hash_content(one, self._salt) for one in digits.ids(rows)]

    def audit(self, name: str, digits: Digits, models: dict[str, str], augmentation: str, letters: str = "SCIE") -> Result:
        rows, folder = digits.rows(letters), self.out / f"audit-{name}"
        shutil.rmtree(folder, ignore_errors=True)
        table = self.out / f"{name}.parquet"
        columns = {
            "id": digits.ids(rows),
            "image": [png(digits.pixels[row, 0].numpy()) for row in rows],
            "set": digits.sets[rows].tolist(),
            "label": [str(digits.labels[row]) for row in rows],
        }
        pq.write_table(pa.table(columns), table)
        settings = {"augmentation": augmentation, "norm": "bound", "n_views": 1 if augmentation == "none" else self.scale.views}
        out = folder if "reference" in models else None
        return am.audit("encoder-memorization", table, models=models, seed=self.seed, out=out, **settings)


def vit(laboratory: Laboratory) -> None:
    """Claims 2 and 5: which layers of a vision transformer."""
    audited_transformer(laboratory, "simclr", augmentation="vector")


def audited_transformer(laboratory: Laboratory, objective: str, *, augmentation: str) -> tuple[Digits, TrainedPair, Result]:
    digits = laboratory.digits(laboratory.scale.sets, side=28)
    # A step of DINO, with its teacher, costs as much as two or three of SimCLR.
    count = max(laboratory.scale.epochs // (2 if objective == "dino" else 1), 1)
    recipe = laboratory.recipe(VIT, OBJECTIVES[objective], augmentation=augmentation, epochs=count)
    name = f"vit-{objective}" if augmentation == "crop-flip" else f"vit-{objective}-{augmentation}"
    pair = laboratory.pair(name, digits, recipe)
    models = {"encoder": pair.with_candidates, "reference": pair.without_candidates}
    found = laboratory.audit(name, digits, models, augmentation)
    losses, check = pair.record["with"]["losses"], pair.record["with"]["check"]
    print(f"\n{objective}: loss {losses[0]:.3f} to {losses[-1]:.3f}", end="")
    print("".join(f"; views of {name} pictures found {one['accuracy']:.0%}" for name, one in check.items()))
    for name in ("sslmem.calibrated", "sslmem.auc", "layermem.kind.attention", "layermem.kind.mlp"):
        print(f"{name}: {found[name]}")
    for name in ("layermem.kind.mlp_minus_attention", "layermem_calibrated.kind.mlp_minus_attention", "layermem.depth_trend"):
        print(f"{name}: {found[name]}")
    units = {row["layer"]: row["unitmem"] for row in found.tables["unit_layers"].rows()}
    print("\n| layer | kind | LayerMem | calibrated | UnitMem |\n|---|---|---|---|---|")
    for row in found.tables["layers"].rows():
        cells = [interval(row, name) for name in ("layermem", "calibrated")]
        print(f"| {row['layer']} | {row['kind']} | {' | '.join(cells)} | {units[row['layer']]:.2f} |", flush=True)
    return digits, pair, found


def objectives(laboratory: Laboratory) -> None:
    """Claim 6: do SimCLR, DINO and MAE remember in the same layers?"""
    profiles: dict[str, dict[str, list[float]]] = {}
    for objective in OBJECTIVES:
        _, _, found = audited_transformer(laboratory, objective, augmentation="crop-flip")
        layers, units = found.tables["layers"].rows(), found.tables["unit_layers"].rows()
        columns = {name: [row[name] for row in layers] for name in ("layermem", "calibrated")}
        profiles[objective] = columns | {"unitmem": [row["unitmem"] for row in units]}
    print("\n| rank correlation over the layers of | LayerMem | calibrated | UnitMem |\n|---|---|---|---|")
    names = list(profiles)
    for place, one in enumerate(names):
        for other in names[place + 1 :]:
            found = [float(spearmanr(profiles[one][k], profiles[other][k]).statistic) for k in profiles[one]]
            print(f"| {one} and {other} | {' | '.join(f'{value:.2f}' for value in found)} |", flush=True)


def epochs(laboratory: Laboratory) -> None:
    """Claim 11: UnitMem after a part of the training, under the augmentation of the training and on pictures as they are."""
    digits = laboratory.digits(laboratory.scale.large, side=16)
    rows = digits.rows("SC")
    for augmentation in ("crop-flip", "simclr"):
        recipe = laboratory.recipe(RESNET, CONTRASTIVE, augmentation=augmentation, batch=min(100, len(rows)))
        print(f"\n{augmentation}\n| epochs | mean UnitMem | without augmentation | by layer |\n|---|---|---|---|")
        # With a constant step size a shorter training is the beginning of a longer one.
        for count in dict.fromkeys(round(share * laboratory.scale.small_epochs) for share in (0.0, 0.1, 0.25, 0.5, 1.0)):
            spec = (
                laboratory.encoder(f"{augmentation}-{count}", digits, rows, replace(recipe, epochs=count))
                if count
                else untrained(laboratory, recipe)
            )
            by_view = {}
            for views in (augmentation, "none"):
                found = laboratory.audit(f"epochs-{augmentation}-{count}-{views}", digits, {"encoder": spec}, views, "SC")
                by_view[views] = [row["unitmem"] for row in found.tables["unit_layers"].rows()]
            own, plain = by_view.values()
            print(f"| {count} | {np.mean(own):.2f} | {np.mean(plain):.2f} | {' '.join(f'{v:.2f}' for v in own)} |", flush=True)


def untrained(laboratory: Laboratory, recipe: EncoderRecipe) -> str:
    path = laboratory.out / "untrained.safetensors"
    module = new_encoder(recipe.architecture, seed=laboratory.seed, input_size=16, **recipe.architecture_options)
    save_encoder(path, module, mean=MIDDLE, std=MIDDLE)
    return f"encoder:{path}"


def replacement(laboratory: Laboratory) -> None:
    """Claim 11: layers of an encoder of digits exchanged for those of one of negatives; linear heads on both."""
    digits, pair, found = audited_transformer(laboratory, "simclr", augmentation="vector")
    negatives = laboratory.digits(laboratory.scale.sets, side=28, negative=True)
    recipe = laboratory.recipe(VIT, CONTRASTIVE, augmentation="vector")
    donor = module_of(laboratory.encoder("negatives", negatives, negatives.rows("SC"), recipe))
    encoder = open_model(pair.with_candidates, device="cpu", batch_size=64)
    own = module_of(pair.with_candidates)
    layers = {layer.name: layer for layer in encoder.layers if weights_of(own, layer) and not layer.name.endswith(".hidden")}
    rows = {row["layer"]: row for row in found.tables["layers"].rows()}
    both = (digits, negatives)
    before = [hits(own, one) for one in both]
    other = [hits(donor, one) for one in both]
    print("\n| layers replaced | digits | change | negatives | change |\n|---|---|---|---|---|")
    print(compared("none", before, before))
    rng = np.random.default_rng(laboratory.seed)
    for count in (1, 2):
        for by, choice in (("layermem", "most"), ("delta", "most"), ("layermem", "least"), ("", "random")):
            scores = [rows[name][by] if by and rows[name][by] is not None else np.nan for name in layers]
            chosen = select_layers(list(layers), scores, count=count, choice=choice, rng=rng)  # type: ignore[arg-type]
            changed = module_of(pair.with_candidates)
            replace_layers(changed, donor, [part for name in chosen for part in weights_of(own, layers[name])])
            title = f"{choice}{f' by {by}' if by else ''}: {', '.join(chosen)}"
            print(compared(title, [hits(changed, one) for one in both], before), flush=True)
    print(compared("all (the other encoder)", other, before), flush=True)


def module_of(spec: str) -> Any:
    return open_model(spec, device="cpu", batch_size=64).feature_module()


def hits(module: Any, digits: Digits) -> np.ndarray:
    """Which held-out pictures a linear head on the external and independent ones gets right."""
    train, test = digits.rows("IE"), digits.held
    features = [
        module_outputs(module, digits.pixels[rows].expand(-1, 3, -1, -1) / 255, batch_size=64, prepare=centred)
        for rows in (train, test)
    ]
    return probe_hits(features[0], digits.labels[train], features[1], digits.labels[test])


def centred(pixels: Any) -> Any:
    return (pixels - 0.5) / 0.5


def compared(title: str, after: Sequence[np.ndarray], before: Sequence[np.ndarray]) -> str:
    cells = []
    for one, other in zip(after, before, strict=True):
        change = accuracy_difference(one, other, rng=np.random.default_rng(0))
        cells += [f"{100 * one.mean():.1f} %", "" if one is other else points(change)]
    return f"| {title} | {' | '.join(cells)} |"


def removal(laboratory: Laboratory) -> None:
    """Claim 12: the encoder trained again without the candidates it remembered most, or as many at random."""
    scale = laboratory.scale
    digits = laboratory.digits(scale.large, side=16)
    recipe = laboratory.recipe(MLP, CONTRASTIVE, augmentation="vector", epochs=scale.small_epochs)
    pair = laboratory.pair("mlp", digits, recipe)
    models = {"encoder": pair.with_candidates, "reference": pair.without_candidates}
    found = laboratory.audit("mlp", digits, models, "vector")
    print(f"\ncandidates beyond external pictures: {found['sslmem.calibrated']}; rank AUC {found['sslmem.auc']}")
    score = scores_of(laboratory.out / "audit-mlp" / found.artifacts["points"].file)
    candidates, external = digits.rows("C"), digits.rows("E")
    raw, outside = (np.array([score[one] for one in laboratory.hashed(digits, rows)]) for rows in (candidates, external))
    for kind, own, other in (
        ("atypical", candidates % ODD == 0, external % ODD == 0),
        ("other", candidates % ODD > 0, external % ODD > 0),
    ):
        excess = bootstrap_difference(raw[own], outside[other], rng=np.random.default_rng(0))
        print(f"{kind} candidates beyond {kind} external pictures: {excess}")
    print(f"atypical above other candidates: rank AUC {roc_auc(raw, candidates % ODD == 0)}")
    order, rng = np.argsort(-raw), np.random.default_rng([laboratory.seed, 2])
    taken = {"most remembered": order[: scale.removed], "random": rng.permutation(len(raw))[: scale.removed]}
    before = hits(module_of(pair.with_candidates), digits)
    print("\n| trained without | atypical of these | accuracy | change |\n|---|---|---|---|")
    print(f"| none | - | {wilson(int(before.sum()), len(before))} |  |")
    for name, places in taken.items():
        rows = np.setdiff1d(digits.rows("SC"), candidates[places])
        after = hits(module_of(laboratory.encoder("removal", digits, rows, recipe)), digits)
        change = accuracy_difference(after, before, rng=np.random.default_rng(0))
        odd = np.mean(candidates[places] % ODD == 0)
        print(f"| {len(places)} {name} | {odd:.0%} | {100 * after.mean():.1f} % | {points(change)} |", flush=True)


def scores_of(path: Path) -> dict[str, float]:
    """Raw SSLMem at the representation, by hashed id."""
    return {row["id"]: row["raw"] for row in pq.read_table(path).to_pylist() if row["layer"] == "representation"}


def points(change: Any) -> str:
    return f"{100 * change.value:+.1f} ({100 * change.low:+.1f} to {100 * change.high:+.1f})"


def interval(row: dict[str, Any], name: str) -> str:
    """A number with its interval, from the three columns of a table."""
    return "-" if row[name] is None else f"{row[name]:.4f} ({row[f'{name}_low']:.4f} to {row[f'{name}_high']:.4f})"


def read_digits(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    def unpacked(name: str, offset: int) -> np.ndarray:
        with gzip.open(folder / name) as file:
            return np.frombuffer(file.read(), np.uint8, offset=offset)

    return unpacked("t10k-images-idx3-ubyte.gz", 16).reshape(-1, 28, 28), unpacked("t10k-labels-idx1-ubyte.gz", 8)


def made_up(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Ten patterns with noise."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(10, size=300)
    patterns = rng.random((10, 28, 28))
    return (255 * (0.7 * patterns[labels] + 0.3 * rng.random((300, 28, 28)))).astype(np.uint8), labels


def png(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    PIL.Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


EXPERIMENTS: dict[str, Callable[[Laboratory], None]] = {
    "vit": vit, "objectives": objectives, "epochs": epochs, "replacement": replacement, "removal": removal,
}  # fmt: skip


def main(folder: Path | None, out: Path, names: Sequence[str], seeds: Sequence[int], scale: Scale) -> None:
    for name in names:
        for seed in seeds:
            print(f"\n{name}, seed {seed}", flush=True)
            EXPERIMENTS[name](Laboratory(folder, out, seed, scale))


if __name__ == "__main__":
    if len(sys.argv) > 3:
        main(Path(sys.argv[1]), Path(sys.argv[2]), [sys.argv[3]], [int(seed) for seed in sys.argv[4:]] or [11], Scale())
    else:
        with tempfile.TemporaryDirectory() as scratch:
            main(None, Path(scratch), ["objectives", "epochs", "replacement", "removal"], [0], TINY)
