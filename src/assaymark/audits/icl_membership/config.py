"""Settings of `icl-membership`. Every default is the paper's choice where it is known, or ours with the reason beside it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from assaymark.config import AuditConfig

__all__ = [
    "ATTACKS",
    "DATA_RECIPES",
    "INSTRUCTION_RECIPES",
    "OUTPUT_RECIPES",
    "AttackName",
    "DataRecipe",
    "DefenceConfig",
    "IclMembershipConfig",
    "InstructionRecipe",
    "OutputRecipe",
    "ServiceConfig",
]

AttackName = Literal["gap", "inquiry", "repeat", "brainwash", "hybrid", "likelihood"]
ATTACKS: tuple[AttackName, ...] = ("gap", "inquiry", "repeat", "brainwash", "hybrid", "likelihood")

DataRecipe = Literal["none", "synthetic", "paraphrase", "redact", "subset", "nearest_public", "labels_only"]
InstructionRecipe = Literal["none", "never_repeat", "neither_confirm_nor_deny", "only_a_label"]
OutputRecipe = Literal["none", "overlap_guard", "label_only", "scrub", "consistent", "ensemble"]
DATA_RECIPES: tuple[DataRecipe, ...] = ("synthetic", "paraphrase", "redact", "subset", "nearest_public", "labels_only")
INSTRUCTION_RECIPES: tuple[InstructionRecipe, ...] = ("never_repeat", "neither_confirm_nor_deny", "only_a_label")
OUTPUT_RECIPES: tuple[OutputRecipe, ...] = ("overlap_guard", "label_only", "scrub", "consistent", "ensemble")

Share = Annotated[float, Field(ge=0, le=1)]


class ServiceConfig(AuditConfig):
    """The service that is attacked: its task, its prompt, and how it is asked."""

    # -- task and prompt --------------------------------------------------------------------------------------------------
    task: Literal["generic", "trec", "ag_news", "dbpedia"] = Field(
        "generic", description="names of fields, instruction and label words of a known task"
    )
    label_words: dict[str, str] = Field(
        default_factory=dict, description="{label in the data: word for it in the prompt}; default: the label itself"
    )
    synonyms: dict[str, tuple[str, ...]] = Field(
        default_factory=dict, description="{label word: other words that mean it in a reply}"
    )
    instruction: str | None = Field(
        None, description="instruction before the demonstrations; default: that of the task, and '' is none"
    )
    field: str = Field("", description="name of a text in the prompt, as Question; default: that of the task")
    answer_field: str = Field("", description="name of a label in the prompt, as Type; default: that of the task")
    form: Literal["chat", "flat"] = Field("chat", description="messages, or one text that a base model continues")
    assistant_turns: bool = Field(
        True, description="whether a caller may write earlier turns of the assistant; else all goes into one message"
    )
    temperature: float = Field(0.0, ge=0, description="of the service; above 0 every question is asked `samples` times")
    samples: int = Field(3, ge=1, description="replies a question where the temperature is above 0")

    # -- games ------------------------------------------------------------------------------------------------------------
    # The paper draws 500 games (from memory); 100 shadow games fit one threshold and a network of 41 weights.
    trials: int = Field(500, ge=1, description="games in which every attack is judged: a member and a non-member each")
    shadow_trials: int = Field(100, ge=10, description="games on other texts that fit thresholds and the hybrid attack")
    position: Literal["any", "first", "last"] = Field("any", description="place of the member among the demonstrations")
    max_pool: int = Field(20_000, ge=20, description="texts kept, by a hash of their content")
    near_duplicates: float = Field(
        0.9, ge=0, le=1, description="Jaccard similarity from which one of two texts is left out (MinHash); 0: not looked for"
    )

    # -- attacks ----------------------------------------------------------------------------------------------------------
    attacks: tuple[AttackName, ...] = Field(ATTACKS, description="attacks to run; hybrid needs repeat and brainwash")
    inquiries: tuple[str, ...] = Field(
        (), description="wordings of the question whether a text was seen, with {x}; the mean over several is the score"
    )
    # Three words and J = 10 are those of a re-implementation; the paper's own numbers are not known to us.
    prefix_words: int = Field(3, ge=1, description="words of a text that the repeat attack gives")
    repeat_wording: str = Field("", description="how a chat service is asked to go on, with {prefix}")
    similarity: Literal["auto", "semantic", "token_f1", "rouge_l", "lcs_ratio", "tfidf_cosine"] = Field(
        "auto", description="how a continuation is compared; auto: semantic where a model is given, else tfidf_cosine"
    )
    repetitions: int = Field(10, ge=1, description="most times that a wrong label is stated")
    wrong_labels: int = Field(3, ge=1, description="wrong labels that are tried")
    fixed_threshold: float = Field(
        5.0, ge=0, description="repetitions from which brainwash would call a member without shadow games, shown beside"
    )
    search: Literal["bisect", "linear"] = Field("bisect", description="how the least number of statements is found")
    hybrid: Literal["network", "logistic"] = Field(
        "network", description="model of the hybrid attack: two layers as in the paper, or for few shadow games"
    )
    hybrid_features: tuple[Literal["repeat", "brainwash", "gap", "inquiry"], ...] = Field(
        ("repeat", "brainwash"), description="scores that go into it; the paper takes the first two", validate_default=True
    )
    max_tokens: int = Field(128, ge=8, description="longest reply in tokens")

    # -- statistics -------------------------------------------------------------------------------------------------------
    resamples: int = Field(1000, ge=100, description="bootstrap resamples of the games")
    confidence: float = Field(0.95, gt=0.5, lt=1, description="level of every interval")
    leak: Share = Field(0.1, description="advantage above which a service is said to leak")

    # -- defences ---------------------------------------------------------------------------------------------------------
    subset_size: int = Field(0, ge=0, description="demonstrations kept for a question by `subset`; 0: half of them")
    rare_documents: int = Field(5, ge=1, description="`redact` replaces words of fewer documents of the public texts")
    ngram: int = Field(0, ge=0, description="words in a row that `overlap_guard` blocks; 0: half of a text, at most 5")
    ensemble_parts: int = Field(3, ge=2, description="prompts with parts of the demonstrations that `ensemble` asks")
    epsilon: float = Field(8.0, gt=0, description="privacy budget of `synthetic`, for all demonstrations of a prompt")
    delta: float = Field(1e-5, gt=0, lt=1, description="delta of that budget, where its noise is gaussian")
    # Tang et al. 2024 (arXiv 2309.11765), for AG News.
    synthetic_tokens: int = Field(
        100, ge=1, description="longest text of `synthetic`; all its tokens are paid for out of epsilon, drawn or not"
    )
    synthetic_groups: int = Field(10, ge=1, description="groups of demonstrations whose predictions are averaged")
    synthetic_top_k: int = Field(100, ge=1, description="tokens that may come next: the likeliest without demonstrations")
    synthetic_noise: Literal["gaussian", "gumbel", "exponential"] = Field(
        "gaussian", description="noise on the average: the paper's (the extra `privacy` accounts for it), or with delta 0"
    )

    @field_validator("repeat_wording")
    @classmethod
    def _has_prefix(cls, wording: str) -> str:
        if wording and "{prefix}" not in wording:
            raise ValueError("must hold {prefix}, where the first words of the text go")
        return wording

    @field_validator("inquiries")
    @classmethod
    def _have_text(cls, wordings: tuple[str, ...]) -> tuple[str, ...]:
        if any("{x}" not in wording for wording in wordings):
            raise ValueError("must hold {x}, where the text goes")
        return wordings

    @field_validator("attacks")
    @classmethod
    def _any_attack(cls, attacks: tuple[AttackName, ...]) -> tuple[AttackName, ...]:
        if not attacks:
            raise ValueError("must name at least one attack")
        return tuple(dict.fromkeys(attacks))

    @field_validator("hybrid_features")
    @classmethod
    def _hybrid_has_parts(cls, features: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        features, attacks = tuple(dict.fromkeys(features)), info.data.get("attacks", ())
        lacking = [name for name in features if name not in attacks]
        if "hybrid" in attacks and (lacking or len(features) < 2):
            needs = (
                f"the attack hybrid needs {' and '.join(lacking)}" if lacking else "the attack hybrid needs two scores at least"
            )
            raise ValueError(f"{needs}: add to attacks what it needs, or leave hybrid out of them")
        return features


class IclMembershipConfig(ServiceConfig):
    """What is attacked under which conditions."""

    demonstrations: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        (6,), description="numbers of demonstrations in a prompt; the first is the main one, the others are compared with it"
    )
    hard_negatives: bool = Field(
        True, description="also judge against non-members that resemble the member: random ones flatter an attack"
    )
    control: bool = Field(
        True, description="also ask without demonstrations: what is left then was learnt before, and is no leak of the prompt"
    )
    data: DataRecipe = Field("none", description="defence of the demonstrations that the service has")
    instruct: InstructionRecipe = Field("none", description="defence in the instruction that the service has")
    output: OutputRecipe = Field("none", description="filter of replies that the service has")

    @field_validator("demonstrations")
    @classmethod
    def _distinct(cls, sizes: tuple[int, ...]) -> tuple[int, ...]:
        if not sizes or len(set(sizes)) < len(sizes):
            raise ValueError("must be different numbers, at least one")
        return sizes


class DefenceConfig(ServiceConfig):
    """Which defences are tried, alone and together."""

    trials: int = Field(200, ge=1, description="games in which every attack is judged, the same for every defence")
    demonstrations: int = Field(6, ge=1, description="demonstrations in a prompt")
    recipes: tuple[str, ...] = Field(
        ("redact", "subset", "nearest_public", "labels_only", "never_repeat", "neither_confirm_nor_deny", "only_a_label",
         "overlap_guard", "label_only", "scrub", "consistent", "ensemble"),
        description="defences tried one by one; synthetic and paraphrase need a model of their own",
    )  # fmt: skip
    # Cheap, without a model of their own, and each strong where the others are weak.
    data: DataRecipe = Field("subset", description="recipe for the demonstrations in the combinations")
    instruct: InstructionRecipe | Literal["worst"] = Field(
        "worst", description="wording in the combinations; worst: all three, and the weakest of them is reported"
    )
    output: OutputRecipe = Field("label_only", description="filter of replies in the combinations")
    transforms: bool = Field(
        True, description="let the attacker also ask for replies spelled backwards, in base64 and the like"
    )
    utility_queries: int = Field(200, ge=10, description="texts outside the prompts that measure the accuracy of the service")

    @field_validator("attacks")
    @classmethod
    def _from_text(cls, attacks: tuple[AttackName, ...]) -> tuple[AttackName, ...]:
        if set(attacks) <= {"likelihood"}:
            raise ValueError("must name an attack besides likelihood: a defence is judged by what text alone gives away")
        return tuple(dict.fromkeys(attacks))

    @field_validator("recipes")
    @classmethod
    def _known(cls, recipes: tuple[str, ...]) -> tuple[str, ...]:
        known = (*DATA_RECIPES, *INSTRUCTION_RECIPES, *OUTPUT_RECIPES)
        for recipe in recipes:
            if recipe not in known:
                raise ValueError(f"{recipe!r} is none of {', '.join(known)}")
        return tuple(dict.fromkeys(recipes))
