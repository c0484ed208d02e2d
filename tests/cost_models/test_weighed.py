"""BOPs, energy and latency against hand counts; what fewer bits save."""

from dataclasses import replace
from math import log2

import pytest

from cost_models.bops import Bops
from cost_models.energy import Energy
from cost_models.kernels import SPECIAL, kernel_kind, overheads, products_by_width
from cost_models.latency import Latency
from cost_models.layer import UnsupportedLayer
from search.errors import UsageError
from tests.cost_models.networks import (
    layer,
    measured_network,
    network,
    residual_network,
    resized_network,
    scalar,
    small_network,
    target,
    vector,
)


def test_bops_by_hand():
    stem = 16 * 27 * (3 * (8 * 4 + 8 + 4 + log2(27)) + 1 * (8 * 8 + 8 + 8 + log2(27)))
    spatial = 16 * 9 * 4 * (8 * 4 + 8 + 4 + log2(9))
    classes = 4 * 10 * (8 * 8 + 8 + 8 + log2(4))
    assert Bops()(small_network()).item() == pytest.approx(stem + spatial + classes, rel=1e-14)


def test_bops_are_finite_where_no_input_is_left():
    empty = layer("l", "linear", "x", "y", in_channels=scalar(0))
    assert Bops()(network(empty)).item() == 0


def test_bops_of_products_of_codes_and_of_transposed_convolutions_by_hand():
    scores, values = (240 * (8 * 8 + 8 + 8 + log2(added)) for added in (5, 4))
    assert Bops()(measured_network()).item() == pytest.approx(scores + values, rel=1e-14)
    up = 9 * 16 * (4 * (8 * 2 + 8 + 2 + log2(16)) + 2 * (8 * 8 + 8 + 8 + log2(16)))
    assert Bops()(resized_network()).item() == pytest.approx(up, rel=1e-14)


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


def test_energy_of_products_softmax_norms_and_stored_maps_by_hand():
    products, adds = 2 * 240 * 8 * 8, 2 * 240 + 2 * 60  # every MAC; the sum's inputs
    measured = (48 + 60) * (2 * 0.2 + 2 * 0.1)  # an element of the shares, and of the norm: two products, two additions
    reads = 8 * (60 + 60 + 48 + 60 + 60 + 60) + 4 * 48 + 16 * 60  # x x, b x, c, d; a; the map
    writes = 4 * 48 + 8 * (48 + 60 + 60 + 60)  # a; b, c, d, y; the map is written by nothing
    exponentials = 16 * 48
    expected = 0.2 / 64 * products + 0.1 * adds + measured + 20 / 64 * (reads + writes + exponentials)
    assert Energy()(measured_network()).item() == pytest.approx(expected, rel=1e-14)


def test_energy_of_resized_maps_by_hand():
    products, adds = 9 * 16 * (4 * 2 + 2 * 8) * 8, 9 * 16 * 6 + 30 * 3 * 2  # every MAC; the windows
    weight_bits = 16 * (4 * 2 + 2 * 8)
    moved = 8 * (36 + 216 + 216 + 108 + 108 + 30 + 30 + 30)
    expected = 0.2 / 64 * products + 0.1 * adds + 20 / 64 * (weight_bits + moved)
    assert Energy()(resized_network()).item() == pytest.approx(expected, rel=1e-14)


def test_latency_by_hand():
    stem, spatial, classes = 16 * 27 * (3 * 1 + 1 * 2), 16 * 9 * 4 * 1, 40 * 2  # bits / 4 cycles a MAC
    assert Latency(target())(small_network()).item() == stem + spatial + classes + 4 * 16  # a cycle an element
    convolutions, elementwise, pool, table = 2 * 36 * (0.5 + 1), 12 + 12 + 24, 12 * 2, 12
    assert Latency(target())(residual_network()).item() == convolutions + elementwise + pool + table


def test_latency_of_products_softmax_norms_and_stored_maps_by_hand():
    rates = {"add": 1.0, "softmax": 30.0, "normalize": 25.0}
    products = 2 * 240 * 2  # as a linear layer with 8-bit weights
    cycles = Latency(target(cycles_per_element=rates))(measured_network()).item()
    assert cycles == products + 48 * 30 + 60 * 25 + 60


def test_latency_of_products_of_codes_reads_the_row_of_the_first_input():
    use = layer("l", "matmul", "x x", "y", kernel=(3,), out_size=(2, 2), in_bits=(4, 8), in_share=vector(0.25, 0.75))
    rates = {"linear/a4w8": 2.0, "linear/a8w8": 10.0, "linear/a4w4": 1.0}
    assert Latency(target(cycles_per_mac=rates))(network(use)).item() == 2 * 2 * 3 * (0.25 * 2 + 0.75 * 10)


def test_latency_of_resized_maps_by_hand():
    """A transposed convolution is priced as another, what moves codes as a concatenation, a window as a pool's."""
    rates = {"concat": 9.0, "avg_pool": 4.0}
    up = 9 * 16 * (4 * 0.5 + 2 * 2)  # bits / 4 cycles a MAC
    cycles = Latency(target(cycles_per_element=rates))(resized_network()).item()
    assert cycles == up + (108 + 30) * 9 + 30 * 3 * 2 * 4


@pytest.mark.parametrize(
    "op, kernel, groups, kind",
    [
        ("conv_transpose", (3, 3), 1, "conv"),
        ("conv_transpose", (1, 1), 1, "pointwise"),
        ("conv_transpose", (3, 3), 4, "depthwise"),
        ("conv_transpose", (3, 3), 2, "conv"),
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


@pytest.mark.parametrize("op", ["softmax", "normalize"])
def test_latency_refuses_a_measure_that_the_table_lacks(op):
    with pytest.raises(
        UnsupportedLayer, match=rf"'l' has op '{op}' and needs '{op}', which cycles_per_element of target"
    ):
        Latency(target(cycles_per_element={"add": 1.0}))(network(layer("l", op, "x", "y", table_entries=4)))


def test_latency_refuses_a_combination_that_was_not_measured():
    use = layer("stem.conv", "linear", "x", "y", in_bits=(16,))
    with pytest.raises(UnsupportedLayer, match=r"'stem\.conv' needs 'linear/a16w8'.*'bench'.*conv/a4w2"):
        Latency(target())(network(use))
    pool = layer("head.pool", "max_pool", "x", "y", kernel=(2,))
    with pytest.raises(UnsupportedLayer, match=r"'head\.pool'.*'max_pool'.*it has add"):
        Latency(target(cycles_per_element={"add": 1.0}))(network(pool))


def test_outputs_and_gathered_codes_take_cycles_beside_products():
    """By hand: 8 inputs, 4 outputs, 3x3 taps at 5x5 places."""
    use = layer(
        "c", "conv", "x", "y", in_channels=scalar(8), out_channels=scalar(4), out_per_width=vector(1, 3),
        weight_bits=(4, 8), kernel=(3, 3), in_size=(5, 5), out_size=(5, 5),
    )  # fmt: skip
    rates = {"conv/a8w4": 2.0, "conv/a8w8": 1.0}
    chip = target(cycles_per_mac=rates, overhead_cycles={"conv/output": 10.0, "conv/gathered": 0.5})
    expected = 25 * (72 * (1 * 2.0 + 3 * 1.0) + 4 * 10.0 + 72 * 0.5)
    assert Latency(chip)(network(use)).item() == expected


def test_a_depthwise_layer_has_taps_in_the_place_of_gathered_codes():
    use = layer(
        "d", "conv", "x", "y", in_channels=scalar(8), out_channels=scalar(8), out_per_width=vector(8),
        weight_bits=(8,), kernel=(3, 3), groups=8, depthwise=True, in_size=(5, 5), out_size=(5, 5),
    )  # fmt: skip
    chip = target(
        cycles_per_mac={"depthwise/a8w8": 3.0},
        overhead_cycles={"depthwise/output": 2.0, "depthwise/gathered": 7.0},
    )
    assert Latency(chip)(network(use)).item() == 25 * (9 * 8 * 3.0 + 8 * 2.0 + 9 * 7.0)


def test_overheads_count_what_is_left_of_blocks():
    """By hand: 8 inputs, 4 outputs of two widths, 3x3 taps at 5x5 places: six blocks of four, and one place."""
    use = layer(
        "c", "conv", "x", "y", in_channels=scalar(8), out_channels=scalar(4), out_per_width=vector(1, 3),
        weight_bits=(4, 8), kernel=(3, 3), in_size=(5, 5), out_size=(5, 5),
    )  # fmt: skip
    found = {name: count.item() for name, count in overheads(use).items()}
    alone = 72 * (25 + (25 + 2 * 1))  # the one channel of 4 bits, and of three of 8 bits one, and two at the last place
    assert found == {
        "output": 100, "gathered": 1800, "copies": 75, "uneven": 0, "alone": alone, "filled": 0, "call": 2 * 7,
        "activated": 0,
    }  # fmt: skip
    odd = overheads(replace(use, in_channels=scalar(6)))
    assert odd["uneven"].item() == odd["gathered"].item() == 25 * 9 * 6
    assert odd["filled"].item() == 25 * (1 * (56 - 54) + 3 * (56 - 54))  # 54 codes fill 7 words of 4 bits, 14 of 8


def test_rows_of_few_weights_are_filled_up_to_words():
    """By hand: 24 features fill a word and a half of 2 bits, and whole words of 4 and 8. The rest has no slope."""
    features = scalar(24)
    use = layer(
        "l", "linear", "x", "y", in_channels=features, out_channels=scalar(6), out_per_width=vector(3, 2, 1),
        weight_bits=(2, 4, 8),
    )  # fmt: skip
    assert overheads(use)["filled"].item() == 3 * 8
    rates = {"linear/a8w2": 1.0, "linear/a8w4": 1.0, "linear/a8w8": 1.0}
    chip = target(cycles_per_mac=rates, overhead_cycles={"linear/filled": 2.0, "linear/call": 100.0})
    cycles = Latency(chip)(network(use))
    assert cycles.item() == 24 * 6 + 2 * 3 * 8 + 3 * 100
    cycles.backward()
    assert features.grad == 6


@pytest.mark.parametrize(
    "op, kernel, groups", [("conv", (3,), 1), ("conv", (3,), 2), ("conv", (3,), 4), ("linear", (), 1)]
)
def test_outputs_that_end_in_a_table_take_more(op, kernel, groups):
    size = (5,) if kernel else ()
    use = layer(
        "l", op, "x", "y", in_channels=scalar(4), out_channels=scalar(4), out_per_width=vector(4), kernel=kernel,
        groups=groups, in_size=size, out_size=size,
    )  # fmt: skip
    kinds = {kernel_kind(use), kernel_kind(use, SPECIAL)}
    rows = {f"{kind}/a8w8": 1.0 for kind in kinds}
    chip = target(cycles_per_mac=rows, overhead_cycles={f"{kind}/activated": 3.0 for kind in kinds})
    plain, activated = (Latency(chip)(network(replace(use, table_entries=n))).item() for n in (0, 256))
    assert activated - plain == 3 * use.out_elements.item()


@pytest.mark.parametrize("key", ["conv/ouput", "conv", "conv/"])
def test_an_overhead_that_nothing_counts_is_refused(key):
    with pytest.raises(UsageError, match=f"overhead_cycles has '{key}'"):
        Latency(target(overhead_cycles={key: 1.0}))


def test_an_operator_without_weights_has_overheads_of_its_own():
    """By hand: 2 x 3 outputs of 2x2 windows. Codes of 16 bits and a table behind take more; a table alone does not."""
    plane = {"in_channels": scalar(2), "out_channels": scalar(2), "out_size": (3,)}
    wide, ends = {"in_bits": (16,), "in_share": vector(1)}, {"table_entries": 256}
    chip = target(
        cycles_per_element={"avg_pool": 5.0, "add": 7.0, "table": 3.0},
        overhead_cycles={
            "avg_pool/output": 10.0, "add/output": 99.0, "add/wide": 20.0, "add/activated": 2.0,
            "table/activated": 99.0, "avg_pool/long": 0.5,
        },
    )  # fmt: skip

    def cycles(op, **changes):
        reads = "x x" if op == "add" else "x"
        return Latency(chip)(network(layer("l", op, reads, "y", **(plane | changes)))).item()

    assert cycles("avg_pool", kernel=(2, 2)) == 6 * (4 * 5 + 10)
    assert cycles("avg_pool", kernel=(17, 16)) == 6 * (17 * 16 * 5 + 10)
    assert cycles("avg_pool", kernel=(2, 17)) == 6 * (2 * 17 * 5.5 + 10)  # a loop is left along its last axis
    assert [cycles("add"), cycles("add", **wide), cycles("add", **ends)] == [6 * 7, 6 * 27, 6 * 9]
    assert cycles("table", **ends) == 6 * 3


def test_an_operator_takes_its_own_row_and_without_one_that_of_another():
    chip = target(cycles_per_element={"concat": 9.0, "avg_pool": 5.0, "take": 2.0})
    alone = target(cycles_per_element={"concat": 9.0, "avg_pool": 5.0, "matmul": 4.0})

    def cycles(chip, op, reads="x", **changes):
        return Latency(chip)(network(layer("l", op, reads, "y", out_channels=scalar(6), **changes))).item()

    assert [cycles(chip, "concat", "x x"), cycles(chip, "take"), cycles(chip, "permute")] == [54, 12, 54]
    assert [cycles(chip, "resample", kernel=(2,)), cycles(alone, "take")] == [60, 54]
    assert cycles(alone, "matmul", "x x", kernel=(3,)) == 6 * 3 * 4
    assert cycles(chip, "matmul", "x x", kernel=(3,)) == 6 * 3 * 2  # as a linear layer of 8 bits


def test_overheads_of_a_depthwise_layer_are_its_last_channels_and_what_is_unpacked():
    use = layer(
        "d", "conv", "x", "y", in_channels=scalar(7), out_channels=scalar(7), out_per_width=vector(2, 5),
        weight_bits=(4, 8), kernel=(3, 3), groups=7, depthwise=True, in_size=(5, 5), out_size=(5, 5),
    )  # fmt: skip
    found = overheads(use)
    assert found["alone"].item() == 9 * 3 * 25 and found["unpacked"].item() == 63
    assert overheads(replace(use, out_per_width=vector(0, 7)))["unpacked"].item() == 0


@pytest.mark.parametrize(
    "op, kernel, groups, kind",
    [
        ("conv_transpose", (3, 3), 1, "transposed"),
        ("conv_transpose", (1, 1), 1, "transposed"),
        ("conv_transpose", (3, 3), 2, "transposed"),
        ("conv_transpose", (3, 3), 4, "depthwise"),
        ("conv", (1, 1), 2, "grouped"),
        ("conv", (3, 3), 2, "grouped"),
        ("conv", (3, 3), 4, "depthwise"),
        ("conv", (3, 3), 1, "conv"),
        ("conv", (1, 1), 1, "pointwise"),
        ("linear", (), 1, "linear"),
    ],
)
def test_a_target_may_price_transposed_and_grouped_layers_apart(op, kernel, groups, kind):
    use = layer("l", op, "x", "y", in_channels=scalar(4), kernel=kernel, groups=groups)
    assert kernel_kind(use, SPECIAL) == kind
    plain = {"conv/a8w8": 2.0, "pointwise/a8w8": 2.0, "depthwise/a8w8": 2.0, "linear/a8w8": 2.0}
    rows = {key: 1.0 for key in (f"{each}/a8w8" for each in SPECIAL)}
    apart, together = (Latency(target(cycles_per_mac=rates))(network(use)).item() for rates in (plain | rows, plain))
    assert together == 2 * use.fan_in.item()
    assert apart == (together / 2 if kind in SPECIAL else together)


def test_a_depthwise_layer_with_one_channel_left_is_in_no_groups():
    use = layer("l", "conv", "x", "y", kernel=(3, 3), groups=8, depthwise=True)
    assert kernel_kind(use, SPECIAL) == "conv"


def test_latency_of_a_transposed_layer_by_hand():
    """4 inputs, 6 outputs of two widths, 2x2 taps, 3x3 to 6x6 places: all of the output's meet all weights."""
    use = layer(
        "up", "conv_transpose", "x", "y", in_channels=scalar(4), out_channels=scalar(6), kernel=(2, 2), in_size=(3, 3),
        out_size=(6, 6), weight_bits=(2, 8), out_per_width=vector(4, 2),
    )  # fmt: skip
    chip = target(
        cycles_per_mac={"transposed/a8w2": 1.0, "transposed/a8w8": 3.0, "conv/a8w2": 0.1, "conv/a8w8": 0.1},
        overhead_cycles={f"transposed/{name}": rate for name, rate in
                         {"output": 2.0, "copies": 5.0, "call": 7.0, "gathered": 0.5}.items()},
    )  # fmt: skip
    products, calls = 36 * 16 * (4 * 1.0 + 2 * 3.0), 2 * 9
    assert Latency(chip)(network(use)).item() == products + 2 * 216 + 5 * (4 * 36) + 7 * calls + 0.5 * (16 * 36)


def test_overheads_of_groups_by_hand():
    """6 inputs and 6 outputs of 8 bits in 2 groups, 3 taps, 5 places: one block of four, and one place."""
    use = layer(
        "g", "conv", "x", "y", in_channels=scalar(6), out_channels=scalar(6), kernel=(3,), groups=2, in_size=(5,),
        out_size=(5,), weight_bits=(4, 8), out_per_width=vector(0, 6),
    )  # fmt: skip
    found = {name: count.item() for name, count in overheads(use, "grouped").items()}
    alone = 2 * 9 * (5 + 2 * 1)  # of three channels of a group one, and two at the last place
    gathered = 6 * 3 * 5
    assert found == {
        "output": 30, "gathered": gathered, "copies": 2 * 3 * 5, "uneven": gathered, "alone": alone,
        "filled": 3 * 6 * 5, "call": 2 * 2, "activated": 0,
    }  # fmt: skip
    narrow = replace(use, out_per_width=vector(2, 4))
    assert products_by_width(narrow, "grouped").tolist() == products_by_width(narrow, "conv").tolist() == [90, 180]
    assert overheads(narrow, "grouped")["filled"].item() == (7 * 2 + 3 * 4) * 5  # 9 codes fill 16 of 4 bits, 12 of 8
    assert overheads(narrow, "grouped")["call"].item() == 2 * 2 * 2


def test_latency_of_special_layers_is_differentiable():
    inputs, per_width = scalar(8), vector(2, 4)
    use = layer(
        "g", "conv", "x", "y", in_channels=inputs, out_channels=scalar(6), kernel=(3,), groups=2, in_size=(5,),
        out_size=(5,), weight_bits=(4, 8), out_per_width=per_width,
    )  # fmt: skip
    Latency(target(cycles_per_mac={"grouped/a8w4": 2.0, "grouped/a8w8": 3.0}))(network(use)).backward()
    assert per_width.grad.tolist() == [5 * 12 * 2, 5 * 12 * 3]
    assert (
        inputs.grad.item() == 5 * (2 * 2.0 + 4 * 3.0) * 3 / 2
    )  # rows that are filled up have the slope of what is in them
