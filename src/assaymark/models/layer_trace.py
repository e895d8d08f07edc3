"""The course of one forward pass: which module was called on what, which sums were made, and what cannot be negative.

What is recorded are the identities of tensors, so that the course shows whose output is whose input, functional code between
the modules included. On the meta device it costs neither time nor memory. Imports torch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from assaymark.errors import ModelError
from assaymark.models.activation_recorder import evaluating, first_tensor

__all__ = ["Call", "Operation", "Trace", "Value", "trace_forward"]

_SUMS = {"add", "add_", "__add__", "__iadd__", "__radd__"}
_RECTIFYING = {"relu", "relu_", "relu6", "sigmoid", "sigmoid_", "softmax", "softplus", "threshold_"}
_RECTIFIERS = (nn.ReLU, nn.ReLU6, nn.Sigmoid, nn.Softplus, nn.Softmax)
_POOLS = nn.modules.pooling
_KEEPING = (
    *(_POOLS._MaxPoolNd, _POOLS._AvgPoolNd, _POOLS._AdaptiveMaxPoolNd, _POOLS._AdaptiveAvgPoolNd),
    *(nn.Identity, nn.Flatten, nn.modules.dropout._DropoutNd),
)
_KEEPING_OPERATIONS = {
    *("flatten", "reshape", "view", "mean", "amax", "dropout", "transpose", "permute", "__getitem__", "contiguous", "squeeze"),
    *("unsqueeze", "max_pool1d", "max_pool2d", "avg_pool2d", "adaptive_avg_pool2d", "adaptive_max_pool2d", "clone", "to"),
}


class Value(NamedTuple):
    """A tensor at a time: work in place gives one tensor several values."""

    tensor: int
    time: int


class Call(NamedTuple):
    """One call of a module, from `start` to `stop`. `number` counts its calls within the pass, from 0."""

    name: str
    module: nn.Module
    number: int
    given: int | None
    output: int | None
    start: int
    stop: int


class Operation(NamedTuple):
    """One function of torch.

    `scope` are the modules that it was called in, the innermost last; `adds` means a sum of two values of the pass.
    """

    name: str
    given: tuple[int, ...]
    output: int
    time: int
    scope: tuple[str, ...]
    adds: bool


class _Opened(NamedTuple):
    """A call that has begun."""

    name: str
    number: int
    given: int | None
    start: int


class Trace:
    """What happened in a forward pass.

    Attributes
    ----------
    calls : list of Call
        In the order in which they ended.
    operations : list of Operation
    shapes : dict of int to tuple
        Shape of each tensor.
    """

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.operations: list[Operation] = []
        self.shapes: dict[int, tuple[int, ...]] = {}
        self.time = 0
        self._positive: dict[int, list[tuple[int, bool]]] = {}  # tensor to (time, cannot be negative)
        self._kept: list[Tensor] = []  # while a tensor lives no other has its id
        self._numbers: Counter[str] = Counter()
        self._open: list[_Opened] = []

    def tick(self) -> int:
        self.time += 1
        return self.time

    def keep(self, tensor: Tensor) -> int:
        self._kept.append(tensor)
        self.shapes[id(tensor)] = tuple(tensor.shape)
        return id(tensor)

    def rectified(self, value: Value) -> bool:
        """Whether a tensor cannot be negative at a time."""
        return next((sign for time, sign in reversed(self._positive.get(value.tensor, [])) if time <= value.time), False)

    def mark(self, tensor: int, positive: bool) -> None:
        self._positive.setdefault(tensor, []).append((self.time, positive))

    def enter(self, name: str, given: Tensor | None) -> None:
        self._open.append(_Opened(name, self._numbers[name], None if given is None else self.keep(given), self.tick()))
        self._numbers[name] += 1

    def leave(self, part: nn.Module, output: Tensor | None) -> None:
        name, number, given, start = self._open.pop()
        made = None if output is None else self.keep(output)
        stop = self.tick()
        if made is not None and isinstance(part, _RECTIFIERS):
            self.mark(made, True)
        elif made is not None and given is not None and isinstance(part, _KEEPING):
            self.mark(made, self.rectified(Value(given, stop)))
        self.calls.append(Call(name, part, number, given, made, start, stop))

    def operate(self, name: str, inputs: list[Tensor], output: Tensor) -> None:
        """Write down a function of torch and what follows for the sign of its output."""
        signs = [self.rectified(Value(id(tensor), self.time)) for tensor in inputs]
        given = tuple(self.keep(tensor) for tensor in inputs)
        made, time = self.keep(output), self.tick()
        adds = name in _SUMS and len(inputs) == 2 and all(_flows(tensor, output) for tensor in inputs)
        positive = name in _RECTIFYING or (name in _KEEPING_OPERATIONS and signs[:1] == [True]) or (adds and all(signs))
        self.mark(made, positive)
        scope = tuple(opened.name for opened in self._open)
        self.operations.append(Operation(name, given, made, time, scope, adds))


def _flows(tensor: Tensor, output: Tensor) -> bool:
    """Whether a summand is what flows through the network, rather than a weight that is added to all items."""
    return tensor.shape == output.shape and tensor.is_floating_point() and not isinstance(tensor, nn.Parameter)


class _Functions(TorchFunctionMode):
    def __init__(self, trace: Trace) -> None:
        super().__init__()
        self._trace = trace

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        made = func(*args, **kwargs)
        if isinstance(made, Tensor):
            inputs = [value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)]
            self._trace.operate(getattr(func, "__name__", ""), inputs, made)
        return made


def trace_forward(module: nn.Module, example: Any) -> Trace:
    """One forward pass in evaluation mode, without gradients, written down.

    Parameters
    ----------
    module : torch module
    example : tensor, or mapping of argument names to tensors
        Two items or more: what is the same for all items then has another shape than they have.
    """
    items = first_tensor(example)
    if items is None or len(items) < 2:
        raise ModelError("two items or more are needed to find the layers of a network")
    trace, handles = Trace(), []

    def watch(name: str, part: nn.Module) -> list[Any]:
        def before(_: nn.Module, args: Any, kwargs: Any) -> None:
            trace.enter(name, first_tensor((*args, *kwargs.values())))

        def after(_: nn.Module, args: Any, output: Any) -> None:
            trace.leave(part, first_tensor(output))

        return [part.register_forward_pre_hook(before, with_kwargs=True), part.register_forward_hook(after)]

    try:
        for name, part in module.named_modules():
            handles += watch(name, part)
        with evaluating(module), torch.no_grad(), _Functions(trace):
            module(**example) if isinstance(example, Mapping) else module(example)
    finally:
        for handle in handles:
            handle.remove()
    return trace
