"""Passes of torch's operators, for every device and every kind of number.

torch's comparisons, `where`, and products with more than one broadcast factor run element by element on CPUs. What is
used here runs on vectors.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from spaces.passes.channels import Channels, gradients, joined
from spaces.passes.passes import (
    EDGE,
    ONE_BIT,
    Affine,
    Codes,
    Moments,
    NormGradients,
    Running,
    Saved,
    Sum,
    Way,
    by_channel,
)

aten = torch.ops.aten


class Eager:
    """See spaces.passes.passes.Passes."""

    def trained(
        self, x: Tensor, running: Running, affine: Affine, step: Tensor | None, codes: Codes
    ) -> tuple[Tensor, Moments]:
        v, moments = batch_norm(x, running, affine)
        return _to_grid_(v, step, codes), moments

    def normalized(self, x: Tensor, running: Running, affine: Affine, step: Tensor | None, codes: Codes) -> Tensor:
        return _to_grid_(norm_of(x, running, affine), step, codes)

    def norm_back(self, grad: Tensor, x: Tensor, way: Way, codes: Codes, part: slice | None) -> NormGradients:
        v = norm_again(x, way)
        products = None if part is None else _products(grad[part], v[part], codes)
        return *batch_norm_back(_cut(grad, v, codes, v), x, way), products

    def clamped(self, x: Sum, keep: Tensor | None, step: Tensor | None, codes: Codes) -> Tensor:
        return _clamped(x.made(), keep, step, codes)

    def clamped_and_saved(
        self, x: Sum, keep: Tensor | None, step: Tensor | None, codes: Codes, part: slice | None
    ) -> tuple[Tensor, Saved]:
        made = x.made()
        return _clamped(made, keep, step, codes), (made,)

    def clamped_back(
        self, grad: Tensor, saved: Saved, step: Tensor | None, codes: Codes, part: slice | None
    ) -> tuple[Tensor, Tensor | None]:
        (x,) = saved
        v = x if step is None else x / step
        products = None if part is None else _products(grad[part], v[part], codes)
        return _cut(grad, v, codes, torch.empty_like(x) if v is x else v), products

    def quantized(
        self, weights: Sequence[Tensor], of: Channels, step: Tensor, bound: Tensor, *, one_bit: bool
    ) -> Tensor:
        spread = of.spread(step)
        return of.used(codes_of(joined(weights), spread, of.spread(bound), one_bit).mul_(spread))

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
        w, g = joined(weights), joined(gradients(weights, grads))
        signs = bound == ONE_BIT if one_bit else None
        bound = bound.ceil() if one_bit else bound
        v = w / of.spread(step * bound)
        value = v.clamp(-1, 1).mul_(of.spread(bound)).round_()
        if signs is not None:
            value = torch.where(of.spread(signs), _sign(v), value)
        dw = aten.hardtanh_backward(g.expand_as(v), v, -1 - EDGE, 1 + EDGE)
        products = v.new_empty(2, *v.shape)
        torch.mul(value, g, out=products[0])
        torch.mul(v, dw, out=products[1])
        return (dw if picked is None else dw.gather(0, picked.index_select(1, of.row)))[0], products


def codes_of(w: Tensor, step: Tensor, bound: Tensor, one_bit: bool) -> Tensor:
    """round(w / step) within the bound. w, step, bound: shapes that broadcast.

    Args:
        one_bit: whether there are bounds of 1/2 among them. The codes of these weights are signs.
    """
    codes = torch.minimum(torch.maximum((w / step).round_(), -bound), bound)
    return torch.where(bound == ONE_BIT, _sign(w), codes) if one_bit else codes


def _sign(x: Tensor) -> Tensor:
    """1 or -1, and 1 for 0."""
    return torch.where(x < 0, -torch.ones_like(x), torch.ones_like(x))


def batch_norm(x: Tensor, running: Running, affine: Affine) -> tuple[Tensor, Moments]:
    """v, and the moments of the batch. The running statistics are updated."""
    v, *moments = torch.native_batch_norm(x, *affine, *running[:2], True, *running[2:])
    return v, Moments(*moments)


def batch_norm_back(grad: Tensor, x: Tensor, way: Way) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of x, gain and offset."""
    mean, inverse = way.moments
    variance = None if way.of_batch else inverse.pow(-2)  # eps included
    made: tuple[Tensor, Tensor, Tensor] = aten.native_batch_norm_backward(
        grad, x, way.gain, mean, variance, mean, inverse, way.of_batch, 0.0, [True, True, True]
    )
    return made


def norm_of(x: Tensor, running: Running, affine: Affine) -> Tensor:
    """v, with the statistics that are given."""
    return torch.native_batch_norm(x, *affine, running.mean, running.variance, False, 0.0, running.eps)[0]


def norm_again(x: Tensor, way: Way) -> Tensor:
    """v, as it was on the way forth."""
    (mean, inverse), affine = way.forth
    return norm_of(x, Running(mean, inverse.pow(-2), 0.0, 0.0), affine)


def _to_grid_(v: Tensor, step: Tensor | None, codes: Codes) -> Tensor:
    """v, put on the grid where it lies."""
    return _clamp_(v, codes) if step is None else _clamp_(v.round_(), codes).mul_(step)


def _clamp_(v: Tensor, codes: Codes) -> Tensor:
    low, high = codes
    return v.clamp_min_(low).clamp_max_(high) if isinstance(high, Tensor) else v.clamp_(low, high)


def _clamp(v: Tensor, codes: Codes) -> Tensor:
    low, high = codes
    return v.clamp_min(low).clamp_max_(high) if isinstance(high, Tensor) else v.clamp(low, high)


def _clamped(x: Tensor, keep: Tensor | None, step: Tensor | None, codes: Codes) -> Tensor:
    masked = x if keep is None else x * by_channel(keep, x)
    return _clamp(masked, codes) if step is None else _to_grid_(masked / step, step, codes)


def _cut(grad: Tensor, v: Tensor, codes: Codes, out: Tensor) -> Tensor:
    """The gradient where v lies within the bounds or on them, and 0 elsewhere. It is written to `out`, which may be v.

    A closed channel reaches a sum or a pool behind it as zeros, which lie on the bound of the ReLU. If the gradient
    were 0 there, the channel would never open again.
    """
    low, high = codes.edges
    if isinstance(high, Tensor):
        return out.copy_(torch.where((v <= low) | (v >= high), grad.new_zeros(()), grad))
    aten.hardtanh_backward.grad_input(grad, v, low, high, grad_input=out)
    return out


def _products(grad: Tensor, v: Tensor, codes: Codes) -> Tensor:
    products = _clamp(v, codes).round_().mul_(grad)
    return products.addcmul_(v, _cut(grad, v, codes, torch.empty_like(products)), value=-1)
