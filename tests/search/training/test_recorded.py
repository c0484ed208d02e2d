"""What a graph of a device can do wrong, on the CPU. tests/laws/test_devices.py holds what it does right."""

from collections.abc import Callable

import pytest
import torch

from benchmarks.step_time import Ours, ours
from search.training import recorded
from search.training.recorded import Recorder, reads, why_not_recorded
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


def still(mode: str = "qat_w8a8", steered: bool = True) -> Ours:
    """Nothing moves in its steps, so that `Forgetful`, which leaves everything as it was, repeats them."""
    trainer = ours("resnet8", mode, batch=4)
    trainer.network.steered = steered
    for norm in trainer.network.norms.values():
        norm.frozen = True
    return trainer


def step(trainer: Ours, recorder: Recorder, images: torch.Tensor) -> torch.Tensor:
    """The loss of a step that moves nothing."""
    trainer.network.zero_grad()
    loss, _ = recorder.step(trainer.network.next_selection(), images, trainer.targets[: len(images)])
    return loss


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


def test_kinds_of_steps_beyond_the_most_are_not_recorded(monkeypatch):
    monkeypatch.setattr(recorded, "MOST", 2)
    trainer = ours("resnet8", "qat_w8a8", batch=4)
    recorder = Recorder(trainer.network, trainer.steps.loss, Forgetful, lambda text: None)
    monkeypatch.setattr(recorded, "_same", lambda ours, theirs: True)
    with only_eager():
        for size in (2, 3, 4):
            for _ in range(3):
                step(trainer, recorder, trainer.images[:size])
    assert recorder.recordings == 2


def test_a_recording_holds_constants_that_a_cache_may_give_up():
    trainer = still()
    recorder = Recorder(trainer.network, trainer.steps.loss, Forgetful, lambda text: None)
    with only_eager():
        for _ in range(3):
            step(trainer, recorder, trainer.images)
    (recording,) = recorder._recordings.values()
    assert recording is not None and recording.constants != []


@pytest.mark.parametrize("mode", ["masks", "activation_bits"])
def test_steps_in_which_decisions_learn_are_recorded_with_the_gradients_of_gates_and_shares(mode):
    trainer = still(mode)
    recorder = Recorder(trainer.network, trainer.steps.loss, Forgetful, lambda text: None)
    with only_eager():
        for _ in range(3):
            step(trainer, recorder, trainer.images)
        expected = {name: leaf.grad for name, leaf in trainer.network.selection.leaves().items()}
        step(trainer, recorder, trainer.images)
    assert recorder.recordings == 1
    leaves = trainer.network.selection.leaves()
    assert leaves.keys() == expected.keys() and any(gradient is not None for gradient in expected.values())
    for name, gradient in expected.items():
        assert gradient is leaves[name].grad is None or torch.equal(leaves[name].grad, gradient)


@pytest.mark.parametrize("tried", [True, False])
def test_trials_behind_a_recorded_step_go_on_from_what_it_made(tried):
    trainer = still("activation_bits" if tried else "masks")
    recorder = Recorder(trainer.network, trainer.steps.loss, Forgetful, lambda text: None)
    with only_eager():
        for _ in range(4):
            step(trainer, recorder, trainer.images)
    made = trainer.network.selection.made()
    assert all(bool(part) == tried for part in made)
    assert not any(value.requires_grad for value in trainer.network.selection.weight.values())


def test_other_gradients_of_what_decisions_say_are_noticed():
    trainer, notes = still("channel_bits"), list[str]()
    recorder = Recorder(trainer.network, trainer.steps.loss, Forgetful, notes.append)
    with only_eager():
        for _ in range(3):
            step(trainer, recorder, trainer.images)
        (recording,) = recorder._recordings.values()
        assert notes == [] and recording is not None
        count = sum(leaf.requires_grad for leaf in trainer.network.selection.leaves().values())
        learned = [gradient for gradient in recording.gradients[-count:] if gradient is not None]
        learned[-1].flatten()[-1] += 1
        recorder.begin_epoch()
        step(trainer, recorder, trainer.images)
    assert notes == [f"{WITHOUT}a recording gives other bits"] and recorder.recordings == 0


def test_steps_whose_gradients_go_on_to_decisions_are_not_recorded():
    trainer = still("masks", steered=False)
    recorder = Recorder(trainer.network, trainer.steps.loss, Forgetful, lambda text: None)
    with only_eager():
        for _ in range(4):
            step(trainer, recorder, trainer.images)
    assert recorder.recordings == 0
    assert all(gate.shadow.grad is not None for gate in trainer.network.gates.values())


def test_a_loss_that_changes_with_the_epoch_is_noticed():
    trainer, notes, factor = still(), list[str](), [1.0]

    def loss(images, outputs, targets):
        return factor[0] * trainer.steps.loss(images, outputs, targets)

    recorder = Recorder(trainer.network, loss, Forgetful, notes.append)
    with only_eager():
        for _ in range(4):
            step(trainer, recorder, trainer.images)
        assert recorder.recordings == 1 and notes == []
        factor[0] = 2.0
        recorder.begin_epoch()
        before = step(trainer, recorder, trainer.images)
        after = step(trainer, recorder, trainer.images)
    assert notes == [f"{WITHOUT}a recording gives other bits"] and recorder.recordings == 0
    assert torch.equal(before, after)


def test_a_step_that_diverges_says_nothing_of_a_recording():
    trainer, notes = still(), list[str]()
    recorder = Recorder(trainer.network, trainer.steps.loss, Forgetful, notes.append)
    with only_eager():
        for images in (trainer.images, trainer.images, trainer.images * float("nan"), trainer.images):
            step(trainer, recorder, images)
    assert notes == [] and recorder.recordings == 1


def test_what_reads_a_device_is_seen_by_its_name_and_by_masks():
    mask, x = torch.tensor([True, False]), torch.ones(2)
    assert reads("index", (x, [mask]), {}) and reads("_local_scalar_dense", (x,), {})
    assert reads("repeat_interleave", (x,), {}) and not reads("repeat_interleave", (x,), {"output_size": 4})
    assert not reads("index", (x, [None, torch.tensor([0])]), {}) and not reads("add", (x, x), {})


def test_steps_are_recorded_on_gpus_alone():
    assert why_not_recorded(torch.device("cpu")) == "the device is cpu, and CUDA graphs are of GPUs"
    assert why_not_recorded(torch.device("cuda", 0)) == ""
