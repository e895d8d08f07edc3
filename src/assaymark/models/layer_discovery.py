"""Which layers a network has, in the order in which a forward pass finishes them, and where each can be seen.

Convolutional networks: every convolution behind its normalisation and activation, every maximum pool, every residual sum.
Transformers: of each block the attention and the perceptron, each with its residual sum, and the hidden units of the
perceptron behind their activation (`BLOCK.attention`, `BLOCK.mlp`, `BLOCK.mlp.hidden`). Else linear layers behind their
activation. Last comes the representation, the output of the module. Found by what a forward pass does (`layer_trace`), not by
names of a library: sums are made by no module, and children need not run in their order. Imports torch.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from math import prod
from typing import Any, NamedTuple

from torch import nn

from assaymark.errors import ModelError
from assaymark.models.activation_recorder import REPRESENTATION, Place
from assaymark.models.layer_trace import Call, Operation, Trace, Value, trace_forward
from assaymark.models.protocols import Layer

__all__ = ["discover_layers", "discover_places"]

_CONVOLUTIONS = nn.modules.conv._ConvNd
_MAX_POOLS = nn.modules.pooling._MaxPoolNd
_NORMALISES = re.compile(r"norm", re.IGNORECASE)
_ACTIVATES = re.compile(r"relu|gelu|silu|swish|[^a-z]elu|^elu|mish|sigmoid|tanh|activation", re.IGNORECASE)
_ACTIVATING = re.compile(r"^(relu|gelu|silu|mish|elu|sigmoid|tanh|hardswish|leaky_relu|relu6|softplus)_?$")
_ATTENDS = re.compile(r"attn|attention", re.IGNORECASE)
_BESIDE_ATTENTION = re.compile(r"norm|^ln|drop|scale|output", re.IGNORECASE)
_HOLDS_ATTENTION = re.compile(r"(Block|Layer|Encoder|Model|Transformer)$")
_VIEWS = {"reshape", "view", "flatten", "unflatten", "transpose", "permute", "contiguous"}
_POOLS = {"adaptive_avg_pool2d", "avg_pool2d", "mean"}  # of a map with one place they are views too
_CLASS_TOKENS = re.compile(r"(^|\.)(cls_token|class_token|class_embedding)$")


class _Seen(NamedTuple):
    """Where a value is seen, and the tensor that is seen there."""

    module: str
    call: int
    given: bool
    tensor: int


class _Row(NamedTuple):
    """A layer before it has a place: the value that it puts out, and what it is called."""

    value: Value
    name: str
    kind: str
    block: str = ""
    weighted: str = ""


def discover_layers(module: nn.Module, example: Any) -> tuple[Layer, ...]:
    """The layers of `discover_places`."""
    return tuple(place.layer for place in discover_places(module, example))


def discover_places(module: nn.Module, example: Any) -> tuple[Place, ...]:
    """Layers of a network with where they can be seen, by one forward pass over a few items.

    Parameters
    ----------
    module : torch module
        Of any library; on the meta device neither weights nor time are needed.
    example : tensor, or mapping of argument names to tensors
        What the module takes: two items or more, on its device.

    Returns
    -------
    tuple of Place
        In the order in which a pass finishes the layers; the last is the representation. Left out is a layer whose output no
        module gives out or takes in (code between two sums, say), and tokens that lie in a grid with their units last.

    Raises
    ------
    ModelError
        Fewer than two items, or an output without a tensor.
    """
    trace = trace_forward(module, example)
    whole = trace.calls[-1]
    if whole.output is None:
        raise ModelError(f"the output of {type(module).__name__} holds no tensor: its layers cannot be found")
    class_token = any(_CLASS_TOKENS.search(name) for name, _ in module.named_parameters())
    same = _viewed_by(trace, whole.output)
    blocks: dict[str, int] = {}
    places: dict[str, Place] = {}
    rows = sorted(_rows(trace), key=lambda row: row.value.time)
    for row in rows:
        seen = _seen(trace, row.value)
        if seen is None:
            continue
        shape = trace.shapes[seen.tensor][1:]
        if row.value.tensor == whole.output or (row.value.tensor in same and prod(shape[1:]) == 1):
            continue  # the output of the network comes once, at the end
        name = _free(row.name, places)
        if row.kind in ("attention", "mlp", "linear") and len(shape) > 2:
            continue
        number = blocks.setdefault(row.block, len(blocks)) if row.block else None
        tokens = class_token and len(shape) == 2
        layer = Layer(name, row.kind, number, shape, trace.rectified(row.value), tokens)
        places[name] = Place(layer, seen.module, seen.call, seen.given, row.weighted)
    last = Layer(
        REPRESENTATION, REPRESENTATION, None, trace.shapes[whole.output][1:], trace.rectified(Value(whole.output, whole.stop))
    )
    weighted = next((row.weighted for row in reversed(rows) if row.value.tensor in same), "")
    return (*places.values(), Place(last, "", weighted=weighted))


def _viewed_by(trace: Trace, tensor: int) -> set[int]:
    """A tensor, and those that it is the same numbers of in another shape."""
    shown = {made.output: made.given[0] for made in trace.operations if made.name in _VIEWS or _pools_one_place(trace, made)}
    found = {tensor}
    while tensor in shown and shown[tensor] not in found:
        tensor = shown[tensor]
        found.add(tensor)
    return found


def _pools_one_place(trace: Trace, operation: Operation) -> bool:
    shape = trace.shapes[operation.given[0]] if operation.given else ()
    return operation.name in _POOLS and len(shape) == 4 and prod(shape[2:]) == 1


def _free(name: str, taken: dict[str, Place]) -> str:
    """A name, or its next repetition: `name#1`."""
    number, free = 0, name
    while free in taken:
        number += 1
        free = f"{name}#{number}"
    return free


def _rows(trace: Trace) -> Iterator[_Row]:
    attention = [call for call in trace.calls if _attends(call)]
    inside = {call for call in trace.calls if any(_within(call, outer) for outer in attention)}
    outside = [call for call in trace.calls if call not in inside]
    sums = list(_sums(trace, outside, attention))
    blocks = {_block_of(row.name, row.kind) for row in sums} - {""}
    first = min((row.value.time for row in sums if row.kind == "attention"), default=0)
    for call in outside:
        if call.output is None:
            continue
        value = _finished(trace, call)
        if isinstance(call.module, _CONVOLUTIONS):
            kind = "embedding" if call.stop < first else "convolution"
            yield _Row(value, call.name, kind, _inside(call.name, blocks), call.name)
        elif isinstance(call.module, _MAX_POOLS):
            yield _Row(Value(call.output, call.stop), call.name, "pooling", _inside(call.name, blocks))
        elif isinstance(call.module, nn.Linear):
            yield from _linear(call, value, sums)
    for row in sums:
        yield row._replace(block=_numbered(_block_of(row.name, row.kind)))


def _linear(call: Call, value: Value, sums: list[_Row]) -> Iterator[_Row]:
    """A linear layer by itself; or, within the perceptron of a block, its hidden units, where an activation follows it."""
    around = [row for row in sums if row.value.time > call.stop and _holds(_block_of(row.name, row.kind), call.name)]
    if not around:
        yield _Row(value, call.name, "linear", weighted=call.name)
    elif around[0].kind == "mlp" and value.time > call.stop:
        block = _block_of(around[0].name, "mlp")
        yield _Row(value, f"{around[0].name}.hidden", "mlp", _numbered(block), call.name)


def _sums(trace: Trace, outside: list[Call], attention: list[Call]) -> Iterator[_Row]:
    """Residual sums, each behind an activation that follows it, with what was added: by the last layer before it."""
    since: dict[str, int] = {}
    for operation in trace.operations:
        if not operation.adds or any(call.start < operation.time < call.stop for call in attention):
            continue
        block = _enclosing(operation)
        window = (since.get(block, 0), operation.time)
        kind = _added(block, window, outside, attention)
        if kind is None:
            continue
        since[block] = operation.time
        value = _activated(trace, Value(operation.output, operation.time))
        if kind == "residual":
            yield _Row(value, operation.scope[-1] or "residual", kind)
        else:
            yield _Row(value, f"{block}.{kind}".removeprefix("."), kind)


def _added(block: str, window: tuple[int, int], outside: list[Call], attention: list[Call]) -> str | None:
    """What a residual sum adds: "residual" behind convolutions, else the sub-block that ran last; None where nothing ran."""
    calls = [call for call in outside if window[0] < call.stop < window[1] and _holds(block, call.name)]
    if any(isinstance(call.module, _CONVOLUTIONS) for call in calls):
        return "residual"
    attended = max((call.stop for call in attention if window[0] < call.stop < window[1]), default=0)
    mapped = max((call.stop for call in calls if isinstance(call.module, nn.Linear)), default=0)
    if not attended and not mapped:
        return None
    return "attention" if attended > mapped else "mlp"


def _enclosing(operation: Operation) -> str:
    """The block that a sum belongs to: the innermost numbered module around it, else the innermost module."""
    for name in reversed(operation.scope):
        if _numbered(name):
            return name
    return operation.scope[-1]


def _numbered(name: str) -> str:
    """A name that ends in a number, as members of lists of blocks do; else nothing."""
    return name if name.rpartition(".")[2].isdecimal() else ""


def _block_of(name: str, kind: str) -> str:
    """The block in the name of a residual sum."""
    if kind != "residual":
        return name.removesuffix(f".{kind}") if name != kind else ""
    parts = name.split(".")
    while parts and not parts[-1].isdecimal():
        parts.pop()
    return ".".join(parts) or name


def _holds(block: str, name: str) -> bool:
    return not block or name == block or name.startswith(f"{block}.")


def _inside(name: str, blocks: set[str]) -> str:
    """The numbered block that a module is part of."""
    return max((block for block in blocks if _numbered(block) and _holds(block, name)), key=len, default="")


def _within(call: Call, outer: Call) -> bool:
    return outer.start < call.start and call.stop < outer.stop


def _attends(call: Call) -> bool:
    """Whether a module computes attention, rather than holding a block that does."""
    leaf, made = call.name.rpartition(".")[2], type(call.module).__name__
    if not call.name or isinstance(call.module, (nn.ModuleList, nn.Identity)) or _BESIDE_ATTENTION.search(leaf):
        return False
    return bool(_ATTENDS.search(leaf)) or bool(_ATTENDS.search(made) and not _HOLDS_ATTENTION.search(made))


def _finished(trace: Trace, call: Call) -> Value:
    """The output of a convolution or linear layer behind the normalisation and activation that follow it."""
    value = Value(call.output or 0, call.stop)
    normalised = _next(trace, value, _NORMALISES)
    return _activated(trace, normalised or value)


def _activated(trace: Trace, value: Value) -> Value:
    """A value behind the activation that reads it, a module or a function, where there is one."""
    behind = _next(trace, value, _ACTIVATES)
    if behind is not None:
        return behind
    reader = next((o for o in trace.operations if o.time > value.time and value.tensor in o.given), None)
    if reader is None or not _ACTIVATING.search(reader.name):
        return value
    return Value(reader.output, reader.time)


def _next(trace: Trace, value: Value, what: re.Pattern[str]) -> Value | None:
    """The output of the module of a kind that is the first to read a value; None where another reads it before."""
    readers = [call for call in trace.calls if call.start > value.time and call.given == value.tensor]
    readers = [call for call in readers if not _is_container(call)]
    operations = [o.time for o in trace.operations if o.time > value.time and value.tensor in o.given]
    first = min(readers, key=lambda call: call.start, default=None)
    if first is None or first.output is None or not what.search(type(first.module).__name__):
        return None
    if operations and min(operations) < first.start:
        return None
    return Value(first.output, first.stop)


def _is_container(call: Call) -> bool:
    """Whether a module only calls others, so that its first reader is one of them; normalisations stand for themselves."""
    has_parts = next(call.module.children(), None) is not None
    return has_parts and not _NORMALISES.search(type(call.module).__name__)


def _seen(trace: Trace, value: Value) -> _Seen | None:
    """Where a value is seen first, once it is there; if nowhere, where it is in another shape."""
    ends = [(call.stop, call.name, call.number, False) for call in trace.calls if call.output == value.tensor]
    starts = [(call.start, call.name, call.number, True) for call in trace.calls if call.given == value.tensor]
    later = [entry for entry in (*ends, *starts) if entry[0] >= value.time]
    if later:
        _, name, number, given = min(later)
        return _Seen(name, number, given, value.tensor)
    viewed = next((o for o in trace.operations if o.time > value.time and value.tensor in o.given[:1]), None)
    return _seen(trace, Value(viewed.output, viewed.time)) if viewed is not None and viewed.name in _VIEWS else None
