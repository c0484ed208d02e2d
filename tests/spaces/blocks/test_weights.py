"""What stored weights keep of larger ones, and what a pass uses of them."""

import pytest
import torch

from spaces.blocks.norm import Norm
from spaces.blocks.weights import Kept, Weights, weights_in_use
from spaces.decisions.selection import Selection
from spaces.quantizers import ActivationChoice, ActivationQuantizer
from spaces.spec import WeightsSpec

OPEN = WeightsSpec((3, 2, 3, 3), bias=True, widths=(2, 8))


def weights_of(spec: WeightsSpec) -> Weights:
    torch.manual_seed(0)
    made = Weights("stem", spec, {})
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.copy_(torch.randn(parameter.shape))
    return made


def test_rows_columns_and_taps_stay_as_they_are_listed():
    values = torch.arange(3 * 2 * 3).view(3, 2, 3)
    kept = Kept(torch.tensor([2, 0, 0]), torch.tensor([1]), [torch.tensor([0, 2])])
    assert kept.of(values).tolist() == [[[15, 17]], [[3, 5]], [[3, 5]]]


def test_copies_of_a_column_share_it_in_unequal_parts():
    parts = Kept(torch.tensor([0]), torch.tensor([0, 1, 1, 2, 2, 2])).parts()
    assert parts.tolist() == pytest.approx([1, 1 / 3, 2 / 3, 1 / 6, 2 / 6, 3 / 6])


def test_each_channel_inherits_the_step_of_the_precision_that_it_was_given():
    old = weights_of(OPEN)
    new = Weights("stem", WeightsSpec((2, 2, 3, 3), bias=True, assigned=(8, 2)), {})
    new.inherit(old, Kept(torch.tensor([2, 0]), torch.arange(2)))
    assert new.quantizer.log_step.tolist() == [[old.quantizer.log_step[1, 2], old.quantizer.log_step[0, 0]]]
    assert torch.equal(new.weight, old.weight[[2, 0]]) and torch.equal(new.bias, old.bias[[2, 0]])
    assert new.quantizer.bits.tolist() == [[8, 2]]


def test_where_channels_were_copied_steps_are_calibrated_anew():
    old = weights_of(OPEN)
    new = Weights("stem", WeightsSpec((3, 3, 3, 3), bias=True, assigned=(8, 8, 8)), {})
    new.inherit(old, Kept(torch.arange(3), torch.tensor([0, 0, 1])))
    inherited = new.quantizer.log_step.clone()
    new.quantizer.calibrate(new.weight, "mse")
    assert torch.equal(new.quantizer.log_step, inherited)
    torch.testing.assert_close(new.weight[:, 0] + new.weight[:, 1], old.weight[:, 0])


def test_of_a_pattern_its_mask_is_inherited():
    old = weights_of(WeightsSpec((2, 4, 1, 1), bias=False, widths=(8,), pattern="2:4"))
    new = Weights("stem", WeightsSpec((2, 4, 1, 1), bias=False, assigned=(8, 8), masked=True), {})
    new.inherit(old, Kept(torch.arange(2), torch.arange(4)))
    assert (new.mask.sum(1) == 2).all() and torch.equal(new.weight != 0, new.mask)


def test_weights_that_are_used_as_they_are_stored_are_left_out_of_what_is_in_use():
    plain, quantized = (
        weights_of(WeightsSpec((3, 2), bias=True)),
        weights_of(WeightsSpec((3, 2), True, assigned=(8,) * 3)),
    )
    used = weights_in_use({"plain": plain, "quantized": quantized}, Selection("fake"), lambda name: None)
    assert used.keys() == {"quantized"} and used["quantized"].shape == (3, 2)


# Norms and quantizers


def test_a_norm_inherits_the_channels_that_stay():
    old, new = Norm(4), Norm(3)
    with torch.no_grad():
        for value in old.state_dict().values():
            value.copy_(torch.rand(4))
    new.inherit(old, torch.tensor([3, 1, 1]))
    assert all(torch.equal(value, old.state_dict()[key][[3, 1, 1]]) for key, value in new.state_dict().items())


def test_an_activation_inherits_the_member_of_its_bits_with_the_drift_of_all():
    old, new = ActivationChoice("stem/activation_bits", (2, 4, 8), False, None), ActivationQuantizer(4)
    with torch.no_grad():
        old.drift.fill_(0.5)
        old.members[1].log_step.fill_(-1.0)
        old.members[1].zero.fill_(3)
    assert new.zero_point == 8
    new.inherit(old)
    assert (new.log_step.item(), new.zero_point) == (-0.5, 3)
