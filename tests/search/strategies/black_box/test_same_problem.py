"""Which facts tell two problems apart."""

import pytest

from search.strategies.black_box.same_problem import refuse_other_problem


def refused(own, known) -> str:
    with pytest.raises(ValueError) as error:
        refuse_other_problem("shared", own, known, "Name another.")
    return str(error.value)


def test_what_differs_is_named_with_both_values():
    message = refused({"seed": 1, "space": {"a": {"bits": [2]}}}, {"seed": 0, "space": {"a": {"bits": [4]}}})
    assert "seed is 1 here, 0 there" in message and "space.a.bits is [2] here, [4] there" in message


def test_a_key_that_another_version_does_not_know_is_no_difference_where_it_says_nothing():
    refuse_other_problem(
        "shared", {"weights": {"a": {"bits": 2, "excluded": False}}}, {"weights": {"a": {"bits": 2}}}, ""
    )
    refuse_other_problem("shared", {"weights": {"a": {"bits": 2}}}, {"weights": {"a": {"bits": 2, "taps": {}}}}, "")
    refuse_other_problem("shared", {"new": 3}, {}, "")


def test_a_key_that_one_lacks_is_a_difference_where_it_says_something():
    message = refused({"weights": {"a": {"excluded": True}}}, {"weights": {"a": {}}})
    assert "weights.a.excluded is True here, None there" in message
    assert "seed is 0 here, 1 there" in refused({"seed": 0}, {"seed": 1})


def test_figures_of_two_machines_may_differ_in_their_last_digits():
    refuse_other_problem("shared", {"costs": 1.0}, {"costs": 1.0 + 1e-6}, "")
    assert "costs is 1.0 here, 1.001 there" in refused({"costs": 1.0}, {"costs": 1.001})
