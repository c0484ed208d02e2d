"""Projection onto the budgets: an integer program picks the changes of least loss increase (scipy's milp).

A change closes a channel, or gives a group another option. What it saves is read off the cost models' gradient at the
present picks, and its loss increase is given. Costs are products, since a channel counts in its layer and in its
readers, so the program is solved again on the new picks until the exact check passes (docs/methods.md, section 12).
"""

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import LinearConstraint, milp
from scipy.sparse import csr_array
from torch import Tensor

from cost_models.peak_ram import PeakRam, ram_by_layer
from search.budgets.changes import Change, CostRow, LossIncreases, applied, cost_row
from search.budgets.feasibility import BudgetError, Budgets, decisions_as, smallest
from spaces.architecture import Architecture, Picks
from spaces.decisions.choice import Choice
from spaces.decisions.gates import Gate
from spaces.decisions.selection import GATES, Selection
from spaces.space import FAKE

ROUNDS = 40
NODES, GAP = 100, 1e-2  # of the branch and bound: the estimates are no better than that
TINY = 1e-6  # of the largest loss increase: what a change adds at least, so that of equal changes the fewest are made


def repair(budgets: Budgets, architecture: Architecture, increases: LossIncreases) -> Architecture:
    """The architecture, changed as little as its budgets ask for. One that meets them is not changed.

    Where closing channels and changing choices is not enough, the branch that comes nearest to the budgets is taken,
    and the rest is done again. The space stays as it is.

    Raises:
        BudgetError: no change helps any more. `refuse_impossible` rules this out beforehand for a single budget.
    """
    return _Repair(budgets, increases).repaired(architecture)


class _Repair:
    """The changes that bring architectures of one space within its budgets."""

    def __init__(self, budgets: Budgets, increases: LossIncreases) -> None:
        self._budgets, self._space, self._increases = budgets, budgets.space, increases
        branches = {name for name, choice in budgets.space.spec.choices.items() if choice.branches}
        spans = [float(each.max() - each.min()) for name, each in increases.items() if name not in branches]
        self._least = TINY * (max(spans, default=0.0) or 1.0)

    def repaired(self, architecture: Architecture) -> Architecture:
        start, distance = architecture, self._distance
        while True:
            found = self._shrunk(start)
            if not distance(found):
                return found
            nearest, _ = min(self._switched(start), key=lambda s: (distance(s[0]), s[1]), default=(start, 0.0))
            if distance(nearest) >= distance(start):
                break
            start = nearest
        models = self._budgets.models
        last = min((smallest(self._space, models[name]) for name in self._budgets.limits), key=distance)
        if distance(last):
            left = self._budgets.excess(found)
            raise BudgetError(f"budgets: nothing of the network can go any more, and still over: {left}. Raise them.")
        return last

    def _distance(self, architecture: Architecture) -> float:
        return self._budgets.violation(self._budgets.excess(architecture))

    def _shrunk(self, architecture: Architecture) -> Architecture:
        """The architecture with channels closed and choices changed until the budgets are met or nothing helps."""
        for _ in range(ROUNDS):
            excess = self._budgets.excess(architecture)
            if not excess:
                break
            with decisions_as(self._space, architecture):
                rows = self._rows(excess)
                changes = self._changes(architecture.picks, rows)
            chosen = _solve(changes, [row.excess for row in rows])
            if not chosen:
                break
            architecture = applied(architecture, chosen)
        return architecture

    def _switched(self, architecture: Architecture) -> Iterator[tuple[Architecture, float]]:
        """Each architecture that differs in one branch, and the loss increase of the other branch."""
        for name, choice in self._space.spec.choices.items():
            each = self._increases[name][0].tolist() if choice.branches else []
            for option, increase in zip(choice.options, each, strict=False):
                if (option,) != architecture.picks[name]:
                    yield architecture.having({name: (option,)}), increase

    def _rows(self, excess: Mapping[str, float]) -> list[CostRow]:
        """One for each budget that is exceeded; for peak RAM one for each layer that exceeds it."""
        leaves = {name: leaf.detach().requires_grad_() for name, leaf in self._space.select(FAKE).leaves().items()}
        network = self._space.describe(Selection.of(FAKE, leaves))
        costs: list[tuple[Tensor, float]] = []
        for name, amount in excess.items():
            model = self._budgets.models[name]
            if isinstance(model, PeakRam):
                peaks = [(ram, ram.item() - self._budgets.limits[name]) for _, ram in ram_by_layer(network)]
                costs += [(ram, above) for ram, above in peaks if above > 0]
            else:
                costs.append((model(network), amount))
        return [cost_row(cost, amount, leaves) for cost, amount in costs]

    def _changes(self, picks: Picks, rows: Sequence[CostRow]) -> list[Change]:
        """All changes that save something, with the decisions of the space as the picks say."""
        changes: list[Change] = []
        first = 1  # place 0 of the vector of gates is the channel that is always open
        for gate in self._space.gates.values():
            changes += self._closings(gate, picks[gate.name], first, rows)
            first += gate.groups
        for choice in self._space.choices.values():
            changes += self._other_options(choice, picks[choice.name], rows)
        return [change for change in changes if any(saved > 0 for saved in change.saved)]

    def _closings(self, gate: Gate, pick: tuple[int, ...], first: int, rows: Sequence[CostRow]) -> list[Change]:
        opened = [g for g in range(gate.groups) if pick[g]]
        if len(opened) < 2:
            return []
        found = []
        for g in opened:
            saved = tuple(float(row.slopes[GATES][first + g]) if GATES in row.slopes else 0.0 for row in rows)
            increase = float(self._increases[GATES][first + g]) + self._least * (1 + float(gate.shadow[g].detach()))
            found.append(Change(gate.name, g, 0, increase, saved, closes=True))
        return found

    def _other_options(self, choice: Choice, pick: tuple[int, ...], rows: Sequence[CostRow]) -> list[Change]:
        found, losses = [], self._increases[choice.name]
        slopes = [row.slopes.get(choice.name) for row in rows]
        for g, option in enumerate(pick):
            now = choice.options.index(option)
            for other in set(range(len(choice.options))) - {now}:
                increase = max(0.0, float(losses[g, other] - losses[g, now])) + self._least
                saved = tuple(float(slope[g, now] - slope[g, other]) if slope is not None else 0.0 for slope in slopes)
                found.append(Change(choice.name, g, choice.options[other], increase, saved))
        return found


@contextmanager
def silent() -> Iterator[None]:
    """Inside it, debug text that the solver's C++ code prints to standard output is thrown away."""
    sys.stdout.flush()
    kept, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)


def _solve(changes: list[Change], needs: list[float]) -> list[Change]:
    """The changes of least loss increase that save what is needed, or all that can be had; one a group at most."""
    if not changes:
        return []
    saved = np.array([c.saved for c in changes]).T  # (constraints, changes)
    nothing = np.zeros(len(needs))
    best: dict[tuple[str, int], NDArray[np.float64]] = {}
    for c in changes:
        key = (c.decision, c.group)
        best[key] = np.maximum(best.get(key, nothing), np.maximum(c.saved, 0))
    reachable = 0.5 * sum(best.values(), nothing)
    needed = np.minimum(np.array(needs), reachable)
    groups = {key: i for i, key in enumerate(best)}
    rows = [groups[c.decision, c.group] for c in changes]
    once = csr_array((np.ones(len(changes)), (rows, range(len(changes)))), (len(groups), len(changes)))
    increases = np.array([c.loss_increase for c in changes])
    constraints = [LinearConstraint(saved, needed, np.inf), LinearConstraint(once, -np.inf, 1)]
    with silent():
        solution = milp(
            increases / increases.max(),
            constraints=constraints,
            integrality=np.ones(len(changes)),
            bounds=(0, 1),
            # No time limit: the result may not depend on the machine's load.
            options={"node_limit": NODES, "mip_rel_gap": GAP},
        )
    if solution.x is None:
        return []
    return [c for c, x in zip(changes, solution.x, strict=True) if x > 0.5]
