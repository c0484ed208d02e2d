"""TC-ResNet8 for keyword spotting (Choi et al., arXiv 1904.03814): convolutions along time, features as channels.

The first convolution has a window of 3, and the shortcuts a norm and an activation, as in the authors' code
(github.com/hyperconnect/TC-ResNet). Padding is the same on both sides; theirs is larger behind where the stride is 2.
"""

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F


def _along_time(in_channels: int, out_channels: int, kernel: int, stride: int = 1) -> nn.Sequential:
    conv = nn.Conv1d(in_channels, out_channels, kernel, stride, kernel // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm1d(out_channels), nn.ReLU())


class TemporalResidual(nn.Module):
    """Two convolutions along time and a shortcut. Where the width changes, the stride is 2 and the shortcut is 1x1."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int) -> None:
        super().__init__()
        changes = in_channels != out_channels
        self.first = _along_time(in_channels, out_channels, kernel, 2 if changes else 1)
        self.second = _along_time(out_channels, out_channels, kernel)[:2]  # the last activation comes after the sum
        self.shortcut = _along_time(in_channels, out_channels, 1, 2) if changes else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.second(self.first(x)) + self.shortcut(x))


class TCResNet(nn.Module):
    """(N, in_channels, T) features of a second of speech -> (N, classes) logits; about 65k weights.

    Args:
        in_channels: features of one moment, 40 in the paper.
        widths: of the first convolution, then of each block. TC-ResNet14 has (16, 24, 24, 32, 32, 48, 48).
        kernel: moments that each convolution of a block sees.
    """

    def __init__(
        self, in_channels: int = 40, classes: int = 12, widths: Sequence[int] = (16, 24, 32, 48), kernel: int = 9
    ) -> None:
        super().__init__()
        self.stem = _along_time(in_channels, widths[0], 3)
        self.blocks = nn.Sequential(*(TemporalResidual(a, b, kernel) for a, b in pairwise(widths)))
        self.dropout = nn.Dropout(0.5)
        self.classifier = nn.Linear(widths[-1], classes)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.dropout(self.blocks(self.stem(x)).mean(2)))
        return logits
