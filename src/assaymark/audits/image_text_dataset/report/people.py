"""Faces, class labels and data subjects, as tables, figures and findings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from assaymark.audits.image_text_dataset.config import ImageTextDatasetConfig
from assaymark.audits.image_text_dataset.measures.faces import Faces
from assaymark.audits.image_text_dataset.measures.label_space import Labels
from assaymark.audits.image_text_dataset.measures.removal import Removal
from assaymark.audits.image_text_dataset.probes.find_me import Matches, Wanted
from assaymark.report.redaction import mask_term
from assaymark.result import Artifact, Column, Figure, Finding, Table, format_interval, undefined
from assaymark.section import Section, exact_count, interval_columns, interval_values

__all__ = ["faces_section", "find_section", "labels_section", "removal_section"]


def faces_section(found: Faces) -> Section:
    section = Section()
    rows = []
    for answer in found.answers:
        group = " ".join(answer.group) or "all"
        section.estimates[f"downstream.{group}.human"] = answer.mean[found.human]
        rows += [(group, answer.n, found.classes[c], answer.mean[c], answer.predicted[c]) for c in range(len(found.classes))]
    values = {
        "group": [row[0] for row in rows],
        "faces": [row[1] for row in rows],
        "class": [row[2] for row in rows],
        **interval_values("probability", [row[3] for row in rows]),
        **interval_values("predicted", [row[4] for row in rows]),
    }
    columns = (
        Column("group", "label"),
        Column("faces", "count"),
        Column("class", "label"),
        *interval_columns("probability", "number", "mean probability"),
        *interval_columns("predicted", "share", "predicted"),
    )
    section.tables.append(Table.of("downstream_probe", "What the encoder calls faces", values, columns))
    section.figures.append(
        Figure(
            "downstream_probe",
            "What the encoder calls faces",
            "intervals",
            table="downstream_probe",
            x="group",
            y="probability",
            low="probability_low",
            high="probability_high",
            group="class",
            y_title="mean probability",
        )
    )
    for name, gap in found.gaps.items():
        section.estimates[f"downstream.{name}.gap"] = gap.mean
    _face_gap(section, found)
    if found.differences:
        section.tables.append(_difference_table(found))
    section.methods.append(
        f"Downstream probe: softmax over {len(found.classes)} sentences for each of {found.faces:,} faces ({found.unscored:,} "
        "without a score); means with a bootstrap over faces, predicted shares with Wilson intervals."
    )
    return section


def _face_gap(section: Section, found: Faces) -> None:
    human = {" ".join(a.group) or "all": a.mean[found.human] for a in found.answers if a.mean[found.human].defined}
    if len(human) < 2:
        return
    low, high = (pick(human, key=lambda g: human[g].value or 0.0) for pick in (min, max))
    if (human[low].high or 1.0) < (human[high].low or 0.0):
        section.findings.append(
            Finding(
                "warning",
                f"The encoder finds the human class less often in '{low}' ({format_interval(human[low])}) than in '{high}' "
                f"({format_interval(human[high])}).",
                (f"downstream.{low}.human", f"downstream.{high}.human"),
                ("downstream_probe",),
                "Do not use this encoder to sort people.",
            )
        )


def _difference_table(found: Faces) -> Table:
    rows = [
        (" ".join(d.group) or "all", found.classes[c], d.mean[c], d.predicted[c])
        for d in found.differences
        for c in range(len(found.classes))
    ]
    values = {
        "group": [row[0] for row in rows],
        "class": [row[1] for row in rows],
        **interval_values("mean", [row[2] for row in rows]),
        **interval_values("predicted", [row[3] for row in rows]),
    }
    columns = (
        Column("group", "label"),
        Column("class", "label"),
        *interval_columns("mean", "number", "change of mean probability"),
        *interval_columns("predicted", "number", "change of predicted share"),
    )
    return Table.of("downstream_change", "Change against the baseline encoder", values, columns)


def labels_section(found: Labels, config: ImageTextDatasetConfig, *, reveal: bool) -> Section:
    section = Section()
    section.estimates["label_space.classes"] = found.space.classes
    section.estimates["label_space.images"] = exact_count(
        found.space.images, of=sum(found.images), method="count of all images in marked classes"
    )
    worst = found.space.worst[:100]
    names = [found.names[i] for i in worst]
    values = {
        "class": names if reveal else [mask_term(name) for name in names],
        "images": [found.images[i] for i in worst],
        "reasons": [", ".join(r for r, marked in zip(found.reasons, found.marked[i], strict=True) if marked) for i in worst],
    }
    columns = (Column("class", "term"), Column("images", "count"), Column("reasons", "label"))
    section.tables.append(Table.of("label_space", "Classes that a word list marks", values, columns))
    if len(worst):
        section.findings.append(
            Finding(
                "warning",
                f"{format_interval(found.space.classes)} of the classes carry a listed word; they hold "
                f"{found.space.images:,} images.",
                ("label_space.classes", "label_space.images"),
                ("label_space",),
                "Retire these classes; a picture should not be learned under such a name.",
            )
        )
    section.methods.append(f"Label space: {len(found.names):,} class names against word lists, on word boundaries.")
    return section


def find_section(
    matches: Matches,
    wanted: Sequence[Wanted],
    requests: Sequence[str],
    manifest: Artifact | None,
    unsearched: Mapping[int, str],
    *,
    rows: int,
) -> Section:
    """`requests` are the shown forms of the requests (values hashed unless revealed); counts per request, never contents.

    `unsearched` says of requests, by position, why they could not be searched for; they have no count.
    """
    section = Section()
    counts = [None if i in unsearched else int((matches.request == i).sum()) for i in range(len(wanted))]
    distinct = len({(int(s), int(r)) for s, r in zip(matches.shard, matches.row, strict=True)})
    section.estimates["find_me.rows"] = (
        exact_count(distinct, of=rows, method="exact search of all rows")
        if len(unsearched) < len(wanted)
        else undefined("no request could be searched for", unit="count")
    )
    values: dict[str, Any] = {"request": list(requests), "kind": [w.kind for w in wanted], "rows": counts}
    columns = (Column("request", "label"), Column("kind", "label"), Column("rows", "count", "rows found"))
    section.tables.append(Table.of("find_me", "Rows found for data subjects", values, columns))
    if manifest is not None:
        section.artifacts.append(manifest)
        section.findings.append(
            Finding(
                "warning",
                f"{distinct:,} rows match the requests of data subjects; the removal manifest lists them.",
                ("find_me.rows",),
                ("find_me",),
                "Remove these rows and check the next release against the manifest, by hash and by embedding.",
            )
        )
    section.notes += [f"find_me: {requests[i]} was not searched for: {reason}" for i, reason in unsearched.items()]
    section.methods.append(
        "Data subjects: exact URL, registered domain, name on word boundaries, content hash, near perceptual hash."
    )
    return section


MOST_LISTED = 100
"""Entries still there that the report lists; the artifact lists their rows."""


def removal_section(found: Removal, remaining: Artifact | None, *, rows: int, unread: int = 0) -> Section:
    """What of a removal manifest is left in the release; entries are named by the hash of their evidence.

    `rows` of the release were looked at; `unread` of its files could not be.
    """
    section = Section()
    total, unchecked = len(found.removed.sha256), len(found.removed.sha256) - len(found.checked)
    section.methods.append(
        "Removal check: every row against the manifest by content hash, address and near perceptual hash; the strongest "
        "evidence counts. Of pictures that are fetched again 5 to 15 % change their bytes, so a content hash alone misses them."
    )
    if unchecked:
        section.notes.append(
            f"removal_check: {unchecked:,} of {total:,} entries could not be looked for: the release does not have what they "
            "are known by"
        )
    if found.verification is None:
        lacking = "no entry could be looked for"
        section.estimates["removal.removed"] = undefined(lacking, unit="share")
        section.estimates["removal.drifted"] = undefined(lacking, unit="share")
        return section
    section.estimates["removal.removed"] = found.verification.removed
    section.estimates["removal.drifted"] = found.verification.drifted
    if "phash" not in found.kinds:
        section.notes.append(
            f"removal_check: looked for by {' and '.join(found.kinds)} alone; a picture that was fetched again under another "
            "address or with other bytes (5 to 15 % change) is missed: keep perceptual hashes in manifest and release"
        )
    for kind, known in zip(found.kinds, found.known, strict=True):
        if known < rows:
            section.notes.append(f"removal_check: {rows - known:,} of {rows:,} rows of the release have no {kind}")
    section.tables += _removal_tables(found)
    section.findings.append(_removal_finding(found, unread))
    if remaining is not None:
        section.artifacts.append(remaining)
        if not found.listed:
            section.notes.append(f"removal_check: {remaining.name} lists only the first rows of what stands in very many")
    return section


def _removal_finding(found: Removal, unread: int) -> Finding:
    assert found.verification is not None
    checked, there = len(found.checked), int((found.verification.found_by != "").sum())
    rests = (("removal.removed",), ("removal_check",))
    if not there:
        gone = f"None of the {checked:,} rows that were to be removed is found, by {', '.join(found.kinds)}"
        if unread:
            return Finding("note", f"{gone}, but {unread:,} files of the release could not be read.", *rests)
        return Finding("good", f"{gone}.", *rests)
    return Finding(
        "warning",
        f"{there:,} of {checked:,} rows that were to be removed are still in the release.",
        *rests,
        "Remove them (removal_remaining lists their rows), then check again; look for the cause in how the release was made.",
    )


def _removal_tables(found: Removal) -> list[Table]:
    assert found.verification is not None
    by = found.verification.found_by
    ways = [*found.kinds, "gone"]
    entries = [int((by == ("" if way == "gone" else way)).sum()) for way in ways]
    rows = [int(found.rows[by == way].sum()) if way != "gone" else 0 for way in ways]
    summary = Table.of(
        "removal_check",
        "Rows that were to be removed",
        {"found_by": ways, "entries": entries, "rows": rows},
        (Column("found_by", "label", "found by"), Column("entries", "count"), Column("rows", "count", "rows in the release")),
    )
    still = [i for i, way in enumerate(by) if way][:MOST_LISTED]
    if not still:
        return [summary]
    values = {
        "entry": [getattr(found.removed, by[i])[found.checked[i]] for i in still],
        "found_by": [str(by[i]) for i in still],
        "rows": [int(found.rows[i]) for i in still],
    }
    columns = (Column("entry", "id"), Column("found_by", "label", "found by"), Column("rows", "count", "rows in the release"))
    return [summary, Table.of("removal_remaining", "Still in the release", values, columns)]
