"""A softmax at the end of a network, which a program that only looks for the largest output does not need."""

from collections.abc import Sequence

from torch import Tensor

from spaces.graph.op import ACTIVATION, Op

SOFTMAX, LOG_SOFTMAX = "softmax", "log_softmax"
LEFT_OUT = "left out, as the options ask: the network returns what it was taken of, whose largest is the same"


def without_softmax(ops: Sequence[Op], outputs: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The outputs before a softmax or log-softmax over channels; and for each what was left out, "" for nothing."""
    by_name = {op.name: op for op in ops}
    before, left_out = [], []
    for name in outputs:
        op = by_name.get(name)
        ending = SOFTMAX
        if op is not None and op.kind == ACTIVATION and op.activation[0] == "log":
            op, ending = by_name.get(op.inputs[0]), LOG_SOFTMAX
        ends = op is not None and op.operator is not None and op.operator.exponentiates and op.attributes["axis"] == 0
        before.append(op.inputs[0] if op is not None and ends else name)
        left_out.append(ending if ends else "")
    return tuple(before), tuple(left_out)


def ended(outputs: Sequence[Tensor], left_out: Sequence[str]) -> tuple[Tensor, ...]:
    """The outputs with what was left out."""
    return tuple(getattr(y, ending)(1) if ending else y for y, ending in zip(outputs, left_out, strict=True))
