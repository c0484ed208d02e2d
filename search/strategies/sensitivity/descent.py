"""From a table to an architecture, in stages: what the changes of a layer do together is measured on the way.

A table has what each change does alone. Changes of one layer do more together than they add up to: of two channels with
the same content either can go, but not both. So the budgets are lowered in stages. At each stage the program finds an
architecture, and for every decision the loss is measured with it and with this one decision as in the seed network. The
difference over what the table says is the factor of the decision's entries from then on. Besides, no layer falls below
a floor, as long as the budgets can be met otherwise (docs/methods.md, section 13).
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from search.budgets.changes import LossIncreases
from search.budgets.feasibility import Budgets, seed_architecture
from search.budgets.repair import repair
from search.strategies.sensitivity.table import Table
from spaces.architecture import Architecture

STAGE = 0.6  # of the costs of the stage before
FLOOR = 0.5  # of the width that a network has which meets the budget at its lowest precision and one width
BEYOND = 1e3  # times the largest entry: what closing a channel that the floor keeps is taken to add to the loss
LEAST, MOST = 0.2, 50.0  # factors of a decision

LossOf = Callable[[Architecture], float]


def descended(budgets: Budgets, table: Table, loss_of: LossOf) -> tuple[Architecture, LossIncreases]:
    """An architecture within the budgets, and the loss increases by which it was found.

    Args:
        loss_of: of an architecture, on the table's batches.

    Raises:
        BudgetError: as `repair`.
    """
    seed = seed_architecture(budgets.space)
    costs, factors = budgets.costs(seed), dict.fromkeys(table.increases, 1.0)
    found, increases = seed, table.loss_increases
    for limits in stages(costs, budgets.limits):
        share = min(limit / costs[name] for name, limit in limits.items())
        scaled = {name: each * factors[name] for name, each in table.increases.items()}
        increases = replace(table, increases=scaled).loss_increases
        floored = with_floor(scaled, table.gates, floor_of(table, share))
        found = repair(replace(budgets, limits=limits), seed, replace(table, increases=floored).loss_increases)
        if limits != budgets.limits:
            factors |= _factors(table, seed, found, loss_of)
    return found, increases


def stages(costs: Mapping[str, float], limits: Mapping[str, float]) -> Iterator[Mapping[str, float]]:
    """The limits of each stage, at equal distances of their logarithms from the seed network's costs to the budgets."""
    over = [limits[name] / costs[name] for name in limits if costs[name] > limits[name]]
    count = math.ceil(math.log(min(over)) / math.log(STAGE)) if over else 1
    for number in range(1, count):
        yield {n: costs[n] * min(1.0, limit / costs[n]) ** (number / count) for n, limit in limits.items()}
    yield limits


def floor_of(table: Table, share: float) -> float:
    """The share of channels below which no layer should fall where the costs are a share of the seed network's.

    A network of one width `w` at its lowest precision, `spread` times fewer bits than at its highest, costs `w^2 /
    spread`.
    """
    bits = [options for name, options in table.options.items() if name.endswith("/bits")]
    spread = max((max(options) / min(options) for options in bits), default=1.0)
    return FLOOR * min(1.0, math.sqrt(share * spread))


def with_floor(increases: Mapping[str, Tensor], gates: Sequence[str], floor: float) -> dict[str, Tensor]:
    """The increases, but closing the most important channels of a gate, a share of `floor`, is out of proportion.

    Args:
        increases: decision -> (groups, options).
    """
    most = max((float(each.max()) for each in increases.values()), default=0.0) or 1.0
    found = dict(increases)
    for name in gates:
        raised = increases[name].clone()
        kept = raised[:, 0].argsort(descending=True, stable=True)[: math.ceil(floor * len(raised))]
        raised[kept, 0] += BEYOND * most
        found[name] = raised
    return found


def _factors(table: Table, seed: Architecture, found: Architecture, loss_of: LossOf) -> dict[str, float]:
    """Decision -> the loss that its changes add among all others, over what the table says of them one by one."""
    reached, factors = loss_of(found), {}
    for name, options in table.options.items():
        if found.picks[name] == seed.picks[name]:
            continue
        places = torch.tensor([options.index(option) for option in found.picks[name]])
        alone = float(table.increases[name].gather(1, places[:, None]).clamp_min(0).sum())
        together = reached - loss_of(found.having({name: seed.picks[name]}))
        if alone > 0:
            factors[name] = min(MOST, max(LEAST, together / alone))
    return factors
