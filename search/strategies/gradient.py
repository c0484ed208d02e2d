"""Differentiable search: decisions and weights trained together under the objective, then decided."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from cost_models.rules import CostModel
from search.budgets.repair import repair
from search.budgets.widen import widened
from search.errors import UsageError
from search.files.results import Result
from search.objective.objective import Objective
from search.settings.front import Point
from search.settings.strategies import GradientSettings
from search.strategies.problem import FORWARD, Problem
from search.strategies.strategy import progressive
from search.training.evaluation import scores_of
from search.training.loop import PhaseRun
from search.training.pace import pace_of, shortfall
from search.training.phase import Learning, Phase, Schedule, label
from spaces.architecture import Architecture
from spaces.deciding.decide import order_matters
from spaces.decisions.choice import Choice
from spaces.space import FAKE, Space

DEFAULT_EPOCHS = 12


class Gradient:
    """One search; on a front it goes on from each point to the next, and costs fall.

    Example:
        A search of 30 epochs for 16 kB of flash::

            python -m search +experiment=mobilenet_mcu budgets.flash_bytes=16384 strategy.epochs=30

        The same for a network and data that exist in Python::

            from search.api import compress

            compress(model, data, {"flash_bytes": 16384}, "runs/mine", overrides=["strategy.epochs=30"])
    """

    def __init__(self, settings: GradientSettings) -> None:
        self.settings = settings

    def rounds(self, space: Space, models: Mapping[str, CostModel], points: Sequence[Point]) -> int:
        return len(points)

    def plan(self, rounds: int, finetune: int, left: float | None) -> dict[str, int]:
        s = self.settings
        first, following = progressive(rounds, finetune, left, s.epochs, s.next_epochs, DEFAULT_EPOCHS)
        plan = {}
        for number in range(1, rounds + 1):
            plan[label("search", number)] = first if number == 1 else following
            plan[label("finetune", number)] = finetune
        return plan

    def check(self, space: Space, models: Mapping[str, CostModel], points: Sequence[Point]) -> None:
        """Refuses growth that cannot be done. Any budget that the space can meet will do.

        Raises:
            UsageError: strategy.expand is set without a budget, without open channels, or with a pattern.
        """
        if self.settings.expand and not all(point.budgets for point in points):
            raise UsageError("strategy.expand: grows to the budgets, and there are none. Add budgets.flash_bytes=...")
        if self.settings.expand and not space.gates:
            raise UsageError("strategy.expand: no channels are open. Add 0 to space.weight_bits.")
        patterns = {weights.pattern for weights in space.spec.weights.values() if weights.pattern}
        if self.settings.expand and patterns:
            raise UsageError(f"strategy.expand: copied channels break space.pattern {patterns}. Take one of them out.")
        ordered = order_matters(space.spec) if self.settings.expand else []
        if ordered:
            raise UsageError(
                f"strategy.expand: copied channels would change what {', '.join(ordered)} make of their inputs, where "
                "the order or the number of channels matters. Search this network without strategy.expand."
            )

    def advice(self, plan: Mapping[str, int], steps: int) -> list[str]:
        searches = {phase: epochs for phase, epochs in plan.items() if phase.startswith("search")}
        found = [shortfall(phase, epochs, steps) for phase, epochs in searches.items()]
        return [text for text in found if text is not None]

    def run(self, problem: Problem) -> Iterator[Result]:
        objective = None
        for number, point in enumerate(problem.points, start=1):
            at_point = problem.at(point)
            objective = self._objective(at_point, objective)
            searched = self._search(at_point, objective, number)
            found = self._found(at_point, objective)
            result = at_point.evaluate(found, at_point.last_finetune(), goes_on=True)
            problem.space.fix(found)  # the search of the next point goes on from what was found
            own = {problem.runtime.task.metric.of("val/searched"): searched}
            yield replace(result, metrics={**result.metrics, **own})

    def _objective(self, problem: Problem, before: Objective | None) -> Objective:
        return Objective(
            models=problem.models,
            seed_costs=problem.seed_costs,
            budgets=problem.point.budgets,
            lambdas=problem.point.lambdas,
            method=self.settings.method,
            ramp=self.settings.ramp,
            before=before,
        )

    def _search(self, problem: Problem, objective: Objective, number: int) -> float:
        """Trains the space, and returns its metric on validation data, with choices mixed as in training."""
        s, space = self.settings, problem.space
        start = next((d.temperature for d in space.decisions.values() if isinstance(d, Choice)), 1.0)
        schedule = Schedule(
            epochs=problem.plan[label("search", number)],
            lr=problem.settings.train.at_batch(s.lr),
            steady=problem.settings.train.finetune.epochs > 0,
            temperature=(start if number == 1 else s.final_temperature, s.final_temperature),
        )
        pace = pace_of(schedule.epochs * len(problem.runtime.train), s.decision_lr)
        learning = Learning(
            weight_decay=s.weight_decay,
            pattern_decay=s.pattern_decay,
            decision_lr=pace.lr,
            settled_from=s.ramp,
            objective=objective,
            turn=pace.turn,
        )
        phase = Phase("search", schedule, learning=learning, number=number, teacher=problem.teacher)
        tried, runtime = objective.tried.passes, problem.runtime
        PhaseRun(space, phase, runtime).run()
        runtime.ledger.spend("search", FORWARD * (objective.tried.passes - tried) / len(runtime.whole), 0.0)
        return scores_of(space, runtime.val, runtime.task, FAKE, mixed=True).value

    def _found(self, problem: Problem, objective: Objective) -> Architecture:
        """The architecture that the search came to, within the budgets and filling them. The space stays as it is."""
        space = problem.space
        shadows = {gate.name: gate.shadow.tolist() for gate in space.gates.values()}
        with space.running(training=False):  # in training, what is read of choices would be drawn
            found, increases = space.architecture(), objective.loss_increases(space)
            if not problem.budgets.met_by(found):
                found = repair(problem.budgets, found, increases)
        if self.settings.expand:
            return widened(problem.budgets, found, shadows)
        return problem.filled(found, increases)
