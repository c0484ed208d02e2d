"""The evaluator of all strategies: an architecture is decided, checked, fine-tuned and measured as integers."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from cost_models.rules import CostModel
from search.budgets.feasibility import BudgetError, costs_of, over
from search.files.results import Result
from search.settings.front import Point
from search.settings.run import Settings
from search.training.evaluation import reestimate_norms, scores_of
from search.training.loop import PhaseRun
from search.training.phase import Learning, Phase, Schedule, Stopping, Teacher, label
from search.training.runtime import Runtime
from spaces.architecture import Architecture
from spaces.space import FAKE, INTEGER, Space


@dataclass
class Evaluator:
    """Trains and measures the architectures of one space, each once.

    Attributes:
        plan: label of a phase -> its epochs.
        found: hash of an architecture -> the trained network, and its result at the point that it was found for.
    """

    settings: Settings
    space: Space
    models: Mapping[str, CostModel]
    plan: Mapping[str, int]
    teacher: Teacher | None
    runtime: Runtime
    found: dict[str, tuple[Space, Result]] = field(default_factory=dict)

    def evaluate(
        self, architecture: Architecture, point: Point, epochs: int | None = None, goes_on: bool = False
    ) -> Result:
        """Decides, checks the point's budgets exactly, fine-tunes, and measures the integers on validation data.

        An architecture that was evaluated before is not trained again. The space stays as it is.

        Args:
            epochs: of fine-tuning; None: as many as are planned.
            goes_on: whether the phase before was steady, see search.training.phase.

        Raises:
            BudgetError: the architecture is over a budget.
            IllegalLayer: the target cannot run it.
        """
        if architecture.hash in self.found:
            return self._known(architecture, point)
        began, ledger = time.perf_counter(), self.runtime.ledger
        restored = ledger.restored
        network = self.space.decide(architecture)
        costs = costs_of(network, self.models)
        self.settings.target.check(network.describe())
        _refuse_excess(architecture, costs, point)
        metrics = self._trained(network, self._finetuning(architecture, epochs, goes_on))
        seconds = time.perf_counter() - began + ledger.restored - restored
        result = self._result(architecture, point, metrics, costs, seconds)
        self.found[architecture.hash] = network, result
        return result

    def _result(
        self,
        architecture: Architecture,
        point: Point,
        metrics: Mapping[str, float],
        costs: Mapping[str, float],
        seconds: float,
    ) -> Result:
        return Result(
            strategy=self.settings.strategy.name,
            seed=self.settings.seed,
            architecture=architecture,
            metrics=metrics,
            costs=costs,
            units={name: model.unit for name, model in self.models.items()},
            budgets=dict(point.budgets),
            met=True,
            seconds=seconds,
            point=point.name,
            metric=self.runtime.task.metric.name,
        )

    def _known(self, architecture: Architecture, point: Point) -> Result:
        _, result = self.found[architecture.hash]
        _refuse_excess(architecture, result.costs, point)
        return replace(result, budgets=dict(point.budgets), point=point.name)

    def _trained(self, network: Space, finetuning: Phase) -> dict[str, float]:
        """Fine-tunes a decided network. Returns its metric before, with norms estimated anew, and as integers."""
        metric = self.runtime.task.metric
        network.to(self.runtime.device).set_mode(FAKE)
        metrics = {metric.of("val/decided_stale_norms"): self._value(network, FAKE)}
        reestimate_norms(network, self.runtime.whole)
        metrics[metric.of("val/decided")] = self._value(network, FAKE)
        PhaseRun(network, finetuning, self.runtime).run()
        network.eval()
        network.set_mode(INTEGER)
        metrics[metric.of("val")] = self._value(network, INTEGER)
        return metrics

    def _value(self, network: Space, mode: str) -> float:
        return scores_of(network, self.runtime.val, self.runtime.task, mode).value

    def _finetuning(self, architecture: Architecture, epochs: int | None, goes_on: bool) -> Phase:
        """The next phase of fine-tuning. Architectures are fine-tuned in the order in which they are found."""
        train, number = self.settings.train, len(self.found) + 1
        f, lr = train.finetune, train.at_batch(train.finetune.lr)
        epochs = epochs or self.plan.get(label("finetune", number), f.epochs)
        integer_epochs = f.integer_epochs if epochs >= f.epochs else min(f.integer_epochs, epochs // 2)
        return Phase(
            name="finetune",
            schedule=Schedule(epochs, lr, integer_epochs=integer_epochs, goes_on=goes_on),
            stopping=Stopping(f.patience, keep_best=True),
            learning=Learning(weight_decay=f.weight_decay),
            number=number,
            teacher=self.teacher,
            architecture=architecture.hash,
        )


def _refuse_excess(architecture: Architecture, costs: Mapping[str, float], point: Point) -> None:
    excess = over(costs, point.budgets)
    if excess:
        raise BudgetError(f"architecture {architecture.hash}: over budget by {excess}; repair it before evaluation.")
