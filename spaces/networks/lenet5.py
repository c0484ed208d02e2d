"""LeNet-5 (LeCun et al., Proceedings of the IEEE 86(11), 1998), with ReLU and maximum pooling.

In the paper, the second convolution reads only some of the maps; here it reads all of them.
"""

from collections.abc import Sequence
from math import isqrt

from torch import nn

from search.errors import UsageError


class LeNet5(nn.Sequential):
    """(N, in_channels, S, S) -> (N, classes) logits; 61,470 weights for grey images of 32x32.

    Args:
        features: elements of one example, in_channels * S * S.
        widths: of the two convolutions and the two hidden layers.
        padding: of the first convolution; 2 makes 32x32 of images of 28x28.

    Raises:
        UsageError: images are not square, or so small that nothing is left of them.
    """

    def __init__(
        self,
        in_channels: int = 1,
        classes: int = 10,
        features: int = 1024,
        widths: Sequence[int] = (6, 16, 120, 84),
        padding: int = 0,
    ) -> None:
        side = isqrt(features // in_channels)
        left = ((side + 2 * padding - 4) // 2 - 4) // 2
        if in_channels * side**2 != features or left < 1:
            raise UsageError(
                f"LeNet5: {features} features in {in_channels} channels, padded by {padding}; it takes square images, "
                "with their padding of 16x16 or larger."
            )
        first, second, third, fourth = widths
        super().__init__(
            *(nn.Conv2d(in_channels, first, 5, padding=padding), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(first, second, 5), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Flatten(), nn.Linear(second * left**2, third), nn.ReLU()),
            *(nn.Linear(third, fourth), nn.ReLU(), nn.Linear(fourth, classes)),
        )
