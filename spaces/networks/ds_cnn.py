"""DS-CNN for keyword spotting (Zhang et al., arXiv 1711.07128), the small one: 64 channels, four separable blocks."""

from torch import Tensor, nn


class DSCNN(nn.Module):
    """(N, 1, 49, 10) features of a second of speech -> (N, classes) logits."""

    def __init__(self, in_channels: int = 1, classes: int = 12, width: int = 64, blocks: int = 4) -> None:
        super().__init__()
        stem = nn.Conv2d(in_channels, width, (10, 4), 2, (5, 1), bias=False)
        layers: list[nn.Module] = [stem, nn.BatchNorm2d(width), nn.ReLU(), nn.Dropout(0.2)]
        for _ in range(blocks):
            layers += [nn.Conv2d(width, width, 3, 1, 1, groups=width, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
            layers += [nn.Conv2d(width, width, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
        self.features = nn.Sequential(*layers, nn.Dropout(0.4), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.classifier = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.features(x))
        return logits
