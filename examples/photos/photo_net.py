"""The network of this example, and how it takes over trained weights."""

from safetensors.torch import load_file
from torch import Tensor, nn

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # by which the trained weights have their images normalised
SIDE = 32  # pixels of an image, as in that training


class PhotoNet(nn.Module):
    """Takes (N, 3, 32, 32) and returns (N, classes)."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.features = nn.Sequential(_block(3, 16), _block(16, 32), _block(32, 48))
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(48, classes))

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.head(self.features(x))
        return found


def _block(inputs: int, outputs: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, 2, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU())


# --8<-- [start:transferred]
def transferred(weights: str, classes: int) -> PhotoNet:
    """The network with trained features and a new head. The first block stays as it is."""
    model = PhotoNet(classes)
    trained = {name: values for name, values in load_file(weights).items() if name.startswith("features.")}
    missing, unexpected = model.load_state_dict(trained, strict=False)
    if unexpected or any(not name.startswith("head.") for name in missing):
        raise ValueError(f"{weights}: not the weights of this network: {missing} missing, {unexpected} unknown.")
    model.features[0].requires_grad_(False)  # frozen: no training changes its parameters
    return model


# --8<-- [end:transferred]
