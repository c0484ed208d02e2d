"""Projection onto the budgets: an integer program picks the changes of least loss increase (scipy's milp).

A change closes a channel, or gives a group another option. What it saves is read off the cost models' gradient at the
present picks, and its loss increase is given. Costs are products, since a channel counts in its layer and in its
readers, so the program is solved again on the new picks until the exact check passes (docs/methods.md, section 12).
"""

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import LinearConstraint, milp
from scipy.sparse import csr_array
from torch import Tensor

from cost_models.peak_ram import PeakRam, ram_by_layer
from cost_models.rules import CostModel
from search.budgets.feasibility import BudgetError, costs_at, decisions_as, over, smallest
from spaces.architecture import Architecture, Picks
from spaces.decisions.decision import Choice, Gate
from spaces.decisions.selection import GATES, Selection
from spaces.space import FAKE, Space

ROUNDS = 40
NODES, GAP = 100, 1e-2  # of the branch and bound: the estimates are no better than that
TINY = 1e-9

# Of GATES: (places,), of closing each channel. Of a choice: (groups, options), where differences count.
LossIncreases = Mapping[str, Tensor]


@dataclass(frozen=True)
class Change:
    """Group `group` of a decision gets the option `option`.

    `loss_increase` and `saved`, which has a number for each constraint, are estimates of what that does.
    """

    decision: str
    group: int
    option: int
    loss_increase: float
    saved: tuple[float, ...]
    closes: bool = False  # a channel


@dataclass(frozen=True)
class Excess:
    """A cost that is over its budget by `need`; `slopes` are d cost / d share for the decisions that bear on it."""

    slopes: dict[str, Tensor]
    need: float


def repair(
    space: Space,
    architecture: Architecture,
    models: Mapping[str, CostModel],
    budgets: Mapping[str, float],
    increases: LossIncreases,
) -> Architecture:
    """The architecture, changed as little as its budgets ask for. One that meets them is not changed.

    Where closing channels and changing choices is not enough, the branch that comes nearest to the budgets is taken,
    and the rest is done again. The space stays as it is.

    Raises:
        BudgetError: no change helps any more. `refuse_impossible` rules this out beforehand for a single budget.
    """

    def distance(candidate: Architecture) -> float:
        """By how much budgets are exceeded, each in units of the budget, added up."""
        return sum(excess / budgets[n] for n, excess in over(costs_at(space, candidate, models), budgets).items())

    start = architecture
    while True:
        found = _shrunk(space, start, models, budgets, increases)
        if not distance(found):
            return found
        switched = _switched(space, start, increases)
        nearest, _ = min(switched, key=lambda s: (distance(s[0]), s[1]), default=(start, 0.0))
        if distance(nearest) >= distance(start):
            break
        start = nearest
    last = min((smallest(space, models[name]) for name in budgets), key=distance)
    if distance(last):
        left = over(costs_at(space, found, models), budgets)
        raise BudgetError(f"budgets: nothing of the network can go any more, and still over: {left}. Raise them.")
    return last


def _shrunk(
    space: Space,
    architecture: Architecture,
    models: Mapping[str, CostModel],
    budgets: Mapping[str, float],
    increases: LossIncreases,
) -> Architecture:
    """The architecture with channels closed and choices changed until the budgets are met or nothing helps."""
    for _ in range(ROUNDS):
        excess = over(costs_at(space, architecture, models), budgets)
        if not excess:
            break
        with decisions_as(space, architecture):
            rows = _excesses(space, models, budgets, excess)
            changes = _changes(space, architecture, [row.slopes for row in rows], increases)
        chosen = _solve(changes, [row.need for row in rows])
        if not chosen:
            break
        architecture = _applied(architecture, chosen)
    return architecture


def _switched(
    space: Space, architecture: Architecture, increases: LossIncreases
) -> Iterator[tuple[Architecture, float]]:
    """Each architecture that differs in one branch, and the loss increase of the other branch."""
    for name, choice in space.spec.choices.items():
        each = increases[name][0].tolist() if choice.branches else []
        for option, increase in zip(choice.options, each, strict=False):
            if (option,) != architecture.picks[name]:
                yield architecture.having({name: (option,)}), increase


def _excesses(
    space: Space, models: Mapping[str, CostModel], budgets: Mapping[str, float], excess: Mapping[str, float]
) -> list[Excess]:
    """One for each budget that is exceeded; for peak RAM one for each layer that exceeds it."""
    leaves = {name: leaf.detach().requires_grad_() for name, leaf in space.select(FAKE).leaves().items()}
    network = space.describe(Selection.of(FAKE, leaves))
    totals: list[tuple[Tensor, float]] = []
    for name in excess:
        if isinstance(models[name], PeakRam):
            peaks = [(ram, ram.item() - budgets[name]) for _, ram in ram_by_layer(network)]
            totals += [(ram, need) for ram, need in peaks if need > 0]
        else:
            totals.append((models[name](network), excess[name]))
    found = []
    for total, need in totals:
        if not total.requires_grad:  # no decision bears on it
            found.append(Excess({}, need))
            continue
        slopes = torch.autograd.grad(total, list(leaves.values()), allow_unused=True, retain_graph=True)
        found.append(Excess({n: g for n, g in zip(leaves, slopes, strict=True) if g is not None}, need))
    return found


def _changes(
    space: Space, architecture: Architecture, rows: list[dict[str, Tensor]], increases: LossIncreases
) -> list[Change]:
    changes: list[Change] = []
    first = 1  # place 0 of the vector of gates is the channel that is always open
    for gate in (d for d in space.decisions.values() if isinstance(d, Gate)):
        changes += _closings(gate, architecture.picks[gate.name], first, rows, increases)
        first += gate.groups
    for choice in space.choices.values():
        changes += _lowerings(choice, architecture.picks, rows, increases)
    return [c for c in changes if any(s > 0 for s in c.saved)]


def _closings(
    gate: Gate, pick: tuple[int, ...], first: int, rows: list[dict[str, Tensor]], increases: LossIncreases
) -> list[Change]:
    closing = increases[GATES]
    opened = [g for g in range(gate.groups) if pick[g]]
    if len(opened) < 2:
        return []
    found = []
    for g in opened:
        saved = tuple(float(row[GATES][first + g]) if GATES in row else 0.0 for row in rows)
        loss = float(closing[first + g])
        found.append(Change(gate.name, g, 0, loss + TINY + float(gate.shadow[g].detach()) * TINY, saved, True))
    return found


def _lowerings(choice: Choice, picks: Picks, rows: list[dict[str, Tensor]], increases: LossIncreases) -> list[Change]:
    found, losses = [], increases[choice.name]
    saved_rows = [row.get(choice.name) for row in rows]
    for g, pick in enumerate(picks[choice.name]):
        now = choice.options.index(pick)
        for option in set(range(len(choice.options))) - {now}:
            loss = max(0.0, float(losses[g, option] - losses[g, now]))
            saved = tuple(float(row[g, now] - row[g, option]) if row is not None else 0.0 for row in saved_rows)
            found.append(Change(choice.name, g, choice.options[option], loss + TINY, saved))
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


def _applied(architecture: Architecture, changes: list[Change]) -> Architecture:
    picks = {name: list(pick) for name, pick in architecture.picks.items()}
    for c in changes:
        if c.closes and sum(picks[c.decision]) <= 1:
            continue  # the last channel of a gate stays
        picks[c.decision][c.group] = c.option
    return architecture.having({name: tuple(pick) for name, pick in picks.items()})
