"""From a decided Space to a Program of integers. The overflow bound of every layer is checked on the way."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from search.errors import PicojouleError
from search.integer.answers import Answers
from search.integer.graph import largest_sum
from search.integer.packing import pack_rows, pack_widths
from search.integer.preprocessing import Preprocessing
from search.integer.program import Node, Program, ProgramError, TensorInfo
from spaces.blocks.block import Block, Folded
from spaces.blocks.fixed_point import INT32_MAX
from spaces.quantizers import ActivationQuantizer
from spaces.space import Space

Array = NDArray[Any]
Constants = dict[str, Array]  # name -> what the Program stores


class LoweringError(PicojouleError, ValueError):
    """A block has no integers, or its sums could leave int32."""


def lower(
    space: Space,
    metadata: dict[str, Any] | None = None,
    preprocessing: Preprocessing | None = None,
    classes: tuple[str, ...] = (),
    answers: Answers | None = None,
) -> Program:
    """The Program that computes what the Space computes in integer mode, to the bit.

    Args:
        preprocessing: of raw examples, for `Executor.predict`; `Data.preprocessing` is that of a data set.
        classes: names of what the outputs score.
        answers: what becomes of outputs that are numbers.

    Raises:
        LoweringError: decisions are open, nothing is quantized, or an accumulator could overflow. It names the block.
        RuntimeError: the Program contradicts itself, which is a defect of the lowering and not of a file.
    """
    if space.decisions or not space.spec.quantizers:
        what = (
            f"{len(space.decisions)} decisions are open"
            if space.decisions
            else "its weights and activations are floats"
        )
        raise LoweringError(f"space '{space.name}': cannot be lowered, {what}. Decide it, and quantize it.")
    constants: Constants = {}
    tensors = {name: _tensor(space, name, shape) for name, shape in space.spec.shapes.items()}
    with space.running(training=False):
        nodes = tuple(_node(block, tensors, constants) for block in space.blocks)
    program = Program(
        inputs=space.spec.inputs,
        outputs=space.spec.outputs,
        tensors=tensors,
        nodes=nodes,
        constants=constants,
        metadata=metadata or {},
        preprocessing=preprocessing,
        classes=classes,
        answers=answers,
    )
    try:
        program.validate()
    except ProgramError as error:
        raise RuntimeError(f"the lowered Program contradicts itself ({error}): a defect, report it.") from error
    return program


def _tensor(space: Space, name: str, shape: tuple[int, ...]) -> TensorInfo:
    quantizer = space.quantizer(name)
    assert isinstance(quantizer, ActivationQuantizer)  # the space is decided and quantized
    scale = float(np.float32(quantizer.log_step.detach().exp().item()))
    return TensorInfo(tuple(shape), quantizer.bits, scale, quantizer.zero_point)


def _node(block: Block, tensors: Mapping[str, TensorInfo], constants: Constants) -> Node:
    spec = block.spec
    attributes = dict(spec.attributes)
    roles: dict[str, str] = {}
    if spec.operator.requantizes:
        with torch.no_grad():
            folded = block.folded()
        attributes |= {"zero_point": folded.zero_point, "clip": [int(bound) for bound in folded.clip]}
        if spec.operator.weighted:
            attributes |= _weights(block, folded, constants, roles)
        elif spec.operator.biased:
            assert folded.bias is not None  # as of every operator with a bias
            _store(constants, roles, block.name, "bias", _array(folded.bias, np.int32))
        if spec.operator.bound is not None:
            _refuse_overflow(block.name, _bound(block, folded, [tensors[name] for name in spec.inputs]))
        _store(constants, roles, block.name, "multiplier", _array(folded.multiplier, np.int16))
        _store(constants, roles, block.name, "shift", _array(folded.shift, np.uint8))
    table, code = block.table(), np.uint8 if block.output.bits <= 8 else np.uint16
    for role, values in {**({} if table is None else {"table": table}), **block.extra_constants()}.items():
        _store(constants, roles, block.name, role, _array(values, np.uint16 if role == "exponentials" else code))
    return Node(
        name=block.name,
        op=spec.op,
        inputs=tuple(spec.inputs),
        outputs=(block.name,),
        attributes=attributes,
        constants=roles,
        loop=spec.loop,
    )


def _bound(block: Block, folded: Folded, sources: Sequence[TensorInfo]) -> int:
    """What the magnitude of no sum of a block without weights exceeds."""
    assert block.spec.operator.bound is not None  # of those that are asked
    try:
        sums = block.spec.operator.bound(block.spec.attributes, sources)
    except ValueError as error:
        raise LoweringError(f"block '{block.name}': {error}. Fewer elements, or fewer bits there.") from error
    return sums + (0 if folded.bias is None else int(folded.bias.abs().max()))


def _refuse_overflow(name: str, bound: int) -> None:
    if bound > INT32_MAX:
        raise LoweringError(
            f"block '{name}': a sum could reach {bound}, over int32's {INT32_MAX}. Fewer inputs a channel, fewer "
            "bits, or a larger batch-norm scale there."
        )


def _store(constants: Constants, roles: dict[str, str], owner: str, role: str, value: Array) -> None:
    constants[f"{owner}.{role}"] = value
    roles[role] = f"{owner}.{role}"


def _array(values: Tensor, dtype: type) -> Array:
    """The values as dtype, which must hold all of them exactly."""
    plain = values.cpu().numpy()
    narrow: Array = plain.astype(dtype)
    if not np.array_equal(narrow, plain):
        raise LoweringError(f"a constant of {plain.min()} .. {plain.max()} does not fit {np.dtype(dtype).name}.")
    return narrow


def _weights(block: Block, folded: Folded, constants: Constants, roles: dict[str, str]) -> dict[str, Any]:
    """Stores packed rows, widths and the bias, and returns the attributes that go with them."""
    weights, codes, constant = block.weights, folded.codes, folded.bias
    assert weights is not None and weights.quantizer is not None and codes is not None and constant is not None
    rows = codes.flatten(1).long().cpu()
    widths = weights.quantizer.bits[0].cpu().numpy().astype(np.uint8)
    source = block.sources[0]
    bias = constant.cpu() - source.zero_point * rows.sum(1)
    bound = largest_sum(rows.numpy(), bias.numpy(), 2**source.bits - 1)
    _refuse_overflow(block.name, bound)
    _store(constants, roles, weights.name, "weight", pack_rows(rows.numpy().astype(np.int8), widths))
    uniform = len(set(widths.tolist())) == 1
    if not uniform:
        _store(constants, roles, weights.name, "widths", pack_widths(widths))
    _store(constants, roles, block.name, "bias", _array(bias, np.int32))
    return {"weight_bits": int(widths[0])} if uniform else {}
