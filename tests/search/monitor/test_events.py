"""Durations as people read them, and how much time a run has left."""

from math import inf

import pytest

from search.monitor.events import Clock, duration


@pytest.mark.parametrize("seconds, text", [(0, "0:00"), (83.9, "1:23"), (3683, "1:01:23"), (inf, "?")])
def test_duration(seconds, text):
    assert duration(seconds) == text


def test_time_left_of_a_resumed_run_counts_only_what_this_process_did():
    seconds = [0.0]
    clock = Clock(lambda: seconds[-1])
    clock.advance(0.5)
    assert clock.left() == inf
    seconds.append(10.0)
    clock.advance(0.75)
    assert clock.left() == 10.0
