"""Uniform quantization: every channel stays, every weight has the same precision. The baseline of all baselines."""

from collections.abc import Iterator

from search.problem import Problem
from search.results import Result
from search.settings import FixedSettings
from spaces.architecture import Architecture


class Fixed:
    def __init__(self, settings: FixedSettings) -> None:
        self.settings = settings

    def phases(self) -> dict[str, int]:
        return {}

    def run(self, problem: Problem) -> Iterator[Result]:
        """Raises ValueError where the space does not offer the precision."""
        bits = self.settings.weight_bits
        for name, weights in problem.space.spec.weights.items():
            if bits not in weights.widths and not problem.space.spec.left_alone.get(name, "").startswith("excluded"):
                raise ValueError(
                    f"strategy.weight_bits {bits}: the space offers {list(weights.widths)} for '{name}'. "
                    "Add it to space.weight_bits."
                )
        picks = {}
        of_weights = {weights.bits for weights in problem.space.spec.weights.values()}
        for name, decision in problem.space.decisions.items():
            option = bits if name in of_weights else decision.options[-1]  # the largest there is of all else
            picks[name] = (option,) * decision.groups
        yield problem.evaluate(Architecture(problem.space.name, picks, problem.space.spec.left_alone))
