"""A small U-Net (Ronneberger et al., arXiv 1505.04597) along time: a class for every moment of a series.

It has three levels instead of five, a norm behind each convolution, and padding, so that the length stays. On the way
up, each moment is repeated and then convolved, in place of a transposed convolution.
"""

import torch
from torch import Tensor, nn


def _twice(in_channels: int, out_channels: int, kernel: int) -> nn.Sequential:
    return nn.Sequential(
        _along_time(in_channels, out_channels, kernel), _along_time(out_channels, out_channels, kernel)
    )


def _along_time(in_channels: int, out_channels: int, kernel: int) -> nn.Sequential:
    conv = nn.Conv1d(in_channels, out_channels, kernel, padding=kernel // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm1d(out_channels), nn.ReLU())


class UNet1d(nn.Module):
    """(N, in_channels, T) -> (N, classes, T) logits, where T is a multiple of 4; about 43k weights at width 16.

    Args:
        width: channels of the upper level, a half of the middle one's and a quarter of the lowest one's.
        kernel: moments that each convolution sees.
    """

    def __init__(self, in_channels: int = 1, classes: int = 4, width: int = 16, kernel: int = 3) -> None:
        super().__init__()
        self.down1 = _twice(in_channels, width, kernel)
        self.down2 = _twice(width, 2 * width, kernel)
        self.bottom = _twice(2 * width, 4 * width, kernel)
        self.pool = nn.MaxPool1d(2)
        self.rise2 = nn.Sequential(nn.Upsample(scale_factor=2), _along_time(4 * width, 2 * width, kernel))
        self.rise1 = nn.Sequential(nn.Upsample(scale_factor=2), _along_time(2 * width, width, kernel))
        self.up2 = _twice(4 * width, 2 * width, kernel)
        self.up1 = _twice(2 * width, width, kernel)
        self.classifier = nn.Conv1d(width, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        upper = self.down1(x)  # (N, width, T)
        middle = self.down2(self.pool(upper))  # (N, 2 * width, T / 2)
        lowest = self.bottom(self.pool(middle))  # (N, 4 * width, T / 4)
        middle = self.up2(torch.cat([self.rise2(lowest), middle], 1))
        upper = self.up1(torch.cat([self.rise1(middle), upper], 1))
        logits: Tensor = self.classifier(upper)
        return logits
