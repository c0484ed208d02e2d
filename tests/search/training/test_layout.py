"""A checkpoint that is whole, and of another network or another layout, is refused with what was found."""

import shutil

import pytest
import torch

from search.training import checkpoint
from search.training.checkpoint import CheckpointError
from tests.search.small import run, settings

NAN = float("nan")


def changed(state, path, value):
    """Sets what is at a path of keys; ... as the value takes it away."""
    *outer, last = path
    for key in outer:
        state = state[key]
    if value is ...:
        del state[last]
    else:
        state[last] = value


@pytest.fixture
def begun(done, tmp_path):
    """(phase, path, value) -> a folder whose phase has been begun, with a checkpoint that holds something else."""

    def change(phase, path, value):
        shutil.copytree(done[0], tmp_path / "run")
        for later in {"warmup": ("search", "finetune"), "search": ("finetune",), "finetune": ()}[phase]:
            (tmp_path / "run/checkpoints" / f"{later}.pt").unlink()
        file = tmp_path / "run/checkpoints" / f"{phase}.pt"
        state = checkpoint.load(file) | {"finished": False, "epoch": 1}
        changed(state, path, value)
        checkpoint.save(file, state)
        return tmp_path / "run"

    return change


CHANGES = [
    (("epoch",), ..., "epoch is missing"),
    (("epoch",), "1", "epoch is '1', not a whole number, 0 or more"),
    (("epoch",), -1, "epoch is -1"),
    (("seconds",), NAN, "seconds is nan, not a finite number"),
    (("finished",), 1, "finished is 1, not true or false"),
    (("space",), [], "space is [], not {name: a tensor}"),
    (("space", "_weights.conv1.weight"), ..., "space has nothing for 'weights.conv1.weight', the network has float32"),
    (("space", "_weights.conv1.weight"), torch.zeros(2), "space has float32 (2,) for 'weights.conv1.weight'"),
    (("space", "x"), torch.zeros(2), "space has float32 (2,) for 'x', the network has nothing"),
    (("best",), (0.5, {"x": torch.zeros(1)}), "best has nothing for"),
    (("best",), 3, "best is 3, not [a number, tensors by name] or null"),
    (("retreat", "value"), "x", "not a retreat"),
    (("retreat", "more"), 1, "not a retreat"),
    (("optimizers",), [], "there are 0 optimizers, the phase has 3"),
    (("optimizers", 0, "param_groups"), [], "optimizer 0 is"),
    (("optimizers", 0, "param_groups", 0, "params"), [0], "optimizer 0 is"),
    (("optimizers", 0, "param_groups", 0, "params"), torch.zeros(3), "optimizer 0 is"),
    (("optimizers", 0, "param_groups", 0, "lr"), "fast", "optimizer 0 is"),
    (("optimizers", 0, "state", 0, "momentum_buffer"), torch.zeros(2), "optimizer 0 has a state for [0]"),
    (("optimizers", 1, "state", 0, "step"), ..., "optimizer 1 has a state for [0]"),
    (("objective",), {}, "objective is {}, not"),
    (("objective", "fisher", "squares", "gates"), torch.zeros(3), "objective has float32 (3,) for 'gates'"),
    (("objective", "constraints"), {"flash_bytes": ["x", 1.0]}, "objective is"),
    (("rng",), torch.zeros(3), "rng is of another generator"),
]


@pytest.mark.parametrize(("path", "value", "message"), CHANGES, ids=[message for *_, message in CHANGES])
def test_what_does_not_fit_is_named_and_nothing_is_trained(begun, more_data, path, value, message):
    folder = begun("search", path, value)
    before = {file.name: file.read_bytes() for file in (folder / "checkpoints").iterdir()}
    with pytest.raises(CheckpointError) as refused:
        run(folder, settings(more_data))
    said = str(refused.value)
    assert "search.pt: the checkpoint is of another network, or of another version: " in said and message in said
    assert said.endswith("Delete it to repeat this phase, and resume again.")
    assert {file.name: file.read_bytes() for file in (folder / "checkpoints").iterdir()} == before


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no archive", b"\x80\x02cos\nsystem\n."])
def test_content_that_torch_cannot_read_is_named(tmp_path, content):
    checkpoint.write_bytes(tmp_path / "search.pt", content + checkpoint.sha256(content).digest())
    with pytest.raises(CheckpointError, match=r"search\.pt: the checkpoint is of another network, .*cannot be read"):
        checkpoint.load(tmp_path / "search.pt")


def test_content_that_is_no_state_is_named(tmp_path):
    checkpoint.save(tmp_path / "search.pt", [1, 2])
    with pytest.raises(CheckpointError, match=r"is \[1, 2\]\. Delete it"):
        checkpoint.load(tmp_path / "search.pt")
