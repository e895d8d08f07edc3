"""Settings of `generated-text-prevalence`. Every default is the paper's choice, or ours with the reason beside it."""

from __future__ import annotations

from datetime import date
from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from assaymark.config import AuditConfig

__all__ = ["CORRECTED", "METHODS", "RELEASES", "GeneratedTextPrevalenceConfig", "Method"]

Method = Literal["cc", "acc", "pcc", "pacc", "emq", "hdy", "dys", "mle"]
METHODS: tuple[Method, ...] = ("cc", "acc", "pcc", "pacc", "emq", "hdy", "dys", "mle")
CORRECTED: tuple[Method, ...] = ("acc", "pacc", "emq", "hdy", "dys", "mle")
"""Ways to estimate a share that take the detector's errors into account; `cc` and `pcc` do not."""

RELEASES: dict[str, str] = {
    "ChatGPT": "2022-11-30",
    "GPT-4": "2023-03-14",
    "Llama 2": "2023-07-18",
    "GPT-4o": "2024-05-13",
    "DeepSeek-R1": "2025-01-20",
}
"""Public releases that are marked on the curves."""

Share = Annotated[float, Field(ge=0, le=1)]


class GeneratedTextPrevalenceConfig(AuditConfig):
    """What is counted, with which detector, how its errors are taken out, and what the two kinds of posts are compared in."""

    # -- the stream -------------------------------------------------------------------------------------------------------
    unit: Literal["month", "week", "day"] = Field("month", description="length of a period, in UTC; the paper's is a month")
    # The paper drops short texts; detectors say little about them. Dropping changes what the share is a share of.
    min_words: int = Field(50, ge=0, description="posts with fewer words are not scored, and are counted by period")
    released: date = Field(
        date(2022, 11, 30), description="release of the first widely used generator: earlier posts give the detector's floor"
    )
    cutoff: date = Field(
        date(2022, 1, 1), description="human texts should be older than this, as in the paper; others are noted"
    )
    date_format: str = Field("auto", description="strptime format of created_at; auto finds it in the data")
    day_first: bool = Field(False, description="read 3/4/2022 as 3 April where the data do not decide")

    # -- labelled texts and detectors -------------------------------------------------------------------------------------
    machine: tuple[str, ...] = Field((), description="label values that mean machine-written; default: 1, ai, machine, ...")
    human: tuple[str, ...] = Field((), description="label values that mean written by people; default: 0, human, ...")
    machine_label: dict[str, str] = Field(
        default_factory=dict, description="{detector: label of its output that means machine-written}, where names do not tell"
    )
    token_detectors: tuple[str, ...] = Field(
        (), description="scores to compute with each language model; default: all that its answers allow"
    )
    word_detector: bool = Field(
        False, description="also count by the words of the labelled texts: a detector named `words` that needs no model"
    )
    detector: str = Field("", description="detector that counts the posts; default: the largest AUROC on the fitting texts")
    threshold: float = Field(0.5, gt=0, lt=1, description="probability from which a post is called machine-written")
    test_share: float = Field(
        0.5, gt=0, lt=1, description="share of labelled sources that measure errors; the others fit the score's calibration"
    )
    max_labelled: int = Field(50_000, ge=100, description="labelled texts kept, by a hash of their source")
    near_duplicates: float = Field(
        0.8,
        ge=0,
        le=1,
        description="Jaccard similarity from which labelled texts are never split up (MinHash); 0: not looked for",
    )
    length_edges: tuple[int, ...] = Field((100, 200, 400), description="word counts between the length buckets")
    parameters: (
        Literal["gpt-j-6B/gpt-neo-2.7B", "gpt-neo-2.7B", "falcon-7b/falcon-7b-instruct", "llama3-8b/llama3-8b-instruct"] | None
    ) = Field(None, description="published conversion of Fast-DetectGPT to a probability, where no labelled texts are given")
    perturbations: int = Field(
        0, ge=0, le=1000, description="rewritings for DetectGPT and NPR (10 or 100 in their papers); 0: none"
    )
    mask_share: float = Field(0.15, gt=0, lt=1, description="share of words that a rewriting replaces")
    mask_span: int = Field(2, ge=1, description="words in a replaced span")
    mask_buffer: int = Field(1, ge=0, description="words kept around a replaced span")

    # -- generated twins of the human texts -------------------------------------------------------------------------------
    prompt_styles: tuple[Literal["continue", "rewrite", "polish", "answer", "title"], ...] = Field(
        ("continue", "rewrite", "polish"), description="how models in the role generator are asked for machine-written twins"
    )
    twins: int = Field(200, ge=1, description="human texts for which each generator writes a twin in each style")
    twin_words: int = Field(400, ge=10, description="words of a human text that a generator is shown, at most")
    twin_tokens: int = Field(512, ge=16, description="longest twin, in tokens")
    twin_temperature: float = Field(1.0, ge=0, description="temperature of the generators")

    # -- training of a detector ([1], section 4.3; official script) -------------------------------------------------------
    train_epochs: int = Field(10, ge=1, description="passes over the training texts for the model in the role trainee")
    train_rate: float = Field(2e-5, gt=0, description="largest learning rate")
    train_batch: int = Field(5, ge=1, description="texts in one forward pass of the training")
    train_accumulate: int = Field(8, ge=1, description="forward passes before each step: 5 x 8 = 40 texts")
    train_tokens: int = Field(4096, ge=8, description="longest text in tokens")

    # -- estimating the share ---------------------------------------------------------------------------------------------
    methods: tuple[Method, ...] = Field(METHODS, description="ways to estimate the share")
    # PACC uses the whole score and, unlike EMQ, needs no calibrated probabilities.
    method: Method = Field("pacc", description="the corrected share that findings and figures speak of")
    bins: int = Field(1024, ge=16, le=65_536, description="bins of the probability")
    least_labelled: int = Field(20, ge=2, description="labelled test texts of each kind below which nothing is corrected")
    least_platform: int = Field(
        50,
        ge=0,
        description="labelled test texts of a kind from a platform of the stream, from which that platform is corrected by its "
        "own; 0: never",
    )
    resamples: int = Field(1000, ge=100, description="bootstrap resamples, of the labelled texts and of the stream together")
    confidence: float = Field(0.95, gt=0.5, lt=1, description="level of every interval")
    least_periods: int = Field(3, ge=1, description="periods on each side of a change point")
    permutations: int = Field(999, ge=99, description="permutations of the periods behind the change point's p")

    # -- the comparisons ([1], section 6) ---------------------------------------------------------------------------------
    weights: Literal["hard", "posterior"] = Field(
        "hard", description="compare posts by the detector's call, as the paper does, or weigh each by its probability"
    )
    follower_edges: tuple[int, ...] = Field((1_000, 10_000), description="follower counts between the author bins")
    topics: int = Field(50, ge=1, description="topics shown for each platform, the most frequent first")
    anonymity: int = Field(20, ge=1, description="authors or posts below which a cell of a table is not shown")
    author_level: bool = Field(False, description="also show how the share varies from author to author (no author is named)")
    max_rows: int = Field(200_000, ge=1_000, description="posts kept for the comparison of engagement")
    texts: int = Field(2_000, ge=0, description="posts of each kind whose language is measured; 0: none")
    words: int = Field(40, ge=0, description="most and least typical words shown; 0: none")
    masked: tuple[str, ...] = Field((), description="word lists (files) whose words are masked wherever words are shown")
    dictionary: str = Field("", description="list of style words, one a line or CSV with a column word: their rate is compared")

    @field_validator("follower_edges", "length_edges")
    @classmethod
    def _rising(cls, edges: tuple[int, ...]) -> tuple[int, ...]:
        if any(a >= b for a, b in pairwise(edges)) or any(edge < 1 for edge in edges):
            raise ValueError("must be rising numbers above 0")
        return edges

    @field_validator("human")
    @classmethod
    def _one_meaning(cls, human: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        both = {value.strip().casefold() for value in human} & {
            value.strip().casefold() for value in info.data.get("machine", ())
        }
        if both:
            raise ValueError(f"must not repeat what machine lists ({', '.join(sorted(both))})")
        return human

    @field_validator("method")
    @classmethod
    def _among(cls, method: Method, info: ValidationInfo) -> Method:
        methods = info.data.get("methods", METHODS)
        if method not in methods:
            raise ValueError(f"must be one of methods ({', '.join(methods)})")
        return method

    @field_validator("machine_label")
    @classmethod
    def _named(cls, labels: dict[str, str]) -> dict[str, str]:
        if any(not label.strip() for label in labels.values()):
            raise ValueError("must name a label for each detector")
        return labels
