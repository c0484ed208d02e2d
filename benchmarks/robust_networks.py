"""Networks of `python -m benchmarks.robust` that do not come with the package.

A run takes one by model=custom model._target_=benchmarks.robust_networks.TCN +model.stride=2.
"""

from itertools import pairwise

from torch import Tensor, nn


class SmallCNN(nn.Sequential):
    """Five 3x3 convolutions, two poolings and a hidden layer, about 76k weights: (N, in_channels, H, W) -> logits."""

    def __init__(self, in_channels: int = 1, classes: int = 10, width: int = 16, hidden: int = 96) -> None:
        widths = (in_channels, width, 2 * width, 2 * width, 4 * width, 4 * width)
        layers: list[nn.Module] = []
        for number, (before, after) in enumerate(pairwise(widths)):
            layers += [nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
            if number in (0, 2):
                layers.append(nn.MaxPool2d(2))
        layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4 * width, hidden), nn.ReLU()]
        super().__init__(*layers, nn.Linear(hidden, classes))


class Dilated(nn.Module):
    """Two dilated convolutions along time, and what goes in is added: (N, width, T) -> (N, width, T)."""

    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.first = _along_time(width, width, dilation)
        self.second = _along_time(width, width, dilation)[:2]  # the last activation comes after the sum
        self.activation = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.activation(self.second(self.first(x)) + x)
        return y


class TCN(nn.Module):
    """A temporal convolutional network (Bai et al., arXiv 1803.01271) that sees both directions, for classification.

    (N, in_channels, T) -> (N, classes) logits; about 25k weights.

    Args:
        stride: of the first convolution.
        blocks: the dilation of each is twice that of the one before.
    """

    def __init__(
        self, in_channels: int = 1, classes: int = 10, width: int = 32, blocks: int = 4, stride: int = 1
    ) -> None:
        super().__init__()
        stem = _along_time(in_channels, width, kernel=5, stride=stride)
        self.features = nn.Sequential(stem, *(Dilated(width, 2**number) for number in range(blocks)))
        self.classifier = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.features(x).mean(2))
        return logits


def _along_time(before: int, after: int, dilation: int = 1, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    padding = dilation * (kernel // 2)
    conv = nn.Conv1d(before, after, kernel, stride, padding, dilation, bias=False)
    return nn.Sequential(conv, nn.BatchNorm1d(after), nn.ReLU())


class MLP(nn.Sequential):
    """Hidden layers of one width: (N, ...) of `inputs` numbers -> (N, classes) logits.

    At 64 inputs and the default widths it has about 42k weights.
    """

    def __init__(self, inputs: int, classes: int = 10, width: int = 128, layers: int = 3) -> None:
        widths = (inputs, *[width] * layers)
        hidden: list[nn.Module] = []
        for before, after in pairwise(widths):
            hidden += [nn.Linear(before, after, bias=False), nn.BatchNorm1d(after), nn.ReLU()]
        super().__init__(nn.Flatten(), *hidden, nn.Linear(width, classes))
