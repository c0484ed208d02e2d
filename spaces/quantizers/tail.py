"""What follows a convolution, as one autograd node: batch norm, channel mask, clamp, quantization.

This is where a quantized training step spends its time: see spaces.passes for what it does to memory. The node saves
what plain training saves, which is the convolution's output, and computes the rest again on the way back. The gradient
of the step (LSQ, arXiv 1902.08153, eq. 3) is summed over every fourth sample and scaled up, since it is only one number
for a layer. The mask of a closed channel gets the gradient that it would get if it were open. Otherwise it could never
open again.
"""

from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, distributed
from torch.autograd import Function

from search.errors import UsageError
from spaces.autograd import applied, refuse_second_derivatives
from spaces.passes.chosen import EAGER, passes_for
from spaces.passes.memory import in_order, order_of
from spaces.passes.passes import Affine, Codes, Moments, Passes, Running, Saved, Sum, Way, by_channel

SLICE = 4  # every fourth sample serves the step's gradient
SMALL = 2**16  # elements
LANES = 16  # float32 numbers in a vector


class BatchNorm(Protocol):
    """What is read of a spaces.blocks.norm.Norm, which this module may not import."""

    weight: Any
    bias: Any
    running_mean: Tensor
    running_var: Tensor
    eps: float
    momentum: float
    training: bool
    frozen: bool


class Scales(NamedTuple):
    """What a norm multiplies by and adds, (C,) each; spaces.quantizers.scales makes it.

    Attributes:
        scale, shift: of the normalised tensor in units of the step, 0 of closed channels. Their gradients are those of
            gamma and beta of open channels.
        open_scale, open_shift: the same as if all channels were open.
        gain: gamma, 0 of closed channels.
    """

    scale: Tensor
    shift: Tensor
    open_scale: Tensor
    open_shift: Tensor
    gain: Tensor


def _part_of(x: Tensor) -> slice:
    """The samples that serve the step's gradient."""
    every = SLICE if len(x) >= 2 * SLICE else 1
    return slice(-_samples_before(x) % every, None, every)


def _step_gradient(products: Tensor | None, keep: Tensor | None, step: Tensor, codes: Codes, part: slice) -> Tensor:
    """d loss / d log step. A closed channel is 0 whatever the step is, so it has no part in it."""
    assert products is not None
    total = products.sum() if keep is None else products.sum(_others(products)).dot(keep)
    scale: float | Tensor = part.step / (products[0].numel() * codes.spread) ** 0.5
    return total * step * (scale.to(total.dtype) if isinstance(scale, Tensor) else scale)


def _samples_before(v: Tensor) -> int:
    """How many samples of the whole batch other processes have before the first one here, if each has as many."""
    return distributed.get_rank() * len(v) if distributed.is_available() and distributed.is_initialized() else 0


def _others(x: Tensor) -> list[int]:
    """All dimensions but the channels'."""
    return [d for d in range(x.dim()) if d != 1]


def _passes_for(x: Sum, keep: Tensor | None, step: Tensor | None) -> Passes:
    if x.plus is None or x.plus.dim() == 1:
        return passes_for(x.x, x.plus, keep, step)
    return passes_for(x.x, keep, step) if x.plus.dtype is x.x.dtype else EAGER


class _Tail(Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        plus: Tensor | None,
        keep: Tensor | None,
        step: Tensor | None,
        codes: Codes,
        part: slice | None,
    ) -> Tensor:
        ctx.passes, ctx.codes, ctx.part = _passes_for(Sum(x, plus), keep, step), codes, part
        ctx.of_channels, ctx.order = plus is not None and plus.dim() == 1, order_of(x)
        out: Tensor
        saved: Saved
        if ctx.needs_input_grad[2]:  # x stays, of which the mask has its gradient
            out, saved = ctx.passes.clamped(Sum(x, plus), keep, step, codes), (x,)
        else:
            out, saved = ctx.passes.clamped_and_saved(Sum(x, plus), keep, step, codes, part)
        ctx.save_for_backward(keep, step, *saved)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        refuse_second_derivatives()
        keep, step, *saved = ctx.saved_tensors
        grad = in_order(grad, ctx.order)
        dx, products = ctx.passes.clamped_back(grad, tuple(saved), step, ctx.codes, ctx.part)
        d_step = None if ctx.part is None else _step_gradient(products, keep, step, ctx.codes, ctx.part)
        d_keep = (dx * saved[0]).sum(_others(dx)) if ctx.needs_input_grad[2] else None
        if keep is not None:
            dx = dx * by_channel(keep, dx)
        d_plus = None
        if ctx.needs_input_grad[1]:
            d_plus = dx.sum(_others(dx)) if ctx.of_channels else dx
        return dx, d_plus, d_keep, d_step, None, None


def _normalize(
    x: Tensor, norm: BatchNorm, affine: Affine, step: Tensor | None, codes: Codes, training: bool
) -> tuple[Tensor, Moments]:
    """The norm of x, on the grid, and the moments that it was made with.

    torch's own norm sums element by element on CPUs, unless whole vectors of channels lie side by side in memory. That
    is right for small tensors and slow for large ones.
    """
    passes = passes_for(x, *affine, norm.running_mean, norm.running_var, step)
    running = Running(norm.running_mean, norm.running_var, norm.momentum, norm.eps)
    if training and (x.is_cuda or x.numel() < SMALL or _native_is_fast(x)):
        return passes.trained(x, running, affine, step, codes)
    mean, variance = _statistics(x, norm) if training else (norm.running_mean.clone(), norm.running_var)
    out = passes.normalized(x, running._replace(mean=mean, variance=variance), affine, step, codes)
    return out, Moments(mean, (variance + norm.eps).rsqrt())


def refuse_one_value(x: Tensor) -> None:
    """Raises UsageError for a batch that has no variance."""
    if x.numel() == x.shape[1]:
        raise UsageError(
            f"batch norm: one value a channel in a batch of shape {tuple(x.shape)}; two are needed in training. "
            "Use a larger train.batch_size."
        )


def _native_is_fast(x: Tensor) -> bool:
    return x.shape[1] % LANES == 0 and x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last)


def _statistics(x: Tensor, norm: BatchNorm) -> tuple[Tensor, Tensor]:
    """Mean and variance (C,) of a batch. The running ones are updated."""
    mean = x.mean(_others(x))
    variance = (x - by_channel(mean, x)).square_().mean(_others(x))
    count = x.numel() // x.shape[1]
    norm.running_mean.lerp_(mean, norm.momentum)
    norm.running_var.lerp_(variance * (count / (count - 1)), norm.momentum)
    return mean, variance


def _of_batch(x: Tensor, norm: BatchNorm) -> Moments:
    """The moments of the batch. The running statistics are updated."""
    mean, variance = _statistics(x, norm)
    return Moments(mean, (variance + norm.eps).rsqrt())


class _NormTail(Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        scale: Tensor,
        shift: Tensor,
        step: Tensor | None,
        scales: Scales,
        norm: BatchNorm,
        training: bool,
        renormalized: bool,
        codes: Codes,
        keep: Tensor | None,
    ) -> Tensor:
        if training or renormalized:
            refuse_one_value(x)
        out, moments = _normalize(x, norm, Affine(scale, shift), step, codes, training)
        batch = _of_batch(x, norm) if renormalized else (None, None)
        ctx.save_for_backward(x, *scales[2:], keep, step, *moments, *batch)
        ctx.training, ctx.codes = training, codes
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        refuse_second_derivatives()
        x, scale, shift, gain, keep, step, mean, inverse, *batch = ctx.saved_tensors
        moments, affine = Moments(mean, inverse), Affine(scale, shift)
        part = _part_of(x) if ctx.needs_input_grad[3] else None
        own, r, d = moments, None, None
        if batch[0] is not None:
            own = Moments(*batch)
            r, d = _renormalization(moments, own)
            gain = gain * r
        way = Way((moments, affine), own, gain, of_batch=ctx.training or r is not None)
        passes = passes_for(x, *way.moments, *affine, gain)
        dx, d_scale, d_shift, products = passes.norm_back(grad, x, way, ctx.codes, part)
        if r is not None and d is not None:
            d_scale = r * d_scale + d * d_shift
        d_step = None if part is None else _step_gradient(products, keep, step, ctx.codes, part)
        return dx, d_scale, d_shift, d_step, *(None,) * 6


def _renormalization(running: Moments, batch: Moments) -> tuple[Tensor, Tensor]:
    """r and d, which are constants (arXiv 1702.03275, section 3).

    (x - running mean) / running deviation = r * (x - batch mean) / batch deviation + d.
    """
    return running.inverse / batch.inverse, (batch.mean - running.mean) * running.inverse


def tail(x: Sum, keep: Tensor | None, step: Tensor | None, codes: Codes) -> Tensor:
    """Channel mask, clamp and quantization of x (N, C, ...).

    Args:
        keep: (C,), or None.
        step: (), whose gradient is that of its logarithm, see spaces.quantizers.scales; None leaves only the clamp.
    """
    if not torch.is_grad_enabled():
        return _passes_for(x, keep, step).clamped(x, keep, step, codes)
    if keep is not None and keep.requires_grad:
        x = Sum(x.made())  # of which the mask has its gradient
    learns = step is not None and step.requires_grad
    return applied(_Tail, *x, keep, step, codes, _part_of(x.x) if learns else None)


def norm_tail(
    x: Tensor,
    norm: BatchNorm,
    scales: Scales,
    keep: Tensor | None,
    step: Tensor | None,
    codes: Codes,
    *,
    renormalized: bool = False,
) -> Tensor:
    """Batch norm, channel mask, clamp and quantization of x (N, C, ...).

    Args:
        norm: a spaces.blocks.norm.Norm. Its statistics are updated where it is in training and not frozen.
        scales: those of the norm, the mask and the step.
        keep, step: as in `tail`.
        renormalized: whether such a norm has the values of its running statistics and the gradients of those of the
            batch, see spaces.blocks.norm.
    """
    training = norm.training and not norm.frozen
    forms = training and not renormalized, training and renormalized
    keep = None if keep is None else keep.detach()
    return applied(_NormTail, x, scales.scale, scales.shift, step, scales, norm, *forms, codes, keep)
