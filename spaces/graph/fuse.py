"""Operators to blocks: a norm and an activation join the operator before them if nothing else reads its result."""

from collections import Counter
from dataclasses import replace
from typing import Any

import torch

from spaces.blocks.activations import CLAMPS
from spaces.graph.compose import composed, in_turn
from spaces.graph.errors import UnsupportedNetwork
from spaces.graph.op import ACTIVATION, NORM, PAD, NormNumbers, Op
from spaces.graph.ops import translate
from spaces.graph.trace import Call, Trace, Value

IDLE = "nothing reads what it gives, so that it is left out"


def operators(trace: Trace) -> tuple[list[Op], tuple[str, ...], dict[str, str]]:
    """The operators in order, the names of the outputs, and what was done to layers: name -> words."""
    passes_on: dict[str, str] = {}
    ops: list[Op] = []
    for call in trace.calls:
        made = translate(_resolved(call, passes_on))
        if isinstance(made, Value):
            passes_on[call.name] = passes_on.get(made.name, made.name)
        else:
            ops += made
    apart = _biases_apart(ops)
    returned = [passes_on.get(output.name, output.name) for output in trace.outputs]
    outputs = tuple(apart.get(name, name) for name in returned)
    ops = composed(_padded(ops, outputs), outputs)
    needed, kept, notes = set(outputs), [], dict[str, str]()
    for op in reversed(ops):
        if op.name in needed:
            needed.update(op.inputs)
            kept.append(op)
            notes |= {f"{op.name}/parameters": op.note} if op.note else {}
        elif op.weighted:
            notes[op.name] = IDLE
    return kept[::-1], outputs, dict(reversed(notes.items()))


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


def _padded(ops: list[Op], outputs: tuple[str, ...]) -> list[Op]:
    """The operators without pads. Each convolution that reads a pad pads as much more itself.

    Raises:
        UnsupportedNetwork: something else reads the padded tensor.
    """
    pads = {op.name: op for op in ops if op.kind == PAD}
    for op in ops:
        for name in [name for name in op.inputs if name in pads]:
            pad = pads[name]
            if not (op.weighted and "padding" in op.attributes) and op.kind != PAD:
                raise _unread(pad, f"'{op.name}' ({op.kind})")
            pairs = zip(op.attributes["padding"], pad.attributes["padding"], strict=True)
            op.attributes["padding"] = [[low + more, high + most] for (low, high), (more, most) in pairs]
            op.inputs = pad.inputs
    for name in outputs:
        if name in pads:
            raise _unread(pads[name], "the network's output")
    return [op for op in ops if op.kind != PAD]


def _unread(pad: Op, reader: str) -> UnsupportedNetwork:
    return UnsupportedNetwork(
        pad.where, f"pads what {reader} reads.", "Only a convolution can take padding over: pad there, or in the pool."
    )


def _resolved(call: Call, passes_on: dict[str, str]) -> Call:
    def resolve(argument: Any) -> Any:
        if isinstance(argument, Value):
            return Value(passes_on.get(argument.name, argument.name), argument.shape)
        return tuple(map(resolve, argument)) if isinstance(argument, (list, tuple)) else argument

    return replace(call, given={name: resolve(argument) for name, argument in call.given.items()})


def fuse(ops: list[Op], outputs: tuple[str, ...]) -> tuple[list[Op], tuple[str, ...]]:
    """The blocks, each named by its first operator, and the names of the outputs."""
    readers = Counter(name for op in ops for name in op.inputs) + Counter(outputs)
    blocks: list[Op] = []
    renamed: dict[str, str] = {}
    by_name: dict[str, Op] = {}
    inside: dict[str, Op] = {}  # a reshape -> what computes the codes that it passes on
    for op in ops:
        op.inputs = [renamed.get(name, name) for name in op.inputs]
        before = by_name.get(op.inputs[0])
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
        return plain and before.weighted and before.norm is None
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
    channels, dims = op.shape[0], max(1, len(op.shape) - 1)
    one, none = [1] * dims, [[0, 0]] * dims
    attributes = {"kernel": one, "stride": one, "padding": none, "dilation": one, "groups": channels}
    scaled = replace(op, kind="conv", weights=f"{op.norm}.scale", attributes=attributes)
    scaled.weight = torch.ones(channels, 1, *one)
    if len(op.shape) > 1:
        return [scaled]
    scaled.name, scaled.inputs, scaled.shape = f"{op.name}.scale", [f"{op.name}.place"], (channels, 1)
    place = Op("flatten", f"{op.name}.place", op.where, op.inputs, scaled.shape, {"shape": [channels, 1]})
    flat = Op("flatten", op.name, op.where, [scaled.name], op.shape, {"shape": [channels]})
    return [place, scaled, flat]
