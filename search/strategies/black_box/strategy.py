"""Searches without gradients on the encoded space: the strategy, and what it refuses before any training."""

import math
from collections.abc import Iterator, Mapping, Sequence

from cost_models.rules import CostModel
from search import distributed
from search.errors import UsageError
from search.files.results import Result
from search.settings.front import Point
from search.settings.strategies import BlackBoxSettings
from search.strategies.black_box.candidate_search import CandidateSearch
from search.strategies.black_box.same_problem import known_before
from search.strategies.black_box.studies import check_shared
from search.strategies.problem import Problem
from search.strategies.strategy import searching
from search.training.phase import label
from spaces.space import Space

INHERITED = 0.15  # epochs that an inherited candidate takes, as a first guess


class BlackBox:
    r"""Candidates one after the other; the best of them are trained and returned.

    Example:
        500 candidates of a sampler that learns from those before, each measured with the warmed-up weights::

            python -m search +experiment=mobilenet_mcu strategy=tpe strategy.trials=500

        One study of small and accurate networks, from which three are fine-tuned::

            python -m search +experiment=resnet8_digits strategy=nsga2 strategy.objectives=[flash_bytes] \
                strategy.networks=3
    """

    def __init__(self, settings: BlackBoxSettings) -> None:
        self.settings = settings

    def rounds(self, space: Space, models: Mapping[str, CostModel], points: Sequence[Point]) -> int:
        return len(points)

    def plan(self, rounds: int, finetune: int, left: float | None) -> dict[str, int]:
        """Without a limit the share of a search is a guess: what an inherited candidate takes depends on the data."""
        s = self.settings
        given = searching(rounds, finetune * s.networks, left)
        if given is not None and s.evaluation != "inherited" and given / rounds < s.candidate_epochs:
            raise UsageError(
                f"limits.epochs: leaves {given / rounds:g} for the search of a point, and a candidate takes "
                f"{s.candidate_epochs}. Raise it, or lower strategy.candidate_epochs or train.finetune.epochs, or take "
                "strategy.evaluation=inherited."
            )
        epochs = s.trials * (INHERITED if s.evaluation == "inherited" else s.candidate_epochs)
        plan = {}
        for number in range(1, rounds + 1):
            plan[label("search", number)] = math.ceil(epochs if given is None else min(given / rounds, epochs))
            for network in range(1, s.networks + 1):
                plan[label("finetune", (number - 1) * s.networks + network)] = finetune
        return plan

    def check(self, space: Space, models: Mapping[str, CostModel], points: Sequence[Point]) -> None:
        """Raises UsageError: under torchrun; cmaes needs ordered parameters, and its package; unknown objectives.

        And what studies.check_shared does.
        """
        s = self.settings
        if distributed.world_size() > 1:
            raise UsageError(
                f"strategy '{s.name}' under torchrun: candidates are small. Start several searches with "
                "one strategy.storage and strategy.study instead; they share the work."
            )
        unknown = [name for name in s.objectives if name not in models]
        if unknown:
            raise UsageError(
                f"strategy.objectives: {unknown} are not among the run's costs, {sorted(models)}. Add them."
            )
        if s.name == "cmaes":
            self._check_cmaes(space)
        if s.storage is not None:
            check_shared(s, {point.name: known_before(s, space, models, point) for point in points})

    def _check_cmaes(self, space: Space) -> None:
        branches = [name for name, choice in space.spec.choices.items() if choice.branches]
        if branches:
            raise UsageError(f"strategy 'cmaes': {branches} are among blocks, which have no order. Use tpe or nsga2.")
        try:
            import cmaes  # noqa: F401
        except ImportError as error:
            raise UsageError(
                "strategy 'cmaes': its package is missing. Run `pip install 'picojoule[cmaes]'`."
            ) from error

    def advice(self, plan: Mapping[str, int], steps: int) -> list[str]:
        return []

    def run(self, problem: Problem) -> Iterator[Result]:
        for number, point in enumerate(problem.points, start=1):
            yield from CandidateSearch(self.settings, problem.at(point), number).run()
