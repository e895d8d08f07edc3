"""The curve: the share by platform and period, raw and corrected, its floor, and what was left out on the way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from assaymark.audits.generated_text_prevalence.config import RELEASES
from assaymark.audits.generated_text_prevalence.measures.series import (
    ALL,
    CLAIM_LEVEL,
    NO_POST,
    PlatformSeries,
    Series,
    name_of,
)
from assaymark.audits.generated_text_prevalence.measures.word_mixture import word_mixtures
from assaymark.audits.generated_text_prevalence.probes.posts import LAST_UNDATED, REASONS
from assaymark.audits.generated_text_prevalence.study import Study
from assaymark.result import Column, Estimate, Figure, Finding, Table, format_interval, format_number, undefined
from assaymark.section import Section, interval_columns, interval_values
from assaymark.stats import newcombe, wilson

__all__ = ["TITLES", "dropped_section", "prevalence_section"]

TITLES = {
    "cc": "classify and count",
    "acc": "ACC (Rogan-Gladen)",
    "pcc": "mean probability",
    "pacc": "PACC",
    "emq": "EMQ",
    "hdy": "HDy",
    "dys": "DyS",
    "mle": "mixture",
}


def prevalence_section(study: Study, series: Series) -> Section:
    section = Section()
    main = study.config.method
    for platform in series.platforms:
        key = f"prevalence.{name_of(platform.name)}"
        section.estimates[key] = platform.overall[main]
        section.estimates[f"{key}.called"] = _called(study, platform)
        last = platform.last(main)
        section.estimates[f"{key}.last"] = last[1] if last else undefined(NO_POST, unit="share")
        section.estimates[f"{key}.rise"] = platform.rise
        section.estimates[f"{key}.floor"] = platform.floor
        section.estimates[f"{key}.last.floor_adjusted"] = (
            platform.floor_adjusted[last[0]] if last else undefined(NO_POST, unit="share")
        )
    words = word_mixtures(study)
    section.estimates |= {f"prevalence.{name_of(name)}.word_mixture": share for name, share in words.items()}
    section.tables += [_period_table(study, series), _overall_table(study, series, words)]
    section.figures += _figures(study, series)
    section.findings += _findings(study, series, section)
    section.methods.append(_method(study))
    return section


def _called(study: Study, platform: PlatformSeries) -> Estimate:
    if study.counter is None:
        return undefined(study.reason, n=int(platform.posts.sum()), unit="share")
    if not platform.posts.sum():
        return undefined(NO_POST, unit="share")
    return wilson(int(platform.called.sum()), int(platform.posts.sum()), confidence=study.config.confidence)


def _period_table(study: Study, series: Series) -> Table:
    rows = [(platform, i) for platform in series.platforms for i in range(len(study.labels)) if platform.posts[i]]
    methods = study.config.methods
    values = {
        "platform": [platform.name for platform, _ in rows],
        "period": [study.labels[i] for _, i in rows],
        "posts": [int(platform.posts[i]) for platform, i in rows],
        **{
            key: column
            for method in methods
            for key, column in interval_values(method, [platform.shares[method][i] for platform, i in rows]).items()
        },
        **interval_values("above_floor", [platform.above_floor[i] for platform, i in rows]),
        **interval_values("floor_adjusted", [platform.floor_adjusted[i] for platform, i in rows]),
    }
    columns = (
        Column("platform", "label"),
        Column("period", "label"),
        Column("posts", "count", "posts counted"),
        *(column for method in methods for column in interval_columns(method, "share", TITLES[method])),
        *interval_columns("above_floor", "points", "called, minus the floor"),
        *interval_columns("floor_adjusted", "share", "corrected with the floor"),
    )
    unit = study.config.unit
    return Table.of(
        "prevalence", f"Share of machine-written posts by {unit}", values, columns,
        description=f"Counted by {_detector(study)}. 'classify and count' is the paper's attribution rate; the others take the "
        "detector's errors out of it.",
    )  # fmt: skip


def _detector(study: Study) -> str:
    return study.counter.detector.name if study.counter is not None else "no detector"


def _overall_table(study: Study, series: Series, words: Mapping[str, Estimate]) -> Table:
    methods = study.config.methods
    rows = [(each.name, TITLES[method], each.overall[method]) for each in series.platforms for method in methods]
    rows += [(name, "mixture of words", share) for name, share in words.items()]
    values = {
        "platform": [platform for platform, _, _ in rows],
        "method": [title for _, title, _ in rows],
        **interval_values("share", [share for _, _, share in rows]),
        "reason": [share.reason for _, _, share in rows],
    }
    columns = (
        Column("platform", "label"),
        Column("method", "label"),
        *interval_columns("share", "share", "share of all posts"),
        Column("reason", "text", "why undefined"),
    )
    return Table.of("prevalence_methods", "Share over all periods, by method", values, columns)


def _figures(study: Study, series: Series) -> Iterator[Figure]:
    unit, main = study.config.unit, study.config.method
    events = tuple((study.period_of(day), name) for name, day in RELEASES.items())
    if study.fitting is not None:
        yield Figure(
            "prevalence", f"Share of machine-written posts ({TITLES[main]})", "lines", table="prevalence", x="period", y=main,
            low=f"{main}_low", high=f"{main}_high", group="platform", x_title=unit, y_title="share of posts", events=events,
            caption=f"Counted by {_detector(study)} and corrected for its errors; bands hold the sampling of the posts and of "
            "the labelled texts.",
        )  # fmt: skip
    if "cc" in study.config.methods and study.counter is not None:
        yield Figure(
            "called", "Share called machine-written, not corrected", "lines", table="prevalence", x="period", y="cc",
            low="cc_low", high="cc_high", group="platform", x_title=unit, y_title="share of posts", events=events,
            caption="Before the release all of it is error; bands hold the sampling of the posts alone.",
        )  # fmt: skip
    if study.fitting is not None:
        yield Figure(
            "prevalence_methods", "Share over all periods, by method", "intervals", table="prevalence_methods", x="method",
            y="share", low="share_low", high="share_high", group="platform",
        )  # fmt: skip


def _findings(study: Study, series: Series, section: Section) -> Iterator[Finding]:
    if study.counter is not None and not study.stream.periods.posts.sum():
        yield _nothing_counted(study)
    for platform in series.platforms[:1] if len(series.platforms) == 1 else series.platforms[:-1]:
        yield from _platform_findings(study, platform, section)
    yield from _floor_doubt(study, series)
    yield from _platform_doubt(study, series)


def _nothing_counted(study: Study) -> Finding:
    reasons = {name: count for name, count in study.stream.periods.reasons.items() if count}
    why = ", ".join(f"{name} {count:,}" for name, count in reasons.items()) or "the input holds no posts"
    mends = {
        "date that cannot be read": "Say how dates are written (setting date_format), or which column holds them "
        "(--column created_at=COLUMN).",
        "no date": "Say which column holds the dates (--column created_at=COLUMN).",
        "too short": f"Let shorter posts count (setting min_words, now {study.config.min_words}).",
        "no text": "Say which column holds the texts (--column text=COLUMN).",
    }
    most = max(reasons, key=lambda name: reasons[name], default="")
    return Finding("warning", f"No post is counted ({why}).", (), ("left_out",), mends.get(most, ""))


def _platform_findings(study: Study, platform: PlatformSeries, section: Section) -> Iterator[Finding]:
    main = study.config.method
    key = f"prevalence.{name_of(platform.name)}"
    last, overall = platform.last(main), platform.overall[main]
    if last is None or not overall.defined:
        called = section.estimates[f"{key}.called"]
        why = overall.reason or (last[1].reason if last is not None else "")
        if called.defined:
            yield Finding(
                "note",
                f"{platform.name}: {format_interval(called)} of the posts are called machine-written; how many are is not "
                f"known ({why}).",
                (f"{key}.called", key), ("prevalence",),
            )  # fmt: skip
        return
    period, share = study.labels[last[0]], last[1]
    rise, moved = platform.rise, platform.risen
    doubt = "" if share.low is None or share.low > 0 else ", which is not told from none"
    sentence = f"{platform.name}: {format_interval(share)} of the posts in {period} are machine-written{doubt}"
    if moved:
        sentence += f"; {format_interval(rise)} more since {study.config.released} than before."
    elif rise.defined:
        sentence += f"; no rise since {study.config.released} is told from chance (change: {format_interval(rise)})."
    else:
        sentence += "."
    yield Finding(
        "warning" if moved else "note",
        sentence,
        (f"{key}.last", f"{key}.rise"),
        ("prevalence",),
        "A share of the stream, as true as the labelled texts are like it; no post and no person is judged." if moved else "",
    )


def _floor_doubt(study: Study, series: Series) -> Iterator[Finding]:
    """Is the false positive rate on the stream, before the release, that of the labelled texts?"""
    single = [platform for platform in series.platforms if platform.name != ALL]
    level = 1.0 - CLAIM_LEVEL / max(1, len(single))
    for platform in single:
        floor, rates = platform.floor_rate, study.rates_of(platform.name)
        if rates is None or not rates[1].trials or floor.trials < study.config.least_labelled:
            continue
        specificity = rates[1]
        gap = newcombe(
            floor.successes, floor.trials, specificity.trials - specificity.successes, specificity.trials, confidence=level
        )
        if gap.low is None or gap.high is None or gap.low <= 0.0 <= gap.high:
            continue
        more = "more" if gap.low > 0 else "less"
        expected = format_number(1 - specificity.share, "share")
        key = f"prevalence.{name_of(platform.name)}"
        yield Finding(
            "warning",
            f"{platform.name}: before {study.config.released} the detector calls {format_interval(platform.floor)} of the "
            f"posts machine-written, {more} than of the labelled human texts ({expected}): they are not like "
            "the stream, and shares corrected with them are off.",
            (f"{key}.floor", "detector.specificity"), ("prevalence",),
            "Read the column 'corrected with the floor', which takes the stream's own false positive rate, or label human "
            "texts of this platform.",
        )  # fmt: skip


def _platform_doubt(study: Study, series: Series) -> Iterator[Finding]:
    """Do the labelled human texts of one platform look more like a machine's than those of the others?"""
    fitting = study.fitting
    if fitting is None:
        return
    rows, cut = fitting.labelled.rows, study.threshold_bin
    platform = rows.platform[fitting.test]
    seen = {each.name for each in series.platforms}
    codes = {name: code for code, name in sorted(rows.platforms.items(), key=lambda item: item[1]) if name in seen}
    level = 1.0 - CLAIM_LEVEL / max(1, len(codes))
    apart: dict[str, str] = {}
    for name, code in codes.items():
        here = platform == code
        errors = study.errors_of(name)
        if errors is not None and errors.own_human:
            continue
        own, rest = (fitting.bins(fitting.chosen, study.config.bins, where=where).negative for where in (here, ~here))
        n, others = int(own.sum()), int(rest.sum())
        if min(n, others) < study.config.least_labelled:
            continue
        called = int(own[cut:].sum())
        gap = newcombe(called, n, int(rest[cut:].sum()), others, confidence=level)
        if gap.low is not None and gap.high is not None and not gap.low <= 0.0 <= gap.high:
            apart[name] = format_interval(wilson(called, n, confidence=study.config.confidence))
    if apart:
        rates = ", ".join(f"{name} {rate}" for name, rate in apart.items())
        yield Finding(
            "warning",
            f"Labelled human texts that the detector calls machine-written differ by platform: {rates}. These are corrected "
            "with all labelled texts together: shares are too high where that rate is high, and too low where it is low.",
            (*(f"prevalence.{name_of(name)}" for name in apart), "detector.specificity"), ("prevalence", "chosen_by_platform"),
            f"Label more human texts of each: from {study.config.least_platform} test texts on (setting least_platform) a "
            "platform is corrected by its own.",
        )  # fmt: skip


def _method(study: Study) -> str:
    config = study.config
    corrected = (
        f"Corrected shares rest on {config.bins:,} bins of the probability; their {config.confidence:.0%} intervals are "
        f"percentiles of {config.resamples:,} bootstrap resamples of the labelled test texts, by class, and of the posts, "
        "drawn together. One resample of the labelled texts serves all cells, since their errors are common to them."
        if study.fitting is not None
        else f"Nothing is corrected: {study.reason}."
    )
    return (
        f"A post is called machine-written from a probability of {config.threshold:g}. Periods are {config.unit}s in UTC. "
        f"{corrected} The floor is the share called machine-written in the periods that end by {config.released}."
    )


def dropped_section(study: Study) -> Section:
    """How many posts of each period are not counted: leaving short ones out changes what the share is a share of."""
    section = Section()
    periods = study.stream.periods
    kept = range(LAST_UNDATED + 1, len(REASONS))
    rows = [
        (row, column)
        for row in range(len(periods.platforms))
        for column in range(len(study.labels))
        if periods.posts[row, column] + periods.dropped[row, column].sum()
    ]
    values = {
        "platform": [periods.platforms[row] for row, _ in rows],
        "period": [study.labels[column] for _, column in rows],
        "counted": [int(periods.posts[row, column]) for row, column in rows],
        **{f"reason_{i}": [int(periods.dropped[row, column, i]) for row, column in rows] for i in kept},
    }
    columns = (
        Column("platform", "label"),
        Column("period", "label"),
        Column("counted", "count", "posts counted"),
        *(Column(f"reason_{i}", "count", REASONS[i]) for i in kept),
    )
    section.tables.append(Table.of("left_out", "Posts that are not counted, by period", values, columns))
    short = periods.reasons["too short"]
    if short:
        section.notes.append(
            f"{short:,} posts have fewer than {study.config.min_words} words and are not counted: the share is that of the "
            "longer posts"
        )
    return section
