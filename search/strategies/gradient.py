"""Differentiable search: decisions and weights trained together under the objective, then decided."""

from collections.abc import Iterator, Mapping

from cost_models.rules import CostModel
from search.objective import Objective
from search.problem import SENSITIVITY_BATCHES, Problem
from search.repair import Sensitivity, repair
from search.results import Result
from search.settings import GradientSettings
from search.training import Phase, PhaseRun
from spaces.decision import Choice
from spaces.space import Space


class Gradient:
    """One search phase, one architecture."""

    def __init__(self, settings: GradientSettings) -> None:
        self.settings = settings

    def phases(self) -> dict[str, int]:
        return {"search": self.settings.epochs}

    def check(self, space: Space, models: Mapping[str, CostModel], budgets: Mapping[str, float]) -> None:
        """Any budget that the space can meet will do."""

    def run(self, problem: Problem) -> Iterator[Result]:
        s, space = self.settings, problem.space
        objective = Objective(problem.models, problem.seed_costs, problem.budgets, problem.lambdas, s.method, s.ramp)
        start = next((d.temperature for d in space.decisions.values() if isinstance(d, Choice)), 1.0)
        phase = Phase(
            "search",
            s.epochs,
            s.lr,
            weight_decay=s.weight_decay,
            decision_lr=s.decision_lr,
            objective=objective,
            temperature=(start, s.final_temperature),
            teacher=problem.distillation(),
        )
        PhaseRun(space, phase, problem.context).run()
        space.eval()
        found = space.architecture()
        sensitivity = Sensitivity(space, problem.sample(SENSITIVITY_BATCHES), problem.loss())
        yield problem.evaluate(repair(space, found, problem.models, problem.budgets, sensitivity))
