"""Which optimizer moves what in a phase."""

from typing import Any

import torch
from torch import nn

from search.training.phase import Phase
from spaces.patterns import Structured
from spaces.quantizers import ActivationChoice, ActivationQuantizer
from spaces.space import FLOAT, Space

STEP_RATE = 2e-3  # of the weight quantizers' log steps: 0.2% of a step a step
OWN = ("initial_lr", "decides")  # keys of groups that training reads
MOMENTUM = 0.8  # of decisions


def optimizers_of(space: Space, phase: Phase) -> list[torch.optim.Optimizer]:
    """SGD with Nesterov momentum for weights and norms, Adam for quantizers' log steps.

    What moves only every `TURN` steps has a rate that is as many times higher.
    """
    fast, slow = _quantizer_steps(space)
    optimizers = _of_weights(space, phase, fast + slow)
    if (slow or fast) and phase.schedule.mode != FLOAT:
        optimizers.append(_of_quantizers(fast, slow, phase.learning.turn))
    if phase.learning.decision_lr and space.decision_parameters():
        optimizers.append(decision_optimizer(space, phase.learning.decision_lr))
    return optimizers


def _quantizer_steps(space: Space) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """The log steps of weights, which move in every step, and those of activations, which move every `TURN` steps."""
    slow = [m.drift for m in space.modules() if isinstance(m, ActivationChoice)]
    quantizers = [m for m in space.modules() if isinstance(m, ActivationQuantizer)]
    slow += [m.log_step for m in quantizers if m.log_step.requires_grad]
    fast = [w.quantizer.log_step for w in space.weights.values() if w.quantizer is not None]
    return fast, slow


def _of_weights(space: Space, phase: Phase, elsewhere: list[nn.Parameter]) -> list[torch.optim.Optimizer]:
    """The optimizer of all parameters that are no decisions and not `elsewhere`; none where all of them are frozen."""
    schedule, learning = phase.schedule, phase.learning
    decayed = [w.weight for w in space.weights.values() if w.weight.requires_grad]
    structures = [w.pattern.v for w in space.weights.values() if isinstance(w.pattern, Structured)]
    known = {id(p) for p in [*decayed, *elsewhere, *structures]}
    others = [p for p in space.network_parameters() if id(p) not in known]
    each = ((decayed, learning.weight_decay), (others, 0.0), (structures, learning.pattern_decay))
    groups: list[dict[str, Any]] = [
        {"params": parameters, "weight_decay": decay, "initial_lr": schedule.lr, "decides": False}
        for parameters, decay in each
        if parameters
    ]
    if not groups:
        return []
    optimizer = torch.optim.SGD(groups, lr=schedule.lr, momentum=0.9, nesterov=True, fused=True)
    for parameter in (p for group in groups for p in group["params"]):
        # The fused step cannot begin with some of them: a branch gets its first gradient when it is first drawn.
        optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return [optimizer]


def _of_quantizers(fast: list[nn.Parameter], slow: list[nn.Parameter], turn: int) -> torch.optim.Optimizer:
    each = ((fast, STEP_RATE), (slow, STEP_RATE * turn))
    groups = [{"params": steps, "initial_lr": rate, "decides": False} for steps, rate in each if steps]
    return torch.optim.Adam(groups, lr=STEP_RATE, fused=True)


def decision_optimizer(space: Space, lr: float) -> torch.optim.Optimizer:
    """SGD along the directions that an objective sets, smoothed over some steps. No step is longer than lr."""
    parameters = space.decision_parameters()
    group = {"params": parameters, "initial_lr": lr, "decides": True}
    return torch.optim.SGD([group], lr=lr, momentum=MOMENTUM, dampening=MOMENTUM, foreach=True)
