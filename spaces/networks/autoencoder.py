"""Autoencoder for anomaly detection as in MLPerf Tiny (Banbury et al., arXiv 2106.07597): fully connected layers.

What the network has not seen in training it restores badly, so the error of what it returns tells an anomaly.
"""

from itertools import pairwise

from torch import nn

DEPTH = 4  # hidden layers on either side of the bottleneck


class Autoencoder(nn.Sequential):
    """(N, features), or (N, C, ...) of so many elements -> (N, features); 264,192 weights at the default sizes.

    Args:
        features: elements of one example.
        width: of the hidden layers, four before the bottleneck and four behind it.
    """

    def __init__(self, features: int = 640, width: int = 128, bottleneck: int = 8) -> None:
        sizes = (features, *[width] * DEPTH, bottleneck, *[width] * DEPTH)
        layers: list[nn.Module] = [nn.Flatten()]
        for before, after in pairwise(sizes):
            layers += [nn.Linear(before, after), nn.BatchNorm1d(after), nn.ReLU()]
        super().__init__(*layers, nn.Linear(width, features))
