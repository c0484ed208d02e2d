"""Epochs as columns."""

import base64
from math import nan

import pytest

from search.monitor.events import EpochEnd
from search.report.trajectories import curves, decisions, sensitivities, thinned


def end(phase: str, epoch: int, scalars: dict, gates: list[float] | None = None) -> EpochEnd:
    return EpochEnd(
        phase, epoch, 9, epoch, scalars, {"a": {8: 2, 0: epoch % 2}}, {} if gates is None else {"a/channels": gates}
    )


ENDS = [
    end("warmup", 0, {"loss/train": 2.0}, [1.0, 1.0]),
    end("search", 1, {"loss/train": 1.23456789, "cost/macs": 7.0}, [1.5, 0.5]),
    end("search", 2, {"loss/train": nan}, [0.25, -1.0]),
    end("finetune", 3, {"loss/train": 0.5}),
]


def test_curves_have_a_value_an_epoch_and_none_where_there_is_no_number():
    found = curves(ENDS)
    assert found["epochs"] == [0, 1, 2, 3]
    assert found["scalars"] == {"loss/train": [2.0, 1.2346, None, 0.5], "cost/macs": [None, 7.0, None, None]}
    assert found["phases"][1] == {"name": "search", "first": 1, "last": 2}


def test_decisions_are_those_of_the_search_and_gates_are_clipped_to_bytes():
    found = decisions(ENDS)
    assert found["epochs"] == [1, 2]
    assert found["bits"]["a"] == {"widths": [0, 8], "counts": [[1, 2], [0, 2]]}
    assert base64.b64decode(found["gates"]["a/channels"]["bytes"]) == bytes([255, 128, 64, 0])


@pytest.mark.parametrize("gates", [None, [0.5]])
def test_gates_that_an_edited_epoch_lacks_are_left_out(gates):
    assert decisions([*ENDS, end("search", 4, {}, gates)])["gates"] == {}


def test_no_search_no_decisions():
    assert decisions([ENDS[0], ENDS[3]])["epochs"] == []


@pytest.mark.parametrize("count, most, kept", [(5, 9, [0, 1, 2, 3, 4]), (10, 4, [0, 3, 6, 9]), (0, 4, [])])
def test_what_is_thinned_out_ends_with_the_last(count, most, kept):
    ends = [end("search", epoch, {}) for epoch in range(count)]
    assert [each.epoch for each in thinned(ends, most)] == kept


def test_sensitivity_is_summed_up_over_groups():
    (found,) = sensitivities({"a/bits": {"options": [2, 8], "loss_increase": [[0.5, 0.0], [0.25, 0.0], [0.75, 0.0]]}})
    assert found["groups"] == 3
    assert found["options"][0] == {"option": 2, "mean": 0.5, "least": 0.25, "most": 0.75}
