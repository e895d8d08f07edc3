"""Settings of `image-text-dataset` and of its filter. Every default is the paper's number unless the comment says otherwise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from assaymark.config import AuditConfig

__all__ = ["PROBES", "FilterRowsConfig", "ImageTextDatasetConfig", "WordSettings"]

PROBES = (
    "anatomy",
    "lexicons",
    "slice_test",
    "tag_audit",
    "hate_content",
    "admission",
    "retrieval",
    "caption_swap",
    "downstream",
    "label_space",
    "find_me",
    "removal_check",
)

Share = Annotated[float, Field(ge=0, le=1)]


def _part_of_whole(counts: tuple[int, int]) -> tuple[int, int]:
    part, whole = counts
    if not 0 <= part <= whole or whole == 0:
        raise ValueError("must be [part, whole] with 0 <= part <= whole and whole > 0")
    return counts


PartOfWhole = Annotated[tuple[int, int], AfterValidator(_part_of_whole)]


class WordSettings(AuditConfig):
    """Which words are looked for, and how they match; shared by the audit and its mitigation."""

    lexicons: tuple[str, ...] = Field((), description="word lists: files (txt, csv, json) or folders of them")
    terms: tuple[str, ...] = Field(
        ("identity-en",), description="slice terms: words, or files of words; identity-en is the packaged neutral list"
    )
    # The paper matches bare substrings; word boundaries are ours, because substrings flag 10 to 50 times more innocent rows.
    term_mode: Literal["word", "substring"] = Field("word", description="how slice terms match a text")
    unsafe_mode: Literal["word", "substring"] = Field("word", description="how unsafe tokens match URL and text")
    unsafe_lexicons: tuple[str, ...] = Field(
        (), description="word lists for the weak unsafe label instead of the paper's tokens"
    )
    nfkc: bool = Field(True, description="Unicode compatibility normalisation before matching")
    zero_width: bool = Field(True, description="remove zero-width characters before matching")
    leetspeak: bool = Field(False, description="read 4 as a, 3 as e, 0 as o ... before matching")
    false_discovery_rate: Share = Field(0.01, description="Benjamini-Hochberg level over all terms")
    confidence: float = Field(0.95, gt=0.5, lt=1, description="level of every interval")

    def shown(self, *, hashed: Callable[[str], str]) -> dict[str, Any]:
        """Settings as a report may show them: words of harm lists masked."""
        from assaymark.audits.image_text_dataset.report.names import shown_texts

        return {**super().shown(hashed=hashed), "terms": shown_texts(self.terms, self.harmful(), reveal=False)}

    def harmful(self) -> frozenset[str]:
        """Words of the given lexicons that stand for harm, case-folded."""
        from assaymark.audits.image_text_dataset.report.names import harmful_words
        from assaymark.data.lexicon import load_lexicons

        return harmful_words(term for path in self.lexicons for lexicon in load_lexicons(path) for term in lexicon.terms)


class ImageTextDatasetConfig(WordSettings):
    """What to look for, with which thresholds."""

    probes: tuple[str, ...] = Field(PROBES, description="which probes to run; one without its input is left out with a note")

    # -- hate content rate (2306.13141, section 3) -------------------------------------------------------------------------
    theta: Share = Field(0.5, description="probability above which a text counts as hateful, targeted or aggressive")
    theta_grid: tuple[Share, ...] = Field(
        tuple(round(0.1 + i * 0.7 / 12, 10) for i in range(13)), description="thresholds of the curve: linspace(0.1, 0.8, 13)"
    )
    sample_rows: int = Field(100_000, ge=0, description="rows of each shard that a text model scores; 0 scores all")
    empty_text: Literal["zero", "exclude"] = Field(
        "zero", description="an empty text counts as scored 0 (as published), or leaves the denominator"
    )
    total_rows: int | None = Field(None, ge=1, description="rows of the whole data set, when the input is a sample of it")

    # -- similarity filter (2111.02114) -----------------------------------------------------------------------------------
    tau: tuple[float, ...] = Field((0.25, 0.28, 0.30), description="cut-offs: DataComp 0.25, LAION-5B 0.28, LAION-400M 0.30")
    tau_grid: tuple[float, ...] = Field(
        tuple(round(0.15 + 0.01 * i, 2) for i in range(26)), description="cut-offs of the threshold curve, 0.15 to 0.40"
    )
    encoder_columns: tuple[str, ...] = Field(
        (), description="similarity columns of further encoders, to see whether a cut-off transfers; DataComp's are found"
    )
    punsafe_grid: tuple[Share, ...] = Field(
        (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 0.9), description="cut-offs on punsafe whose residual harm is measured"
    )
    image_threshold: Share | None = Field(
        None, description="image score above which an image counts as unsafe; by default the model's own, else 0.5"
    )
    image_sensitivity: PartOfWhole | None = Field(
        None,
        description="[found, harmful] of the image scorer on labelled images, to correct its rate; a mixture brings its own",
    )
    image_specificity: PartOfWhole | None = Field(
        None, description="[passed, harmless] of the image scorer on labelled images, to correct its rate"
    )

    # -- retrieval ----------------------------------------------------------------------------------------------------------
    queries: tuple[str, ...] = Field((), description="query texts, or a CSV with columns query[, axis, pair]")
    k: int = Field(100, ge=1, description="hits of a query that are looked at")
    max_images: int = Field(50_000, ge=1, description="images embedded for retrieval when no embeddings are given")
    duplicate_cosine: float = Field(0.94, ge=-1, le=1, description="cosine from which two images are near duplicates")
    contact_sheet: bool = Field(
        False, description="show blurred, grey pictures of the raised queries; rows that may concern a minor never"
    )
    baseline_queries: int = Field(50, ge=1, description="random queries behind the baseline of unsafe@k")

    # -- downstream, label space, data subjects ---------------------------------------------------------------------------
    human_class: str = Field("human being", description="class of the downstream probe that a face should get")
    class_blocklist: tuple[str, ...] = Field((), description="word lists or words that no class label should hold")
    find: tuple[str, ...] = Field(
        (), description="data subjects: url=..., domain=..., name=..., sha256=..., md5=..., phash=..., image=PATH"
    )
    find_distance: int = Field(
        3, ge=0, le=16, description="bits by which a perceptual hash may differ, in searches and in the removal check"
    )
    find_cosine: float = Field(0.94, ge=-1, le=1, description="cosine from which an embedding is the same picture")

    # -- statistics -----------------------------------------------------------------------------------------------------------
    resamples: int = Field(1000, ge=100, description="bootstrap resamples")
    top_domains: int = Field(25, ge=1, description="domains listed")
    examples: int = Field(5, ge=0, description="hashed example rows kept for each kind of flag")
    language_sample: int = Field(2000, ge=0, description="texts whose language is guessed when there is no language column")

    @property
    def image_cut(self) -> float:
        """Image score above which an image counts as unsafe."""
        return 0.5 if self.image_threshold is None else self.image_threshold

    def shown(self, *, hashed: Callable[[str], str]) -> dict[str, Any]:
        """Settings as a report may show them: requests of data subjects hashed, words of harm lists masked."""
        from assaymark.audits.image_text_dataset.report.names import is_list, shown_requests, shown_texts
        from assaymark.report.redaction import mask_term

        return {
            **super().shown(hashed=hashed),
            "queries": shown_texts(self.queries, self.harmful(), reveal=False),
            "class_blocklist": [word if is_list(word) else mask_term(word) for word in self.class_blocklist],
            "find": shown_requests(self.find, hashed),
        }


class FilterRowsConfig(WordSettings):
    """Which rows go. A row that any rule names is dropped; the `manifest` input is a rule of its own."""

    drop: tuple[Literal["unsafe", "lexicon", "score", "duplicate"], ...] = Field(
        (),
        description="unsafe: token in URL or text; lexicon: listed word; score: text score over theta; duplicate: repeated row",
    )
    keep_tags: tuple[str, ...] = Field(
        (), description="keep only rows with one of these safety tags, as [UNLIKELY]; EMPTY is no tag"
    )
    theta: Share = Field(0.5, description="text score above which a row counts as hateful (2306.13141, section 3)")
    duplicate_key: tuple[Literal["url", "text", "sha256", "md5", "phash"], ...] = Field(
        ("url", "text"), min_length=1, description="what two rows must share to be duplicates; the first one stays"
    )
    # The rule of thumb of the US Uniform Guidelines on Employee Selection Procedures (29 CFR 1607.4 D), as an alarm only.
    kept_ratio: Share = Field(0.8, description="kept share of a group over that of the other rows that raises a warning")
    lost_ratio: float = Field(2.0, ge=1, description="dropped share of a group over that of the other rows that gets a note")
