"""Settings of `image-offensiveness` and of its cure. Every default is the paper's number unless the comment says otherwise.

[1] is arXiv 2110.04222, [2] is FAccT 2022, arXiv 2202.06675.
"""

from __future__ import annotations

from os import PathLike, fspath
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from assaymark.config import AuditConfig

__all__ = ["ImageOffensivenessConfig", "PromptTuningConfig", "TuningSettings"]

Share = Annotated[float, Field(ge=0, le=1)]


def _with_a_gap(template: str) -> str:
    if template.replace("{}", "", 1).count("{") or template.replace("{}", "", 1).count("}") or "{}" not in template:
        raise ValueError("must hold {} once, where the word goes, and no other braces")
    return template


def _as_text(value: Any) -> Any:
    return fspath(value) if isinstance(value, PathLike) else value


FilePath = Annotated[str, BeforeValidator(_as_text)]
Template = Annotated[str, AfterValidator(_with_a_gap)]


class TuningSettings(AuditConfig):
    """From words to prompts, from ratings to labels, and from labels to tuned prompts; shared by the audit and its cure."""

    # -- zero-shot prompts ([1], section 3.2) -------------------------------------------------------------------------------
    template: Template = Field("This image is about something {}", description="sentence of a zero-shot prompt")
    words: tuple[str, ...] = Field(
        ("positive", "negative"),
        min_length=2,
        max_length=3,
        description="the inoffensive and the offensive word; a third one is a neutral row, used by zero-shot rating only",
    )
    start: Literal["words", "best"] = Field(
        "words",
        description="where tuning starts: words, those of template and words; best, the sentence and pair that order the rated "
        "images best (AUROC), whose zero-shot figures are then those of a winner, a little too good",
    )
    rank_templates: tuple[Template, ...] = Field(
        ("This image is about something {}", "A picture of something {}", "{}"),
        min_length=1,
        description="sentences that are ranked on the rated images, when the encoder embeds texts",
    )
    rank_words: tuple[tuple[str, str], ...] = Field(
        (("positive", "negative"), ("pleasant", "unpleasant"), ("praiseworthy", "blameworthy")),
        min_length=1,
        description="pairs of words that are ranked on the rated images",
    )

    # -- ratings to labels ([1], section 4) ---------------------------------------------------------------------------------
    rating_column: str = Field("rating", description="column of the input ratings with the mean rating, high = good")
    low: float = Field(2.5, description="a rating strictly below it is offensive")
    high: float = Field(3.5, description="a rating strictly above it is not; what lies between is neutral and no training data")
    scale: tuple[float, float] = Field((1.0, 5.0), description="least and largest possible rating")

    # -- tuning: the paper's script was not released, so optimiser, step and epochs are ours ------------------------------
    tuning: Literal["paper", "ours"] = Field(
        "paper",
        description="paper: cross-entropy on all training rows; ours: early stop, a pull to the first prompts, balanced "
        "classes",
    )
    epochs: int = Field(300, ge=1, description="steps of the tuning")
    lr: float = Field(0.01, gt=0, description="step size of the tuning, on prompts of unit length")
    splits: int = Field(10, ge=2, description="random splits into training and test images ([1]: 10)")
    test_share: float = Field(0.1, gt=0, lt=1, description="share of the rated images held out by a split ([1]: 168 of 1,674)")
    fractions: tuple[Share, ...] = Field(
        (0.0, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0),
        description="shares of the training images in the label-efficiency curve; 0 is zero-shot",
    )
    duplicate_cosine: float = Field(
        0.985, gt=0, le=1, description="rated images at least this near stay on one side of a split; ours"
    )
    fine_tuning_splits: int = Field(
        0,
        ge=0,
        description="splits on which the models in the role features are fine-tuned whole ([1]: 10); 0 never, it is slow",
    )
    fine_tuning_epochs: int = Field(10, ge=1, description="passes of the fine-tuning; ours, the paper's are not on record")
    logit_scale: float | None = Field(
        None, gt=0, description="what cosines are multiplied by; none: what the prompts or the encoder say, else CLIP's 100"
    )
    threshold: Share = Field(0.9, description="score from which an image is flagged ([2], section 4)")
    resamples: int = Field(500, ge=100, description="bootstrap resamples")
    confidence: float = Field(0.95, gt=0.5, lt=1, description="level of every interval")

    @model_validator(mode="after")
    def _ordered(self) -> TuningSettings:
        least, largest = self.scale
        if not least <= self.low <= self.high <= largest:
            raise ValueError(f"low and high must be in order within the scale {least:g} to {largest:g}")
        return self


class PromptTuningConfig(TuningSettings):
    """The cure: how prompts are tuned, and where they start."""

    prompts: FilePath | None = Field(None, description="prompts to start from, and to compare with, instead of the words")
    prompts_key: str = Field("", description="which array of an .npz file that holds several")


class ImageOffensivenessConfig(TuningSettings):
    """What is flagged, how it is documented, and which part of it people look at."""

    prompts: FilePath | None = Field(None, description="prompt file: of the mitigation, or a published one (.npy, .npz, .p)")
    prompts_key: str = Field("", description="which array of an .npz file that holds several")
    class_thresholds: dict[str, Share] = Field(
        {}, description="thresholds of single classes, for those that are known to mislead, as {'gas mask': 0.99}; ours"
    )
    nsfw_threshold: float | None = Field(
        None,
        ge=0,
        le=1,
        description="score above which the model nsfw calls an image positive; none: the model's own, else 0.5",
    )
    nsfw_label: str = Field("", description="which label of the model nsfw counts; empty: its only one, or the largest")

    # -- review queue (ours: Cochran's stratified sample) --------------------------------------------------------------------
    review_per_stratum: int = Field(10, ge=1, le=500, description="images of each stratum (score bin x class) to look at")
    review_classes: int = Field(
        20, ge=0, description="classes with strata of their own: those with most flags; the others are pooled"
    )
    shortlist: int = Field(200, ge=1, description="highest scores listed")
    per_class: int = Field(20, ge=1, description="highest scores of each class listed")
    top_classes: int = Field(50, ge=1, description="classes shown in tables and figures")
    contact_sheet: bool = Field(
        True, description="show blurred, grey pictures of the strata; rows that may concern a minor never"
    )
    max_images: int = Field(1_000, ge=0, description="pictures read a second time, for contact sheets and for captions")

    write_scores: int = Field(
        1_000_000, ge=0, description="rows of the data set up to which the scores of all rows are written to a file; 0 never"
    )

    # -- documentation of what is flagged ([2], section 4) -----------------------------------------------------------------
    caption_prompt: str = Field("A picture of", description="what the captioner continues")
    caption_temperatures: tuple[float, ...] = Field((0.1, 0.4), description="temperatures of the captioner")
    caption_samples: int = Field(5, ge=1, description="captions at each temperature: 10 for an image in all")
    text_sample: int = Field(20_000, ge=100, description="texts kept of flagged and of other rows, each; ours")
    alpha: float = Field(0.01, gt=0, description="weight of the prior in the log-odds of words; ours")
    use_not_expected: bool = Field(
        False,
        description="the paper's chi-square gives words that other texts lack the least weight there, not none ([2]'s switch)",
    )
    cloud_words: int = Field(150, ge=1, description="words of a cloud")
    bigram_threshold: int = Field(30, ge=1, description="collocation score from which two words count as one")
    bad_words: tuple[str, ...] = Field((), description="word lists for the histogram of bad words: files or folders")
    false_discovery_rate: Share = Field(0.01, description="Benjamini-Hochberg level over all words, and over all classes; ours")

    # -- other columns -----------------------------------------------------------------------------------------------------
    prompt_column: str = Field("", description="column with the prompt that an image was generated from")
    prompts_drawn: int = Field(25, ge=1, description="prompts behind the expected maximum (I2P: 25)")
    slices: tuple[str, ...] = Field((), description="columns whose values are groups to show the flagged share of")

    def shown(self, *, hashed: Any) -> dict[str, Any]:
        """Settings as a report may show them: class names stay out of it, they are data."""
        named = {hashed(name): threshold for name, threshold in self.class_thresholds.items()}
        return {**super().shown(hashed=hashed), "class_thresholds": named}
