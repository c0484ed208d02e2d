"""Which rule an ATen operator follows, in one table."""

from torch import Tensor

from spaces.graph.apart import apart, together
from spaces.graph.errors import JoinedBatch
from spaces.graph.op import Op
from spaces.graph.rules import (
    attention,
    borders,
    elementwise,
    joining,
    parts,
    recurrent,
    reductions,
    resampling,
    shapes,
    vanishing,
    weighted,
)
from spaces.graph.rules.common import Rules
from spaces.graph.trace import Call
from spaces.graph.value import Value

RULES: Rules = {
    **weighted.RULES,
    **elementwise.RULES,
    **resampling.RULES,
    **reductions.RULES,
    **attention.RULES,
    **recurrent.RULES,
    **joining.RULES,
    **shapes.RULES,
    **parts.RULES,
    **borders.RULES,
    **vanishing.RULES,
}


def translate(call: Call) -> Value | tuple[Value, ...]:
    """What a call gives. The operators that it is are added to `call.forms`.

    Raises:
        UnsupportedNetwork: there is no rule for the call.
    """
    if call.operator not in RULES:
        what = call.operator if call.module is None else type(call.module).__name__
        raise call.refuse(
            f"uses '{what}', for which there is no integer operator.",
            "Replace it by a supported one (README, 'What converts'), or add a rule in spaces/graph/rules/.",
        )
    if isinstance(call.result, Tensor) and not call.result.numel():
        return Value("", call.shape, label=call.where)  # a part without elements, of which nothing comes
    before = len(call.forms.ops)
    try:
        return _by_rule(call)
    except JoinedBatch as refusal:
        call.forms.forget(before)
        alone, joined = apart(call, refusal)
        made = _by_rule(alone)
        if isinstance(made, Value):
            return together(call, made, joined)
        return tuple(together(call, part, joined) for part in made)


def _by_rule(call: Call) -> Value | tuple[Value, ...]:
    made = RULES[call.operator](call)
    if isinstance(made, Value | tuple):
        return made
    ops = [made] if isinstance(made, Op) else made
    for op in ops:
        call.forms.add(op)
    return Value(ops[-1].name, call.shape, ops[-1].view)
