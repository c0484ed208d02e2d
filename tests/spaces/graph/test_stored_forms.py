"""The operators that bring a tensor into the form in which it is asked for."""

from dataclasses import replace

import numpy as np
import pytest

from spaces.graph.errors import UnsupportedNetwork
from spaces.graph.forms import Forms
from spaces.graph.value import Value
from spaces.graph.view import SAMPLES
from tests.spaces.graph.layouts import numbered, run, transposed


def test_the_same_form_is_made_once():
    forms = Forms()
    value = transposed(Value("input", (SAMPLES, 4, 3, 5)), (0, 2, 3, 1))
    first, second = forms.stored(value, (0, 1, 2)), forms.stored(value, (0, 1, 2))
    assert first == second and [op.kind for op in forms.ops] == ["permute"]


def test_a_tensor_in_its_own_order_needs_no_operator():
    forms = Forms()
    value = Value("input", (SAMPLES, 4, 3, 5))
    there_and_back = transposed(transposed(value, (0, 3, 1, 2)), (0, 2, 3, 1))
    split = forms.reshaped(value, (SAMPLES, 2, 2, 15))
    joined = forms.reshaped(split, (SAMPLES, 4, 3, 5))
    for same in (value, there_and_back, joined):
        assert forms.stored(same, (0, 1, 2)).name == "input"
    assert not forms.ops


def test_a_value_whose_batch_was_joined_is_refused_where_samples_matter():
    joined = Forms().reshaped(Value("input", (SAMPLES, 3, 4), label="flatten"), (SAMPLES * 3, 4))
    for use in (lambda: joined.batch, lambda: joined.own, lambda: Forms().stored(joined)):
        with pytest.raises(UnsupportedNetwork, match="'flatten': joins the batch with other dimensions"):
            use()


def test_a_reshape_that_mixes_samples_is_refused():
    forms = Forms()
    moved = transposed(Value("input", (SAMPLES, 3, 5), label="view"), (1, 0, 2))
    with pytest.raises(UnsupportedNetwork, match=r"'view': reshapes \(3, 2, 5\) to \(5, 6\), and the batch with it"):
        forms.reshaped(moved, (5, 6))


def test_a_shuffle_of_channels_with_other_maps_is_a_permutation():
    forms, value = Forms(), Value("input", (SAMPLES, 4, 3, 5))
    split = transposed(forms.reshaped(value, (SAMPLES, 2, 2, 3, 5)), (0, 2, 1, 4, 3))
    found = forms.stored(forms.reshaped(split, (SAMPLES, 4, 5, 3)), (0, 1, 2))
    assert [op.kind for op in forms.ops] == ["reshape", "permute", "reshape"]
    wanted = numbered(4, 3, 5).reshape(SAMPLES, 2, 2, 3, 5).transpose(0, 2, 1, 4, 3).reshape(SAMPLES, 4, 5, 3)
    assert (run(forms.ops, numbered(4, 3, 5))[found.name] == wanted).all()


@pytest.mark.parametrize("groups", [2, 4])
def test_a_channel_shuffle_is_one_take_and_no_permutation(groups):
    forms, value = Forms(), Value("input", (SAMPLES, 8, 3, 3))
    split = transposed(forms.reshaped(value, (SAMPLES, groups, 8 // groups, 3, 3)), (0, 2, 1, 3, 4))
    forms.stored(forms.reshaped(split, (SAMPLES, 8, 3, 3)))
    (op,) = forms.ops
    assert op.kind == "take" and op.attributes["indices"][1:] == [[], []]
    assert op.attributes["indices"][0] == np.arange(8).reshape(groups, -1).T.flatten().tolist()


def test_a_part_of_a_part_is_one_take():
    forms, value = Forms(), Value("input", (SAMPLES, 8, 6))
    first = forms.taken(value, {0: [7, 6, 5, 4]}, "first")
    second = forms.taken(first, {0: [0, 2], 1: [1, 1]}, "second")
    assert [(op.name, op.inputs) for op in forms.ops] == [("first", ["input"]), ("second", ["input"])]
    assert forms.ops[-1].attributes["indices"] == [[7, 5], [1, 1]] and second.shape == (SAMPLES, 2, 2)


def test_what_takes_all_elements_in_their_order_takes_nothing():
    forms, value = Forms(), Value("input", (SAMPLES, 8, 6))
    assert forms.taken(value, {0: range(8), 1: range(6)}, "all") is value and not forms.ops


def test_a_part_of_a_joined_axis_is_taken_where_its_factors_lie_together():
    """Of (2, 12) of a stored (2, 4, 3) the places 0 and 7 are no part of one stored axis, and it is stored anew."""
    forms, value = Forms(), Value("input", (SAMPLES, 4, 3))
    forms.taken(forms.reshaped(value, (SAMPLES, 12)), {0: [0, 7]}, "part")
    assert [op.kind for op in forms.ops] == ["reshape", "take"]
    forms = Forms()
    forms.taken(forms.reshaped(value, (SAMPLES, 2, 2, 3)), {1: [1]}, "part")
    assert [(op.kind, op.attributes["indices"]) for op in forms.ops] == [("take", [[1, 3], []])]


@pytest.mark.parametrize(
    ("dims", "order"),
    [((0, 1, 2, 3), (0, 1, 2)), ((0, 2, 3, 1), (2, 0, 1)), ((0, 3, 1, 2), (1, 2, 0)), ((2, 0, 1, 3), (1, 0, 2))],
)
def test_the_order_that_moves_nothing_is_preferred(dims, order):
    value = transposed(Value("input", (SAMPLES, 4, 3, 5)), dims)
    assert value.seen.order == order
    forms = Forms()
    assert forms.stored(value).name == "input" and not forms.ops


def test_operators_are_taken_back():
    forms, value = Forms(), transposed(Value("input", (SAMPLES, 4, 3)), (0, 2, 1))
    forms.taken(value, {0: [0]}, "part")
    forms.stored(value, (0, 1))
    forms.forget(1)
    assert [op.name for op in forms.ops] == ["part"]
    forms.stored(value, (0, 1))
    assert [op.kind for op in forms.ops] == ["take", "permute"]


def test_names_of_operators_are_those_of_calls_and_never_twice():
    forms = Forms()
    value = replace(transposed(Value("input", (SAMPLES, 4, 3)), (0, 2, 1)), label="swap")
    names = [forms.stored(value, (0, 1)).name, forms.taken(value, {0: [0]}, "swap").name]
    assert names == ["swap", "swap.2"]
    with pytest.raises(AssertionError, match="two operators are called 'swap'"):
        forms.add(forms.ops[0])
