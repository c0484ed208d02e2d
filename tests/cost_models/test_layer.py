"""The description of a network refuses what cannot be run."""

from dataclasses import replace

import pytest

from cost_models import cost_model
from cost_models.layer import Network, UnsupportedLayer
from cost_models.rules import nothing, summed
from search.integer.traits import Work
from tests.cost_models.networks import layer, network, residual_network, small_network


def test_layers_must_be_in_execution_order():
    net = small_network()
    with pytest.raises(ValueError, match=r"'spatial' reads \['a'\].*execution order"):
        replace(net, layers=net.layers[1:])


def test_every_tensor_must_be_described():
    net = network(layer("l", "linear", "x", "y"))
    with pytest.raises(ValueError, match=r"no TensorUse for \['y'\].*\['x'\]"):
        Network(net.layers, {"x": net.tensors["x"]}, ("x",), ("y",))


def test_something_must_write_the_output():
    net = network(layer("l", "linear", "x", "y"))
    tensors = net.tensors | {"z": net.tensors["y"]}
    with pytest.raises(ValueError, match=r"no layer writes the network's outputs \['z'\]"):
        Network(net.layers, tensors, ("x",), ("y", "z"))


def test_shared_weights_have_one_owner():
    assert [layer.name for layer in residual_network().weight_owners] == ["first"]
    assert [layer.name for layer in small_network().weight_owners] == ["stem", "spatial", "classes"]


def test_unknown_cost_models_and_a_missing_target_are_named():
    with pytest.raises(ValueError, match=r"no cost model 'flops'; there are macs, .*latency_cycles"):
        cost_model("flops")
    with pytest.raises(ValueError, match="'latency_cycles' reads a target's tables"):
        cost_model("latency_cycles")


def test_work_without_a_rule_is_an_error_and_not_zero():
    net = network(layer("pool", "max_pool", "x", "y", kernel=(2,)))
    with pytest.raises(
        UnsupportedLayer, match=r"bops: layer 'pool' has op 'max_pool', whose work is WINDOW; rules exist"
    ):
        summed("bops", {Work.PRODUCTS: nothing, "conv": nothing}, net)


def test_a_rule_by_name_comes_before_the_one_by_work():
    net = network(layer("pool", "max_pool", "x", "y", kernel=(2,)))
    assert summed("bops", {Work.WINDOW: nothing, "max_pool": lambda layer, network: 3.0}, net) == 3
