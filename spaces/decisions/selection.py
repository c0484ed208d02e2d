"""What the decisions say in one forward pass."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import torch
from torch import Tensor

from spaces.passes.passes import Codes
from spaces.quantizers.activation import ActivationChoice, ActivationQuantizer, Quantizer
from spaces.quantizers.grids import Grid, grids_of
from spaces.quantizers.tail import Scales

GATES = "gates"  # all gates, among what the decisions say; every choice has its own name, "stem/bits"
Tensors = Mapping[str, Tensor]  # by name


class Start(NamedTuple):
    """A block before which a pass does not differ from one that ran, and the tensors that were there then."""

    block: str
    tensors: Tensors


class Made(NamedTuple):
    """What the Space adds to a selection in a pass, under the names that it has there, out of the graph."""

    weight: Mapping[str, Tensor]
    grids: Mapping[ActivationQuantizer, Grid]
    scales: Mapping[str, Scales]


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
        grids: quantizer -> what it quantizes with. The Space adds them.
        has_grids: whether all that are in use are there.
        scales: block -> what its norm multiplies by, where it has one. The Space adds them.
        picked: choice of one group -> index of the option in use.
        odds: choice of branches -> (1, n_options), its probability, on the host.
        paths: choice of branches -> the branch that runs.
        soft: choices whose shares are mixtures.
        held: whether decisions and activation steps are constants of this pass.
        steered: whether gates and shares are leaves of the graph, see `on_leaves`.
        halfway: block -> the tensors that later blocks read, by name, as they were before it ran, out of the graph. The
            Space adds them, for the blocks that are there.
        start: where the pass starts; None: at the inputs.
    """

    mode: str
    alpha: Tensor | None = None
    keep: dict[str, Tensor] = field(default_factory=dict)
    share: dict[str, Tensor] = field(default_factory=dict)
    probability: dict[str, Tensor] = field(default_factory=dict)
    whole: frozenset[str] = frozenset()
    learns: dict[str, Tensor] = field(default_factory=dict)
    weight: dict[str, Tensor] = field(default_factory=dict)
    grids: dict[ActivationQuantizer, Grid] = field(default_factory=dict)
    has_grids: bool = False
    scales: dict[str, Scales] = field(default_factory=dict)
    picked: dict[str, int] = field(default_factory=dict)
    odds: dict[str, Tensor] = field(default_factory=dict)
    soft: frozenset[str] = frozenset()
    paths: dict[str, int] = field(default_factory=dict)
    held: bool = False
    steered: bool = False
    halfway: dict[str, Tensors] = field(default_factory=dict)
    start: "Start | None" = None

    def leaves(self) -> dict[str, Tensor]:
        """What costs depend on: the vector of all gates as `GATES`, and the share of every choice."""
        return ({} if self.alpha is None else {GATES: self.alpha}) | self.learns

    @staticmethod
    def of(mode: str, leaves: Mapping[str, Tensor]) -> "Selection":
        """A selection that describes a network by these leaves. Nothing can be run with it."""
        return Selection(mode, leaves.get(GATES), share={n: t for n, t in leaves.items() if n != GATES})

    def hold(self) -> "Selection":
        """The same selection as constants. Paths, weights and scales have to be made anew, and grids at first."""
        if self.held:
            return replace(self, weight={}, scales={}, paths={}, halfway={})
        keep, share, probability = (_constant(part) for part in (self.keep, self.share, self.probability))
        alpha = None if self.alpha is None else self.alpha.detach()
        return Selection(
            self.mode, alpha, keep, share, probability, picked=self.picked, odds=self.odds, soft=self.soft, held=True
        )

    def on_leaves(self) -> "Selection":
        """The same selection cut off from the decisions: gates and shares have gradients, and pass none of them on.

        An objective reads these gradients and moves the decisions itself. The masks have to be made anew.
        """
        alpha = None if self.alpha is None else self.alpha.detach().requires_grad_()
        learns = {n: s.detach().requires_grad_(n not in self.whole) for n, s in self.learns.items()}
        share = _constant(self.share) | learns
        return replace(self, alpha=alpha, keep={}, share=share, learns=learns, steered=True)

    def having(self, choice: str, option: int) -> "Selection":
        """The same with another option (an index) of one whole choice. What the Space added stays."""
        one_hot = torch.zeros_like(self.share[choice])
        one_hot[0, option] = 1
        picked, paths = ({**part, choice: option} if choice in part else part for part in (self.picked, self.paths))
        share, grids = {**self.share, choice: one_hot}, dict(self.grids)
        return replace(self, share=share, picked=picked, paths=paths, grids=grids, has_grids=False, halfway={})

    def made(self) -> Made:
        return Made(
            weight=_constant(self.weight),
            grids={quantizer: Grid(step.detach(), codes) for quantizer, (step, codes) in self.grids.items()},
            scales={block: Scales(*(part.detach() for part in parts)) for block, parts in self.scales.items()},
        )

    def take(self, made: Made) -> None:
        """Has what a pass of the same numbers has made, so that trials go on from there."""
        self.weight, self.grids, self.scales = dict(made.weight), dict(made.grids), dict(made.scales)
        self.has_grids = False

    def forget(self) -> None:
        """What the Space has added has to be made anew."""
        self.take(Made({}, {}, {}))

    def quantize(self, quantizer: Quantizer, onto: Callable[[Tensor, Codes], Tensor]) -> Tensor:
        """What `onto(step, codes)` makes of a tensor, for the precision in use or the soft mixture."""
        if isinstance(quantizer, ActivationChoice) and self.mixes(quantizer):
            share = self.share[quantizer.choice]
            each = [onto(*self.grids[member]) for member in quantizer.members]
            return sum((share[0, p] * y for p, y in enumerate(each)), torch.zeros(()))
        return onto(*self.grids[self.in_use(quantizer)])

    def in_use(self, quantizer: Quantizer) -> ActivationQuantizer:
        """The quantizer itself, or the one of a choice that is picked."""
        if isinstance(quantizer, ActivationQuantizer):
            return quantizer
        return quantizer.members[self.picked[quantizer.choice]]

    def mixes(self, quantizer: Quantizer) -> bool:
        """Whether a tensor is a mixture of precisions, each of which is computed."""
        return isinstance(quantizer, ActivationChoice) and quantizer.choice in self.soft

    def add_grids(self, quantizers: Iterable[Quantizer]) -> None:
        """Adds those of the quantizers' precisions that are in use."""
        wanted: list[ActivationQuantizer] = []
        drifts: list[Tensor | None] = []
        for quantizer in quantizers:
            members = [self.in_use(quantizer)]
            if isinstance(quantizer, ActivationChoice) and self.mixes(quantizer):
                members = list(reversed(quantizer.members))  # what comes back to the drift is summed from the last on
            lacking = [member for member in members if member not in self.grids]
            wanted += lacking
            drifts += [quantizer.drift if isinstance(quantizer, ActivationChoice) else None] * len(lacking)
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.held):
            self.grids |= zip(wanted, grids_of(wanted, drifts), strict=True)
        self.has_grids = True


def _constant(part: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach() for name, value in part.items()}
