import numpy as np
import pytest
import torch
from torch import Tensor, nn

from search.deploy.lower import lower
from search.integer.executor import Executor
from spaces.modes import FAKE, INTEGER
from spaces.options import Options
from spaces.searchable import searchable
from spaces.space import Space


class Net(nn.Module):
    def __init__(self, kind: type[nn.RNNBase]) -> None:
        super().__init__()
        self.conv, self.layer, self.head = (
            nn.Conv1d(3, 4, 3, padding=1),
            kind(4, 6, 2, batch_first=True),
            nn.Linear(6, 3),
        )

    def forward(self, x: Tensor) -> Tensor:
        every, _ = self.layer(self.conv(x).relu().transpose(1, 2))
        y: Tensor = self.head(every[:, -1])
        return y


def space_of(kind: type[nn.RNNBase]) -> tuple[Space, Tensor]:
    torch.manual_seed(0)
    net, x = Net(kind).eval(), torch.randn(8, 3, 9)
    space = searchable(net, x, Options(weight_bits=(0, 2, 4, 8), granularity="channel"))
    space.calibrate([x])
    return space, x


KINDS = (nn.GRU, nn.LSTM, nn.RNN)


def decide_some(space: Space) -> None:
    """Every third hidden channel goes, and widths alternate."""
    for name, decision in space.decisions.items():
        if name.endswith("/channels"):
            decision.fix(tuple(int(place % 3 != 1) for place in range(len(decision.pick()))))
        else:
            decision.fix(tuple(decision.options[place % 2] for place in range(len(decision.pick()))))


@pytest.mark.parametrize("kind", KINDS)
def test_closed_hidden_channels_compute_what_the_smaller_layer_does(kind: type[nn.RNNBase]) -> None:
    space, x = space_of(kind)
    decide_some(space)
    small = space.decide()
    for each in (space, small):
        each.eval()
        each.set_mode(FAKE)
    with torch.no_grad():
        torch.testing.assert_close(space(x), small(x), atol=1e-5, rtol=1e-4)
    assert small.spec.shapes["layer.0.hidden"] == (4,)
    states = [w for name, w in small.weights.items() if name.startswith("layer.0.") and name.endswith("_state")]
    assert states and all(each.weight.shape == (4, 4) for each in states)


class Masked(nn.Module):
    """What is behind a recurrent layer masks its channels too, and a state reads them before that."""

    def __init__(self, norm: bool) -> None:
        super().__init__()
        self.layer, self.norm = nn.GRU(3, 6), nn.BatchNorm1d(6) if norm else None
        self.head = nn.Conv1d(6, 4, 3) if norm else nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        every, last = self.layer(x.permute(2, 0, 1))
        y: Tensor = self.head(self.norm(every.permute(1, 2, 0)) if self.norm is not None else last[-1].sigmoid())
        return y


@pytest.mark.parametrize("norm", [True, False])
def test_a_state_reads_closed_channels_as_zero_whatever_masks_them_later(norm: bool) -> None:
    torch.manual_seed(0)
    space = searchable(Masked(norm).eval(), torch.randn(2, 3, 9), Options(weight_bits=(0,), activation_bits=None))
    (gate,) = (gate for gate in space.gates.values() if gate.groups == 6)
    gate.fix((0, 0, 1, 1, 1, 1))
    x, small = torch.randn(4, 3, 9), space.decide()
    for each in (space, small):
        each.eval()
        each.set_mode(FAKE)
    with torch.no_grad():
        torch.testing.assert_close(space(x), small(x), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_integers_of_training_are_those_of_the_program(kind: type[nn.RNNBase]) -> None:
    space, x = space_of(kind)
    decide_some(space)
    small = space.decide().eval()
    program = lower(small)
    found, expected = Executor(program)(x.numpy(), intermediate=True), small.codes(x)
    for name, codes in expected.items():
        np.testing.assert_array_equal(found[name], codes.numpy(), err_msg=name)
    assert program.macs() == float(small.costs(["macs"])["macs"])
    assert program.flash_bytes() == float(small.costs(["flash_bytes"])["flash_bytes"])
    assert program.peak_ram_bytes() == float(small.costs(["peak_ram_bytes"])["peak_ram_bytes"])


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_reach_all_weights_through_time(kind: type[nn.RNNBase]) -> None:
    space, x = space_of(kind)
    small = space.decide()
    for mode in (FAKE, INTEGER):
        small.train()
        small.set_mode(mode)
        small.zero_grad()
        small(x).square().sum().backward()
        for name, weights in small.weights.items():
            assert weights.weight.grad is not None and weights.weight.grad.abs().sum() > 0, (mode, name)


def test_what_depends_on_no_state_runs_once_for_all_places(monkeypatch: pytest.MonkeyPatch) -> None:
    space, x = space_of(nn.GRU)
    calls: list[tuple[str, int]] = []
    for block in space.blocks:
        before = block.forward
        monkeypatch.setattr(
            block,
            "forward",
            lambda selection, *inputs, block=block, before=before: (
                calls.append((block.name, len(inputs[0]))),
                before(selection, *inputs),
            )[1],
        )
    with torch.no_grad():
        space(x)
    assert calls.count(("layer.0.reset_input", 9 * len(x))) == 1
    assert calls.count(("layer.0.reset_state", len(x))) == 9
