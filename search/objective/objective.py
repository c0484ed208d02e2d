"""Costs in the loss: lambdas for trade-offs, and budgets as constraints whose multipliers adapt by themselves.

The formulas stand in docs/methods.md, section 9.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from cost_models.rules import CostModel
from search import distributed
from search.errors import UsageError
from search.objective.fisher import FisherInformation
from search.objective.tried_options import Loss, TriedOptions
from spaces.decisions.selection import Selection
from spaces.space import FAKE, Space

REFRESH = 2  # steps of the decisions between two evaluations of the cost models; in between their gradient is kept
PENALTY = 2.0  # rho of the augmented Lagrangian, for costs in units of their target
ASCENT = 0.25  # share of rho by which a violation moves the multiplier, a refresh


class AugmentedLagrangian:
    """The force max(0, mu + rho g) on the violation g = cost / target - 1. mu climbs while g > 0, and falls otherwise.

    (Nocedal and Wright, Numerical Optimization, section 17.4.) The target moves geometrically from the seed network's
    cost to the budget over the first `ramp` of the search, so that channels leave while weights can still adapt.
    """

    def __init__(self, budget: float, seed_cost: float, ramp: float) -> None:
        self.budget, self.seed_cost, self.ramp = budget, max(seed_cost, budget), ramp
        self.multiplier = 0.0

    def target(self, progress: float) -> float:
        share = min(1.0, progress / self.ramp) if self.ramp > 0 else 1.0
        return float(self.seed_cost * (self.budget / self.seed_cost) ** share)

    def force(self, cost: float, task_loss: float, progress: float) -> float:
        """d loss / d cost."""
        target = self.target(progress)
        violation = cost / target - 1
        force = max(0.0, self.multiplier + PENALTY * violation)
        self.multiplier = max(0.0, self.multiplier + ASCENT * PENALTY * violation)
        return force / target

    def state(self) -> list[float]:
        return [self.multiplier]

    def load(self, state: list[float]) -> None:
        (self.multiplier,) = state


class Duccio:
    """The term lambda * max(0, C - T), with lambda = L_task / (C_0 - T) at the first violation.

    lambda is ramped from 1% to 100% over the first half of the search (arXiv 2310.07217).
    """

    def __init__(self, budget: float, seed_cost: float, ramp: float) -> None:
        self.budget, self.strength = budget, 0.0

    def force(self, cost: float, task_loss: float, progress: float) -> float:
        if cost <= self.budget:
            return 0.0
        if self.strength == 0.0:
            self.strength = task_loss / (cost - self.budget)
        return self.strength * (0.01 + 0.99 * min(1.0, 2 * progress))

    def state(self) -> list[float]:
        return [self.strength]

    def load(self, state: list[float]) -> None:
        (self.strength,) = state


Constraint = AugmentedLagrangian | Duccio

METHODS: dict[str, Callable[[float, float, float], Constraint]] = {
    "augmented_lagrangian": AugmentedLagrangian,
    "duccio": Duccio,
}


class Objective:
    """Expected costs, and their gradient with respect to the shares of the decisions.

    A hard share changes only when a pick changes, and the gradient changes with it. So the gradient is computed every
    few steps and handed to autograd as it is. The loss increases of changes are added, see search.objective.fisher.

    Args:
        before: the objective of the search that this one goes on from. Targets start at its budgets, and what it
            learnt stays.
    """

    def __init__(
        self,
        models: Mapping[str, CostModel],
        seed_costs: Mapping[str, float],
        budgets: Mapping[str, float],
        lambdas: Mapping[str, float],
        method: str = "augmented_lagrangian",
        ramp: float = 0.4,
        before: "Objective | None" = None,
    ) -> None:
        if method not in METHODS:
            raise UsageError(f"strategy.method '{method}' is not one of {sorted(METHODS)}.")
        self.models, self.seed_costs, self.lambdas = models, seed_costs, lambdas
        earlier: Mapping[str, Constraint] = before.constraints if before else {}
        starts = dict(seed_costs) | {n: c.budget for n, c in earlier.items()}
        self.constraints: dict[str, Constraint] = {n: METHODS[method](b, starts[n], ramp) for n, b in budgets.items()}
        self.costs: dict[str, float] = dict(seed_costs)
        self.forces: dict[str, float] = {}
        self.fisher: FisherInformation = before.fisher if before else FisherInformation()
        self.tried: TriedOptions = before.tried if before else TriedOptions()
        for name in self.constraints.keys() & earlier.keys():
            self.constraints[name].load(earlier[name].state())
        self._steps = 0
        self._gradients: dict[str, Tensor] = {}

    def gradients(self, space: Space, task_loss: float, progress: float) -> tuple[list[Tensor], list[Tensor]]:
        """Tensors of this step's graph, and d (cost terms) / d each of them: the roots of the backward pass.

        Args:
            progress: share of the search that is done, 0..1.
        """
        selection, roots = space.selection, space.selection.leaves()
        if self._steps % REFRESH == 0 or not self._gradients:
            self._gradients = self._refresh(space, task_loss, progress)
        self._steps += 1
        given = {name: self.tried.gradient(name, self._gradients[name]) for name in selection.whole}
        given |= self.fisher.added(selection, self._gradients)
        return list(roots.values()), [given[name] for name in roots]

    def observe(self, space: Space, images: Tensor, loss: Loss, reached: float) -> None:
        """Learns the loss increases of changes on this batch. To be called after the backward pass.

        Args:
            loss: gives the loss of the batch's logits.
            reached: the loss of this pass, a mean over all processes.
        """
        self.fisher.observe(len(images) * distributed.world_size())
        self.tried.observe(space, images, loss, reached)

    def loss_increases(self, space: Space) -> dict[str, Tensor]:
        """The loss increases of changes, as search.budgets reads them; 0 for a change that was never seen."""
        leaves = space.select(FAKE).leaves()
        seen = self.fisher.loss_increases() | self.tried.loss_increases()
        return {name: seen.get(name, torch.zeros_like(leaf.detach())) for name, leaf in leaves.items()}

    def _refresh(self, space: Space, task_loss: float, progress: float) -> dict[str, Tensor]:
        """d (cost terms) / d each leaf of the selection."""
        selection = space.selection
        # Costs of branches are expected ones: those of the paths that happen to be drawn would jump about.
        expected = {name: selection.probability[name] for name in selection.paths}
        values = selection.leaves() | expected
        leaves = {name: value.detach().clone().requires_grad_() for name, value in values.items()}
        network = space.describe(Selection.of(selection.mode, leaves))
        costs = {name: model(network) for name, model in self.models.items()}
        self.costs = {name: cost.item() for name, cost in costs.items()}
        total = torch.zeros((), dtype=torch.float64, device=next(iter(leaves.values())).device)
        for name, strength in self.lambdas.items():
            self.forces[name] = strength / self.seed_costs[name]
            total = total + self.forces[name] * costs[name]
        for name, constraint in self.constraints.items():
            self.forces[name] = constraint.force(self.costs[name], task_loss, progress)
            total = total + self.forces[name] * costs[name]
        if not total.requires_grad:
            return {name: torch.zeros_like(leaf) for name, leaf in leaves.items()}
        found = torch.autograd.grad(total, list(leaves.values()), allow_unused=True)
        each = zip(leaves.items(), found, strict=True)
        return {name: torch.zeros_like(leaf) if g is None else g for (name, leaf), g in each}

    def state(self) -> dict[str, Any]:
        constraints = {name: c.state() for name, c in self.constraints.items()}
        return {
            "steps": self._steps,
            "constraints": constraints,
            "gradients": self._gradients,
            "costs": self.costs,
            "curvature": self.fisher.state(),
            "trials": self.tried.state(),
        }

    def load(self, state: Mapping[str, Any], device: torch.device) -> None:
        self._steps, self.costs = state["steps"], state["costs"]
        self._gradients = {name: gradient.to(device) for name, gradient in state["gradients"].items()}
        self.fisher.load(state["curvature"], device)
        self.tried.load(state["trials"])
        for name, saved in state["constraints"].items():
            self.constraints[name].load(saved)
