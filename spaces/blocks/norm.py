"""Batch norm that stays a batch norm until lowering, over any number of dimensions."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, distributed, nn
from torch.nn import functional as F


class Norm(nn.Module):
    """Statistics and affine of `channels` channels. `frozen` keeps the statistics though the module is in training."""

    def __init__(self, channels: int, eps: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__()
        self.eps, self.momentum, self.frozen = eps, momentum, False
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def affine(self) -> tuple[Tensor, Tensor]:
        """(gain, offset) in float64 of the norm in evaluation: y = gain * x + offset."""
        gain = self.weight.double() / (self.running_var.double() + self.eps).sqrt()
        return gain, self.bias.double() - gain * self.running_mean.double()


@contextmanager
def unmoved(norms: Iterable[Norm]) -> Iterator[None]:
    """Running statistics stay as they are, whatever passes; a norm in training still normalises by its batch."""
    momenta = {norm: norm.momentum for norm in norms}
    try:
        for norm in momenta:
            norm.momentum = 0.0
        yield
    finally:
        for norm, momentum in momenta.items():
            norm.momentum = momentum


def is_distributed() -> bool:
    return distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1


class _Summed(torch.autograd.Function):
    """The sum over all processes; so is its gradient, since every process's loss reads it."""

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        total = x.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx, grad: Tensor) -> Tensor:
        total = grad.clone()
        distributed.all_reduce(total)
        return total


def synchronized_norm(x: Tensor, norm: Norm, keep: Tensor | None) -> Tensor:
    """Batch norm over the global batch: every process computes what one process with all samples would.

    (torch's SyncBatchNorm has no CPU kernel.)
    """
    dims = [d for d in range(x.dim()) if d != 1]
    shape = (1, -1, *(1,) * (x.dim() - 2))
    count = x.numel() // x.shape[1] * distributed.get_world_size()
    mean = _Summed.apply(x.sum(dims)) / count
    centred = x - mean.view(shape)
    variance = _Summed.apply(centred.square().sum(dims)) / count
    with torch.no_grad():
        norm.running_mean.lerp_(mean, norm.momentum)
        norm.running_var.lerp_(variance * (count / (count - 1)), norm.momentum)
    weight, bias = (norm.weight, norm.bias) if keep is None else (norm.weight * keep, norm.bias * keep)
    factor = weight * (variance + norm.eps).rsqrt()
    return centred * factor.view(shape) + bias.view(shape)


def plain_norm(x: Tensor, norm: Norm) -> Tensor:
    """Batch norm alone, differentiable, for the paths that fuse nothing behind it."""
    training = norm.training and not norm.frozen
    return F.batch_norm(
        x, norm.running_mean, norm.running_var, norm.weight, norm.bias, training, norm.momentum, norm.eps
    )
