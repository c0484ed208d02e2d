"""TEMPONet (Zanghieri et al., IEEE TBioCAS 14(2), 2020), with the sizes for heart rate from PPG-DaLiA.

The sizes are those in the public code of Risso et al. (Pruning In Time, arXiv 2203.14768): four channels, windows of
256 moments, one number as output. What is simplified: convolutions see both directions. Each norm comes directly behind
its layer, the activation behind the norm, and the pooling last; theirs have other orders. The last strided convolution
is padded by 2 instead of 4, which leaves as many moments behind the pooling.
"""

from torch import Tensor, nn

from search.errors import UsageError

DILATIONS = (2, 4, 8)  # of the two dilated convolutions of each block
STRIDES = (1, 2, 4)  # of the convolution at the end of each block; a pooling halves what it leaves


def _along_time(in_channels: int, out_channels: int, kernel: int, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    padding = dilation * (kernel // 2)
    conv = nn.Conv1d(in_channels, out_channels, kernel, stride, padding, dilation, bias=False)
    return nn.Sequential(conv, nn.BatchNorm1d(out_channels), nn.ReLU())


class TEMPONet(nn.Module):
    """Three blocks of two dilated convolutions, a strided one and a pooling, then dense layers; about 423k weights.

    Args:
        classes: numbers that the network returns, one for a heart rate.
        features: elements of one example, in_channels * T.
        width: channels of the first block, a half of the second's and a quarter of the third's.
        hidden: of the first dense layer; the second has half as many.
    """

    def __init__(
        self, in_channels: int = 4, classes: int = 1, features: int = 1024, width: int = 32, hidden: int = 256
    ) -> None:
        super().__init__()
        moments, before = features // in_channels, in_channels
        blocks: list[nn.Module] = []
        for number, (dilation, stride) in enumerate(zip(DILATIONS, STRIDES, strict=True)):
            inner, after = width * 2**number, width * 2 ** min(number + 1, 2)
            blocks += [_along_time(before, inner, 3, 1, dilation), _along_time(inner, inner, 3, 1, dilation)]
            blocks += [_along_time(inner, after, 5, stride), nn.AvgPool1d(2)]
            moments, before = ((moments - 1) // stride + 1) // 2, after
        if moments < 1:
            raise UsageError(
                f"TEMPONet: examples of {features // in_channels} moments are too short; 38 or more are enough."
            )
        self.blocks = nn.Sequential(*blocks, nn.Flatten())
        self.dense = nn.Sequential(*_dense(before * moments, hidden), *_dense(hidden, hidden // 2))
        self.regressor = nn.Linear(hidden // 2, classes)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, T) -> (N, classes)."""
        y: Tensor = self.regressor(self.dense(self.blocks(x)))
        return y


def _dense(before: int, after: int) -> list[nn.Module]:
    return [nn.Linear(before, after, bias=False), nn.BatchNorm1d(after), nn.ReLU(), nn.Dropout(0.5)]
