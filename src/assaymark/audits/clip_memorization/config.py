"""Settings of `clip-memorization` and of its cure. Every default is the paper's choice where it is known, or ours as said.

[1] is arXiv 2502.07830 (ICLR 2025); what is marked "from memory" could not be checked in a public source.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from assaymark.config import AuditConfig

__all__ = ["ClipMemorizationConfig", "ScoringSettings"]

Share = Annotated[float, Field(ge=0, le=1)]


def _with_a_gap(template: str) -> str:
    if template.count("{}") != 1:
        raise ValueError("must hold {} once, where the name of the class goes")
    return template


Template = Annotated[str, AfterValidator(_with_a_gap)]


class ScoringSettings(AuditConfig):
    """What is scored and how; shared by the audit and its cure."""

    # -- pairs --------------------------------------------------------------------------------------------------------------
    set_column: str = Field("set", description="column with sets: S shared, C candidate, I independent, E external")
    captions_column: str = Field("captions", description="column with the list of captions of a picture, where there is one")
    wrong_column: str = Field("wrong", description="column that flags captions known to be wrong (planted or found by people)")
    points: int = Field(5_000, ge=2, description="candidates scored, drawn by a hash of their id ([1]: 5,000, all of them)")
    others: int = Field(1_000, ge=2, description="pairs scored of each of the other sets; ours")
    test_items: int = Field(1_000, ge=2, description="held-out pairs behind the two mean terms, N; ours")
    test_share: Share = Field(0.5, description="share of the external pairs held out where no input test is given")

    # -- views --------------------------------------------------------------------------------------------------------------
    views: int = Field(10, ge=1, description="augmented views of each pair, K; ours (the companion code takes 5 to 10)")
    augmentation: str = Field(
        "clip", description="augmentation of pictures: clip (that of OpenCLIP's training), simclr, unitmem, shift, none"
    )
    text_views: Literal["captions", "first", "paraphrases"] = Field(
        "captions", description="views of the text: draws among the captions of a pair, its first one, or wordings of that"
    )
    paraphrases: int = Field(4, ge=1, description="wordings of a caption where it is paraphrased")

    # -- scores -------------------------------------------------------------------------------------------------------------
    normalisation: Literal["range", "official_range", "bound", "none"] = Field(
        "range",
        description="how scores are shown: by the largest |raw| (as in the paper), by the candidates' range (as in the code "
        "beside its predecessor), by the theoretical bound 6, or raw; raw scores are always kept",
    )
    offset_limit: Share = Field(0.25, description="common offset that is warned of, as a share of the candidates' mean")
    remembers: float = Field(0.05, ge=0, description="calibrated mean of the candidates above which a model remembers")
    resamples: int = Field(1_000, ge=100, description="bootstrap resamples")
    confidence: float = Field(0.95, gt=0.5, lt=1, description="level of every interval")

    # -- what the model is good for ----------------------------------------------------------------------------------------
    templates: tuple[Template, ...] = Field(
        ("a photo of a {}.",), min_length=1, description="prompts of zero-shot classification; their mean stands for a class"
    )
    retrieval: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        (1, 5, 10), min_length=1, description="depths of retrieval on the held-out pairs"
    )


class ClipMemorizationConfig(ScoringSettings):
    """The audit of one model against a reference."""

    towers: bool = Field(True, description="also measure each tower by itself, and with the other one exchanged (experimental)")
    listed: int = Field(20, ge=1, le=500, description="most and least remembered pairs that are listed")
    contact_sheet: bool = Field(True, description="show blurred, grey pictures of these; rows that may concern a minor never")
    depth: int = Field(0, ge=0, description="pairs looked at for wrong captions; 0: as many as are known to be wrong")
    neighbours: int = Field(10, ge=1, description="public pictures whose labels a caption is asked for (deja vu)")
    check_captions: int = Field(1_000, ge=0, description="longest captions that are tested for being cut by the context")
    embedded_views: int = Field(1, ge=1, description="views in each row of the input embeddings")
