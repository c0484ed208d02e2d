import pytest
import torch

from search.training.losses import TOGETHER, Losses, TrainingDiverged


def losses(*values: float) -> Losses:
    found = Losses(torch.device("cpu"))
    for step, value in enumerate(values, 1):
        found.add(torch.tensor(value), f"step {step}")
    return found


def test_the_mean_is_over_all_steps_read_or_not() -> None:
    values = [float(step) for step in range(1, 2 * TOGETHER + 4)]
    found = losses(*values)
    assert found.shown == pytest.approx(sum(values) / len(values))
    assert found.mean == pytest.approx(sum(values) / len(values))
    assert found.shown == found.mean


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_is_named_with_its_step_when_it_is_read(value: float) -> None:
    found = losses(1.0, value, 1.0)
    with pytest.raises(TrainingDiverged, match="step 2: the loss is"):
        found.read()
    with pytest.raises(TrainingDiverged, match=f"step {TOGETHER}: the loss is"):
        losses(*[1.0] * (TOGETHER - 1), value)
