"""The one pass over the input: rows sorted by a hash of their content, and exact statistics of all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from assaymark.audit import Context
from assaymark.audits.scorer_mixture.columns import Plan
from assaymark.audits.scorer_mixture.config import ScorerMixtureConfig
from assaymark.audits.scorer_mixture.measures.members import SKIN, check_models, member_scorer, picture_views
from assaymark.audits.scorer_mixture.method.moments import Moments
from assaymark.audits.scorer_mixture.probes.moments import MomentsProbe, Streamed
from assaymark.audits.scorer_mixture.probes.row_keys import FIT, TRAIN, RowRules
from assaymark.audits.scorer_mixture.probes.row_sample import RowSample, SampledRows
from assaymark.data.scan import ScanOutcome, scan
from assaymark.errors import ConfigError, SchemaError
from assaymark.result import Flow

__all__ = ["MAX_SCORERS", "Rows", "fitting_splits", "read_rows", "row_rules", "without_rows"]

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
MAX_SCORERS = 40


@dataclass(frozen=True)
class Rows:
    """Labelled rows with their scores, sorted by a hash of their content.

    Attributes
    ----------
    names : tuple of str
        Scorers; columns of `scores`.
    models : frozenset of str
        Those of them that are models.
    sample : SampledRows
    streamed : Streamed
        Statistics of all rows, also of those beyond the sample.
    flows : tuple of Flow
    out_of_fold : frozenset of str
        Scorers whose scores on the fitting rows come from other networks (of each fold) than those on the test rows.
    """

    names: tuple[str, ...]
    models: frozenset[str]
    sample: SampledRows
    streamed: Streamed
    flows: tuple[Flow, ...]
    notes: tuple[str, ...]
    baselines: tuple[str, ...] = ()
    class_scorers: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    out_of_fold: frozenset[str] = frozenset()

    @property
    def scores(self) -> Floats:
        return self.sample.scores

    @property
    def label(self) -> npt.NDArray[np.int8]:
        return self.sample.label

    def of(self, *splits: int) -> Bools:
        """Mask of the rows of some splits."""
        return np.isin(self.sample.split, splits)

    @property
    def streamed_width(self) -> int:
        """Scorers that the streamed statistics know; scorers added later are not among them."""
        return len(next(iter(self.streamed.grams.values()))) - 1 if self.streamed.grams else 0

    @property
    def complete(self) -> bool:
        """Whether every usable row is in the sample."""
        return len(self.sample.key) == self.streamed.kept + self.streamed.beyond

    def moments(self, splits: Sequence[int], *, balanced: bool) -> Moments | None:
        """Moments of all rows of some splits that have every score, the classes weighing alike when `balanced`."""
        full = (1 << len(self.names)) - 1
        width = len(self.names) + 1
        grams = [np.zeros((width, width)), np.zeros((width, width))]
        for (split, label, pattern), gram in self.streamed.grams.items():
            if split in splits and pattern == full:
                grams[label] = grams[label] + gram
        counts = [float(gram[-1, -1]) for gram in grams]
        rows = int(sum(counts))
        if not rows:
            return None
        share = [rows / (2 * n) if balanced and n and min(counts) > 0 else 1.0 for n in counts]
        xtx = share[0] * grams[0] + share[1] * grams[1]
        xty = share[1] * grams[1][:, -1]
        return Moments(float(xtx[-1, -1]), rows, xtx, xty, float(xty[-1]))

    def with_networks(self, names: Sequence[str], scores: Floats) -> Rows:
        """The rows with scorers trained on them, which are known of sampled rows only: streamed statistics lose their use."""
        sample = self.sample._replace(scores=np.column_stack([self.scores, scores]))
        models, folded = self.models | set(names), self.out_of_fold | set(names)
        return replace(self, names=(*self.names, *names), models=models, sample=sample, out_of_fold=folded)


def row_rules(
    plan: Plan, config: ScorerMixtureConfig, *, seed: int, content: str, labelled: bool = True, needs_score: bool = True
) -> RowRules:
    """How rows of an input are parsed; `content` is what is looked at ("image", "embedding" or nothing)."""
    dataset = plan.dataset
    known = [concept for concept in ("sha256", "md5", "id", "path", "url") if concept in dataset]
    identity = ((content,) if content else ()) + tuple(known[:1])
    return RowRules(
        plan.columns,
        plan.models,
        plan.class_scorers,
        plan.classes,
        config.positives,
        config.negatives,
        plan.slices,
        identity,
        plan.has_group,
        plan.has_split,
        config.fit_share,
        seed,
        labelled,
        needs_score,
        picture_views(config).reasons() if content == "image" else (),
    )


def read_rows(plan: Plan, config: ScorerMixtureConfig, context: Context, models: Mapping[str, Any]) -> Rows:
    """One pass over the labelled input.

    Raises
    ------
    SchemaError
        A named score column with values outside [0, 1].
    ConfigError
        More scorers than `MAX_SCORERS`.
    """
    asked = {name: models[name] for name in plan.models}
    check_models(asked)
    if len(plan.scorers) > MAX_SCORERS:
        raise ConfigError(f"{len(plan.scorers)} scorers; at most {MAX_SCORERS} are combined: name them with scorers=[...]")
    pictures = "image" in plan.dataset
    content = plan.content or ("image" if pictures and (config.skin or config.zoo) else "")
    skin = config.skin and content == "image"
    scorer = member_scorer(asked, content, config=config, skin=skin, batch_size=context.batch_size)
    baselines = SKIN if skin else ()
    rules = row_rules(plan, config, seed=context.seed, content=content, needs_score=not config.zoo)
    with context.progress.task("reading scores", total=plan.dataset.rows, unit="rows") as task:
        outcome = scan(
            plan.dataset,
            [MomentsProbe(rules), RowSample(rules, config.max_rows, baselines)],
            engine=context.engine,
            scorers=[scorer] if scorer is not None else [],
            checkpoint=None if context.work is None else context.work / "scores",
            task=task,
            log=context.log,
        )
    streamed, sample = outcome.answers["moments"], outcome.answers["rows"]
    rows = Rows(
        rules.scorers, frozenset(plan.models), sample, streamed, _flows(outcome, streamed), outcome.notes, baselines,
        plan.class_scorers, plan.classes,
    )  # fmt: skip
    return _in_range(rows, plan, config)


def _in_range(rows: Rows, plan: Plan, config: ScorerMixtureConfig) -> Rows:
    """Drop guessed columns that turned out to hold no probabilities; for named ones that is a mistake."""
    low, high = rows.streamed.low, rows.streamed.high
    outside = [i for i, name in enumerate(plan.columns) if low[i] <= high[i] and (low[i] < -1e-6 or high[i] > 1 + 1e-6)]
    if not outside:
        return rows
    name = plan.columns[outside[0]]
    if plan.named or plan.classes:
        raise SchemaError(
            f"{plan.dataset.source}: scorer {name!r} has values from {low[outside[0]]:.4g} to {high[outside[0]]:.4g}; a score "
            "is a probability in [0, 1] (of log-odds x: 1 / (1 + exp(-x)))"
        )
    if len(outside) == len(rows.names):
        raise SchemaError(
            f"{plan.dataset.source}: no score column; {', '.join(plan.columns)} hold numbers outside [0, 1]. "
            "Name the score columns with --set scorers=[a, b]"
        )
    names = tuple(name for i, name in enumerate(rows.names) if i not in set(outside))
    scores = np.delete(rows.scores, outside, axis=1)
    left = ", ".join(plan.columns[i] for i in outside)
    note = f"columns with values outside [0, 1] are taken for something else than scores: {left}"
    streamed = rows.streamed.without(outside, len(rows.names))
    thinned = replace(rows, names=names, sample=rows.sample._replace(scores=scores), streamed=streamed)
    empty = np.asarray(~np.isfinite(scores).any(axis=1))
    if not config.zoo:
        lost = sum(count for (_, _, pattern), count in streamed.rows.items() if not pattern)
        thinned = without_rows(thinned, empty, reason="no score", lost=lost)
    return replace(thinned, notes=(*rows.notes, note))


def without_rows(rows: Rows, gone: Bools, *, reason: str, lost: int | None = None) -> Rows:
    """The rows without some of the sampled ones, skipped for a reason; `lost` of all rows (default: as many as `gone`)."""
    sample, keep = rows.sample, ~gone
    arrays = ("key", "unit", "scores", "baselines", "label", "split", "shard", "row", "classes", "class_label")
    kept = {name: getattr(sample, name)[keep] for name in arrays}
    slices = {name: codes[keep] for name, codes in sample.slices.items()}
    count = int(gone.sum()) if lost is None else lost
    grams = {key: gram for key, gram in rows.streamed.grams.items() if key[2]}
    counts = {key: n for key, n in rows.streamed.rows.items() if key[2]}
    streamed = rows.streamed._replace(grams=grams, rows=counts, kept=rows.streamed.kept - count)
    flow = rows.flows[0]
    skipped = {**flow.skipped, reason: flow.skipped.get(reason, 0) + count} if count else flow.skipped
    flows = (replace(flow, used=flow.used - count, skipped=skipped), *rows.flows[1:])
    return replace(rows, sample=sample._replace(**kept, slices=slices), streamed=streamed, flows=flows)


def _flows(outcome: ScanOutcome, streamed: Streamed) -> tuple[Flow, ...]:
    """Every row once: used, or skipped for the first reason that holds."""
    flow = outcome.flow
    dropped = {reason: count for reason, count in streamed.dropped.items() if count}
    dropped |= {"one of too many patterns of missing scores": streamed.beyond} if streamed.beyond else {}
    used = flow.used - sum(dropped.values())
    first = Flow(flow.source, flow.total, used, {**flow.skipped, **dropped}, flow.failed)
    return (first, *outcome.flows[1:])


def fitting_splits(config: ScorerMixtureConfig) -> tuple[int, ...]:
    """Splits that weights and threshold are fitted on: the nets' own training rows only when the user says so."""
    return (TRAIN, FIT) if config.source == "train" else (FIT,)
