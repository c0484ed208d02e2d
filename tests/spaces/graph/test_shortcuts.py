import pytest
import torch
from torch import Tensor, nn

from spaces.searchable import searchable


class Parts(nn.Module):
    """A part of linear layers' outputs, one behind another."""

    def __init__(self, widths: tuple[int, ...], start: int, end: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(5, width) for width in widths)
        self.start, self.end, self.head = start, end, nn.Linear(end - start, 3)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.head(torch.cat([layer(x) for layer in self.layers], 1)[:, self.start : self.end])
        return y


@pytest.mark.parametrize(
    ("widths", "start", "end", "copies"),
    [
        ((4, 4), 4, 8, False),
        ((4, 8, 6), 4, 12, False),
        ((10, 6), 0, 8, True),
        ((4, 8, 12), 8, 16, True),
        ((12, 4), 8, 16, True),
    ],
)
def test_a_part_of_a_concat_is_an_input_or_is_copied(
    widths: tuple[int, ...], start: int, end: int, copies: bool
) -> None:
    torch.manual_seed(0)
    net, x = Parts(widths, start, end).eval(), torch.randn(3, 5)
    space = searchable(net, x).eval()
    assert any(block.op == "take" for block in space.spec.blocks) == copies
    with torch.no_grad():
        torch.testing.assert_close(space(x), net(x))
