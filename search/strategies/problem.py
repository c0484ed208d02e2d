"""What a strategy works on: a warmed-up space, what it may cost at one point of the front, and who measures it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from torch import Tensor

from cost_models.rules import CostModel
from search.budgets.changes import LossIncreases
from search.budgets.feasibility import Budgets, decisions_as, seed_architecture
from search.budgets.fill import filled
from search.files.results import Result
from search.settings.front import Point
from search.settings.run import Settings
from search.strategies.evaluator import Evaluator
from search.training.evaluation import scores_of
from search.training.phase import Teacher
from search.training.runtime import Runtime
from spaces.architecture import Architecture
from spaces.space import FAKE, Space

CALIBRATION_BATCHES = 8
HIGH = 8  # bits, with which a network should be as good as in floats
FORWARD = 1 / 3  # of a training step's work: the backward pass is twice as much


@dataclass(frozen=True)
class Problem:
    """What a strategy is given, at one point of the front.

    Attributes:
        settings: those of the whole run.
        space: warmed up and calibrated; a strategy may train it on, and never changes what is open in it.
        initial: the space's numbers before warm-up.
        models: cost -> its model.
        seed_costs: cost -> what the seed network costs.
        points: of the front, in the order in which a search meets them; `point` is the one that this problem is at.
        plan: label of a phase -> its epochs.
        teacher: the float network that training distils from; None: nothing is distilled.
        evaluator: trains and measures what is found, for all points.
    """

    settings: Settings
    space: Space
    initial: Mapping[str, Tensor]
    models: Mapping[str, CostModel]
    seed_costs: Mapping[str, float]
    points: tuple[Point, ...]
    point: Point
    plan: Mapping[str, int]
    teacher: Teacher | None
    runtime: Runtime
    evaluator: Evaluator

    @property
    def budgets(self) -> Budgets:
        """Those of this point, for architectures of the space."""
        return Budgets(self.space, self.models, self.point.budgets)

    def filled(self, architecture: Architecture, increases: LossIncreases) -> Architecture:
        """What the architecture leaves of this point's budgets is spent; a note says how much of each is in use.

        Args:
            architecture: one that meets the budgets.
            increases: as in search.budgets.fill.filled.
        """
        prices = {name: strength / self.seed_costs[name] for name, strength in self.point.lambdas.items()}
        found = filled(self.budgets, architecture, increases, prices)
        if found.uses:
            self.runtime.monitor.note(str(found))
        return found.architecture

    def at(self, point: Point) -> "Problem":
        """The same problem at another point of the front."""
        return replace(self, point=point)

    def evaluate(self, architecture: Architecture, epochs: int | None = None, goes_on: bool = False) -> Result:
        """The result of the architecture at this point; see `Evaluator.evaluate`."""
        return self.evaluator.evaluate(architecture, self.point, epochs, goes_on)

    def epochs_left(self) -> float | None:
        """Epochs that limits.epochs leaves now; None: there is no limit."""
        limit = self.settings.limits.epochs
        return None if limit is None else limit - sum(self.runtime.ledger.epochs.values())

    def last_finetune(self, networks: int = 1) -> int | None:
        """Epochs for each network of the last point: all that a limit leaves; None (as planned) at other points."""
        left = self.epochs_left()
        if left is None or self.point != self.points[-1]:
            return None
        return max(1, int(left / networks))

    def sample(self, count: int) -> list[tuple[Tensor, Tensor]]:
        """The first batches of training data, in an order of their own."""
        batches = []
        for batch, _ in zip(self.runtime.whole.epoch(0), range(count), strict=False):
            batches.append(batch)
        return batches

    def calibrate(self, space: Space) -> None:
        """Sets the first steps of all quantizers of the space, from training data."""
        images = [images for images, _ in self.sample(CALIBRATION_BATCHES)]
        space.calibrate(images, self.settings.train.calibration)

    def calibrated(self) -> float | None:
        """The metric of the calibrated seed network on validation data; None where its precision is below 8 bits."""
        spec = self.space.spec
        widths = [part.widths for part in spec.weights.values()] + [part.widths for part in spec.quantizers.values()]
        if min((max(each, default=0) for each in widths), default=0) < HIGH:
            return None
        with decisions_as(self.space, seed_architecture(self.space)):
            return scores_of(self.space, self.runtime.val, self.runtime.task, FAKE).value
