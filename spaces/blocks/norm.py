"""Batch norm over any number of dimensions. It stays a batch norm until lowering.

A norm without statistics is a scale and an offset for each channel. Any other has one of three forms:

in evaluation, or frozen: it normalises by its running statistics, which are constants.
in training: it normalises by the batch, and its running statistics follow.
renormalized, which is training in integer mode: its values are those of the running statistics, as in the Program. Its
    gradients are those of batch renormalization (docs/methods.md, section 11), and its running statistics follow the
    batches.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn import functional as F

from spaces.autograd import applied
from spaces.quantizers.tail import refuse_one_value


class Norm(nn.Module):
    """Statistics and affine of `channels` channels.

    Args:
        constant: which of "weight" and "bias" no training changes.
        statistics: whether it normalises; else mean 0 and variance 1 are constants.

    Attributes:
        frozen: whether the statistics are constants, in training too.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(
        self,
        channels: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        constant: Sequence[str] = (),
        statistics: bool = True,
    ) -> None:
        super().__init__()
        self.eps, self.momentum, self.statistics, self.frozen = eps, momentum, statistics, not statistics
        self.weight = nn.Parameter(torch.ones(channels), requires_grad="weight" not in constant)
        self.bias = nn.Parameter(torch.zeros(channels), requires_grad="bias" not in constant)
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def affine(self) -> tuple[Tensor, Tensor]:
        """(gain, offset) in float64 of the norm in evaluation: y = gain * x + offset."""
        gain = self.weight.double() / (self.running_var.double() + self.eps).sqrt()
        return gain, self.bias.double() - gain * self.running_mean.double()

    @torch.no_grad()
    def inherit(self, old: "Norm", channels: Tensor) -> None:
        """Takes the numbers of a larger norm. channels: (C,), indices of the channels that stay."""
        self.weight.copy_(old.weight.cpu()[channels])
        self.bias.copy_(old.bias.cpu()[channels])
        self.running_mean.copy_(old.running_mean.cpu()[channels])
        self.running_var.copy_(old.running_var.cpu()[channels])


@contextmanager
def momentum_kept(norms: Iterable[Norm]) -> Iterator[None]:
    """Inside it the momentum of norms may change. After it they have the one that they had before."""
    momenta = {norm: norm.momentum for norm in norms}
    try:
        yield
    finally:
        for norm, momentum in momenta.items():
            norm.momentum = momentum


@contextmanager
def unmoved(norms: Collection[Norm]) -> Iterator[None]:
    """Inside it running statistics do not change. A norm in training still normalises by its batch."""
    with momentum_kept(norms):
        for norm in norms:
            norm.momentum = 0.0
        yield


@contextmanager
def frozen(norms: Collection[Norm], frozen: bool = True) -> Iterator[None]:
    """Inside it norms in training normalise by their running statistics, or with frozen=False by those of the batch."""
    before = {norm: norm.frozen for norm in norms}
    try:
        for norm in norms:
            norm.frozen = frozen or not norm.statistics
        yield
    finally:
        for norm, value in before.items():
            norm.frozen = value


def is_distributed() -> bool:
    return distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1


class _Summed(torch.autograd.Function):
    """The sum over all processes. Its gradient is summed too, since the loss of every process reads it."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        total = grad.clone()
        distributed.all_reduce(total)
        return total


def synchronized_norm(x: Tensor, norm: Norm, keep: Tensor | None, renormalized: bool) -> Tensor:
    """Batch norm over the global batch. Every process computes what one process with all samples would compute.

    (torch's SyncBatchNorm has no CPU kernel.)
    """
    dims = [d for d in range(x.dim()) if d != 1]
    shape = (1, -1, *(1,) * (x.dim() - 2))
    count = x.numel() // x.shape[1] * distributed.get_world_size()
    mean = applied(_Summed, x.sum(dims)) / count
    centred = x - mean.view(shape)
    variance = applied(_Summed, centred.square().sum(dims)) / count
    inverse = (variance + norm.eps).rsqrt()
    weight, bias = (norm.weight, norm.bias) if keep is None else (norm.weight * keep, norm.bias * keep)
    if renormalized:
        with torch.no_grad():
            running = (norm.running_var + norm.eps).rsqrt()
            r, d = running / inverse, (mean - norm.running_mean) * running
        weight, bias = weight * r, bias + weight * d
    with torch.no_grad():
        norm.running_mean.lerp_(mean, norm.momentum)
        norm.running_var.lerp_(variance * (count / (count - 1)), norm.momentum)
    return centred * (weight * inverse).view(shape) + bias.view(shape)


def plain_norm(x: Tensor, norm: Norm) -> Tensor:
    """Batch norm alone, differentiable, for paths that fuse nothing behind it."""
    training = norm.training and not norm.frozen
    if training:
        refuse_one_value(x)
    return F.batch_norm(
        x, norm.running_mean, norm.running_var, norm.weight, norm.bias, training, norm.momentum, norm.eps
    )
