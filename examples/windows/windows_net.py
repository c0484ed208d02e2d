"""The network of this example: two convolutions over time, a mean, and a linear layer."""

from torch import nn


class WindowsNet(nn.Sequential):
    """Takes (N, in_channels, time) and returns (N, classes)."""

    def __init__(self, in_channels: int, classes: int, width: int = 16) -> None:
        super().__init__(
            *(nn.Conv1d(in_channels, width, 5, 2, 2), nn.BatchNorm1d(width), nn.ReLU()),
            *(nn.Conv1d(width, 2 * width, 5, 2, 2), nn.BatchNorm1d(2 * width), nn.ReLU()),
            *(nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(2 * width, classes)),
        )
