"""Weights and multiply-adds of the seed networks, next to the figures that were published for them.

Weights are the elements of convolutions and linear layers, without biases and norms. 1 MAC = 2 FLOPs.
"""

import pytest
import torch
from torch import nn

from cost_models import COST_MODELS
from search.errors import UsageError
from spaces.networks import NETWORKS
from spaces.searchable import searchable

# network, arguments, one example -> weights, MACs
FIGURES = [
    # MLPerf Tiny (Banbury et al., arXiv 2106.07597): its four networks have 12.50M, 2.66M, 7.49M and 0.264M MACs.
    ("resnet8", {}, (3, 32, 32), 77_360, 12_501_632),
    ("ds_cnn", {}, (1, 49, 10), 22_016, 2_656_768),
    ("mobilenet_v1", {"width": 0.25, "classes": 2}, (3, 96, 96), 208_112, 7_489_664),
    ("autoencoder", {}, (640,), 264_192, 264_192),
    # Sandler et al., arXiv 1801.04381, table 4: 3.4M parameters, 300M MACs.
    ("mobilenet_v2", {"classes": 1000}, (3, 224, 224), 3_469_760, 300_774_272),
    # Choi et al., arXiv 1904.03814, table 1: 66K parameters, 3.0M FLOPs. A second is 98 windows of 30 ms, 10 ms apart.
    ("tc_resnet", {}, (40, 98), 64_512, 1_522_560),
    # Weights as in the code of Risso et al. (arXiv 2203.14768); MACs are a count, for the last padding is smaller here.
    ("temponet", {}, (4, 256), 423_424, 13_238_400),
    # MLPerf Tiny, streaming wake word: a count of the reference, github.com/mlcommons/tiny, keras_model.py.
    ("wake_word", {}, (40, 30), 21_912, 432_832),
    # LeCun et al., 1998: 60,000 parameters. A count of the paper's layers, where the second reads all maps.
    ("lenet5", {}, (1, 32, 32), 61_470, 416_520),
]
# network -> which figure, as published (FLOPs divided by 2), by what part ours may differ
ROUNDED = {
    "resnet8": ("macs", 12.50e6, 0.001),
    "ds_cnn": ("macs", 2.66e6, 0.002),
    "mobilenet_v1": ("macs", 7.49e6, 0.001),
    "autoencoder": ("macs", 0.264e6, 0.001),
    "mobilenet_v2": ("macs", 300e6, 0.02),
    "tc_resnet": ("macs", 3.0e6 / 2, 0.02),
    "lenet5": ("weights", 60_000, 0.03),
}


def weights(network: nn.Module) -> int:
    layers = [m for m in network.modules() if isinstance(m, (nn.Conv1d, nn.Conv2d, nn.Linear))]
    return sum(layer.weight.numel() for layer in layers)


@pytest.mark.parametrize(("name", "arguments", "shape", "stored", "macs"), FIGURES, ids=[name for name, *_ in FIGURES])
def test_a_network_is_as_large_as_published(name, arguments, shape, stored, macs):
    network = NETWORKS[name](**arguments)
    space = searchable(network, torch.randn(2, *shape))
    assert weights(network) == stored
    assert COST_MODELS["macs"](space.describe()).item() == macs


@pytest.mark.parametrize("name", ROUNDED)
def test_our_figures_are_the_published_ones_but_for_rounding(name):
    kind, published, difference = ROUNDED[name]
    (found,) = ({"weights": stored, "macs": macs}[kind] for each, _, _, stored, macs in FIGURES if each == name)
    assert found == pytest.approx(published, rel=difference)


def test_all_parameters_of_mobilenet_v2_are_those_of_the_paper():
    found = sum(parameter.numel() for parameter in NETWORKS["mobilenet_v2"](classes=1000).parameters())
    assert found == 3_504_872  # with biases and norms, as torchvision counts it too
    assert found == pytest.approx(3.4e6, rel=0.04)


def test_all_parameters_of_tc_resnet8_are_those_of_the_paper():
    found = sum(parameter.numel() for parameter in NETWORKS["tc_resnet"]().parameters())
    assert found == pytest.approx(66e3, rel=0.02)


@pytest.mark.parametrize("width, widths", [(1.0, (32, 16, 24, 32)), (0.35, (16, 8, 8, 16)), (1.4, (48, 24, 32, 48))])
def test_mobilenet_v2_rounds_its_widths_as_its_authors_do(width, widths):
    network = NETWORKS["mobilenet_v2"](width=width)
    convolutions = [m.out_channels for m in network.modules() if isinstance(m, nn.Conv2d)]
    assert tuple(convolutions[place] for place in (0, 2, 5, 11)) == widths
    assert convolutions[-1] == {1.4: 1792}.get(width, 1280)


@pytest.mark.parametrize("name, arguments, shape", [
    ("autoencoder", {"features": 40}, (3, 4, 10)),
    ("unet_1d", {"in_channels": 2, "classes": 5}, (3, 2, 40)),
    ("tiny_transformer", {"in_channels": 2, "features": 84, "classes": 5}, (3, 2, 42)),
    ("temponet", {"in_channels": 2, "features": 76, "classes": 5}, (3, 2, 38)),
    ("lenet5", {"features": 784, "padding": 2, "classes": 5}, (3, 1, 28, 28)),
])  # fmt: skip
def test_shapes(name, arguments, shape):
    found = NETWORKS[name](**arguments)(torch.randn(shape)).shape
    assert found == {"autoencoder": (3, 40), "unet_1d": (3, 5, 40)}.get(name, (3, 5))


@pytest.mark.parametrize("name, arguments, message", [
    ("mobilenet_v2", {"strides": (1, 2)}, "MobileNetV2: strides has 2 entries; .* 8"),
    ("lenet5", {"features": 200}, "LeNet5: 200 features in 1 channels.* square images"),
    ("lenet5", {"features": 100}, "LeNet5: 100 features .* 16x16 or larger"),
    ("temponet", {"in_channels": 1, "features": 37}, "TEMPONet: examples of 37 moments are too short; 38"),
    ("tiny_transformer", {"in_channels": 1, "features": 4}, "TinyTransformer: 4 moments, patch 8.*at least one patch"),
    ("tiny_transformer", {"width": 30, "heads": 4}, "width is a multiple of heads"),
])  # fmt: skip
def test_what_cannot_be_made_is_refused(name, arguments, message):
    with pytest.raises(UsageError, match=message):
        NETWORKS[name](**arguments)
