"""Makes tables of loss increases: measured with a pass for every option, or estimated by the Fisher information."""

import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from search.budgets.feasibility import decisions_as, seed_architecture
from search.errors import UsageError
from search.objective.tried_options import difference_of, in_use
from search.strategies.sensitivity.table import Table, fingerprint
from search.training.dry_run import watched
from search.training.evaluation import losses_of, mean_loss, mean_of
from spaces.architecture import Architecture
from spaces.decisions.decision import Decision
from spaces.decisions.gates import Gate
from spaces.decisions.selection import GATES
from spaces.space import FAKE, Space

Batch = tuple[Tensor, Tensor]
Loss = Callable[[Any, Tensor, Tensor], Tensor]  # of outputs, targets and images


@torch.no_grad()
def measured_table(
    space: Space,
    batches: list[Batch],
    loss: Loss,
    *,
    facts: Mapping[str, Any],
    allowed: float | None = None,
    known: Mapping[str, Tensor] | None = None,
    keep: Callable[[Table], None] = lambda unfinished: None,
) -> Table:
    """The table that is measured with a pass for every option of every group.

    Args:
        facts: of the task that the loss is of.
        allowed: seconds that it may take; None: as many as it needs.
        known: decision -> increases, of an earlier table that was not finished.
        keep: is given the unfinished table after every decision.

    Raises:
        UsageError: the first pass shows that it would take longer than allowed.
    """
    seed, mark, began = seed_architecture(space), fingerprint(space, facts), time.perf_counter()
    increases = dict(known or {})
    with space.running(FAKE), decisions_as(space, seed):
        reached = mean_loss(space, batches, loss)
        left = [decision for name, decision in space.decisions.items() if name not in increases]
        expected = sum(map(_tries, left)) * (time.perf_counter() - began)
        if allowed is not None and expected > allowed:
            raise UsageError(
                f"limits.seconds: leaves {allowed:.0f} for the table, which takes about {expected:.0f}. Raise it, or "
                "take fewer strategy.batches, strategy.estimate=gradient, or the strategy.table of another run."
            )
        for decision in left:
            increases[decision.name] = _increases(decision, lambda: losses_of(space, batches, loss), reached)
            keep(_table(space, increases, mark))
    return _table(space, increases, mark)


def _increases(decision: Decision, losses: Callable[[], Tensor], reached: float) -> Tensor:
    """(groups, options), the increases of one decision, which has the seed network's options.

    The device is waited for once, behind all passes.

    Args:
        losses: (batches,), of the network as it is.
    """
    found = torch.zeros(decision.groups, len(decision.options), dtype=torch.float64)
    start, tried = decision.pick(), dict[tuple[int, int], Tensor]()
    alone = isinstance(decision, Gate) and decision.groups == 1  # the last channel stays
    for group in range(0 if alone else decision.groups):
        for i, option in enumerate(decision.options):
            if option != decision.start:
                pick = list(start)
                pick[group] = option
                decision.fix(tuple(pick))
                tried[group, i] = losses()
    decision.fix(start)
    each = torch.stack(list(tried.values())).tolist() if tried else []
    for place, values in zip(tried, each, strict=True):
        found[place] = mean_of(values) - reached
    return found


def estimated_table(space: Space, batches: list[Batch], loss: Loss, *, facts: Mapping[str, Any]) -> Table:
    """The table by the Fisher information (search.objective.fisher), in one pass. Whole choices are tried."""
    with decisions_as(space, seed_architecture(space)), watched(space, frozen_norms=True):
        seen = [_of_batch(space, images, targets, loss) for images, targets in batches]
    found = {name: torch.stack([each[name] for each in seen]).mean(0).double().cpu() for name in seen[0]}
    increases, first = {}, 1
    for name, decision in space.decisions.items():
        if isinstance(decision, Gate):
            closed = found[GATES][first : first + decision.groups]
            increases[name] = torch.stack([closed, torch.zeros_like(closed)], dim=1)
            first += decision.groups
        else:
            increases[name] = found[name]
    return _table(space, increases, fingerprint(space, facts))


def _of_batch(space: Space, images: Tensor, targets: Tensor, loss: Loss) -> dict[str, Tensor]:
    """What changes do to the loss: (places,) for closing each channel (GATES), (groups, options) for each choice."""
    value = loss(space(images, tried=lambda selection: selection.whole), targets, images)
    leaves = space.selection.leaves()
    found = torch.autograd.grad(value, list(leaves.values()), allow_unused=True)
    changes = {}
    for (name, leaf), gradient in zip(leaves.items(), found, strict=True):
        if name in space.selection.whole:
            changes[name] = _tried(space, images, lambda outputs: loss(outputs, targets, images), value.detach(), name)
            continue
        gradient = torch.zeros_like(leaf) if gradient is None else gradient
        change = -gradient if name == GATES else gradient - (gradient * leaf.detach()).sum(1, keepdim=True)
        changes[name] = len(images) / 2 * change.square()
    space.selection.halfway.clear()
    return changes


def _tried(space: Space, images: Tensor, loss: Callable[[Tensor], Tensor], reached: Tensor, name: str) -> Tensor:
    """(1, options), the loss with each other option minus the loss that was reached."""
    now, options = space.selection.picked[name], range(len(space.choices[name].options))
    nothing = torch.zeros((), dtype=torch.float64, device=images.device)
    runs = in_use(space, space.selection, name)
    tried = [difference_of(space, images, loss, reached, name, i) if runs and i != now else nothing for i in options]
    return torch.stack(tried).float()[None]


def passes(space: Space) -> int:
    """Forward passes that `measured_table` takes on each batch."""
    return 1 + sum(map(_tries, space.decisions.values()))


def _tries(decision: Decision) -> int:
    return decision.groups * (len(decision.options) - 1)


def _table(space: Space, increases: dict[str, Tensor], mark: str) -> Table:
    """The table of all decisions, or of those that are done. mark: its fingerprint."""
    options = {name: tuple(decision.options) for name, decision in space.decisions.items() if name in increases}
    return Table(mark, tuple(gate.name for gate in space.gates.values()), options, increases)


@torch.no_grad()
def loss_at(space: Space, architecture: Architecture, batches: list[Batch], loss: Loss) -> float:
    """The mean loss with the architecture. Norms normalise by the batches, as if they had been estimated anew."""
    with decisions_as(space, architecture), watched(space):
        return mean_loss(space, batches, loss)
