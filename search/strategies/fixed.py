"""Uniform quantization: one precision for all weights, and one width for all layers. It is the simplest baseline."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice

from cost_models.rules import CostModel
from search.budgets.feasibility import BudgetError, Budgets
from search.errors import UsageError
from search.files.results import Result
from search.settings.front import Point
from search.settings.strategies import FixedSettings
from search.strategies.black_box.encoding import Encoding
from search.strategies.problem import Problem
from search.strategies.strategy import training
from spaces.architecture import Architecture
from spaces.decisions.gates import Gate
from spaces.space import Space


class Fixed:
    r"""Plain quantization-aware training at one precision; with several precisions and widths it is a sweep.

    Of each precision the widest network that meets the budgets is trained. Without budgets one network of every width
    is trained. The channels that stay are the most important ones, an equal share in every layer.

    Example:
        The widest network at 4 bits and the widest at 8 bits that fit; the better one is exported::

            python -m search +experiment=resnet8_digits strategy=fixed strategy.weight_bits=[4,8] \
                strategy.widths=[1,0.75,0.5,0.25]
    """

    def __init__(self, settings: FixedSettings) -> None:
        self.settings = settings

    def rounds(self, space: Space, models: Mapping[str, CostModel], points: Sequence[Point]) -> int:
        """A round for each network that is trained. One that serves two points is trained once."""
        return len({found.hash for point in points for found in self._within(Budgets(space, models, point.budgets))})

    def plan(self, rounds: int, finetune: int, left: float | None) -> dict[str, int]:
        return training(rounds, finetune, left)

    def check(self, space: Space, models: Mapping[str, CostModel], points: Sequence[Point]) -> None:
        """Raises UsageError where the space does not offer what is asked for, BudgetError where all costs too much."""
        for bits in self.settings.each_bits:
            check_offered(space, bits)
        if min(self.settings.widths) < 1 and not space.gates:
            raise UsageError("strategy.widths below 1: no channels are open. Add 0 to space.weight_bits.")
        for point in points:
            budgets = Budgets(space, models, point.budgets)
            if next(self._within(budgets), None) is None:
                least = uniform(space, min(self.settings.each_bits), min(self.settings.widths))
                raise BudgetError(
                    f"strategy 'fixed': at {min(self.settings.each_bits)} bits and width "
                    f"{min(self.settings.widths):g} costs are {budgets.costs(least)}, budgets "
                    f"{dict(point.budgets)}. Lower strategy.weight_bits or strategy.widths, or raise the budgets."
                )

    def advice(self, plan: Mapping[str, int], steps: int) -> list[str]:
        return []

    def run(self, problem: Problem) -> Iterator[Result]:
        for point in problem.points:
            at_point = problem.at(point)
            for architecture in self._within(at_point.budgets):
                yield at_point.evaluate(architecture)

    def _within(self, budgets: Budgets) -> Iterator[Architecture]:
        for bits in self.settings.each_bits:
            widest_first = sorted(self.settings.widths, reverse=True)
            sweep = (uniform(budgets.space, bits, width) for width in widest_first)
            fitting = (architecture for architecture in sweep if budgets.met_by(architecture))
            yield from islice(fitting, 1) if budgets.limits else fitting


def check_offered(space: Space, bits: int) -> None:
    """Raises UsageError for a layer that cannot have weights of so many bits."""
    for name, weights in space.spec.weights.items():
        if bits not in weights.widths and not weights.excluded:
            raise UsageError(
                f"strategy.weight_bits {bits}: the space offers {list(weights.widths)} for '{name}'. "
                "Add it to space.weight_bits."
            )


def uniform(space: Space, bits: int, width: float = 1.0) -> Architecture:
    """All weights with so many bits, and one share of channels in all layers. All else is as in the seed network."""
    picks, encoding = {}, Encoding(space)
    of_weights = {weights.bits for weights in space.spec.weights.values()}
    for name, decision in space.decisions.items():
        if isinstance(decision, Gate):
            picks[name] = encoding.strongest(name, max(1, round(decision.groups * width)))
        else:
            picks[name] = (bits if name in of_weights else decision.start,) * decision.groups
    return Architecture(space.name, picks, space.spec.left_alone)
