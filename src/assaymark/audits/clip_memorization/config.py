"""Settings of `clip-memorization` and of its cure. Every default is the paper's choice where it is known, or ours as said.

[1] is arXiv 2502.07830 (ICLR 2025); what is marked "from memory" could not be checked in a public source.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from assaymark.config import AuditConfig

__all__ = ["RECIPES", "ClipMemorizationConfig", "MitigationConfig", "ScoringSettings", "TrainingSettings"]

RECIPES = (
    "captions", "images", "captions+images", "text-noise", "token-masking", "early-stopping", "weight-decay", "temperature",
    "remove", "recaption",
)  # fmt: skip
"""Ways to train with less memorization: M1, M2, both, M3, M6 (four of them), M4 and M5."""

Share = Annotated[float, Field(ge=0, le=1)]


def _with_a_gap(template: str) -> str:
    if template.count("{}") != 1:
        raise ValueError("must hold {} once, where the name of the class goes")
    return template


def _none_or_two(models: int) -> int:
    if models == 1:
        raise ValueError("must be 0 (none) or at least 2: one model has nothing to be compared with")
    return models


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

    find_copies: bool = Field(
        True, description="read all pictures once, to leave out pairs whose very picture is in another set"
    )

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


class TrainingSettings(ScoringSettings):
    """How the room trains a pair of models where none is given: small towers, for data of some thousand pairs."""

    sizes: tuple[Share, Share, Share, Share] = Field(
        (0.7, 0.1, 0.1, 0.1), description="shares of S, C, I and E where the pairs have no sets ([1]: 65, 5, 5 and 5 thousand)"
    )
    side: int = Field(32, ge=8, le=512, description="pixels of a side that pictures are cut and resized to")
    patch: int = Field(8, ge=1, description="pixels of a side of a patch of the image tower")
    hidden: int = Field(64, ge=8, description="width of both towers ([1]: ViT-Base, 768)")
    layers: int = Field(2, ge=1, description="blocks of both towers ([1]: 12)")
    heads: int = Field(4, ge=1, description="attention heads of a block")
    dimension: int = Field(32, ge=2, description="dimensions of the common space ([1]: 512)")
    text_length: int = Field(24, ge=4, description="tokens of a caption that are read; the rest is cut ([1]: 77)")
    epochs: int = Field(100, ge=1, description="passes over the pairs ([1]: 100 on COCO, from memory)")
    batch: int = Field(128, ge=2, description="pairs of a step ([1]: 128 on COCO, from memory)")
    lr: float = Field(1e-3, gt=0, description="largest learning rate (OpenCLIP: 5e-4, for large towers)")
    weight_decay: float = Field(0.2, ge=0, description="of AdamW (OpenCLIP)")
    captions: Literal["one", "round-robin", "random"] = Field(
        "one", description="caption of a picture that a step sees: the first, the next one in each epoch, or any"
    )
    most_trained: int = Field(20_000, ge=8, description="pairs above which nothing is trained here: give models instead")


class ClipMemorizationConfig(TrainingSettings):
    """The audit of one model against a reference."""

    towers: bool = Field(True, description="also measure each tower by itself, and with the other one exchanged (experimental)")
    subsampled: Annotated[int, AfterValidator(_none_or_two)] = Field(
        0,
        ge=0,
        description="models trained here on random halves, which score every pair with an error; 8 or more are advised",
    )
    units: bool = Field(True, description="also measure UnitMem of the layers of both towers, where the model shows them")
    unit_layers: tuple[str, ...] = Field(
        ("all",), min_length=1, description="layers that UnitMem is measured of: names, patterns of names, or kinds (mlp, ...)"
    )
    unit_pairs: int = Field(1_000, ge=2, description="pairs of the training set that units are compared on; ours")
    rectify: Literal["relu", "abs", "none"] = Field(
        "relu", description="what makes activations of units without a ReLU >= 0, as UnitMem needs them"
    )
    listed: int = Field(20, ge=1, le=500, description="most and least remembered pairs that are listed")
    contact_sheet: bool = Field(True, description="show blurred, grey pictures of these; rows that may concern a minor never")
    depth: int = Field(0, ge=0, description="pairs looked at for wrong captions; 0: as many as are known to be wrong")
    neighbours: int = Field(10, ge=1, description="public pictures whose labels a caption is asked for (deja vu)")
    check_captions: int = Field(1_000, ge=0, description="longest captions that are tested for being cut by the context")
    embedded_views: int = Field(1, ge=1, description="views in each row of the input embeddings")


class MitigationConfig(TrainingSettings):
    """Which trainings are compared with the plain one."""

    recipes: tuple[
        Literal[
            "captions", "images", "captions+images", "text-noise", "token-masking", "early-stopping", "weight-decay",
            "temperature", "remove", "recaption",
        ],
        ...,
    ] = Field(
        ("captions", "text-noise", "remove"), min_length=1,
        description="M1 captions, M2 images, both, M3 text-noise, M6 token-masking and the like, M4 remove, M5 recaption",
    )  # fmt: skip
    seeds: int = Field(3, ge=1, description="trainings of each kind; intervals of what they change need two at least")
    variants: int = Field(
        5, ge=2, description="pictures of a caption under M2 ([1]: 5 from a diffusion model; here changed ones)"
    )
    noise: tuple[Annotated[float, Field(gt=0)], ...] = Field(
        (0.05, 0.15, 0.3), min_length=1,
        description="sigmas of text noise ([1], from memory: 0.01 to 1, 0.15 best); they do not carry over to other widths",
    )  # fmt: skip
    masking: float = Field(0.15, gt=0, lt=1, description="share of tokens that are masked")
    patience: int = Field(5, ge=1, description="epochs without a better held-back loss after which training stops")
    strong_decay: float = Field(1.0, gt=0, description="weight decay in place of the plain one")
    temperature: float = Field(0.2, gt=0, description="fixed temperature in place of the learnt one")
    removed: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        (25, 100),
        min_length=1,
        description="candidates that M4 takes out, by score, at random and by low similarity",
    )
    recaptioned: int = Field(25, ge=1, description="candidates that M5 gives another caption: their second, else a paraphrase")
    tolerated: Share = Field(0.0, description="loss of utility up to which a training counts as not worse")
    utility: Literal["auto", "zero_shot", "retrieval", "linear_probe"] = Field(
        "auto",
        description="what utility is judged by; auto: zero-shot where there are labels, else pictures found (R@5)",
    )
