"""Small networks whose channels can be counted by hand, and their Spaces."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from spaces.searchable import Options, searchable
from spaces.space import Space

IMAGE = (2, 3, 6, 6)


class Plain(nn.Module):
    """stem (3 -> 8) -> depthwise -> body (8 -> 6) -> mean -> head (6 -> 4)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.stem_norm = nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.body, self.body_norm = nn.Conv2d(8, 6, 1), nn.BatchNorm2d(6)
        self.head = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.depthwise(F.relu(self.stem_norm(self.stem(x)))))
        return self.head(F.relu(self.body_norm(self.body(x))).mean((2, 3)))


def space_of(model: nn.Module, shape: tuple[int, ...] = IMAGE, options: Options | None = None) -> Space:
    """Calibrated, in evaluation, in fake mode; norms as if trained."""
    torch.manual_seed(0)
    for norm in [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]:
        nn.init.uniform_(norm.weight, 0.5, 2.0)
        nn.init.uniform_(norm.bias, -0.2, 0.5)
        norm.running_mean.uniform_(-0.3, 0.3)
        norm.running_var.uniform_(0.5, 1.5)
    x = torch.randn(shape)
    space = searchable(model.eval(), x, options).eval()
    if space.spec.quantizers:
        space.calibrate([x])
    space.set_mode("fake")
    return space


def images(shape: tuple[int, ...] = IMAGE, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


OPEN_STEM, OPEN_BODY = 5, 3  # channels of a network that is half closed


def half_closed(options: Options | None = None) -> Space:
    space = space_of(Plain(), options=options).train()
    space.decisions["stem/channels"].fix((1, 0, 1, 1, 0, 0, 1, 1))
    space.decisions["body/channels"].fix((0, 1, 1, 0, 1, 0))
    return space
