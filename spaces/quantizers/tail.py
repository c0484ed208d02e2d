"""What follows a convolution, as one autograd node: batch norm, channel mask, clamp, quantization.

This is where a quantized training step spends its time, so the node saves what plain training saves, the convolution's
output, and computes the rest again on the way back: one multiply-add per element against a stored tensor. The step's
gradient (LSQ, arXiv 1902.08153, eq. 3) is summed over every fourth sample and scaled up; it is one number a layer.
A closed channel's mask gets the gradient that it would get if it were open, or it could never open again.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.autograd import Function

SLICE = 4  # every fourth sample serves the step's gradient
EDGE = 2.0**-20  # what lies on a bound counts as inside; torch's kernels cut there
aten = torch.ops.aten


class Codes(NamedTuple):
    """Bounds of the codes relative to the zero point; without quantization those of the value itself."""

    low: float
    high: float


def _quantize_(x: Tensor, log_step: Tensor | None, codes: Codes) -> Tensor:
    """x, which is overwritten, clamped and put on the grid."""
    if log_step is None:
        return x.clamp_(codes.low, codes.high) if codes.high < float("inf") else _floor_(x, codes.low)
    step = log_step.exp()
    return x.mul_(step.reciprocal()).round_().clamp_(codes.low, codes.high).mul_(step)


def _floor_(x: Tensor, low: float) -> Tensor:
    return x.relu_() if low == 0 else x


def _cut(grad: Tensor, v: Tensor, codes: Codes) -> Tensor:
    """Gradient where v lies within the bounds or on them, 0 elsewhere.

    A closed channel reaches a sum or a pool behind it as zeros, on the bound of the ReLU: cut there, it never reopens.
    """
    if codes.high < float("inf"):
        return aten.hardtanh_backward(grad, v, codes.low - EDGE, codes.high + EDGE)
    return aten.threshold_backward(grad, v, -EDGE) if codes.low == 0 else grad


def _step_gradient(grad: Tensor, v: Tensor, keep: Tensor | None, log_step: Tensor, codes: Codes) -> Tensor:
    """d loss / d log step of v = x / step, from a slice of the batch: round(v) - v inside, the bound outside.

    A closed channel is 0 whatever the step: it has no say.
    """
    every = SLICE if len(v) >= 2 * SLICE else 1
    v, grad = v[::every], grad[::every]
    grad = grad if keep is None else grad * _channels(keep, grad)
    inside = v.clamp(codes.low, codes.high)
    slope = inside.round().sub_(torch.where(inside == v, v, 0.0))
    scale = every / (v[0].numel() * max(codes.high, 1.0)) ** 0.5
    return torch.dot(slope.mul_(grad).flatten(), torch.ones_like(slope).flatten()) * log_step.exp() * scale


def _channels(vector: Tensor, like: Tensor) -> Tensor:
    return vector.view(1, -1, *(1,) * (like.dim() - 2))


class _Tail(Function):
    @staticmethod
    def forward(ctx, x, keep, log_step, codes: Codes):
        ctx.save_for_backward(x, keep, log_step)
        ctx.codes = codes
        y = x.clone() if keep is None else x * _channels(keep, x)
        return _quantize_(y, log_step, codes)

    @staticmethod
    def backward(ctx, grad):
        x, keep, log_step = ctx.saved_tensors
        v = x if log_step is None else x * log_step.exp().reciprocal()
        d_step = _step_gradient(grad, v, keep, log_step, ctx.codes) if ctx.needs_input_grad[2] else None
        dx, d_keep = _cut(grad, v, ctx.codes), None
        if ctx.needs_input_grad[1]:
            d_keep = (dx * x).sum([d for d in range(x.dim()) if d != 1])
        if keep is not None:
            dx = dx * _channels(keep, x)
        return dx, d_keep, d_step, None


class _NormTail(Function):
    @staticmethod
    def forward(ctx, x, gamma, beta, keep, log_step, norm, training: bool, codes: Codes):
        scale, shift = (gamma, beta) if keep is None else (gamma * keep, beta * keep)
        y, mean, inverse = torch.native_batch_norm(
            x, scale, shift, norm.running_mean, norm.running_var, training, norm.momentum, norm.eps
        )
        if not training:
            mean, inverse = norm.running_mean.clone(), (norm.running_var + norm.eps).rsqrt()
        ctx.save_for_backward(x, gamma, beta, keep, log_step, mean, inverse)
        ctx.training, ctx.eps, ctx.codes = training, norm.eps, codes
        return _quantize_(y, log_step, codes)

    @staticmethod
    def backward(ctx, grad):
        x, gamma, beta, keep, log_step, mean, inverse = ctx.saved_tensors
        factor = gamma * inverse
        offset = beta - mean * factor
        if log_step is not None:
            per_step = log_step.exp().reciprocal()
            factor, offset = factor * per_step, offset * per_step
        v = torch.addcmul(_channels(offset, x), x, _channels(factor, x))
        d_step = _step_gradient(grad, v, keep, log_step, ctx.codes) if ctx.needs_input_grad[4] else None
        grad = _cut(grad, v, ctx.codes)
        del v
        scale = gamma if keep is None else gamma * keep
        # In evaluation form the statistics are constants; mean and inverse stand in for the running ones.
        variance = inverse.square().reciprocal() - ctx.eps
        dx, d_scale, d_shift = aten.native_batch_norm_backward(
            grad, x, scale, mean, variance, mean, inverse, ctx.training, ctx.eps, [ctx.needs_input_grad[0], True, True]
        )
        if keep is None:
            return dx, d_scale, d_shift, None, d_step, None, None, None
        d_keep = d_scale * gamma + d_shift * beta
        return dx, d_scale * keep, d_shift * keep, d_keep, d_step, None, None, None


def tail(x: Tensor, keep: Tensor | None, log_step: Tensor | None, codes: Codes) -> Tensor:
    """Channel mask, clamp and quantization of x (N, C, ...)."""
    return _Tail.apply(x, keep, log_step, codes)


def norm_tail(x: Tensor, norm, keep: Tensor | None, log_step: Tensor | None, codes: Codes) -> Tensor:
    """Batch norm, channel mask, clamp and quantization of x (N, C, ...).

    Args:
        norm: spaces.norm.Norm; its statistics move where it is in training.
        keep: (C,) or None; log_step: () or None (then only the clamp).
    """
    training = norm.training and not norm.frozen
    return _NormTail.apply(x, norm.weight, norm.bias, keep, log_step, norm, training, codes)
