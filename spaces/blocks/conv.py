"""A convolution of any dimension, or a linear layer, with its norm and activation, as one block."""

from functools import partial
from typing import cast

import torch
from torch import Tensor
from torch.nn import functional as F

from spaces.blocks.block import Block, Folded
from spaces.blocks.fixed_point import exact_dtype, with_bias
from spaces.blocks.norm import Norm, is_distributed, plain_norm, synchronized_norm
from spaces.blocks.places import at_places, every
from spaces.blocks.weights import Weights
from spaces.decisions.selection import Selection
from spaces.modes import FLOAT, INTEGER
from spaces.passes.passes import Codes, Sum
from spaces.quantizers.scales import NormUse
from spaces.quantizers.tail import norm_tail

CONVOLUTIONS = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
UNBOUNDED = Codes(float("-inf"), float("inf"))


class ConvBlock(Block):
    """act(norm(conv(x))), quantized."""

    @property
    def weights(self) -> Weights:
        return cast(Weights, self._shared.weights)

    def convolve(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Sum:
        """The sums, to which a bias may still have to be added."""
        a = self.spec.attributes
        stride, pads, padding = a["stride"], a["padding"], [p[0] for p in a["padding"]]
        # With channels last in memory the backward pass of torch 2.13 through one tap with a stride writes, and with a
        # bias its forward pass reads, beyond the ends of tensors of some shapes (6 to 15 channels, 8x8, stride 2), and
        # dies or not.
        reads_places = weight.shape[2:].numel() == 1 and max(stride) > 1
        if any(low != high for low, high in pads) or (reads_places and any(padding)):
            x, padding = F.pad(x, [p for pair in reversed(pads) for p in pair]), [0] * len(padding)
        if reads_places:
            if x.shape[2:] != self.spec.shape[1:]:  # else they are all that there are, or all that it was given
                x = at_places(x, every(stride))
            stride = [1] * len(stride)
        if x.stride(-1) != x.shape[1]:  # not channels last: then weights that are would change the order of the sums
            weight = weight.contiguous()
        y = CONVOLUTIONS[len(stride)](x, weight, None, stride, padding, a["dilation"], a["groups"])
        return Sum(y, bias)

    def fake(self, selection: Selection, *inputs: Tensor) -> Tensor:
        weights, quantizer = self.weights, self.quantizer_of_sum
        sums = self.convolve(inputs[0], selection.weight.get(weights.name, weights.weight), weights.bias)
        keep = selection.keep.get(self.name)
        if self.norm is None:
            return self.finish(selection, sums, keep)
        y = sums.made()
        renormalized = selection.mode == INTEGER
        if self._is_synchronized(self.norm):
            return self.finish(selection, synchronized_norm(y, self.norm, keep, renormalized), None)
        if selection.mode == FLOAT:
            return self.finish(selection, plain_norm(y, self.norm), None)
        onto = partial(norm_tail, y, self.norm, selection.scales[self.name], keep, renormalized=renormalized)
        if quantizer is None:
            y = onto(None, self.real_bounds())
        elif selection.mixes(quantizer):
            return self.finish(selection, onto(None, UNBOUNDED), None)  # once, and each precision of it
        else:
            y = selection.quantize(quantizer, onto)
        return y if self.clamped else self._after_table(selection, y, keep)

    def norm_use(self, selection: Selection) -> NormUse | None:
        if self.norm is None or selection.mode == FLOAT or self._is_synchronized(self.norm):
            return None
        quantizer, step = self.quantizer_of_sum, None
        if quantizer is not None and not selection.mixes(quantizer):
            step = selection.grids[selection.in_use(quantizer)].step
        return NormUse(self.norm, selection.keep.get(self.name), step)

    def _is_synchronized(self, norm: Norm) -> bool:
        """Whether the norm measures the batches of several processes."""
        return norm.training and not norm.frozen and is_distributed()

    def integers(self, x: Tensor) -> Tensor:
        folded = self.folded()
        assert folded.codes is not None and folded.bias is not None
        largest = 2 ** self.sources[0].bits - 1
        # On other devices float32 may be TF32 or Winograd, and nothing has to be read.
        dtype = exact_dtype(folded.largest_row * largest) if x.device.type == "cpu" else torch.float64
        acc = self.convolve(x.to(dtype), folded.codes.to(dtype), None).x.long()
        return acc + folded.bias.view(1, -1, *(1,) * (acc.dim() - 2))

    @torch.no_grad()
    def fold(self) -> Folded:
        """Folds batch norm into multiplier and bias (docs/methods.md, section 5), and its sign into the multiplier's.

        y = gain * (s_w s_x sum + b) + offset = gain s_w s_x (sum + (b + offset / gain) / (s_w s_x)).
        """
        assert self.weights.quantizer is not None
        codes, step = self.weights.quantizer.integers(self.weights.weight)
        gain, offset = self._affine(step)
        if self.weights.bias is not None:
            offset = offset + gain * self.weights.bias.double()
        quantizer = self.sum_quantizer()
        own = quantizer.step_there
        ratio = gain * step.double() * self.sources[0].step_there / own
        multiplier, shift, bias = with_bias(ratio, offset / own)
        return Folded(
            multiplier=multiplier,
            shift=shift,
            zero_point=quantizer.zero_point,
            clip=self.clip(),
            codes=codes,
            bias=bias,
            table=self.table(),
        )

    def _affine(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """(gain, offset) of the norm, or 1 and 0, of the shape (C,) of another tensor and where that is; float64."""
        if self.norm is not None:
            return self.norm.affine()
        return torch.ones_like(like, dtype=torch.float64), torch.zeros_like(like, dtype=torch.float64)


class LinearBlock(ConvBlock):
    """act(norm(linear(x))), quantized."""

    def convolve(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Sum:
        return Sum(F.linear(x, weight, bias))


BLOCKS: dict[str, type[Block]] = {"conv": ConvBlock, "linear": LinearBlock}
