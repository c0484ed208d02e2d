"""The encoding: one number a decision, every number an architecture."""

import itertools

import pytest
import torch
from torch import nn

from search.strategies.black_box.encoding import STEPS, Encoding, importance
from spaces.decisions.gates import Gate
from spaces.networks import ResNet8
from spaces.one_of import OneOf
from spaces.searchable import Options, searchable
from tests.search.small import Small


def spaced(model=None, **options):
    torch.manual_seed(0)
    return searchable(model or Small(), torch.zeros(2, 1, 8, 8), Options(**options))


def test_every_decision_is_a_parameter():
    body = OneOf([nn.Conv2d(4, 4, 3, padding=1), nn.Identity()])
    model = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), body, nn.Flatten(), nn.Linear(256, 4))
    space = spaced(model, weight_bits=(0, 2, 8), activation_bits=(4, 8), kernel_sizes=(1, 3))
    encoding = Encoding(space)
    assert encoding.parameters.keys() == space.decisions.keys()
    assert encoding.parameters["2/branch"] == (0, 1) and encoding.parameters["0/kernel"] == (1, 3)
    assert encoding.parameters["0/bits"] == (2, 8) and encoding.parameters["0/channels"] == (1, 2, 3, 4)


@pytest.mark.parametrize("end", [0, -1])
def test_all_values_give_architectures_that_the_space_takes(end):
    space = spaced(ResNet8(1, 4, 8))
    encoding = Encoding(space)
    values = {name: options[end] for name, options in encoding.parameters.items()}
    for name, options in encoding.parameters.items():
        for value in options:
            architecture = encoding.architecture(values | {name: value})
            space.fix(architecture)
            assert space.architecture() == architecture


def test_widths_are_eighths_and_end_at_all():
    space = spaced(Small(channels=20))
    widths = Encoding(space).parameters["conv1/channels"]
    assert widths == (3, 5, 8, 10, 13, 15, 18, 20) and len(widths) == STEPS


def test_the_largest_channels_stay():
    model = Small(channels=4)
    model.norm1.weight.data = torch.tensor([0.1, -2.0, 1.0, 0.5])
    encoding = Encoding(spaced(model))
    values = {name: options[-1] for name, options in encoding.parameters.items()}
    kept = [encoding.architecture(values | {"conv1/channels": n}).picks["conv1/channels"] for n in (1, 2, 3, 4)]
    assert kept == [(0, 1, 0, 0), (0, 1, 1, 0), (0, 1, 1, 1), (1, 1, 1, 1)]
    assert encoding.steps()["conv1/channels"] == [3, 0, 1, 2]
    assert all(a <= b for first, second in itertools.pairwise(kept) for a, b in zip(first, second, strict=True))


def test_steps_tell_no_more_than_widths_do():
    encoding = Encoding(spaced(Small(channels=20)))
    steps = encoding.steps()["conv1/channels"]  # of widths 3, 5, 8, 10, 13, 15, 18, 20
    assert [steps.count(i) for i in range(STEPS)] == [3, 2, 3, 2, 3, 2, 3, 2]


def test_layers_that_share_a_gate_have_their_say_in_equal_parts():
    space = spaced(ResNet8(1, 4, 8))
    found = importance(space)
    assert found.keys() == {d.name for d in space.decisions.values() if isinstance(d, Gate)}
    before = found["conv/channels"].clone()
    for name in ("conv", "stages.0.conv2"):
        norm = next(b.norm for b in space.blocks if b.name == name)
        norm.weight.data.mul_(100.0)
    assert torch.allclose(importance(space)["conv/channels"], before)


def test_unknown_and_missing_parameters_and_values_are_named():
    encoding = Encoding(spaced())
    values = {name: options[0] for name, options in encoding.parameters.items()}
    with pytest.raises(ValueError, match=r"missing or unknown: \['stem/bits'\]"):
        encoding.architecture(values | {"stem/bits": 2})
    with pytest.raises(ValueError, match=r"missing or unknown: \['conv1/bits'\]"):
        encoding.architecture({n: v for n, v in values.items() if n != "conv1/bits"})
    with pytest.raises(ValueError, match=r"parameter 'conv1/bits': 3 is not one of \[2, 4, 8\]"):
        encoding.architecture(values | {"conv1/bits": 3})
