"""MACs, parameters and flash against counts by hand; the networks are drawn in tests/cost_models/networks.py."""

import pytest

from cost_models.flash import Flash
from cost_models.macs import Macs
from cost_models.parameters import Parameters
from cost_models.steps import exact
from tests.cost_models.networks import (
    layer,
    measured_network,
    network,
    residual_network,
    resized_network,
    scalar,
    small_network,
    vector,
)


def test_macs_by_hand():
    stem, spatial, classes = 4 * 4 * 9 * 3 * 4, 4 * 4 * 9 * 4, 4 * 10
    assert exact(Macs()(small_network())) == stem + spatial + classes
    assert exact(Macs()(residual_network())) == 2 * (6 * 3 * 2 * 2)


def test_macs_of_a_grouped_convolution_and_of_a_linear_layer_over_time():
    grouped = layer(
        "g", "conv", "x", "y", in_channels=scalar(8), out_channels=scalar(6), kernel=(3,), groups=2, out_size=(5,)
    )
    linear = layer("l", "linear", "x", "y", in_channels=scalar(8), out_channels=scalar(6), in_size=(5,), out_size=(5,))
    assert exact(Macs()(network(grouped))) == 5 * 3 * 4 * 6
    assert exact(Macs()(network(linear))) == 5 * 8 * 6


def test_macs_of_products_of_codes_by_hand():
    scores, values = 3 * 4 * 4 * 5, 3 * 4 * 5 * 4
    assert exact(Macs()(measured_network())) == scores + values


def test_macs_of_a_transposed_convolution_are_those_at_each_place_of_its_input():
    assert exact(Macs()(resized_network())) == 3 * 3 * (4 * 2 * 2) * 6


def test_macs_of_grouped_and_depthwise_transposed_convolutions():
    sizes = {"in_channels": scalar(8), "kernel": (3,), "in_size": (5,), "out_size": (11,)}
    grouped = layer("g", "conv_transpose", "x", "y", out_channels=scalar(6), groups=2, **sizes)
    depthwise = layer("d", "conv_transpose", "x", "y", out_channels=scalar(8), groups=8, depthwise=True, **sizes)
    assert exact(Macs()(network(grouped))) == 5 * 3 * 4 * 6
    assert exact(Macs()(network(depthwise))) == 5 * 3 * 8


def test_parameters_of_norms_and_stored_maps_by_hand():
    assert exact(Parameters()(measured_network())) == 3 + 3 * 4 * 5  # a bias a channel; the map
    assert exact(Parameters()(resized_network())) == 4 * 2 * 2 * 6 + 6


def test_parameters_by_hand():
    weights, biases = 9 * 3 * 4 + 9 * 4 + 4 * 10, 4 + 4 + 10
    assert exact(Parameters()(small_network())) == weights + biases


def test_shared_weights_are_stored_once_and_their_biases_for_each_call():
    assert exact(Parameters()(residual_network())) == 3 * 2 * 2 + 2 * 2


def test_flash_by_hand():
    stem = 3 * 14 + 1 * 27 + 2 + 4 * 7 + 256  # rows of 27 * 4 bits: 13.5 bytes; two bytes of widths; a table
    spatial = 4 * 5 + 4 * 7  # rows of 9 * 4 bits: 4.5 bytes; one width in use
    pool, classes = 3, 10 * 4 + 10 * 7
    assert exact(Flash()(small_network())) == stem + spatial + pool + classes


def test_flash_of_shared_weights_elementwise_ops_and_wide_table_by_hand():
    weights = 2 + 3 + 1  # rows of 6 * 2 and 6 * 4 bits, a byte of widths, once for both calls
    add, mul, concat, table = 2 * 2 + 1, 2 + 1, 2 * (2 + 1), 256 * 2
    assert exact(Flash()(residual_network())) == weights + 2 * (2 * 7) + add + mul + concat + table


def test_flash_of_products_softmax_norms_and_stored_maps_by_hand():
    products, exponentials = 2 * (2 + 1), 2 * 2**4  # of 4-bit codes
    norm, stored, add = 3 * (4 + 2 + 1), 2 * 3 * 4 * 5, 2 * 2 + 1  # the map has 16 bits
    assert exact(Flash()(measured_network())) == products + exponentials + norm + stored + add


def test_flash_of_resized_maps_by_hand():
    up = 4 * 4 + 2 * 16 + 3 + 6 * 7  # rows of 16 * 2 and 16 * 8 bits; three bytes of widths
    assert exact(Flash()(resized_network())) == up + (2 + 1)


@pytest.mark.parametrize("bits, size", [(4, 1), (8, 1), (9, 2), (16, 2)])
def test_a_code_of_a_stored_map_takes_whole_bytes(bits, size):
    stored = layer("s", "constant", "", "y", out_channels=scalar(5), out_bits=(bits,))
    assert exact(Flash()(network(stored))) == 5 * size


def test_concat_of_three_inputs_stores_three_multipliers_and_shifts():
    join = layer("join", "concat", "x x x", "y")
    assert exact(Flash()(network(join))) == 9


@pytest.mark.parametrize("counts, widths_bytes", [((5, 0), 0), ((0, 5), 0), ((2, 3), 3)])
def test_widths_are_stored_only_where_channels_differ(counts, widths_bytes):
    conv = layer(
        "c", "conv", "x", "y", in_channels=scalar(2), out_channels=scalar(5), weight_bits=(4, 8),
        out_per_width=vector(*counts),
    )  # fmt: skip
    rows = counts[0] * 1 + counts[1] * 2
    assert exact(Flash()(network(conv))) == rows + widths_bytes + 5 * 7


def test_gradient_of_a_stepped_cost_is_its_smooth_slope():
    inputs = scalar(3)
    linear = layer("l", "linear", "x", "y", in_channels=inputs, weight_bits=(4,), out_per_width=vector(6))
    Flash()(network(linear)).backward()
    assert inputs.grad.item() == 6 * 4 / 8


@pytest.mark.parametrize("model", [Macs(), Parameters(), Flash()])
def test_a_pruned_channel_saves_on_both_sides(model):
    hidden, outputs = scalar(4), scalar(6)
    producer = layer("p", "linear", "x", "a", in_channels=scalar(3), out_channels=hidden, out_per_width=vector(4))
    reader = layer("r", "linear", "a", "y", in_channels=hidden, out_channels=outputs, out_per_width=vector(6))
    both = network(producer, reader)
    model(both).backward()
    own = {"macs": 3, "parameters": 3 + 1, "flash_bytes": 7}[model.name]  # flash: weights by out_per_width
    assert hidden.grad.item() == own + 6
    if model.name == "flash_bytes":
        assert producer.out_per_width.grad.item() == 3


def test_exact_refuses_a_fraction():
    with pytest.raises(ValueError, match=r"2\.5 is not an integer"):
        exact(scalar(2.5))
