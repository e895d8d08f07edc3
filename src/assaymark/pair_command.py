"""`assaymark train-pair`: two encoders, of which one has seen the candidates, from a folder or table of pictures.

What it needs is imported when it runs: the command line loads no large library to show its help.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from assaymark.command_group import complain
from assaymark.errors import ConfigError, InputError, MissingExtra

if TYPE_CHECKING:
    from assaymark.audit import Progress
    from assaymark.leave_out.picture_pool import PicturePool
    from assaymark.leave_out.trained_pair import TrainedPair

__all__ = ["train_pair_command"]

Pool = Annotated[str, typer.Argument(metavar="INPUT", help="folder of pictures, or a table with pictures or their paths")]
Out = Annotated[Path, typer.Option("--out", help="folder of the pair; a killed training there is continued")]
Captions = Annotated[bool, typer.Option("--captions", help="dual encoders, on pictures with captions")]
Objective = Annotated[str, typer.Option(help="simclr, simsiam, vicreg, mae, dino or supervised")]
Architecture = Annotated[str | None, typer.Option(help="resnet9, vit or mlp")]
Epochs = Annotated[int | None, typer.Option(min=1, help="by default those that were published")]
Side = Annotated[int, typer.Option(min=8, help="pictures are brought to so many pixels a side")]
Sizes = Annotated[
    str | None,
    typer.Option(
        "--sizes", metavar="S,C,I,E", help="items of the four sets, or shares; by default the column 'set', else 65:5:5:5"
    ),
]
Settings = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="setting of the recipe; values are YAML")
]
Columns = Annotated[
    list[str] | None, typer.Option("--column", metavar="CONCEPT=COLUMN", help="which column holds what, as text=alt")
]
Device = Annotated[str, typer.Option(help="cpu, cuda or auto")]
Seed = Annotated[int, typer.Option(min=0, help="of the split, the first weights, the data order and the views")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="print nothing but errors")]
AsJson = Annotated[bool, typer.Option("--json", help="one JSON document on standard output, nothing else")]


class _Wanted(NamedTuple):
    """The words of the command that say what to train."""

    captioned: bool
    recipe: Any
    sizes: tuple[float, ...] | None
    seed: int
    out: Path
    device: str


def train_pair_command(
    pool: Pool,
    out: Out,
    captions: Captions = False,
    objective: Objective = "simclr",
    architecture: Architecture = None,
    epochs: Epochs = None,
    side: Side = 32,
    sizes: Sizes = None,
    settings: Settings = None,
    columns: Columns = None,
    device: Device = "cpu",
    seed: Seed = 0,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Train two models that differ in the candidates they have seen, for the audits of what encoders memorize."""
    from assaymark.config import parse_overrides
    from assaymark.console import progress_for

    given = parse_overrides(settings or ())
    given |= {name: value for name, value in (("epochs", epochs), ("architecture", architecture)) if value is not None}
    wanted = _Wanted(captions, _recipe(given, captions, objective), _four(sizes), seed, out, device)
    progress = progress_for(quiet=quiet or as_json)
    items = _read(pool, side, captions, _named(columns or ()), progress)
    pair = _trained(items, wanted, progress)
    said = (*items.notes, *(f"{count} rows are left out: {reason}" for reason, count in items.skipped.items()))
    if as_json:
        typer.echo(json.dumps(_as_json(pair, items), indent=1, ensure_ascii=False))
    elif not quiet:
        _show(pair)
    if not quiet:
        for text in (*said, *pair.record["warnings"]):
            complain(f"warning: {text}")


def _recipe(given: dict[str, Any], captioned: bool, objective: str) -> Any:
    from assaymark.leave_out.recipes import ClipRecipe, EncoderRecipe, recipe_settings

    if not captioned:
        return EncoderRecipe.of(objective, **recipe_settings(EncoderRecipe, given))
    if objective != "simclr" or "architecture" in given:
        raise ConfigError(
            "--objective and --architecture are for encoders of pictures; with --captions both towers are transformers"
        )
    return ClipRecipe(**recipe_settings(ClipRecipe, given))


def _four(sizes: str | None) -> tuple[float, ...] | None:
    if sizes is None:
        return None
    try:
        numbers = tuple(float(part) for part in sizes.split(","))
    except ValueError:
        numbers = ()
    if len(numbers) != 4:
        raise ConfigError(f"--sizes {sizes!r}: write four numbers, S,C,I,E, as 480,120,120,70 or 0.7,0.1,0.1,0.1")
    return numbers


def _named(columns: Sequence[str]) -> dict[str, str]:
    named = {}
    for text in columns:
        concept, equals, column = text.partition("=")
        if not equals or not column or not concept:
            raise InputError(f"--column {text!r}: write it as CONCEPT=COLUMN")
        named[concept.strip()] = column
    return named


def _read(path: str, side: int, captioned: bool, columns: Mapping[str, str], progress: Progress) -> PicturePool:
    try:
        import torch
    except ImportError as error:
        raise MissingExtra("vision", "training a network") from error
    from assaymark.leave_out.picture_pool import read_pool
    from assaymark.models.convnet import network_pixels
    from assaymark.models.small_clip import square_pixels

    def squashed(pictures: Sequence[Any]) -> Any:
        return torch.from_numpy(network_pixels(pictures, side)).permute(0, 3, 1, 2)

    # As the adapters of the two kinds of models resize pictures when they are audited.
    prepare = partial(square_pixels, side=side) if captioned else squashed
    with progress.task("reading pictures", None, "rows") as task:
        return read_pool(path, prepare=prepare, captioned=captioned, columns=columns, task=task)


def _trained(items: PicturePool, wanted: _Wanted, progress: Progress) -> TrainedPair:
    from assaymark.leave_out import SIZES, content_digests, split_pool, train_clip_pair, train_encoder_pair

    sets = items.sets
    if sets is None or wanted.sizes is not None:
        contents = content_digests(items.pixels)
        sets = list(split_pool(items.ids, sizes=wanted.sizes or SIZES, seed=wanted.seed, contents=contents).sets)
    common: dict[str, Any] = {
        "ids": items.ids,
        "sets": sets,
        "recipe": wanted.recipe,
        "seed": wanted.seed,
        "folder": wanted.out,
    }
    with progress.task("training two models", None, "steps") as task, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # they are in the record, and said from there
        common |= {"device": wanted.device, "task": task}
        found: TrainedPair
        if wanted.captioned:
            found = train_clip_pair(items.pixels, captions=items.captions, **common)
        else:
            found = train_encoder_pair(items.pixels, labels=items.labels, **common)
        return found


def _as_json(pair: TrainedPair, items: PicturePool) -> dict[str, Any]:
    models = {"with": pair.with_candidates, "without": pair.without_candidates}
    return {"folder": str(pair.folder), **models, "notes": items.notes, "skipped": items.skipped, "record": pair.record}


def _show(pair: TrainedPair) -> None:
    sizes = ", ".join(f"{name} {count:,}" for name, count in pair.record["sizes"].items())
    typer.echo(f" sets     {sizes}  (S shared, C candidates, I independent, E external)")
    for name, spec in (("with", pair.with_candidates), ("without", pair.without_candidates)):
        own = pair.record[name]
        checks = "; ".join(
            f"finds {check['accuracy']:.0%} of {check['n']:,} {what} items (chance {check['chance']:.1%})"
            for what, check in own["check"].items()
        )
        typer.echo(f" {name:<8} {spec}\n          {own['steps']:,} steps, loss {own['losses'][-1]:.3g}; {checks}")
    typer.echo(f" record   {pair.folder / 'pair.json'}")
