"""In which layers: LayerMem and Delta-LayerMem, the most and least memorized pictures, kinds of layers, agreement of layers."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.audits.encoder_memorization.method.consistency import adjacent_agreement
from assaymark.audits.encoder_memorization.method.layer_scores import NORMS, layer_memorization
from assaymark.audits.encoder_memorization.study import Study
from assaymark.result import Column, Estimate, Figure, Finding, Table, format_interval, undefined
from assaymark.section import Section, interval_columns, interval_values
from assaymark.stats import bootstrap_difference, bootstrap_mean, percentile_estimate, spearman, wilson
from assaymark.stats.bootstrap_weights import resampled_sums
from assaymark.stats.memorization.four_sets import SETS
from assaymark.stats.memorization.normalisation import normalisation_scale
from assaymark.stats.memorization.scores import DISTANCE_BOUND, extremes

__all__ = ["layer_section"]

Floats = npt.NDArray[np.float64]

SCALES = {
    "range": "divided by the range of the layer",
    "bound": "divided by 2, the largest distance there is",
    "minmax01": "smallest 0, largest 1",
    "none": "raw",
}


class _Profile(NamedTuple):
    layermem: list[Estimate]
    delta: list[Estimate]


class _Means(NamedTuple):
    """Mean raw score of each layer, shape (layers,), points behind it, and the means on resamples, (resamples, layers)."""

    point: Floats
    n: npt.NDArray[np.int64]
    draws: Floats


def _means(scores: Floats, *, rng: np.random.Generator, resamples: int) -> _Means:
    """One set of resamples of the points for all layers; `scores` has shape (layers, points)."""
    known = np.isfinite(scores)
    n = known.sum(axis=1)
    columns = np.concatenate([np.where(known, scores, 0.0), known.astype(float)]).T
    sums = resampled_sums(columns, rng=rng, resamples=resamples)
    with np.errstate(invalid="ignore", divide="ignore"):
        point = np.where(known, scores, 0.0).sum(axis=1) / n
        return _Means(point, n, sums[:, : len(n)] / sums[:, len(n) :])


def _calibrated(study: Study) -> list[Estimate]:
    """LayerMem (bound) minus the same mean over external points."""
    config = study.config
    external = study.raw[:, (study.points.sets == SETS.index("E")) & study.points.scored]
    own = study.candidate_scores
    if min(own.shape[1], external.shape[1]) < 2:
        return [undefined("there are fewer than 2 candidates or external pictures") for _ in study.layers]
    means = [
        _means(values / DISTANCE_BOUND, rng=study.rng(f"calibrated {name}"), resamples=config.resamples)
        for name, values in (("own", own), ("external", external))
    ]
    draws = means[0].draws - means[1].draws
    return [
        percentile_estimate(
            float(means[0].point[k] - means[1].point[k]), draws[:, k], n=int(means[0].n[k] + means[1].n[k]),
            confidence=config.confidence,
        )
        for k in range(len(study.layers))
    ]  # fmt: skip


def layer_section(study: Study) -> Section:
    """Nothing where there is no reference; undefined estimates where there are no candidates."""
    section = Section()
    if not study.paired:
        return section
    profile = _profile(study)
    names = [layer.name for layer in study.layers]
    section.estimates |= {f"layermem.{name}": found for name, found in zip(names, profile.layermem, strict=True)}
    calibrated = _calibrated(study)
    section.estimates |= {f"layermem_calibrated.{name}": found for name, found in zip(names, calibrated, strict=True)}
    section.estimates["layermem.depth_trend"] = _trend(profile.layermem, study)
    section.estimates |= _kinds(study)
    if study.of_set("E").size:
        section.estimates |= _calibrated_contrast(study)
    section.tables += [_table(study, profile, calibrated), _consistency(study)]
    if any(found.defined for found in calibrated):
        section.figures.append(
            Figure(
                "layermem_calibrated", "Beyond external pictures, by depth", "intervals", table="layers", x="layer",
                y="calibrated", low="calibrated_low", high="calibrated_high",
                y_title="LayerMem, divided by 2, minus external pictures",
                caption="Right of zero a layer tells pictures that only the encoder saw from those that neither did.",
            )
        )  # fmt: skip
    section.figures += [
        Figure(
            "layermem", "LayerMem by depth", "intervals", table="layers", x="layer", y="layermem", low="layermem_low",
            high="layermem_high", y_title=f"LayerMem, {SCALES[study.config.norm]}",
        ),
        Figure(
            "delta", "What each layer adds", "intervals", table="layers", x="layer", y="delta", low="delta_low",
            high="delta_high", y_title="Delta-LayerMem", caption="The first layer has nothing before it.",
        ),
    ]  # fmt: skip
    section.findings += _findings(study, profile, calibrated)
    section.methods.append(
        f"LayerMem is the mean SSLMem of the candidates at a layer, {SCALES[study.config.norm]}; Delta is what it has more "
        "than the layer before. Layers differ in width and sparsity, so the table has the scales side by side. The scale of a "
        "layer is taken as known in its interval. Calibrated: divided by 2, minus the same mean over external pictures, since "
        "two trainings differ at every layer by something that has nothing to do with who was left out."
    )
    return section


def _profile(study: Study) -> _Profile:
    """Means and differences with intervals from one set of resamples for all layers."""
    scores, config = study.candidate_scores, study.config
    n = np.isfinite(scores).sum(axis=1)
    lack = "fewer than 2 candidates have a score"
    if scores.shape[1] < 2 or not (n > 1).any():
        lost = [undefined(lack, n=int(count)) for count in n]
        return _Profile(lost, list(lost))
    scale = np.array([normalisation_scale(row, by=NORMS[config.norm], bound=DISTANCE_BOUND) for row in scores])  # (layers, 2)
    mean = _means(scores, rng=study.rng("layers"), resamples=config.resamples).draws
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = (mean - scale[:, 0]) / scale[:, 1]
    point = layer_memorization(study.scores(config.norm))
    same = "all candidates have one score, so it has no range"
    layermem = [
        undefined(lack, n=int(n[k]))
        if n[k] < 2
        else undefined(same, n=int(n[k]))
        if np.isnan(scale[k, 1])
        else percentile_estimate(float(point.layermem[k]), mean[:, k], n=int(n[k]), confidence=config.confidence)
        for k in range(len(n))
    ]
    delta = [undefined("nothing comes before the first layer", n=int(n[0]))]
    for k in range(1, len(n)):
        both = layermem[k - 1].defined and layermem[k].defined
        delta.append(
            percentile_estimate(float(point.delta[k]), mean[:, k] - mean[:, k - 1], n=int(n[k]), confidence=config.confidence)
            if both
            else undefined("it or the layer before has no LayerMem", n=int(n[k]))
        )
    return _Profile(layermem, delta)


def _trend(layermem: list[Estimate], study: Study) -> Estimate:
    """Does it grow with depth? Rank correlation of LayerMem with the place of the layer."""
    known = [(place, found.value) for place, found in enumerate(layermem) if found.value is not None]
    return spearman([p for p, _ in known], [value for _, value in known], confidence=study.config.confidence)


def _kinds(study: Study) -> dict[str, Estimate]:
    """Mean LayerMem (bound) over the layers of a kind, and of fully connected minus attention: over pictures."""
    scores = study.scores("bound")
    kinds: dict[str, Floats] = {}
    for kind in dict.fromkeys(layer.kind for layer in study.layers):
        rows = scores[[layer.kind == kind and not layer.name.endswith(".hidden") for layer in study.layers]]
        kinds[kind] = rows[:, np.isfinite(rows).all(axis=0)].mean(axis=0) if rows.size else np.zeros(0)
    if len(kinds.get("attention", ())) == len(kinds.get("mlp", ())) > 0:
        kinds["mlp_minus_attention"] = kinds["mlp"] - kinds["attention"]
    return {
        f"layermem.kind.{kind}": bootstrap_mean(
            values, rng=study.rng(f"kind {kind}"), resamples=study.config.resamples, confidence=study.config.confidence
        )
        for kind, values in kinds.items()
    }


def _calibrated_contrast(study: Study) -> dict[str, Estimate]:
    """Fully connected minus attention, of candidates minus external pictures: what two trainings differ by is the same."""
    kinds = np.array([layer.kind if not layer.name.endswith(".hidden") else "" for layer in study.layers])
    if not {"attention", "mlp"} <= set(kinds):
        return {}
    mlp, attention = (study.raw[kinds == kind].mean(axis=0) for kind in ("mlp", "attention"))
    contrast = (mlp - attention) / DISTANCE_BOUND
    own, external = (
        contrast[(study.points.sets == SETS.index(letter)) & study.points.scored & np.isfinite(contrast)] for letter in "CE"
    )
    if min(len(own), len(external)) < 2:
        return {}
    found = bootstrap_difference(
        own, external, rng=study.rng("kinds, calibrated"), resamples=study.config.resamples, confidence=study.config.confidence
    )
    return {"layermem_calibrated.kind.mlp_minus_attention": found}


def _table(study: Study, profile: _Profile, calibrated: list[Estimate]) -> Table:
    config, layers = study.config, study.layers
    groups = extremes(study.candidate_scores[-1], size=config.group_size)
    scores = study.scores(config.norm)
    means = {norm: layer_memorization(study.scores(norm)) for norm in ("none", "bound", "range")}
    most, least = (layer_memorization(scores[:, rows]) for rows in (groups.most, groups.least))
    spread = sum(s[:, study.candidates] for s in study.measured.spread.values())
    values = {
        "layer": [layer.name for layer in layers],
        "kind": [layer.kind for layer in layers],
        "block": [layer.block for layer in layers],
        "d": [int(np.prod(layer.shape)) for layer in layers],
        **interval_values("layermem", profile.layermem),
        **interval_values("delta", profile.delta),
        "top": _nullable(most.layermem),
        "delta_top": _nullable(most.delta),
        "least": _nullable(least.layermem),
        **interval_values("calibrated", calibrated),
        "n": [found.n for found in profile.layermem],
        "se": _nullable(means["none"].error),
        "view_error": _nullable(_view_error(np.asarray(spread), config.n_views)),
        "raw": _nullable(means["none"].layermem),
        "bound": _nullable(means["bound"].layermem),
        "range": _nullable(means["range"].layermem),
    }
    columns = (
        Column("layer", "label"),
        Column("kind", "label"),
        Column("block", "count"),
        Column("d", "count", "width"),
        *interval_columns("layermem", "number", "LayerMem"),
        *interval_columns("delta", "number", "Delta"),
        Column("top", "number", f"top {len(groups.most)}"),
        Column("delta_top", "number", f"Delta of top {len(groups.most)}"),
        Column("least", "number", f"least {len(groups.least)}"),
        *interval_columns("calibrated", "number", "calibrated"),
        Column("n", "count", "candidates"),
        Column("se", "number", "standard error, raw"),
        Column("view_error", "number", "error of one picture by views, raw"),
        Column("raw", "number"),
        Column("bound", "number", "by bound"),
        Column("range", "number", "by range"),
    )
    return Table.of(
        "layers", "LayerMem", values, columns,
        description=f"LayerMem and Delta are {SCALES[config.norm]}. Top and least: the pictures most and least memorized "
        "by the representation.",
    )  # fmt: skip


def _view_error(spread: Floats, views: int) -> Floats:
    """Standard error of the score of one picture that comes from the number of views: root of its mean square."""
    known = np.isfinite(spread)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.sqrt(np.where(known, spread, 0.0).sum(axis=1) / known.sum(axis=1) / max(views - 1, 1)))


def _nullable(values: Floats) -> list[float | None]:
    return [None if np.isnan(value) else float(value) for value in values]


def _consistency(study: Study) -> Table:
    found = adjacent_agreement(study.candidate_scores, top=study.config.overlap)
    names = [layer.name for layer in study.layers]
    shares = [wilson(item.shared, item.top, confidence=study.config.confidence) for item in found]
    values = {
        "first": [names[item.first] for item in found],
        "second": [names[item.second] for item in found],
        "top": [item.top for item in found],
        "shared": [item.shared for item in found],
        **interval_values("overlap", shares),
        "tau": _nullable(np.array([item.tau for item in found])),
        "p_value": _nullable(np.array([item.p_value for item in found])),
    }
    columns = (
        Column("first", "label", "layer"),
        Column("second", "label", "and layer"),
        Column("top", "count", "most memorized"),
        Column("shared", "count", "in both"),
        *interval_columns("overlap", "share", "overlap"),
        Column("tau", "number", "Kendall's tau"),
        Column("p_value", "p_value", "p"),
    )
    return Table.of(
        "consistency", "Do layers remember the same pictures?", values, columns,
        description="Each layer and the next, and the first and the last.",
    )  # fmt: skip


def _findings(study: Study, profile: _Profile, calibrated: list[Estimate]) -> list[Finding]:
    known = [place for place, found in enumerate(profile.layermem) if found.defined]
    if not known:
        return []
    names = [layer.name for layer in study.layers]
    steps = [place for place, found in enumerate(profile.delta) if found.defined]
    beyond = [place for place, found in enumerate(calibrated) if found.low is not None and found.low > 0]
    told = [place for place, found in enumerate(calibrated) if found.defined]
    if told and not beyond:
        largest = max(told, key=lambda place: calibrated[place].value or 0.0)
        sentence = (
            f"In none of {len(names)} layers are candidates told from external pictures; '{names[largest]}' comes nearest, "
            f"with {_shown(calibrated[largest])}. LayerMem alone shows how two trainings differ, not what is remembered."
        )
        return [Finding("note", sentence, (f"layermem_calibrated.{names[largest]}",), ("layers",))]
    ranked = calibrated if beyond else profile.layermem
    most = max(beyond or known, key=lambda place: ranked[place].value or 0.0)
    sentence = f"Of {len(names)} layers '{names[most]}' remembers the candidates most, "
    sentence += f"{_shown(ranked[most])} more than external pictures" if beyond else f"with LayerMem {_shown(ranked[most])}"
    if steps:
        step = max(steps, key=lambda place: profile.delta[place].value or 0.0)
        sentence += f"; '{names[step]}' adds most to the layer before it, {_shown(profile.delta[step])}"
    if beyond:
        sentence += f"; {len(beyond)} layers tell candidates from external pictures"
    advice = (
        "Fine-tune the layers that add most rather than the last ones: assaymark mitigate encoder-memorization, "
        "method=finetune, says whether that pays here."
    )
    named = f"layermem_calibrated.{names[most]}" if beyond else f"layermem.{names[most]}"
    return [Finding("note", f"{sentence}.", (named,), ("layers",), advice if beyond else "")]


def _shown(found: Estimate) -> str:
    return format_interval(found)
