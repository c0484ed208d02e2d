"""What every block is made of: stored weights, quantizers at its edges, and three ways to run."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

import torch
from torch import Tensor, nn

from spaces import patterns
from spaces.blocks import kernel_taps
from spaces.blocks.activations import CLAMPS, activate, moves_zero
from spaces.blocks.fixed_point import requantize
from spaces.blocks.norm import Norm
from spaces.decisions.decision import straight_through
from spaces.quantizers import ActivationChoice, ActivationQuantizer, WeightQuantizer
from spaces.quantizers.tail import Codes, tail
from spaces.spec import BlockSpec, ChoiceSpec, WeightsSpec

FLOAT, FAKE, INTEGER = "float", "fake", "integer"
GATES = "gates"  # all gates, among what the decisions say; every choice has its own name, "stem/bits"
MODES = (FLOAT, FAKE, INTEGER)
TABLE_BITS = 8  # of the codes that index an activation table


@dataclass
class Selection:
    """What the decisions say in this forward pass.

    Attributes:
        mode: float (decisions and quantizers out of play), fake, or integer.
        alpha: all gates behind one another, a one in front; None without gates.
        keep: tensor -> (C,) mask, where a gate bears on it.
        share, probability: choice -> (groups, n_options). The share of a whole choice is a constant.
        whole: the choices of one group, whose other options are tried, not derived.
        learns: choice -> its share, differentiable.
        weight: weights name -> weights as they are used, where they are quantized or masked.
        picked: choice -> index of the option in use, for the choices of activation precisions.
        paths: choice of branches -> the branch that runs.
        soft: choices whose shares are no picks.
        held: decisions and activation steps are constants of this pass.
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
        """One that describes a network by these leaves; nothing can be run with it."""
        return Selection(mode, leaves.get(GATES), share={n: t for n, t in leaves.items() if n != GATES})

    def hold(self) -> "Selection":
        """The same again, as constants."""
        if self.held:
            return self
        parts = ({n: t.detach() for n, t in part.items()} for part in (self.keep, self.share, self.probability))
        alpha = None if self.alpha is None else self.alpha.detach()
        return Selection(self.mode, alpha, *parts, picked=self.picked, soft=self.soft, held=True)

    def having(self, choice: str, option: int) -> "Selection":
        """The same with another option, by its index, of a choice of one group."""
        one_hot = torch.zeros_like(self.share[choice])
        one_hot[0, option] = 1
        changed = {part: {**getattr(self, part), choice: option} for part in ("picked", "paths")}
        changed = {part: values for part, values in changed.items() if choice in getattr(self, part)}
        return replace(self, share={**self.share, choice: one_hot}, **changed)

    def quantize(self, quantizer: ActivationQuantizer | ActivationChoice, onto: Callable[..., Tensor]) -> Tensor:
        """What `onto(log_step, codes)` makes of a tensor, for the precision in use or the soft mixture."""
        if isinstance(quantizer, ActivationQuantizer):
            return onto(self._step(quantizer.log_step), quantizer.bounds())
        if quantizer.choice in self.soft:
            share = self.share[quantizer.choice]
            each = [onto(*quantizer.precision(p)) for p in range(len(quantizer.members))]
            return sum(share[0, p] * y for p, y in enumerate(each))
        log_step, codes = quantizer.precision(self.picked[quantizer.choice])
        return onto(self._step(log_step), codes)

    def _step(self, log_step: Tensor) -> Tensor:
        return log_step.detach() if self.held else log_step


@dataclass
class Fixed:
    """The integers of a block, as the Program stores them, but as int64 tensors and with padding not folded in."""

    multiplier: Tensor
    shift: Tensor
    zero_point: int
    clip: tuple[int, int]
    codes: Tensor | None = None  # weights, float
    bias: Tensor | None = None
    table: Tensor | None = None


class Weights(nn.Module):
    """Parameters of one convolution or linear layer, with their quantizer."""

    def __init__(self, name: str, spec: WeightsSpec, choices: Mapping[str, ChoiceSpec]) -> None:
        super().__init__()
        self.name, self.spec = name, spec
        self.weight = nn.Parameter(torch.zeros(spec.shape))
        self.bias = nn.Parameter(torch.zeros(spec.shape[0])) if spec.bias else None
        quantized = bool(spec.widths) or spec.assigned is not None
        self.quantizer = WeightQuantizer(spec.widths, spec.shape[0], spec.assigned) if quantized else None
        self.pattern = patterns.made(spec.pattern, spec.shape) if spec.pattern else None
        if spec.masked:
            self.register_buffer("mask", torch.ones(spec.shape, dtype=torch.bool))
        for role, choice in spec.taps.items():
            masks = kernel_taps.masks(role, spec.shape[2:], choices[choice].options)
            self.register_buffer(f"{role}_masks", masks, persistent=False)

    @property
    def is_patterned(self) -> bool:
        return self.pattern is not None or self.spec.masked

    def patterned(self, inputs: Tensor | None = None) -> Tensor:
        """The weights in their pattern. inputs: indices of those that are open, where not all are."""
        if self.spec.masked:
            return self.weight * self.mask
        return self.weight if self.pattern is None else self.pattern(self.weight, inputs)

    def tap_mask(self, share: Mapping[str, Tensor]) -> Tensor | None:
        """(*kernel), differentiable in the shares of the choices of taps; None where there are none."""
        mask = None
        for role, choice in self.spec.taps.items():
            masks = getattr(self, f"{role}_masks")
            part = (share[choice].to(masks.device) @ masks.flatten(1).to(share[choice].dtype)).view(masks.shape[1:])
            mask = part if mask is None else mask * part
        return mask


class Block(nn.Module):
    """One node. Subclasses give `combine` (the float operator), `integers` and `fixed`."""

    def __init__(
        self,
        spec: BlockSpec,
        inputs: list[ActivationQuantizer | ActivationChoice | None],
        output: ActivationQuantizer | ActivationChoice | None,
        weights: Weights | None = None,
        norm: Norm | None = None,
    ) -> None:
        super().__init__()
        self.spec, self.name = spec, spec.name
        self.sources = [q for q in inputs if q is not None]
        # The Space owns what blocks share; a block that registered it would store it twice.
        self._shared = {"output": output, "weights": weights, "norm": norm}
        self.clamped = spec.activation[0] in CLAMPS
        self.moves_zero = moves_zero(spec.activation)
        # Behind a norm or a sum the table is indexed by codes of its own.
        indexed = output is not None and not self.clamped and spec.operator.fuses_activation
        self.pre = ActivationQuantizer(TABLE_BITS) if indexed else None
        self._cached: Fixed | None = None

    @property
    def output(self) -> ActivationQuantizer | None:
        return self._shared["output"]

    @property
    def weights(self) -> Weights | None:
        return self._shared["weights"]

    @property
    def norm(self) -> Norm | None:
        return self._shared["norm"]

    def combine(self, selection: Selection, *inputs: Tensor) -> Tensor:
        raise NotImplementedError

    def integers(self, *codes: Tensor) -> Tensor:
        """int64 codes to int64 accumulators; inputs have their zero points subtracted."""
        raise NotImplementedError

    def fixed(self) -> Fixed:
        raise NotImplementedError

    def forward(self, selection: Selection, *inputs: Tensor) -> Tensor:
        """Values to values. In integer mode they lie on the grid, and equal the Program's to the bit."""
        if selection.mode != INTEGER:
            return self.fake(selection, *inputs)
        with torch.no_grad():
            exact = self.exact(*inputs)
        return straight_through(self.fake(selection, *inputs), exact) if torch.is_grad_enabled() else exact

    def fake(self, selection: Selection, *inputs: Tensor) -> Tensor:
        return self.finish(selection, self.combine(selection, *inputs), selection.keep.get(self.name))

    def real_bounds(self) -> Codes:
        """Of the clamp that the activation is, where nothing is quantized; none where it is a function."""
        name = self.spec.activation[0]
        return Codes(0.0 if name in ("relu", "relu6") else float("-inf"), 6.0 if name == "relu6" else float("inf"))

    def finish(self, selection: Selection, y: Tensor, keep: Tensor | None) -> Tensor:
        """Mask, activation and quantization of a sum."""
        plain = selection.mode == FLOAT or self.output is None
        if self.clamped:
            if selection.mode == FLOAT:
                return self._watch(activate(y, self.spec.activation))
            if plain:
                return tail(y, keep, None, self.real_bounds())
            return selection.quantize(self.output, partial(tail, y, keep))
        if self.pre is not None:
            y = self._watch(y, self.pre) if plain else selection.quantize(self.pre, partial(tail, y, keep))
        return self._after_table(selection, y, keep)

    def _after_table(self, selection: Selection, y: Tensor, keep: Tensor | None) -> Tensor:
        y = activate(y, self.spec.activation)
        if keep is not None and (self.moves_zero or self.pre is None):
            y = y * keep.view(1, -1, *(1,) * (y.dim() - 2))
        return self._onto_grid(selection, y)

    def _onto_grid(self, selection: Selection, y: Tensor) -> Tensor:
        if selection.mode == FLOAT or self.output is None:
            return self._watch(y)
        return selection.quantize(self.output, partial(tail, y, None))

    def _watch(self, y: Tensor, quantizer: ActivationQuantizer | None = None) -> Tensor:
        quantizer = quantizer or self.output
        if quantizer is not None and quantizer.observing:
            quantizer.observe(y)
        return y

    def exact(self, *inputs: Tensor) -> Tensor:
        """Integer arithmetic alone, on grid values."""
        fixed = self.parameters_fixed()
        codes = [q.codes(x) - q.zero_point for q, x in zip(self.sources, inputs, strict=True)]
        acc = self.integers(*codes)
        out = (requantize(acc, *self._per_channel(fixed, acc)) + fixed.zero_point).clamp(*fixed.clip)
        if fixed.table is not None:
            out = fixed.table[out - fixed.clip[0]]
        return self.output.decode(out)

    @staticmethod
    def _per_channel(fixed: Fixed, acc: Tensor) -> tuple[Tensor, Tensor]:
        shape = (1, -1, *(1,) * (acc.dim() - 2))
        return fixed.multiplier.view(shape), fixed.shift.view(shape)

    def parameters_fixed(self) -> Fixed:
        """`fixed()`, kept while the block is in evaluation, where nothing can change."""
        if self.training:
            self._cached = None
            return self.fixed()
        if self._cached is None:
            self._cached = self.fixed()
        return self._cached

    def train(self, mode: bool = True) -> "Block":
        self._cached = None
        return super().train(mode)

    def sum_quantizer(self) -> ActivationQuantizer:
        """The quantizer right behind the sum: the table's index where there is a table."""
        return self.pre if self.pre is not None else self.output

    def clip(self) -> tuple[int, int]:
        quantizer = self.sum_quantizer()
        low, high = quantizer.bounds()
        return int(low) + quantizer.zero_point, int(high) + quantizer.zero_point

    def table(self) -> Tensor | None:
        """Output code for each code of the sum, or None where the activation is a clamp."""
        return activation_table(self.pre, self.output, self.spec.activation) if self.pre is not None else None


def activation_table(source: ActivationQuantizer, output: ActivationQuantizer, activation: tuple[str, dict]) -> Tensor:
    """(2^bits,) int64: clip(floor(f(step_in * (code - z_in)) / step_out + 0.5) + z_out), in float64."""
    codes = torch.arange(2**source.bits, dtype=torch.float64)
    values = activate((codes - source.zero_point) * source.step, activation)
    low, high = output.bounds()
    out = torch.floor(values / output.step + 0.5).clamp(low, high).long() + output.zero_point
    return out.to(output.log_step.device)
