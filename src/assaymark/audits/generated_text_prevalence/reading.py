"""The one pass over the posts: every post scored once, everything counted on the way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from assaymark.audit import Context
from assaymark.audits.generated_text_prevalence.config import GeneratedTextPrevalenceConfig
from assaymark.audits.generated_text_prevalence.dates import found_dates
from assaymark.audits.generated_text_prevalence.measures.fitting import Counter
from assaymark.audits.generated_text_prevalence.measures.perturbing import Rewriting
from assaymark.audits.generated_text_prevalence.preparing import Fitted, Prepared
from assaymark.audits.generated_text_prevalence.probes.authors import AuthorProbe
from assaymark.audits.generated_text_prevalence.probes.periods import MOST_PLATFORMS, OTHERS, PeriodCounts, PeriodProbe
from assaymark.audits.generated_text_prevalence.probes.posts import PostRules
from assaymark.audits.generated_text_prevalence.probes.rows import ENGAGEMENT, RowProbe, SampledPosts
from assaymark.audits.generated_text_prevalence.probes.shared import SharedProbe, text_hashes
from assaymark.audits.generated_text_prevalence.probes.strata import StrataProbe, Stratum
from assaymark.audits.generated_text_prevalence.probes.texts import SampledTexts, TextProbe
from assaymark.audits.generated_text_prevalence.probes.words import WordCounts, WordProbe
from assaymark.audits.generated_text_prevalence.scoring import scan_scorer, score_columns
from assaymark.data.probe import Probe
from assaymark.data.scan import scan
from assaymark.result import Flow

__all__ = ["Stream", "read_posts"]


class Stream(NamedTuple):
    """What one pass found. Parts are None where the input has no column for them, or nothing can count."""

    source: str
    periods: PeriodCounts
    strata: tuple[Stratum, ...]
    authors: Any
    rows: SampledPosts | None
    texts: SampledTexts | None
    words: WordCounts | None
    flows: tuple[Flow, ...]
    notes: tuple[str, ...]
    has: frozenset[str]


def read_posts(
    dataset: Any,
    fitted: Fitted,
    prepared: Prepared,
    config: GeneratedTextPrevalenceConfig,
    context: Context,
    *,
    rewriting: Rewriting | None,
) -> Stream:
    """One pass over the posts with the detector that counts; without one, posts are only sorted by what keeps them out.

    Raises
    ------
    SchemaError
        No dates; or neither texts nor the score column of the detector.
    """
    dataset.require("created_at")
    counter, family = fitted.counter, prepared.family
    member = family.member_of(counter.detector) if counter is not None else None
    if member is not None and member.kind == "columns":
        dataset = dataset.with_scores(
            {name: column for name, column in score_columns(family).items() if name in member.columns}
        )
    elif member is not None:
        dataset.require("text")
    rules = PostRules(
        found_dates(dataset, config),
        config.unit,
        config.min_words if "text" in dataset else 0,
        counter,
        counter.detector.columns if counter is not None else (),
        frozenset(dataset.mapping),
    )
    scorers = []
    if member is not None and member.kind != "columns":
        scorers = [scan_scorer(member, rewriting=rewriting, least_words=config.min_words, batch_size=context.batch_size)]
    with context.progress.task("reading posts", total=dataset.rows, unit="posts") as task:
        outcome = scan(
            dataset,
            _probes(rules, prepared, config, context),
            engine=context.engine,
            scorers=scorers,
            checkpoint=None if context.work is None else context.work / "posts",
            task=task,
            log=context.log,
        )
    found: PeriodCounts = outcome.answers["periods"]
    skipped = {reason: count for reason, count in found.reasons.items() if count}
    flow = outcome.flow
    used = Flow(flow.source, flow.total, flow.used - sum(skipped.values()), {**flow.skipped, **skipped}, flow.failed, "posts")
    notes = (*dataset.notes, *outcome.notes, *_notes(dataset, config, rules, found), *_shared(outcome.answers.get("shared")))
    answers = {name: outcome.answers.get(name) for name in ("authors", "rows", "texts", "words")}
    strata = _pooled(outcome.answers.get("strata") or (), found)
    return Stream(
        dataset.source, found, strata, **answers, flows=(used, *outcome.flows[1:]), notes=notes, has=rules.has
    )  # fmt: skip


def _probes(rules: PostRules, prepared: Prepared, config: GeneratedTextPrevalenceConfig, context: Context) -> list[Probe]:
    probes: list[Probe] = [PeriodProbe(rules, config.bins)]
    if rules.detector is None:
        return probes
    threshold, has = config.threshold, rules.has
    if "text" in has and prepared.rows is not None:
        probes.append(SharedProbe(rules, text_hashes(prepared.rows.rows.texts)))
    if has & {"topic", "followers"}:
        probes.append(StrataProbe(rules, threshold, config.follower_edges))
    if config.author_level and "author" in has:
        probes.append(AuthorProbe(rules, threshold, context.salt))
    if has & set(ENGAGEMENT):
        probes.append(RowProbe(rules, config.max_rows))
    if "text" in has and config.texts:
        probes.append(TextProbe(rules, threshold, config.texts))
    if "text" in has and config.words:
        probes.append(WordProbe(rules, threshold))
    return probes


def _pooled(strata: Sequence[Stratum], found: PeriodCounts) -> tuple[Stratum, ...]:
    """Strata under the platforms that have a curve."""
    kept = set(found.platforms)
    return tuple(item if item.platform in kept else item._replace(platform=OTHERS) for item in strata)


def _shared(posts: int | None) -> list[str]:
    if not posts:
        return []
    return [
        f"{posts:,} counted posts are among the labelled texts word for word: a detector that was trained on them looks better "
        "on this stream than on posts it has not seen"
    ]


def _notes(dataset: Any, config: GeneratedTextPrevalenceConfig, rules: PostRules, found: PeriodCounts) -> list[str]:
    notes = [rules.dates.sentence]
    if found.pooled:
        notes.append(
            f"{found.pooled:,} platforms are counted together as '{OTHERS}': the {MOST_PLATFORMS} with the most posts have "
            "curves of their own"
        )
    counter, lost = rules.detector, found.reasons["no score"]
    if lost and isinstance(counter, Counter) and counter.calibration is None and not counter.detector.bounded:
        notes.append(
            f"{lost:,} posts have no score of {counter.detector.name} between 0 and 1 and are not counted; other scores become "
            "probabilities with labelled texts that have them too (labelled=FILE)"
        )
    if config.min_words and "text" not in dataset:
        notes.append("the posts have no text, so none was left out for being short")
    return notes
