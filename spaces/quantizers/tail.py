"""What follows a convolution, as one autograd node: batch norm, channel mask, clamp, quantization.

This is where a quantized training step spends its time. So the node saves what plain training saves, which is the
convolution's output, and computes the rest again on the way back. The gradient of the step (LSQ, arXiv 1902.08153, eq.
3) is summed over every fourth sample and scaled up, since it is only one number for a layer. The mask of a closed
channel gets the gradient that it would get if it were open. Otherwise it could never open again.

torch's comparisons, `where`, and products with more than one broadcast factor run element by element on CPUs. What is
used here runs on vectors.
"""

from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, distributed
from torch.autograd import Function

from search.errors import UsageError
from spaces.autograd import applied

SLICE = 4  # every fourth sample serves the step's gradient
EDGE = 2.0**-20  # what lies on a bound counts as inside; torch's kernels cut there
SMALL = 2**16  # elements
LANES = 16  # float32 numbers in a vector
aten = torch.ops.aten


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


class Codes(NamedTuple):
    """Bounds of the codes relative to the zero point. Without quantization they are those of the value itself."""

    low: float
    high: float


def _to_grid_(v: Tensor, step: Tensor | None, codes: Codes) -> Tensor:
    """v = x / step, clamped and put on the grid, or only clamped where there is no step. v is overwritten."""
    return v.clamp_(*codes) if step is None else v.round_().clamp_(*codes).mul_(step)


def _cut(grad: Tensor, v: Tensor, codes: Codes, out: Tensor) -> Tensor:
    """The gradient where v lies within the bounds or on them, and 0 elsewhere. It is written to `out`, which may be v.

    A closed channel reaches a sum or a pool behind it as zeros, which lie on the bound of the ReLU. If the gradient
    were 0 there, the channel would never open again.
    """
    low, high = codes.low - EDGE, codes.high + EDGE * max(1.0, codes.high)
    aten.hardtanh_backward.grad_input(grad, v, low, high, grad_input=out)
    return out


def _step_gradient(grad: Tensor, v: Tensor, keep: Tensor | None, step: Tensor, codes: Codes) -> Tensor:
    """d loss / d log step of v = x / step, from a slice of the batch: round(v) - v inside, the bound outside.

    A closed channel is 0 whatever the step is, so it has no part in it.
    """
    every = SLICE if len(v) >= 2 * SLICE else 1
    first = -_samples_before(v) % every
    v, grad = v[first::every], grad[first::every]
    slope = v.clamp(*codes).round_().mul_(grad)
    slope.addcmul_(v, _cut(grad, v, codes, torch.empty_like(slope)), value=-1)
    total = slope.sum() if keep is None else slope.sum(_others(slope)).dot(keep)
    scale: float = every / (v[0].numel() * max(codes.high, 1.0)) ** 0.5
    return total * step * scale


def _samples_before(v: Tensor) -> int:
    """How many samples of the whole batch other processes have before the first one here, if each has as many."""
    return distributed.get_rank() * len(v) if distributed.is_available() and distributed.is_initialized() else 0


def _others(x: Tensor) -> list[int]:
    """All dimensions but the channels'."""
    return [d for d in range(x.dim()) if d != 1]


def _channels(vector: Tensor, like: Tensor) -> Tensor:
    return vector.view(1, -1, *(1,) * (like.dim() - 2))


class _Tail(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, keep: Tensor | None, step: Tensor | None, codes: Codes) -> Tensor:
        ctx.save_for_backward(x, keep, step)
        ctx.codes = codes
        y = x if keep is None else x * _channels(keep, x)
        return y.clamp(*codes) if step is None else _to_grid_(y / step, step, codes)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None, None]:
        x, keep, step = ctx.saved_tensors
        v = x if step is None else x / step
        d_keep, d_step = None, None
        if ctx.needs_input_grad[2]:
            d_step = _step_gradient(grad, v, keep, step, ctx.codes)
        dx = _cut(grad, v, ctx.codes, torch.empty_like(x) if v is x else v)
        if ctx.needs_input_grad[1]:
            d_keep = (dx * x).sum(_others(x))
        if keep is not None:
            dx = dx * _channels(keep, x)
        return dx, d_keep, d_step, None


def _normalize(
    x: Tensor, norm: BatchNorm, scale: Tensor, shift: Tensor, training: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """scale * (x - mean) / sqrt(variance + eps) + shift, the mean, and 1 / sqrt(variance + eps), (C,).

    torch's own norm sums element by element on CPUs, unless whole vectors of channels lie side by side in memory. That
    is right for small tensors and slow for large ones.
    """
    if not training:
        mean, variance = norm.running_mean.clone(), norm.running_var
    elif x.is_cuda or x.numel() < SMALL or _native_is_fast(x):
        running = norm.running_mean, norm.running_var
        return torch.native_batch_norm(x, scale, shift, *running, True, norm.momentum, norm.eps)
    else:
        mean, variance = _statistics(x, norm)
    return _apply(x, mean, variance, scale, shift, norm.eps), mean, (variance + norm.eps).rsqrt()


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
    variance = (x - _channels(mean, x)).square_().mean(_others(x))
    count = x.numel() // x.shape[1]
    norm.running_mean.lerp_(mean, norm.momentum)
    norm.running_var.lerp_(variance * (count / (count - 1)), norm.momentum)
    return mean, variance


def _apply(x: Tensor, mean: Tensor, variance: Tensor, scale: Tensor, shift: Tensor, eps: float) -> Tensor:
    return torch.native_batch_norm(x, scale, shift, mean, variance, False, 0.0, eps)[0]


class _Moments(NamedTuple):
    """Mean and 1 / sqrt(variance + eps), (C,) each."""

    mean: Tensor
    inverse: Tensor


def _of_batch(x: Tensor, norm: BatchNorm) -> _Moments:
    """The moments of the batch. The running statistics are updated."""
    mean, variance = _statistics(x, norm)
    return _Moments(mean, (variance + norm.eps).rsqrt())


Gradients = tuple[Tensor | None, Tensor, Tensor]  # of x, where it is needed, gamma and beta


def _norm_gradients(
    ctx: Any, grad: Tensor, x: Tensor, gain: Tensor, by: _Moments, variance: Tensor, of_batch: bool
) -> Gradients:
    """Where the moments are not those of the batch they are constants. variance: inverse^-2."""
    wanted = [ctx.needs_input_grad[0], True, True]
    gradients: Gradients = aten.native_batch_norm_backward(
        grad, x, gain, by.mean, variance, by.mean, by.inverse, of_batch, 0.0, wanted
    )
    return gradients


def _renorm_gradients(ctx: Any, grad: Tensor, x: Tensor, gain: Tensor, running: _Moments, batch: _Moments) -> Gradients:
    """The gradients of batch renormalization (arXiv 1702.03275, section 3).

    (x - running mean) / running deviation = r * (x - batch mean) / batch deviation + d, where r and d are constants.
    """
    r, d = running.inverse / batch.inverse, (batch.mean - running.mean) * running.inverse
    dx, d_scale, d_shift = _norm_gradients(ctx, grad, x, gain * r, batch, batch.inverse.pow(-2), of_batch=True)
    return dx, r * d_scale + d * d_shift, d_shift


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
        v, mean, inverse = _normalize(x, norm, scale, shift, training)
        of_batch = _of_batch(x, norm) if renormalized else (None, None)
        ctx.save_for_backward(x, *scales[2:], keep, step, mean, inverse, *of_batch)
        ctx.training, ctx.codes = training, codes
        return _to_grid_(v, step, codes)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, scale, shift, gain, keep, step, mean, inverse, *of_batch = ctx.saved_tensors
        variance = inverse.pow(-2)  # eps included
        v = _apply(x, mean, variance, scale, shift, 0.0)
        d_step = _step_gradient(grad, v, keep, step, ctx.codes) if ctx.needs_input_grad[3] else None
        cut = _cut(grad, v, ctx.codes, v)
        moments = _Moments(mean, inverse)
        if of_batch[0] is None:
            dx, d_scale, d_shift = _norm_gradients(ctx, cut, x, gain, moments, variance, ctx.training)
        else:
            dx, d_scale, d_shift = _renorm_gradients(ctx, cut, x, gain, moments, _Moments(*of_batch))
        return dx, d_scale, d_shift, d_step, *(None,) * 6


def tail(x: Tensor, keep: Tensor | None, step: Tensor | None, codes: Codes) -> Tensor:
    """Channel mask, clamp and quantization of x (N, C, ...).

    Args:
        keep: (C,), or None.
        step: (), whose gradient is that of its logarithm, see spaces.quantizers.scales; None leaves only the clamp.
    """
    return applied(_Tail, x, keep, step, codes)


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
