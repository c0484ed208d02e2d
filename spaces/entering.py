"""What becomes of a network's inputs before the first block."""

from functools import partial

import torch
from torch import Tensor

from spaces.decisions.selection import Selection
from spaces.modes import FAKE, FLOAT
from spaces.passes.passes import Sum
from spaces.quantizers.activation import ActivationChoice, Quantizer
from spaces.quantizers.tail import tail


def entered(x: Tensor, quantizer: Quantizer | None, selection: Selection, training: bool) -> Tensor:
    """An input as blocks read it: on the grid of its quantizer, if it has one, except in mode "float".

    In training with quantized floats the step of the grid learns as those of other tensors do, unless it is given.
    """
    x = as_convolutions_like(x.float())
    if quantizer is None:
        return x
    assert not isinstance(quantizer, ActivationChoice)  # inputs have one precision
    if selection.mode == FAKE and training and quantizer.log_step.requires_grad and not selection.held:
        return selection.quantize(quantizer, partial(tail, Sum(x), None))
    if selection.mode != FLOAT:
        return quantizer.on_grid(x)
    if quantizer.observing:
        quantizer.observe(x)
    return x


def as_convolutions_like(x: Tensor) -> Tensor:
    """Images on the CPU get channels last in memory, which is a quarter faster. Every layer behind keeps the format."""
    if x.dim() != 4 or x.is_cuda:
        return x
    # By strides, not by `contiguous`, to which an image of one channel is in every format.
    return torch.empty_like(x, memory_format=torch.channels_last).copy_(x)
