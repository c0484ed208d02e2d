"""What a graph of a device can do wrong, on the CPU. tests/laws/test_devices.py holds what it does right."""

from collections.abc import Callable

import pytest
import torch

from benchmarks.step_time import ours
from search.training import recorded
from search.training.recorded import Recorder, why_not_recorded
from spaces.passes.chosen import only_eager

STEPS = 9
WITHOUT = "train.graphs: some steps run without graphs: "


class Forgetful:
    """Runs the work while it records, and never again."""

    def record(self, work: Callable[[], None]) -> None:
        work()

    def replay(self) -> None:
        pass


class Refusing(Forgetful):
    def record(self, work: Callable[[], None]) -> None:
        raise RuntimeError("operation not permitted when stream is capturing\nand more")


def trained(make: type[Forgetful] | None) -> tuple[dict[str, torch.Tensor], list[str]]:
    torch.manual_seed(3)
    trainer, notes = ours("resnet8", "qat_w8a8", batch=4), list[str]()
    if make is not None:
        trainer.steps.recorder = Recorder(trainer.network, trainer.steps.loss, make, notes.append)
    with only_eager():
        for _ in range(STEPS):
            trainer.step()
    return trainer.network.state_dict(), notes


@pytest.mark.parametrize(
    "make, note",
    [
        (Forgetful, f"{WITHOUT}a recording gives other bits"),
        (Refusing, f"{WITHOUT}the device refuses it: operation not permitted when stream is capturing"),
    ],
)
def test_a_graph_that_fails_is_not_used_and_changes_nothing(make, note):
    (own, notes), (expected, _) = trained(make), trained(None)
    assert notes == [note]
    assert all(torch.equal(own[name], expected[name]) for name in expected)


def test_recordings_that_are_used_least_are_given_up(monkeypatch):
    monkeypatch.setattr(recorded, "MOST", 2)
    trainer = ours("resnet8", "qat_w8a8", batch=4)
    recorder = Recorder(trainer.network, trainer.steps.loss, Forgetful, lambda text: None)
    monkeypatch.setattr(recorded, "_same", lambda ours, theirs: True)
    with only_eager():
        for size in (2, 3, 4):
            for _ in range(3):
                recorder.step(trainer.images[:size], trainer.targets[:size])
    assert recorder.recordings == 2


def test_steps_are_recorded_on_gpus_alone():
    assert why_not_recorded(torch.device("cpu")) == "the device is cpu, and CUDA graphs are of GPUs"
    assert why_not_recorded(torch.device("cuda", 0)) == ""
