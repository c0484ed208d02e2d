"""Weights: symmetric codes, one learned step per precision and output channel (LSQ), mixed by a choice a channel."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.autograd import Function

from spaces.quantizers.calibrate import weight_steps

WIDTHS = tuple(range(2, 9))


def _rows(w: Tensor) -> Tensor:
    return w.flatten(1)


class _Mixed(Function):
    """W^ = sum_p share_p Q_p(W) with share one-hot: forward computes the picked precision alone.

    Backward as methods.md, section 6: d share_p = <g, Q_p(W)>; every precision's step learns in proportion to its
    probability, so a step is in tune when its precision is picked. Without gradients for the shares, only the picked
    precision is looked at.
    """

    @staticmethod
    def forward(ctx, w, log_step, bound, share, probability):
        picked = share.argmax(1, keepdim=True).t()  # (1, C)
        step = log_step.gather(0, picked)[0].exp()[:, None]
        limit = bound.gather(0, picked)[0][:, None]
        ctx.save_for_backward(w, log_step, bound, probability, picked)
        codes = torch.clamp(_rows(w) / step, -limit, limit).round_()
        return codes.mul_(step).view_as(w)

    @staticmethod
    def backward(ctx, grad):
        w, log_step, bound, probability, picked = ctx.saved_tensors
        rows, g = _rows(w), _rows(grad)
        step = log_step.exp()
        dw, d_log, d_share = torch.empty_like(rows), [], []
        fan = rows.shape[1]
        for p in range(len(step)):
            s, limit = step[p][:, None], bound[p][:, None]
            v = rows / s
            inside = torch.clamp(v, -limit, limit)
            within = inside == v
            codes = inside.round_()
            d_share.append((codes * g).sum(1) * step[p])
            slope = codes.sub_(v.mul_(within)).mul_(g).sum(1)
            d_log.append(slope * step[p] * probability[:, p] * (fan * bound[p]).rsqrt())
            chosen = picked[0] == p
            dw = torch.where((chosen[:, None]), g * within, dw) if p else g * within
        return dw.view_as(w), torch.stack(d_log), None, torch.stack(d_share, 1), None


class _Single(Function):
    """Q(W) with one precision a channel."""

    @staticmethod
    def forward(ctx, w, log_step, bound):
        step = log_step[0].exp()[:, None]
        limit = bound[0][:, None]
        ctx.save_for_backward(w, log_step, bound)
        return torch.clamp(_rows(w) / step, -limit, limit).round_().mul_(step).view_as(w)

    @staticmethod
    def backward(ctx, grad):
        w, log_step, bound = ctx.saved_tensors
        step, limit = log_step[0].exp()[:, None], bound[0][:, None]
        g = _rows(grad)
        v = _rows(w) / step
        inside = torch.clamp(v, -limit, limit)
        within = inside == v
        dw = g * within
        slope = inside.round_().sub_(v.mul_(within)).mul_(g).sum(1)
        d_log = slope * step[:, 0] * (v.shape[1] * bound[0]).rsqrt()
        return dw.view_as(grad), d_log[None], None


class WeightQuantizer(nn.Module):
    """Codes in [-(2^(b-1) - 1), 2^(b-1) - 1], one step per (precision, output channel).

    Args:
        widths: precisions on offer, ascending; one row of steps each. Decided: one row, `assigned` bits a channel.
        channels: output channels.
    """

    def __init__(self, widths: Sequence[int], channels: int, assigned: Sequence[int] | None = None) -> None:
        super().__init__()
        wrong = sorted(set(widths) - set(WIDTHS))
        if wrong:
            raise ValueError(f"weight bits {wrong}: possible are {list(WIDTHS)} (0, pruned, is a gate's business).")
        self.widths = tuple(widths)
        bits = (
            torch.tensor([assigned])
            if assigned is not None
            else torch.tensor(self.widths)[:, None].expand(-1, channels)
        )
        self.register_buffer("bits", bits.clone().long())  # (P, C)
        self.register_buffer("bound", (2.0 ** (self.bits - 1) - 1), persistent=False)
        self.log_step = nn.Parameter(torch.full(bits.shape, -4.0))

    def forward(self, w: Tensor, share: Tensor | None, probability: Tensor | None) -> Tensor:
        """Fake-quantized weights.

        Args:
            w: (C, ...); share: (C, P) or (1, P), rows sum to 1; None where there is one precision.
            probability: the softmax behind share, without gradient.
        """
        if share is None:
            return _Single.apply(w, self.log_step, self.bound)
        share, probability = (t.expand(len(w), -1) for t in (share, probability))
        if bool((share.amax(1) < 1).any()):  # soft mixture
            return self._soft(w, share)
        return _Mixed.apply(w, self.log_step, self.bound, share, probability)

    def _soft(self, w: Tensor, share: Tensor) -> Tensor:
        shape = (-1, *(1,) * (w.dim() - 1))
        each = [_Single.apply(w, s[None], b[None]) for s, b in zip(self.log_step, self.bound, strict=True)]
        return sum(q * share[:, p].view(shape) for p, q in enumerate(each))

    @torch.no_grad()
    def calibrate(self, w: Tensor, method: str) -> None:
        for p in range(len(self.bound)):
            self.log_step[p].copy_(weight_steps(_rows(w), self.bound[p], method).log())

    @torch.no_grad()
    def integers(self, w: Tensor) -> tuple[Tensor, Tensor]:
        """Of a decided layer: codes (float, like w) and steps (C,)."""
        if len(self.log_step) != 1:
            raise RuntimeError("weights: integers() before the precisions were decided; call Space.decide first.")
        step = self.log_step[0].exp()
        limit = self.bound[0][:, None]
        return torch.clamp(_rows(w) / step[:, None], -limit, limit).round_().view_as(w), step
