"""The table of what each option of each group of each decision does to the loss of the seed network, and its file."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from reprlib import repr as short
from typing import Any, TypedDict

import torch
from torch import Tensor

from search.atomic import write_text
from search.budgets.changes import LossIncreases
from search.errors import UsageError
from search.files.documents import check_format, json_object
from search.kinds import FINITE, NUMBER, OBJECT, TEXT, WHOLE, listed, unlike
from spaces.decisions.selection import GATES
from spaces.space import Space

FILE, UNFINISHED, FORMAT = "sensitivity.json", "sensitivity.part.json", 1
DECISION = {"options": listed(WHOLE), "loss_increase": listed(listed(NUMBER))}


class StoredDecision(TypedDict):
    """One decision as the file holds it: `loss_increase` has a row for each group, with a number for each option."""

    options: list[int]
    loss_increase: list[list[float]]


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
