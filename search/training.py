"""The training loop of every phase: warm-up, search, fine-tune."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

from search import checkpoint, distributed
from search.data.batches import Batches
from search.objective import Objective
from search.optimizer import SharedAdam
from search.progress import EpochEnd, Monitor, Tick
from spaces.decision import Choice, Decision, Gate
from spaces.patterns import Structured
from spaces.quantizers import ActivationChoice, ActivationQuantizer
from spaces.space import FAKE, FLOAT, INTEGER, Space

TURN = 4  # steps of the weights to one of the decisions and of the activations' steps
STEP_RATE = 2e-3  # of the weight quantizers' log steps: 0.2% of a step a step
LEAST = 0.01  # of a loss: what is less between two options of a whole choice, moves it less
WARMUP_SHARE = 0.1  # of a phase in which the learning rate climbs


class TrainingDiverged(RuntimeError):
    """The loss is no number."""


@dataclass
class Phase:
    """One stretch of training.

    Attributes:
        mode: of the Space; the last `integer_epochs` run in integer mode with frozen norms.
        teacher: float network to distil from, with the loss's weight and temperature.
        patience: epochs without a better validation accuracy after which the phase ends; the best epoch is kept.
        keep_best: the epoch of best validation accuracy is kept (among the integer epochs, where there are any).
    """

    name: str
    epochs: int
    lr: float
    mode: str = FAKE
    weight_decay: float = 0.0
    pattern_decay: float = 0.0
    decision_lr: float = 0.0
    objective: Objective | None = None
    integer_epochs: int = 0
    patience: int | None = None
    keep_best: bool = False
    temperature: tuple[float, float] = (1.0, 1.0)
    teacher: tuple[Space, float, float] | None = None
    kept: bool = True  # in checkpoints
    architecture: str = ""  # hash of the network in training, where it is a decided one


@dataclass
class Context:
    """What all phases of a run share."""

    train: Batches
    val: Batches
    whole: Batches  # of training data, as one process would see them: for statistics that all processes must share
    device: torch.device
    folder: Path
    monitor: Monitor
    label_smoothing: float = 0.0
    units: dict[str, str] = field(default_factory=dict)
    budgets: dict[str, float] = field(default_factory=dict)
    plan: dict[str, float] = field(default_factory=dict)  # phase -> its share of the run's work
    seconds: dict[str, float] = field(default_factory=dict)
    epochs_done: int = 0
    epochs_spent: float = 0.0  # by all that was trained, candidates included


@torch.no_grad()
def accuracy(space: Space, batches: Batches, device: torch.device, mode: str, mixed: bool = False) -> float:
    """Share of right answers, 0..1, over all processes.

    Args:
        mixed: choices are as in training, soft or under noise; else the argmax.
    """
    training, before = space.training, space.mode
    space.eval()
    for choice in space.choices.values() if mixed else ():
        choice.train()
    space.set_mode(mode)
    right, seen = 0, 0
    for images, labels in batches.epoch(0):
        right += int((space(images).argmax(1) == labels).sum())
        seen += len(labels)
    space.train(training)
    space.set_mode(before)
    right, seen = distributed.summed([right, seen], device)
    return right / seen


@torch.no_grad()
def reestimate_norms(space: Space, batches: Batches, count: int = 30) -> None:
    """Statistics of all norms anew, as means over some batches: deciding has changed what they see."""
    momenta = {norm: norm.momentum for norm in space.norms.values()}
    space.train()
    for i, (images, _) in zip(range(count), batches.epoch(0), strict=False):
        for norm in momenta:
            norm.momentum = 1.0 / (i + 1)
        space(images)
    for norm, momentum in momenta.items():
        norm.momentum = momentum


def rate(progress: float) -> float:
    """Factor on the learning rate: a linear climb, then half a cosine."""
    if progress < WARMUP_SHARE:
        return max(progress, 0.01) / WARMUP_SHARE
    return 0.5 * (1 + math.cos(math.pi * (progress - WARMUP_SHARE) / (1 - WARMUP_SHARE)))


class PhaseRun:
    """A phase on its way: what a checkpoint holds, and the steps."""

    def __init__(self, space: Space, phase: Phase, context: Context) -> None:
        self.space, self.phase, self.context = space, phase, context
        self.optimizers = _optimizers(space, phase)
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
        self._turn = 0

    @property
    def path(self) -> Path:
        return self.context.folder / "checkpoints" / f"{self.phase.name}.pt"

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
            optimizer.load_state_dict(saved)
        if self.phase.objective is not None:
            self.phase.objective.load(state["objective"], self.context.device)
        self.epoch, self.seconds, self.finished = state["epoch"], state["seconds"], state["finished"]
        self.best, self.since_best = state["best"], state["since_best"]
        torch.set_rng_state(state["rng"])
        if self.context.device.type == "cuda":
            torch.cuda.set_rng_state(state["cuda_rng"], self.context.device)

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
        if self.epoch:
            self.context.monitor.note(f"{self.phase.name}: resumed after epoch {self.epoch} of {self.phase.epochs}")
        while not self.finished and self.epoch < self.phase.epochs:
            began = time.perf_counter()
            self.prepare_epoch()
            scalars = self.run_epoch()
            scalars["accuracy/val"] = self.validate()
            self.epoch += 1
            self.finished = self.epoch >= self.phase.epochs or self.out_of_patience()
            if self.finished and self.best is not None:
                self.space.load_state_dict(self.best[1])
            self.seconds += time.perf_counter() - began
            self.save()
            self.report(scalars)
        self.prepare_epoch(done=True)
        self.context.seconds[self.phase.name] = self.seconds
        self.context.epochs_done += self.phase.epochs
        self.context.epochs_spent += self.epoch

    def prepare_epoch(self, done: bool = False) -> None:
        epoch = self.epoch - 1 if done else self.epoch
        self._turn, self.space.held = 0, False
        integer = epoch >= self.phase.epochs - self.phase.integer_epochs
        self.space.train()
        self.space.set_mode(INTEGER if integer else self.phase.mode)
        self.space.freeze_norms(integer)
        start, end = self.phase.temperature
        for decision in self.space.decisions.values():
            if isinstance(decision, Choice):
                decision.temperature = start * (end / start) ** (epoch / max(1, self.phase.epochs - 1))

    def run_epoch(self) -> dict[str, float]:
        loss_sum, right, seen = 0.0, 0, 0
        steps = len(self.context.train)
        for step, (images, labels) in enumerate(self.context.train.epoch(self.global_epoch)):
            progress = (self.epoch + step / steps) / self.phase.epochs
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
                group["lr"] = group["initial_lr"] * (rate(progress) if group["scheduled"] else 1.0)
            optimizer.zero_grad()
        self.space.held = self._turn % TURN != 0
        self._turn += 1
        logits = self.model(images)
        loss = self.loss(images, logits, labels)
        value = distributed.summed([loss.item()], self.context.device)[0] / distributed.world_size()
        if not math.isfinite(value):
            raise TrainingDiverged(
                f"phase '{self.phase.name}', {where}: the loss is {value}. {self._kept()} "
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
            if self.best is None or value > self.best[0]:
                self.best = (value, {k: v.detach().clone() for k, v in self.space.state_dict().items()})
                self.since_best = 0
            else:
                self.since_best += 1
        return value

    def out_of_patience(self) -> bool:
        return self.phase.patience is not None and self.since_best >= self.phase.patience

    # What people see

    def tick(self, step: int, steps: int, loss: float, right: float) -> None:
        context, phase = self.context, self.phase
        costs = dict(phase.objective.costs) if phase.objective is not None else {}
        total = sum(context.plan.values()) or 1.0
        names = list(context.plan)
        before = sum(context.plan[n] for n in names[: names.index(phase.name)]) if phase.name in names else 0.0
        here = context.plan.get(phase.name, 0.0) * (self.epoch + (step + 1) / steps) / phase.epochs
        budgets = {n: b for n, b in context.budgets.items() if n in costs}
        units = {n: context.units[n] for n in costs}
        context.monitor.tick(
            Tick(
                phase.name,
                self.epoch,
                phase.epochs,
                step,
                steps,
                loss,
                right,
                costs,
                budgets,
                units,
                (before + here) / total,
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
            self.phase.name, epoch, self.phase.epochs, self.global_epoch - 1, scalars, bit_counts(self.space), gates
        )
        self.context.monitor.epoch(end)


@torch.no_grad()
def bit_counts(space: Space) -> dict[str, dict[int, int]]:
    """Layer -> {bits: output channels} as the decisions stand; 0 are the pruned."""
    training = space.training
    selection = space.eval().select(FAKE)  # as the decisions stand: nothing is sampled, no random number drawn
    space.train(training)
    counts: dict[str, dict[int, int]] = {}
    for layer in space.describe(selection).layers:
        if not layer.weight_bits or layer.weight_bits == (32,):
            continue
        counts[layer.name] = {b: int(n) for b, n in zip(layer.weight_bits, layer.out_per_width.tolist(), strict=True)}
        counts[layer.name][0] = len(space.spec.slots[layer.output]) - int(layer.out_channels)
    return counts


def _optimizers(space: Space, phase: Phase) -> list[torch.optim.Optimizer]:
    """SGD with Nesterov momentum for weights and norms, Adam for quantizers' log steps, SharedAdam for decisions.

    What moves every `TURN` steps moves as much farther.
    """
    decayed = [w.weight for w in space.weights.values()]
    quantizers = [m for m in space.modules() if isinstance(m, ActivationQuantizer)]
    slow = [m.drift for m in space.modules() if isinstance(m, ActivationChoice)]
    slow += [m.log_step for m in quantizers if m.log_step.requires_grad]
    fast = [w.quantizer.log_step for w in space.weights.values() if w.quantizer is not None]
    structures = [w.pattern.v for w in space.weights.values() if isinstance(w.pattern, Structured)]
    known = {id(p) for p in [*decayed, *slow, *fast, *structures]}
    others = [p for p in space.network_parameters() if id(p) not in known]
    groups = [
        {"params": decayed, "weight_decay": phase.weight_decay},
        {"params": others, "weight_decay": 0.0},
        {"params": structures, "weight_decay": phase.pattern_decay},
    ]
    groups = [group for group in groups if group["params"]]
    for group in groups:
        group |= {"initial_lr": phase.lr, "scheduled": True}
    weights = torch.optim.SGD(groups, lr=phase.lr, momentum=0.9, nesterov=True, fused=True)
    for parameter in (p for group in groups for p in group["params"]):
        # The fused step cannot begin with some of them: a branch gets its first gradient when it is first drawn.
        weights.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    optimizers: list[torch.optim.Optimizer] = [weights]
    if (slow or fast) and phase.mode != FLOAT:
        groups = [
            {"params": fast, "initial_lr": STEP_RATE, "scheduled": True},
            {"params": slow, "initial_lr": STEP_RATE * TURN, "scheduled": True},
        ]
        optimizers.append(torch.optim.Adam([g for g in groups if g["params"]], lr=STEP_RATE, fused=True))
    if phase.decision_lr and space.decision_parameters():
        # What a step of "stem/kernel" weighs and what one of "stem/bits" does differ by orders of magnitude.
        kinds: dict[tuple[str, bool], list[Decision]] = {}
        for decision in space.decisions.values():
            kinds.setdefault((decision.role, decision.whole), []).append(decision)
        groups = [
            {"params": list(decisions_parameters(members)), "initial_lr": phase.decision_lr, "scheduled": False}
            | ({"least": LEAST} if whole else {})
            for (_, whole), members in kinds.items()
        ]
        optimizers.append(SharedAdam(groups, lr=phase.decision_lr))
    return optimizers


def decisions_parameters(decisions: list[Decision]) -> Iterator[nn.Parameter]:
    return (p for d in decisions for p in d.parameters() if p.requires_grad)


def float_copy(space: Space, make: Callable[[], Space]) -> Space:
    """A frozen copy in float mode, to teach."""
    teacher = make()
    teacher.load_state_dict(space.state_dict())
    teacher.set_mode(FLOAT)
    return teacher.eval().requires_grad_(False)
