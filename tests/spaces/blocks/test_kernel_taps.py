"""Choices of taps: which masks, which are offered, and that the cropped layer is the masked one."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from cost_models import COST_MODELS
from spaces.blocks.kernel_taps import cropped, kernel_options, masks, time_options
from spaces.searchable import Options
from tests.spaces.deciding.checks import check_decided
from tests.spaces.small import images, space_of


def conv(kernel, padding, dilation=None):
    one = [1] * len(kernel)
    return {"kernel": kernel, "padding": padding, "dilation": dilation or one, "stride": one, "groups": 1}


class Square(nn.Module):
    """5x5 with norm, then 3x3 depthwise, dilated, then 1x1."""

    def __init__(self) -> None:
        super().__init__()
        self.wide, self.norm = nn.Conv2d(3, 6, 5, stride=2, padding=2, bias=False), nn.BatchNorm2d(6)
        self.deep = nn.Conv2d(6, 6, 3, padding=2, dilation=2, groups=6)
        self.head = nn.Linear(6, 4)

    def forward(self, x):
        return self.head(F.relu(self.deep(F.relu(self.norm(self.wide(x))))).mean((2, 3)))


class Causal(nn.Module):
    """Two causal convolutions, one of them dilated, in both ways of writing the padding."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.pad = nn.Conv1d(2, 6, 5), nn.ConstantPad1d((8, 0), 0.0)
        self.second = nn.Conv1d(6, 5, 5, dilation=2)
        self.head = nn.Linear(5, 3)

    def forward(self, x):
        x = F.relu(self.first(F.pad(x, (4, 0))))
        return self.head(F.relu(self.second(self.pad(x))).mean(2))


SQUARE = Options((0, 4, 8), activation_bits=(4, 8), kernel_sizes=(1, 3, 5, 7))
CAUSAL = Options((0, 4, 8), activation_bits=(4, 8), time=("*",))


def test_masks_of_a_square_kernel_are_nested_and_centred():
    made = masks("kernel", (5, 5), (1, 3, 5))
    assert made.sum((1, 2)).tolist() == [1, 9, 25]
    assert made[0, 2, 2] == 1 and (made[0] <= made[1]).all() and (made[1] <= made[2]).all()


def test_masks_of_time_count_from_the_present():
    assert masks("receptive_field", (5,), (1, 3, 5)).tolist() == [[0, 0, 0, 0, 1], [0, 0, 1, 1, 1], [1] * 5]
    assert masks("dilation", (5,), (4, 2, 1)).tolist() == [[1, 0, 0, 0, 1], [1, 0, 1, 0, 1], [1] * 5]


@pytest.mark.parametrize(
    "attributes, offered",
    [
        (conv([7, 7], [[3, 3], [3, 3]]), (1, 3, 5, 7)),
        (conv([7, 7], [[1, 1], [3, 3]]), (5, 7)),  # the padding covers one ring
        (conv([5, 5], [[2, 2], [2, 2]], [2, 2]), (3, 5)),
        (conv([3, 3], [[0, 0], [0, 0]]), (3,)),
        (conv([4, 4], [[2, 2], [2, 2]]), (4,)),  # an even kernel has no centre in an odd one
        (conv([5, 3], [[2, 2], [1, 1]]), (5,)),
    ],
)
def test_kernel_sizes_that_the_padding_covers_are_offered(attributes, offered):
    assert kernel_options(attributes, (1, 3, 5, 7)) == offered


def test_time_options_go_from_one_tap_to_all_and_from_sparse_to_dense():
    offered = time_options(conv([5], [[8, 0]], [2]))
    assert offered == {"receptive_field": (1, 2, 3, 4, 5), "dilation": (4, 2, 1)}


def test_cropping_moves_padding_and_dilation_with_the_taps():
    made, index = cropped(conv([5], [[8, 0]], [2]), {"receptive_field": 4, "dilation": 2})
    assert made["kernel"] == [2] and made["dilation"] == [4] and made["padding"] == [[4, 0]]
    assert index[0].tolist() == [2, 4]
    made, index = cropped(conv([5, 5], [[2, 2], [2, 3]]), {"kernel": 3})
    assert made["kernel"] == [3, 3] and made["padding"] == [[1, 1], [1, 2]]


@pytest.mark.parametrize("size", [1, 3, 5])
@pytest.mark.parametrize("deep", [1, 3])
def test_a_smaller_kernel_computes_what_the_masked_one_did(size, deep):
    space = space_of(Square(), (2, 3, 8, 8), SQUARE)
    space.choices["wide/kernel"].fix((size,))
    space.choices["deep/kernel"].fix((deep,))
    check_decided(space, images((5, 3, 8, 8)))
    shapes = {name: tuple(w.spec.shape[2:]) for name, w in space.decide().weights.items()}
    assert shapes == {"wide": (size, size), "deep": (deep, deep), "head": ()}


@pytest.mark.parametrize("field", [1, 2, 3, 5])
@pytest.mark.parametrize("dilation", [1, 2, 4])
def test_a_shorter_past_computes_what_the_masked_one_did(field, dilation):
    space = space_of(Causal(), (2, 2, 16), CAUSAL)
    for name in ("first", "second"):
        space.choices[f"{name}/receptive_field"].fix((field,))
        space.choices[f"{name}/dilation"].fix((dilation,))
    check_decided(space, images((5, 2, 16)))


def test_every_size_of_a_kernel_learns_from_cost():
    space = space_of(Square(), (2, 3, 8, 8), SQUARE).train()
    COST_MODELS["macs"](space.describe()).backward()
    grad = space.choices["wide/kernel"].logits.grad[0]
    assert grad[2] > 0 > grad[0]


def test_a_layer_whose_kernel_cannot_shrink_is_listed():
    space = space_of(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 1)), options=SQUARE)
    assert "no smaller kernel of [1, 3, 5, 7]" in space.spec.left_alone["0/kernel"]
    assert "0/kernel" not in space.choices


def test_a_time_mask_without_a_padding_rule_is_refused():
    model = nn.Sequential(
        nn.Conv1d(2, 4, 5, padding=2), nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(4, 2)
    )
    message = (
        r"time: layer '0' is padded by 2 on the left, its 5 taps reach back 4.*Pad 4 on the left, F.pad\(x, \(4, 0\)\)"
    )
    with pytest.raises(ValueError, match=message):
        space_of(model, (2, 2, 16), Options(time=("0",)))


def test_a_time_pattern_that_matches_nothing_is_refused():
    with pytest.raises(ValueError, match=r"time 'tcn\..*' matches no 1-D convolution; there are: first, second"):
        space_of(Causal(), (2, 2, 16), Options(time=("tcn.*",)))


@pytest.mark.parametrize("layer", [nn.MaxPool1d(2), nn.ReLU()])
def test_padding_that_no_convolution_reads_is_an_operator_of_its_own(layer):
    model = nn.Sequential(nn.Conv1d(2, 4, 1), nn.ConstantPad1d((1, 1), 0.0), layer, nn.Flatten(), nn.LazyLinear(2))
    model(torch.zeros(2, 2, 6))
    space = space_of(model, (2, 2, 6))
    assert [block.op for block in space.spec.blocks][:2] == ["conv", "resample"]
    assert space.spec.blocks[1].shape == (4, 8)
    space.decisions["0/channels"].fix((0, 1, 1, 0))
    check_decided(space, images((2, 2, 6)))


def test_kernel_sizes_without_a_kernel_to_shrink_are_refused():
    model = nn.Sequential(nn.Conv1d(2, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(64, 2))
    with pytest.raises(
        ValueError, match=r"kernel_sizes \[1, 3\]: no 2-D or 3-D convolution.*there are: \{'0': \(3,\)\}"
    ):
        space_of(model, (2, 2, 16), Options(kernel_sizes=(1, 3)))


def test_a_time_pattern_says_which_of_its_layers_have_one_tap():
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.wide, self.point = nn.Conv1d(2, 4, 3), nn.Conv1d(4, 2, 1)

        def forward(self, x):
            return self.point(torch.relu(self.wide(nn.functional.pad(x, (2, 0))))).flatten(1)

    space = space_of(Net(), (2, 2, 16), Options(time=("*",)))
    assert space.spec.left_alone["point/time"] == "its kernel has one tap"
    assert "wide/receptive_field" in space.decisions or any("wide/" in name for name in space.choices)
