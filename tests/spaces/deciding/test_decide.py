"""What was closed is gone: in the layer, its norm, its reader; what was picked is what is stored."""

import pytest
import torch
from torch import Tensor, nn

from search.errors import UsageError
from spaces.searchable import Options
from spaces.space import Space
from tests.spaces.small import Plain, images, space_of

STEM = (1, 0, 1, 1, 0, 0, 1, 1)
BODY = (0, 1, 1, 0, 1, 0)
STEM_BITS = (2, 4, 8, 2, 4, 8, 2, 4)


def pruned(options: Options | None = None) -> tuple[Space, Space]:
    """The open Space with its gates fixed, and the decided one."""
    space = space_of(Plain(), options=options)
    space.decisions["stem/channels"].fix(STEM)
    space.decisions["body/channels"].fix(BODY)
    if "stem/bits" in space.decisions and space.decisions["stem/bits"].groups > 1:
        space.decisions["stem/bits"].fix(STEM_BITS)
    return space, space.decide()


def chosen(values: Tensor, *keep: tuple[int, ...]) -> Tensor:
    """The parts along the first dimensions where keep is 1."""
    for dimension, mask in enumerate(keep):
        values = values.index_select(dimension, torch.tensor(mask).nonzero()[:, 0])
    return values


def test_nothing_is_left_to_decide():
    _, decided = pruned()
    assert decided.decisions == {} and decided.spec.gates == {}


def test_weights_lose_rows_and_their_readers_columns():
    space, decided = pruned()
    assert torch.equal(decided.weights["stem"].weight, chosen(space.weights["stem"].weight, STEM))
    assert torch.equal(decided.weights["depthwise"].weight, chosen(space.weights["depthwise"].weight, STEM))
    assert torch.equal(decided.weights["body"].weight, chosen(space.weights["body"].weight, BODY, STEM))
    assert torch.equal(decided.weights["head"].weight, chosen(space.weights["head"].weight, (1,) * 4, BODY))
    assert torch.equal(decided.weights["depthwise"].bias, chosen(space.weights["depthwise"].bias, STEM))
    assert decided.weights["head"].weight.shape == (4, 3)


def test_norms_lose_the_channel_everywhere():
    space, decided = pruned()
    for name, keep in (("stem_norm", STEM), ("body_norm", BODY)):
        for key, value in decided.norms[name].state_dict().items():
            assert torch.equal(value, chosen(space.norms[name].state_dict()[key], keep)), (name, key)


def test_shapes_and_groups_follow():
    _, decided = pruned()
    blocks = {block.name: block.spec for block in decided.blocks}
    assert blocks["stem"].shape == (5, 6, 6) and blocks["depthwise"].shape == (5, 6, 6)
    assert blocks["depthwise"].attributes["groups"] == 5
    assert blocks["mean"].attributes["shape"] == [3] and blocks["head"].shape == (4,)


def test_each_channel_inherits_its_precision_and_that_precisions_step():
    space, decided = pruned()
    bits = tuple(b for b, keep in zip(STEM_BITS, STEM, strict=True) if keep)
    assert decided.spec.weights["stem"].assigned == bits
    assert decided.weights["stem"].quantizer.bits.tolist() == [list(bits)]
    rows = [(2, 4, 8).index(b) for b in STEM_BITS]
    steps = space.weights["stem"].quantizer.log_step[rows, range(8)]
    assert torch.equal(decided.weights["stem"].quantizer.log_step[0], chosen(steps, STEM))


def test_activation_steps_and_zero_points_stay():
    space, decided = pruned()
    for tensor in space.spec.slots:
        ours, theirs = decided.quantizer(tensor), space.quantizer(tensor)
        assert (ours.step, ours.zero_point, ours.bits) == (theirs.step, theirs.zero_point, theirs.bits)


def test_a_choice_for_the_tensor_gives_all_channels_its_pick():
    space, _ = pruned(Options(granularity="tensor"))
    space.decisions["body/bits"].fix((4,))
    assert space.decide().spec.weights["body"].assigned == (4, 4, 4)


def test_float_networks_are_pruned_alike():
    space, decided = pruned(Options((0,), activation_bits=None))
    assert decided.weights["body"].weight.shape == (3, 5, 1, 1)
    assert decided.weights["body"].quantizer is None
    decided.set_mode("fake")
    with torch.no_grad():
        torch.testing.assert_close(decided(images()), space(images()))


def test_an_architecture_is_decided_without_a_change_of_the_space():
    fixed, decided = pruned()
    space = space_of(Plain())
    before = {name: value.clone() for name, value in space.state_dict().items()}
    again = space.decide(fixed.architecture())
    assert again.spec == decided.spec
    assert all(torch.equal(value, decided.state_dict()[name]) for name, value in again.state_dict().items())
    assert all(torch.equal(before[name], value) for name, value in space.state_dict().items())


def test_an_architecture_that_closes_all_channels_is_not_decided():
    space = space_of(Plain())
    closed = space.architecture().having({"stem/channels": (0,) * 8})
    with pytest.raises(UsageError, match="would remove all 8 channels; at least one must stay"):
        space.decide(closed)


def test_the_open_space_is_left_as_it_was():
    space = space_of(Plain())
    before = {name: value.clone() for name, value in space.state_dict().items()}
    document = space.spec.to_json()
    decided = space.decide()
    with torch.no_grad():
        for parameter in decided.parameters():
            parameter.add_(1.0)
    assert space.spec.to_json() == document
    assert all(torch.equal(before[name], value) for name, value in space.state_dict().items())


@pytest.mark.parametrize("training", [True, False])
def test_training_or_evaluation_is_inherited(training):
    assert space_of(Plain()).train(training).decide().training is training


def test_a_decided_network_learns():
    _, decided = pruned()
    decided.train().set_mode("integer")
    decided(images()).square().sum().backward()
    fixed = decided.quantizer("input").log_step
    learned = [p for p in decided.network_parameters() if p is not fixed]
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in learned)
    assert decided.weights["stem"].weight.grad.abs().sum() > 0


def test_a_grouped_convolution_loses_the_same_place_of_each_group():
    model = nn.Sequential(nn.Conv2d(3, 6, 1), nn.Conv2d(6, 4, 1, groups=2), nn.Conv2d(4, 2, 1))
    space = space_of(model)
    space.decisions["0/channels"].fix((1, 0, 1))
    space.decisions["1/channels"].fix((0, 1))
    decided = space.decide()
    assert torch.equal(decided.weights["0"].weight, space.weights["0"].weight[[0, 2, 3, 5]])
    assert torch.equal(decided.weights["1"].weight, space.weights["1"].weight[[1, 3]][:, [0, 2]])
    assert torch.equal(decided.weights["2"].weight, space.weights["2"].weight[:, [1, 3]])
    assert decided.blocks[1].spec.attributes["groups"] == 2


def test_features_go_with_their_channel():
    space = space_of(nn.Sequential(nn.Conv2d(3, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 4)))
    space.decisions["0/channels"].fix((1, 0, 1))
    decided = space.decide()
    assert torch.equal(decided.weights["3"].weight, space.weights["3"].weight[:, [*range(16), *range(32, 48)]])
