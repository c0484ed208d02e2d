"""Weights: symmetric codes with a learned step for each precision and output channel (LSQ), mixed by a choice.

Codes of one bit are -1 and 1, the sign (XNOR-Net, arXiv 1603.05279). Their gradients are those of a clamp to one step.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd import Function

from search.errors import UsageError
from spaces.autograd import applied
from spaces.quantizers.calibrate import weight_steps
from spaces.quantizers.tail import EDGE

WIDTHS = tuple(range(1, 9))
ONE_BIT = 0.5  # the bound that stands for codes of one bit
aten = torch.ops.aten


def _rows(w: Tensor) -> Tensor:
    return w.flatten(1)


def _codes(rows: Tensor, step: Tensor, bound: Tensor, one_bit: bool) -> Tensor:
    """round(w / step) within the bound. rows (C, F); step, bound (C,).

    Args:
        one_bit: whether there are bounds of 1/2 among them. The codes of those rows are signs.
    """
    limit = bound[:, None]
    codes = torch.minimum(torch.maximum((rows / step[:, None]).round_(), -limit), limit)
    return torch.where(limit == ONE_BIT, _sign(rows), codes) if one_bit else codes


def _sign(x: Tensor) -> Tensor:
    """1 or -1, and 1 for 0."""
    return torch.where(x < 0, -torch.ones_like(x), torch.ones_like(x))


def _backward(rows: Tensor, g: Tensor, step: Tensor, bound: Tensor, one_bit: bool) -> tuple[Tensor, Tensor, Tensor]:
    """For Q_p(W) of each of P precisions: the gradient of W (P, C, F), <g, Q_p(W)> and d loss / d log step (P, C).

    The last one (LSQ, arXiv 1902.08153, eq. 3) sums g times round(v) - v inside and the bound outside, of v = w / step.

    Args:
        rows, g: (C, F). step, bound: (P, C).
    """
    signs = bound == ONE_BIT if one_bit else None
    bound = bound.ceil() if one_bit else bound
    limit = bound[..., None]
    v = rows / (step * bound)[..., None]  # within -1 .. 1 inside
    value = v.clamp(-1, 1).mul_(limit).round_()
    if signs is not None:
        value = torch.where(signs[..., None], _sign(v), value)
    value = value.mul_(g).sum(-1)
    dw = aten.hardtanh_backward(g.expand_as(v), v, -1 - EDGE, 1 + EDGE)
    slope = value - v.mul_(dw).sum(-1) * bound
    return dw, value * step, slope * step * (rows.shape[1] * bound).rsqrt()


class _Mixed(Function):
    """W^ = sum_p share_p Q_p(W) with a one-hot share. The forward pass computes the picked precision alone.

    The backward pass is that of docs/methods.md, section 6: d share_p = <g, Q_p(W)>; the step of every precision learns
    in proportion to its probability, so a step is in tune when its precision is picked.
    """

    @staticmethod
    def forward(
        ctx: Any, rows: Tensor, log_step: Tensor, bound: Tensor, share: Tensor, probability: Tensor, one_bit: bool
    ) -> Tensor:
        ctx.one_bit = one_bit
        picked = share.argmax(1)[None]  # (1, C)
        step = log_step.gather(0, picked)[0].exp()
        ctx.save_for_backward(rows, log_step, bound, probability, picked)
        return _codes(rows, step, bound.gather(0, picked)[0], one_bit).mul_(step[:, None])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None, Tensor, None, None]:
        rows, log_step, bound, probability, picked = ctx.saved_tensors
        each, d_share, d_log = _backward(rows, grad, log_step.exp(), bound, ctx.one_bit)
        dw = each.gather(0, picked[..., None].expand(1, *rows.shape))[0]
        return dw, d_log * probability.t(), None, d_share.t(), None, None


class _Single(Function):
    """Q(W) with one precision a channel."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, log_step: Tensor, bound: Tensor, one_bit: bool) -> Tensor:
        ctx.one_bit = one_bit
        ctx.save_for_backward(rows, log_step, bound)
        step = log_step[0].exp()
        return _codes(rows, step, bound[0], one_bit).mul_(step[:, None])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None, None]:
        rows, log_step, bound = ctx.saved_tensors
        dw, _, d_log = _backward(rows, grad, log_step.exp(), bound, ctx.one_bit)
        return dw[0], d_log, None, None


class WeightQuantizer(nn.Module):
    """Codes in [-(2^(b-1) - 1), 2^(b-1) - 1], or -1 and 1 for one bit, with a step for each precision and channel.

    Args:
        widths: precisions on offer, ascending, each with a row of steps.
        channels: number of output channels.
        assigned: bits of each channel of a decided layer, which has one row of steps.
    """

    bits: Tensor
    bound: Tensor

    def __init__(self, widths: Sequence[int], channels: int, assigned: Sequence[int] | None = None) -> None:
        super().__init__()
        wrong = sorted(set(widths) - set(WIDTHS))
        if wrong:
            raise UsageError(f"weight bits {wrong}: possible are {list(WIDTHS)} (0, pruned, is a gate's business).")
        self.widths = tuple(widths)
        bits = (
            torch.tensor([assigned])
            if assigned is not None
            else torch.tensor(self.widths)[:, None].expand(-1, channels)
        )
        self.register_buffer("bits", bits.clone().long())  # (P, C)
        levels: Tensor = 2.0 ** (self.bits - 1)
        self.register_buffer("bound", (levels - 1).clamp_min(ONE_BIT), persistent=False)
        self.one_bit = 1 in (self.widths if assigned is None else assigned)
        self.log_step = nn.Parameter(torch.full(bits.shape, -4.0))

    def forward(self, w: Tensor, share: Tensor | None, probability: Tensor | None, soft: bool = False) -> Tensor:
        """Fake-quantized weights, of the shape of w. WeightUse says what the arguments are."""
        return quantized([WeightUse(self, w, share, probability, soft)])[0]

    @torch.no_grad()
    def calibrate(self, w: Tensor, method: str) -> None:
        for p in range(len(self.bound)):
            rows = _rows(w)
            mean = rows.abs().mean(1).clamp_min(torch.finfo(rows.dtype).tiny * 2**24)
            steps = torch.where(self.bound[p] == ONE_BIT, mean, weight_steps(rows, self.bound[p].ceil(), method))
            self.log_step[p].copy_(steps.log())

    @torch.no_grad()
    def inherit(self, old: "WeightQuantizer", rows: Tensor) -> None:
        """Takes the steps of the channels that stay, each at the precision that the channel now has.

        Args:
            rows: (C,), indices of the channels in the old quantizer.
        """
        precision = [old.widths.index(bits) if old.widths else 0 for bits in self.bits[0].tolist()]
        self.log_step.copy_(old.log_step.cpu()[precision, rows][None])

    @torch.no_grad()
    def integers(self, w: Tensor) -> tuple[Tensor, Tensor]:
        """Codes (float, of the shape of w) and steps (C,) of a decided layer."""
        if len(self.log_step) != 1:
            raise RuntimeError("weights: integers() before the precisions were decided; call Space.decide first.")
        step = self.log_step[0].exp()
        return _codes(_rows(w), step, self.bound[0], self.one_bit).view_as(w), step


class WeightUse(NamedTuple):
    """Weights to quantize in a pass.

    Attributes:
        weight: (C, ...).
        share: (C, P) or (1, P), whose rows sum to 1; None where there is one precision.
        probability: the softmax behind the share, without gradient; None: only steps that are in use learn.
        soft: whether shares are mixtures. Otherwise each row has a 1.
    """

    quantizer: WeightQuantizer
    weight: Tensor
    share: Tensor | None
    probability: Tensor | None
    soft: bool = False


def quantized(layers: Sequence[WeightUse]) -> list[Tensor]:
    """Fake-quantized weights of each layer, in one pass over all with the same fan-in and number of precisions."""
    out: dict[int, Tensor] = {}
    forms: dict[tuple[int, int, bool, bool], list[int]] = {}
    for i, layer in enumerate(layers):
        form = (layer.weight[0].numel(), len(layer.quantizer.bound), layer.share is None, layer.soft)
        forms.setdefault(form, []).append(i)
    for members in forms.values():
        alike = [layers[i] for i in members]
        parts = _quantized_rows(alike).split([len(layer.weight) for layer in alike])
        for i, layer, part in zip(members, alike, parts, strict=True):
            out[i] = part.view_as(layer.weight)
    return [out[i] for i in range(len(layers))]


def _quantized_rows(layers: Sequence[WeightUse]) -> Tensor:
    rows = torch.cat([_rows(layer.weight) for layer in layers])
    log_step = torch.cat([layer.quantizer.log_step for layer in layers], 1)
    bound = torch.cat([layer.quantizer.bound for layer in layers], 1)
    one_bit = any(layer.quantizer.one_bit for layer in layers)
    if layers[0].share is None:
        return applied(_Single, rows, log_step, bound, one_bit)
    share = _by_channel([layer.share for layer in layers if layer.share is not None], layers)
    if layers[0].soft:
        each = [applied(_Single, rows, s[None], b[None], one_bit) for s, b in zip(log_step, bound, strict=True)]
        return sum((q * share[:, p, None] for p, q in enumerate(each)), torch.zeros(()))
    probabilities = [layer.probability for layer in layers if layer.probability is not None]
    if probabilities and torch.is_grad_enabled():
        probability = _by_channel(probabilities, layers)
        return applied(_Mixed, rows, log_step, bound, share, probability, one_bit)
    picked = share.argmax(1)[None]
    return applied(_Single, rows, log_step.gather(0, picked), bound.gather(0, picked), one_bit)


def _by_channel(tensors: Sequence[Tensor], layers: Sequence[WeightUse]) -> Tensor:
    """(channels of all layers, P)."""
    return torch.cat([t.expand(len(layer.weight), -1) for layer, t in zip(layers, tensors, strict=True)])
