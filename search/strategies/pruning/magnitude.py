"""Pruning as it is commonly done, in one step or several: parts are ranked, the lowest go, and the network trains on.

In n steps the share that is gone climbs as s_t = s_f (1 - (1 - t/n)^3) (Zhu and Gupta, arXiv 1710.01878, eq. 1); each
step ranks what is left anew, and what is gone stays gone. After the last step fine-tuning starts at its full learning
rate again (learning rate rewinding, Renda et al., arXiv 2003.02389). `rewind` sets the weights back as well, to what
they were before warm-up (Frankle and Carbin, arXiv 1803.03635).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch

from cost_models.rules import CostModel
from search.budgets.feasibility import BudgetError, Budgets
from search.files.results import Result
from search.settings.front import Point
from search.settings.strategies import MagnitudeSettings
from search.strategies.fixed import check_offered, uniform
from search.strategies.problem import Problem
from search.strategies.pruning.amount import Amount, refuse_amount
from search.strategies.pruning.parts import Channels, Parts, SingleWeights
from search.strategies.strategy import progressive
from search.training.loop import PhaseRun
from search.training.phase import Learning, Phase, Schedule, label
from spaces.architecture import Architecture
from spaces.space import Space

PARTS: dict[str, type[Channels] | type[SingleWeights]] = {"channels": Channels, "weights": SingleWeights}
DEFAULT_EPOCHS = 12
CERTAIN = 100.0  # a factor on logits that are fixed, by which no draw in training takes another option


@dataclass(frozen=True)
class PruningStep:
    """One step of pruning.

    Attributes:
        number: in the run, from 1.
        epochs: of training behind it.
        share: of all that is to go for its point, how much is gone once it is done.
    """

    number: int
    epochs: int
    share: float


class Magnitude:
    r"""Channels or single weights are ranked, and the lowest go, until the budgets are met or an amount is reached.

    Example:
        Channels go in six steps until 10 kB of flash are met, all weights at 4 bits::

            python -m search +experiment=resnet8_digits strategy=magnitude strategy.weight_bits=4 strategy.steps=6

        Four of five single weights go, and no cost falls::

            python -m search data=digits strategy=magnitude strategy.structure=weights space.pattern=weights \
                strategy.fraction=0.8
    """

    def __init__(self, settings: MagnitudeSettings) -> None:
        self.settings = settings

    def rounds(self, space: Space, models: Mapping[str, CostModel], points: Sequence[Point]) -> int:
        return len(points)

    def plan(self, rounds: int, finetune: int, left: float | None) -> dict[str, int]:
        plan: dict[str, int] = {}
        for number, steps in enumerate(self._steps(rounds, finetune, left), start=1):
            plan |= {label("prune", step.number): step.epochs for step in steps if step.epochs}
            plan[label("finetune", number)] = finetune
        return plan

    def _steps(self, points: int, finetune: int, left: float | None) -> list[list[PruningStep]]:
        """The steps of each point. Each point after the first takes one step."""
        s = self.settings
        first, following = progressive(points, finetune, left, s.epochs, None, DEFAULT_EPOCHS)
        parts = [first * (step + 1) // s.steps - first * step // s.steps for step in range(s.steps)]
        own = [PruningStep(number, epochs, 1 - (1 - number / s.steps) ** 3) for number, epochs in enumerate(parts, 1)]
        return [own, *([PruningStep(s.steps + further, following, 1.0)] for further in range(1, points))]

    def check(self, space: Space, models: Mapping[str, CostModel], points: Sequence[Point]) -> None:
        """Raises UsageError: nothing to prune, no amount, or two; BudgetError where the budgets are out of reach."""
        s = self.settings
        check_offered(space, s.weight_bits)
        whole = uniform(space, s.weight_bits)
        for point in points:
            refuse_amount(s, PARTS[s.structure](space, whole).sizes, point.budgets)
            self._check_budgets(Budgets(space, models, point.budgets), whole)

    def _check_budgets(self, budgets: Budgets, whole: Architecture) -> None:
        s = self.settings
        least = uniform(budgets.space, s.weight_bits, 0.0) if s.structure == "channels" else whole
        if not budgets.met_by(least):
            left = "one channel a layer" if s.structure == "channels" else "all channels (zeros save nothing)"
            raise BudgetError(
                f"strategy 'magnitude' at {s.weight_bits} bits with {left}: costs are {budgets.costs(least)}, budgets "
                f"{dict(budgets.limits)}. Lower strategy.weight_bits or raise the budgets."
            )

    def advice(self, plan: Mapping[str, int], steps: int) -> list[str]:
        return []

    def run(self, problem: Problem) -> Iterator[Result]:
        s, space, points = self.settings, problem.space, problem.points
        finetune, left = problem.settings.train.finetune.epochs, problem.epochs_left()
        start = uniform(space, s.weight_bits)
        _fix(space, start)
        parts = PARTS[s.structure](space, start)
        for point, steps in zip(points, self._steps(len(points), finetune, left), strict=True):
            at_point = problem.at(point)
            for step in steps:
                self._step(at_point, parts, start, step)
            result = at_point.evaluate(space.architecture(), at_point.last_finetune(), goes_on=steps[-1].epochs > 0)
            metrics = {"search/pruned": parts.gone().double().mean().item()}
            yield replace(result, metrics={**result.metrics, **metrics})

    def _step(self, problem: Problem, parts: Parts, start: Architecture, step: PruningStep) -> None:
        s, space = self.settings, problem.space
        gone = Amount(s, problem, parts).gone(step.share)
        parts.remove(gone)
        problem.runtime.monitor.note(f"step {step.number}: {int(gone.sum()):,} of {len(gone):,} {s.structure} are gone")
        if s.rewind:
            space.load_state_dict(problem.initial)
            _fix(space, start)
            parts.remove(gone)
            problem.calibrate(space)
        if step.epochs:
            PhaseRun(space, self._phase(problem, step), problem.runtime).run()

    def _phase(self, problem: Problem, step: PruningStep) -> Phase:
        s, train = self.settings, problem.settings.train
        return Phase(
            name="prune",
            schedule=Schedule(step.epochs, train.at_batch(s.lr), steady=train.finetune.epochs > 0),
            learning=Learning(weight_decay=s.weight_decay),
            number=step.number,
            teacher=problem.teacher,
            architecture=problem.space.architecture().hash,
        )


def _fix(space: Space, architecture: Architecture) -> None:
    """Fixes the choices of the space for good, so that training draws no other option."""
    space.fix(architecture)
    with torch.no_grad():
        for choice in space.choices.values():
            choice.logits.mul_(CERTAIN)
