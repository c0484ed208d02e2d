"""Which rule a module class, a function or a method follows, in one table."""

from typing import Any

from torch import nn

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
    key: Any
    if isinstance(call.target, nn.Module):
        key, what = type(call.target), type(call.target).__name__
    elif isinstance(call.target, str):
        key, what = call.target, f"Tensor.{call.target}"
    else:
        key, what = call.target, getattr(call.target, "__name__", str(call.target))
    if key not in RULES:
        raise call.refuse(
            f"uses '{what}', for which there is no integer operator.",
            "Replace it by a supported one (README, 'What converts'), or add a rule in spaces/graph/rules/.",
        )
    made = RULES[key](call)
    return [made] if isinstance(made, Op) else made
