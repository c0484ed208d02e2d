"""What decisions say in a pass, once, again, and with another option."""

import torch
from torch import nn

from spaces.blocks.norm import unmoved
from spaces.searchable import Options
from spaces.space import Space
from tests.spaces.small import Plain, images, space_of

TENSOR = Options((0, 2, 8), "tensor")


def passed(options: Options | None = None) -> Space:
    space = space_of(Plain(), options=options).train()
    space(images())
    return space


def test_with_another_option_only_the_weights_that_it_bears_on_are_to_be_made_anew():
    space = passed(TENSOR)
    before = space.selection
    changed = space.selector.having(before, "stem/bits", 0)
    assert changed.weight.keys() == before.weight.keys() - {"stem"} and changed.weight["body"] is before.weight["body"]
    assert changed.share["stem/bits"].tolist() == [[1, 0]] and before.share["stem/bits"].tolist() == [[0, 1]]
    space.run(changed, images())
    assert len(changed.weight["stem"].unique()) <= 3 * 8 < len(before.weight["stem"].unique())  # three codes a channel


def test_a_held_selection_is_constant_and_holds_no_weights_of_the_pass_before():
    space = passed()
    held = space.selector.again(space.selection, draw=True)
    assert held.held and held.weight == {} and held.leaves().keys() == {"gates"}
    assert not any(share.requires_grad for share in [*held.share.values(), *held.keep.values(), held.alpha])
    space.run(held, images())
    again = space.selector.again(held, draw=True)
    assert again.weight == {} and held.weight and again.share == held.share


def test_with_another_option_of_a_held_selection_what_is_lacking_is_made():
    space = passed(Options((2, 8), "tensor", activation_bits=(2, 8)))
    name = "stem/activation_bits"
    selection = space.selector.having(space.selection, name, 0)
    expected = space.run(selection, images())
    held = space.selector.again(space.selection, draw=True)
    space.run(held, images())
    grids = dict(held.grids)
    with unmoved(space.norms.values()):
        assert torch.equal(space.run(space.selector.having(held, name, 0), images()), expected)
    assert held.grids == grids


def test_open_inputs_are_those_of_a_group():
    space = space_of(nn.Sequential(nn.Conv2d(3, 6, 1), nn.Conv2d(6, 4, 1, groups=2), nn.Conv2d(4, 2, 1)))
    space.decisions["0/channels"].fix((1, 0, 1))
    assert space.selector.open_inputs("0").tolist() == [0, 1, 2]  # the network's own input
    assert space.selector.open_inputs("1").tolist() == [0, 2]
    assert space_of(Plain(), options=Options((8,))).selector.open_inputs("body") is None


def test_copies_count_how_often_an_open_channel_is_to_stand():
    space = space_of(Plain())
    space.decisions["body/channels"].fix((0, 1, 3, 0, 2, 1))
    assert space.selector.copies().tolist() == [1, *[1] * 8, 1, 1, 3, 1, 2, 1]


def test_in_float_mode_decisions_are_out_of_play():
    selection = space_of(Plain()).select("float")
    assert selection.alpha is None and not selection.keep and not selection.share
    assert torch.is_tensor(space_of(Plain()).select("fake").alpha)
