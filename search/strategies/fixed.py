"""Uniform quantization: every channel stays, every weight has the same precision. The baseline of all baselines."""

from collections.abc import Iterator, Mapping

from cost_models.rules import CostModel
from search.feasibility import BudgetError, at, over
from search.problem import Problem
from search.results import Result
from search.settings import FixedSettings
from spaces.architecture import Architecture
from spaces.space import Space


class Fixed:
    def __init__(self, settings: FixedSettings) -> None:
        self.settings = settings

    def phases(self) -> dict[str, int]:
        return {}

    def check(self, space: Space, models: Mapping[str, CostModel], budgets: Mapping[str, float]) -> None:
        """Raises ValueError where the space does not offer the precision, BudgetError where it costs too much."""
        bits = self.settings.weight_bits
        check_offered(space, bits)
        costs = at(space, uniform(space, bits), models)
        if over(costs, budgets):
            raise BudgetError(
                f"strategy 'fixed' at {bits} bits: costs are {costs}, budgets {dict(budgets)}. "
                "It has nothing to trade: lower strategy.weight_bits, raise the budgets or leave them out."
            )

    def run(self, problem: Problem) -> Iterator[Result]:
        yield problem.evaluate(uniform(problem.space, self.settings.weight_bits))


def check_offered(space: Space, bits: int) -> None:
    """Raises ValueError for a layer that cannot have weights of so many bits."""
    for name, weights in space.spec.weights.items():
        if bits not in weights.widths and not space.spec.left_alone.get(name, "").startswith("excluded"):
            raise ValueError(
                f"strategy.weight_bits {bits}: the space offers {list(weights.widths)} for '{name}'. "
                "Add it to space.weight_bits."
            )


def uniform(space: Space, bits: int) -> Architecture:
    """All weights with so many bits; all else as searches start: every channel, whole kernels."""
    picks = {}
    of_weights = {weights.bits for weights in space.spec.weights.values()}
    for name, decision in space.decisions.items():
        picks[name] = (bits if name in of_weights else decision.start,) * decision.groups
    return Architecture(space.name, picks, space.spec.left_alone)
