"""What every option of every group of every decision does to the loss, one at a time, from the seed network."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from search.feasibility import fixed, seed_architecture
from search.repair import Sensitivity
from spaces.blocks import GATES
from spaces.decision import Gate
from spaces.files import write_text
from spaces.space import FAKE, Space

FILE, FORMAT = "sensitivity.json", 1

Batch = tuple[Tensor, Tensor]
Loss = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Table:
    """What is known of a space.

    Attributes:
        fingerprint: of the weights that it holds for.
        gates: the decisions that are gates, in the order of the space; their options are 0 and 1.
        increases: decision -> (groups, options), losses less the seed network's.
    """

    fingerprint: str
    gates: tuple[str, ...]
    options: dict[str, tuple[int, ...]]
    increases: dict[str, Tensor]

    @property
    def by_name(self) -> dict[str, Tensor]:
        """As `search.repair` reads it: gates in one vector behind the channel that is always open."""
        hurts = {name: table.clamp_min(0) for name, table in self.increases.items()}
        gates = [hurts.pop(name)[:, 0] for name in self.gates]
        return hurts | ({GATES: torch.cat([torch.zeros(1, dtype=torch.float64), *gates])} if gates else {})

    def save(self, path: Path) -> None:
        decisions = {
            name: {"options": list(options), "loss_increase": self.increases[name].tolist()}
            for name, options in self.options.items()
        }
        document = {"format": FORMAT, "fingerprint": self.fingerprint, "gates": self.gates, "decisions": decisions}
        write_text(path, json.dumps(document))

    @staticmethod
    def load(path: Path) -> "Table":
        """Raises ValueError: no file, no JSON, or of another format."""
        try:
            document = json.loads(path.read_text())
        except (OSError, ValueError) as error:
            raise ValueError(f"{path}: cannot be read ({error}). Name the sensitivity.json of a run.") from error
        if not isinstance(document, dict) or document.get("format") != FORMAT:
            raise ValueError(f"{path}: is no table of format {FORMAT}, which this version writes and reads.")
        entries = document["decisions"].items()
        options = {name: tuple(entry["options"]) for name, entry in entries}
        increases = {name: torch.tensor(entry["loss_increase"], dtype=torch.float64) for name, entry in entries}
        return Table(document["fingerprint"], tuple(document["gates"]), options, increases)


def fingerprint(space: Space) -> str:
    """Of the float network and of what is open: a table holds for these alone."""
    digest = hashlib.sha256()
    state = space.state_dict()
    for name in space.float_names():
        digest.update(name.encode() + state[name].cpu().numpy().tobytes())
    for name, decision in space.decisions.items():
        digest.update(f"{name} {decision.groups} {decision.options}".encode())
    return digest.hexdigest()[:16]


@torch.no_grad()
def measured(space: Space, batches: list[Batch], loss: Loss) -> Table:
    """By a pass for every option of every group."""
    seed, mode = seed_architecture(space), space.mode
    space.set_mode(FAKE)
    increases = {}
    with fixed(space, seed):
        reached = _mean_loss(space, batches, loss)
        for name, decision in space.decisions.items():
            found = torch.zeros(decision.groups, len(decision.options), dtype=torch.float64)
            alone = isinstance(decision, Gate) and decision.groups == 1  # the last channel stays
            for group in range(0 if alone else decision.groups):
                for i, option in enumerate(decision.options):
                    if option != decision.start:
                        pick = list(seed.picks[name])
                        pick[group] = option
                        decision.fix(tuple(pick))
                        found[group, i] = _mean_loss(space, batches, loss) - reached
            decision.fix(seed.picks[name])
            increases[name] = found
    space.set_mode(mode)
    return _table(space, increases)


def estimated(space: Space, batches: list[Batch], loss: Loss) -> Table:
    """By the loss's derivatives, to first order; whole choices are tried. One pass."""
    with fixed(space, seed_architecture(space)):
        found = Sensitivity(space, batches, loss).by_name
        increases, first = {}, 1
        for name, decision in space.decisions.items():
            if isinstance(decision, Gate):
                closed = found[GATES][first : first + decision.groups].abs().double().cpu()
                increases[name] = torch.stack([closed, torch.zeros_like(closed)], dim=1)
                first += decision.groups
            else:
                hurt = found[name].double().cpu()
                start = decision.options.index(decision.start)
                increases[name] = (hurt - hurt[:, start : start + 1]).abs()
    return _table(space, increases)


def passes(space: Space) -> int:
    """Forward passes that `measured` takes on each batch."""
    return 1 + sum(decision.groups * (len(decision.options) - 1) for decision in space.decisions.values())


def _table(space: Space, increases: dict[str, Tensor]) -> Table:
    options = {name: tuple(decision.options) for name, decision in space.decisions.items()}
    return Table(fingerprint(space), tuple(gate.name for gate in space.gates.values()), options, increases)


def _mean_loss(space: Space, batches: list[Batch], loss: Loss) -> float:
    return sum(loss(space(images), labels).item() for images, labels in batches) / len(batches)
