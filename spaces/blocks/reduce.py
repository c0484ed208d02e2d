"""Products of two tensors, and what measures each sample: softmax and norms. docs/methods.md, section 5."""

from math import floor, prod

import torch
from torch import Tensor

from spaces.blocks.block import Block, Folded
from spaces.blocks.fixed_point import multiplier_and_shift, with_bias
from spaces.decisions.selection import Selection
from spaces.modes import INTEGER

EXPONENT_BITS = 15  # the exponential of 0 is 2^15
ROOT_BITS = 32  # of a variance, brought to this size before its root is taken
FRACTION_BITS = 16  # of a normalised value
LARGEST_EPS = 2.0**60  # in integers


class MatMulBlock(Block):
    """(N, heads, M, K) times (N, heads, K, P)."""

    def combine(self, selection: Selection, a: Tensor, b: Tensor) -> Tensor:
        first, second = self.spec.attributes["axes"]
        left, right = (a if first == 2 else a.transpose(2, 3)), (b if second == 1 else b.transpose(2, 3))
        return left @ right

    @torch.no_grad()
    def fold(self) -> Folded:
        quantizer = self.sum_quantizer()
        a, b = self.sources
        multiplier, shift = multiplier_and_shift((a.step_there * b.step_there / quantizer.step_there)[None])
        return Folded(multiplier, shift, quantizer.zero_point, self.clip(), table=self.table())

    def integers(self, a: Tensor, b: Tensor) -> Tensor:
        return self.combine(Selection(INTEGER), a.double(), b.double()).long()


class SoftmaxBlock(Block):
    """exp(x) over the sum of exponentials along an axis. The output's step is 2^-bits."""

    @property
    def _dim(self) -> int:
        return 1 + int(self.spec.attributes["axis"])

    def fake(self, selection: Selection, *inputs: Tensor) -> Tensor:
        y, keep = inputs[0].softmax(self._dim), selection.keep.get(self.name)
        if keep is not None:
            y = y * keep.view(1, -1, *(1,) * (y.dim() - 2))
        return self._onto_grid(selection, y)

    @torch.no_grad()
    def exponentials(self) -> Tensor:
        """(2^bits,) int64: floor(2^15 exp(-step * d) + 1/2) for each difference d of codes, in float64."""
        source = self.sources[0]
        differences = torch.arange(source.largest_code + 1, dtype=torch.float64, device=source.log_step.device)
        return torch.floor(2.0**EXPONENT_BITS * torch.exp(-source.step_there * differences) + 0.5).long()

    def exact(self, *inputs: Tensor) -> Tensor:
        codes, bits = self.sources[0].codes(inputs[0]), self.output.bits
        each = self.kept("exponentials", self.exponentials)[codes.amax(self._dim, keepdim=True) - codes]
        total = each.sum(self._dim, keepdim=True)
        shares = ((each << bits) + (total >> 1)).div(total, rounding_mode="floor")
        return self.output.decode(shares.clamp_max(2**bits - 1))

    def extra_constants(self) -> dict[str, Tensor]:
        return {"exponentials": self.exponentials()}


class NormalizeBlock(Block):
    """(x - mean) / sqrt(variance + eps), measured on each sample over some axes, times a scale, plus an offset.

    A closed channel counts neither for the mean nor for the variance.
    """

    def _grouped(self, x: Tensor) -> tuple[Tensor, list[int]]:
        """(N, groups, C / groups, *spatial), and the dimensions that are measured."""
        a = self.spec.attributes
        return x.reshape(len(x), a["groups"], -1, *x.shape[2:]), [2 + axis for axis in a["axes"]]

    def combine(self, selection: Selection, x: Tensor) -> Tensor:
        groups, dims = self._grouped(x)
        keep = selection.keep.get(self.name) if 2 in dims else None
        if keep is None:
            count: Tensor | int = prod(groups.shape[dim] for dim in dims)
            inside: Tensor | float = 1.0
        else:
            inside = keep.view(1, self.spec.attributes["groups"], -1, *(1,) * (x.dim() - 2))
            count = inside.sum(2, keepdim=True) * prod(groups.shape[dim] for dim in dims if dim != 2)
            groups = groups * inside
        if self.spec.attributes["centred"]:
            groups = (groups - groups.sum(dims, keepdim=True) / count) * inside
        variance = groups.square().sum(dims, keepdim=True) / count
        y: Tensor = (groups * (variance + self.spec.attributes["eps"]).rsqrt()).reshape(x.shape)
        if self.norm is None:
            return y
        shape = (1, -1, *(1,) * (y.dim() - 2))
        return y * self.norm.weight.view(shape) + self.norm.bias.view(shape)

    @torch.no_grad()
    def fold(self) -> Folded:
        quantizer, channels = self.sum_quantizer(), self.spec.shape[0]
        one = torch.ones(channels, dtype=torch.float64, device=quantizer.log_step.device)
        gain, offset = (one, 0 * one) if self.norm is None else self.norm.affine()
        gain = gain * min(1.0, LARGEST_EPS / self._eps()) ** 0.5  # what the largest eps in integers leaves
        step = quantizer.step_there
        multiplier, shift, bias = with_bias(gain * 2.0**-FRACTION_BITS / step, offset / step)
        return Folded(multiplier, shift, quantizer.zero_point, self.clip(), bias=bias, table=self.table())

    @property
    def _count(self) -> int:
        a = self.spec.attributes
        elements: int = prod(self.spec.shape[axis] for axis in a["axes"])
        return elements // int(a["groups"])

    def _eps(self) -> float:
        """R^2 eps / s^2."""
        step = float(self.sources[0].step)
        return float(self.spec.attributes["eps"]) * self._count * self._count / (step * step)

    def integers(self, x: Tensor) -> Tensor:
        groups, dims = self._grouped(x)
        deviations = self._count * groups
        eps = floor(min(self.kept("eps", self._eps) + 0.5, LARGEST_EPS))
        squares = self._count * groups.square().sum(dims, keepdim=True) + eps
        if self.spec.attributes["centred"]:
            total = groups.sum(dims, keepdim=True)
            deviations, squares = deviations - total, squares - total.square()
        values = over_root(deviations, squares.clamp_min(1)).reshape(x.shape)
        bias = self.folded().bias
        assert bias is not None  # as of every norm
        return values + bias.view(1, -1, *(1,) * (x.dim() - 2))


def over_root(d: Tensor, w: Tensor) -> Tensor:
    """floor(d * 2^16 / sqrt(w) + 1/2), with the root to 16 bits. d, w: int64, w >= 1."""
    bits = torch.frexp(w.double()).exponent.long()
    bits = bits - (w >> (bits - 1) == 0).long()  # where w was rounded up to a power of two
    half = (bits - ROOT_BITS + 1) >> 1
    large = torch.where(half > 0, w >> (2 * half).clamp_min(0), w << (-2 * half).clamp_min(0))
    root = large.double().sqrt().floor().long()  # exact, since large < 2^32
    inverse = torch.div(2 ** (ROOT_BITS - 1), root, rounding_mode="floor")
    shift = ROOT_BITS - 1 + half - FRACTION_BITS
    return (d * inverse + ((torch.ones_like(shift) << shift) >> 1)) >> shift


BLOCKS: dict[str, type[Block]] = {"matmul": MatMulBlock, "softmax": SoftmaxBlock, "normalize": NormalizeBlock}
