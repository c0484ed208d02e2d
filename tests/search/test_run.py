"""The whole way, on small data: what a run leaves, that it repeats and resumes to the bit, and what it refuses."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from search import checkpoint, training
from search import run as run_module
from search.checkpoint import CheckpointError
from search.config import read_config
from search.feasibility import BudgetError
from search.folders import RunFolderError, give_back, new_folder
from search.integer.executor import Executor
from search.integer.program import Program
from search.optimizers import OWN
from search.results import read_results
from search.run import Run
from search.strategies import SETTINGS
from search.training import PhaseRun, TrainingDiverged
from spaces.architecture import Architecture
from spaces.graph.errors import UnsupportedNetwork
from spaces.space import INTEGER, Space
from tests.search.small import Small, run, settings, write_stripes

OUTPUTS = ("program.safetensors", "model.safetensors", "architecture.json")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_stripes(tmp_path_factory.mktemp("data") / "stripes.npz")


@pytest.fixture(scope="module")
def done(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "whole"
    return folder, run(folder, settings(data))


def same_outputs(a: Path, b: Path) -> bool:
    return all((a / name).read_bytes() == (b / name).read_bytes() for name in OUTPUTS)


def test_summary_holds_budgets_costs_accuracies_and_no_mismatch(done):
    folder, summary = done
    assert summary == json.loads((folder / "summary.json").read_text())
    assert summary["mismatches"]["numpy"] == 0 and summary["mismatches"]["elements_compared"] > 10_000
    assert all(b["met"] and b["found"] <= b["limit"] for b in summary["budgets"].values())
    assert summary["accuracy"]["float"]["test"] > 0.8 and summary["accuracy"]["integer"]["test"] > 0.5
    assert summary["costs"]["flash_bytes"]["found"] < summary["costs"]["flash_bytes"]["seed_network"]


def test_files_agree_with_one_another(done):
    folder, summary = done
    program = Program.load(folder / "program.safetensors")
    space = Space.load(folder / "model.safetensors").eval()
    assert program.flash_bytes() == summary["costs"]["flash_bytes"]["found"]
    assert program.peak_ram_bytes() == summary["costs"]["peak_ram_bytes"]["found"]
    assert Architecture.from_json((folder / "architecture.json").read_text()).hash == summary["architecture"]
    x = np.random.default_rng(0).normal(size=(5, 1, 8, 8)).astype(np.float32)
    space.set_mode(INTEGER)
    assert np.array_equal(space(torch.from_numpy(x)).detach().numpy(), Executor(program)(x))
    assert (folder / "results.jsonl").read_text().count("\n") == 1


def test_exported_model_is_smaller_on_disk_than_the_float_network(done):
    folder, summary = done
    parameters = sum(p.numel() for p in Small().parameters())
    assert Program.load(folder / "program.safetensors").flash_bytes() < parameters
    assert summary["files"]["program.safetensors"] == (folder / "program.safetensors").stat().st_size


def test_same_seed_gives_the_same_bytes(done, data, tmp_path):
    run(tmp_path / "again", settings(data))
    assert same_outputs(done[0], tmp_path / "again")


class Killed(BaseException):
    pass


def killed(folder, config, monkeypatch, saves):
    """A run that ended behind so many checkpoints."""
    save, counted = PhaseRun.save, []

    def killed_after(self):
        save(self)
        counted.append(1)
        if len(counted) == saves:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(PhaseRun, "save", killed_after)
        with pytest.raises(Killed):
            run(folder, config)


@pytest.mark.parametrize("saves", range(1, 8))
def test_resume_after_a_kill_at_every_epoch_gives_the_same_bytes(done, data, tmp_path, monkeypatch, saves):
    killed(tmp_path / "run", settings(data), monkeypatch, saves)
    torch.manual_seed(12345)  # a new process would not share the old one's random state
    run(tmp_path / "run", settings(data))
    assert same_outputs(done[0], tmp_path / "run")


def test_a_run_that_goes_on_counts_the_seconds_of_both_processes(data, tmp_path, monkeypatch):
    folder = tmp_path / "run"
    first = run(folder, settings(data))
    (line,), _ = read_results(folder / "results.jsonl")
    second = run(folder, settings(data))
    (again,), _ = read_results(folder / "results.jsonl")
    for phase in ("warmup", "search", "finetune"):
        assert second["seconds"][phase] == pytest.approx(first["seconds"][phase], abs=0.05)
    assert second["seconds"]["rest"] > 0
    assert again.seconds > first["seconds"]["finetune"] and line.seconds > first["seconds"]["finetune"]


def test_results_of_before_a_kill_stay_until_they_are_found_again(data, tmp_path, monkeypatch):
    chosen = replace(settings(data), budgets={}, strategy=SETTINGS["fixed"](weight_bits=[2, 4, 8]))
    run(tmp_path / "run", chosen)
    path, seen = tmp_path / "run/results.jsonl", []
    before, original = path.read_text().splitlines(), run_module.write_results
    monkeypatch.setattr(
        run_module, "write_results", lambda *a: (original(*a), seen.append(len(path.read_text().splitlines())))
    )
    run(tmp_path / "run", chosen)
    assert seen == [len(before)] * 3 == [3, 3, 3]


def test_resume_with_sampled_choices_gives_the_same_bytes(data, tmp_path, monkeypatch):
    """What is only looked at may draw no random number."""
    chosen = settings(data)
    chosen.space.mode = "gumbel"
    run(tmp_path / "whole", chosen)
    killed(tmp_path / "run", chosen, monkeypatch, saves=4)  # in the search
    run(tmp_path / "run", chosen)
    assert same_outputs(tmp_path / "whole", tmp_path / "run")


def test_a_run_resumes_whose_optimizers_were_saved_without_what_training_reads(done, data, tmp_path, monkeypatch):
    """As earlier versions did."""
    killed(tmp_path / "run", settings(data), monkeypatch, saves=4)  # in the search
    path = tmp_path / "run/checkpoints/search.pt"
    state = torch.load(path, weights_only=True)
    assert state["epoch"] > 0 and not state["finished"]
    for group in (group for optimizer in state["optimizers"] for group in optimizer["param_groups"]):
        for key in OWN:
            del group[key]
    checkpoint.save(path, state)
    run(tmp_path / "run", settings(data))
    assert same_outputs(done[0], tmp_path / "run")


@pytest.mark.parametrize("name, damage", [("config.yaml", lambda text: text[:40]), ("config.yaml", lambda text: "")])
def test_damaged_config_of_a_run_is_named(tmp_path, name, damage):
    text = "data:\n  name: npz\n  file: x.npz\nmodel: {_target_: a.b\n"
    (tmp_path / name).write_text(damage(text))
    with pytest.raises(ValueError, match=r"config.yaml is damaged"):
        read_config(tmp_path)


def test_process_killed_in_the_middle_of_an_epoch_resumes_from_the_command_line(data, tmp_path):
    folder = tmp_path / "run"
    command = [
        *(sys.executable, "-m", "search", "data=npz", f"data.file={data}", "model=custom"),
        *("model._target_=tests.search.small.Small", f"folder={folder}", "space=joint", "tensorboard=false"),
        *("train.batch_size=20", "train.warmup.epochs=4", "strategy.epochs=4", "train.finetune.epochs=4"),
        *("budgets.flash_bytes=500", "train.threads=1", "train.finetune.integer_epochs=1"),
    ]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    whole = [argument.replace(str(folder), str(tmp_path / "whole")) for argument in command]
    subprocess.run(whole, check=True, env=environment, capture_output=True)
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not (folder / "checkpoints" / "search.pt").exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    resumed = subprocess.run(
        [sys.executable, "-m", "search", f"resume={folder}"], env=environment, capture_output=True, text=True
    )
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    assert same_outputs(tmp_path / "whole", folder)


def test_fixed_strategy_is_plain_quantization(data, tmp_path):
    summary = run(tmp_path / "run", settings(data, "fixed"))
    picks = Architecture.from_json((tmp_path / "run" / "architecture.json").read_text()).picks
    assert {bits for pick in picks.values() for bits in pick} == {8}
    assert summary["mismatches"]["numpy"] == 0


def test_fine_tuning_never_leaves_a_network_clearly_worse_than_it_was(data, tmp_path):
    config = settings(data, "fixed")
    config.train.finetune.lr = 30.0
    summary = Run(config, lambda _: Small(), tmp_path / "run")()
    assert summary["accuracy"]["float"]["val"] > 0.9
    assert summary["accuracy"]["integer"]["val"] > summary["accuracy"]["float"]["val"] - 0.05


def test_of_a_start_and_epochs_that_are_as_good_the_last_epoch_is_kept(data, tmp_path, monkeypatch):
    config, original, seen = settings(data, "fixed"), PhaseRun.validate, []

    def validate(self):
        seen.append({name: value.clone() for name, value in self.space.state_dict().items()})
        return original(self)

    config.train.finetune.integer_epochs = 2
    monkeypatch.setattr(PhaseRun, "validate", validate)
    monkeypatch.setattr(training, "accuracy", lambda *_, **__: 1.0)
    Run(config, lambda _: Small(), tmp_path / "run")()
    kept = checkpoint.load(tmp_path / "run" / "checkpoints" / "finetune.pt")["space"]
    assert all(torch.equal(value, seen[-1][name]) for name, value in kept.items())
    assert not all(torch.equal(value, seen[-2][name]) for name, value in kept.items())


def test_distillation_changes_the_result_and_keeps_the_promises(done, data, tmp_path):
    chosen = settings(data)
    chosen.train.distillation.weight = 0.5
    summary = run(tmp_path / "run", chosen)
    assert summary["mismatches"]["numpy"] == 0 and all(b["met"] for b in summary["budgets"].values())
    assert not same_outputs(done[0], tmp_path / "run")


def test_duccio_meets_the_budgets(data, tmp_path):
    chosen = settings(data)
    chosen.strategy.method = "duccio"
    assert all(b["met"] for b in run(tmp_path / "run", chosen)["budgets"].values())


def test_patience_ends_a_phase_early(data, tmp_path):
    chosen = settings(data)
    chosen.train.warmup.epochs, chosen.train.warmup.patience, chosen.train.warmup.lr = 30, 1, 1e-9
    run(tmp_path / "run", chosen)
    state = torch.load(tmp_path / "run" / "checkpoints" / "warmup.pt", weights_only=True)
    assert state["finished"] and state["epoch"] < 30


# Bad input


def test_budget_below_the_floor_is_refused_with_the_range_and_each_layers_floor(data, tmp_path):
    with pytest.raises(
        BudgetError, match=r"flash_bytes: 10 B cannot be met.*feasible are \d+ to \d+ B(.|\n)*conv1: \d+"
    ):
        run(tmp_path / "run", settings(data, budgets={"flash_bytes": 10}))


def test_budget_for_an_unknown_cost_is_refused(data, tmp_path):
    with pytest.raises(BudgetError, match="no cost model 'flash_kb'; there are macs"):
        run(tmp_path / "run", settings(data, budgets={"flash_kb": 10}))


def test_negative_budget_is_refused(data, tmp_path):
    with pytest.raises(BudgetError, match="must be positive"):
        run(tmp_path / "run", settings(data, budgets={"flash_bytes": -1}))


def test_precision_that_the_target_cannot_run_is_refused(data, tmp_path):
    chosen = settings(data)
    chosen.space.weight_bits = [0, 3]
    with pytest.raises(ValueError, match=r"'bench' cannot run space.weight_bits \[3\], it runs \[2, 4, 8\]"):
        run(tmp_path / "run", chosen)


def test_precisions_that_the_target_cannot_run_are_not_offered_and_the_log_says_so(data, tmp_path):
    chosen = settings(data)
    chosen.space.weight_bits, chosen.space.activation_bits = [0, 3, 4, 8], [8, 2, 5]
    made = Run(chosen, lambda _: Small(), tmp_path / "run")
    assert made.notes == [
        "not offered: space.weight_bits [3], which target 'bench' cannot run",
        "not offered: space.activation_bits [2, 5], which target 'bench' cannot run",
    ]
    options = {name.split("/")[1]: decision.options for name, decision in made.space.decisions.items()}
    assert options == {"channels": (0, 1), "bits": (4, 8)}


def test_run_folder_that_exists_is_not_overwritten(done, data):
    with pytest.raises(RunFolderError, match=r"not empty.*resume="):
        new_folder(settings(data, folder=str(done[0])))


def test_runs_that_begin_in_one_second_have_folders_of_their_own(data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("search.folders.datetime", Stopped)
    own = settings(data, folder=None)
    folders = [new_folder(own) for _ in range(3)] + [new_folder(own, job) for job in range(2)]
    assert [f.name for f in folders] == ["now", "now+2", "now+3", "now_0", "now_1"]
    assert all(folder.is_dir() for folder in folders)
    (folders[0] / "config.yaml").write_text("")
    for folder in folders:
        give_back(folder)
    assert [f.name for f in (tmp_path / "runs" / own.experiment).iterdir()] == ["now"]
    (folders[0] / "config.yaml").unlink()
    give_back(folders[0])
    assert not (tmp_path / "runs").exists()


class Stopped:
    @staticmethod
    def now():
        return Stopped()

    def strftime(self, _):
        return "now"


def test_what_the_fixed_strategy_cannot_meet_is_refused_before_training(data, tmp_path):
    chosen = settings(data, strategy="fixed", budgets={"flash_bytes": 300})
    with pytest.raises(
        BudgetError, match=r"strategy 'fixed': at 8 bits and width 1 costs are .*budgets.*Lower strategy.weight_bits"
    ):
        run(tmp_path / "run", chosen)
    assert not (tmp_path / "run").exists()


def test_network_with_another_number_of_outputs_than_classes_is_refused(data, tmp_path):
    with pytest.raises(ValueError, match=r"model: its output has shape \(N, 3\); .* has 4 classes, so \(N, 4\)"):
        Run(settings(data), lambda _: Small(classes=3), tmp_path / "run")


def test_loss_that_is_no_number_stops_and_keeps_the_last_checkpoint(data, tmp_path, monkeypatch):
    loss = PhaseRun.loss

    def broken(self, images, logits, labels):
        value = loss(self, images, logits, labels)
        return value * float("nan") if self.epoch == 1 else value

    monkeypatch.setattr(PhaseRun, "loss", broken)
    with pytest.raises(TrainingDiverged, match="phase 'warmup', epoch 2, step 1: the loss is nan"):
        run(tmp_path / "run", settings(data))
    state = torch.load(tmp_path / "run" / "checkpoints" / "warmup.pt", weights_only=True)
    assert state["epoch"] == 1 and all(torch.isfinite(t).all() for t in state["space"].values())


def test_damaged_checkpoint_is_named(data, tmp_path, monkeypatch):
    monkeypatch.setattr(PhaseRun, "run_epoch", lambda self: (_ for _ in ()).throw(Killed()))
    folder = tmp_path / "run" / "checkpoints"
    folder.mkdir(parents=True)
    (folder / "warmup.pt").write_bytes(b"PK\x03\x04 cut off")
    with pytest.raises(CheckpointError, match=r"warmup\.pt: the checkpoint is damaged.*Delete it"):
        run(tmp_path / "run", settings(data))


def test_checkpoint_with_another_byte_is_refused(done, tmp_path):
    shutil.copytree(done[0] / "checkpoints", tmp_path / "checkpoints")
    path = tmp_path / "checkpoints" / "search.pt"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"search\.pt: the checkpoint is damaged \(its checksum"):
        checkpoint.load(path)


def test_no_space_on_disk_keeps_the_old_checkpoint_and_says_so(data, tmp_path, monkeypatch):
    write = Path.write_bytes
    count = []

    def second_fails(path, content):
        count.append(1)
        if len(count) == 2:
            write(path, content[:100])
            raise OSError(28, "No space left on device")
        return write(path, content)

    monkeypatch.setattr(Path, "write_bytes", second_fails)
    with pytest.raises(OSError, match=r"warmup\.pt: not written \(No space left on device\)"):
        run(tmp_path / "run", settings(data))
    files = sorted(p.name for p in (tmp_path / "run" / "checkpoints").iterdir())
    assert files == ["warmup.pt"]
    assert torch.load(tmp_path / "run" / "checkpoints" / "warmup.pt", weights_only=True)["epoch"] == 1


def test_network_with_control_flow_is_refused_by_name(data, tmp_path):
    class Branches(Small):
        def forward(self, x):
            return super().forward(x if x.sum() > 0 else -x)

    with pytest.raises(UnsupportedNetwork, match=r"Branches.*depends on the data.*search each part"):
        Run(settings(data), lambda d: Branches(), tmp_path / "run")


@pytest.mark.parametrize("pattern", ["2:4", "blocks 2x3"])
def test_a_run_with_a_pattern_says_that_no_cost_falls_by_it(tmp_path, capsys, pattern):
    config = settings(write_stripes(tmp_path / "d.npz"), budgets={"flash_bytes": 900})
    config.space.pattern, config.strategy.pattern_decay = pattern, 0.3
    summary = Run(config, lambda _: Small(), tmp_path / "run")()
    assert summary["mismatches"]["numpy"] == 0 and summary["budgets"]["flash_bytes"]["met"]
    assert 0 < summary["pattern"]["zeros"] < summary["pattern"]["weights"]
    assert f"space.pattern '{pattern}': its zeros are stored and computed like other weights" in capsys.readouterr().out
    decided = Space.load(tmp_path / "run/model.safetensors")
    zeros = sum(int((w.weight == 0).sum()) for w in decided.weights.values() if w.spec.masked)
    assert zeros == summary["pattern"]["zeros"]
