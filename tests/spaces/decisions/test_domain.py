"""Parameters of decisions come back to where gradients reach them, and outcomes can be fixed there."""

import pytest
import torch

from spaces.decisions.domain import project
from tests.spaces.decisions.small import gate


def test_project_brings_shadows_back_where_gradients_reach_them():
    made = gate(-0.4, 0.6, 1.7)
    project([made], [])
    assert made.shadow.tolist() == pytest.approx([0.0, 0.6, 1.0])


@pytest.mark.parametrize("threshold", [-0.5, 0.0, 0.5, 1.0, 1.5])
@pytest.mark.parametrize("hysteresis", [0.0, 0.2])
def test_what_is_fixed_is_picked_wherever_the_threshold_went(threshold, hysteresis):
    made = gate(0.5, 0.5, 0.5, hysteresis=hysteresis, trainable_threshold=True)
    with torch.no_grad():
        made.threshold.fill_(threshold)
    project([made], [])
    made.fix((0, 1, 1))
    assert made.pick() == (0, 1, 1)
