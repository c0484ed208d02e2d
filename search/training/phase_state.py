"""What changes while a phase runs, and the checkpoint that holds it."""

from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from search import distributed
from search.objective.objective import Objective
from search.training import checkpoint
from search.training.float_network import float_network
from search.training.layout import misfits
from search.training.optimizers import OWN
from search.training.retreat import Retreat
from spaces.space import Space


@dataclass
class PhaseState:
    """A phase on its way.

    Attributes:
        epoch: number of epochs that are done.
        seconds: how long they took.
        best: the best value of the metric on validation data so far, and the numbers of the network that reached it.
        kept: which network that is, for people.
        since_best: number of epochs since then.
        in_integers: whether the epochs in integer mode have begun.
        retreat: what the phase goes back to where it gets worse.
    """

    space: Space
    optimizers: list[torch.optim.Optimizer]
    objective: Objective | None
    epoch: int = 0
    seconds: float = 0.0
    finished: bool = False
    best: tuple[float, dict[str, Tensor]] | None = None
    kept: str = ""
    since_best: int = 0
    in_integers: bool = False
    retreat: Retreat = field(default_factory=Retreat)

    def compare(self, value: float, name: str) -> None:
        """Compares what an epoch left with the best so far.

        Args:
            name: of the network as it is now, for people.
        """
        better = self.best is None or value > self.best[0]
        self.since_best = 0 if better else self.since_best + 1
        self.offer(value, name)

    def offer(self, value: float, name: str) -> None:
        """A network that is as good on validation data as the best so far, or better, replaces it."""
        if self.best is None or value >= self.best[0]:
            self.best, self.kept = (value, self.copied()), name

    def take_best(self) -> None:
        if self.best is not None:
            self.space.load_state_dict(self.best[1])

    def copied(self) -> dict[str, Tensor]:
        """The network's numbers as they are now."""
        return {name: value.detach().clone() for name, value in self.space.state_dict().items()}


@dataclass(frozen=True)
class PhaseCheckpoint:
    """The file that holds a phase on its way. The first process writes it, and all of them read it.

    Attributes:
        architecture: the hash of the network in training, where it is a decided one.
        epochs: number of epochs of the whole phase.
    """

    path: Path
    architecture: str
    epochs: int
    device: torch.device

    def resume(self, state: PhaseState) -> None:
        """Sets the state to what the file holds. Without a file it stays as it is.

        Raises:
            CheckpointError: the file is damaged, or belongs to another architecture or network.
        """
        saved = checkpoint.load(self.path)
        if saved is None:
            return
        if saved["architecture"] != self.architecture:
            raise checkpoint.CheckpointError(
                f"{self.path}: belongs to architecture {saved['architecture']}, this run has "
                f"{self.architecture}. Delete it to repeat this phase, and resume again."
            )
        wrong = misfits(saved, state.space, state.optimizers, state.objective is not None)
        if wrong:
            raise checkpoint.other_content(self.path, "; ".join(wrong))
        state.space.load_state_dict(saved["space"])
        for optimizer, of_optimizer in zip(state.optimizers, saved["optimizers"], strict=True):
            groups = [dict(group) for group in optimizer.param_groups]
            optimizer.load_state_dict(of_optimizer)
            for group, made in zip(optimizer.param_groups, groups, strict=True):
                group |= {key: made[key] for key in OWN}  # as this version makes them: runs of earlier ones go on
        if state.objective is not None:
            state.objective.load(saved["objective"], self.device)
        state.epoch, state.seconds, state.finished = saved["epoch"], saved["seconds"], saved["finished"]
        state.best, state.since_best = saved["best"], saved["since_best"]
        state.kept = saved.get("kept", "an earlier network")  # earlier versions wrote none of these
        state.in_integers = saved.get("in_integers", False)
        state.retreat = Retreat(**saved.get("retreat", {}))
        torch.set_rng_state(saved["rng"])
        if self.device.type == "cuda" and saved["cuda_rng"] is not None:  # a run may go on elsewhere than it began
            torch.cuda.set_rng_state(saved["cuda_rng"], self.device)

    def adopt(self, state: PhaseState, source: Path) -> None:
        """Sets the state to the float network of another run, and saves it. Raises what `float_network` raises."""
        saved, space = float_network(state.space, source), state.space
        space.load_state_dict(space.state_dict() | {name: saved["space"][name] for name in space.float_names()})
        state.epoch, state.seconds, state.finished = saved["epoch"], saved["seconds"], True
        self.save(state)

    def save(self, state: PhaseState) -> None:
        if distributed.rank() != 0:
            return
        on_cuda = self.device.type == "cuda"
        checkpoint.save(
            self.path,
            {
                "space": state.space.state_dict(),
                "optimizers": [o.state_dict() for o in state.optimizers],
                "objective": state.objective.state() if state.objective is not None else {},
                "architecture": self.architecture,
                "epoch": state.epoch,
                "epochs": self.epochs,
                "seconds": state.seconds,
                "finished": state.finished,
                "best": state.best,
                "kept": state.kept,
                "since_best": state.since_best,
                "in_integers": state.in_integers,
                "retreat": state.retreat.state(),
                "rng": torch.get_rng_state(),
                "cuda_rng": torch.cuda.get_rng_state(self.device) if on_cuda else None,
            },
        )
