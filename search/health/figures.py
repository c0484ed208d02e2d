"""What a run measured on its way to a network: the figures that its warnings are made from."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from search.monitor.words import Metric
from search.settings.run import TrainSettings

# Stages, in the order in which a run passes them, which search.monitor.words words. All are on validation data.
FLOAT = "float"  # the float network
CALIBRATED = "calibrated"  # the float network at the highest precision on offer, before any training with codes
SEARCHED = "searched"  # the space at the end of the search
STALE = "decided_stale_norms"  # as decided
DECIDED = "decided"  # as decided, with the statistics of norms estimated anew: where fine-tuning starts
SWITCH = "switch"  # as integers, before training in integers begins
QUANTIZED = "quantized"  # the network that is exported, in its quantized float form
INTEGER = "integer"  # the integers that are exported
STAGES = (FLOAT, CALIBRATED, SEARCHED, STALE, DECIDED, SWITCH, QUANTIZED, INTEGER)
OF_RESULTS = (SEARCHED, STALE, DECIDED, SWITCH)  # which a result has among its metrics, as "accuracy/val/searched"


@dataclass(frozen=True)
class Figures:
    """The figures of one network. A higher metric is better.

    Attributes:
        images: number of validation images that the metric is measured on.
        chance: the metric of the best answer that is the same for every image.
        against_one_answer: a sentence on what to set against such an answer, see search.tasks.task; may be empty.
        standard_error: the metric -> its standard error on these images.
        stages: name of a stage -> the metric after it; float and integer are there, others where they were measured.
        warmup, finetuning: the metric after each epoch.
        costs, limits, seed_costs: name of a cost -> what the network costs, its budget, what the seed network costs.
        search_costs: name of a cost -> what was expected at the end of the search; empty where nothing was expected.
        search_epochs: number of epochs of the search, and search_key the setting that they come from.
        search_steps: number of training steps of the search; 0 where nothing is trained while decisions move.
        train: the settings that the causes speak of.
    """

    metric: Metric
    images: int
    chance: float
    standard_error: Callable[[float], float]
    stages: Mapping[str, float]
    train: TrainSettings
    strategy: str
    warmup: tuple[float, ...] = ()
    finetuning: tuple[float, ...] = ()
    costs: Mapping[str, float] = field(default_factory=dict)
    limits: Mapping[str, float] = field(default_factory=dict)
    seed_costs: Mapping[str, float] = field(default_factory=dict)
    search_costs: Mapping[str, float] = field(default_factory=dict)
    search_epochs: int = 0
    search_key: str = "strategy.epochs"
    search_steps: int = 0
    against_one_answer: str = ""

    @property
    def float_network(self) -> float:
        return self.stages[FLOAT]

    @property
    def integers(self) -> float:
        return self.stages[INTEGER]

    def noise(self, *values: float) -> float:
        """The largest standard error of these values."""
        return max(self.standard_error(value) for value in values)

    def above_noise(self, high: float, low: float, errors: float, points: float = 0.0) -> bool:
        """Whether one value is above another by more than so many standard errors, and so many points."""
        return high - low > max(errors * self.noise(high, low), points * self.metric.point)

    def at_chance(self, value: float, errors: float) -> bool:
        """Whether it is within so many standard errors of chance, but not nearer to the best value than to chance."""
        limit = self.chance + errors * self.standard_error(self.chance)
        highest = self.metric.highest
        return value <= (limit if highest is None else min(limit, (self.chance + highest) / 2))

    def used(self) -> dict[str, float]:
        """Name of a cost -> the share of its budget that is used; all of it where the seed network needs no more."""
        return {
            name: self.costs[name] / min(limit, self.seed_costs.get(name, limit)) for name, limit in self.limits.items()
        }
