"""Settings of `scorer-mixture`. Every default is the paper's choice, or ours with the reason beside it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from assaymark.config import AuditConfig

__all__ = ["NEGATIVE", "POSITIVE", "VARIANTS", "Method", "ScorerMixtureConfig"]

POSITIVE = ("1", "true", "yes", "positive", "unsafe", "nsfw", "adult", "explicit", "harmful", "offensive", "porn", "hentai")
NEGATIVE = ("0", "false", "no", "negative", "safe", "sfw", "benign", "normal", "neutral", "harmless", "inoffensive")

Method = Literal[
    "ols",
    "ols_intercept",
    "ridge",
    "nnls",
    "simplex",
    "logistic",
    "greedy",
    "average",
    "weighted_by_accuracy",
    "best_single",
    "majority",
    "max",
    "geometric",
]
VARIANTS = (
    "best_single",
    "average",
    "weighted_by_accuracy",
    "majority",
    "max",
    "geometric",
    "ols",
    "ols_intercept",
    "ridge",
    "nnls",
    "simplex",
    "logistic",
    "greedy",
    "gbdt",
)
"""All ways to combine scorers; `gbdt` is compared but cannot be saved as a mixture."""

Share = Annotated[float, Field(ge=0, le=1)]
Prevalence = Annotated[float, Field(gt=0, lt=1)]
Cost = Annotated[float, Field(ge=0)]


class ScorerMixtureConfig(AuditConfig):
    """Which columns hold what, how the scorers are combined, and where the cut is made."""

    # -- what the columns are ---------------------------------------------------------------------------------------------
    scorers: tuple[str, ...] = Field(
        (), description="score columns, each in [0, 1]; default: every column of decimal numbers in [0, 1] that is nothing else"
    )
    label_column: str = Field("", description="column of the label; default: the one found by its name (label, class, ...)")
    positive: tuple[str, ...] = Field(POSITIVE, min_length=1, description="label values that mean unsafe; case does not matter")
    negative: tuple[str, ...] = Field(
        (),
        description="label values that mean safe; default: the usual names of safe classes, or, with a `positive` of your own, "
        "every other value. A label that is neither is skipped and counted",
    )
    classes: tuple[str, ...] = Field(
        (), description="classes of scorers with several outputs, in columns NAME:CLASS; p_unsafe is the sum over `positive`"
    )
    group_column: str = Field("group", description="rows with one value here (frames of a film, one site) are never split up")
    split_column: str = Field("split", description="column that says train, fit or test, when you made the split yourself")
    slices: tuple[str, ...] = Field((), description="columns of declared attributes: recall and FPR are shown for each value")

    # -- fitting protocol (ours: the paper is silent) ------------------------------------------------------------------------
    # Scorers look perfect on rows that they were trained on and then receive all the weight.
    source: Literal["holdout", "oof", "train"] = Field(
        "holdout", description="how the fitting rows relate to the scorers: never seen by them, out-of-fold scores, or seen"
    )
    fit_share: float = Field(0.5, gt=0, lt=1, description="share of rows that weights and threshold are fitted on; rest: test")
    # The paper's form is `ols`; without an intercept scorers with a common bias cannot reach 0.5 where they should.
    method: Method = Field("ols_intercept", description="how scorers are combined; `ols` is the paper's form")
    compare: tuple[str, ...] = Field(VARIANTS, description="ways of combining that are compared with it")
    transform: Literal["probability", "logit", "platt", "isotonic", "temperature"] = Field(
        "probability", description="what is done to each score first; the last three are fitted on the fitting rows"
    )
    balanced: bool = Field(False, description="weigh both classes alike in the least-squares fits (rare positives)")
    # A midpoint of 0.5 is the paper's cut for labels coded 0/1.
    threshold: Literal["accuracy", "balanced_accuracy", "cost", "midpoint"] = Field(
        "accuracy", description="what the threshold maximises on the fitting rows; `midpoint` is the paper's fixed 0.5"
    )
    cost_false_negative: Cost = Field(1.0, description="cost of an unsafe image let through, for threshold=cost")
    cost_false_positive: Cost = Field(1.0, description="cost of a safe image flagged, for threshold=cost")
    covariance: Literal["HC3", "HC2", "HC1", "HC0", "classic"] = Field(
        "HC3", description="standard errors of least-squares weights; HC3 errs on the wide side where rows are few"
    )
    least_rows: int = Field(20, ge=1, description="fitting rows for each scorer below which least squares becomes ridge")

    # -- use --------------------------------------------------------------------------------------------------------------
    costs: dict[str, Cost] = Field(
        default_factory=dict, description="cost of asking each scorer, {name: number}, for the cascade; default 1 each"
    )
    prevalences: tuple[Prevalence, ...] = Field(
        (0.001, 0.01, 0.1), description="shares of unsafe images for which the predictive value of a flag is shown"
    )
    abstain: Share = Field(0.1, description="share of images nearest to the threshold that go to people, for `abstention`")

    # -- pictures ---------------------------------------------------------------------------------------------------------
    frames: int = Field(1, ge=1, le=64, description="frames of an animation that are scored; the largest score counts")
    least_side: int = Field(32, ge=1, description="pictures with a shorter side in pixels below this are not scored")
    tile_ratio: float = Field(
        4.0, ge=0, description="pictures more than this many times as long as wide are scored in tiles; 0: never"
    )
    skin: bool = Field(True, description="compare with the fixed skin-colour rules when there are pictures")
    skin_label: tuple[str, ...] = Field(("1", "skin"), description="values of `label` in the input pixels that mean skin")
    zoo: int = Field(0, ge=0, le=20, description="small networks to train on the pictures, as further scorers")
    zoo_size: int = Field(64, ge=32, le=224, description="side in pixels of their input")
    zoo_epochs: int = Field(8, ge=1, description="passes over the training pictures for each network")
    zoo_folds: int = Field(5, ge=2, description="folds of the out-of-fold scores")

    # -- statistics -------------------------------------------------------------------------------------------------------
    max_rows: int = Field(1_000_000, ge=100, description="rows kept for what needs rows; least squares always uses all")
    resamples: int = Field(400, ge=100, description="bootstrap resamples")
    confidence: float = Field(0.95, gt=0.5, lt=1, description="level of every interval")
    examples: int = Field(20, ge=0, description="disagreements listed, by hash")

    @field_validator("compare")
    @classmethod
    def _known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [name for name in names if name not in VARIANTS]
        if unknown:
            raise ValueError(f"must name ways of combining: {', '.join(VARIANTS)}; not {unknown[0]!r}")
        return names

    @field_validator("scorers")
    @classmethod
    def _once(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"must name each column once, not {twice[0]!r} twice")
        return names

    @field_validator("cost_false_positive")
    @classmethod
    def _some_cost(cls, cost: float, info: ValidationInfo) -> float:
        if info.data.get("threshold") == "cost" and not cost and not info.data.get("cost_false_negative"):
            raise ValueError("must be above 0 where cost_false_negative is 0, or threshold=cost has nothing to weigh")
        return cost

    @property
    def negatives(self) -> frozenset[str] | None:
        """Label values that mean safe; None: every value that is not positive."""
        if self.negative:
            return frozenset(name.strip().casefold() for name in self.negative)
        return frozenset(NEGATIVE) if self.positive == POSITIVE else None

    @property
    def positives(self) -> frozenset[str]:
        return frozenset(name.strip().casefold() for name in self.positive)
