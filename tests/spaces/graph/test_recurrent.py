from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from spaces.graph.errors import UnsupportedNetwork
from spaces.searchable import searchable


class Net(nn.Module):
    """A recurrent layer, and what is read of it."""

    def __init__(self, layer: nn.RNNBase, reads: str) -> None:
        super().__init__()
        self.layer, self.reads, self.head = layer, reads, nn.Linear(layer.hidden_size, 3)

    def forward(self, x: Tensor) -> Tensor:
        every, last = self.layer(x)
        hidden = last[0] if isinstance(last, tuple) else last
        if self.reads == "steps":
            return self.head(every)
        if self.reads == "cell":
            return self.head(last[1][-1])
        y = {"last": every[:, -1], "state": hidden[-1], "first layer": hidden[0], "mean": every.mean(1)}
        return self.head(y[self.reads])


def layer(kind: type[nn.RNNBase], layers: int = 1, **more: object) -> nn.RNNBase:
    torch.manual_seed(0)
    return kind(6, 5, layers, batch_first=True, **more).eval()  # type: ignore[arg-type]


KINDS = (nn.GRU, nn.LSTM, nn.RNN)


@pytest.mark.parametrize("reads", ["last", "state", "first layer", "mean", "steps"])
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_read_of_it_is_what_torch_computes(kind: type[nn.RNNBase], layers: int, reads: str) -> None:
    net, x = Net(layer(kind, layers), reads).eval(), torch.randn(3, 7, 6)
    space = searchable(net, x).eval()
    with torch.no_grad():
        torch.testing.assert_close(space(x), net(x))


class Behind(nn.Module):
    """A function of the last state, which nobody else reads but the next place."""

    def __init__(self, kind: type[nn.RNNBase], function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.layer, self.function, self.head = layer(kind), function, nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        _, last = self.layer(x)
        hidden = last[0] if isinstance(last, tuple) else last
        y: Tensor = self.head(self.function(hidden.squeeze(0)))
        return y


@pytest.mark.parametrize("function", [torch.relu, torch.sigmoid, lambda h: 2 * h - 1], ids=["relu", "sigmoid", "scale"])
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_behind_the_last_state_does_not_join_it(
    kind: type[nn.RNNBase], function: Callable[[Tensor], Tensor]
) -> None:
    net, x = Behind(kind, function).eval(), torch.randn(3, 7, 6)
    with torch.no_grad():
        torch.testing.assert_close(searchable(net, x).eval()(x), net(x))


@pytest.mark.parametrize("layers", [1, 2])
def test_the_cell_of_an_lstm_may_be_read(layers: int) -> None:
    net, x = Net(layer(nn.LSTM, layers), "cell").eval(), torch.randn(3, 7, 6)
    with torch.no_grad():
        torch.testing.assert_close(searchable(net, x).eval()(x), net(x))


def test_the_last_place_and_a_state_need_no_sequence() -> None:
    for reads in ("last", "state"):
        operators = [block.op for block in searchable(Net(layer(nn.GRU), reads), torch.randn(2, 7, 6)).spec.blocks]
        assert "collect" not in operators and "take" not in operators


def test_weights_are_stored_once_and_never_unrolled() -> None:
    short, long = (searchable(Net(layer(nn.GRU), "last"), torch.randn(2, steps, 6)) for steps in (3, 30))
    assert [b.name for b in short.spec.blocks] == [b.name for b in long.spec.blocks]
    gates = [block for block in long.spec.blocks if block.weights and block.loop]
    assert len(gates) == 6 and len({block.weights for block in gates}) == 6


@pytest.mark.parametrize("kind", KINDS)
def test_the_hidden_width_is_one_gate(kind: type[nn.RNNBase]) -> None:
    space = searchable(Net(layer(kind), "last"), torch.randn(2, 7, 6))
    assert space.spec.gates == {"layer.0.state/channels": 5}


def test_a_cell_of_an_lstm_has_16_bits() -> None:
    space = searchable(Net(layer(nn.LSTM), "last"), torch.randn(2, 7, 6))
    widths = {name: spec.widths for name, spec in space.spec.quantizers.items()}
    assert {name for name, each in widths.items() if each == (16,)} == {"layer.0.kept", "layer.0.made", "layer.0.cell"}
    assert space.spec.scale_of["layer.0.cell_state"] == "layer.0.cell"


class Given(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = layer(nn.GRU)
        self.start = nn.Parameter(torch.ones(1, 1, 5))

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x, self.start.expand(1, len(x), 5).contiguous())[0]


@pytest.mark.filterwarnings("ignore:LSTM with projections")  # of torch
@pytest.mark.parametrize(
    ("net", "message"),
    [
        (Net(layer(nn.GRU, bidirectional=True), "steps"), "runs in both directions"),
        (Net(layer(nn.LSTM, proj_size=2), "steps"), "projects its state"),
        (Given(), "starts from a state that is given"),
    ],
)
def test_what_a_chip_cannot_do_is_refused(net: nn.Module, message: str) -> None:
    if isinstance(net, Net):
        net.head = nn.Identity()  # type: ignore[assignment]
    with pytest.raises(UnsupportedNetwork, match=message):
        searchable(net.eval(), torch.randn(2, 7, 6))
