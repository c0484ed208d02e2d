"""What the decisions say in one forward pass."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from spaces.quantizers.activation import ActivationChoice, ActivationQuantizer, Quantizer
from spaces.quantizers.tail import Codes

GATES = "gates"  # all gates, among what the decisions say; every choice has its own name, "stem/bits"


@dataclass
class Selection:
    """What the decisions say in this forward pass.

    Attributes:
        mode: one of spaces.modes.
        alpha: (places,), a 1 and then all gates, one after another; None without gates.
        keep: tensor -> (C,) mask, where a gate bears on it.
        share, probability: choice -> (groups, n_options). The share of a whole choice is a constant.
        whole: the choices of one group, whose other options are tried and not derived.
        learns: choice -> its share, differentiable.
        weight: weights name -> weights as they are used, where they are quantized or masked. The Space adds them.
        picked: choice -> index of the option in use, for the choices of activation precisions.
        paths: choice of branches -> the branch that runs.
        soft: choices whose shares are mixtures.
        held: whether decisions and activation steps are constants of this pass.
    """

    mode: str
    alpha: Tensor | None = None
    keep: dict[str, Tensor] = field(default_factory=dict)
    share: dict[str, Tensor] = field(default_factory=dict)
    probability: dict[str, Tensor] = field(default_factory=dict)
    whole: frozenset[str] = frozenset()
    learns: dict[str, Tensor] = field(default_factory=dict)
    weight: dict[str, Tensor] = field(default_factory=dict)
    picked: dict[str, int] = field(default_factory=dict)
    soft: frozenset[str] = frozenset()
    paths: dict[str, int] = field(default_factory=dict)
    held: bool = False

    def leaves(self) -> dict[str, Tensor]:
        """What costs depend on: the vector of all gates as `GATES`, and the share of every choice."""
        return ({} if self.alpha is None else {GATES: self.alpha}) | self.learns

    @staticmethod
    def of(mode: str, leaves: Mapping[str, Tensor]) -> "Selection":
        """A selection that describes a network by these leaves. Nothing can be run with it."""
        return Selection(mode, leaves.get(GATES), share={n: t for n, t in leaves.items() if n != GATES})

    def hold(self) -> "Selection":
        """The same selection as constants. Weights in use and paths have to be made anew."""
        if self.held:
            return replace(self, weight={}, paths={})
        keep, share, probability = (_constant(part) for part in (self.keep, self.share, self.probability))
        alpha = None if self.alpha is None else self.alpha.detach()
        return Selection(self.mode, alpha, keep, share, probability, picked=self.picked, soft=self.soft, held=True)

    def having(self, choice: str, option: int) -> "Selection":
        """The same with another option (an index) of one whole choice. Weights in use stay as they are."""
        one_hot = torch.zeros_like(self.share[choice])
        one_hot[0, option] = 1
        picked, paths = ({**part, choice: option} if choice in part else part for part in (self.picked, self.paths))
        return replace(self, share={**self.share, choice: one_hot}, picked=picked, paths=paths)

    def quantize(self, quantizer: Quantizer, onto: Callable[[Tensor, Codes], Tensor]) -> Tensor:
        """What `onto(log_step, codes)` makes of a tensor, for the precision in use or the soft mixture."""
        if isinstance(quantizer, ActivationQuantizer):
            return onto(self._step(quantizer.log_step), quantizer.bounds())
        if self.mixes(quantizer):
            share = self.share[quantizer.choice]
            each = [onto(*quantizer.precision(p)) for p in range(len(quantizer.members))]
            return sum((share[0, p] * y for p, y in enumerate(each)), torch.zeros(()))
        log_step, codes = quantizer.precision(self.picked[quantizer.choice])
        return onto(self._step(log_step), codes)

    def mixes(self, quantizer: Quantizer) -> bool:
        """Whether a tensor is a mixture of precisions, each of which is computed."""
        return isinstance(quantizer, ActivationChoice) and quantizer.choice in self.soft

    def _step(self, log_step: Tensor) -> Tensor:
        return log_step.detach() if self.held else log_step


def _constant(part: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach() for name, value in part.items()}
