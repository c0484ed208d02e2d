"""What every cost model holds to. A new line in a registry is tested here without a new test."""

from dataclasses import replace

import pytest
import torch

from cost_models import COST_MODELS, HELD_BY, IMAGE_COSTS, TARGET_COST_MODELS, cost_model
from cost_models.layer import UnsupportedLayer
from search.integer.operators import OPERATORS
from tests.cost_models.networks import layer, network, residual_network, scalar, small_network, target, vector

NAMES = [*COST_MODELS, *TARGET_COST_MODELS]
FALLS_WITH_BITS = ("flash_bytes", "bops", "energy_pj", "latency_cycles", "image_flash_bytes")  # on the test's target
IN_STEPS = ("flash_bytes", "peak_ram_bytes", "image_ram_bytes")  # whole bytes, with straight-through gradients
SHARES = "image_flash_bytes"  # its gradient shares the bytes of a function among what needs it, so it is no slope

pytestmark = pytest.mark.parametrize("name", NAMES)


def of(name, net):
    return cost_model(name, target())(net)


def pair(hidden=16.0, counts=(6.0, 10.0), share=(0.5, 0.5)):
    """Two convolutions in soft widths, and the leaves: hidden channels, their widths, their activation share."""
    leaves = scalar(hidden), vector(*counts), vector(*share)
    channels, per_width, shares = leaves
    producer = layer(
        "p", "conv", "x", "a", in_channels=scalar(3), out_channels=channels, kernel=(3,), in_size=(8,), out_size=(8,),
        weight_bits=(4, 8), out_per_width=per_width, out_bits=(4, 8), out_share=shares,
    )  # fmt: skip
    reader = layer(
        "r", "conv", "a", "y", in_channels=channels, out_channels=scalar(2), kernel=(3,), in_size=(8,), out_size=(8,),
        weight_bits=(4, 8), out_per_width=vector(1.5, 0.5), in_bits=(4, 8), in_share=shares,
    )  # fmt: skip
    return network(producer, reader, input_elements=24), leaves


def test_is_listed_under_its_own_name_with_unit_and_source(name):
    model = cost_model(name, target())
    assert model.name == name
    assert model.unit and model.source


def test_bytes_of_a_chip_s_memory_have_the_field_that_holds_them(name):
    assert name not in IMAGE_COSTS or name in HELD_BY
    if name in HELD_BY:
        assert cost_model(name, target()).unit == "B" and getattr(target(), HELD_BY[name]) > 0


@pytest.mark.parametrize("build", [small_network, residual_network, lambda: pair()[0]])
def test_is_a_pure_finite_float64_scalar(name, build):
    net = build()
    cost = of(name, net)
    assert cost.shape == () and cost.dtype == torch.float64
    assert torch.isfinite(cost) and cost >= 0
    assert cost.equal(of(name, net)) and cost.equal(of(name, build()))


@pytest.mark.parametrize("op", OPERATORS)
def test_every_operator_has_a_rule(name, op):
    operator = OPERATORS[op]
    reads = " ".join("x" * (operator.arity or 2))
    branches = {"pick": torch.tensor([1.0, 0.0], dtype=torch.float64)} if operator.picks else {}
    use = layer("l", op, reads, "y", table_entries=int(operator.looks_up), choice="pick" if operator.picks else None)
    assert of(name, replace(network(use), branches=branches)) >= 0


def test_an_unknown_op_is_an_error_and_not_zero(name):
    with pytest.raises(UnsupportedLayer, match=r"layer 'cell\.rnn': operator 'lstm' is unknown; there are conv, "):
        of(name, network(layer("cell.rnn", "lstm", "x", "y")))


def test_channels_cost_on_both_sides(name):
    net, (channels, per_width, _) = pair()
    of(name, net).backward()
    slopes = [channels.grad, per_width.grad]
    found = torch.cat([slope.reshape(-1) for slope in slopes if slope is not None])
    assert torch.isfinite(found).all() and (found >= 0).all() and found.sum() > 0


def test_the_reader_of_a_channel_pays_for_it(name):
    reads = scalar(4)
    linear = layer("l", "linear", "x", "y", in_channels=reads, out_channels=scalar(2), out_per_width=vector(2))
    of(name, network(linear)).backward()
    if name == "peak_ram_bytes":
        assert reads.grad is None  # memory is counted with the tensors
    else:
        assert reads.grad > 0


@pytest.mark.parametrize("leaf", [0, 1, 2], ids=["channels", "weight widths", "activation share"])
def test_gradient_is_the_slope_of_the_cost(name, leaf):
    """Against central differences; of a cost in steps, across changes that add up to whole bytes."""
    if name == SHARES:
        pytest.skip("see tests/cost_models/test_image.py")
    start = [[16.0], [6.0, 10.0], [0.5, 0.5]]
    step = (8.0, 1.0, 0.25)[leaf] if name in IN_STEPS else 1e-3

    def at(change):
        moved = [list(values) for values in start]
        moved[leaf][0] += change
        (hidden,), counts, share = moved
        return of(name, pair(hidden, counts, share)[0]).item()

    net, leaves = pair()
    of(name, net).backward()
    grad = leaves[leaf].grad
    slope = 0.0 if grad is None else grad.reshape(-1)[0].item()
    assert slope == pytest.approx((at(step) - at(-step)) / (2 * step), rel=1e-6, abs=1e-6)


def test_more_bits_never_cost_less(name):
    def cost(at_8_bits):
        return of(name, pair(counts=(16.0 - at_8_bits, at_8_bits))[0]).item()

    costs = [cost(count) for count in (1.0, 5.0, 9.0, 15.0)]
    assert costs == sorted(costs)
    assert (costs[0] < costs[-1]) == (name in FALLS_WITH_BITS)
