"""The figures of a network that a run found, gathered from its result, its history and its experiment's parts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from search.files.results import Result
from search.health.figures import CALIBRATED, FLOAT, INTEGER, OF_RESULTS, QUANTIZED, STAGES, Figures
from search.monitor.events import EpochEnd
from search.settings.run import TrainSettings
from search.tasks import Task

FIRST_SEARCH = "search"  # label of the search of the first point, which has its own number of epochs
COST = "cost/"  # before the name of a cost in the scalars of an epoch


@dataclass(frozen=True)
class Watched:
    """What all networks of a run have in common.

    Attributes:
        targets: of the validation data.
        steps: number of training steps of an epoch.
        ends: all epochs of the run.
        calibrated: the metric with the first steps of quantizers, at the highest precision on offer; None: it is low.
    """

    task: Task
    targets: Tensor
    train: TrainSettings
    seed_costs: Mapping[str, float]
    steps: int
    ends: Sequence[EpochEnd]
    calibrated: float | None = None

    def figures(self, result: Result, values: Mapping[str, Mapping[str, float]], search: str, finetune: str) -> Figures:
        """The figures of one network.

        Args:
            values: "float", "decided", "integer" -> split -> the metric, as summary.json has them.
            search, finetune: labels of the phases that found and trained it.
        """
        searched = self._epochs(search)
        return Figures(
            metric=self.task.metric,
            images=len(self.targets),
            chance=self.task.chance(self.targets),
            standard_error=lambda value: self.task.standard_error(value, len(self.targets)),
            stages=self._stages(result, values),
            train=self.train,
            strategy=result.strategy,
            warmup=self._values("warmup"),
            finetuning=self._values(finetune),
            costs=result.costs,
            limits=result.budgets,
            seed_costs=self.seed_costs,
            search_costs=_costs(searched[-1]) if searched else {},
            search_epochs=len(searched),
            search_key="strategy.epochs" if search == FIRST_SEARCH else "strategy.next_epochs",
            search_steps=len(searched) * self.steps,
            against_one_answer=self.task.against_one_answer,
        )

    def _stages(self, result: Result, values: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
        val = self.task.metric.of("val")
        found = {name: result.metrics[f"{val}/{name}"] for name in OF_RESULTS if f"{val}/{name}" in result.metrics}
        found |= {} if self.calibrated is None else {CALIBRATED: self.calibrated}
        found |= {FLOAT: values["float"]["val"], QUANTIZED: values["decided"]["val"], INTEGER: values["integer"]["val"]}
        return {name: found[name] for name in STAGES if name in found}

    def _epochs(self, phase: str) -> list[EpochEnd]:
        return [end for end in self.ends if end.phase == phase]

    def _values(self, phase: str) -> tuple[float, ...]:
        val = self.task.metric.of("val")
        return tuple(end.scalars[val] for end in self._epochs(phase) if val in end.scalars)


def _costs(end: EpochEnd) -> dict[str, float]:
    return {name.removeprefix(COST): cost for name, cost in end.scalars.items() if name.startswith(COST)}
