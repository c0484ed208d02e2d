"""Weights: symmetric codes with a learned step for each precision and output channel (LSQ), mixed by a choice.

Codes of one bit are -1 and 1, the sign (XNOR-Net, arXiv 1603.05279). Their gradients are those of a clamp to one step.
"""

from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate
from math import prod
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd import Function

from search.errors import UsageError
from spaces.autograd import applied_for_many, refuse_second_derivatives
from spaces.constants import constant
from spaces.passes.channels import Channels, channels_and_fan_in, channels_of, in_shape
from spaces.passes.chosen import passes_for_weights
from spaces.passes.eager import codes_of
from spaces.passes.passes import ONE_BIT
from spaces.quantizers.calibrate import weight_steps

WIDTHS = tuple(range(1, 9))


def _rows(w: Tensor) -> Tensor:
    return w.flatten(1)


class _Flat(NamedTuple):
    """The weights of many layers as one flat tensor (N,), one layer after another, by ascending fan-in.

    Attributes:
        of: where the channels (C,) of all layers lie in it.
        shapes: of the weights of each layer.
        fan_in: (C,), weights of a channel.
        runs: (channels, fan-in) of layers in a row that have the same fan-in.
        by_layer: the places in (P, C), flattened, of the numbers of each layer (P, its channels), one behind another.
    """

    of: Channels
    shapes: tuple[torch.Size, ...]
    fan_in: Tensor
    runs: tuple[tuple[int, int], ...]
    by_layer: Tensor

    def sums(self, numbers: Tensor) -> Tensor:
        """(..., N) -> (..., C), sums over the weights of a channel."""
        each = numbers.split([channels * fan_in for channels, fan_in in self.runs], -1)
        return torch.cat([part.unflatten(-1, run).sum(-1) for part, run in zip(each, self.runs, strict=True)], -1)

    def used(self, made: Tensor) -> tuple[Tensor, ...]:
        """The weights of each layer, out of a flat tensor in the order in which they are used."""
        parts = made.split([shape.numel() for shape in self.shapes])
        return tuple(in_shape(*each) for each in zip(parts, self.shapes, self.of.taps, strict=True))


@lru_cache(maxsize=8)
def _flat(precisions: int, shapes: tuple[torch.Size, ...], device: torch.device) -> _Flat:
    """Args: shapes: of the weights of each layer."""
    with torch.inference_mode(False):  # what is kept serves passes that learn too
        sizes = [channels_and_fan_in(shape) for shape in shapes]
        total, ends = sum(c for c, _ in sizes), list(accumulate(c for c, _ in sizes))
        runs = tuple((sum(c for c, f in sizes if f == fan_in), fan_in) for fan_in in sorted({f for _, f in sizes}))
        places = torch.arange(precisions * total, device=device).view(precisions, total)
        by_layer = torch.cat([part.flatten() for part in places.tensor_split(ends[:-1], 1)])
        fan_in = torch.tensor([float(f) for c, f in sizes for _ in range(c)], device=device)
        return _Flat(channels_of(shapes, device), shapes, fan_in, runs, by_layer)


def _backward(
    flat: _Flat,
    weights: Sequence[Tensor],
    grads: Sequence[Tensor | None],
    step: Tensor,
    bound: Tensor,
    picked: Tensor | None,
    *,
    one_bit: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradient of W (N,), and for Q_p(W) of each of P precisions <g, Q_p(W)> and d loss / d log step, (P, C).

    The last one (LSQ, arXiv 1902.08153, eq. 3) sums g times round(v) - v inside and the bound outside, of v = w / step.

    Args:
        weights, grads, bound, picked: as in Passes.quantized_back. step: (P, C).
    """
    passes = passes_for_weights(weights)
    dw, products = passes.quantized_back(weights, grads, flat.of, step, bound, picked, one_bit=one_bit)
    bound = bound.ceil() if one_bit else bound
    inside, outside = flat.sums(products)
    slope = inside - outside * bound
    return dw, inside * step, slope * step * (flat.fan_in * bound).rsqrt()


class _Quantized(Function):
    """Q(W) of many layers, where the share of each channel is one-hot. The picked precision alone is computed.

    The backward pass is that of docs/methods.md, section 6: d share_p = <g, Q_p(W)>; the step of every precision learns
    in proportion to its probability, so a step is in tune when its precision is picked. Without probabilities only the
    steps of picked precisions learn.
    """

    @staticmethod
    def forward(
        ctx: Any,
        flat: _Flat,
        one_bit: bool,
        bound: Tensor,
        share: Tensor | None,
        probability: Tensor | None,
        *tensors: Tensor,
    ) -> tuple[Tensor, ...]:
        """Args:
        bound: (P, C) or (P, 1). share, probability: (C, P); no share where there is one precision.
        tensors: the weights of each layer, and then their log steps, (P, channels) each.
        """
        weights, log_steps = tensors[: len(tensors) // 2], tensors[len(tensors) // 2 :]
        log_step = torch.cat(log_steps, 1)
        picked = None if share is None else share.argmax(1)[None]  # (1, C)
        step = (log_step if picked is None else log_step.gather(0, picked)).exp()
        limit = bound if picked is None else bound.expand_as(log_step).gather(0, picked)
        ctx.flat, ctx.one_bit = flat, one_bit
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(log_step, bound, probability, picked, step, limit, *weights)
        passes = passes_for_weights(weights)
        return flat.used(passes.quantized(weights, flat.of, step[0], limit[0], one_bit=one_bit))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Any, ...]:
        refuse_second_derivatives()
        log_step, bound, probability, picked, step, limit, *weights = ctx.saved_tensors
        flat: _Flat = ctx.flat
        d_share = None
        if probability is not None:
            own = _backward(flat, weights, grads, log_step.exp(), bound, picked, one_bit=ctx.one_bit)
            dw, products, d_log = own
            d_log, d_share = d_log * probability.t(), products.t()
        else:
            dw, _, d_log = _backward(flat, weights, grads, step, limit, None, one_bit=ctx.one_bit)
            if picked is not None:
                d_log = torch.zeros_like(log_step).scatter_(0, picked, d_log)
        steps = d_log.reshape(-1).index_select(0, flat.by_layer)
        d_steps = _by_layer(steps, [torch.Size((len(log_step), shape[0])) for shape in flat.shapes])
        idle = 2 * [grad is None for grad in grads]
        each = zip((*_by_layer(dw, flat.shapes), *d_steps), idle, strict=True)
        return None, None, None, d_share, None, *(None if none else made for made, none in each)


def _by_layer(numbers: Tensor, shapes: Sequence[torch.Size]) -> tuple[Tensor, ...]:
    parts = numbers.split([shape.numel() for shape in shapes])
    return tuple(part.view(shape) for part, shape in zip(parts, shapes, strict=True))


class WeightQuantizer(nn.Module):
    """Codes in [-(2^(b-1) - 1), 2^(b-1) - 1], or -1 and 1 for one bit, with a step for each precision and channel.

    Args:
        widths: precisions on offer, ascending, each with a row of steps.
        channels: number of output channels.
        assigned: bits of each channel of a decided layer, which has one row of steps.

    Attributes:
        open_widths: the precisions on offer; None of a decided layer.
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
        self.open_widths = self.widths if assigned is None else None
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
        return codes_of(_rows(w), step[:, None], self.bound[0, :, None], self.one_bit).view_as(w), step


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
    """Fake-quantized weights of each layer, in one pass over all layers that have the same precisions on offer."""
    out: dict[int, Tensor] = {}
    forms: dict[tuple[tuple[int, ...] | None, bool, bool], list[int]] = {}
    for i, layer in enumerate(layers):
        form = (layer.quantizer.open_widths, layer.share is None, layer.soft)
        forms.setdefault(form, []).append(i)
    for members in forms.values():
        members.sort(key=lambda i: prod(layers[i].weight.shape[1:]))
        alike = [layers[i] for i in members]
        out |= dict(zip(members, _mixed(alike) if alike[0].soft else _quantized(alike), strict=True))
    return [out[i] for i in range(len(layers))]


def _quantized(layers: Sequence[WeightUse], precision: int | None = None) -> tuple[Tensor, ...]:
    """All at once. Args: precision: the index of the only one that is used; None: it is by the shares."""
    weights, quantizers = [layer.weight for layer in layers], [layer.quantizer for layer in layers]
    bounds: list[Tensor] = [q.bound for q in quantizers]
    log_steps: list[Tensor] = [q.log_step for q in quantizers]
    share = probability = None
    if precision is not None:
        bounds, log_steps = [b[precision, None] for b in bounds], [s[precision, None] for s in log_steps]
    elif layers[0].share is not None:
        share = _by_channel([layer.share for layer in layers if layer.share is not None], layers)
        probabilities = [layer.probability for layer in layers if layer.probability is not None]
        probability = _by_channel(probabilities, layers) if probabilities else None
    bound = bounds[0][:, :1] if quantizers[0].open_widths else torch.cat(bounds, 1)
    one_bit = any(quantizer.one_bit for quantizer in quantizers)
    flat = constant(_flat(len(log_steps[0]), tuple(weight.shape for weight in weights), weights[0].device))
    return applied_for_many(_Quantized, flat, one_bit, bound, share, probability, *weights, *log_steps)


def _mixed(layers: Sequence[WeightUse]) -> list[Tensor]:
    """sum_p share_p Q_p(W) of each layer."""
    precisions = [_quantized(layers, p) for p in range(len(layers[0].quantizer.bound))]
    made = []
    for layer, *each in zip(layers, *precisions, strict=True):
        assert layer.share is not None
        rows = zip(map(_rows, each), layer.share.t()[..., None], strict=True)
        made.append(sum((q * share for q, share in rows), torch.zeros(())).view_as(layer.weight))
    return made


def _by_channel(tensors: Sequence[Tensor], layers: Sequence[WeightUse]) -> Tensor:
    """(channels of all layers, P)."""
    return torch.cat([t.expand(len(layer.weight), -1) for layer, t in zip(layers, tensors, strict=True)])
