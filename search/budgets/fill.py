"""What a decided architecture leaves of its budgets is spent where it helps most, until nothing fits any more.

The changes that lower the loss are made in order of gain a share of what is left (search.budgets.improvements). Their
costs are estimates, so every step is checked exactly, and no step is made that exceeds a budget (docs/methods.md,
section 12).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from cost_models.layer import Network
from cost_models.peak_ram import PeakRam, ram_by_layer
from cost_models.rules import total
from search.budgets.changes import CostRow, LossIncreases, applied, cost_row
from search.budgets.feasibility import BudgetError, Budgets, decisions_as, over
from search.budgets.improvements import Improvement, Improvements
from search.budgets.kinds import Kind
from spaces.architecture import Architecture
from spaces.decisions.selection import GATES, Selection
from spaces.space import FAKE, Space

CHECKS = 500  # the most exact checks
PART = 0.5  # of what is left of a budget, behind which slopes are computed anew
ENOUGH = 0.95  # of a budget; where less is used, the reason is given


@dataclass(frozen=True)
class Use:
    """What an architecture uses of a budget.

    Attributes:
        why: why it is less than 95% of the limit; "" where it is more.
    """

    budget: str
    unit: str
    used: float
    limit: float
    why: str = ""

    def __str__(self) -> str:
        share = f"{self.budget} {self.used:,.10g} of {self.limit:,.10g} {self.unit} ({self.used / self.limit:.1%})"
        return f"{share}: {self.why}" if self.why else share


@dataclass(frozen=True)
class Filled:
    """An architecture that fills its budgets, and what it uses of each."""

    architecture: Architecture
    uses: tuple[Use, ...]

    def __str__(self) -> str:
        return "budgets in use: " + "; ".join(map(str, self.uses))


def filled(
    budgets: Budgets,
    architecture: Architecture,
    increases: LossIncreases,
    prices: Mapping[str, float] | None = None,
) -> Filled:
    """The architecture with higher precisions, more channels and better options, as far as all budgets allow.

    It loses nothing, and no single change fits any more, unless `CHECKS` exact checks were not enough. Branches and
    gates with copied channels stay as they are. The space stays as it is.

    Args:
        increases: a decision without an entry is left as it is.
        prices: cost -> what a unit of it weighs in the loss. A change has to gain at least what it weighs.

    Raises:
        BudgetError: the architecture exceeds a budget.
    """
    excess = budgets.excess(architecture)
    if excess:
        raise BudgetError(f"budgets: what is to be filled is over already: {excess}. Repair the architecture before.")
    if not budgets.limits:
        return Filled(architecture, ())
    with decisions_as(budgets.space, architecture):
        return _Fill(budgets, architecture, increases, prices or {}).run()


class _Fill:
    """Fills the budgets of one architecture. The decisions of its space stand as that architecture says."""

    def __init__(
        self, budgets: Budgets, architecture: Architecture, increases: LossIncreases, prices: Mapping[str, float]
    ) -> None:
        self._budgets, self._space, self._limits, self._prices = budgets, budgets.space, budgets.limits, prices
        self._improvements = Improvements(budgets.space, increases, architecture.picks)
        self._found, self._checks, self._complete = architecture, 0, False
        self._unfit: set[Kind] = set()  # what did not fit when it was tried, perhaps before other changes
        self._tried: dict[Kind, dict[str, float]] = {}  # the costs with each change that does not fit now
        self._largest = _largest(self._space, architecture)
        full = self._network(_leaves(self._space, self._largest))
        self._crowded = {  # layers that can come to use more RAM than there is
            layer
            for name, limit in self._limits.items()
            if isinstance(budgets.models[name], PeakRam)
            for layer, ram in ram_by_layer(full)
            if ram > limit
        }

    def run(self) -> Filled:
        while not self._complete and self._checks < CHECKS:
            rows, prices = self._slopes()
            if not self._spend(rows, prices):
                self._complete = not self._try_each(rows, prices)
        costs = self._costs(self._found)
        return Filled(self._found, tuple(self._use(name, costs[name]) for name in self._limits))

    def _spend(self, rows: Sequence[CostRow], prices: CostRow) -> bool:
        """Makes the best changes, as many as fit. It returns whether there are any that should fit."""
        batch = self._batch(self._improvements.ladders(self._found.picks, rows, prices), rows)
        fit, unfit = 0, len(batch) + 1  # so many changes fit, so many do not
        count = len(batch)
        while unfit - fit > 1 and self._checks < CHECKS:
            if over(self._costs(self._having(batch[:count])), self._limits):
                unfit = count
            else:
                fit = count
            count = (fit + unfit) // 2
        self._unfit |= {found.kind for found in batch[unfit - 1 : unfit]}
        self._make(batch[:fit])
        return bool(batch)

    def _batch(self, ladders: Sequence[Improvement], rows: Sequence[CostRow]) -> list[Improvement]:
        """The first changes that fit by the estimates, until they take about half of what is left of some budget."""
        batch: list[Improvement] = []
        left, spent = np.array([-row.excess for row in rows]), np.zeros(len(rows))
        ended: set[tuple[str, int]] = set()  # groups of which a change was passed over: the next ones build on it
        for found in ladders:
            group, cost = (found.change.decision, found.change.group), -np.array(found.change.saved)
            if group in ended or found.kind in self._unfit or ((cost > 0) & (spent + cost > left)).any():
                ended.add(group)
                continue
            batch.append(found)
            spent += cost
            if (spent > PART * left).any():
                break
        return batch

    def _try_each(self, rows: Sequence[CostRow], prices: CostRow) -> bool:
        """Makes every single change that fits by the exact check, whatever the estimates say; whether one did."""
        singles = self._improvements.singles(self._found.picks, rows, prices)
        changed: set[tuple[str, int]] = set()
        for found in sorted(singles, key=lambda found: found.kind in self._unfit):
            group = (found.change.decision, found.change.group)
            if group in changed:
                continue
            if self._checks == CHECKS:
                return True  # nothing is known of the rest
            costs = self._costs(self._having([found]))
            if over(costs, self._limits):
                self._tried[found.kind] = costs
                self._unfit.add(found.kind)
            else:
                self._make([found])
                changed.add(group)
        return bool(changed)

    def _having(self, changes: Sequence[Improvement]) -> Architecture:
        return applied(self._found, [found.change for found in changes])

    def _make(self, changes: Sequence[Improvement]) -> None:
        if changes:
            self._found = self._having(changes)
            self._tried.clear()

    def _costs(self, architecture: Architecture) -> dict[str, float]:
        """The exact costs that have budgets."""
        self._checks += 1
        with torch.no_grad():
            network = self._network(_leaves(self._space, architecture))
            return {name: self._budgets.models[name](network).item() for name in self._limits}

    def _network(self, leaves: dict[str, Tensor]) -> Network:
        return self._space.describe(Selection.of(FAKE, leaves))

    def _slopes(self) -> tuple[list[CostRow], CostRow]:
        """A row for each budget, of peak RAM one for each layer that can exceed it, and the row of what has a price."""
        leaves = {name: leaf.requires_grad_() for name, leaf in _leaves(self._space, self._found).items()}
        network, models, costs = self._network(leaves), self._budgets.models, []
        for name, limit in self._limits.items():
            if isinstance(models[name], PeakRam):
                costs += [(ram, limit) for layer, ram in ram_by_layer(network) if layer in self._crowded]
            else:
                costs.append((models[name](network), limit))
        prices = total(price * models[name](network) for name, price in self._prices.items())
        return [cost_row(cost, cost.item() - limit, leaves) for cost, limit in costs], cost_row(prices, 0.0, leaves)

    def _use(self, name: str, used: float) -> Use:
        limit = self._limits[name]
        why = self._why(name, used) if used < ENOUGH * limit else ""
        return Use(name, self._budgets.models[name].unit, used, limit, why)

    def _why(self, name: str, used: float) -> str:
        """Why no more of a budget is used."""
        unit = self._budgets.models[name].unit
        if not self._complete:
            return f"{CHECKS} exact checks were made, and changes are left that were not tried"
        if not self._tried:
            same = self._costs(self._largest)[name] == used
            return "the whole network uses no more" if same else "no change that is left lowers the loss"
        each = [(costs, over(costs, self._limits).keys()) for costs in self._tried.values()]
        alone = [costs[name] - used for costs, exceeded in each if exceeded == {name}]
        if alone:
            return (
                f"the smallest change that is left takes {min(alone):,.10g} {unit} more, and "
                f"{self._limits[name] - used:,.10g} {unit} are left"
            )
        others = sorted(set().union(*(exceeded for _, exceeded in each)) - {name})
        return f"every change that is left exceeds {', '.join(others)}"


def _largest(space: Space, architecture: Architecture) -> Architecture:
    """The architecture with all channels and the last option of all choices. Branches and copies stay."""
    gates = (gate.name for gate in space.gates.values())
    picks = {name: tuple(max(1, times) for times in architecture.picks[name]) for name in gates}
    for name, choice in space.choices.items():
        if not space.spec.choices[name].branches:
            picks[name] = (choice.options[-1],) * choice.groups
    return architecture.having(picks)


def _leaves(space: Space, architecture: Architecture) -> dict[str, Tensor]:
    """What costs depend on. How often a channel stands in the network is what its gate says."""
    device = next(space.parameters()).device
    leaves = {}
    if space.gates:
        opened = chain.from_iterable(architecture.picks[gate.name] for gate in space.gates.values())
        leaves[GATES] = torch.tensor([1, *opened], dtype=torch.float32, device=device).clamp_max(1)
    for name, choice in space.choices.items():
        index = torch.tensor([choice.options.index(pick) for pick in architecture.picks[name]], device=device)
        leaves[name] = one_hot(index, len(choice.options)).float()
    return leaves
