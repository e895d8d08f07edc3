"""The trainings that a mitigation compares: each recipe with several seeds, memorization and utility of each."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.audit import Context
from assaymark.audits.clip_memorization.config import MitigationConfig
from assaymark.audits.clip_memorization.measures.scoring import Scores, score_pairs
from assaymark.audits.clip_memorization.measures.utility import Utility, measure_utility
from assaymark.audits.clip_memorization.measures.wordings import wordings_of
from assaymark.audits.clip_memorization.method.alignment import ClipMem, clip_memorization
from assaymark.audits.clip_memorization.method.paraphrase import rule_paraphrases
from assaymark.audits.clip_memorization.method.removal import RemovalRule, removed
from assaymark.audits.clip_memorization.reading import Pool
from assaymark.audits.clip_memorization.study import Material, choose_pairs
from assaymark.audits.clip_memorization.training import Trainable, clip_recipe, open_pair, train_models

__all__ = ["BASELINE", "Condition", "Outcome", "Sweep", "conditions", "sweep"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Condition:
    """One way to train: changes of the recipe, or candidates that are taken out or get other captions by a rule."""

    name: str
    title: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    rule: RemovalRule | None = None
    count: int = 0
    recaption: bool = False


BASELINE = Condition("plain", "plain training")


class Outcome(NamedTuple):
    """Of one training: raw CLIPMem of the scored pairs (with their sets and ids), and utility of the audited model."""

    raw: Floats
    sets: npt.NDArray[Any]
    utility: Utility
    ids: Sequence[str]

    @property
    def memorization(self) -> float:
        """Mean raw CLIPMem of the candidates minus that of the external pairs: without the offset of the two trainings."""
        return _mean(self.raw[self.sets == "C"]) - _mean(self.raw[self.sets == "E"])

    def among(self, ids: Collection[str]) -> Outcome:
        """The same on some of the pairs: a training without the most remembered ones is compared on what is left of both."""
        wanted = set(ids)
        kept = [row for row, one in enumerate(self.ids) if one in wanted]
        return self._replace(raw=self.raw[kept], sets=self.sets[kept], ids=[self.ids[row] for row in kept])


class Sweep(NamedTuple):
    """Outcomes by condition and seed, the scored pairs of the first plain training, and whom each removal took."""

    conditions: tuple[Condition, ...]
    outcomes: dict[str, list[Outcome]]
    scores: Scores
    memory: ClipMem
    taken: dict[str, npt.NDArray[np.int64]]
    folders: dict[str, Path]


def _mean(values: Floats) -> float:
    kept = values[np.isfinite(values)]
    return float(kept.mean()) if len(kept) else float("nan")


def conditions(config: MitigationConfig, *, captions: int, candidates: int) -> tuple[Condition, ...]:
    """The plain training and every one that the settings name; removals of more than all candidates are left out.

    Parameters
    ----------
    captions : largest number of captions of a picture; with one, M1 has nothing to draw from and is left out
    """
    several = {"captions": "round-robin"} if captions > 1 else None
    images = {"images_per_caption": config.variants}
    simple: dict[str, tuple[str, dict[str, Any] | None]] = {
        "captions": ("M1: several captions", several),
        "images": (f"M2: {config.variants} pictures", images),
        "captions+images": ("M1 and M2", None if several is None else {**several, **images}),
        "token-masking": (f"M6: {config.masking:.0%} of the tokens masked", {"token_masking": config.masking}),
        "early-stopping": ("M6: early stopping", {"patience": config.patience}),
        "weight-decay": (f"M6: weight decay {config.strong_decay:g}", {"weight_decay": config.strong_decay}),
        "temperature": (
            f"M6: temperature {config.temperature:g}", {"temperature": config.temperature, "learn_temperature": False},
        ),
    }  # fmt: skip
    found = [BASELINE]
    for name in config.recipes:
        if name in simple and simple[name][1] is not None:
            found.append(Condition(name, simple[name][0], simple[name][1] or {}))
        if name == "text-noise":
            found += [Condition(f"text-noise.{s:g}", f"M3: text noise {s:g}", {"text_noise": s}) for s in config.noise]
        if name == "remove":
            found += list(_removals(config, candidates))
        if name == "recaption":
            count = min(config.recaptioned, candidates)
            found.append(Condition("recaption", f"M5: {count} captions anew", rule="memorized", count=count, recaption=True))
    return tuple(found)


def _removals(config: MitigationConfig, candidates: int) -> Iterator[Condition]:
    words: dict[RemovalRule, str] = {"memorized": "most remembered", "random": "random", "dissimilar": "least similar"}
    for count in config.removed:
        if count < candidates:
            for rule, word in words.items():
                yield Condition(f"remove.{rule}.{count}", f"M4: without {count} {word}", rule=rule, count=count)


def sweep(material: Trainable, tests: Pool | None, config: MitigationConfig, context: Context, folder: Path) -> Sweep:
    """Train and measure every condition with every seed; a finished training in the folder is used as it is.

    Notes
    -----
    2 trainings a condition and seed. What is removed or recaptioned is decided by the plain training of the same seed.
    """
    chosen = choose_pairs(Material(material.pool, tests), config, seed=context.seed)
    captions = max(len(own) for own in material.pool.captions)
    planned = conditions(config, captions=captions, candidates=int((chosen.pool.sets == "C").sum()))
    outcomes: dict[str, list[Outcome]] = {condition.name: [] for condition in planned}
    taken: dict[str, npt.NDArray[np.int64]] = {}
    folders: dict[str, Path] = {}
    first: tuple[Scores, ClipMem] | None = None
    with context.progress.task("trainings", len(planned) * config.seeds, "pairs of models") as task:
        for number in range(config.seeds):
            plain: tuple[Scores, ClipMem] | None = None
            for condition in planned:
                dropped, anew = (
                    _changes(condition, *plain, context, number) if plain is not None and condition.rule else (_NONE, {})
                )
                where = folder / f"{condition.name}-{number}"
                scores, memory, utility = _measured(material, chosen, condition, dropped, anew, config, context, where, number)
                plain = plain or (scores, memory)
                first = first or plain
                outcomes[condition.name].append(Outcome(memory.raw, scores.pool.sets, utility, scores.pool.ids))
                if number == 0:
                    folders[condition.name] = where / "with"
                    if condition.rule:
                        taken[condition.name] = _positions(plain[0].pool, dropped or tuple(anew))
                task.advance()
    assert first is not None
    return Sweep(planned, outcomes, *first, taken, folders)


_NONE: tuple[str, ...] = ()


def _positions(pool: Pool, ids: Sequence[str]) -> npt.NDArray[np.int64]:
    """Where some pairs stand among the candidates of a pool."""
    candidates = [pool.ids[row] for row in np.flatnonzero(pool.sets == "C")]
    wanted = set(ids)
    return np.array([at for at, identity in enumerate(candidates) if identity in wanted], dtype=np.int64)


def _changes(
    condition: Condition, scores: Scores, memory: ClipMem, context: Context, number: int
) -> tuple[tuple[str, ...], dict[str, list[str]]]:
    """Ids that are taken out, and captions that are given anew."""
    candidates = np.flatnonzero(scores.pool.sets == "C")
    assert condition.rule is not None
    rows = removed(
        memory.raw[candidates],
        condition.count,
        rule=condition.rule,
        rng=context.rng(f"removal {condition.name} {number}"),
        similarity=scores.models["f"].pair[candidates],
    )
    chosen = [int(candidates[row]) for row in rows]
    if not condition.recaption:
        return tuple(scores.pool.ids[row] for row in chosen), {}
    anew = {}
    for row in chosen:
        own = scores.pool.captions[row]
        further = own[1:] or rule_paraphrases(own[:1], count=1, seed=context.seed)[0]
        if further:
            anew[scores.pool.ids[row]] = further
    return (), anew


def _measured(
    material: Trainable,
    chosen: Any,
    condition: Condition,
    dropped: tuple[str, ...],
    anew: dict[str, list[str]],
    config: MitigationConfig,
    context: Context,
    folder: Path,
    number: int,
) -> tuple[Scores, ClipMem, Utility]:
    recipe = clip_recipe(config, **condition.changes)
    with context.progress.task(f"training: {condition.title}", None, "steps") as task:
        pair = train_models(
            material, recipe, seed=context.seed + number, folder=folder, device=context.device, task=task, drop=dropped,
            recaption=anew,
        )  # fmt: skip
    encoders = open_pair(pair, device=context.device, batch_size=context.batch_size)
    told = config.model_copy(update={"text_views": "first" if recipe.captions == "one" else "captions"})
    pool = chosen.pool.take(np.flatnonzero([identity not in set(dropped) for identity in chosen.pool.ids]))
    if anew:
        pool = _recaptioned(pool, anew)
    scores = score_pairs(pool, wordings_of(pool, told, seed=context.seed), chosen.tests, encoders, told, context)
    f, g = (scores.models[name].alignment for name in ("f", "g"))
    memory = clip_memorization(f, g, sets=scores.pool.sets, views=told.views, normalisation=told.normalisation)
    # The probe fits some twenty regressions a model: only where it is what counts.
    probed = scores.models["f"] if config.utility == "linear_probe" else None
    utility = measure_utility(encoders["f"], scores.held_out["f"], scores.tests, probed, scores.pool, told)
    return scores, memory, utility


def _recaptioned(pool: Pool, anew: Mapping[str, list[str]]) -> Pool:
    from dataclasses import replace

    return replace(pool, captions=[anew.get(identity, own) for identity, own in zip(pool.ids, pool.captions, strict=True)])
