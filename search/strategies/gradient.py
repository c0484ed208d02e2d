"""Differentiable search: decisions and weights trained together under the objective, then decided."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from cost_models.rules import CostModel
from search.feasibility import at, over
from search.objective import Objective
from search.problem import SENSITIVITY_BATCHES, Problem
from search.repair import Sensitivity, repair
from search.results import Result
from search.settings import GradientSettings
from search.training import Phase, PhaseRun, accuracy
from search.widen import widened
from spaces.decision import Choice
from spaces.space import FAKE, Space


class Gradient:
    """One search phase, one architecture."""

    def __init__(self, settings: GradientSettings) -> None:
        self.settings = settings

    def phases(self) -> dict[str, int]:
        return {"search": self.settings.epochs}

    def check(self, space: Space, models: Mapping[str, CostModel], budgets: Mapping[str, float]) -> None:
        """Any budget that the space can meet will do.

        Raises:
            ValueError: expand without a budget, without channels that are open, or with a pattern.
        """
        if self.settings.expand and not budgets:
            raise ValueError("strategy.expand: grows to the budgets, and there are none. Add budgets.flash_bytes=...")
        if self.settings.expand and not space.gates:
            raise ValueError("strategy.expand: no channels are open. Add 0 to space.weight_bits.")
        patterns = {weights.pattern for weights in space.spec.weights.values() if weights.pattern}
        if self.settings.expand and patterns:
            raise ValueError(f"strategy.expand: copied channels break space.pattern {patterns}. Take one of them out.")

    def run(self, problem: Problem) -> Iterator[Result]:
        s, space = self.settings, problem.space
        objective = Objective(problem.models, problem.seed_costs, problem.budgets, problem.lambdas, s.method, s.ramp)
        start = next((d.temperature for d in space.decisions.values() if isinstance(d, Choice)), 1.0)
        phase = Phase(
            "search",
            s.epochs,
            s.lr,
            weight_decay=s.weight_decay,
            pattern_decay=s.pattern_decay,
            decision_lr=s.decision_lr,
            objective=objective,
            temperature=(start, s.final_temperature),
            teacher=problem.distillation(),
        )
        PhaseRun(space, phase, problem.context).run()
        device = problem.context.device
        searched = accuracy(space, problem.context.val, device, FAKE, mixed=True)
        space.eval()
        found = space.architecture()
        shadows = {gate.name: gate.shadow.tolist() for gate in space.gates.values()}
        if over(at(space, found, problem.models), problem.budgets):
            sensitivity = Sensitivity(space, problem.sample(SENSITIVITY_BATCHES), problem.loss())
            found = repair(space, found, problem.models, problem.budgets, sensitivity)
        if s.expand:
            found = widened(space, found, problem.models, problem.budgets, shadows)
        result = problem.evaluate(found)
        yield replace(result, metrics={**result.metrics, "accuracy/val/searched": searched})
