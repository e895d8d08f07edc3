"""The contract of a room: `Audit`, `Mitigation`, what they declare (`AuditInfo`) and what they are given (`Context`)."""

from __future__ import annotations

import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, Protocol

import numpy as np

from assaymark.budget import Budget
from assaymark.config import AuditConfig
from assaymark.errors import ModelError, UnknownName
from assaymark.result import Estimate, Result

if TYPE_CHECKING:
    from assaymark.store.cache import ModelCache

__all__ = ["Audit", "AuditInfo", "Context", "InputSpec", "Mitigation", "ModelRole", "Planting", "Progress", "Task", "Trial"]

InputKind = Literal["pairs", "images", "texts", "posts", "table", "embeddings", "graph"]


@dataclass(frozen=True, slots=True)
class InputSpec:
    """One input of an audit. `kind` decides which reader opens it and which columns it may have."""

    name: str
    kind: InputKind
    description: str
    required: bool = True


@dataclass(frozen=True, slots=True)
class ModelRole:
    """One model an audit may use. The model must provide one of `any_of`, or all of `all_of` (capability names).

    A role with `many` takes any number of models, each under a name of its own: the role `scorer` is filled by `scorer.a`,
    `scorer.b`, ...
    """

    name: str
    description: str
    any_of: tuple[str, ...] = ()
    all_of: tuple[str, ...] = ()
    required: bool = False
    many: bool = False

    def takes(self, name: str) -> bool:
        """Whether a model given under `name` fills this role."""
        family, dot, member = name.partition(".")
        return family == self.name and bool(dot and member) if self.many else name == self.name

    @property
    def shown(self) -> str:
        """The name as it is written in front of a spec."""
        return f"{self.name}.NAME" if self.many else self.name


@dataclass(frozen=True, slots=True)
class AuditInfo:
    """What `assaymark list` and `describe` show, and what the runner checks before anything is loaded."""

    id: str
    title: str
    question: str
    paper: str
    inputs: tuple[InputSpec, ...]
    models: tuple[ModelRole, ...] = ()
    needs: tuple[str, ...] = ()
    cost: str = ""
    limits: str = ""

    def role(self, name: str) -> ModelRole:
        """The role that a model given under `name` fills, under that name."""
        for role in self.models:
            if role.takes(name):
                return replace(role, name=name)
            if role.many and name == role.name:
                raise ModelError(f"role {name!r} takes several models: give each a name, {name}.NAME=SPEC (audit {self.id})")
        raise UnknownName("model role", name, [role.shown for role in self.models], mend=f"(audit {self.id})")


@dataclass(frozen=True)
class Planting:
    """Synthetic inputs whose answer is known.

    `truth` maps estimate names of the audit's result to their true values; `None` as a value means "nothing is there": the
    audit must raise no finding above "note" about it. `inputs` are what `Audit.run` takes by name (paths or Arrow tables).
    """

    inputs: Mapping[str, Any]
    truth: Mapping[str, float]
    settings: Mapping[str, Any] = field(default_factory=dict)
    models: Mapping[str, str] = field(default_factory=dict)
    null: bool = False


Expectation = Literal["covers", "above", "below", "not above"]


class Trial(NamedTuple):
    """One number of a planted experiment that needs no input files: the known truth and what the method estimated.

    `expect` says how to judge it over seeds: the interval covers the truth, the limit lies on one side of it, or, for a
    null planting, that nothing is found.
    """

    name: str
    truth: float
    estimate: Estimate
    expect: Expectation = "covers"


class Task(Protocol):
    """A running piece of work whose advance is shown."""

    def advance(self, amount: int = 1) -> None: ...

    def expect(self, total: int) -> None:
        """Say, or correct, how much there is to do."""
        ...


class _Silent:
    def advance(self, amount: int = 1) -> None:
        pass

    def expect(self, total: int) -> None:
        pass


class Progress:
    """Where an audit reports its advance; this base is silent, the command line shows bars."""

    def task(self, title: str, total: int | None = None, unit: str = "rows") -> AbstractContextManager[Task]:
        return nullcontext(_Silent())

    def note(self, text: str) -> None:
        """Tell the user something before it happens."""

    def ask(self, question: str) -> bool | None:
        """Yes or no from the user; None where nobody is there to answer."""
        return None


def _discard(event: str, **facts: Any) -> None:
    """Log that keeps nothing (use without a run folder)."""


@dataclass(frozen=True)
class Context:
    """What a running audit is given besides its inputs and settings.

    Attributes
    ----------
    seed : int
        Root of all randomness; draw with `rng("step name")`, never from a global generator.
    models : mapping of role to adapter
        Already opened, checked against the declared roles, restricted to the declared capabilities and cached.
    work : Path
        Folder of this step that survives a kill: checkpoints go here and are deleted by the runner when the step is done.
    artifacts : Path
        Folder for files that the step hands on (`Result.artifacts` names them relative to it).
    salt : bytes
        Secret of this user for hashing ids and content.
    base : Path, optional
        Folder that relative paths in model specs start from; the working directory by default.
    reveal : bool
        The user asked for raw content; otherwise nothing raw may enter a result.
    budget : Budget
        An audit that asks models many questions states them here before the first one: `budget.plan(QueryPlan(...))`.
    """

    seed: int = 0
    models: Mapping[str, Any] = field(default_factory=dict)
    engine: str = "local"
    device: str = "cpu"
    batch_size: int = 256
    reveal: bool = False
    salt: bytes = b"assaymark"
    work: Path | None = None
    artifacts: Path | None = None
    base: Path | None = None
    cache: ModelCache | None = None
    progress: Progress = field(default_factory=Progress)
    budget: Budget = field(default_factory=Budget)
    log: Callable[..., None] = _discard

    def rng(self, step: str) -> np.random.Generator:
        """A generator of its own for each named step: adding a step does not shift the draws of another."""
        return np.random.default_rng([self.seed, zlib.crc32(step.encode())])

    def model(self, role: str) -> Any:
        """The adapter in a role, or None when the user gave none for an optional role."""
        return self.models.get(role)

    def models_of(self, role: str) -> dict[str, Any]:
        """The adapters in a role that takes many, by the names they were given, in that order."""
        return {name.partition(".")[2]: model for name, model in self.models.items() if name.startswith(f"{role}.")}

    def require(self, role: str) -> Any:
        model = self.models.get(role)
        if model is None:
            raise ModelError(f"this step needs a model in the role {role!r}: give one with --model {role}=SPEC")
        return model


class Audit(ABC):
    """Asks one question of one or more inputs and answers with a `Result`.

    A room subclasses this, sets `info` and `Config`, and implements `run` and `planted`. `run` gets opened inputs (see
    `data.open_input`), keyed by the names in `info.inputs`; optional ones may be missing.
    """

    info: ClassVar[AuditInfo]
    Config: ClassVar[type[AuditConfig]]

    def __init__(self, config: AuditConfig | None = None) -> None:
        self.config: Any = config if config is not None else self.Config.build()

    @abstractmethod
    def run(self, inputs: Mapping[str, Any], context: Context) -> Result: ...

    @classmethod
    @abstractmethod
    def planted(cls, seed: int, folder: Path, *, null: bool = False, full: bool = False) -> Planting:
        """Write inputs with a known answer into `folder`. `full` is the published size, else one for tests."""
        ...

    @classmethod
    def experiments(cls, seed: int, *, full: bool = False) -> Sequence[Trial]:
        """Planted experiments on the methods themselves, for truths that no input file of sane size can hold."""
        return ()


class Mitigation(ABC):
    """Changes a data set, a model or an output; its `Result` is a paired before/after of an audit plus what it cost."""

    info: ClassVar[AuditInfo]
    Config: ClassVar[type[AuditConfig]]

    def __init__(self, config: AuditConfig | None = None) -> None:
        self.config: Any = config if config is not None else self.Config.build()

    @abstractmethod
    def run(self, inputs: Mapping[str, Any], context: Context) -> Result: ...
