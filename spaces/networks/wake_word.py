"""A streaming network for one word, the DS-TCN of MLPerf Tiny: separable convolutions along time that slide.

Blocks, kernels and widths are those of the reference (github.com/mlcommons/tiny, benchmark/training/streaming_wakeword,
keras_model.py). Nothing is padded: thirty frames are one answer, and each frame that follows is another.
"""

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn


class WakeWord(nn.Module):
    """(N, in_channels, 30) features of sound -> (N, classes) logits; 21,912 weights and 0.43M MACs a window.

    Args:
        in_channels: features of a frame.
        classes: the word, silence, and all others.
        widths: of the blocks.
        kernels: frames that each block sees. All of them together see sum(kernels) - len(kernels) + 1.
    """

    def __init__(
        self,
        in_channels: int = 40,
        classes: int = 3,
        widths: Sequence[int] = (128, 64, 64, 32),
        kernels: Sequence[int] = (3, 5, 10, 15),
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for (before, after), kernel in zip(pairwise((in_channels, *widths)), kernels, strict=True):
            layers += [nn.Conv1d(before, before, kernel, groups=before, bias=False)]
            layers += [nn.Conv1d(before, after, 1, bias=False), nn.BatchNorm1d(after), nn.ReLU(), nn.Dropout(0.2)]
        self.features = nn.Sequential(*layers, nn.Flatten())
        self.classifier = nn.Linear(widths[-1], classes)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.features(x))
        return logits
