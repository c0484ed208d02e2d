"""BOPs, energy and latency against hand counts; what fewer bits save."""

from math import log2

import pytest

from cost_models.bops import Bops
from cost_models.energy import Energy
from cost_models.latency import Latency
from cost_models.layer import UnsupportedLayer
from tests.cost_models.networks import layer, network, residual_network, scalar, small_network, target, vector


def test_bops_by_hand():
    stem = 16 * 27 * (3 * (8 * 4 + 8 + 4 + log2(27)) + 1 * (8 * 8 + 8 + 8 + log2(27)))
    spatial = 16 * 9 * 4 * (8 * 4 + 8 + 4 + log2(9))
    classes = 4 * 10 * (8 * 8 + 8 + 8 + log2(4))
    assert Bops()(small_network()).item() == pytest.approx(stem + spatial + classes, rel=1e-14)


def test_bops_are_finite_where_no_input_is_left():
    empty = layer("l", "linear", "x", "y", in_channels=scalar(0))
    assert Bops()(network(empty)).item() == 0


def test_energy_by_hand():
    a_bit = 20 / 64
    products = 16 * 27 * (3 * 4 + 8) * 8 + 16 * 9 * 4 * 4 * 8 + 4 * 10 * 8 * 8  # weight bits * activation bits
    adds = 2344 + 4 * 4 * 4  # every MAC, every element of the pooled window
    weight_bits = 27 * (3 * 4 + 8) + 9 * 4 * 4 + 4 * 10 * 8
    activation_bits = 8 * (192 + 2 * 64 + 2 * 64 + 4 + 4 + 10)  # x is not written here, the flatten moves nothing
    table_bits = 64 * 8
    expected = 0.2 / 64 * products + 0.1 * adds + a_bit * (weight_bits + activation_bits + table_bits)
    assert Energy()(small_network()).item() == pytest.approx(expected, rel=1e-14)


def test_energy_of_shared_weights_and_elementwise_ops_by_hand():
    products = 2 * (6 * 6 * (2 + 4) * 8) + 12 * 8 * 8
    adds = 2 * 72 + 2 * 12 + 2 * 12  # two calls, the addition's inputs, the windows of the pool
    weight_bits = 2 * 6 * (2 + 4)  # stored once, read twice
    reads = 8 * (12 + 12 + 24 + 24 + 24 + 24 + 12)  # x, a, a b, c b, d a, e, f
    writes = 8 * (12 + 12 + 12 + 12 + 24 + 12) + 16 * 12
    table_bits = 16 * 12
    memory = weight_bits + reads + writes + table_bits
    expected = 0.2 / 64 * products + 0.1 * adds + 20 / 64 * memory
    assert Energy()(residual_network()).item() == pytest.approx(expected, rel=1e-14)


def test_latency_by_hand():
    stem, spatial, classes = 16 * 27 * (3 * 1 + 1 * 2), 16 * 9 * 4 * 1, 40 * 2  # bits / 4 cycles a MAC
    assert Latency(target())(small_network()).item() == stem + spatial + classes + 4 * 16  # a cycle an element
    convolutions, elementwise, pool, table = 2 * 36 * (0.5 + 1), 12 + 12 + 24, 12 * 2, 12
    assert Latency(target())(residual_network()).item() == convolutions + elementwise + pool + table


@pytest.mark.parametrize(
    "op, kernel, groups, kind",
    [
        ("conv", (3, 3), 1, "conv"),
        ("conv", (1, 1), 1, "pointwise"),
        ("conv", (1, 1), 2, "conv"),
        ("conv", (3, 3), 2, "conv"),
        ("linear", (), 1, "linear"),
    ],
)
def test_latency_reads_the_row_of_the_kernel_that_runs(op, kernel, groups, kind):
    rates = {"conv/a8w8": 2.0, "pointwise/a8w8": 3.0, "depthwise/a8w8": 5.0, "linear/a8w8": 7.0}
    use = layer("l", op, "x", "y", in_channels=scalar(4), kernel=kernel, groups=groups)
    macs = use.fan_in.item()
    assert Latency(target(cycles_per_mac=rates))(network(use)).item() == macs * rates[f"{kind}/a8w8"]


@pytest.mark.parametrize(
    "channels, groups, depthwise, kind",
    [
        (2, 2, True, "depthwise"),
        (1, 2, True, "conv"),  # one channel is left of it
        (3, 2, True, "depthwise"),  # an open network's groups are those of the seed network
        (4, 2, False, "conv"),
        (2, 2, False, "depthwise"),  # one input a group is left of a grouped one
        (1, 1, False, "conv"),
    ],
)
def test_latency_knows_a_depthwise_kernel_by_the_channels_that_are_left(channels, groups, depthwise, kind):
    rates = {"conv/a8w8": 2.0, "pointwise/a8w8": 3.0, "depthwise/a8w8": 5.0}
    sizes = {"in_channels": scalar(channels), "kernel": (3, 3), "groups": groups, "depthwise": depthwise}
    use = layer("l", "conv", "x", "y", **sizes)
    assert use.fan_in.item() == 9 * (1 if depthwise else channels / groups)
    assert Latency(target(cycles_per_mac=rates))(network(use)).item() == use.fan_in.item() * rates[f"{kind}/a8w8"]


def test_latency_is_an_expectation_over_both_widths():
    rates = {"linear/a4w2": 1.0, "linear/a4w8": 2.0, "linear/a8w2": 3.0, "linear/a8w8": 10.0}
    use = layer(
        "l", "linear", "x", "y", in_channels=scalar(5), out_channels=scalar(4),
        weight_bits=(2, 8), out_per_width=vector(1, 3), in_bits=(4, 8), in_share=vector(0.25, 0.75),
    )  # fmt: skip
    expected = 5 * (0.25 * (1 * 1.0 + 3 * 2.0) + 0.75 * (1 * 3.0 + 3 * 10.0))
    assert Latency(target(cycles_per_mac=rates))(network(use)).item() == expected


def test_latency_refuses_a_combination_that_was_not_measured():
    use = layer("stem.conv", "linear", "x", "y", in_bits=(16,))
    with pytest.raises(UnsupportedLayer, match=r"'stem\.conv' needs 'linear/a16w8'.*'bench'.*conv/a4w2"):
        Latency(target())(network(use))
    pool = layer("head.pool", "max_pool", "x", "y", kernel=(2,))
    with pytest.raises(UnsupportedLayer, match=r"'head\.pool'.*'max_pool'.*it has add"):
        Latency(target(cycles_per_element={"add": 1.0}))(network(pool))
