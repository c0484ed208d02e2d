"""In which order parts go: their scores, and orders by these scores.

The score by magnitude is |w|; for a channel it is its importance (search.strategies.black_box.encoding) over the mean
importance of its gate. The score by gradient is |w dL/dw|, by which the loss would change to first order, a mean over
batches (Molchanov et al., arXiv 1611.06440, section 2.2, and 1906.10771, eq. 6).

An order lists places in the vector of parts: first those that are gone already, then what goes next. The best part of
every layer is in no order, because it stays.
"""

import time
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from cost_models.energy import Energy
from search.budgets.layer_costs import cost_by_layer
from search.strategies.problem import FORWARD, Problem
from search.strategies.pruning.parts import Parts
from search.training.dry_run import watched
from search.training.evaluation import mean_loss

RANKING_BATCHES = 8  # of a score by gradient
PROBE_BATCHES = 2  # of a loss in the order by energy
ROUNDS = 30  # over the layers, each with twice the tolerance of the one before

MAGNITUDE, GRADIENT = "magnitude", "gradient"


def scores(problem: Problem, parts: Parts, criterion: str) -> Tensor:
    """(N,) float64, scores. Parts with low scores go first; the score of a part that is gone is -inf."""
    if criterion == MAGNITUDE:
        return parts.magnitude()
    space, loss, began = problem.space, problem.runtime.task.comparison_loss, time.perf_counter()
    batches = problem.sample(RANKING_BATCHES)
    total = torch.zeros(sum(parts.sizes.values()), dtype=torch.float64, device=problem.runtime.device)
    with watched(space, frozen_norms=True):
        for images, targets in batches:
            total += parts.products(loss(space(images), targets, images))
    total = total.cpu()  # the device is waited for once, and before the time is taken
    epochs = len(batches) / len(problem.runtime.whole)
    problem.runtime.ledger.spend("prune", epochs, time.perf_counter() - began)
    return (total / len(batches)).masked_fill(parts.gone(), -torch.inf)


def as_layers_shares(values: Tensor, sizes: Mapping[str, int]) -> Tensor:
    """(N,), the share of its layer that is gone when a part is gone, over 0 and up to 1."""
    found = []
    for part in values.split(list(sizes.values())):
        rank = torch.empty_like(part)
        rank[part.argsort(stable=True)] = torch.arange(1, len(part) + 1, dtype=part.dtype) / len(part)
        found.append(rank)
    return torch.cat(found)


def ascending(values: Tensor, sizes: Mapping[str, int]) -> Tensor:
    """The order of all layers at once, with the lowest values first."""
    order = values.argsort(stable=True)
    return order[~best(values, sizes)[order]]


def best(values: Tensor, sizes: Mapping[str, int]) -> Tensor:
    """(N,) bool, the part of each layer that stays to the last."""
    parts = values.split(list(sizes.values()))
    return torch.cat([torch.arange(len(part)) == part.argmax() for part in parts])


def by_energy(
    problem: Problem, parts: Parts, values: Tensor, tolerance: float, enough: Callable[[Tensor], bool]
) -> Tensor:
    """The order of one layer after the other, by falling energy, until `enough` says that enough is gone.

    After Yang, Chen and Sze (CVPR 2017, arXiv 1611.05128): the lowest values of each layer go until the loss on some
    batches has risen by the tolerance. Unlike there, a layer is not fitted again by least squares before the next one.
    When all layers have had their turn, they have another one with twice the tolerance.
    """
    gone, sizes, probe = parts.gone(), parts.sizes, Probe(problem, parts)
    order = [gone.nonzero()[:, 0]]
    stays = best(values, sizes)
    starts = dict(zip(sizes, torch.tensor([0, *sizes.values()]).cumsum(0).tolist(), strict=False))
    layers = sorted(sizes, key=lambda name: -probe.energies[name])
    for turn in range(ROUNDS):
        for name in layers:
            if enough(gone):
                return torch.cat(order)
            here = torch.arange(starts[name], starts[name] + sizes[name])
            here = here[~(gone | stays)[here]]
            here = here[values[here].argsort(stable=True)]
            taken = here[: probe.bearable(gone, here, tolerance * 2**turn)]
            gone[taken] = True
            order.append(taken)
    rest = (~(gone | stays)).nonzero()[:, 0]
    return torch.cat([*order, rest[values[rest].argsort(stable=True)]])


class Probe:
    """Measures the loss without some parts.

    Attributes:
        energies: layer -> pJ of the blocks that compute with its parts.
    """

    def __init__(self, problem: Problem, parts: Parts) -> None:
        self._problem, self._parts = problem, parts
        self._batches = problem.sample(PROBE_BATCHES)
        self.energies = dict.fromkeys(parts.sizes, 0.0)
        decided = problem.space.decide()
        costs = dict(cost_by_layer(Energy(), decided.describe()))
        for block in decided.spec.blocks:
            for name in parts.layers_of(block):
                self.energies[name] += costs[block.name]

    def bearable(self, gone: Tensor, candidates: Tensor, tolerance: float) -> int:
        """How many of the candidates, from the first, may go too. By bisection, as the loss rises with each."""
        before = self._parts.gone()
        limit = self._loss(gone, candidates[:0]) + tolerance
        low, high = 0, len(candidates)
        while low < high:
            middle = (low + high + 1) // 2
            if self._loss(gone, candidates[:middle]) <= limit:
                low = middle
            else:
                high = middle - 1
        self._parts.remove(before)
        return low

    @torch.no_grad()
    def _loss(self, gone: Tensor, more: Tensor) -> float:
        space, runtime = self._problem.space, self._problem.runtime
        began = time.perf_counter()
        self._parts.remove(gone.index_fill(0, more, True))
        with watched(space):
            found = mean_loss(space, self._batches, runtime.task.comparison_loss)
        epochs = FORWARD * len(self._batches) / len(runtime.whole)
        runtime.ledger.spend("prune", epochs, time.perf_counter() - began)
        return found
