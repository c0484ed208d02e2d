"""`searchable(model, example_input, options)`: any network to a Space, in which what the options say is open."""

import copy
import logging
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from spaces.blocks.constant import ConstantBlock
from spaces.blocks.norm import Norm
from spaces.graph.description import described
from spaces.graph.ending import ended
from spaces.graph.errors import UnsupportedNetwork
from spaces.graph.fuse import fuse, operators
from spaces.graph.op import NormNumbers, Op
from spaces.graph.plain import first_line, plain
from spaces.graph.trace import traced
from spaces.one_of import OneOf
from spaces.options import Options
from spaces.space import Space

__all__ = ["Options", "searchable"]

log = logging.getLogger(__name__)

TOLERANCE = 1e-3  # of the largest output: float sums may be ordered differently
ROUNDINGS = 10  # times what double precision changes, at most


def searchable(
    model: nn.Module, example_input: Tensor | Sequence[Tensor], options: Options | None = None, name: str = ""
) -> Space:
    """The model as a Space, with a copy of its weights. The model is not modified.

    Args:
        example_input: (N, C, ...), floats. Where forward takes several tensors it is one of each, in order.

    Raises:
        UnsupportedNetwork: a part cannot be traced or has no integer operator. The message names the module and a way
            out.
        UsageError: options contradict each other, or an `exclude` matches no layer.
    """
    options, name = options or Options(), name or type(model).__name__
    given = (example_input,) if isinstance(example_input, Tensor) else tuple(example_input)
    model, examples = plain(model), [x.detach().cpu().float() for x in given]
    trace = traced(model, examples)
    read = operators(trace, options.drop_softmax)
    blocks, outputs = fuse(read.ops, read.outputs)
    inputs = {value.name: value.shape[1:] for value in trace.inputs}
    space = Space(described(name, blocks, inputs, outputs, options, read.notes))
    _inherit(space, blocks)
    _check_same(space, model, examples, read.left_out)
    for layer, reason in space.spec.left_alone.items():
        log.info("left alone: %s (%s)", layer, reason)
    return space


@torch.no_grad()
def _check_same(space: Space, model: nn.Module, examples: Sequence[Tensor], left_out: Sequence[str]) -> None:
    """Refuses a Space that computes something else than the model, on any branch. No rule is trusted blindly."""
    branches = [choice for name, choice in space.choices.items() if space.spec.choices[name].branches]
    with space.running(training=False):
        for pick in range(max((len(choice.options) for choice in branches), default=1)):
            for module in model.modules():
                if isinstance(module, OneOf):
                    module.pick = min(pick, len(module.alternatives) - 1)
            for choice in branches:
                choice.fix((min(pick, len(choice.options) - 1),))
            wanted, found = _results(model, examples), space(*[x.clone() for x in examples])
            found = ended(_in_a_tuple(found), left_out)
            if not _close(_in_a_tuple(wanted), found):
                exact = _in_double(model, examples)
                for one, other, right in zip(*map(_in_a_tuple, (wanted, found, exact)), strict=True):
                    _refuse_difference(type(model).__name__, one, other, right)
    for choice in branches:
        choice.logits.zero_()


def _results(model: nn.Module, examples: Sequence[Tensor]) -> Any:
    """What the model makes of the examples.

    Raises:
        UnsupportedNetwork: it fails on them, though not on a batch of two.
    """
    try:
        return model(*[x.clone() for x in examples])
    except Exception as error:  # whatever the user's code raises
        raise UnsupportedNetwork(
            type(model).__name__,
            f"works on a batch of 2 and fails on one of {len(examples[0])} ({first_line(error)}).",
            "Take the size of the batch from the input: x.shape[0], or -1 in a view.",
        ).showing_cause() from error


def _in_a_tuple(outputs: Tensor | Sequence[Tensor]) -> tuple[Tensor, ...]:
    """What forward returns: a tuple or list of one tensor is as good as the tensor."""
    return (outputs,) if isinstance(outputs, Tensor) else tuple(outputs)


def _close(wanted: Sequence[Tensor], found: Sequence[Tensor]) -> bool:
    pairs = zip(wanted, found, strict=True)
    return all(bool((one - other).abs().max() <= TOLERANCE * one.abs().max()) for one, other in pairs)


def _in_double(model: nn.Module, examples: Sequence[Tensor]) -> Any:
    """What the model computes in double precision; in its own where it cannot."""
    try:
        return copy.deepcopy(model).double()(*[x.double() for x in examples])
    except Exception:  # whatever the user's code raises
        return model(*[x.clone() for x in examples])


def _refuse_difference(name: str, wanted: Tensor, found: Tensor, exact: Tensor) -> None:
    """exact: in double precision. Where sums cancel, rounding may be all that is left of an output."""
    if not wanted.isfinite().all():
        raise UnsupportedNetwork(
            name,
            "gives NaN or infinity on the example.",
            "Its weights or the example hold such values: mend them, or load weights that were trained.",
        )
    distance, size = (wanted - found).abs().max().item(), wanted.abs().max().item()
    rounding = (wanted - exact).abs().max().item()
    if not distance <= TOLERANCE * size + ROUNDINGS * rounding:
        raise UnsupportedNetwork(
            name,
            f"converts to a network whose output differs by {distance:.3g} (largest output {size:.3g}).",
            "This is a defect of picojoule: please report it with the network.",
        )


@torch.no_grad()
def _inherit(space: Space, blocks: list[Op]) -> None:
    """Copies the model's numbers."""
    for place, op in enumerate(blocks):
        if op.weights and op.weight is not None:
            weights = space.weights[op.weights]
            weights.weight.copy_(op.weight)
            if op.bias is not None and weights.bias is not None:
                weights.bias.copy_(op.bias)
        if op.values is not None:
            cast(ConstantBlock, space.blocks[place]).values.copy_(op.values)
        if op.norm and op.norm_numbers is not None:
            _copy_norm(op.norm_numbers, space.norms[op.norm])


def _copy_norm(source: NormNumbers, target: Norm) -> None:
    target.running_mean.copy_(source.mean)
    target.running_var.copy_(source.variance)
    if source.weight is not None:
        target.weight.copy_(source.weight)
    if source.bias is not None:
        target.bias.copy_(source.bias)
