"""Which rule an ATen operator follows, in one table."""

from spaces.graph.op import Op
from spaces.graph.rules import elementwise, layout, resampling, weighted
from spaces.graph.rules.common import Rules
from spaces.graph.trace import Call, Value

RULES: Rules = {**weighted.RULES, **elementwise.RULES, **resampling.RULES, **layout.RULES}


def translate(call: Call) -> list[Op] | Value:
    """The operators that a call is, or the value that it passes on.

    Raises:
        UnsupportedNetwork: there is no rule for the call.
    """
    if call.operator not in RULES:
        what = call.operator if call.module is None else type(call.module).__name__
        raise call.refuse(
            f"uses '{what}', for which there is no integer operator.",
            "Replace it by a supported one (README, 'What converts'), or add a rule in spaces/graph/rules/.",
        )
    made = RULES[call.operator](call)
    return [made] if isinstance(made, Op) else made
