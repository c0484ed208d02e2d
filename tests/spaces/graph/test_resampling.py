"""Pools, resizing and transposed convolutions of any shape, and the weights that resizing becomes."""

from fractions import Fraction

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from spaces.graph.rules.resampling import weights_of
from tests.spaces.graph.converting import Form

ONE, TWO, THREE = ((2, 9),), ((3, 4, 6),), ((2, 4, 3, 5),)
NEAR = 2e-3  # where weights are rounded to a denominator
TAKEN, RESIZED = "conv take conv", "conv resample conv"


def resized(operators, shapes=TWO, tolerance=1e-5, **arguments):
    return Form(operators, lambda n, x: n.b(F.interpolate(n.a(x), **arguments)), shapes=shapes, tolerance=tolerance)


def layer(operators, make, shapes=TWO):
    """The layer reads 8 channels."""
    return Form(operators, lambda n, x: n.b(n.layer(n.a(x))), lambda: {"layer": make()}, shapes)


RESIZING = {
    "nearest 1-D": resized(TAKEN, ONE, size=13),
    "nearest": resized(TAKEN, size=(9, 4)),
    "nearest 3-D": resized(TAKEN, THREE, size=(3, 7, 5)),
    "nearest by a fraction": resized(TAKEN, scale_factor=0.5),
    "nearest-exact": resized(TAKEN, scale_factor=1.5, mode="nearest-exact"),
    "linear": resized(RESIZED, ONE, scale_factor=3, mode="linear"),
    "linear with corners": resized(RESIZED, ONE, size=17, mode="linear", align_corners=True),
    "bilinear": resized(RESIZED, scale_factor=2, mode="bilinear"),
    "bilinear with corners": resized(RESIZED, size=(7, 11), mode="bilinear", align_corners=True),
    "bilinear to fewer": resized(RESIZED, size=(3, 4), mode="bilinear"),
    "bilinear by odd factors": resized(RESIZED, TWO, NEAR, scale_factor=(1.7, 0.6), mode="bilinear"),
    "bicubic": resized(RESIZED, TWO, NEAR, scale_factor=2, mode="bicubic"),
    "bicubic with corners": resized(RESIZED, TWO, NEAR, size=(9, 7), mode="bicubic", align_corners=True),
    "trilinear": resized(RESIZED, THREE, scale_factor=2, mode="trilinear"),
    "trilinear with corners": resized(RESIZED, THREE, size=(7, 5, 9), mode="trilinear", align_corners=True),
    "area": resized(RESIZED, size=(3, 4), mode="area"),
    "Upsample": layer(RESIZED, lambda: nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)),
    "UpsamplingBilinear2d": layer(RESIZED, lambda: nn.UpsamplingBilinear2d((7, 11))),
    "to the size of another": Form(
        "conv max_pool resample conv",
        lambda n, x: n.b(F.interpolate(F.max_pool2d(n.a(x), 2), x.shape[2:], mode="bilinear")),
    ),
    "with a function": Form(
        RESIZED, lambda n, x: n.b(F.interpolate(n.a(x), scale_factor=2, mode="bilinear").sigmoid())
    ),
}

POOLS = {
    "adaptive of uneven windows": layer(RESIZED, lambda: nn.AdaptiveAvgPool2d((3, 4))),
    "adaptive to more": layer(RESIZED, lambda: nn.AdaptiveAvgPool2d((5, 6))),
    "adaptive 1-D": layer(RESIZED, lambda: nn.AdaptiveAvgPool1d(4), ONE),
    "adaptive 3-D": layer(RESIZED, lambda: nn.AdaptiveAvgPool3d((3, 2, 4)), THREE),
    "adaptive of even windows": layer("conv avg_pool conv", lambda: nn.AdaptiveAvgPool2d((2, 3))),
    "a border left out": layer(RESIZED, lambda: nn.AvgPool2d(3, 2, 1, count_include_pad=False)),
    "a border left out 1-D": layer(RESIZED, lambda: nn.AvgPool1d(3, 2, 1, count_include_pad=False), ONE),
    "a border left out 3-D": layer(RESIZED, lambda: nn.AvgPool3d(3, 2, 1, count_include_pad=False), THREE),
    "a border left out and ReLU": Form(
        RESIZED, lambda n, x: n.b(F.avg_pool2d(n.a(x), 3, 2, 1, count_include_pad=False).relu())
    ),
    "ceil_mode": layer(RESIZED, lambda: nn.AvgPool2d(4, 3, 1, ceil_mode=True)),
    "ceil_mode without padding": layer(RESIZED, lambda: nn.AvgPool2d(4, ceil_mode=True)),
    "ceil_mode and a border left out": layer(
        RESIZED, lambda: nn.AvgPool2d((3, 4), 3, 1, ceil_mode=True, count_include_pad=False)
    ),
    "ceil_mode where all windows are full": layer("conv avg_pool conv", lambda: nn.AvgPool2d(2, ceil_mode=True)),
    "ceil_mode of maxima": layer("conv max_pool conv", lambda: nn.MaxPool2d(4, 3, 1, ceil_mode=True)),
}

SPREAD = "conv conv_transpose conv"
TRANSPOSED = {
    "1-D": layer(SPREAD, lambda: nn.ConvTranspose1d(8, 6, 4, 3, 1, output_padding=2), ONE),
    "2-D": layer(SPREAD, lambda: nn.ConvTranspose2d(8, 6, 3, 2, 1, output_padding=1)),
    "3-D": layer(SPREAD, lambda: nn.ConvTranspose3d(8, 6, 2, 2, bias=False), THREE),
    "groups": layer(SPREAD, lambda: nn.ConvTranspose2d(8, 6, 2, 2, groups=2)),
    "groups 3-D": layer(
        SPREAD, lambda: nn.ConvTranspose3d(8, 6, (3, 2, 3), (1, 2, 2), 1, output_padding=(0, 1, 1), groups=2), THREE
    ),
    "depthwise": layer(SPREAD, lambda: nn.ConvTranspose2d(8, 8, 4, 2, 1, groups=8)),
    "depthwise to more": layer(SPREAD, lambda: nn.ConvTranspose2d(8, 16, 4, 2, 1, groups=8)),
    "dilation": layer(SPREAD, lambda: nn.ConvTranspose2d(8, 6, 3, 1, 2, dilation=2)),
    "without padding": layer(SPREAD, lambda: nn.ConvTranspose2d(8, 6, 3)),
    "a norm and a function": layer(
        SPREAD, lambda: nn.Sequential(nn.ConvTranspose2d(8, 6, 3), nn.BatchNorm2d(6), nn.Sigmoid())
    ),
    "a function": Form(
        SPREAD,
        lambda n, x: n.b(F.conv_transpose2d(n.a(x), n.weight, stride=2)),
        lambda: {"weight": nn.Parameter(torch.randn(8, 6, 3, 3))},
    ),
    "called twice": layer(
        "conv conv_transpose conv_transpose conv",
        lambda: nn.Sequential(layer := nn.ConvTranspose2d(8, 8, 3), nn.ReLU(), layer),
    ),
}

ALL = {"resizing": RESIZING, "pool": POOLS, "transposed convolution": TRANSPOSED}


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, forms in ALL.items() for name in forms])
def test_what_resizes_maps_is_exact(kind, name):
    ALL[kind][name].check()


def attributes(form: Form) -> dict:
    return next(block for block in form.check().spec.blocks if block.op == "resample").attributes


def test_bilinear_upsampling_by_two_has_quarters():
    """Of 4 elements along the first axis, (-0.25, 0.25, 0.75, ...), cut at the border."""
    found = attributes(RESIZING["bilinear"])
    assert found["divisors"] == [4, 4]
    assert found["starts"][0] == [0, 0, 0, 1, 1, 2, 2, 3]
    assert found["weights"][0] == [[4], [3, 1], [1, 3], [3, 1], [1, 3], [3, 1], [1, 3], [4]]


def test_an_adaptive_pool_has_the_mean_of_each_window():
    """4 to 3 in windows 0-1, 1-2 and 2-3; 6 to 4 in windows 0-1, 1-2, 3-4 and 4-5."""
    found = attributes(POOLS["adaptive of uneven windows"])
    assert found["divisors"] == [2, 2]
    assert found["starts"] == [[0, 1, 2], [0, 1, 3, 4]]
    assert found["weights"] == [[[1, 1]] * 3, [[1, 1]] * 4]


def test_a_border_that_is_left_out_counts_its_elements_alone():
    """Windows of 3 in steps of 2 from -1: 2 elements at the border, 3 inside. 2 * 3 is their denominator."""
    found = attributes(POOLS["a border left out"])
    assert found["divisors"] == [6, 6]
    assert found["weights"] == [[[3, 3], [2, 2, 2]], [[3, 3], [2, 2, 2], [2, 2, 2]]]


def test_zeros_between_weights_are_kept_and_zeros_around_them_are_not():
    third, zero = Fraction(1, 3), Fraction(0)
    made = weights_of([[[zero, third, zero, Fraction(2, 3), zero], [zero] * 5]])
    assert made == {"divisors": [3], "starts": [[1, 0]], "weights": [[[1, 0, 2], [0]]]}


@pytest.mark.parametrize("name", ["bicubic", "bicubic with corners", "bilinear by odd factors"])
def test_weights_of_each_place_add_up_to_the_denominator(name):
    found = attributes(RESIZING[name])
    for divisor, rows in zip(found["divisors"], found["weights"], strict=True):
        assert divisor <= 1024 and {sum(row) for row in rows} == {divisor}


def test_kernels_of_a_transposed_convolution_are_mirrored_and_its_groups_kept_apart():
    """(C_in, C_out / groups, 2) of 2 groups; weights of the Space are (C_out, C_in / groups, 2)."""
    weight = torch.arange(16.0).view(4, 2, 2)

    def make():
        found = nn.ConvTranspose1d(4, 4, 2, groups=2, bias=False)
        found.weight = nn.Parameter(weight)
        return found

    form = Form("conv_transpose conv", lambda n, x: n.b(n.layer(x)), lambda: {"layer": make()}, ((4, 5),))
    found = form.check().weights["layer"].weight
    assert found.tolist() == [
        [[1, 0], [5, 4]],  # output channel 0 of group 0 reads input channels 0 and 1
        [[3, 2], [7, 6]],
        [[9, 8], [13, 12]],
        [[11, 10], [15, 14]],
    ]
