"""Passes in Triton, for float32 on a GPU. Norms stay torch's; what comes before and after them is one kernel each.

A kernel meets the numbers in the order in which they lie in memory, and reads each once. The channel of the number at
a place is `place // inner % channels`, where inner is 1 if channels lie side by side. None for a tensor means that
there is none: Triton makes a kernel of its own for that.

Kernels are compiled with enable_fp_fusion=False: a product and a sum are rounded one after the other, as in torch's
operators. Nothing here reads a number of the device, so that a CUDA graph can record it.

Triton is imported here; spaces.passes.kernels imports this module where a tensor of a GPU first asks for its passes.
"""

from collections.abc import Sequence
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from spaces.passes.channels import Channels, gradients, joined
from spaces.passes.eager import batch_norm, batch_norm_back, norm_again, norm_of
from spaces.passes.memory import in_order, lies_alike, order_of
from spaces.passes.passes import EDGE, Affine, Codes, Moments, NormGradients, Running, Saved, Sum, Way

BLOCK = 1024  # numbers of one program


@triton.jit
def _rounded(v):
    """Half to even: |v| + 2^23 has no fraction, so the sum rounds as torch does; from there on v is whole, or NaN."""
    size = tl.abs(v)
    whole = tl.where(size < 8388608.0, (size + 8388608.0) - 8388608.0, size)
    sign = v.to(tl.int32, bitcast=True) ^ size.to(tl.int32, bitcast=True)  # which zeros have too
    return (whole.to(tl.int32, bitcast=True) | sign).to(tl.float32, bitcast=True)


@triton.jit
def _clamped(v, low, high):
    """NaN stays. Of 0 and -0 it is the device's maximum that decides, as in torch's kernel for the same device."""
    return tl.where(v != v, v, tl.minimum(high, tl.maximum(low, v)))


@triton.jit
def _number(x, THERE: tl.constexpr):
    """A number that the host knows, or one of the device."""
    return tl.load(x).to(tl.float32) if THERE else x


@triton.jit
def _on_grid(v, step, low, high):
    return _clamped(v, low, high) if step is None else _clamped(_rounded(v), low, high) * tl.load(step)


@triton.jit
def _cut(grad, v, below, above):
    """The gradient where v is inside. That of NaN passes."""
    return tl.where((v <= below) | (v >= above), 0.0, grad)


@triton.jit
def _to_grid(v, step, low, high, count, THERE: tl.constexpr, BLOCK: tl.constexpr):
    """THERE: whether `high` is a number of the device."""
    place = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    there = place < count
    on_grid = _on_grid(tl.load(v + place, mask=there), step, low, _number(high, THERE))
    tl.store(v + place, on_grid, mask=there)


@triton.jit(do_not_specialize=["channels"])
def _clamp(
    x,
    plus,
    keep,
    step,
    made,
    out,
    low,
    high,
    count,
    inner,
    channels,
    BY_CHANNEL: tl.constexpr,
    THERE: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """made: x + plus. out: keep * (x + plus) / step, on the grid."""
    place = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    there = place < count
    channel = place // inner % channels
    v = tl.load(x + place, mask=there)
    if plus is not None:
        v += tl.load(plus + (channel if BY_CHANNEL else place), mask=there)
    if made is not None:
        tl.store(made + place, v, mask=there)
    if keep is not None:
        v *= tl.load(keep + channel, mask=there)
    if step is not None:
        v = tl.div_rn(v, tl.load(step))
    tl.store(out + place, _on_grid(v, step, low, _number(high, THERE)), mask=there)


@triton.jit(do_not_specialize=["first", "every"])
def _back(
    grad,
    x,
    step,
    out,
    products,
    low,
    high,
    below,
    above,
    count,
    size,
    first,
    every,
    ONCE: tl.constexpr,
    THERE: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """out: the gradient where v = x / step is inside; it may be x. products: of samples first, first + every, ..."""
    place = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    there = place < count
    g = tl.load(grad + place, mask=there)
    v = tl.load(x + place, mask=there)
    if step is not None:
        v = tl.div_rn(v, tl.load(step))
    cut = _cut(g, v, below, _number(above, THERE))
    tl.store(out + place, cut, mask=there)
    if products is not None:
        code = _rounded(_clamped(v, low, _number(high, THERE))) * g
        made = tl.fma(v * -1.0, cut, code) if ONCE else code - v * cut
        after = place // size - first
        own = after // every * size + place % size
        tl.store(products + own, made, mask=there & (after >= 0) & (after % every == 0))


@triton.jit(do_not_specialize=["by_channel"])
def _quantize(w, row, step, bound, out, count, by_channel, ONE_BIT: tl.constexpr, BLOCK: tl.constexpr):
    """by_channel: 1, or 0 where all channels have one bound. ONE_BIT: whether there are codes that are signs."""
    place = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    there = place < count
    channel = tl.load(row + place, mask=there, other=0)
    number = tl.load(w + place, mask=there)
    own = tl.load(step + channel, mask=there, other=1.0)
    limit = tl.load(bound + channel * by_channel, mask=there, other=1.0)
    code = _clamped(_rounded(tl.div_rn(number, own)), limit * -1.0, limit)
    if ONE_BIT:
        code = tl.where(limit == 0.5, tl.where(number < 0, -1.0, 1.0), code)
    tl.store(out + place, code * own, mask=there)


@triton.jit(do_not_specialize=["channels", "by_precision", "by_channel"])
def _quantize_back(
    w,
    grad,
    row,
    step,
    bound,
    picked,
    out,
    codes,
    insides,
    below,
    above,
    count,
    channels,
    by_precision,
    by_channel,
    PRECISIONS: tl.constexpr,
    ONE_BIT: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """The bound of precision p and channel c is bound[p * by_precision + c * by_channel]."""
    place = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    there = place < count
    channel = tl.load(row + place, mask=there, other=0)
    number = tl.load(w + place, mask=there)
    g = tl.load(grad + place, mask=there)
    if picked is not None:
        chosen = tl.load(picked + channel, mask=there, other=0)
    for p in tl.static_range(PRECISIONS):
        limit = tl.load(bound + p * by_precision + channel * by_channel, mask=there, other=1.0)
        if ONE_BIT:
            sign = limit == 0.5
            limit = tl.ceil(limit)
        own = tl.load(step + p * channels + channel, mask=there, other=1.0)
        v = tl.div_rn(number, own * limit)
        code = _rounded(_clamped(v, -1.0, 1.0) * limit)
        if ONE_BIT:
            code = tl.where(sign, tl.where(v < 0, -1.0, 1.0), code)
        cut = _cut(g, v, below, above)
        tl.store(codes + place, code * g, mask=there)
        tl.store(insides + place, v * cut, mask=there)
        codes += count
        insides += count
        if picked is not None:
            tl.store(out + place, cut, mask=there & (chosen == p))
        elif p == 0:
            tl.store(out + place, cut, mask=there)


class Fused:
    """See spaces.passes.passes.Passes. x is of those that spaces.passes.memory allows.

    Args:
        device: of all tensors.
    """

    def __init__(self, device: torch.device) -> None:
        self._once = _rounds_once(device)

    def call(self, kernel: Any, x: Tensor, *arguments: Any, **kinds: Any) -> None:
        """A kernel over as many numbers as x has, on its device."""
        with torch.cuda.device_of(x):
            kernel[(triton.cdiv(x.numel(), BLOCK),)](*arguments, **kinds, BLOCK=BLOCK, enable_fp_fusion=False)

    def trained(
        self, x: Tensor, running: Running, affine: Affine, step: Tensor | None, codes: Codes
    ) -> tuple[Tensor, Moments]:
        v, moments = batch_norm(x, running, affine)
        return self._to_grid_(v, step, codes), moments

    def normalized(self, x: Tensor, running: Running, affine: Affine, step: Tensor | None, codes: Codes) -> Tensor:
        return self._to_grid_(norm_of(x, running, affine), step, codes)

    def _to_grid_(self, v: Tensor, step: Tensor | None, codes: Codes) -> Tensor:
        """v, put on the grid where it lies."""
        self.call(_to_grid, v, v, step, *_numbers(*codes), v.numel(), THERE=_is_there(codes))
        return v

    def norm_back(self, grad: Tensor, x: Tensor, way: Way, codes: Codes, part: slice | None) -> NormGradients:
        v = norm_again(x, way)
        products = self._back(grad, v, None, v, codes, part)
        return *batch_norm_back(v, x, way), products

    def clamped(self, x: Sum, keep: Tensor | None, step: Tensor | None, codes: Codes) -> Tensor:
        if not lies_alike(x):
            x = Sum(x.made())
        return self._clamped(x, keep, step, codes, None)

    def clamped_and_saved(
        self, x: Sum, keep: Tensor | None, step: Tensor | None, codes: Codes, part: slice | None
    ) -> tuple[Tensor, Saved]:
        if not lies_alike(x):
            x = Sum(x.made())
        made = None if x.plus is None else torch.empty_like(x.x)
        return self._clamped(x, keep, step, codes, made), (x.x if made is None else made,)

    def _clamped(
        self, added: Sum, keep: Tensor | None, step: Tensor | None, codes: Codes, made: Tensor | None
    ) -> Tensor:
        """Args: made: is filled with the sum."""
        x, plus = added
        out, by_channel = torch.empty_like(x), plus is not None and plus.dim() == 1
        inner = x[0, 0].numel() if x.is_contiguous() and (by_channel or keep is not None) else 1
        own = *_numbers(*codes), x.numel(), inner, x.shape[1]
        self.call(_clamp, x, x, plus, keep, step, made, out, *own, BY_CHANNEL=by_channel, THERE=_is_there(codes))
        return out

    def clamped_back(
        self, grad: Tensor, saved: Saved, step: Tensor | None, codes: Codes, part: slice | None
    ) -> tuple[Tensor, Tensor | None]:
        (x,) = saved
        out = torch.empty_like(x)
        return out, self._back(grad, x, step, out, codes, part)

    def _back(
        self, grad: Tensor, x: Tensor, step: Tensor | None, out: Tensor, codes: Codes, part: slice | None
    ) -> Tensor | None:
        """The products. The gradient is written to `out`, which may be x."""
        products = None if part is None else torch.empty_like(x[part])
        first, every = (0, 1) if part is None else (part.start, part.step)
        own = *_numbers(*codes, *codes.edges), x.numel(), x[0].numel(), first, every
        self.call(
            _back, x, in_order(grad, order_of(x)), x, step, out, products, *own, ONCE=self._once, THERE=_is_there(codes)
        )
        return products

    def quantized(
        self, weights: Sequence[Tensor], of: Channels, step: Tensor, bound: Tensor, *, one_bit: bool
    ) -> Tensor:
        w = joined(weights)
        out = torch.empty_like(w)
        by_channel = bound.stride(0) if len(bound) > 1 else 0
        self.call(_quantize, w, w, of.row, step, bound, out, len(w), by_channel, ONE_BIT=one_bit)
        return of.used(out)

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
        (precisions, channels), (by_precision, by_channel) = step.shape, bound.stride()
        out, products = torch.empty_like(w), w.new_empty(2, precisions, len(w))
        tensors = w, g, of.row, step, bound, picked, out, *products
        own = -1 - EDGE, 1 + EDGE, len(w), channels, by_precision, by_channel if bound.shape[1] > 1 else 0
        self.call(_quantize_back, w, *tensors, *own, PRECISIONS=precisions, ONE_BIT=one_bit)
        return out, products


def _numbers(*bounds: float | Tensor) -> list[float | Tensor]:
    return [bound if isinstance(bound, Tensor) else float(bound) for bound in bounds]


def _is_there(codes: Codes) -> bool:
    """Whether the highest code is a number of the device."""
    return isinstance(codes.high, Tensor)


def _rounds_once(device: torch.device) -> bool:
    """Whether a + b * c of torch's addcmul has one rounding there. 1 - (1 + 2^-12)^2 has more digits than float32."""
    one, number = torch.tensor([1.0, 1 + 2.0**-12], device=device)[:, None]
    return bool((one.addcmul(number, number, value=-1) != one - number * number).item())
