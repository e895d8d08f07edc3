"""How the two models of a pair are trained: frozen values that are written beside them. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from assaymark.errors import ConfigError, UnknownName

__all__ = ["PUBLISHED", "ClipRecipe", "EncoderRecipe", "recipe_settings"]

PUBLISHED: Mapping[str, Mapping[str, Any]] = {
    # Public code of Wang et al. (NeurIPS 2024): Adam 3e-4, batch 128, 100 epochs, temperature .5.
    "simclr": {"objective_options": {"temperature": 0.5, "projection": 64}},
    # The same: batch 2,048, 800 epochs of which 120 warm up, 1.5e-4 x batch / 256, weight decay .05, a mask of .75.
    "mae": {
        "architecture": "vit",
        "epochs": 800,
        "batch": 2048,
        "lr": 1.2e-3,
        "weight_decay": 0.05,
        "schedule": "cosine",
        "warmup": 0.15,
        "augmentation": "crop-flip",
    },
    # Their control: one cycle up to 5e-3 in 10 epochs, batch 32, weight decay 1e-4.
    "supervised": {
        "epochs": 10,
        "batch": 32,
        "lr": 5e-3,
        "weight_decay": 1e-4,
        "schedule": "one-cycle",
        "augmentation": "crop-flip",
    },
}
"""What differs from the defaults of `EncoderRecipe`. SimSiam, VICReg and DINO are trained with the settings of SimCLR here."""


@dataclass(frozen=True)
class EncoderRecipe:
    """Training of an image encoder; `EncoderRecipe.of(objective)` gives the published settings of an objective.

    Attributes
    ----------
    architecture : {"resnet9", "vit", "mlp"}
        With options (`width`, `patch`, `depth`, ...), see `assaymark.models.encoder_layouts`; the input size is that of the
        pictures.
    objective : {"simclr", "simsiam", "vicreg", "mae", "dino", "supervised"}
        With options (`temperature`, `projection`, `share`, ...), see `assaymark.training.objectives`.
    epochs, batch, lr, weight_decay, schedule, warmup, optimiser
        See `assaymark.training.train`; epochs are those of the model with the candidates, and both make as many steps.
    augmentation : str or mapping
        See `assaymark.training.augmentation_spec`.
    """

    architecture: str = "resnet9"
    objective: str = "simclr"
    epochs: int = 100
    batch: int = 128
    lr: float = 3e-4
    weight_decay: float = 0.0
    schedule: str = "constant"
    warmup: float = 0.0
    optimiser: str = "adamw"
    augmentation: str | Mapping[str, Any] = "simclr"
    architecture_options: Mapping[str, Any] = field(default_factory=dict)
    objective_options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _at_least_one(self, ("epochs", "batch"))

    @classmethod
    def of(cls, objective: str, **changes: Any) -> EncoderRecipe:
        """The published settings of an objective, with changes by the names of the fields."""
        return replace(cls(objective=objective, **PUBLISHED.get(objective, {})), **changes)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


@dataclass(frozen=True)
class ClipRecipe:
    """Training of a dual encoder; the mitigations that are options of a training are here.

    Attributes
    ----------
    patch, hidden, layers, heads, dimension, text_length : int
        Size of both towers, see `assaymark.models.small_clip.new_clip`.
    epochs, batch : int
        100 and 128 for COCO in [1].
    lr, weight_decay, schedule, warmup
        OpenCLIP: 5e-4, .2, a cosine with a warm-up (10,000 steps there; a share of the steps here).
    captions : {"one", "round-robin", "random"}
        Which caption of a picture a step sees: the first; number epoch mod captions; any (M1 of [1]).
    images_per_caption : int
        Variants of each picture, seen in turn by epoch: the picture itself, and others made by `variant_augmentation` unless
        they come with the pictures (M2).
    text_noise : float
        Standard deviation of the noise on text embeddings (M3); `renormalise` brings them back to length 1.
    token_masking : float
        Share of the tokens of a caption that are hidden in each step (M6).
    temperature : float
        At the start; `learn_temperature` lets it change (M6).
    patience : int, optional
        Epochs without a better loss on a tenth of the shared pairs, held back for it, after which training stops (M6).

    References
    ----------
    .. [1] Wang et al. Captured by captions: On memorization and its mitigation in CLIP models. ICLR 2025.
    """

    patch: int = 8
    hidden: int = 64
    layers: int = 2
    heads: int = 4
    dimension: int = 32
    text_length: int = 24
    epochs: int = 100
    batch: int = 128
    lr: float = 5e-4
    weight_decay: float = 0.2
    schedule: str = "cosine"
    warmup: float = 0.1
    clip: float | None = 1.0
    augmentation: str | Mapping[str, Any] = "clip"
    captions: str = "one"
    images_per_caption: int = 1
    variant_augmentation: str | Mapping[str, Any] = "simclr"
    text_noise: float = 0.0
    renormalise: bool = False
    token_masking: float = 0.0
    temperature: float = 0.07
    learn_temperature: bool = True
    patience: int | None = None

    def __post_init__(self) -> None:
        _at_least_one(self, ("epochs", "batch", "images_per_caption"))
        if not self.text_noise >= 0 or not self.temperature > 0:
            raise ConfigError(
                f"text_noise must be at least 0 and temperature over 0, not {self.text_noise}, {self.temperature}"
            )
        if not 0 <= self.token_masking < 1:
            raise ConfigError(f"token_masking is {self.token_masking}; it is a share of the tokens, from 0 to below 1")

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def _at_least_one(recipe: Any, names: tuple[str, ...]) -> None:
    for name in names:
        if getattr(recipe, name) < 1:
            raise ConfigError(f"{name} of a recipe is {getattr(recipe, name)}; it must be at least 1")


def recipe_settings(recipe: type[EncoderRecipe] | type[ClipRecipe], given: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a recipe from outside (YAML), in the types of its fields: `recipe(**settings)` takes them.

    Raises
    ------
    UnknownName, ConfigError
        No setting has this name, or its value is of another kind.
    """
    known = {one.name: one.type for one in fields(recipe)}
    for name in given:
        if name not in known:
            raise UnknownName(f"setting of {recipe.__name__}", name, known)
    return {name: _typed(name, value, str(known[name])) for name, value in given.items()}


_KINDS: dict[str, tuple[Any, str]] = {
    "int": (int, "a whole number"),
    "float": ((int, float), "a number"),
    "str": (str, "text"),
    "bool": (bool, "true or false"),
}


def _typed(name: str, value: Any, wanted: str) -> Any:
    if value is None and "None" in wanted:
        return None
    if isinstance(value, Mapping) and "Mapping" in wanted:
        return dict(value)
    kinds, words = _KINDS.get(wanted.partition(" ")[0], (dict, "settings by name, written {a: 1}"))
    if not isinstance(value, kinds) or (isinstance(value, bool) and wanted != "bool"):
        raise ConfigError(f"setting {name!r} must be {words} (given: {value!r})")
    return float(value) if wanted.startswith("float") else value
