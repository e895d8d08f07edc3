"""The mixture as a folder of its own: its weights, its measured error, and the files of its members beside it."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

from assaymark.audits.scorer_mixture.measures.listing import write_disagreements, write_predictions
from assaymark.audits.scorer_mixture.report.use import error_rates
from assaymark.audits.scorer_mixture.study import Study
from assaymark.models.mixture_file import Member, Mixture
from assaymark.models.protocols import Decision
from assaymark.models.spec import parse_spec
from assaymark.result import Artifact
from assaymark.section import Section

__all__ = ["finished_mixture", "saved_section"]

MEMBER_FILES = "members"


def finished_mixture(study: Study) -> Mixture:
    """The mixture with the error that was measured on the test rows, and a summary of its fit."""
    fitting, config = study.fitting, study.config
    sensitivity, specificity = error_rates(study)
    mixture = fitting.main.mixture
    label = fitting.label[fitting.fit]
    fit = {
        "rows": int(fitting.fit.sum()) if study.rows.complete else fitting.moments.rows,
        "positives": int(label.sum()),
        "source": config.source,
        "threshold": config.threshold,
        "balanced": config.balanced,
        "seed": study.context.seed,
        "data": study.fingerprint,
    }
    measured = None
    if sensitivity[1] and specificity[1]:
        source = f"{len(study.label):,} test rows of the fit ({sensitivity[1]:,} unsafe)"
        measured = Decision(mixture.threshold, sensitivity, specificity, source)
    return replace(mixture, measured=measured, fit=fit)


def saved_section(study: Study) -> Section:
    """Write what the step hands on, where there is a folder for it."""
    section, folder = Section(), study.context.artifacts
    if folder is None:
        section.notes.append("no file was written: give a folder for the run to keep the mixture and the lists of rows")
        return section
    mixture = finished_mixture(study)
    reason = _not_usable(study, mixture)
    if reason:
        section.notes.append(f"the mixture was not saved: {reason}")
    else:
        home = folder / "mixture"
        members = tuple(_kept_member(member, home, study, section) for member in mixture.members)
        replace(mixture, members=members).save(home)
        what = "the mixture with the files of its members: its path is a model spec (mixture:FOLDER)"
        section.artifacts.append(Artifact("mixture", "model", "mixture", what))
    write_predictions(study, folder / "predictions.parquet")
    write_disagreements(study, folder / "disagreements.parquet", most=max(100, study.config.examples))
    thresholds = {name: judged.threshold for name, judged in study.judged.items()}
    (folder / "thresholds.json").write_text(json.dumps(thresholds, indent=1) + "\n", encoding="utf-8")
    section.artifacts += [
        Artifact(
            "predictions", "table", "predictions.parquet", "scores and verdict of each row, by hash and place", private=True
        ),
        Artifact("disagreements", "table", "disagreements.parquet", "where the scorers disagree most", private=True),
        Artifact("thresholds", "data", "thresholds.json", "threshold of every way of combining, chosen on the fitting rows"),
    ]
    return section


def _not_usable(study: Study, mixture: Mixture) -> str:
    """Why a saved mixture could not be opened as a model, if so."""
    if study.rows.classes:
        return "its scorers are sums over class columns, which no model spec can name"
    specs = [bool(member.spec) for member in mixture.members]
    if any(specs) and not all(specs):
        columns = ", ".join(member.name for member in mixture.members if not member.spec)
        return f"{columns} are columns and the others models, which cannot be asked together; fit it on models alone"
    return ""


def _kept_member(member: Member, home: Path, study: Study, section: Section) -> Member:
    """The member with its file copied beside the mixture, or with an absolute path where it is a folder."""
    if not member.spec:
        return member
    spec = parse_spec(member.spec, base=study.context.base)
    path = spec.path()
    if spec.scheme in ("py", "fake", "column", "openclip", "timm") or not path.exists():
        return member
    if not path.is_file():
        section.notes.append(f"member {member.name} is the folder {path.name}, which is not copied: keep it where it is")
        return replace(member, spec=spec.absolute())
    inside = home / MEMBER_FILES / f"{_safe_name(member.name)}{path.suffix}"
    inside.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(path, inside)
    sidecar = path.with_suffix(".json")
    if spec.scheme in ("onnx", "nudenet") and sidecar.is_file():
        shutil.copyfile(sidecar, inside.with_suffix(".json"))
    # options may name further models by a relative path: those stay where they are
    _, mark, options = spec.absolute().partition("?")
    return replace(member, spec=f"{spec.scheme}:{MEMBER_FILES}/{inside.name}{mark}{options}")


def _safe_name(name: str) -> str:
    return "".join(c if c.isalnum() or c in "-_" else "_" for c in name) or "member"
