"""Operators to blocks: a norm and an activation join the operator before them if nothing else reads its result."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from math import inf, prod
from typing import Any

import torch
from torch import Tensor

from search.integer.traits import Channels
from spaces.blocks.activations import CLAMPS
from spaces.graph.compose import composed, in_turn
from spaces.graph.ending import LEFT_OUT, without_softmax
from spaces.graph.errors import UnsupportedNetwork
from spaces.graph.forms import Forms
from spaces.graph.masks import bounded
from spaces.graph.op import ACTIVATION, NORM, PAD, NormNumbers, Op
from spaces.graph.ops import translate
from spaces.graph.rules.resampling import weights_of
from spaces.graph.rules.weighted import LARGEST_RANK
from spaces.graph.shortcuts import shortened
from spaces.graph.trace import Call, Trace
from spaces.graph.value import Value

IDLE = "nothing reads what it gives, so that it is left out"


@dataclass(frozen=True)
class Operators:
    """A network before fusion.

    Attributes:
        ops: in execution order.
        outputs: their names.
        notes: layer -> what was done to it.
        left_out: for each output a softmax that was behind it; "": nothing was.
    """

    ops: list[Op]
    outputs: tuple[str, ...]
    notes: dict[str, str]
    left_out: tuple[str, ...]


def operators(trace: Trace, drop_softmax: bool = False) -> Operators:
    """The operators that a network is. Args: drop_softmax: whether a softmax that ends it is left out."""
    forms, values = Forms(), dict[str, Any]()
    for call in trace.calls:
        values[call.name] = translate(_resolved(call, values, forms))
    returned = [_whole(forms, values.get(output.name, output)) for output in trace.outputs]
    ops = forms.ops
    shortened(ops)
    _forms_apart(ops)
    apart = _biases_apart(ops)
    outputs = tuple(apart.get(name, name) for name in returned)
    shapes = {value.name: value.shape[1:] for value in trace.inputs} | {op.name: op.shape for op in ops}
    ops = composed(_spread(_padded(ops, outputs, shapes)), outputs)
    left_out = ("",) * len(outputs)
    if drop_softmax:
        outputs, left_out = without_softmax(ops, outputs)
    masks = bounded(ops, outputs)
    needed, notes = _needed(ops, outputs), dict[str, str]()
    for op in ops:
        if op.name in needed:
            notes |= {f"{op.name}/parameters": op.note} if op.note else {}
        elif op.weighted:
            notes[op.name] = IDLE
    kept = [op for op in ops if op.name in needed]
    notes = notes | masks | {ending: LEFT_OUT for ending in left_out if ending}
    return Operators(kept, outputs, notes, left_out)


def _needed(ops: Sequence[Op], outputs: Collection[str]) -> set[str]:
    """All that outputs are made of, what is carried from one place of a sequence to the next included."""
    by_name, found, left = {op.name: op for op in ops}, set[str](), list(outputs)
    while left:
        name = left.pop()
        if name in found or name not in by_name:
            continue
        found.add(name)
        left += by_name[name].reads
    return found


def _whole(forms: Forms, output: Value) -> str:
    """An output of the network, stored as the user has it."""
    if not output.rank:
        raise UnsupportedNetwork(
            "forward", "returns a number for each sample, without a dimension.", "Keep one: drop the last squeeze."
        )
    if output.batch:
        raise UnsupportedNetwork(
            output.label or output.name, "returns a tensor whose dimension 0 is not the batch.", "Transpose it before."
        )
    return forms.stored(output, range(output.rank)).name


def _spread(ops: list[Op]) -> list[Op]:
    """The operators, of which those that work element by element spread tensors over axes themselves."""
    shapes = {op.name: op.shape for op in ops}
    copies = {op.name: op.inputs[0] for op in ops if _only_spreads(op, shapes)}
    for op in ops:
        if op.operator is None or op.operator.elementwise:
            others = [name for name in op.inputs if name not in copies]
            if len(op.inputs) == 2 and others:
                op.inputs = [copies.get(name, name) for name in op.inputs]
    return ops


def _only_spreads(op: Op, shapes: Mapping[str, tuple[int, ...]]) -> bool:
    """Whether it copies along axes of one element, and does nothing else."""
    if op.operator is None or op.operator.channels is not Channels.TAKEN or op.inputs[0] not in shapes:
        return False
    axes = zip(op.attributes["indices"], shapes[op.inputs[0]], strict=True)
    return all(size == 1 for places, size in axes if places)


def _forms_apart(ops: list[Op]) -> None:
    """Gives weights a name for each form in which calls read one parameter: as it is, turned, or mirrored."""
    forms: dict[str, list[Tensor]] = {}
    for op in ops:
        if op.weights is not None and op.weight is not None:
            known = forms.setdefault(op.weights, [])
            alike = [i for i, each in enumerate(known) if each.shape == op.weight.shape and each.equal(op.weight)]
            known += [] if alike else [op.weight]
            place = alike[0] if alike else len(known) - 1
            op.weights += f"@{place + 1}" if place else ""


def _biases_apart(ops: list[Op]) -> dict[str, str]:
    """Gives biases a norm each, where calls of the same weights have different ones. Name -> what replaces it."""
    biases: dict[str | None, set[int]] = {}
    for op in ops:
        if op.weighted:
            biases.setdefault(op.weights, set()).add(id(op.bias))
    renamed: dict[str, str] = {}
    for place in reversed(range(len(ops))):
        op = ops[place]
        if op.weighted and len(biases[op.weights]) > 1 and op.bias is not None:
            offset = NormNumbers.offset(op.bias)
            apart = Op(NORM, f"{op.name}.bias", op.where, [op.name], op.shape, norm=f"{op.name}.bias")
            apart.norm_numbers, op.bias, renamed[op.name] = offset, None, apart.name
            for reader in ops[place + 1 :]:
                reader.inputs = [apart.name if name == op.name else name for name in reader.inputs]
            ops.insert(place + 1, apart)
    return renamed


def _padded(ops: list[Op], outputs: tuple[str, ...], shapes: Mapping[str, tuple[int, ...]]) -> list[Op]:
    """The operators without pads. What reads one and pads that number itself pads more; for others it is resampled.

    Raises:
        UnsupportedNetwork: a pad is no number of codes, and something reads it that does not pad it itself; or a
            window has no element.
    """
    pads = {op.name: op for op in ops if op.kind == PAD}
    others = set(outputs)
    for op in ops:
        for name in [name for name in op.inputs if name in pads]:
            pad = pads[name]
            if pad.attributes["border"] == _border(op):
                pairs = zip(op.attributes["padding"], pad.attributes["padding"], strict=True)
                op.attributes["padding"] = [[low + more, high + most] for (low, high), (more, most) in pairs]
                op.inputs = pad.inputs
            else:
                others.add(name)
    for name in others & pads.keys():
        pad, sizes = pads[name], pads[name].shape[1:]
        if pad.attributes["border"]:
            raise UnsupportedNetwork(
                pad.where,
                f"puts {pad.attributes['border']} around a tensor, and not only maximum pools read it.",
                "Codes have no such value: take a finite number.",
            )
        rows = [
            [[Fraction(int(element == place - low)) for element in range(size - low - high)] for place in range(size)]
            for (low, high), size in zip(pad.attributes["padding"], sizes, strict=True)
        ]
        pad.kind, pad.attributes = "resample", weights_of(rows)
    for op in ops:
        if _border(op) == -inf and op.kind != PAD:
            _check_windows(op, shapes[op.inputs[0]])
    return [op for op in ops if op.kind != PAD]


def _check_windows(op: Op, shape: tuple[int, ...]) -> None:
    """Refuses a maximum of nothing: a window that lies in the border, whole."""
    a = op.attributes
    for axis, (size, out) in enumerate(zip(shape[1:], op.shape[1:], strict=True)):
        kernel, stride, dilation = (a[key][axis] for key in ("kernel", "stride", "dilation"))
        firsts = range(-a["padding"][axis][0], out * stride - a["padding"][axis][0], stride)
        if not all(any(0 <= first + tap * dilation < size for tap in range(kernel)) for first in firsts):
            found = f"takes maxima over windows of {a['kernel']}, and some lie in a border of {a['padding']}, whole."
            raise UnsupportedNetwork(
                op.where, found, "A maximum of nothing is -inf, which no code stands for: pad less."
            )


def _border(op: Op) -> float | None:
    if op.kind == PAD:
        return float(op.attributes["border"])
    return None if op.operator is None else op.operator.border


def _resolved(call: Call, values: Mapping[str, Any], forms: Forms) -> Call:
    def resolve(argument: Any) -> Any:
        if isinstance(argument, Value):
            return values.get(argument.name, argument)
        return tuple(map(resolve, argument)) if isinstance(argument, (list, tuple)) else argument

    return replace(call, given={name: resolve(argument) for name, argument in call.given.items()}, forms=forms)


def fuse(ops: list[Op], outputs: tuple[str, ...]) -> tuple[list[Op], tuple[str, ...]]:
    """The blocks, each named by its first operator, and the names of the outputs."""
    readers = Counter(name for op in ops for name in op.reads) + Counter(outputs)
    blocks: list[Op] = []
    renamed: dict[str, str] = {}
    by_name: dict[str, Op] = {}
    inside: dict[str, Op] = {}  # a reshape -> what computes the codes that it passes on
    for op in ops:
        op.inputs = [renamed.get(name, name) for name in op.inputs]
        before = by_name.get(op.inputs[0]) if op.inputs else None
        if before is not None and readers[before.name] == 1 and _joins(op, inside.get(before.name, before)):
            _join(op, inside.get(before.name, before))
            renamed[op.name] = before.name
            readers[before.name] = readers[op.name]
            continue
        for block in (alone := _alone(op)):
            blocks.append(block)
            by_name[block.name] = block
        if len(alone) > 1:
            inside[op.name] = alone[1]
    return blocks, tuple(renamed.get(name, name) for name in outputs)


def _joins(op: Op, before: Op) -> bool:
    plain = before.activation[0] == "none"
    if op.kind == NORM:
        return plain and before.operator is not None and before.operator.fuses_norm and before.norm is None
    if op.kind != ACTIVATION or before.operator is None:
        return False
    return before.operator.fuses_activation if plain else before.activation[0] not in CLAMPS


def _join(op: Op, before: Op) -> None:
    if op.kind == NORM:
        before.norm, before.norm_numbers = op.norm, op.norm_numbers
    elif before.activation[0] == "none":
        before.activation = op.activation
    else:
        before.activation = in_turn(before.activation, op.activation)


def _alone(op: Op) -> list[Op]:
    """An activation by itself becomes a table, a norm by itself a depthwise 1x1 convolution with weights of one.

    Features are convolved as channels of one place.
    """
    if op.kind == ACTIVATION:
        op.kind = "table"
    if op.kind != NORM:
        return [op]
    folds = not 2 <= len(op.shape) <= LARGEST_RANK  # features are one place, and many axes are one
    inner = (op.shape[0], prod(op.shape[1:])) if folds else op.shape
    channels, dims = op.shape[0], len(inner) - 1
    one, none = [1] * dims, [[0, 0]] * dims
    attributes = {"kernel": one, "stride": one, "padding": none, "dilation": one, "groups": channels}
    scaled = replace(op, kind="conv", weights=f"{op.norm}.scale", attributes=attributes)
    scaled.weight = torch.ones(channels, 1, *one)
    if not folds:
        return [scaled]
    scaled.name, scaled.inputs, scaled.shape = f"{op.name}.scale", [f"{op.name}.place"], inner
    place = Op("reshape", f"{op.name}.place", op.where, op.inputs, inner, {"shape": list(inner)})
    flat = Op("reshape", op.name, op.where, [scaled.name], op.shape, {"shape": list(op.shape)})
    return [place, scaled, flat]
