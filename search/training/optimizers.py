"""Which optimizer moves what in a phase."""

from collections.abc import Iterator

import torch
from torch import nn

from search.training.phase import Phase
from search.training.shared_adam import SharedAdam
from spaces.decisions.decision import Decision
from spaces.patterns import Structured
from spaces.quantizers import ActivationChoice, ActivationQuantizer
from spaces.space import FLOAT, Space

TURN = 4  # steps of the weights to one of the decisions and of the activations' steps
STEP_RATE = 2e-3  # of the weight quantizers' log steps: 0.2% of a step a step
OWN = ("initial_lr", "decides")  # keys of groups that training reads
LEAST = 0.01  # of a loss: what is less between two options of a whole choice, moves it less


def optimizers_of(space: Space, phase: Phase) -> list[torch.optim.Optimizer]:
    """SGD with Nesterov momentum for weights and norms, Adam for quantizers' log steps, SharedAdam for decisions.

    What moves every `TURN` steps moves as much farther.
    """
    schedule, learning = phase.schedule, phase.learning
    decayed = [w.weight for w in space.weights.values()]
    quantizers = [m for m in space.modules() if isinstance(m, ActivationQuantizer)]
    slow = [m.drift for m in space.modules() if isinstance(m, ActivationChoice)]
    slow += [m.log_step for m in quantizers if m.log_step.requires_grad]
    fast = [w.quantizer.log_step for w in space.weights.values() if w.quantizer is not None]
    structures = [w.pattern.v for w in space.weights.values() if isinstance(w.pattern, Structured)]
    known = {id(p) for p in [*decayed, *slow, *fast, *structures]}
    others = [p for p in space.network_parameters() if id(p) not in known]
    groups = [
        {"params": decayed, "weight_decay": learning.weight_decay},
        {"params": others, "weight_decay": 0.0},
        {"params": structures, "weight_decay": learning.pattern_decay},
    ]
    groups = [group for group in groups if group["params"]]
    for group in groups:
        group |= {"initial_lr": schedule.lr, "decides": False}
    weights = torch.optim.SGD(groups, lr=schedule.lr, momentum=0.9, nesterov=True, fused=True)
    for parameter in (p for group in groups for p in group["params"]):
        # The fused step cannot begin with some of them: a branch gets its first gradient when it is first drawn.
        weights.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    optimizers: list[torch.optim.Optimizer] = [weights]
    if (slow or fast) and schedule.mode != FLOAT:
        groups = [
            {"params": fast, "initial_lr": STEP_RATE, "decides": False},
            {"params": slow, "initial_lr": STEP_RATE * TURN, "decides": False},
        ]
        optimizers.append(torch.optim.Adam([g for g in groups if g["params"]], lr=STEP_RATE, fused=True))
    if learning.decision_lr and space.decision_parameters():
        # What a step of "stem/kernel" weighs and what one of "stem/bits" does differ by orders of magnitude.
        kinds: dict[tuple[str, bool], list[Decision]] = {}
        for decision in space.decisions.values():
            kinds.setdefault((decision.role, decision.whole), []).append(decision)
        groups = [
            {"params": list(_parameters(members)), "initial_lr": learning.decision_lr, "decides": True}
            | ({"least": LEAST} if whole else {})
            for (_, whole), members in kinds.items()
        ]
        optimizers.append(SharedAdam(groups, lr=learning.decision_lr))
    return optimizers


def _parameters(decisions: list[Decision]) -> Iterator[nn.Parameter]:
    return (p for d in decisions for p in d.parameters() if p.requires_grad)
