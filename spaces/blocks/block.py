"""What every block is made of: stored weights, quantizers at its edges, and three ways to run."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, NamedTuple, TypeVar, cast

import torch
from torch import Tensor, nn

from spaces.autograd import straight_through
from spaces.blocks.activations import CLAMPS, Activation, activate, moves_zero
from spaces.blocks.fixed_point import requantize
from spaces.blocks.norm import Norm
from spaces.blocks.weights import Weights
from spaces.decisions.selection import Selection
from spaces.modes import FLOAT, INTEGER
from spaces.passes.passes import Codes, Sum
from spaces.quantizers.activation import ActivationQuantizer, Quantizer
from spaces.quantizers.grids import bounds_of
from spaces.quantizers.scales import NormUse
from spaces.quantizers.tail import tail
from spaces.spec import BlockSpec

TABLE_BITS = 8  # of the codes that index an activation table
Clip = tuple[int, int | Tensor]  # the lowest code and the highest one, which a ceiling leaves on the device, (), int64
T = TypeVar("T")


@dataclass
class Folded:
    """The integers of a block with its norm folded into them, as int64 tensors. They are those of the Program.

    The Program's bias subtracts the input's zero point as well; this one does not.
    """

    multiplier: Tensor
    shift: Tensor
    zero_point: int
    clip: Clip
    codes: Tensor | None = None  # weights, float
    bias: Tensor | None = None
    table: Tensor | None = None

    @cached_property
    def largest_row(self) -> float:
        """The largest sum of the magnitudes of a row of codes. It is read of the device once."""
        assert self.codes is not None
        return float(self.codes.abs().flatten(1).sum(1).max())


class _Shared(NamedTuple):
    """What the Space owns and blocks share. It is a tuple: a block that registered them would store them twice."""

    sources: tuple[Quantizer, ...]
    quantizer: Quantizer | None
    weights: Weights | None
    norm: Norm | None


class Block(nn.Module):
    """One node.

    Attributes:
        combine: a method of each subclass. It takes the selection and the inputs, and returns what the float operator
            makes of them.
        integers: a method of each subclass. It takes int64 codes without zero points, and returns int64 accumulators.
        pre: the quantizer of the codes that index a table, where the activation behind a sum or a norm is a table.
    """

    combine: Callable[..., Tensor]
    integers: Callable[..., Tensor]

    def __init__(
        self,
        spec: BlockSpec,
        inputs: list[Quantizer | None],
        output: Quantizer | None,
        weights: Weights | None = None,
        norm: Norm | None = None,
    ) -> None:
        super().__init__()
        self.spec, self.name = spec, spec.name
        self._shared = _Shared(tuple(q for q in inputs if q is not None), output, weights, norm)
        self.clamped = spec.activation[0] in CLAMPS
        self.moves_zero = moves_zero(spec.activation)
        # Behind a norm or a sum the table is indexed by codes of its own.
        indexed = output is not None and not self.clamped and spec.operator.fuses_activation
        self.pre = ActivationQuantizer(TABLE_BITS) if indexed else None
        self._kept: dict[str, Any] = {}
        self._table: tuple[tuple[float, ...], Tensor] | None = None
        self._keeps = False  # in training too

    @property
    def quantizer(self) -> Quantizer | None:
        """The quantizer of the output, or its choice of quantizers; None where nothing is quantized."""
        return self._shared.quantizer

    @property
    def loop(self) -> str:
        """The name of the loop that it is in; "": in none."""
        return self.spec.loop

    @property
    def weights(self) -> Weights | None:
        return self._shared.weights

    @property
    def norm(self) -> Norm | None:
        return self._shared.norm

    @property
    def quantizer_of_sum(self) -> Quantizer | None:
        """The quantizer right behind the sum, or its choice. Where there is a table it makes the index of the table."""
        return self.pre if self.pre is not None else self.quantizer

    def norm_use(self, selection: Selection) -> NormUse | None:
        """How a pass uses its norm, where the norm and what follows it are one step."""
        return None

    # Of a decided, quantized Space alone

    @property
    def output(self) -> ActivationQuantizer:
        return cast(ActivationQuantizer, self._shared.quantizer)

    @property
    def sources(self) -> tuple[ActivationQuantizer, ...]:
        """Quantizers of the inputs."""
        return cast("tuple[ActivationQuantizer, ...]", self._shared.sources)

    # Of every Space

    def inherit(self, old: "Block", kept: Tensor) -> None:
        """Takes over what belongs to this block alone from the block that it was before something was decided.

        Args:
            kept: (C,), indices of the channels that stay.
        """
        if self.pre is not None and old.pre is not None:
            self.pre.inherit(old.pre)

    def fold(self) -> Folded:
        raise NotImplementedError(f"block '{self.name}': {self.spec.op} requantizes nothing.")

    def forward(self, selection: Selection, *inputs: Tensor) -> Tensor:
        """From values to values. In integer mode they lie on the grid, and equal the Program's to the bit."""
        if selection.mode != INTEGER:
            return self.fake(selection, *inputs)
        with torch.no_grad():
            exact = self.exact(*inputs)
        return straight_through(self.fake(selection, *inputs), exact) if torch.is_grad_enabled() else exact

    def fake(self, selection: Selection, *inputs: Tensor) -> Tensor:
        return self.finish(selection, self.combine(selection, *inputs), selection.keep.get(self.name))

    def real_bounds(self) -> Codes:
        """The bounds of an activation that is a clamp, where nothing is quantized. Other activations have no bounds."""
        name = self.spec.activation[0]
        return Codes(0.0 if name in ("relu", "relu6") else float("-inf"), 6.0 if name == "relu6" else float("inf"))

    def finish(self, selection: Selection, y: Tensor | Sum, keep: Tensor | None) -> Tensor:
        """Masks, activates and quantizes a sum."""
        quantizer = None if selection.mode == FLOAT else self.quantizer
        y = y if isinstance(y, Sum) else Sum(y)
        if quantizer is not None and selection.mixes(quantizer):
            y = Sum(y.made())  # once, and each precision of it
        if self.clamped and selection.mode == FLOAT:
            return self._watch(activate(y.made(), self.spec.activation))
        if self.clamped and quantizer is None:
            return tail(y, keep, None, self.real_bounds())
        if self.clamped and quantizer is not None:
            return selection.quantize(quantizer, partial(tail, y, keep))
        if self.pre is None:
            made = y.made()
        elif quantizer is None:
            made = self._watch(y.made(), self.pre)
        else:
            made = selection.quantize(self.pre, partial(tail, y, keep))
        return self._after_table(selection, made, keep)

    def _after_table(self, selection: Selection, y: Tensor, keep: Tensor | None) -> Tensor:
        y = activate(y, self.spec.activation)
        if keep is not None and (self.moves_zero or self.pre is None):
            y = y * keep.view(1, -1, *(1,) * (y.dim() - 2))
        return self._onto_grid(selection, y)

    def _onto_grid(self, selection: Selection, y: Tensor) -> Tensor:
        if selection.mode == FLOAT or self.quantizer is None:
            return self._watch(y)
        return selection.quantize(self.quantizer, partial(tail, Sum(y), None))

    def _watch(self, y: Tensor, quantizer: Quantizer | None = None) -> Tensor:
        quantizer = quantizer or self.quantizer
        if quantizer is not None and quantizer.observing:
            quantizer.observe(y)
        return y

    def exact(self, *inputs: Tensor) -> Tensor:
        """The block in integer arithmetic alone, on values that lie on the grid."""
        folded = self.folded()
        codes = [q.codes(x) - q.zero_point for q, x in zip(self.sources, inputs, strict=True)]
        acc = self.integers(*codes)
        low, high = folded.clip
        out = (requantize(acc, *self._per_channel(folded, acc)) + folded.zero_point).clamp_min(low).clamp_max(high)
        if folded.table is not None:
            out = folded.table[out - low]
        return self.output.decode(out)

    @staticmethod
    def _per_channel(folded: Folded, acc: Tensor) -> tuple[Tensor, Tensor]:
        shape = (1, -1, *(1,) * (acc.dim() - 2))
        return folded.multiplier.view(shape), folded.shift.view(shape)

    def folded(self) -> Folded:
        """What `fold()` returns, see `kept`."""
        return self.kept("folded", self.fold)

    def kept(self, name: str, make: Callable[[], T]) -> T:
        """What `make` returns, kept under a name while the block is in evaluation, where nothing can change."""
        if self.training and not self._keeps:
            return make()
        if name not in self._kept:
            self._kept[name] = make()
        return cast(T, self._kept[name])

    @contextmanager
    def folding_once(self) -> Iterator[None]:
        """Inside it nothing of the block changes, so that what it keeps in evaluation is kept in training too."""
        if not self.training:
            yield
            return
        self._keeps = True
        try:
            yield
        finally:
            self._keeps = False
            self._kept.clear()

    def train(self, mode: bool = True) -> "Block":
        self._kept.clear()
        return super().train(mode)

    def _apply(self, *args: Any, **kwargs: Any) -> "Block":
        self._kept.clear()  # on another device, or of another type
        super()._apply(*args, **kwargs)  # type: ignore[no-untyped-call]
        return self

    def _load_from_state_dict(self, *args: Any) -> None:
        self._kept.clear()
        super()._load_from_state_dict(*args)

    def sum_quantizer(self) -> ActivationQuantizer:
        return cast(ActivationQuantizer, self.quantizer_of_sum)

    def clip(self) -> Clip:
        quantizer = self.sum_quantizer()
        ((low, high),) = bounds_of([quantizer], [quantizer.log_step.detach().exp()])
        there = high.long() if isinstance(high, Tensor) else int(high)
        return int(low) + quantizer.zero_point, there + quantizer.zero_point

    def extra_constants(self) -> dict[str, Tensor]:
        """What the Program stores beside weights, a bias, multipliers, shifts and a table: role -> int64."""
        return {}

    def table(self) -> Tensor | None:
        """The output code for each code of the sum; None where the activation is a clamp."""
        return self.looked_up(self.pre) if self.pre is not None else None

    def looked_up(self, source: ActivationQuantizer) -> Tensor:
        """`activation_table` of codes, which stays while the steps are the same."""
        known = source.step, source.zero_point, self.output.step, self.output.zero_point
        if self._table is None or self._table[0] != known or self._table[1].device != self.output.log_step.device:
            self._table = known, activation_table(source, self.output, self.spec.activation)
        return self._table[1]


def activation_table(source: ActivationQuantizer, output: ActivationQuantizer, activation: Activation) -> Tensor:
    """(2^bits,) int64: clip(floor(f(step_in * (code - z_in)) / step_out + 0.5) + z_out), in float64."""
    codes = torch.arange(2**source.bits, dtype=torch.float64)
    values = activate((codes - source.zero_point) * source.step, activation)
    low, high = output.bounds()
    out = torch.floor(values / output.step + 0.5).clamp(low, high).long() + output.zero_point
    return out.to(output.log_step.device)
