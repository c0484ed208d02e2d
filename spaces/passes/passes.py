"""What the tail of a convolution does to memory: a pass reads tensors of the size of its output once and writes one.

Three classes make them: of torch's operators, on every device (spaces.passes.eager), in C on a CPU
(spaces.passes.compiled) and in Triton on a GPU (spaces.passes.fused).
All that they make is the same to the bit, but for the gradients of NaN; what they save for the way back is their own.
spaces.passes.chosen says which one a tensor takes.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from torch import Tensor

from spaces.passes.channels import Channels

ONE_BIT = 0.5  # the bound that stands for codes of one bit
EDGE = 2.0**-20  # what lies on a bound counts as inside; torch's kernels cut there


def by_channel(numbers: Tensor, x: Tensor) -> Tensor:
    """(C,), as it meets x (N, C, ...)."""
    return numbers.view(1, -1, *(1,) * (x.dim() - 2))


class Codes(NamedTuple):
    """Bounds of the codes relative to the zero point. Without quantization they are those of the value itself.

    Attributes:
        high: (), float64, of a step that is not read of its device.
    """

    low: float
    high: float | Tensor

    @property
    def edges(self) -> tuple[float, float | Tensor]:
        """What lies between these two is inside."""
        return self.low - EDGE, self.high + EDGE * self.spread

    @property
    def spread(self) -> float | Tensor:
        """The highest code, or 1 where it is less."""
        return self.high.clamp_min(1.0) if isinstance(self.high, Tensor) else max(1.0, self.high)


class Sum(NamedTuple):
    """x (N, C, ...), or x + plus. Attributes: plus: of the shape of x, or (C,)."""

    x: Tensor
    plus: Tensor | None = None

    def made(self) -> Tensor:
        if self.plus is None:
            return self.x
        return self.x + (self.plus if self.plus.dim() > 1 else by_channel(self.plus, self.x))


class Moments(NamedTuple):
    """Mean and inverse = 1 / sqrt(variance + eps), (C,) each."""

    mean: Tensor
    inverse: Tensor


class Affine(NamedTuple):
    """What a norm makes of its normalised input, (C,) each: scale * it + shift."""

    scale: Tensor
    shift: Tensor


class Running(NamedTuple):
    """The statistics of a norm. Attributes: mean, variance: (C,)."""

    mean: Tensor
    variance: Tensor
    momentum: float
    eps: float


class Way(NamedTuple):
    """How the gradient goes back through a norm.

    Attributes:
        forth: made v of x.
        moments, gain: of the norm that the gradient is of. (x - moments.mean) * moments.inverse * gain has it.
        of_batch: whether the moments are those of the batch. Otherwise they are constants.
    """

    forth: tuple[Moments, Affine]
    moments: Moments
    gain: Tensor
    of_batch: bool


Saved = tuple[Tensor, ...]
NormGradients = tuple[Tensor, Tensor, Tensor, Tensor | None]  # of x, gain and offset; and the products


class Passes(Protocol):
    """Each method is a pass over x (N, C, ...), or few of them; the last two are over weights.

    v is x in units of the step, or x itself where there is no step. It is put on the grid: rounded, clamped to the
    codes and multiplied by the step, or only clamped. It is inside where it lies within the codes or on their bounds.

    The gradient of the step is summed over a part of the samples. The sum of its products, which are of the shape of
    the part, is d loss / d log step: each is the gradient that comes back, times round(v) - v inside and the bound
    outside (LSQ, arXiv 1902.08153, eq. 3).

    Args:
        part: the same on the way back as before it. None: the step does not learn, and no products are made.
    """

    def trained(
        self, x: Tensor, running: Running, affine: Affine, step: Tensor | None, codes: Codes
    ) -> tuple[Tensor, Moments]:
        """v = the norm of x with the moments of the batch, on the grid. The running statistics are updated."""

    def normalized(self, x: Tensor, running: Running, affine: Affine, step: Tensor | None, codes: Codes) -> Tensor:
        """v = the norm of x with the statistics that are given, on the grid."""

    def norm_back(self, grad: Tensor, x: Tensor, way: Way, codes: Codes, part: slice | None) -> NormGradients:
        """The way back of both. The gradient goes where v was inside."""

    def clamped(self, x: Sum, keep: Tensor | None, step: Tensor | None, codes: Codes) -> Tensor:
        """v = keep * x / step, on the grid. Args: keep: (C,), the mask; None: all channels are open."""

    def clamped_and_saved(
        self, x: Sum, keep: Tensor | None, step: Tensor | None, codes: Codes, part: slice | None
    ) -> tuple[Tensor, Saved]:
        """The same, and what the way back of x needs."""

    def clamped_back(
        self, grad: Tensor, saved: Saved, step: Tensor | None, codes: Codes, part: slice | None
    ) -> tuple[Tensor, Tensor | None]:
        """The gradient where v = x / step is inside, and the products.

        Args:
            grad: of the shape of x, and in its order in memory.
            saved: what `clamped_and_saved` saved of x, or (x,) itself, where it stays for something else.
        """

    def quantized(
        self, weights: Sequence[Tensor], of: Channels, step: Tensor, bound: Tensor, *, one_bit: bool
    ) -> Tensor:
        """Weights on the grids of their channels: round(w / step) within -bound .. bound, times step.

        Args:
            weights: of each layer.
            step: (C,). bound: (C,) or (1,).
            one_bit: whether there are bounds of 1/2 among them, of codes that are signs.

        Returns:
            (N,), in the order in which they are used.
        """

    def quantized_back(
        self,
        weights: Sequence[Tensor],
        grads: Sequence[Tensor | None],
        of: Channels,
        step: Tensor,
        bound: Tensor,
        picked: Tensor | None,
        *,
        one_bit: bool,
    ) -> tuple[Tensor, Tensor]:
        """The gradient of the weights, (N,), and two products for each of P precisions, (2, P, N), as they are stored.

        They are those of g with the codes, and with v = w / (step * bound) where it is within -1 .. 1.

        Args:
            weights: of each layer. grads: of what `quantized` made, of the shapes of the weights; None: it is 0.
            step: (P, C). bound: (P, C) or (P, 1).
            picked: (1, C), the precision of which the gradient of w is; None: there is one.
        """
