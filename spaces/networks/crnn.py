"""A convolutional recurrent network for sound (Arik et al., arXiv 1703.05390): a convolution, then a GRU over time."""

from torch import Tensor, nn

from search.errors import UsageError


class CRNN(nn.Module):
    """(N, in_channels, rows, T) features of sound -> (N, classes) logits; about 20k weights with ten features.

    The paper has 32 filters of 20x5 with strides of 8 and 2, two GRU layers of 32 in both directions, and a hidden
    layer of 64. Here the GRU goes forward alone, and what it ends in is classified. The convolution looks ahead by half
    of its kernel, so the network hears a whole recording, and is no step.

    Args:
        rows: features of one moment: coefficients, or bands.
        width: filters of the convolution.
        kernel, stride: of it, along rows and time alike.
        hidden: width of the GRU.
        layers: of the GRU.
    """

    def __init__(
        self,
        in_channels: int = 1,
        classes: int = 12,
        rows: int = 10,
        width: int = 16,
        kernel: int = 5,
        stride: int = 2,
        hidden: int = 48,
        layers: int = 1,
    ) -> None:
        super().__init__()
        if min(rows, width, kernel, stride, hidden, layers) < 1:
            sizes = f"rows {rows}, width {width}, kernel {kernel}, stride {stride}, hidden {hidden}, layers {layers}"
            raise UsageError(f"CRNN: {sizes} found; all are 1 or more. Correct model.")
        self.rows = rows
        convolution = nn.Conv2d(in_channels, width, kernel, stride, kernel // 2, bias=False)
        self.stem = nn.Sequential(convolution, nn.BatchNorm2d(width), nn.ReLU())
        self.recurrent = nn.GRU(width * -(-rows // stride), hidden, layers, batch_first=True)
        self.classifier = nn.Linear(hidden, classes)

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[2] != self.rows:
            raise UsageError(f"CRNN: rows is {self.rows}, and features have {x.shape[2]}. Set model.rows={x.shape[2]}.")
        moments = self.stem(x).flatten(1, 2).transpose(1, 2)
        every, _ = self.recurrent(moments)
        logits: Tensor = self.classifier(every[:, -1])
        return logits
