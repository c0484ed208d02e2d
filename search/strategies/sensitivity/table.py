"""What every option of every group of every decision does to the loss of the seed network, one at a time."""

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from reprlib import repr as short
from typing import Any, TypedDict

import torch
from torch import Tensor

from search.atomic import write_text
from search.budgets.changes import LossIncreases
from search.budgets.feasibility import decisions_as, seed_architecture
from search.errors import UsageError
from search.files.documents import check_format, json_object
from search.kinds import FINITE, NUMBER, OBJECT, TEXT, WHOLE, listed, unlike
from search.objective.tried_options import difference_of, in_use
from search.training.dry_run import watched
from search.training.evaluation import losses_of, mean_loss, mean_of
from spaces.architecture import Architecture
from spaces.decisions.decision import Decision
from spaces.decisions.gates import Gate
from spaces.decisions.selection import GATES
from spaces.space import FAKE, Space

FILE, UNFINISHED, FORMAT = "sensitivity.json", "sensitivity.part.json", 1
DECISION = {"options": listed(WHOLE), "loss_increase": listed(listed(NUMBER))}


class StoredDecision(TypedDict):
    """One decision as the file holds it: `loss_increase` has a row for each group, with a number for each option."""

    options: list[int]
    loss_increase: list[list[float]]


Batch = tuple[Tensor, Tensor]
Loss = Callable[[Any, Tensor, Tensor], Tensor]  # of outputs, targets and images


@dataclass(frozen=True)
class Table:
    """What is known of a space.

    Attributes:
        fingerprint: a digest of the weights, the space and the loss that it is of.
        gates: the decisions that are gates, in the order of the space; their options are 0 and 1.
        increases: decision -> (groups, options), losses minus that of the seed network.
        epochs: how many epochs of training would have taken as much work as the table.
        seconds: how long it took.
    """

    fingerprint: str
    gates: tuple[str, ...]
    options: dict[str, tuple[int, ...]]
    increases: dict[str, Tensor]
    epochs: float = 0.0
    seconds: float = 0.0

    @property
    def loss_increases(self) -> LossIncreases:
        """The table as search.budgets reads it: gates in one vector, after the channel that is always open."""
        found = {name: table.clamp_min(0) for name, table in self.increases.items()}
        gates = [found.pop(name)[:, 0] for name in self.gates]
        return found | ({GATES: torch.cat([torch.zeros(1, dtype=torch.float64), *gates])} if gates else {})

    @property
    def tries(self) -> int:
        """How many options were tried, with that of the seed network, which they are compared with."""
        return 1 + sum(table.numel() - len(table) for table in self.increases.values())

    def save(self, path: Path) -> None:
        decisions = {
            name: {"options": list(options), "loss_increase": self.increases[name].tolist()}
            for name, options in self.options.items()
        }
        document = {"format": FORMAT, "fingerprint": self.fingerprint, "gates": self.gates}
        document |= {"epochs": self.epochs, "seconds": self.seconds, "decisions": decisions}
        write_text(path, json.dumps(document))

    @staticmethod
    def load(path: Path) -> "Table":
        """Raises UsageError: no file, no JSON, of another format, or damaged."""
        try:
            document = json_object(path.read_text(encoding="utf-8"))
            decisions, wrong = decisions_of(document)
            document.setdefault("seconds", 0.0)  # of tables from before they were counted
            kinds = {"fingerprint": TEXT, "epochs": FINITE, "seconds": FINITE, "gates": listed(TEXT)}
            wrong += unlike(document, kinds).values()
            if wrong:
                raise UsageError(f"is no whole table: {'; '.join(wrong)}")
        except (OSError, ValueError) as error:
            raise UsageError(
                f"{path}: cannot be read ({error}). Name the sensitivity.json of another run in strategy.table, or "
                "leave it out and delete this one: the run makes its own."
            ) from error
        options = {name: tuple(entry["options"]) for name, entry in decisions.items()}
        increases = {n: torch.tensor(e["loss_increase"], dtype=torch.float64) for n, e in decisions.items()}
        return Table(
            fingerprint=document["fingerprint"],
            gates=tuple(document["gates"]),
            options=options,
            increases=increases,
            epochs=document["epochs"],
            seconds=document["seconds"],
        )

    def fits(self, space: Space, facts: Mapping[str, Any]) -> bool:
        """Whether the table is of the weights of this space, of what is open in it, and of the loss of the task.

        Args:
            facts: of the task, see search.tasks.task.
        """
        return self.fingerprint == fingerprint(space, facts) and self.covers(space)

    def covers(self, space: Space) -> bool:
        """Whether the table has the decisions of this space, their groups and their options. Weights may differ."""
        shapes = {name: (decision.groups, len(decision.options)) for name, decision in space.decisions.items()}
        return (
            self.options == {name: tuple(decision.options) for name, decision in space.decisions.items()}
            and self.gates == tuple(gate.name for gate in space.gates.values())
            and {name: tuple(values.shape) for name, values in self.increases.items()} == shapes
        )


def decisions_of(document: Mapping[str, Any]) -> tuple[dict[str, StoredDecision], list[str]]:
    """Decision -> what the file holds of it, where that is whole, and what is damaged in the others.

    Raises:
        UsageError: the document is of another format, or has no decisions.
    """
    check_format(document, FORMAT)
    wrong = unlike(document, {"decisions": OBJECT})
    if wrong:
        raise UsageError(wrong["decisions"])
    found: dict[str, StoredDecision] = {}
    faults: list[str] = []
    for name, entry in document["decisions"].items():
        fault = _fault(entry)
        if fault:
            faults.append(f"decision '{name}': {fault}")
        else:
            found[name] = entry
    return found, faults


def _fault(entry: Any) -> str:
    """What is wrong with a decision; "" if nothing is."""
    if not isinstance(entry, dict):
        return f"{short(entry)} is no object"
    wrong = unlike(entry, DECISION)
    if wrong:
        return "; ".join(wrong.values())
    rows, options = entry["loss_increase"], len(entry["options"])
    if not rows or not options or any(len(row) != options for row in rows):
        return f"rows of loss_increase have {sorted({len(row) for row in rows})} numbers for {options} options"
    return ""


def fingerprint(space: Space, facts: Mapping[str, Any]) -> str:
    """A digest of the float network, of what is open, and of the loss. A table holds for these alone.

    Args:
        facts: of the task. Those that are 0 or empty have no part in it: they say that the loss is the plain one, and
            tables of earlier versions do not hold them.
    """
    digest = hashlib.sha256()
    state = space.state_dict()
    for name in space.float_names():
        digest.update(name.encode() + state[name].cpu().numpy().tobytes())
    for name, decision in space.decisions.items():
        digest.update(f"{name} {decision.groups} {decision.options}".encode())
    told = {name: value for name, value in facts.items() if value}
    if told:
        digest.update(json.dumps(told, sort_keys=True).encode())
    return digest.hexdigest()[:16]


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
    value = loss(space(images), targets, images)
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
    return changes


def _tried(space: Space, images: Tensor, loss: Callable[[Tensor], Tensor], reached: Tensor, name: str) -> Tensor:
    """(1, options), the loss with each other option minus the loss that was reached."""
    now, options = space.selection.picked[name], range(len(space.choices[name].options))
    nothing = torch.zeros((), dtype=torch.float64, device=images.device)
    tried = [
        nothing
        if i == now or not in_use(space, space.selection, name)
        else difference_of(space, images, loss, reached, name, i)
        for i in options
    ]
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
