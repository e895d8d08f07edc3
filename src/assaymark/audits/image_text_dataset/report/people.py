"""Faces, class labels and data subjects, as tables, figures and findings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from assaymark.audits.image_text_dataset.config import ImageTextDatasetConfig
from assaymark.audits.image_text_dataset.measures.faces import Faces
from assaymark.audits.image_text_dataset.measures.label_space import Labels
from assaymark.audits.image_text_dataset.probes.find_me import Matches, Wanted
from assaymark.report.redaction import mask_term
from assaymark.result import Artifact, Column, Figure, Finding, Table, format_interval, undefined
from assaymark.section import Section, exact_count, interval_columns, interval_values

__all__ = ["faces_section", "find_section", "labels_section"]


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
