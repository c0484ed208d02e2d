"""The whole networks that benchmarks.mcu measures, and tries its tables on."""

import torch
from torch import Tensor, nn

from benchmarks.mcu_layers import MIXED, Case
from spaces.networks import NETWORKS as SEEDS


def _normed(convolution: nn.Module, channels: int) -> nn.Module:
    return nn.Sequential(convolution, nn.BatchNorm2d(channels), nn.ReLU())


def _conv(channels: int, out: int, kernel: int, stride: int = 1) -> nn.Module:
    return _normed(nn.Conv2d(channels, out, kernel, stride, kernel // 2), out)


class Tcn(nn.Sequential):
    """Four dilated convolutions over time."""

    def __init__(self) -> None:
        layers: list[nn.Module] = []
        for place, (before, after) in enumerate(((6, 32), (32, 32), (32, 48), (48, 48))):
            gap = 2**place
            convolution = nn.Conv1d(before, after, 5, padding=2 * gap, dilation=gap)
            layers += [convolution, nn.BatchNorm1d(after), nn.ReLU()]
        super().__init__(*layers, nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(48, 8))


class UNet(nn.Module):
    """Down twice by grouped convolutions, up twice by transposed ones, with what was there before beside it."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = _normed(nn.Conv2d(3, 16, 3, padding=1), 16)
        self.down = _normed(nn.Conv2d(16, 32, 3, 2, 1, groups=4), 32)
        self.deep = _normed(nn.Conv2d(32, 64, 3, 2, 1, groups=8), 64)
        self.mixed = _normed(nn.Conv2d(64, 64, 1, groups=2), 64)
        self.up = _normed(nn.ConvTranspose2d(64, 32, 2, 2), 32)
        self.joined = _normed(nn.Conv2d(64, 32, 3, padding=1, groups=2), 32)
        self.top = _normed(nn.ConvTranspose2d(32, 16, 4, 2, 1), 16)
        self.head = nn.Conv2d(32, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        whole = self.stem(x)
        half = self.down(whole)
        up = self.joined(torch.cat([half, self.up(self.mixed(self.deep(half)))], 1))
        y: Tensor = self.head(torch.cat([whole, self.top(up)], 1))
        return y


class Inception(nn.Sequential):
    """Three blocks of four branches that are joined, of Szegedy et al., arXiv 1409.4842, and two pools between them."""

    def __init__(self) -> None:
        blocks = (_Branches(16, 16), nn.MaxPool2d(2), _Branches(48, 24), nn.MaxPool2d(2), _Branches(72, 32))
        super().__init__(_conv(3, 16, 3, 2), *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(96, 10))


class _Branches(nn.Module):
    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.one = _conv(channels, out, 1)
        self.three = nn.Sequential(_conv(channels, out, 1), _conv(out, out, 3))
        self.five = nn.Sequential(_conv(channels, out // 2, 1), _conv(out // 2, out // 2, 5))
        self.pooled = nn.Sequential(nn.MaxPool2d(3, 1, 1), _conv(channels, out // 2, 1))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.one(x), self.three(x), self.five(x), self.pooled(x)], 1)


class Attention(nn.Module):
    """A transformer's block of four heads over 16 places of a sequence."""

    def __init__(self) -> None:
        super().__init__()
        self.places = nn.Conv1d(6, 32, 4, 4)
        self.before, self.between = nn.LayerNorm(32), nn.LayerNorm(32)
        self.queries, self.keys, self.values, self.joined = (nn.Linear(32, 32) for _ in range(4))
        self.wide, self.narrow, self.head = nn.Linear(32, 64), nn.Linear(64, 32), nn.Linear(32, 6)

    def forward(self, x: Tensor) -> Tensor:
        x = self.places(x).permute(0, 2, 1)
        normed = self.before(x)
        heads = len(x), 16, 4, 8
        queries, keys, values = (
            layer(normed).reshape(heads).transpose(1, 2) for layer in (self.queries, self.keys, self.values)
        )
        seen = torch.softmax(queries @ keys.transpose(-1, -2) * 8**-0.5, -1) @ values
        x = x + self.joined(seen.transpose(1, 2).reshape(len(x), 16, 32))
        x = x + self.narrow(torch.relu(self.wide(self.between(x))))
        y: Tensor = self.head(x.mean(1))
        return y


class Gated(nn.Sequential):
    """Depthwise convolutions whose channels are weighed, of Hu et al., arXiv 1709.01507."""

    def __init__(self) -> None:
        layers: list[nn.Module] = [_conv(3, 16, 3, 2)]
        for before, after, stride in ((16, 32, 1), (32, 64, 2), (64, 64, 1)):
            apart = _normed(nn.Conv2d(before, before, 3, stride, 1, groups=before), before)
            layers += [apart, _Gate(before), _conv(before, after, 1)]
        super().__init__(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


class _Gate(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.less, self.more = nn.Conv2d(channels, channels // 4, 1), nn.Conv2d(channels // 4, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean((2, 3), keepdim=True)
        return x * torch.sigmoid(self.more(torch.relu(self.less(mean))))


class Lstm(nn.Module):
    """Two layers over time, and what the second ends in."""

    def __init__(self) -> None:
        super().__init__()
        self.layers, self.head = nn.LSTM(8, 24, 2, batch_first=True), nn.Linear(24, 6)

    def forward(self, x: Tensor) -> Tensor:
        every, _ = self.layers(x)
        y: Tensor = self.head(every[:, -1])
        return y


NETWORKS = (
    Case("resnet8", lambda: SEEDS["resnet8"](in_channels=3), ((3, 32, 32),), (8, 4, 2, MIXED)),
    Case("ds_cnn", lambda: SEEDS["ds_cnn"](in_channels=1), ((1, 49, 10),), (8, 4, MIXED)),
    Case("mobilenet_v1", lambda: SEEDS["mobilenet_v1"](in_channels=3), ((3, 64, 64),), (8, 4, MIXED)),
    Case("tcn", Tcn, ((6, 128),), (8, 2)),
    Case("lstm", Lstm, ((40, 8),), (8, MIXED)),
    Case("crnn", lambda: SEEDS["crnn"](in_channels=1), ((1, 10, 49),), (8, MIXED)),
    Case("autoencoder", SEEDS["autoencoder"], ((640,),), (8,)),
    Case("unet", UNet, ((3, 32, 32),), (8, 4, MIXED)),
    Case("inception", Inception, ((3, 32, 32),), (8, 4, MIXED)),
    Case("attention", Attention, ((6, 64),), (8, MIXED)),
    Case("gated", Gated, ((3, 32, 32),), (8, MIXED)),
)
