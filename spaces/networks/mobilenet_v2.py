"""MobileNetV2 (Sandler et al., arXiv 1801.04381, table 2), with the strides as arguments for small images."""

from collections.abc import Sequence

from torch import Tensor, nn

from search.errors import UsageError

STAGES = ((1, 16, 1), (6, 24, 2), (6, 32, 3), (6, 64, 4), (6, 96, 3), (6, 160, 3), (6, 320, 1))
"""Expansion, channels at width 1, and blocks of each stage."""
STRIDES = (1, 2, 2, 2, 1, 2, 1)
STEM, LAST = 32, 1280  # channels of the first and of the last convolution at width 1


def _block(in_channels: int, out_channels: int, kernel: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    conv = nn.Conv2d(in_channels, out_channels, kernel, stride, kernel // 2, groups=groups, bias=False)
    return [conv, nn.BatchNorm2d(out_channels), nn.ReLU6()]


def _rounded(channels: float) -> int:
    """The nearest multiple of 8 that takes at most a tenth away, as the authors' code has it."""
    multiple = max(8, int(channels + 4) // 8 * 8)
    return multiple + 8 if multiple < 0.9 * channels else multiple


class InvertedResidual(nn.Module):
    """Pointwise to more channels, depthwise, pointwise to few without an activation; the input is added if it fits."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = expansion * in_channels
        layers = _block(in_channels, hidden, 1) if expansion != 1 else []
        layers += [*_block(hidden, hidden, 3, stride, hidden), *_block(hidden, out_channels, 1)[:-1]]
        self.layers = nn.Sequential(*layers)
        self.adds = stride == 1 and in_channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layers(x)
        return x + y if self.adds else y


class MobileNetV2(nn.Module):
    """Inverted residuals with linear bottlenecks; 3.47M weights at width 1 with 1,000 classes.

    Args:
        width: multiplies every channel count but, where it is below 1, that of the last convolution.
        strides: of the stem, then of the first block of each of the 7 stages.
        last: channels of the last convolution at width 1. The paper has 1,280, which is much for a microcontroller.
    """

    def __init__(
        self,
        in_channels: int = 3,
        classes: int = 10,
        width: float = 1.0,
        strides: Sequence[int] = (2, *STRIDES),
        last: int = LAST,
    ) -> None:
        super().__init__()
        if len(strides) != 1 + len(STAGES):
            raise UsageError(f"MobileNetV2: strides has {len(strides)} entries; one for the stem and 7 stages: 8.")
        before, last = _rounded(STEM * width), _rounded(last * max(1.0, width))
        self.stem = nn.Sequential(*_block(in_channels, before, 3, strides[0]))
        blocks: list[nn.Module] = []
        for (expansion, channels, count), stride in zip(STAGES, strides[1:], strict=True):
            for number in range(count):
                after = _rounded(channels * width)
                blocks.append(InvertedResidual(before, after, 1 if number else stride, expansion))
                before = after
        self.blocks = nn.Sequential(*blocks, *_block(before, last, 1))
        self.classifier = nn.Linear(last, classes)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) -> (N, classes) logits."""
        logits: Tensor = self.classifier(self.blocks(self.stem(x)).mean((2, 3)))
        return logits
