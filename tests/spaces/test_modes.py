"""Modes: what each computes, what is refused, and that what is set for a while is given back."""

import re
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from search.training.dry_run import watched
from spaces.entering import as_convolutions_like
from spaces.one_of import OneOf
from spaces.searchable import Options
from spaces.space import Space
from tests.spaces.small import Plain, half_closed, images, space_of


class Stopped(Exception):
    """What interrupts a test's pass."""


def test_integer_mode_of_an_open_space_is_refused():
    space = space_of(Plain()).train()
    with pytest.raises(ValueError, match=r"integer semantics need a decided, quantized network; 6 decisions are open"):
        space.set_mode("integer")
    with pytest.raises(ValueError, match=r"Call decide\(\) first"):
        space.codes(images())
    assert space.mode == "fake" and space.training


def test_integer_mode_of_a_float_network_is_refused():
    with pytest.raises(ValueError, match="need a decided, quantized network"):
        space_of(Plain(), options=Options((), activation_bits=None)).decide().set_mode("integer")


def test_an_unknown_mode_is_refused():
    with pytest.raises(ValueError, match=r"mode 'int' is not one of \('float', 'fake', 'integer'\)"):
        space_of(Plain()).set_mode("int")


@pytest.mark.parametrize("shape", [(2, 3, 6, 7), (2, 1, 6, 6), (3, 6, 6), (2, 108)])
def test_an_input_of_another_shape_is_refused(shape):
    with pytest.raises(ValueError, match=rf"input of shape {re.escape(str(shape))}; expected \(N, 3, 6, 6\)"):
        space_of(Plain())(torch.zeros(shape))


def test_float_mode_is_the_model():
    model = Plain()
    space = space_of(model)
    space.set_mode("float")
    with torch.no_grad():
        assert torch.equal(space(images()), model(as_convolutions_like(images())))


def test_fake_and_integer_differ_by_a_code_or_two():
    decided = half_closed().eval().decide()
    decided.set_mode("fake")
    with torch.no_grad():
        fake = decided(images((16, 3, 6, 6)))
        decided.set_mode("integer")
        exact = decided(images((16, 3, 6, 6)))
    assert (fake - exact).abs().max() <= 2.01 * decided.quantizer("head").step
    assert len(exact.unique()) > 10


# For a while


def state_of(space: Space) -> tuple[str, bool, bool, bool, list[bool]]:
    observing = [q.observing for q in space.quantizers.values()]
    return space.mode, space.training, space.draws, space.selector.schedule.everything, observing


def test_codes_leave_mode_and_training_as_they_were():
    decided = half_closed().decide().train()
    decided.set_mode("fake")
    decided.codes(images())
    assert decided.mode == "fake" and decided.training


@pytest.mark.parametrize("training", [True, False])
def test_what_runs_otherwise_for_a_while_is_as_it_was_even_where_that_fails(training):
    space = space_of(Plain()).train(training)
    before = state_of(space)
    with pytest.raises(Stopped), space.running("float", training=not training, draws=False):
        assert (space.mode, space.training, space.draws) == ("float", not training, False)
        raise Stopped
    assert state_of(space) == before and all(m.training is training for m in space.modules())


def test_what_is_not_named_stays_as_it_is():
    space = space_of(Plain()).train()
    with space.running(draws=False), space.running("float"):
        assert (space.mode, space.training, space.draws) == ("float", True, False)


def interrupted() -> Iterator[Tensor]:
    yield 100 * images()
    raise Stopped


def test_a_calibration_that_fails_leaves_nothing_behind():
    body = OneOf([torch.nn.Conv2d(3, 3, 1), torch.nn.Identity()])
    space = space_of(torch.nn.Sequential(body, torch.nn.Conv2d(3, 2, 1))).train()
    before = state_of(space)
    with pytest.raises(Stopped):
        space.calibrate(interrupted())
    assert state_of(space) == before
    steps = []
    for _ in range(2):
        space.calibrate([images()])
        steps.append([q.step for q in space.quantizers.values()])
    assert steps[0] == steps[1]  # of these images alone


def test_what_only_looks_gives_back_what_it_sets():
    space = half_closed()
    for norm in space.norms.values():
        norm.frozen = True
    before = state_of(space)
    space.held = space.steered = True
    with pytest.raises(Stopped), watched(space):
        assert not any(norm.frozen or norm.momentum for norm in space.norms.values())
        assert not space.held and not space.steered
        raise Stopped
    assert space.held and space.steered
    assert state_of(space) == before and all(norm.frozen and norm.momentum for norm in space.norms.values())


def test_parts_that_a_caller_has_set_apart_come_back_so():
    space = space_of(Plain()).train()
    norm = next(iter(space.norms.values()))
    norm.eval()
    with space.running(training=True):
        assert norm.training
    assert space.training and not norm.training
    with space.running("float", training=False):
        assert not space.training
    assert space.training and not norm.training
