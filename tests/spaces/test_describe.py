"""A Space as the cost models see it: open and decided are one network, also where kernels change with the channels."""

import pytest
import torch
from torch import nn

from cost_models import TARGET_COST_MODELS
from search.config import composed
from spaces.searchable import Options
from tests.spaces.small import space_of

TARGETS = {name: composed([f"target={name}"]).target for name in ("cortex_m4", "mpic")}


def latency(space, target: str) -> float:
    return TARGET_COST_MODELS["latency_cycles"](TARGETS[target])(space.describe()).item()


def net(groups: int, channels: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, channels, 1), nn.ReLU(), nn.Conv2d(channels, channels, 3, padding=1, groups=groups), nn.ReLU(),
        nn.Conv2d(channels, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
    )  # fmt: skip


@pytest.mark.parametrize("target", TARGETS)
def test_a_grouped_convolution_with_one_input_a_group_left_is_depthwise_before_it_is_decided(target):
    space = space_of(net(groups=4, channels=8), options=Options(weight_bits=(0, 8)))
    before = latency(space, target)
    gate = space.decisions["0/channels"]
    gate.fix((1, 0) * (gate.groups // 2))
    decided = space.decide()
    (layer,) = [layer for layer in space.describe().layers if layer.name == "2"]
    assert layer.runs_depthwise and layer.in_channels == layer.groups == 4
    assert latency(space, target) == latency(decided, target) != before
    rate = TARGETS[target].cycles_per_mac
    assert rate["depthwise/a8w8"] * 9 * 36 * layer.out_channels.item() < latency(space, target)


@pytest.mark.parametrize("target", TARGETS)
def test_a_depthwise_convolution_with_one_channel_left_is_plain_before_it_is_decided(target):
    space = space_of(net(groups=8, channels=8), options=Options(weight_bits=(0, 8)))
    space.decisions["0/channels"].fix((0, 0, 1, 0, 0, 0, 0, 0))
    (layer,) = [layer for layer in space.describe().layers if layer.name == "2"]
    assert layer.depthwise and not layer.runs_depthwise
    assert latency(space, target) == latency(space.decide(), target)


def test_a_convolution_over_one_channel_that_grows_stays_one_of_all_channels():
    """It has as many groups as inputs, one; it is not depthwise, so groups do not grow with its inputs."""
    model = nn.Sequential(
        nn.Conv2d(3, 1, 1), nn.ReLU(), nn.Conv2d(1, 6, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )
    space = space_of(model, options=Options(weight_bits=(0, 8)))
    x = torch.randn(2, 3, 6, 6)
    space.decisions["0/channels"].fix((3,))
    decided = space.decide()
    (block,) = [block for block in decided.spec.blocks if block.name == "2"]
    assert block.attributes["groups"] == 1 and decided.weights["2"].weight.shape == (6, 3, 3, 3)
    decided.set_mode("float")
    space.set_mode("float")
    torch.testing.assert_close(decided.eval()(x), space.eval()(x))
