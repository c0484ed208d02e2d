"""From a decided Space to a Program: constants by hand, ties, refusals."""

import numpy as np
import pytest
import torch
from torch import nn

from search.deploy.lower import LoweringError, lower
from search.errors import PicojouleError
from search.integer.executor import Executor
from search.integer.program import Program, ProgramError
from spaces.searchable import Options, searchable
from spaces.space import Space
from tests.spaces.small import Plain, images, space_of

EIGHT = Options((8,))


def decided(model: nn.Module, shape=(2, 3, 6, 6), options: Options = EIGHT) -> Space:
    return space_of(model, shape, options).decide()


def set_step(space: Space, tensor: str, step: float, zero_point: int) -> None:
    quantizer = space.quantizer(tensor)
    with torch.no_grad():
        quantizer.log_step.copy_(torch.tensor(step).log())
    quantizer.load_state_dict({"log_step": quantizer.log_step, "zero": torch.tensor(zero_point)})


def halving() -> Space:
    """y = x, codes of x in steps of 1 around 128, codes of y in steps of 2: every odd code falls on a tie."""
    model = nn.Sequential(nn.Conv2d(1, 1, 1, bias=False))
    nn.init.ones_(model[0].weight)
    space = decided(model, (2, 1, 4, 4))
    with torch.no_grad():
        space.weights["0"].quantizer.log_step.copy_(torch.tensor(1 / 64).log())
    set_step(space, "input", 1.0, 128)
    set_step(space, "0", 2.0, 128)
    return space


def test_ties_go_up_in_both_executions():
    space = halving()
    x = torch.arange(-128.0, 128.0).reshape(16, 1, 4, 4)
    expected = torch.floor((x + 1) / 2).clamp(-128, 127) + 128
    program = lower(space)
    assert np.array_equal(Executor(program)(x.numpy(), intermediate=True)["0"], expected.numpy())
    assert torch.equal(space.codes(x)["0"].float(), expected)


def test_constants_by_hand():
    program = lower(halving())
    node = program.nodes[0]
    assert program.weights(node).tolist() == [[64]]
    assert program.constant(node, "multiplier").tolist() == [2**14]  # 1 * 1/64 / 2 = 2^14 / 2^21
    assert program.constant(node, "shift").tolist() == [21]
    assert program.constant(node, "bias").tolist() == [-128 * 64]  # the input's zero point
    assert node.attributes["zero_point"] == 128 and node.attributes["clip"] == [0, 255]


def test_bias_and_norm_are_rounded_once_into_the_bias():
    model = nn.Sequential(nn.Conv2d(1, 4, 1), nn.BatchNorm2d(4))
    space = decided(model, (2, 1, 4, 4))
    with torch.no_grad():
        space.weights["0"].weight.fill_(1.0)
        space.weights["0"].bias.copy_(torch.tensor([0.0, 1.0, -0.3, 0.0]))
        space.weights["0"].quantizer.log_step.fill_(float(np.log(1 / 64)))
        space.norms["1"].weight.fill_((1 + 1e-5) ** 0.5)
        space.norms["1"].bias.copy_(torch.tensor([0.0, 0.0, 0.0, 0.26]))
        space.norms["1"].running_mean.zero_()
        space.norms["1"].running_var.fill_(1.0)
    set_step(space, "input", 0.5, 0)
    set_step(space, "0", 1.0, 128)
    program = lower(space)
    # A unit of the sum is 1/64 * 0.5 = 1/128.
    assert program.constant(program.nodes[0], "bias").tolist() == [0, 128, -38, 33]


def test_types_are_those_of_the_format():
    program = lower(decided(Plain(), options=Options((2, 8))))
    types = {"bias": "int32", "multiplier": "int16"}  # the others are bytes
    for node in program.nodes:
        for role, name in node.constants.items():
            assert program.constants[name].dtype == types.get(role, "uint8")


def test_one_width_is_an_attribute_and_several_are_stored():
    space = space_of(Plain())
    space.decisions["stem/bits"].fix((2, 8) * 4)
    space.decisions["body/bits"].fix((4,) * 6)
    nodes = {node.name: node for node in lower(space.decide()).nodes}
    assert "widths" in nodes["stem"].constants and "weight_bits" not in nodes["stem"].attributes
    assert "widths" not in nodes["body"].constants and nodes["body"].attributes["weight_bits"] == 4


def test_a_negative_norm_scale_goes_into_the_multipliers_sign():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
    space = space_of(model, options=EIGHT)
    with torch.no_grad():
        space.norms["1"].weight.copy_(torch.tensor([1.0, -1.0, -2.0, 0.0]))
    program = lower(space.decide())
    signs = np.sign(program.constant(program.nodes[0], "multiplier")).tolist()
    assert signs[:3] == [1, -1, -1]
    codes, _ = space.decide().weights["0"].quantizer.integers(space.weights["0"].weight)
    assert np.array_equal(program.weights(program.nodes[0]), codes.flatten(1).detach().numpy())


def test_a_module_called_twice_stores_its_weights_once():
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 3, padding=1)

        def forward(self, x):
            return self.conv(torch.relu(self.conv(x)))

    program = lower(decided(Twice()))
    first, second = program.nodes
    assert first.constants["weight"] == second.constants["weight"]
    assert first.constants["bias"] != second.constants["bias"]


def test_metadata_goes_with_the_program():
    assert lower(halving(), {"architecture": "abc"}).metadata == {"architecture": "abc"}


@pytest.mark.parametrize("training", [True, False])
def test_the_space_is_left_as_it_was(training):
    space = decided(Plain()).train(training)
    space.set_mode("fake")
    before = {name: value.clone() for name, value in space.state_dict().items()}
    lower(space)
    assert space.training is training and space.mode == "fake"
    assert all(torch.equal(before[name], value) for name, value in space.state_dict().items())


def test_lowering_follows_the_weights():
    """Nothing that was computed for an evaluation is kept past a change of the weights."""
    space = decided(Plain()).eval()
    space.codes(images())
    with torch.no_grad():
        for weights in space.weights.values():
            weights.weight.neg_()
    codes = space.train().eval().codes(images())
    found = Executor(lower(space))(images().numpy(), intermediate=True)
    assert all(np.array_equal(found[name], value.numpy()) for name, value in codes.items())


# Refusals


def test_open_decisions_are_refused():
    with pytest.raises(LoweringError, match=r"space 'Plain': cannot be lowered, 6 decisions are open\. Decide it"):
        lower(space_of(Plain()))


def test_floats_are_refused():
    space = searchable(Plain(), torch.randn(2, 3, 6, 6), Options((), activation_bits=None))
    with pytest.raises(LoweringError, match="its weights and activations are floats"):
        lower(space.decide())


def test_a_sum_that_could_leave_int32_is_refused():
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 300, 4))
    nn.init.ones_(model[1].weight)
    space = decided(model, (2, 3, 300), Options((8,), activation_bits=16))
    with pytest.raises(LoweringError, match=r"block '1': a sum could reach \d+, over int32's 2147483647"):
        lower(space)


@pytest.mark.parametrize("step", [1e-12, 1e-30])
def test_an_output_step_that_no_shift_reaches_takes_the_largest_factor_in_both(step):
    space = decided(Plain())
    set_step(space, "head", step, 128)
    program = lower(space)
    (node,) = [node for node in program.nodes if node.name == "head"]
    assert program.constant(node, "shift").min() == 1 and abs(program.constant(node, "multiplier")).max() == 2**15 - 1
    x = torch.randn(4, 3, 6, 6, generator=torch.Generator().manual_seed(0))
    found = Executor(program)(x.numpy(), intermediate=True)
    for name, codes in space.codes(x).items():
        assert (codes.numpy() == found[name]).all(), name


def test_a_lowered_program_that_contradicts_itself_is_a_defect_and_no_file_error(monkeypatch):
    def refused(self):
        raise ProgramError("node 'a': its shape is wrong")

    space = halving()
    monkeypatch.setattr(Program, "validate", refused)
    with pytest.raises(RuntimeError, match=r"node 'a': its shape is wrong\): a defect, report it") as raised:
        lower(space)
    assert not isinstance(raised.value, PicojouleError)
