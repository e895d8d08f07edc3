"""How well prompts and their rivals agree with people: on images that neither was fitted to."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.audit import Context
from assaymark.audits.image_offensiveness.config import TuningSettings
from assaymark.audits.image_offensiveness.measures.baselines import BASELINES, BaselineCurve, baseline_curve
from assaymark.audits.image_offensiveness.measures.cross_tuning import (
    ErrorCounts,
    calibrated_log_odds,
    cross_tuned,
    error_counts,
)
from assaymark.audits.image_offensiveness.measures.prompts import Start, rank_on_ratings, tuning_setting
from assaymark.audits.image_offensiveness.measures.rated import RatedImages, labelled_only
from assaymark.audits.image_offensiveness.method.evaluation import (
    Agreement,
    Confusion,
    agreement_with_ratings,
    confusion,
    score_metrics,
)
from assaymark.audits.image_offensiveness.method.label_efficiency import LabelEfficiency, label_efficiency
from assaymark.audits.image_offensiveness.method.moral_direction import MoralDirection, moral_direction
from assaymark.audits.image_offensiveness.method.ranking import RankedPrompt
from assaymark.audits.image_offensiveness.method.scoring import log_odds, probability, prompt_direction
from assaymark.models.prompt_files import PromptSet
from assaymark.result import Estimate
from assaymark.stats import Platt, expected_calibration_error

__all__ = ["Evaluation", "evaluate", "labelled_log_odds"]


class Evaluation(NamedTuple):
    """Figures on rated images.

    Attributes
    ----------
    curve : LabelEfficiency or None: prompts tuned on growing parts
    figures : dict of Estimate: of the prompts in use, on images that did not tune them
    zero_shot : dict of Estimate: of the prompts before tuning, on all labelled images; empty where there are none
    fitted : bool: the prompts in use were tuned on these very ratings, so `figures` are means over splits
    errors : ErrorCounts or None: at the threshold, on images that did not tune the prompts
    confusion : Confusion or None, at a score of 0.5, on the same images
    agreement : Agreement or None: with all ratings, the neutral band included
    held, before : float64 array or None, shape (n_labelled,): log-odds of the labelled images by prompts that did not see them,
        and by the start of the tuning
    by_population : (who rated, images on which the prompts agree with them, images)
    platt, uncalibrated, calibrated : what makes probabilities of log-odds, and the calibration error before it and after it,
        on the same held-out images
    """

    curve: LabelEfficiency | None
    figures: dict[str, Estimate]
    zero_shot: dict[str, Estimate]
    fitted: bool
    errors: ErrorCounts | None
    confusion: Confusion | None
    agreement: Agreement | None
    baselines: tuple[BaselineCurve, ...]
    ranked: tuple[RankedPrompt, ...]
    direction: MoralDirection | None
    notes: tuple[str, ...]
    held: npt.NDArray[np.float64] | None = None
    before: npt.NDArray[np.float64] | None = None
    by_population: tuple[tuple[str, int, int], ...] = ()
    platt: Platt | None = None
    uncalibrated: Estimate | None = None
    calibrated: Estimate | None = None


def labelled_log_odds(vectors: npt.NDArray[np.float32], prompts: npt.NDArray[Any], scale: float) -> npt.NDArray[np.float64]:
    """Log-odds of unit rows by two prompts."""
    return np.asarray(log_odds(vectors, prompt_direction(prompts, logit_scale=scale)).log_odds, dtype=np.float64)


def evaluate(
    rated: RatedImages,
    prompts: PromptSet,
    start: Start,
    config: TuningSettings,
    context: Context,
    *,
    fitted: bool,
    encoder: Any = None,
    features: dict[str, npt.NDArray[np.float32]] | None = None,
) -> Evaluation:
    """Everything that ratings can say.

    Parameters
    ----------
    fitted : bool
        The prompts in use were tuned on these ratings: their figures then come from splits and folds, not from themselves.
    features : dict of float32 array, shape (n, other d)
        The rated images (all rows of `rated`) in the spaces of other encoders.
    """
    vectors, y, groups = labelled_only(rated)
    if not rated.trainable:
        note = (
            f"the ratings hold {rated.labels.offensive} offensive and {rated.labels.inoffensive} inoffensive images: too few "
            "to measure anything"
        )
        return Evaluation(None, {}, {}, fitted, None, None, None, (), (), None, (note,))
    notes: list[str] = []
    if not start.decides:
        notes.append(
            "no words were embedded and no prompts given, so tuning starts from the mean embedding, which decides nothing"
        )
    setting = tuning_setting(config)
    # a start that knows nothing decides nothing: its curve has no zero
    fractions = tuple(share for share in sorted({*config.fractions, 0.0, 1.0}) if share > 0 or start.decides)
    curve: LabelEfficiency | None = None
    try:
        with context.progress.task("tuning on growing parts", 1, "curves") as task:
            curve = label_efficiency(
                vectors, y, start.prompts, fractions=fractions, splits=config.splits, test=config.test_share, groups=groups,
                setting=setting, logit_scale=start.logit_scale, confidence=config.confidence, rng=context.rng("splits"),
            )  # fmt: skip
            task.advance(1)
    except ValueError as error:  # near duplicates of one class can make every split impossible
        notes.append(f"label-efficiency curve: {error}")
    held = _held_out(vectors, y, groups, prompts, start, config, context, fitted=fitted)
    options: dict[str, Any] = {"rng": context.rng("metrics"), "resamples": config.resamples, "confidence": config.confidence}
    once = {} if held is None else score_metrics(held, y, **options)
    figures = once if not fitted else _over_splits(curve, once)
    before = labelled_log_odds(vectors, start.prompts, start.logit_scale)
    zero_shot = score_metrics(before, y, **options) if start.decides else {}
    ready = None if held is None else calibrated_log_odds(held, y, groups, rng=context.rng("calibration"))
    left = None if ready is None else expected_calibration_error(probability(ready.held_out), y, **options)
    if held is None:
        notes.append("the rated images cannot be divided into folds that keep near duplicates together")
    return Evaluation(
        curve,
        figures,
        zero_shot,
        fitted,
        None if held is None else error_counts(held, y, threshold=config.threshold),
        None if held is None else confusion(held, y, confidence=config.confidence),
        _agreement(rated, held, prompts, config),
        _baselines(rated, curve, fractions, features or {}, config, context),
        rank_on_ratings(rated, config, encoder),
        _direction(rated, config, context),
        tuple(notes),
        held,
        before,
        _by_population(rated, held),
        None if ready is None else ready.platt,
        once.get("ece"),
        left,
    )


def _by_population(rated: RatedImages, held: npt.NDArray[np.float64] | None) -> tuple[tuple[str, int, int], ...]:
    """(who rated, images on which the prompts agree with them, images) where the ratings say who rated."""
    if rated.populations is None or held is None:
        return ()
    names = np.asarray(rated.populations, dtype=object)[rated.labels.rows]
    right = (held > 0) == rated.labels.y
    return tuple(
        (str(name), int(right[names == name].sum()), int((names == name).sum())) for name in sorted(set(names.tolist())) if name
    )


def _over_splits(curve: LabelEfficiency | None, once: dict[str, Estimate]) -> dict[str, Estimate]:
    """Means over splits; where all splits agree, which gives no interval, the figure of all images held out once."""
    if curve is None:
        return once
    chosen = {}
    for name, summary in curve.summaries[-1].items():
        agree = float(np.ptp(summary.values)) < 1e-9
        chosen[name] = once[name] if name in once and (agree or not summary.estimate.defined) else summary.estimate
    return chosen


def _held_out(
    vectors: npt.NDArray[np.float32], y: Any, groups: Any, prompts: PromptSet, start: Start, config: TuningSettings,
    context: Context, *, fitted: bool,
) -> npt.NDArray[np.float64] | None:  # fmt: skip
    """Log-odds of the labelled images from prompts that did not see them."""
    if not fitted:
        return labelled_log_odds(vectors, prompts.prompts, prompts.logit_scale)
    return cross_tuned(
        vectors, y, groups, start, setting=tuning_setting(config), test_share=config.test_share, rng=context.rng("folds")
    )


def _agreement(
    rated: RatedImages, held: npt.NDArray[np.float64] | None, prompts: PromptSet, config: TuningSettings
) -> Agreement | None:
    if held is None:
        return None
    scores = labelled_log_odds(rated.vectors, prompts.prompts, prompts.logit_scale)  # neutral images tuned nothing
    scores[rated.labels.rows] = held
    return agreement_with_ratings(
        scores, rated.ratings, low=config.low, high=config.high, scale=config.scale, confidence=config.confidence
    )


def _baselines(
    rated: RatedImages, curve: LabelEfficiency | None, fractions: tuple[float, ...],
    features: dict[str, npt.NDArray[np.float32]], config: TuningSettings, context: Context,
) -> tuple[BaselineCurve, ...]:  # fmt: skip
    if curve is None:
        return ()
    rows, y = rated.labels.rows, rated.labels.y
    wanted = [(method, "encoder", rated.vectors[rows]) for method in BASELINES]
    wanted += [("linear probe", name, vectors[rows]) for name, vectors in features.items()]
    curves = []
    with context.progress.task("baselines", len(wanted), "methods") as task:
        for method, space, vectors in wanted:
            # the whole curve for linear probes, as in the paper; the ends for the others
            shares = fractions if method == "linear probe" else tuple(s for s in fractions if s in (0.1, 1.0))
            curves.append(
                baseline_curve(
                    method,
                    space,
                    vectors,
                    y,
                    curve.splits,
                    fractions=shares,
                    test_share=config.test_share,
                    confidence=config.confidence,
                    rng=context.rng(f"baseline {method} {space}"),
                )
            )
            task.advance(1)
    return tuple(curves)


def _direction(rated: RatedImages, config: TuningSettings, context: Context) -> MoralDirection | None:
    known = np.flatnonzero(np.isfinite(rated.ratings))
    if len(np.unique(rated.groups[known])) < 10 or rated.vectors.shape[1] < 2:
        return None
    return moral_direction(
        rated.vectors[known], rated.ratings[known], groups=rated.groups[known], rng=context.rng("direction"),
        resamples=config.resamples, confidence=config.confidence,
    )  # fmt: skip
