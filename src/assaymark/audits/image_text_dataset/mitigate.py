"""The cure: a copy of the data set without the rows that a rule names, and what that bought and cost.

Rows go; nobody's rows should go more often than others', so the share of rows that name each identity term is shown before
and after, and a filter that thins out a group is reported as a defect of the filter.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from assaymark.audit import AuditInfo, Context, InputSpec, Mitigation, ModelRole, Task
from assaymark.audits.image_text_dataset.config import FilterRowsConfig
from assaymark.audits.image_text_dataset.data import required_columns
from assaymark.audits.image_text_dataset.filtering import Filter, Tally, manifest_rows
from assaymark.audits.image_text_dataset.reading import TextScores, build_vocabulary
from assaymark.audits.image_text_dataset.report.filtered import filter_section, representation_section
from assaymark.data.dataset import Dataset
from assaymark.data.probe import Batch
from assaymark.data.readers.base import MALFORMED, Shard, Unreadable
from assaymark.errors import ConfigError, InputError
from assaymark.result import Artifact, Flow, Result
from assaymark.section import Section, assemble

__all__ = ["FilterRows"]

FOLDER = "filtered"


@dataclass
class _Outcome:
    tally: Tally
    malformed: int = 0
    lost: int = 0
    listed: int = 0
    failed: dict[str, str] = field(default_factory=dict)


class FilterRows(Mitigation):
    """Drops rows by manifest, words, score, tag and repetition; writes Parquet shards with the original columns.

    One process reads shard after shard in order and holds one batch at a time (and 8 bytes for each distinct key when
    duplicates are dropped), because the first of several equal rows must be the same on every run.
    """

    info = AuditInfo(
        id="image-text-dataset",
        title="Image-text data set, filtered",
        question="What does dropping the rows that a rule names change in the data set, and whom does it thin out?",
        paper="Birhane, Prabhu, Kahembwe 2021, arXiv 2110.01963; 2306.13141; 2311.03449",
        inputs=(
            InputSpec("pairs", "pairs", "the data set to filter"),
            InputSpec("manifest", "table", "rows to remove, as the audit's removal manifest: shard, row", required=False),
        ),
        models=(
            ModelRole(
                "text_toxicity",
                "scores texts; the largest label counts",
                any_of=("scores-texts", "reads-columns"),
            ),
        ),
        cost="one pass in one process, about 10^5 rows a second without a model; 8 bytes of memory for each distinct row when "
        "duplicates are dropped",
        limits="the rules are weak labels: they drop innocent rows and miss harmful ones; a lower rate of flags is not a lower "
        "rate of harm",
    )
    Config = FilterRowsConfig

    def run(self, inputs: Mapping[str, Any], context: Context) -> Result:
        config: FilterRowsConfig = self.config
        pairs: Dataset = inputs["pairs"]
        listed = _manifest(inputs.get("manifest"), pairs)
        pairs, chosen = _choose(pairs, listed is not None, config, context)
        folder = None if context.artifacts is None else context.artifacts / FOLDER
        with context.progress.task("filtering", total=pairs.rows, unit="rows") as task:
            outcome = _filter(pairs, chosen, listed or {}, folder, task)
        for path, reason in outcome.failed.items():
            context.log("file left out", path=path, reason=reason)
        sections = [filter_section(outcome.tally, chosen, config), representation_section(outcome.tally, chosen, config)]
        return assemble(
            [*sections, _handed_on(folder)],
            audit=self.info.id,
            title=f"{self.info.title}: {pairs.source}",
            flows=[_flow(pairs, outcome)],
            notes=(*pairs.notes, *_notes(outcome, context)),
        )


def _manifest(table: Dataset | None, pairs: Dataset) -> Mapping[int, npt.NDArray[np.int64]] | None:
    """Rows to remove by shard; a manifest of another data set is refused before anything is dropped."""
    if table is None:
        return None
    content = table.read()
    required_columns(content, ("shard", "row"), "manifest")
    listed = manifest_rows(content)
    rows = {shard.index: shard.rows for shard in pairs.shards}
    for index, wanted in listed.items():
        known = rows.get(index)
        if index not in rows or wanted[0] < 0 or (known is not None and wanted[-1] >= known):
            raise InputError(
                f"input 'manifest': row {wanted[-1]} of shard {index} is not in {pairs.source}; "
                "give the data set, with the same files, that the manifest was made from"
            )
    return listed


def _choose(pairs: Dataset, with_manifest: bool, config: FilterRowsConfig, context: Context) -> tuple[Dataset, Filter]:
    """The rules that were asked for, each checked against what the data set and the settings can give."""
    model = context.model("text_toxicity")
    rules = (
        *(("manifest",) if with_manifest else ()),
        *(("tag",) if config.keep_tags else ()),
        *(rule for rule in ("unsafe", "lexicon", "score", "duplicate") if rule in config.drop),
    )
    if not rules:
        raise ConfigError("nothing to drop: set drop=[unsafe, ...] or keep_tags=[UNLIKELY], or give the input manifest=PATH")
    if "tag" in rules:
        pairs.require("tag")
    if "lexicon" in rules and not config.lexicons:
        raise ConfigError("setting 'drop': lexicon needs word lists; give --set lexicons=PATH")
    if "score" in rules and model is None:
        raise ConfigError("setting 'drop': score needs a text model; give --model text_toxicity=SPEC, as column:NAME")
    if "duplicate" in rules:
        pairs.require(*config.duplicate_key)
    if {"unsafe", "lexicon"} & set(rules) and "url" not in pairs:
        pairs.require("text")
    measures = [*(("unsafe",) if {"text", "url"} & set(pairs.mapping) else ())]
    measures += ["lexicon"] if config.lexicons and "text" in pairs else []
    labels: tuple[str, ...] = ()
    scorer = None
    if model is not None:
        pairs.require("text")
        measures.append("hate_content")
        labels = tuple(model.labels)
        if hasattr(model, "columns"):
            pairs = pairs.with_scores(
                {f"text_toxicity.{label}": column for label, column in zip(labels, model.columns, strict=True)}
            )
        else:
            scorer = _Batched(TextScores(model), context.batch_size)
    return pairs, Filter(config, build_vocabulary(config), rules, tuple(measures), labels, scorer)


class _Batched:
    """Asks a model about `size` texts at a time: a batch of the reader would not fit into its memory."""

    def __init__(self, score: TextScores, size: int) -> None:
        self.score, self.size = score, size

    def __call__(self, values: pa.Array) -> npt.NDArray[np.float32]:
        parts = [self.score(values.slice(start, self.size)) for start in range(0, max(len(values), 1), self.size)]
        return np.concatenate(parts)


def _filter(
    pairs: Dataset, chosen: Filter, listed: Mapping[int, npt.NDArray[np.int64]], folder: Path | None, task: Task
) -> _Outcome:
    """All shards in order. A shard that breaks is left out whole: its rows, its counts and its keys."""
    outcome = _Outcome(chosen.empty())
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    for shard in pairs.shards:
        seen = chosen.seen.copy()
        try:
            done = _filter_shard(pairs, shard, chosen, listed.get(shard.index, np.zeros(0, np.int64)), folder, task)
        except Unreadable as error:
            chosen.seen = seen
            outcome.failed[shard.path] = error.reason
            outcome.lost += shard.rows or 0
            continue
        outcome.tally.add(done.tally)
        outcome.malformed += done.malformed
        outcome.listed += done.listed
    if outcome.failed and not outcome.tally.rows:
        path, reason = next(iter(outcome.failed.items()))
        raise InputError(f"{pairs.source}: no file could be read to its end; the first: {path}: {reason}")
    return outcome


def _filter_shard(
    pairs: Dataset, shard: Shard, chosen: Filter, listed: npt.NDArray[np.int64], folder: Path | None, task: Task
) -> _Outcome:
    concepts = _concepts(pairs, chosen)
    outcome = _Outcome(chosen.empty())
    with _writer(folder, shard) as write:
        for part in pairs.reader.parts(shard):
            for stored, read in pairs.stored_batches(part, concepts):
                whole = np.ones(stored.rows, bool) if read.defects is None else (read.defects & MALFORMED) == 0
                places = np.arange(read.first, read.first + stored.rows)
                named = np.isin(places, listed)[whole]
                batch = Batch(pa.Table.from_batches([read.table]).filter(pa.array(whole)))
                keep, tally = chosen.decide(batch, named)
                outcome.tally.add(tally)
                outcome.malformed += int((~whole).sum())
                outcome.listed += int(named.sum())
                mask = whole.copy()
                mask[whole] = keep
                write(stored.columns, mask)
                task.advance(stored.rows)
    return outcome


def _concepts(pairs: Dataset, chosen: Filter) -> list[str]:
    wanted = {"text", "url", *(f"text_toxicity.{label}" for label in chosen.score_labels)}
    wanted |= {"tag"} if "tag" in chosen.rules else set()
    wanted |= set(chosen.config.duplicate_key) if "duplicate" in chosen.rules else set()
    return sorted(concept for concept in wanted if concept in pairs)


@contextmanager
def _writer(folder: Path | None, shard: Shard) -> Iterator[Any]:
    """Writes the kept rows of a shard under a name of its own; the file is there whole, or not at all."""
    if folder is None:
        yield lambda columns, mask: None
        return
    path, unfinished = folder / f"part-{shard.index:05d}.parquet", folder / f".part-{shard.index:05d}.unfinished"
    open_file: list[pq.ParquetWriter] = []

    def write(columns: Mapping[str, pa.Array], mask: npt.NDArray[np.bool_]) -> None:
        table = pa.table(dict(columns)).filter(pa.array(mask))
        if not open_file:
            open_file.append(pq.ParquetWriter(unfinished, table.schema, compression="zstd"))
        open_file[0].write_table(table.cast(open_file[0].schema))

    try:
        yield write
    except BaseException:
        for file in open_file:
            file.close()
        unfinished.unlink(missing_ok=True)
        raise
    if open_file:
        open_file[0].close()
        unfinished.rename(path)


def _flow(pairs: Dataset, outcome: _Outcome) -> Flow:
    """Every row once: kept, dropped by the first rule that names it, or not read."""
    failed = {"malformed row": outcome.malformed, "unreadable file": outcome.lost}
    skipped = {f"dropped: {rule}": count for rule, count in outcome.tally.first_rule.items() if count}
    total = outcome.tally.rows + sum(failed.values())
    return Flow(pairs.source, total, outcome.tally.kept, skipped, {reason: count for reason, count in failed.items() if count})


def _notes(outcome: _Outcome, context: Context) -> Iterator[str]:
    for path, reason in sorted(outcome.failed.items()):
        yield f"{path} was left out: {reason}"
    if context.engine != "local":
        yield f"the filter runs in this process; the engine {context.engine.partition('://')[0]} was not used"
    if context.artifacts is None:
        yield "no file was written: give a folder for the run to keep the filtered data set"


def _handed_on(folder: Path | None) -> Section:
    if folder is None or not any(folder.glob("part-*.parquet")):
        return Section()
    artifact = Artifact(FOLDER, "data", FOLDER, "the kept rows, with the original columns, one file for each shard")
    return Section(artifacts=[artifact])
