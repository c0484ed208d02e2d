"""A supernet of inverted residuals: kernel, depth, expansion and squeeze-and-excite are all searched.

The blocks are those of MobileNetV2 (Sandler et al., arXiv 1801.04381) with the squeeze-and-excite of MobileNetV3
(Howard et al., arXiv 1905.02244), as once-for-all networks and MCUNet offer them (Cai et al., arXiv 1908.09791; Lin et
al., arXiv 2007.10319). Expansion is searched by the gates of channels.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from spaces.one_of import OneOf

KERNELS = (3, 5)
SQUEEZE = 4  # channels of a block over those that its squeeze-and-excite has inside


def _layer(before: int, after: int, kernel: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    conv = nn.Conv2d(before, after, kernel, stride, kernel // 2, groups=groups, bias=False)
    return [conv, nn.BatchNorm2d(after), nn.ReLU()]


class SqueezeExcite(nn.Module):
    """Channels times numbers of 0 to 1 that follow from their means (Hu et al., arXiv 1709.01507)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        inside = max(4, channels // SQUEEZE)
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels, inside, 1),
            nn.ReLU(),
            nn.Conv2d(inside, channels, 1),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = x * self.gate(x)
        return y


class Block(nn.Module):
    """Pointwise to more channels, depthwise, perhaps squeeze-and-excite, pointwise to few; what goes in is added."""

    def __init__(self, before: int, after: int, kernel: int, stride: int, expansion: int, excites: bool) -> None:
        super().__init__()
        inner = expansion * before
        layers = [*_layer(before, inner, 1), *_layer(inner, inner, kernel, stride, inner)]
        layers += [SqueezeExcite(inner)] if excites else []
        self.layers = nn.Sequential(*layers, *_layer(inner, after, 1)[:2])
        self.adds = stride == 1 and before == after

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layers(x)
        return x + y if self.adds else y


class InvertedResiduals(nn.Module):
    """(N, in_channels, H, W) -> (N, classes) logits.

    Args:
        channels: of the stem, and of each stage.
        strides: of the stem, and of the first block of each stage.
        depth: blocks of each stage. All but the first may be left out by the search.
        expansion: channels inside a block over those that it is given; the search leaves some out.
        kernels: from which the search picks one for each block.
        excite: whether it also picks between squeeze-and-excite and none.
    """

    def __init__(
        self,
        in_channels: int = 3,
        classes: int = 10,
        channels: Sequence[int] = (16, 24, 40, 64),
        strides: Sequence[int] = (1, 2, 2, 2),
        depth: int = 2,
        expansion: int = 4,
        kernels: Sequence[int] = KERNELS,
        excite: bool = True,
    ) -> None:
        super().__init__()
        stem, *stages = channels
        blocks: list[nn.Module] = _layer(in_channels, stem, 3, strides[0])
        for before, after, stride in zip(channels, stages, strides[1:], strict=False):
            for number in range(depth):
                given, step = (before, stride) if number == 0 else (after, 1)
                each: list[nn.Module] = [
                    Block(given, after, kernel, step, expansion, excites)
                    for kernel in kernels
                    for excites in ((False, True) if excite else (False,))
                ]
                each += [nn.Identity()] if number else []
                blocks.append(OneOf(each) if len(each) > 1 else each[0])
        self.features = nn.Sequential(*blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.classifier = nn.Linear(channels[-1], classes)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.features(x))
        return logits
