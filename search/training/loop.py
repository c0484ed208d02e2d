"""The training loop of every phase: warm-up, search, fine-tune."""

import math
import time
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

from search import distributed
from search.budgets.layer_costs import bit_counts
from search.monitor.events import EpochEnd, Tick
from search.training import checkpoint
from search.training.evaluation import accuracy
from search.training.float_network import float_network
from search.training.optimizers import OWN, TURN, optimizers_of
from search.training.phase import Context, Phase, checkpoint_file
from spaces.decisions.decision import Choice, Gate
from spaces.space import INTEGER, Space


class TrainingDiverged(RuntimeError):
    """The loss is no number."""


def _copied(space: Space) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in space.state_dict().items()}


class PhaseRun:
    """A phase on its way: what a checkpoint holds, and the steps."""

    def __init__(self, space: Space, phase: Phase, context: Context) -> None:
        self.space, self.phase, self.context = space, phase, context
        self.optimizers = optimizers_of(space, phase)
        self.model: nn.Module = space
        if distributed.world_size() > 1:
            # Whole choices get no gradient of the task: the one of trials and costs is the same in all processes.
            whole = {p for d in space.decisions.values() if d.whole for p in d.parameters()}
            names = [name for name, p in space.named_parameters() if p in whole]
            DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(space, names)
            self.model = DistributedDataParallel(space, find_unused_parameters=True)
        self.epoch, self.seconds = 0, 0.0
        self.best: tuple[float, dict[str, Tensor]] | None = None
        self.since_best, self.finished = 0, False
        self.allotted = context.allotted(phase.label)
        self._turn, self._began = 0, 0.0

    @property
    def path(self) -> Path:
        return checkpoint_file(self.context.folder, self.phase.label)

    def resume(self) -> None:
        state = checkpoint.load(self.path)
        if state is None:
            return
        if state["architecture"] != self.phase.architecture:
            raise checkpoint.CheckpointError(
                f"{self.path}: belongs to architecture {state['architecture']}, this run has "
                f"{self.phase.architecture}. Delete it to repeat this phase, and resume again."
            )
        self.space.load_state_dict(state["space"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            groups = [dict(group) for group in optimizer.param_groups]
            optimizer.load_state_dict(saved)
            for group, made in zip(optimizer.param_groups, groups, strict=True):
                group |= {key: made[key] for key in OWN}  # as this version makes them: runs of earlier ones go on
        if self.phase.objective is not None:
            self.phase.objective.load(state["objective"], self.context.device)
        self.epoch, self.seconds, self.finished = state["epoch"], state["seconds"], state["finished"]
        self.best, self.since_best = state["best"], state["since_best"]
        torch.set_rng_state(state["rng"])
        if self.context.device.type == "cuda":
            torch.cuda.set_rng_state(state["cuda_rng"], self.context.device)

    def adopt(self, path: Path) -> None:
        """Takes over the float network that this phase came to in another run; raises as `float_network` does."""
        state = float_network(self.space, path)
        names = self.space.float_names()
        self.space.load_state_dict(self.space.state_dict() | {name: state["space"][name] for name in names})
        self.epoch, self.seconds, self.finished = state["epoch"], state["seconds"], True
        self.save()

    def save(self) -> None:
        if distributed.rank() != 0 or not self.phase.kept:
            return
        objective = self.phase.objective
        checkpoint.save(
            self.path,
            {
                "space": self.space.state_dict(),
                "optimizers": [o.state_dict() for o in self.optimizers],
                "objective": objective.state() if objective is not None else {},
                "architecture": self.phase.architecture,
                "epoch": self.epoch,
                "epochs": self.phase.epochs,
                "seconds": self.seconds,
                "finished": self.finished,
                "best": self.best,
                "since_best": self.since_best,
                "rng": torch.get_rng_state(),
                "cuda_rng": torch.cuda.get_rng_state(self.context.device)
                if self.context.device.type == "cuda"
                else None,
            },
        )

    def run(self) -> None:
        self.resume()
        self.context.restored += self.seconds
        self._measure_start()
        if self.epoch:
            self.context.monitor.note(f"{self.phase.label}: resumed after epoch {self.epoch} of {self.phase.epochs}")
        while not self.finished and self.epoch < self.phase.epochs:
            self._began = time.perf_counter()
            self.prepare_epoch()
            scalars = self.run_epoch()
            scalars["accuracy/val"] = self.validate()
            self.epoch += 1
            self.seconds += time.perf_counter() - self._began
            self.finished = self.ended() or self.out_of_patience()
            if self.finished and self.best is not None:
                self.space.load_state_dict(self.best[1])
            self.report(
                scalars
            )  # first: a line of an epoch that is repeated is dropped, one that is lost is not made again
            self.save()
        self.prepare_epoch(done=True)
        self.context.spend(self.phase.name, self.epoch, self.seconds)
        self.context.epochs_done += self.phase.epochs

    def _measure_start(self) -> None:
        """Of a network that is trained on: it is never left clearly worse than it was.

        Searches choose networks for their accuracy on the same images, so luck is in it: two standard errors are taken
        off, of a share that one more right and one more wrong would leave.
        """
        if self.phase.keep_best and self.best is None and self.epoch == 0 and self.phase.architecture:
            mode, images = INTEGER if self.phase.integer_epochs else self.phase.mode, self.context.val.images
            value = accuracy(self.space, self.context.val, self.context.device, mode)
            share = (value * images + 1) / (images + 2)
            self.best = value - 2 * math.sqrt(share * (1 - share) / images), _copied(self.space)

    def place(self, share: float = 0.0, running: float = 0.0) -> float:
        """Where the phase is, in epochs: those done and a share of the next, or farther where seconds run out sooner.

        Args:
            running: seconds of the epoch that is not done.
        """
        epochs = self.epoch + share
        if self.allotted is None:
            return epochs
        by_seconds = (self.seconds + running) / max(self.allotted, 1e-9) * self.phase.epochs
        return min(float(self.phase.epochs), distributed.agreed(lambda: max(epochs, by_seconds)))

    def prepare_epoch(self, done: bool = False) -> None:
        epoch = self.epoch - 1 if done else self.epoch
        self._turn, self.space.held = 0, False
        integer = self.phase.integer_epochs > 0 if done else self.place() >= self._integers_from()
        self.space.train()
        self.space.set_mode(INTEGER if integer else self.phase.mode)
        self.space.freeze_norms(integer)
        start, end = self.phase.temperature
        for decision in self.space.decisions.values():
            if isinstance(decision, Choice):
                decision.temperature = start * (end / start) ** (epoch / max(1, self.phase.epochs - 1))

    def _integers_from(self) -> int:
        return self.phase.epochs - self.phase.integer_epochs

    def _in_integers(self) -> bool:
        return self.phase.integer_epochs == 0 or self.space.mode == INTEGER

    def ended(self) -> bool:
        """Whether epochs or seconds are used up; what is to be measured as integers is trained as such before."""
        return self._in_integers() and self.place() >= self.phase.epochs

    def run_epoch(self) -> dict[str, float]:
        """One epoch, or less where seconds run out: for this phase, or for what comes before integers."""
        loss_sum, right, seen = 0.0, 0, 0
        steps = len(self.context.train)
        end = self.phase.epochs if self._in_integers() else self._integers_from()
        for step, (images, labels) in enumerate(self.context.train.epoch(self.global_epoch)):
            place = self.place(step / steps, time.perf_counter() - self._began)
            if step and place >= end:
                return {"loss/train": loss_sum / step, "accuracy/train": right / seen}
            progress = place / self.phase.epochs
            loss, logits = self.step(images, labels, progress, f"epoch {self.epoch + 1}, step {step + 1}")
            loss_sum += loss
            right += int((logits.argmax(1) == labels).sum())
            seen += len(labels)
            self.tick(step, steps, loss_sum / (step + 1), right / seen)
        return {"loss/train": loss_sum / steps, "accuracy/train": right / seen}

    @property
    def global_epoch(self) -> int:
        return self.context.epochs_done + self.epoch

    def step(self, images: Tensor, labels: Tensor, progress: float, where: str) -> tuple[float, Tensor]:
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["initial_lr"] * self.phase.rate(progress, group["decides"])
            optimizer.zero_grad()
        self.space.held = self._turn % TURN != 0
        self._turn += 1
        logits = self.model(images)
        loss = self.loss(images, logits, labels)
        value = distributed.summed([loss.item()], self.context.device)[0] / distributed.world_size()
        if not math.isfinite(value):
            raise TrainingDiverged(
                f"phase '{self.phase.label}', {where}: the loss is {value}. {self._kept()} "
                "Look at the data, or start a new run with a lower learning rate."
            )
        roots, gradients = [], []
        objective = None if self.space.held else self.phase.objective
        if objective is not None:
            roots, gradients = objective.gradients(self.space, value, progress)
        torch.autograd.backward([loss, *roots], [None, *gradients])
        if objective is not None:
            objective.observe(self.space, images, lambda logits: self.loss(images, logits, labels), value)
        for optimizer in self.optimizers:
            optimizer.step()
        for decision in self.space.decisions.values() if self.phase.decision_lr and not self.space.held else ():
            decision.project()
        return value, logits.detach()

    def _kept(self) -> str:
        if not self.path.parent.is_dir():
            return "No epoch was completed, so there is no checkpoint."
        return f"The checkpoint of the last whole epoch is kept in {self.path.parent}."

    def loss(self, images: Tensor, logits: Tensor, labels: Tensor) -> Tensor:
        task = F.cross_entropy(logits, labels, label_smoothing=self.context.label_smoothing)
        if self.phase.teacher is None:
            return task
        teacher, weight, temperature = self.phase.teacher
        with torch.no_grad():
            wanted = F.log_softmax(teacher(images) / temperature, 1)
        given = F.log_softmax(logits / temperature, 1)
        distance = F.kl_div(given, wanted, reduction="batchmean", log_target=True) * temperature**2
        return (1 - weight) * task + weight * distance

    def validate(self) -> float:
        mode = self.space.mode
        value = accuracy(self.space, self.context.val, self.context.device, mode)
        counts = self.phase.integer_epochs == 0 or mode == INTEGER
        if (self.phase.keep_best or self.phase.patience is not None) and counts:
            better = self.best is None or value > self.best[0]
            self.since_best = 0 if better else self.since_best + 1
            if better or value == self.best[0]:  # of equals the one that was trained longer
                self.best = value, _copied(self.space)
        return value

    def out_of_patience(self) -> bool:
        return self.phase.patience is not None and self.since_best >= self.phase.patience

    # What people see

    def tick(self, step: int, steps: int, loss: float, right: float) -> None:
        context, phase = self.context, self.phase
        costs = dict(phase.objective.costs) if phase.objective is not None else {}
        share = (self.epoch + (step + 1) / steps) / phase.epochs
        budgets = {n: b for n, b in context.budgets.items() if n in costs}
        units = {n: context.units[n] for n in costs}
        context.monitor.tick(
            Tick(
                phase.label,
                self.epoch,
                phase.epochs,
                step,
                steps,
                loss,
                right,
                costs,
                budgets,
                units,
                context.fraction(phase.label, share),
            )
        )

    def report(self, scalars: dict[str, float]) -> None:
        objective = self.phase.objective
        if objective is not None:
            scalars |= {f"cost/{n}": c for n, c in objective.costs.items()}
            scalars |= {f"force/{n}": f * objective.seed_costs[n] for n, f in objective.forces.items()}
        scalars["lr/weights"] = self.optimizers[0].param_groups[0]["lr"]
        choices = [d for d in self.space.decisions.values() if isinstance(d, Choice)]
        if choices and self.phase.decision_lr:
            scalars["temperature"] = choices[0].temperature
        gates = {d.name: d.shadow.tolist() for d in self.space.decisions.values() if isinstance(d, Gate)}
        epoch = self.epoch - 1
        end = EpochEnd(
            self.phase.label, epoch, self.phase.epochs, self.global_epoch - 1, scalars, bit_counts(self.space), gates
        )
        self.context.monitor.epoch(end)
