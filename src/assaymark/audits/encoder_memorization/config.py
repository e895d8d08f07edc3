"""Settings of `encoder-memorization` and of its cure. Every default is the paper's number unless the comment says otherwise.

[1] is arXiv 2409.19069 (LayerMem, UnitMem), [2] is arXiv 2401.12233 (SSLMem).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from assaymark.config import AuditConfig

__all__ = ["EncoderMemorizationConfig", "MemorizingPartsConfig", "ViewSettings"]

Share = Annotated[float, Field(ge=0, le=1)]


class ViewSettings(AuditConfig):
    """Which layers are looked at, in which views and how the numbers are made; shared by the audit and its cure."""

    set_column: str = Field(
        "set",
        description="column of the images that says S (both models saw it), C (only the encoder), I (only the reference) or E "
        "(neither); a table in the input split says it instead",
    )
    layers: tuple[str, ...] = Field(
        ("all",),
        min_length=1,
        description="names, patterns of names (blocks.*.mlp) or kinds (convolution, attention, mlp, ...); the representation "
        "always belongs to them",
    )
    augmentation: str = Field(
        "simclr",
        description="how views are made: the augmentation that the encoder was trained with (simclr, unitmem, crop-flip, clip, "
        "shift, none)",
    )
    n_views: int = Field(
        10, ge=1, description="views that UnitMem averages over ([1]: 10), and pairs of views for SSLMem; ours"
    )
    rectify: Literal["relu", "shift", "abs", "none"] = Field(
        "relu",
        description="what makes activations of units without a ReLU >= 0, as UnitMem needs them; others stay as they are",
    )
    tokens: Literal["mean", "cls"] = Field(
        "mean", description="a unit of a layer of tokens: its mean, or the class token alone"
    )
    rest: Literal["mean", "median"] = Field(
        "mean",
        description="what UnitMem compares the largest activation with: mean of the others ([1]) or median (its code), which "
        "keeps all activations and takes up to 2,000 pictures",
    )
    top_points: int = Field(
        1, ge=1, le=20, description="UnitMem of the mean over this many largest activations; 1 is [1], more ours"
    )
    class_rest: Literal["classes", "points"] = Field(
        "classes",
        description="ClassMem compares with the mean over the other classes, or over their pictures; ours where [1] is silent",
    )
    unit_points: int = Field(
        1_000, ge=2, description="pictures of the training set that units are compared on, a random part of it; ours"
    )
    resamples: int = Field(1_000, ge=100, description="bootstrap resamples")
    confidence: float = Field(0.95, gt=0.5, lt=1, description="level of every interval")


class EncoderMemorizationConfig(ViewSettings):
    """What is measured, on how many pictures; and how a pair is trained where no model is given."""

    views: Literal["pair", "clean"] = Field(
        "pair",
        description="distance between two augmented views (formula of [2]), or between the picture and one view (its code)",
    )
    norm: Literal["range", "bound", "minmax01", "none"] = Field(
        "range",
        description="scale of the estimates layermem.*: by the range over the candidates (code of [2]), by the largest "
        "distance there is (comparable between layers and models; ours), smallest 0 to largest 1 ([1]), or none",
    )
    candidates: int = Field(5_000, ge=2, description="pictures of C that are scored, at most ([2]: 5,000)")
    points: int = Field(1_000, ge=0, description="pictures of S, of I and of E that are scored, at most ([2]: 5,000)")
    group_size: int = Field(50, ge=1, description="most and least memorized pictures that are compared")
    overlap: int = Field(100, ge=1, description="most memorized pictures whose overlap between layers is counted")
    leak: float = Field(
        0.6, ge=0.5, lt=1, description="rank AUC of candidates against outsiders from which membership is called readable; ours"
    )
    units_shown: int = Field(
        200, ge=1, description="units listed in the report, those with the highest UnitMem; a file holds all"
    )
    write_files: bool = Field(True, description="write scores of all pictures and units to files (private: hashed ids)")

    # -- training of a pair, where no model is given --------------------------------------------------------------------------
    objective: Literal["simclr", "simsiam", "vicreg", "mae", "dino", "supervised"] = Field(
        "simclr", description="what the pair is trained by; supervised needs labels"
    )
    recipe: dict[str, Any] = Field(
        {},
        description="what else differs from the published training of the objective: architecture, epochs, batch, lr, "
        "architecture_options, objective_options, ...; the augmentation is the one above",
    )
    side: int = Field(32, ge=16, le=256, description="pixels of the side of the squares that the pair is trained on ([1]: 32)")
    split_sizes: tuple[float, float, float, float] = Field(
        (0.625, 0.125, 0.125, 0.125),
        description="S, C, I and E, as shares or counts, where the input names no sets; ours",
    )


class MemorizingPartsConfig(ViewSettings):
    """The cure: which parts of the encoder are pruned or tuned, and what is compared."""

    method: Literal["prune", "finetune"] = Field("prune", description="silence units, or train a few layers on labels")
    shares: tuple[Share, ...] = Field(
        (0.1, 0.2), min_length=1, description="shares of the units of each layer that are silenced"
    )
    layer_count: int = Field(1, ge=1, description="layers that are trained ([1]: 1 to 3)")
    by: Literal["delta", "layermem", "unitmem"] = Field(
        "delta", description="what layers are ranked by; unitmem where no reference is given"
    )
    train_share: float = Field(
        0.5, gt=0, lt=1, description="share of the labelled pictures that the linear head is trained on; ours"
    )
    epochs: int = Field(10, ge=1, description="passes of the fine-tuning; ours")
    lr: float = Field(1e-3, gt=0, description="step size of the fine-tuning; ours")
    batch: int = Field(128, ge=2, description="pictures in a batch of the fine-tuning")
    views: Literal["pair", "clean"] = Field("pair", description="views behind layer scores, as in the audit")
