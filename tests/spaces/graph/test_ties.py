"""Which channels live and die together."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from spaces.searchable import Options, searchable
from tests.spaces.small import space_of


class Net(nn.Module):
    """Convolutions a, b, c, ... of the given channels out of 4, and what forward makes of them; then a head."""

    def __init__(self, forward, **channels) -> None:
        super().__init__()
        for name, (inputs, outputs, groups) in channels.items():
            self.add_module(name, nn.Conv2d(inputs, outputs, 1, groups=groups))
        self.then = forward

    def forward(self, x):
        return self.then(self, x)


def gates(forward, shape=(2, 4, 3, 3), **channels) -> dict[str, int]:
    return searchable(Net(forward, **channels), torch.randn(shape)).spec.gates


def slots(forward, **channels) -> dict[str, list[int]]:
    return searchable(Net(forward, **channels), torch.randn(2, 4, 3, 3)).spec.slots


def test_a_chain_has_a_gate_a_layer_and_none_for_the_output():
    found = gates(lambda n, x: n.c(n.b(n.a(x))), a=(4, 5, 1), b=(5, 6, 1), c=(6, 2, 1))
    assert found == {"a/channels": 5, "b/channels": 6}


def test_input_and_output_channels_are_fixed():
    found = slots(lambda n, x: n.b(n.a(x)), a=(4, 5, 1), b=(5, 2, 1))
    assert found == {"input": [0] * 4, "a": [1, 2, 3, 4, 5], "b": [0, 0]}


def test_a_residual_ties_both_sides():
    found = slots(lambda n, x: n.c(n.a(x) + n.b(n.a(x))), a=(4, 3, 1), b=(3, 3, 1), c=(3, 2, 1))
    assert found["a"] == found["b"] == found["add"] == [1, 2, 3]


def test_a_sum_with_the_input_is_fixed_and_listed():
    space = searchable(Net(lambda n, x: n.b(n.a(x) + x), a=(4, 4, 1), b=(4, 2, 1)), torch.randn(2, 4, 3, 3))
    assert space.spec.gates == {}
    assert space.spec.left_alone["a"] == "channels are fixed: they are the network's input or output, by a tie"
    assert space.spec.left_alone["b"] == "channels are fixed: they are the network's output"


def test_a_concatenation_puts_gates_beside_one_another():
    found = slots(lambda n, x: n.c(torch.cat((n.b(x), n.a(x)), 1)), a=(4, 2, 1), b=(4, 3, 1), c=(5, 2, 1))
    assert found["cat"] == found["b"] + found["a"]
    assert len(set(found["cat"])) == 5


def test_a_depthwise_convolution_keeps_its_inputs_channels_as_often_as_it_has_them():
    found = slots(lambda n, x: n.c(n.b(n.a(x))), a=(4, 3, 1), b=(3, 6, 3), c=(6, 2, 1))
    assert found["a"] == [1, 2, 3] and found["b"] == [1, 1, 2, 2, 3, 3]


def test_a_grouped_convolution_keeps_groups_of_one_size():
    found = slots(lambda n, x: n.c(n.b(n.a(x))), a=(4, 6, 1), b=(6, 4, 2), c=(4, 2, 1))
    assert found["a"] == [1, 2, 3, 1, 2, 3] and found["b"] == [4, 5, 4, 5]


def test_a_module_called_twice_ties_its_input_to_its_output():
    found = slots(lambda n, x: n.c(n.b(F.relu(n.b(n.a(x))))), a=(4, 3, 1), b=(3, 3, 1), c=(3, 2, 1))
    assert found["a"] == found["b"] == found["b@2"] == [1, 2, 3]


def test_features_behind_a_flatten_belong_to_their_channel():
    model = nn.Sequential(nn.Conv2d(4, 2, 1), nn.Flatten(), nn.Linear(18, 3))
    assert searchable(model, torch.randn(2, 4, 3, 3)).spec.slots["1"] == [1] * 9 + [2] * 9


def test_a_product_ties_and_a_map_over_all_channels_is_fixed():
    excite = slots(lambda n, x: n.c(n.a(x) * n.b(x).sigmoid()), a=(4, 3, 1), b=(4, 3, 1), c=(3, 2, 1))
    assert excite["a"] == excite["b"] == [1, 2, 3]
    attend = slots(lambda n, x: n.c(n.a(x) * n.b(x).sigmoid()), a=(4, 3, 1), b=(4, 1, 1), c=(3, 2, 1))
    assert attend["a"] == attend["mul"] == [1, 2, 3] and attend["b"] == [0]


LADDER = {"a": (4, 5, 1), "b": (4, 2, 1), "c": (4, 3, 1), "d": (5, 2, 1)}


def ladder(net, x):
    return net.d(net.a(x) + torch.cat((net.b(x), net.c(x)), 1))


def test_where_tensors_overlap_in_part_each_part_has_its_gate():
    assert gates(ladder, **LADDER) == {"a/channels": 2, "a/channels@2": 3}


def test_no_tensor_loses_its_last_channel():
    """The gate of a sum over both parts could keep a channel of `c` alone, and `b` would be empty."""
    space = space_of(Net(ladder, **LADDER), (2, 4, 3, 3))
    for gate in space.gates.values():
        with torch.no_grad():
            gate.shadow.copy_(torch.arange(gate.groups) * 0.01)
    decided = space.decide()
    assert [block.spec.shape[0] for block in decided.blocks] == [2, 1, 1, 2, 2, 2]


@pytest.mark.parametrize("exclude, left", [(("a",), {"b/channels"}), (("b",), {"a/channels"}), (("*",), set())])
def test_excluded_layers_keep_channels_and_the_highest_precision(exclude, left):
    model = Net(lambda n, x: n.c(n.b(n.a(x))), a=(4, 5, 1), b=(5, 6, 1), c=(6, 2, 1))
    space = space_of(model, (2, 4, 3, 3), Options(exclude=exclude))
    assert space.spec.gates.keys() == left
    for name in exclude:
        for layer in ("a", "b", "c") if name == "*" else name:
            assert space.spec.left_alone[layer] == f"excluded by '{name}': all channels, highest precision"
            assert f"{layer}/bits" not in space.decisions
            assert set(space.decide().spec.weights[layer].assigned) == {8}
