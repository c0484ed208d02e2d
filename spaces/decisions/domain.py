"""The domain of the parameters of decisions: inside it they have gradients, and outcomes can still change."""

from collections.abc import Sequence

import torch
from torch import Tensor

from spaces.decisions.choice import Choice
from spaces.decisions.gates import Gate


@torch.no_grad()
def project(gates: Sequence[Gate], choices: Sequence[Choice]) -> None:
    """Brings parameters of decisions back into their domain. To be called after each step of their optimizer.

    A shadow outside [0, 1] would get no gradient, so a gate there would be stuck. A threshold inside of that leaves a
    shadow of 0 closed and one of 1 open. Logits are within the reach of their choice.
    """
    if gates:
        _clamp_([gate.shadow for gate in gates], 0.0, 1.0)
        _clamp_([gate.threshold for gate in gates], 0.01, 0.99)
    forms: dict[tuple[int, float], list[Choice]] = {}
    for choice in choices:
        forms.setdefault((len(choice.options), choice.reach), []).append(choice)
    for (_, reach), alike in forms.items():
        logits: list[Tensor] = [choice.logits for choice in alike]
        least = torch.cat(logits).amax(1, keepdim=True) - reach
        torch._foreach_maximum_(logits, least.split([choice.groups for choice in alike]))


def _clamp_(tensors: list[Tensor], low: float, high: float) -> None:
    """Each of them, in place."""
    torch._foreach_maximum_(tensors, low)
    torch._foreach_minimum_(tensors, high)
