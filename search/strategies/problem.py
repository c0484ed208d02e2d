"""What every strategy works on: one space, one data set, one set of budgets, one evaluator."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from torch import Tensor

from cost_models.rules import CostModel
from cost_models.target import Target
from search.budgets.feasibility import BudgetError, costs_of, over
from search.files.results import Result
from search.monitor.events import Monitor, Monitors
from search.settings.front import Point
from search.settings.run import LimitSettings, TrainSettings
from search.settings.strategies import BlackBoxSettings
from search.training.evaluation import measure, reestimate_norms
from search.training.ledger import Ledger
from search.training.loop import PhaseRun
from search.training.phase import Learning, Phase, Schedule, Stopping, Teacher, label
from search.training.runtime import Runtime
from spaces.architecture import Architecture
from spaces.space import FAKE, INTEGER, Space

CALIBRATION_BATCHES = 8
PROXY_BATCHES = 10  # of norms' statistics, of a candidate
FORWARD = 1 / 3  # of a training step's work: the backward pass is twice as much


@dataclass
class Problem:
    """A warmed-up, calibrated Space with everything that measuring an architecture takes.

    Attributes:
        space: strategies may train it on, never change what it is.
        teacher: the float network that training distils from; None: nothing is distilled.
        initial: the space's numbers before warm-up.
        points: of the front, in order; `at` says which one budgets and lambdas are of.
        plan: label of a phase -> its epochs.
    """

    space: Space
    models: Mapping[str, CostModel]
    seed_costs: Mapping[str, float]
    budgets: Mapping[str, float]
    lambdas: Mapping[str, float]
    settings: TrainSettings
    target: Target
    runtime: Runtime
    seed: int
    strategy: str
    teacher: Teacher | None = None
    initial: Mapping[str, Tensor] = field(default_factory=dict)
    points: tuple[Point, ...] = ()
    plan: Mapping[str, int] = field(default_factory=dict)
    limits: LimitSettings = field(default_factory=LimitSettings)
    point: str = ""
    found: dict[str, tuple[Space, Result]] = field(default_factory=dict)  # architecture hash -> trained and measured

    def at(self, point: Point) -> "Problem":
        """The same problem at one point of the front; what is found is found for all."""
        return replace(self, budgets=point.budgets, lambdas=point.lambdas, point=point.name)

    def epochs_left(self) -> float | None:
        """What limits.epochs leaves of now; None: there is no limit."""
        return None if self.limits.epochs is None else self.limits.epochs - sum(self.runtime.ledger.epochs.values())

    def last_finetune(self, networks: int = 1) -> int | None:
        """Epochs for each of the last point's networks: all that a limit leaves. None, as planned, at other points."""
        left = self.epochs_left()
        if left is None or self.point != self.points[-1].name:
            return None
        return max(1, int(left / networks))

    def sample(self, count: int) -> list[tuple[Tensor, Tensor]]:
        """The first batches of training data, in an order of their own."""
        batches = []
        for batch, _ in zip(self.runtime.whole.epoch(0), range(count), strict=False):
            batches.append(batch)
        return batches

    def evaluate(self, architecture: Architecture, epochs: int | None = None, goes_on: bool = False) -> Result:
        """Decide, check the budgets exactly, fine-tune, measure the integers on validation data.

        Args:
            epochs: of fine-tuning; None: as planned.
            goes_on: from a steady phase, see search.training.phase.

        Raises:
            BudgetError: over budget: a candidate that may not be trained.
            IllegalLayer: the target cannot run it.
        """
        if architecture.hash in self.found:
            _, known = self.found[architecture.hash]
            self._refuse_excess(architecture, known.costs)
            return replace(known, budgets=dict(self.budgets), point=self.point)
        began, restored = time.perf_counter(), self.runtime.ledger.restored
        network = self.space.decide(architecture)
        costs = costs_of(network, self.models)
        self.target.check(network.describe())
        self._refuse_excess(architecture, costs)
        network.to(self.runtime.device).set_mode(FAKE)
        metric = self.runtime.task.metric
        metrics = {metric.of("val/decided_stale_norms"): self._value(network, FAKE)}
        reestimate_norms(network, self.runtime.whole)
        metrics[metric.of("val/decided")] = self._value(network, FAKE)
        PhaseRun(network, self._finetuning(architecture, epochs, goes_on), self.runtime).run()
        network.eval()
        network.set_mode(INTEGER)
        metrics[metric.of("val")] = self._value(network, INTEGER)
        result = Result(
            self.strategy,
            self.seed,
            architecture,
            metrics,
            costs,
            {name: model.unit for name, model in self.models.items()},
            dict(self.budgets),
            met=True,
            seconds=time.perf_counter() - began + self.runtime.ledger.restored - restored,
            point=self.point,
            metric=metric.name,
        )
        self.found[architecture.hash] = network, result
        return result

    def _value(self, network: Space, mode: str) -> float:
        return measure(network, self.runtime.val, self.runtime.task, mode).value

    def _finetuning(self, architecture: Architecture, epochs: int | None, goes_on: bool) -> Phase:
        """The next one of the run: architectures are fine-tuned in the order in which they are found."""
        f, number = self.settings.finetune, len(self.found) + 1
        epochs = epochs or self.plan.get(label("finetune", number), f.epochs)
        integer_epochs = f.integer_epochs if epochs >= f.epochs else min(f.integer_epochs, epochs // 2)
        return Phase(
            name="finetune",
            schedule=Schedule(epochs, f.lr, integer_epochs=integer_epochs, goes_on=goes_on),
            stopping=Stopping(f.patience, keep_best=True),
            learning=Learning(weight_decay=f.weight_decay),
            number=number,
            teacher=self.teacher,
            architecture=architecture.hash,
        )

    def _refuse_excess(self, architecture: Architecture, costs: Mapping[str, float]) -> None:
        excess = over(costs, self.budgets)
        if excess:
            raise BudgetError(
                f"architecture {architecture.hash}: over budget by {excess}; repair it before evaluation."
            )

    def proxy(
        self, architecture: Architecture, s: BlackBoxSettings, watch: Monitor | None = None
    ) -> tuple[float, float]:
        """The metric of a candidate on validation data, and the epochs that it took: less than a whole training.

        Args:
            s: what of it is trained, and measured.
            watch: is told of every epoch.
        """
        space, runtime = self.space, self.runtime
        if s.evaluation == "scratch":
            space = Space(self.space.spec).to(runtime.device)
            space.load_state_dict(self.initial)
            space.calibrate([images for images, _ in self.sample(CALIBRATION_BATCHES)], self.settings.calibration)
        network = space.decide(architecture).to(runtime.device)
        network.set_mode(FAKE)
        if s.evaluation == "inherited":
            reestimate_norms(network, runtime.whole, PROXY_BATCHES)
        else:
            f, monitor = self.settings.finetune, watch or Monitors([])
            learning = Learning(weight_decay=f.weight_decay)
            phase = Phase("candidate", Schedule(s.candidate_epochs, f.lr), learning=learning)
            alone = replace(runtime, monitor=monitor, ledger=Ledger())
            PhaseRun(network, phase, alone, kept=False).run()
        images = runtime.val if s.val_images is None else runtime.val.some(s.val_images)
        return measure(network, images, runtime.task, FAKE).value, self.epochs_of_proxy(s)

    def epochs_of_proxy(self, s: BlackBoxSettings) -> float:
        """What a candidate takes, in epochs of training.

        Passes without a backward one count a third; those on validation data too, but for the one that every epoch of
        training comes with.
        """
        if s.evaluation != "inherited":
            return float(s.candidate_epochs)
        whole, steps, every = self.runtime.whole, len(self.runtime.whole), self.runtime.val.images
        images = every if s.val_images is None else min(every, s.val_images)
        return FORWARD * (min(PROXY_BATCHES, steps) / steps + images / whole.images)

    def calibrate(self) -> None:
        """First steps of all quantizers, from training data."""
        self.space.calibrate([images for images, _ in self.sample(CALIBRATION_BATCHES)], self.settings.calibration)
