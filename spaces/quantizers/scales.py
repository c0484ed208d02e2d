"""What the tails of a pass multiply by: steps of activations, and scales and offsets of norms, made for all at once.

Each is a few numbers. Made one tail after another they would cost a pass more operators than its convolutions.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import Function

from spaces.autograd import applied_for_many
from spaces.quantizers.tail import BatchNorm, Scales


class _Steps(Function):
    """exp. What comes back is passed on as it is, since tails give the gradient of the logarithm."""

    @staticmethod
    def forward(ctx: Any, offsets: Sequence[Tensor] | None, *log_steps: Tensor) -> tuple[Tensor, ...]:
        ctx.set_materialize_grads(False)
        each = torch.stack(log_steps)
        each = each if offsets is None else each.add_(torch.stack(list(offsets)))
        steps = each.exp_().unbind()
        ctx.mark_non_differentiable(*(s for s, x in zip(steps, log_steps, strict=True) if not x.requires_grad))
        return steps

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        return None, *grads


def steps_of(log_steps: Sequence[Tensor], offsets: Sequence[Tensor] | None = None) -> tuple[Tensor, ...]:
    """(), the step of each, whose gradient is that of its logarithm, as `tail` and `norm_tail` give it.

    Args:
        log_steps: () each. offsets: constants that are added to them.
    """
    return applied_for_many(_Steps, offsets, *log_steps) if log_steps else ()


class NormUse(NamedTuple):
    """A norm in a pass.

    Attributes:
        keep: (C,), the mask of what follows it; None: all channels are open.
        step: (), of what follows it, as `steps_of` makes it; None: nothing is quantized.
    """

    norm: BatchNorm
    keep: Tensor | None
    step: Tensor | None


class _Scales(Function):
    """gamma / step and beta / step of all norms, with masks. Where there are masks, also both without, and gamma with.

    What comes back are the gradients of gamma and beta of open channels.
    """

    @staticmethod
    def forward(ctx: Any, keeps: Sequence[Tensor | None], steps: Sequence[Tensor | None], *tensors: Tensor) -> Any:
        """Args: tensors: gamma of each norm, beta of each, and the masks that there are."""
        count = len(keeps)
        ctx.set_materialize_grads(False)
        ctx.sizes = [len(gamma) for gamma in tensors[:count]]
        ctx.masked = [keep is not None for keep in keeps]
        gamma, beta = torch.cat(tensors[:count]), torch.cat(tensors[count : 2 * count])
        scale, shift = gamma, beta
        if any(step is not None for step in steps):
            one = gamma.new_ones(())
            each = [one if step is None else step for step in steps]
            by = torch.cat([step.expand(size) for step, size in zip(each, ctx.sizes, strict=True)])
            scale, shift = gamma / by, beta / by
        made, keep = [scale, shift], None
        if any(ctx.masked):
            ones = gamma.new_ones(max(ctx.sizes))
            each = [ones[:size] if keep is None else keep for keep, size in zip(keeps, ctx.sizes, strict=True)]
            keep = torch.cat(each)
            made = [scale * keep, shift * keep, scale, shift, gamma * keep]
        ctx.save_for_backward(gamma, beta, keep)
        parts = [part for whole in made for part in whole.split(ctx.sizes)]
        own = zip(tensors[:count], tensors[count : 2 * count], keeps, strict=True)
        fixed = [not any(t is not None and t.requires_grad for t in learned) for learned in own]
        still = [part for part, none in zip(parts[: 2 * count], 2 * fixed, strict=True) if none]
        ctx.mark_non_differentiable(*still, *parts[2 * count :])
        return tuple(parts)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Any, ...]:
        gamma, beta, keep = ctx.saved_tensors
        count = len(ctx.sizes)
        if keep is None:
            return None, None, *grads[: 2 * count]
        zeros = gamma.new_zeros(max(ctx.sizes))
        missing = [grad is None for grad in grads[:count]]
        each = zip(grads[: 2 * count], 2 * ctx.sizes, strict=True)
        given = [zeros[:size] if grad is None else grad for grad, size in each]
        d_scale, d_shift = torch.cat(given[:count]), torch.cat(given[count:])
        d_keep = (d_scale * gamma + d_shift * beta).split(ctx.sizes)
        found = [*(d_scale * keep).split(ctx.sizes), *(d_shift * keep).split(ctx.sizes)]
        own = [None if none else grad for grad, none in zip(found, 2 * missing, strict=True)]
        masks = zip(d_keep, ctx.masked, missing, strict=True)
        return None, None, *own, *(None if none else grad for grad, masked, none in masks if masked)


def scales_of(uses: Sequence[NormUse]) -> list[Scales]:
    """What `norm_tail` multiplies and adds, for each norm."""
    if not uses:
        return []
    keeps, steps = [use.keep for use in uses], [None if use.step is None else use.step.detach() for use in uses]
    tensors = [use.norm.weight for use in uses] + [use.norm.bias for use in uses]
    parts = applied_for_many(_Scales, keeps, steps, *tensors, *(keep for keep in keeps if keep is not None))
    count, gains = len(uses), tensors[: len(uses)]
    if len(parts) == 2 * count:  # no masks: all channels are open
        each = zip(parts[:count], parts[count:], gains, strict=True)
        return [Scales(scale, shift, scale, shift, gain) for scale, shift, gain in each]
    return [Scales(*parts[i::count]) for i in range(count)]
