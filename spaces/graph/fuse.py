"""Operators to blocks: a norm and an activation join the operator before them if nothing else reads its result."""

from collections import Counter
from dataclasses import replace
from typing import Any

import torch

from spaces.graph.errors import UnsupportedNetwork
from spaces.graph.op import ACTIVATION, NORM, PAD, Op
from spaces.graph.ops import translate
from spaces.graph.trace import Call, Trace, Value


def operators(trace: Trace) -> tuple[list[Op], tuple[str, ...]]:
    """The operators in order, without those that nothing reads, and the names of the outputs."""
    passes_on: dict[str, str] = {}
    ops: list[Op] = []
    for call in trace.calls:
        made = translate(_resolved(call, passes_on))
        if isinstance(made, Value):
            passes_on[call.name] = passes_on.get(made.name, made.name)
        else:
            ops += made
    outputs = tuple(passes_on.get(output.name, output.name) for output in trace.outputs)
    ops = _padded(ops, outputs)
    needed, kept = set(outputs), []
    for op in reversed(ops):
        if op.name in needed:
            needed.update(op.inputs)
            kept.append(op)
    return kept[::-1], outputs


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

    kwargs = {k: resolve(v) for k, v in call.kwargs.items()}
    return replace(call, args=tuple(map(resolve, call.args)), kwargs=kwargs)


def fuse(ops: list[Op], outputs: tuple[str, ...]) -> tuple[list[Op], tuple[str, ...]]:
    """The blocks, each named by its first operator, and the names of the outputs."""
    readers = Counter(name for op in ops for name in op.inputs) + Counter(outputs)
    blocks: list[Op] = []
    renamed: dict[str, str] = {}
    by_name: dict[str, Op] = {}
    for op in ops:
        op.inputs = [renamed.get(name, name) for name in op.inputs]
        before = by_name.get(op.inputs[0])
        if before is not None and readers[before.name] == 1 and _joins(op, before):
            _join(op, before)
            renamed[op.name] = before.name
            readers[before.name] = readers[op.name]
            continue
        op = _alone(op)
        blocks.append(op)
        by_name[op.name] = op
    return blocks, tuple(renamed.get(name, name) for name in outputs)


def _joins(op: Op, before: Op) -> bool:
    plain = before.activation[0] == "none"
    if op.kind == NORM:
        return plain and before.weighted and before.norm is None
    return op.kind == ACTIVATION and plain and before.operator is not None and before.operator.fuses_activation


def _join(op: Op, before: Op) -> None:
    if op.kind == NORM:
        before.norm, before.norm_module = op.norm, op.norm_module
    else:
        before.activation = op.activation


def _alone(op: Op) -> Op:
    """An activation by itself becomes a table, a norm by itself a depthwise 1x1 convolution with weights of one."""
    if op.kind == ACTIVATION:
        op.kind = "table"
    if op.kind == NORM:
        channels, dims = op.shape[0], len(op.shape) - 1
        if dims == 0:
            raise UnsupportedNetwork(
                op.where,
                "is a batch norm over features that does not follow a linear layer.",
                "Put it behind a Linear.",
            )
        one, none = [1] * dims, [[0, 0]] * dims
        op.kind, op.weights = "conv", f"{op.norm}.scale"
        op.weight = torch.ones(channels, 1, *one)
        op.attributes = {"kernel": one, "stride": one, "padding": none, "dilation": one, "groups": channels}
    return op
