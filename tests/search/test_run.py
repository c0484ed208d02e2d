"""The whole way, on small data: what a run leaves, that it repeats to the bit, and what it refuses."""

import json
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
import torch

from search.budgets.feasibility import BudgetError
from search.deploy import backends
from search.deploy.onnx.model import OnnxNetwork
from search.files.run_folders import RunFolderError, new_folder
from search.integer.executor import Executor
from search.integer.program import Program
from search.settings.run import SpaceSettings
from search.tasks.class_scores import ClassScores
from search.training import checkpoint
from search.training.loop import PhaseRun
from search.training.losses import TrainingDiverged
from search.training.step import Steps
from spaces.architecture import Architecture
from spaces.graph.errors import UnsupportedNetwork
from spaces.passes.chosen import only_eager
from spaces.passes.library import Library
from spaces.space import INTEGER, Space
from tests.search.kills import same_outputs
from tests.search.small import Small, prepared, run, settings, write_stripes


def test_summary_holds_budgets_costs_accuracies_and_no_mismatch(done):
    folder, summary = done
    assert summary == json.loads((folder / "summary.json").read_text())
    assert summary["mismatches"]["numpy"] == 0 and summary["mismatches"]["elements_compared"] > 10_000
    assert summary["mismatches"]["onnx"] == 0 and summary["files"]["onnx/network.onnx"] > 1000
    assert summary["mismatches"]["c"] == 0 and (folder / "c/selftest.c").is_file()
    assert all(b["met"] and b["used"] == b["found"] / b["limit"] <= 1 for b in summary["budgets"].values())
    assert summary["accuracy"]["float"]["test"] > 0.8 and summary["accuracy"]["integer"]["test"] > 0.5
    assert summary["costs"]["flash_bytes"]["found"] < summary["costs"]["flash_bytes"]["seed_network"]


@pytest.mark.parametrize(
    "asked", [{"budgets": {"flash_bytes": 50_000}}, {"budgets": {}, "lambdas": {"flash_bytes": 0.1}}]
)
def test_a_search_with_nothing_to_decide_ends(data, tmp_path, asked):
    summary = run(tmp_path / "run", settings(data, space=SpaceSettings(weight_bits=[8]), **asked))
    assert summary["costs"]["flash_bytes"]["found"] == summary["costs"]["flash_bytes"]["seed_network"]


def test_a_run_without_compiled_passes_says_why_and_leaves_the_same_bytes(data, tmp_path, monkeypatch):
    asked = settings(data, space=SpaceSettings(weight_bits=[8]), budgets={}, lambdas={"flash_bytes": 0.1})
    run(tmp_path / "compiled", asked)
    with only_eager(), monkeypatch.context() as patch:
        patch.setattr("spaces.passes.chosen.library", lambda: Library(None, "no C compiler found"))
        run(tmp_path / "plain", asked)
    said = "training takes torch's operators, a fifth slower than compiled passes: no C compiler found"
    assert said in (tmp_path / "plain/run.log").read_text()
    programs = [(tmp_path / name / "program.safetensors").read_bytes() for name in ("compiled", "plain")]
    assert programs[0] == programs[1]


def test_summary_says_of_how_much_data_it_is_and_when_it_ended(done):
    _, summary = done
    ago = datetime.now(UTC) - datetime.fromisoformat(summary["date"])
    assert timedelta(0) <= ago < timedelta(days=1)
    assert summary["data"] == {"name": "npz", "train": 480, "val": 120, "test": 120}


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


def test_same_seed_gives_the_same_bytes(done, more_data, tmp_path):
    run(tmp_path / "again", settings(more_data))
    assert same_outputs(done[0], tmp_path / "again")


def test_a_backend_that_computes_something_else_is_in_the_summary_and_an_error(more_data, tmp_path, monkeypatch):
    def wrong(self, *inputs):
        codes = original(self, *inputs)
        codes[next(iter(codes))][0, 0, 0, :3] += 1
        return codes

    original = OnnxNetwork.codes
    monkeypatch.setattr(OnnxNetwork, "codes", wrong)
    with pytest.raises(RuntimeError, match=r"onnx differs from what was measured: a defect"):
        run(tmp_path / "run", settings(more_data, "fixed"))
    found = json.loads((tmp_path / "run/summary.json").read_text())["mismatches"]
    assert found["numpy"] == 0 < found["onnx"] and found["onnx"] % 3 == 0


def test_a_run_says_which_backend_is_not_installed_and_does_without(more_data, tmp_path, monkeypatch):
    monkeypatch.setattr(backends, "find_spec", lambda name: None)
    summary = run(tmp_path / "run", settings(more_data, "fixed"))
    assert "onnx" not in summary["mismatches"] and not (tmp_path / "run/onnx").exists()
    log = (tmp_path / "run/run.log").read_text()
    assert "not exported to onnx: onnx, onnxruntime not installed. Run `pip install 'picojoule[onnx]'`" in log


def test_fixed_strategy_is_plain_quantization(more_data, tmp_path):
    summary = run(tmp_path / "run", settings(more_data, "fixed"))
    picks = Architecture.from_json((tmp_path / "run" / "architecture.json").read_text()).picks
    assert {bits for pick in picks.values() for bits in pick} == {8}
    assert summary["mismatches"]["numpy"] == 0


def test_fine_tuning_never_leaves_a_network_clearly_worse_than_it_was(more_data, tmp_path):
    config = settings(more_data, "fixed")
    config.train.finetune.lr = 30.0
    summary = run(tmp_path / "run", config)
    assert summary["accuracy"]["float"]["val"] > 0.9
    assert summary["accuracy"]["integer"]["val"] > summary["accuracy"]["float"]["val"] - 0.05


def test_of_a_start_and_epochs_that_are_as_good_the_last_epoch_is_kept(more_data, tmp_path, monkeypatch):
    config, original, seen = settings(more_data, "fixed"), PhaseRun.validate, []

    def validate(self):
        seen.append({name: value.clone() for name, value in self.space.state_dict().items()})
        return original(self)

    config.train.finetune.integer_epochs = 2
    monkeypatch.setattr(PhaseRun, "validate", validate)
    monkeypatch.setattr(ClassScores, "value", 1.0)
    run(tmp_path / "run", config)
    kept = checkpoint.load(tmp_path / "run" / "checkpoints" / "finetune.pt")["space"]
    assert all(torch.equal(value, seen[-1][name]) for name, value in kept.items())
    assert not all(torch.equal(value, seen[-2][name]) for name, value in kept.items())


def test_distillation_changes_the_result_and_keeps_the_promises(done, more_data, tmp_path):
    chosen = settings(more_data)
    chosen.train.distillation.weight = 0.5
    summary = run(tmp_path / "run", chosen)
    assert summary["mismatches"]["numpy"] == 0 and all(b["met"] for b in summary["budgets"].values())
    assert not same_outputs(done[0], tmp_path / "run")


def test_duccio_meets_the_budgets(more_data, tmp_path):
    chosen = settings(more_data)
    chosen.strategy.method = "duccio"
    assert all(b["met"] for b in run(tmp_path / "run", chosen)["budgets"].values())


def test_patience_ends_a_phase_early(more_data, tmp_path):
    chosen = settings(more_data)
    chosen.train.warmup.epochs, chosen.train.warmup.patience, chosen.train.warmup.lr = 30, 1, 1e-9
    run(tmp_path / "run", chosen)
    state = torch.load(tmp_path / "run" / "checkpoints" / "warmup.pt", weights_only=True)
    assert state["finished"] and state["epoch"] < 30


# Bad input


def test_budget_below_the_floor_is_refused_with_the_range_and_each_layers_floor(more_data, tmp_path):
    with pytest.raises(
        BudgetError, match=r"flash_bytes: 10 B cannot be met.*feasible are \d+ to \d+ B(.|\n)*conv1: \d+"
    ):
        run(tmp_path / "run", settings(more_data, budgets={"flash_bytes": 10}))


def test_budget_for_an_unknown_cost_is_refused(more_data, tmp_path):
    with pytest.raises(BudgetError, match="no cost model 'flash_kb'; there are macs"):
        run(tmp_path / "run", settings(more_data, budgets={"flash_kb": 10}))


def test_negative_budget_is_refused(more_data, tmp_path):
    with pytest.raises(BudgetError, match="must be finite and over 0"):
        run(tmp_path / "run", settings(more_data, budgets={"flash_bytes": -1}))


def test_precision_that_the_target_cannot_run_is_refused(more_data, tmp_path):
    chosen = settings(more_data)
    chosen.space.weight_bits = [0, 3]
    with pytest.raises(ValueError, match=r"'bench' cannot run space.weight_bits \[3\], it runs \[2, 4, 8\]"):
        run(tmp_path / "run", chosen)


def test_precisions_that_the_target_cannot_run_are_not_offered_and_the_log_says_so(more_data, tmp_path):
    chosen = settings(more_data)
    chosen.space.weight_bits, chosen.space.activation_bits = [0, 3, 4, 8], [8, 2, 5]
    made = prepared(tmp_path / "run", chosen)
    assert list(made.notes) == [
        "not offered: space.weight_bits [3], which target 'bench' cannot run",
        "not offered: space.activation_bits [2, 5], which target 'bench' cannot run",
    ]
    options = {name.split("/")[1]: decision.options for name, decision in made.space.decisions.items()}
    assert options == {"channels": (0, 1), "bits": (4, 8)}


def test_run_folder_that_exists_is_not_overwritten(done, more_data):
    with pytest.raises(RunFolderError, match=r"not empty.*resume="):
        new_folder("small", str(done[0]))


def test_runs_that_begin_in_one_second_have_folders_of_their_own(more_data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("search.files.run_folders.datetime", Stopped)
    folders = [new_folder("small", None) for _ in range(3)] + [new_folder("small", None, job) for job in range(2)]
    assert [f.name for f in folders] == ["now", "now+2", "now+3", "now_0", "now_1"]
    assert all(folder.is_dir() for folder in folders)


class Stopped:
    @staticmethod
    def now():
        return Stopped()

    def strftime(self, _):
        return "now"


def test_what_the_fixed_strategy_cannot_meet_is_refused_before_training(more_data, tmp_path):
    chosen = settings(more_data, strategy="fixed", budgets={"flash_bytes": 300})
    with pytest.raises(
        BudgetError, match=r"strategy 'fixed': at 8 bits and width 1 costs are .*budgets.*Lower strategy.weight_bits"
    ):
        run(tmp_path / "run", chosen)
    assert not (tmp_path / "run").exists()


def test_network_with_another_number_of_outputs_than_classes_is_refused(more_data, tmp_path):
    with pytest.raises(ValueError, match=r"model: its output has shape \(N, 3\); .* has 4 classes, so \(N, 4\)"):
        prepared(tmp_path / "run", settings(more_data), lambda: Small(classes=3))


def test_loss_that_is_no_number_stops_and_keeps_the_last_checkpoint(more_data, tmp_path, monkeypatch):
    loss, begin, begun = Steps.loss, Steps.begin_epoch, []

    def broken(self, images, outputs, labels):
        value = loss(self, images, outputs, labels)
        return value * float("nan") if len(begun) == 2 else value

    monkeypatch.setattr(Steps, "begin_epoch", lambda self: (begun.append(1), begin(self)))
    monkeypatch.setattr(Steps, "loss", broken)
    with pytest.raises(TrainingDiverged, match="phase 'warmup', epoch 2, step 1: the loss is nan"):
        run(tmp_path / "run", settings(more_data))
    state = torch.load(tmp_path / "run" / "checkpoints" / "warmup.pt", weights_only=True)
    assert state["epoch"] == 1 and all(torch.isfinite(t).all() for t in state["space"].values())


def test_network_with_control_flow_is_refused_by_name(more_data, tmp_path):
    class Branches(Small):
        def forward(self, x):
            return super().forward(x if x.sum() > 0 else -x)

    with pytest.raises(UnsupportedNetwork, match=r"Branches.*depends on the data.*search each part"):
        prepared(tmp_path / "run", settings(more_data), Branches)


@pytest.mark.parametrize("pattern", ["2:4", "blocks 2x3"])
def test_a_run_with_a_pattern_says_that_no_cost_falls_by_it(tmp_path, capsys, pattern):
    config = settings(write_stripes(tmp_path / "d.npz"), budgets={"flash_bytes": 900})
    config.space.pattern, config.strategy.pattern_decay = pattern, 0.3
    summary = run(tmp_path / "run", config)
    assert summary["mismatches"]["numpy"] == 0 and summary["budgets"]["flash_bytes"]["met"]
    assert 0 < summary["pattern"]["zeros"] < summary["pattern"]["weights"]
    assert f"space.pattern '{pattern}': its zeros are stored and computed like other weights" in capsys.readouterr().out
    decided = Space.load(tmp_path / "run/model.safetensors")
    zeros = sum(int((w.weight == 0).sum()) for w in decided.weights.values() if w.spec.masked)
    assert zeros == summary["pattern"]["zeros"]
