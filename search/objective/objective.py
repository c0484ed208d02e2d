"""Where decisions should move: what options add to the loss, against what they cost (docs/methods.md, section 9)."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from cost_models.rules import CostModel
from search import distributed
from search.errors import UsageError
from search.kinds import FINITE, Kind, by_name, either, having, listed
from search.objective.constraints import METHODS, Dual, Outlook
from search.objective.fisher import STATE as FISHER_STATE
from search.objective.fisher import FisherInformation
from search.objective.menu import Leaves
from search.objective.tried_options import STATE as TRIED_STATE
from search.objective.tried_options import Loss, TriedOptions
from spaces.decisions.choice import Choice
from spaces.decisions.gates import are_open
from spaces.decisions.selection import GATES, Selection
from spaces.decisions.shares import likeliest
from spaces.host_copy import on_device, on_host
from spaces.space import FAKE, Space

REFRESH = 2  # steps of the decisions between two evaluations of the cost models; in between their slopes are kept
CLEAR = 0.25  # of loss and cost together: what is better by this much, or more, a decision moves to at its full rate
TRIED = 0.01  # of a loss: two options that were tried and differ by less hardly differ
TINY = 1e-30
HALVINGS = 4  # of a step that leads too far
FASTEST = 64.0  # by which lambdas pull a cost down at most, over the part of a search in which targets move

PAIR = Kind("[a number, a number]", lambda value: listed(FINITE).holds(value) and len(value) == 2)
STATE = having(  # what Objective.state() is
    {
        "constraints": by_name(either(FINITE, PAIR)),
        "pace": by_name(PAIR),
        "costs": by_name(FINITE),
        "fisher": FISHER_STATE,
        "tried": TRIED_STATE,
    }
)


class Objective:
    """Task loss + lambdas * costs, under budgets, as decisions see it.

    Decisions do not descend its gradient, which near an optimum is noise. They move towards the option that adds least
    to the loss, in every group by itself: by estimates of what options do to the task's loss (search.objective.fisher
    and tried_options) and by the slopes of the costs times lambdas and multipliers (search.objective.constraints).

    Args:
        lambdas: cost -> what the whole cost of the seed network weighs, in units of the task's loss.
        before: the objective of the search that this one goes on from. Targets start at its budgets, and what it
            learnt stays.
    """

    def __init__(
        self,
        models: Mapping[str, CostModel],
        seed_costs: Mapping[str, float],
        budgets: Mapping[str, float],
        lambdas: Mapping[str, float],
        method: str = "dual",
        ramp: float = 0.4,
        before: "Objective | None" = None,
    ) -> None:
        if method not in METHODS:
            raise UsageError(f"strategy.method '{method}' is not one of {sorted(METHODS)}.")
        self.models, self.seed_costs, self.lambdas, self.budgets = models, seed_costs, lambdas, dict(budgets)
        starts = {**seed_costs, **(before.budgets if before else {})}
        self.constraints = METHODS[method](budgets, starts, ramp)
        self._ramp = ramp
        slowest = {name: seed_costs[name] / FASTEST for name in lambdas if name not in budgets}
        self._pace = Dual(slowest, before.costs if before else seed_costs, ramp)
        if before is not None:
            self.constraints.load(before.constraints.state())
            self._pace.load(before._pace.state())
        self.costs: dict[str, float] = dict(seed_costs)
        self.forces: dict[str, float] = {}
        self.fisher: FisherInformation = before.fisher if before else FisherInformation()
        self.tried: TriedOptions = before.tried if before else TriedOptions()
        self._steps = 0
        self._slopes: dict[str, Tensor] = {}
        self._outlook: Outlook | None = None
        self._near: _Near | None = None

    def begin_epoch(self) -> None:
        """Has the next step evaluate the costs anew, so that an epoch does not depend on whether one was before it."""
        self._steps = 0

    def due(self, space: Space, selection: Selection) -> list[str]:
        """The choices of which `observe` will try another option after the pass."""
        return self.tried.due(space, selection)

    def watch(self, space: Space) -> None:
        """To be called when the selection of a pass in training is known, before its backward pass."""
        self.fisher.watch(space.selection)

    def observe(self, space: Space, images: Tensor, loss: Loss, reached: Tensor | float) -> None:
        """Learns what changes would do to the loss of this batch. To be called after the backward pass.

        Args:
            loss: gives the loss of the batch's logits.
            reached: (), the loss of this pass in this process.
        """
        self.fisher.observe(len(images) * distributed.world_size())
        self.tried.observe(space, images, loss, reached)

    def steer(self, space: Space, task_loss: Tensor | float, progress: float) -> None:
        """Sets the gradients of the decisions' parameters to where they should move. To be called after `observe`.

        Args:
            task_loss: (), of this step in this process.
            progress: share of the search that is done, 0 to 1.
        """
        if self._steps % REFRESH == 0:
            self._refresh(space, torch.as_tensor(task_loss), progress)
        self._steps += 1
        losses = self._losses()
        if space.gates and GATES in losses:
            # The first place is the channel that is always open.
            against = _against(-losses[GATES][1:], self._slopes[GATES][1:], TINY)
            for gate, part in zip(
                space.gates.values(), against.split([g.groups for g in space.gates.values()]), strict=True
            ):
                gate.steer(part)
        forms: dict[tuple[int, bool], list[Choice]] = {}
        for name, choice in space.choices.items():
            if name in losses:
                forms.setdefault((len(choice.options), choice.whole), []).append(choice)
            elif not choice.whole:  # it has borne on no pass yet, and begins at rest
                choice.steer(torch.zeros_like(choice.logits))
        for (_, whole), choices in forms.items():
            slopes = [self._slopes[choice.name] for choice in choices]
            cost = torch.cat(slopes)
            loss = torch.cat([losses[choice.name].to(slope) for choice, slope in zip(choices, slopes, strict=True)])
            best = (loss + cost).argmin(1, keepdim=True)
            least = TRIED if whole else TINY
            against = _against(loss - loss.gather(1, best), cost - cost.gather(1, best), least)
            for choice, part in zip(choices, against.split([choice.groups for choice in choices]), strict=True):
                choice.steer(part)

    @torch.no_grad()
    def hold_back(self, space: Space, before: Sequence[Tensor]) -> None:
        """Takes back a step of the decisions, half of it and half again, as long as it leads below a floor.

        What a step saves is at most what the slopes say (search.objective.menu), so no cost falls by more than that.

        Args:
            before: the decisions' parameters before the step.
        """
        outlook, near, moved = self._outlook, self._near, space.decision_parameters()
        if outlook is None or near is None:
            return
        floors = self._floors(outlook)
        if not floors:
            return
        least = {name: min(floor, outlook.costs[name]) for name, floor in floors.items()}
        for halving in range(HALVINGS):
            far = near.leads_below(_leaves_of(space), outlook.costs, least)
            if far.device.type == "cpu" and not far:  # elsewhere Python would have to wait for the answer
                return
            for parameter, value in zip(moved, before, strict=True):
                back = value if halving == HALVINGS - 1 else parameter.lerp(value, 0.5)
                parameter.copy_(torch.where(far, back, parameter))

    def _floors(self, outlook: Outlook) -> dict[str, float]:
        """Costs below which no step should lead: where targets are, and how fast lambdas may pull."""
        paced = self._pace.floors(outlook) if outlook.progress < self._ramp else {}
        return paced | self.constraints.floors(outlook)

    def loss_increases(self, space: Space) -> dict[str, Tensor]:
        """What changes of decisions would add to the loss, as search.budgets.repair reads it; 0 of those never seen."""
        leaves, seen = space.select(FAKE).leaves(), self._losses()
        return {name: seen.get(name, torch.zeros_like(leaf.detach())) for name, leaf in leaves.items()}

    def _losses(self) -> dict[str, Tensor]:
        """Leaf of a selection -> what its options add to the task's loss; of GATES what closing adds."""
        return self.fisher.loss_increases() | self.tried.loss_increases()

    def _refresh(self, space: Space, task_loss: Tensor, progress: float) -> None:
        """Evaluates the costs, the forces on them, and d (forces * costs) / d each leaf of the selection."""
        selection = space.selection
        # Costs of branches are expected ones: those of the paths that happen to be drawn would jump about.
        expected = {name: selection.probability[name] for name in selection.paths}
        values = {name: value.detach() for name, value in (selection.leaves() | expected).items()}
        losses = {name: loss for name, loss in self._losses().items() if name in values}
        read = on_host([*values.values(), *losses.values(), task_loss.detach()])
        leaves = {name: value.requires_grad_() for name, value in zip(values, read, strict=False)}
        network = space.describe(Selection.of(selection.mode, leaves))
        costs = {name: model(network) for name, model in self.models.items()}
        self.costs = {name: cost.item() for name, cost in costs.items()}
        slopes = {name: _slopes(costs[name], leaves) for name in {**self.lambdas, **self.budgets}}
        outlook = Outlook(
            costs=self.costs,
            slopes=slopes,
            leaves=leaves,
            losses=dict(zip(losses, read[len(leaves) :], strict=False)),
            costs_of=lambda others: self._costs_of(space, others),
            task_loss=distributed.summed([read[-1].item()], task_loss.device)[0] / distributed.world_size(),
            progress=progress,
        )
        self.forces = self._pulls(outlook)
        self._outlook = replace(outlook, losses=self._with_pulls(outlook))
        self.forces |= self.constraints.multipliers(self._outlook)
        total = {leaf: torch.zeros_like(value) for leaf, value in leaves.items()}
        for name, force in self.forces.items() if leaves else ():
            torch._foreach_add_(list(total.values()), torch._foreach_mul(list(slopes[name].values()), force))
        self._keep(total, slopes, values)

    def _keep(self, total: Leaves, slopes: Mapping[str, Leaves], values: Leaves) -> None:
        """Copies to the device, at once, what steps of decisions need until costs are evaluated anew."""
        each: list[Mapping[str, Tensor]] = [total, *slopes.values()]
        if not values:
            self._slopes, self._near = {}, None
            return
        device = next(iter(values.values())).device
        tensors = iter(on_device([tensor for leaves in each for tensor in leaves.values()], device))
        self._slopes, *near = ({name: next(tensors) for name in leaves} for leaves in each)
        self._near = _Near(values, dict(zip(slopes, near, strict=True)))

    def _pulls(self, outlook: Outlook) -> dict[str, float]:
        """Cost -> its lambda a unit; at first less, where all of it would pull faster than weights can follow."""
        pulls = {name: strength / self.seed_costs[name] for name, strength in self.lambdas.items()}
        paced = self._pace.multipliers(outlook) if outlook.progress < self._ramp else {}
        return pulls | {name: min(pulls[name], most) for name, most in paced.items()}

    def _with_pulls(self, outlook: Outlook) -> dict[str, Tensor]:
        """The outlook's losses with what the forces, which are those of the lambdas, put on costs."""
        names, losses = list(outlook.losses), list(outlook.losses.values())
        for cost, force in self.forces.items() if names else ():
            signs = [-force if leaf == GATES else force for leaf in names]  # closing a gate saves what it costs
            pulls = torch._foreach_mul([outlook.slopes[cost][leaf] for leaf in names], signs)
            losses = list(torch._foreach_add(losses, pulls))
        return dict(zip(names, losses, strict=True))

    @torch.no_grad()
    def _costs_of(self, space: Space, leaves: Leaves) -> dict[str, float]:
        network = space.describe(Selection.of(FAKE, leaves))
        return {name: self.models[name](network).item() for name in {**self.budgets, **self.lambdas}}

    def state(self) -> dict[str, Any]:
        return {
            "constraints": self.constraints.state(),
            "pace": self._pace.state(),
            "costs": self.costs,
            "fisher": self.fisher.state(),
            "tried": self.tried.state(),
        }

    def load(self, state: Mapping[str, Any], device: torch.device) -> None:
        self.costs = state["costs"]
        self.fisher.load(state["fisher"], device)
        self.tried.load(state["tried"], device)
        self.constraints.load(state["constraints"])
        self._pace.load(state["pace"])


def _slopes(cost: Tensor, leaves: Leaves) -> dict[str, Tensor]:
    """d cost / d each leaf."""
    if not cost.requires_grad:
        return {name: torch.zeros_like(leaf) for name, leaf in leaves.items()}
    found = torch.autograd.grad(cost, list(leaves.values()), allow_unused=True, retain_graph=True)
    each = zip(leaves.items(), found, strict=True)
    return {name: torch.zeros_like(leaf) if slope is None else slope for (name, leaf), slope in each}


def _leaves_of(space: Space) -> dict[str, Tensor]:
    """The leaves of the selection in evaluation."""
    choices = list(space.choices.values())
    leaves = dict(zip(space.choices, likeliest(choices), strict=True))
    if space.gates:
        opened = are_open(list(space.gates.values()))
        leaves[GATES] = torch.cat([torch.ones_like(opened[:1]), opened]).float()
    return leaves


class _Near(NamedTuple):
    """The costs about a selection, by their slopes.

    Attributes:
        leaves: of the selection.
        slopes: cost -> d cost / d each leaf.
    """

    leaves: Leaves
    slopes: Mapping[str, Leaves]

    def leads_below(self, leaves: Leaves, costs: Mapping[str, float], least: Mapping[str, float]) -> Tensor:
        """(), whether a cost is below its least with other leaves. Args: costs: those that the selection has."""
        within = []
        for name, floor in least.items():
            changes = [((leaf - self.leaves[key]) * self.slopes[name][key]).sum() for key, leaf in leaves.items()]
            within.append(torch.stack(changes).sum().double() + costs[name] >= floor)
        return ~torch.stack(within).all()


def _against(loss: Tensor, cost: Tensor, least: float) -> Tensor:
    """-1 to 1, how much speaks against what adds so much to the loss and costs so much, in units of the loss."""
    return ((loss + cost) / (loss.abs() + cost.abs()).clamp_min(least) / CLEAR).clamp(-1, 1)
