"""Liveness by hand: what is held while each layer runs."""

import dataclasses

import pytest

from cost_models.peak_ram import PeakRam, peak_layer, ram_by_layer
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


def by_hand(net):
    return [(name, exact(bytes_)) for name, bytes_ in ram_by_layer(net)]


def test_chain_with_a_flatten_that_shares_its_inputs_memory():
    expected = [("stem", 192 + 64), ("spatial", 64 + 64), ("pool", 64 + 4), ("flat", 4), ("classes", 4 + 10)]
    assert by_hand(small_network()) == expected
    assert exact(PeakRam()(small_network())) == 256
    assert peak_layer(small_network()) == "stem"


def test_a_skip_connection_is_held_until_its_last_reader():
    expected = [
        ("first", 12 + 12),  # x, a
        ("second", 12 + 12),  # a, b
        ("skip", 12 + 12 + 12),  # a, b, c
        ("gate", 12 + 12 + 12 + 12),  # a waits for the concatenation
        ("join", 12 + 12 + 24),  # a, d, e
        ("pool", 24 + 12),
        ("swish", 12 + 24),  # y has 16 bits
    ]
    assert by_hand(residual_network()) == expected


def test_a_stored_map_takes_no_ram():
    expected = [
        ("scores", 60 + 24),  # x, and 48 scores of 4 bits
        ("shares", 60 + 24 + 48),
        ("values", 60 + 48 + 60),
        ("norm", 60 + 60),
        ("map", 60),  # what the sum will read
        ("sum", 60 + 60),
    ]
    assert by_hand(measured_network()) == expected
    stored = layer("stored", "constant", "", "y", out_channels=scalar(7))
    assert exact(PeakRam()(network(stored, input_elements=0))) == 0


def test_what_is_reshaped_out_of_a_stored_map_takes_no_ram_and_a_copy_does():
    stored = layer("stored", "constant", "", "a", out_channels=scalar(7))
    flat = layer("flat", "reshape", "a", "b", out_channels=scalar(7))
    part = layer("part", "take", "b", "y", out_channels=scalar(3))
    assert by_hand(network(stored, flat, part, input_elements=0)) == [("stored", 0), ("flat", 0), ("part", 3)]


def test_resized_maps_by_hand():
    expected = [("up", 36 + 216), ("half", 216 + 108), ("less", 108 + 30), ("turned", 30 + 30)]
    assert by_hand(resized_network()) == expected


def test_reading_an_alias_keeps_the_memory_alive():
    net = network(
        layer("flat", "reshape", "x", "a"),
        layer("one", "linear", "x", "b"),
        layer("two", "linear", "a", "c"),
        input_elements=7,
    )
    assert by_hand(net) == [("flat", 7), ("one", 7 + 1), ("two", 7 + 1)]


def test_the_input_is_held_from_the_start_and_the_output_to_the_end():
    first = layer("first", "linear", "x", "y", out_channels=scalar(3))
    dead = layer("dead", "table", "y", "z", out_channels=scalar(2))
    last = layer("last", "table", "x", "w", out_channels=scalar(1))
    net = network(first, dead, last, input_elements=5)
    net = type(net)(net.layers, net.tensors, ("x",), ("y",))
    assert by_hand(net) == [("first", 5 + 3), ("dead", 5 + 3 + 2), ("last", 5 + 3 + 1)]


def test_odd_bits_round_up_to_bytes_for_each_tensor():
    use = layer("l", "linear", "x", "y", out_channels=scalar(3), out_bits=(2, 4), out_share=vector(0, 1))
    assert exact(PeakRam()(network(use))) == 1 + 2  # x: 8 bits; y: 12 bits


def test_gradient_reaches_the_tensors_at_the_peak_and_no_others():
    wide, narrow = scalar(6), scalar(2)
    peak = layer("peak", "linear", "x", "a", out_channels=wide, out_per_width=vector(6))
    after = layer("after", "linear", "a", "y", out_channels=narrow, out_per_width=vector(2))
    PeakRam()(network(peak, after, input_elements=10)).backward()
    assert wide.grad.item() == pytest.approx(1.0)  # a byte a channel
    assert narrow.grad is None or narrow.grad.item() == 0


def test_the_gradient_of_a_branch_is_the_peak_with_it():
    """x -> wide (share 0.3) or narrow (0.7) -> y: bytes 24 + 40 with the one, 24 + 6 and 6 + 40 with the other."""
    shares = vector(0.3, 0.7)
    wide = layer("wide", "conv", "x", "a", out_channels=scalar(40), when=(("c", 0),))
    small = layer("small", "conv", "x", "b", out_channels=scalar(6), when=(("c", 1),))
    back = layer("back", "conv", "b", "d", out_channels=scalar(40), when=(("c", 1),))
    either = layer("either", "select", "a d", "y", out_channels=scalar(40), choice="c")
    net = network(wide, small, back, either, input_elements=24)
    net = dataclasses.replace(net, branches={"c": shares})
    peak = PeakRam()(net)
    peak.backward()
    assert peak.item() == 46 and shares.grad.tolist() == [64, 46]
