"""Nobody rated: what the prompts can tell all the same, and what they cannot."""

from __future__ import annotations

from assaymark.audits.image_offensiveness.config import TuningSettings
from assaymark.audits.image_offensiveness.method.evaluation import METRICS
from assaymark.models.prompt_files import PromptSet
from assaymark.result import Finding, undefined
from assaymark.section import Section

__all__ = ["no_ratings"]


def no_ratings(origin: str, prompts: PromptSet, config: TuningSettings, *, looked_at: bool) -> Section:
    """Without ratings: what these prompts can tell all the same, and what they cannot."""
    reason = "no rated images were given (input ratings)"
    section = Section()
    section.estimates |= {name: undefined(reason, unit="share") for name in (*METRICS, "spearman")}
    known = prompts.decision(config.threshold)
    if origin == "file" and known.sensitivity is not None:
        section.notes.append(f"{reason}: the error of the flags is the one that the prompt file brings from its tuning")
        return section
    if looked_at:
        section.notes.append(f"{reason}: how right these prompts are is known from the verdicts on the review queue alone")
        return section
    what = (
        "These prompts are words in a sentence, and were never compared with what people say"
        if origin == "words"
        else "These prompts come from a file that does not say how often they are right"
    )
    section.findings.append(
        Finding(
            "warning",
            f"Nobody rated: how often a flag is right, and how much is missed, has not been measured. {what}.",
            ("accuracy",),
            ("prompts",),
            "Take the order of the scores as a list of where to look first, and no share as an answer. Have some hundred "
            "images of this kind rated (input ratings), or the review queue looked at (input verdicts).",
        )
    )
    if origin == "words":
        section.methods.append(
            "Words as prompts lean to one of the two classes, by an amount that depends on encoder, sentence and data: the "
            "number of flags says little. In the paper such prompts were right in 70 to 80 % of the clear cases of one "
            "collection of photographs, tuned ones in 89 to 97 %; that is no measurement of this data set."
        )
    return section
