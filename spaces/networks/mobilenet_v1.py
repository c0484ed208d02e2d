"""MobileNetV1 (Howard et al., arXiv 1704.04861, table 1), with the strides as arguments for small images."""

from collections.abc import Sequence

from torch import Tensor, nn

from search.errors import UsageError

WIDTHS = (64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024)  # at width 1; the stem has 32
STRIDES = (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1)


def _block(in_channels: int, out_channels: int, kernel: int, stride: int, groups: int) -> nn.Sequential:
    conv = nn.Conv2d(in_channels, out_channels, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(out_channels), nn.ReLU())


class MobileNetV1(nn.Module):
    """Depthwise separable convolutions.

    Args:
        width: multiplies every channel count; 0.25 gives about 210k weights.
        strides: of the stem, then of the 13 blocks.
    """

    def __init__(
        self,
        in_channels: int = 3,
        classes: int = 10,
        width: float = 0.25,
        strides: Sequence[int] = (2, *STRIDES),
    ) -> None:
        super().__init__()
        if len(strides) != 1 + len(WIDTHS):
            raise UsageError(f"MobileNetV1: strides has {len(strides)} entries; one for the stem and 13 blocks: 14.")
        widths = [max(1, int(w * width)) for w in (32, *WIDTHS)]
        self.stem = _block(in_channels, widths[0], 3, strides[0], 1)
        self.blocks = nn.Sequential(
            *(
                nn.Sequential(_block(a, a, 3, stride, a), _block(a, b, 1, 1, 1))
                for a, b, stride in zip(widths, widths[1:], strides[1:], strict=False)
            )
        )
        self.classifier = nn.Linear(widths[-1], classes)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) -> (N, classes) logits."""
        logits: Tensor = self.classifier(self.blocks(self.stem(x)).mean((2, 3)))
        return logits
