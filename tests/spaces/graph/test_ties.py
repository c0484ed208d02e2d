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


# What moves, reduces or multiplies channels


class Head(nn.Module):
    """One of several layers, by name, that a form uses behind the convolution a of 6 or other channels."""

    def __init__(self, form, channels=6, **layers) -> None:
        super().__init__()
        self.a, self.form = nn.Conv2d(4, channels, 1), form
        for name, layer in layers.items():
            setattr(self, name, layer)

    def forward(self, x):
        return self.form(self, self.a(x))


def behind(form, channels=6, shape=(2, 4, 2, 4), **layers):
    """The description of a Space whose convolution a is followed by a form."""
    return searchable(Head(form, channels, **layers), torch.randn(shape)).spec


def tokens(y):
    return y.flatten(2).transpose(1, 2)


def test_a_channel_shuffle_keeps_gates_free():
    spec = behind(lambda n, y: n.b(F.channel_shuffle(y, 2)), b=nn.Conv2d(6, 2, 1))
    assert spec.gates == {"a/channels": 6}
    assert spec.slots["channel_shuffle"] == [1, 4, 2, 5, 3, 6]


@pytest.mark.parametrize(
    ("form", "inputs", "name", "expected"),
    [
        (lambda n, y: n.b(y.flip(1)), 6, "flip", [6, 5, 4, 3, 2, 1]),
        (lambda n, y: n.b(y.roll(2, 1)), 6, "roll", [5, 6, 1, 2, 3, 4]),
        (lambda n, y: n.b(y.repeat(1, 2, 1, 1)), 12, "repeat", [1, 2, 3, 4, 5, 6] * 2),
        (lambda n, y: n.b(y.repeat_interleave(2, 1)), 12, "repeat_interleave", [1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6]),
        (lambda n, y: n.b(torch.cat(y.split([2, 4], 1)[::-1], 1)), 6, "cat", [3, 4, 5, 6, 1, 2]),
        (
            lambda n, y: n.b(F.pixel_unshuffle(y, 2)),
            24,
            "pixel_unshuffle.3",
            [n for n in range(1, 7) for _ in range(4)],
        ),
        (lambda n, y: n.b(F.interpolate(y, (3, 5), mode="bilinear")), 6, "upsample_bilinear2d", [1, 2, 3, 4, 5, 6]),
    ],
)
def test_channels_that_move_take_their_gates_with_them(form, inputs, name, expected):
    spec = behind(form, b=nn.Conv2d(inputs, 2, 1))
    places = {place: number for number, place in enumerate(spec.slots["a"], 1)}
    assert sum(spec.gates.values()) == 6
    assert [places[place] for place in spec.slots[name]] == expected


def test_parts_have_gates_of_their_own_so_that_none_loses_its_last_channel():
    model = Head(lambda n, y: n.b(y[:, 1:3]) + n.c(y), b=nn.Conv2d(2, 2, 1), c=nn.Conv2d(6, 2, 1))
    space = space_of(model, (2, 4, 2, 4))
    assert space.spec.gates == {"a/channels": 4, "a/channels@2": 2}
    for gate in space.gates.values():
        with torch.no_grad():
            gate.shadow.copy_(torch.arange(gate.groups) * 0.01)
    assert [block.spec.shape[0] for block in space.decide().blocks] == [2, 1, 2, 2, 2]


def test_a_pixel_shuffle_ties_the_channels_that_become_one():
    spec = behind(lambda n, y: n.b(F.pixel_shuffle(y, 2)), 8, b=nn.Conv2d(2, 2, 1))
    assert spec.slots["a"] == [1, 1, 1, 1, 2, 2, 2, 2] and spec.gates == {"a/channels": 2}


def test_groups_that_are_split_off_tie_their_channels():
    spec = behind(lambda n, y: n.b(y.unflatten(1, (3, 2)).sum(2)), b=nn.Conv2d(3, 2, 1))
    assert spec.slots["a"] == [1, 1, 2, 2, 3, 3]


def attend(n, y):
    """Two heads of three features."""
    q, k, v = n.qkv(tokens(y)).unflatten(2, (3, 2, 3)).permute(2, 0, 3, 1, 4).unbind(0)
    return n.b(((q @ k.transpose(2, 3)).softmax(-1) @ v).transpose(1, 2).flatten(2))


def test_heads_of_attention_are_gates():
    spec = behind(attend, qkv=nn.Linear(6, 18), b=nn.Linear(6, 2))
    assert spec.gates == {"a/channels": 6, "qkv/channels": 2}
    head = spec.slots["qkv"][0]
    assert spec.slots["qkv"] == [*[head] * 3, *[head + 1] * 3] * 3
    assert spec.slots["matmul"] == [head, head + 1] == spec.slots["softmax"]


def test_a_closed_head_is_gone_from_all_that_it_is_made_of():
    space = space_of(Head(attend, qkv=nn.Linear(6, 18), b=nn.Linear(6, 2)), (2, 4, 2, 4))
    space.decisions["qkv/channels"].fix((0, 1))
    small = space.decide()
    assert small.weights["qkv"].weight.shape[0] == 9 and small.weights["b"].weight.shape[1] == 3
    assert torch.equal(small.weights["qkv"].weight, space.weights["qkv"].weight.view(3, 2, 3, 6, 1)[:, 1].flatten(0, 1))


FREE = {"a/channels": 6}


@pytest.mark.parametrize(
    ("form", "layers", "expected"),
    [
        (lambda n, y: n.b(n.norm(tokens(y))), {"norm": nn.LayerNorm(6), "b": nn.Linear(6, 2)}, FREE),
        (lambda n, y: n.b(n.norm(tokens(y))), {"norm": nn.RMSNorm(6), "b": nn.Linear(6, 2)}, FREE),
        (lambda n, y: n.b(n.norm(y)), {"norm": nn.GroupNorm(1, 6), "b": nn.Conv2d(6, 2, 1)}, FREE),
        (lambda n, y: n.b(n.norm(y)), {"norm": nn.InstanceNorm2d(6), "b": nn.Conv2d(6, 2, 1)}, FREE),
        (lambda n, y: n.b(y.softmax(-1)), {"b": nn.Conv2d(6, 2, 1)}, FREE),
        (lambda n, y: n.b(y.softmax(1)), {"b": nn.Conv2d(6, 2, 1)}, {}),
        (lambda n, y: n.b(y.transpose(1, 2)), {"b": nn.Conv2d(2, 2, 1)}, {}),
        (lambda n, y: n.b(y.transpose(2, 3)), {"b": nn.Conv2d(6, 2, 1)}, FREE),
        (lambda n, y: n.b(y.mean(1, keepdim=True)), {"b": nn.Conv2d(1, 2, 1)}, FREE),
        (lambda n, y: n.b(y - y.mean(1, keepdim=True)), {"b": nn.Conv2d(6, 2, 1)}, FREE),
        (lambda n, y: n.b(y.std(1, keepdim=True)), {"b": nn.Conv2d(1, 2, 1)}, FREE),
        (lambda n, y: n.b(y.amax((2, 3), keepdim=True)), {"b": nn.Conv2d(6, 2, 1)}, FREE),
        (lambda n, y: n.b(y.reshape(-1, 4, 12)), {"b": nn.Conv1d(4, 2, 1)}, {}),  # 6 channels are no multiple of 4
        (lambda n, y: n.b(n.p(y)), {"p": nn.PReLU(6), "b": nn.Conv2d(6, 2, 1)}, FREE),
    ],
)
def test_gates_behind_what_reads_several_channels(form, layers, expected):
    assert behind(form, **layers).gates == expected


def test_a_group_norm_ties_channels_at_one_position_of_its_groups():
    spec = behind(lambda n, y: n.b(n.norm(y)), norm=nn.GroupNorm(2, 6), b=nn.Conv2d(6, 2, 1))
    assert spec.slots["a"] == spec.slots["norm"] == [1, 2, 3, 1, 2, 3]


def test_a_mean_over_channels_has_weights_of_its_own_that_stay():
    space = space_of(Head(lambda n, y: n.b(y.mean(1, keepdim=True)), b=nn.Conv2d(1, 2, 1)), (2, 4, 2, 4))
    space.decisions["a/channels"].fix((1, 0, 1, 0, 0, 1))
    assert space.decide().weights["mean"].weight.flatten().tolist() == [pytest.approx(1 / 6)] * 3


def test_a_learned_constant_is_pruned_with_its_tensor():
    positions = nn.Parameter(torch.randn(6, 2, 4))
    spec = behind(lambda n, y: n.b(y + n.p), p=positions, b=nn.Conv2d(6, 2, 1))
    assert spec.gates == {"a/channels": 6}
    assert spec.slots["add.constant"] == spec.slots["a"] == [1, 2, 3, 4, 5, 6]


def test_a_constant_behind_other_channels_has_gates_of_its_own():
    spec = behind(lambda n, y: n.b(F.pad(y, (0, 0, 0, 0, 0, 2))), b=nn.Conv2d(8, 2, 1))
    assert sorted(spec.gates.values()) == [2, 6]


def test_tensors_of_which_the_larger_is_taken_or_that_are_joined_along_maps_are_tied():
    for form in (lambda n, y: n.b(torch.maximum(y, n.c(y))), lambda n, y: n.b(torch.cat((y, n.c(y)), 2))):
        assert behind(form, b=nn.Conv2d(6, 2, 1), c=nn.Conv2d(6, 6, 1)).gates == {"a/channels": 6}


@pytest.mark.parametrize(
    ("layer", "of_a", "of_layer"),
    [
        (nn.ConvTranspose2d(6, 4, 2), [1, 2, 3, 4, 5, 6], [7, 8, 9, 10]),
        (nn.ConvTranspose2d(6, 4, 2, groups=2), [1, 2, 3, 1, 2, 3], [4, 5, 4, 5]),
        (nn.ConvTranspose2d(6, 12, 2, groups=6), [1, 2, 3, 4, 5, 6], [n for n in range(1, 7) for _ in range(2)]),
    ],
)
def test_a_transposed_convolution_ties_as_a_convolution_does(layer, of_a, of_layer):
    spec = behind(lambda n, y: n.b(n.up(y)), up=layer, b=nn.Conv2d(layer.out_channels, 2, 1))
    assert spec.slots["a"] == of_a and spec.slots["up"] == of_layer
