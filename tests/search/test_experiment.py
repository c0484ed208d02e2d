"""What a run is made from is a value: preparing it touches nothing, and running it does not change it."""

from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest
import torch
from torch import nn

from cost_models import HELD_BY
from search import experiment
from search.budgets.feasibility import BudgetError
from search.data import DataError
from search.data.augment import Augment
from search.errors import PicojouleError, UsageError
from search.run import run as run_in_folder
from search.settings.front import Point
from search.settings.run import WarmupSettings
from spaces.graph.errors import UnsupportedNetwork
from tests.cost_models.networks import target
from tests.search.small import prepared, prepared_and_run, run, settings, write_stripes


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_stripes(tmp_path_factory.mktemp("data") / "d.npz", count=160)


def test_preparing_writes_nothing_and_draws_nothing_of_the_callers(data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    prepared(tmp_path / "run", settings(data))
    assert torch.equal(torch.get_rng_state(), before)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"augment": Augment(cutout=0.95)}, r"augment: cutout 0.95 covers all of examples of size \(8, 8\)"),
    ],
)
def test_batches_that_do_not_fit_the_data_are_refused_before_anything_is_written(data, tmp_path, change, message):
    chosen = settings(data)
    chosen.train = replace(chosen.train, **change)
    with pytest.raises(DataError, match=message):
        run(tmp_path / "run", chosen)
    assert not list(tmp_path.iterdir())


def test_the_same_settings_prepare_the_same_experiment(data, tmp_path):
    one, other = (prepared(tmp_path, settings(data)) for _ in range(2))
    assert one.fingerprint == other.fingerprint and torch.equal(one.random_state, other.random_state)
    assert one.plan == other.plan == {"warmup": 2, "search": 4, "finetune": 3}


def test_a_run_leaves_its_experiment_as_it_was(data, tmp_path):
    before = prepared(tmp_path, settings(data))
    experiment, summary = prepared_and_run(tmp_path / "run", settings(data))
    assert summary["epochs"]["total"] == 9
    with pytest.raises(FrozenInstanceError):
        experiment.points = ()
    for mapping in (experiment.models, experiment.seed_costs, experiment.plan, experiment.fingerprint):
        with pytest.raises(TypeError, match="does not support item assignment"):
            mapping["warmup"] = 1
    numbers = before.space.state_dict()
    assert all(torch.equal(value, numbers[name]) for name, value in experiment.space.state_dict().items())
    assert experiment.plan == before.plan and experiment.space.training == before.space.training


def test_an_unknown_cost_is_refused_and_a_fault_inside_a_cost_model_is_a_defect(data, tmp_path, monkeypatch):
    with pytest.raises(BudgetError, match="budgets, lambdas, costs: no cost model 'power'"):
        prepared(tmp_path, settings(data, costs=["power"]))

    def faulty(name, target):
        raise ValueError("a fault of the model's own")

    monkeypatch.setattr(experiment, "cost_model", faulty)
    with pytest.raises(ValueError, match=r"^a fault of the model's own") as raised:
        prepared(tmp_path, settings(data))
    assert not isinstance(raised.value, PicojouleError)


class TwoInputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = nn.Conv2d(1, 4, 3), nn.Conv2d(1, 4, 3)

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return (self.one(x) + self.other(y)).mean((2, 3))


def test_a_network_of_two_inputs_is_refused_with_a_way_out_that_a_run_has(data, tmp_path):
    message = (
        r"module 'TwoInputs': forward takes 2 tensors, and a run gives it one.*spaces\.searchable, in a loop of your"
    )
    with pytest.raises(UnsupportedNetwork, match=message) as refused:
        prepared(tmp_path, settings(data), TwoInputs)
    assert "in a tuple" not in str(refused.value)


def test_windows_whose_channels_were_taken_for_rows_are_explained(tmp_path):
    windows = np.random.default_rng(0).normal(size=(64, 9, 40)).astype(np.float32)
    np.savez(tmp_path / "windows.npz", x_train=windows, y_train=np.arange(64) % 4)
    chosen = settings(tmp_path / "windows.npz")

    def network(_):
        return nn.Sequential(nn.Conv1d(9, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(8, 4))

    message = r"module '0': fails on examples of shape \(1, 9, 40\), of which 1 is channels\. The network runs on "
    with pytest.raises(UnsupportedNetwork, match=message + r"examples of shape \(9, 40\)\. .* data\.has_channels=true"):
        experiment.prepare(chosen, network)
    chosen.data.has_channels = True
    assert experiment.prepare(chosen, network).space.spec.input_shapes == ((9, 40),)


def test_a_batch_of_more_images_than_there_are_is_as_large_as_can_be(data, tmp_path):
    chosen = settings(data)
    chosen.train = replace(chosen.train, batch_size=1000)
    made = prepared(tmp_path, chosen)
    assert made.settings.train.batch_size == 160 and chosen.train.batch_size == 1000
    assert "train.batch_size: 1000 are more than the 160 training images, so a batch is of 160." in made.notes
    assert len(made.batches("train", torch.device("cpu"))) == 1


@pytest.mark.parametrize("warmup", [0, 1])
def test_batches_in_which_a_norm_sees_one_value_a_channel_are_refused_before_anything_is_written(
    data, tmp_path, warmup
):
    chosen = settings(data)
    chosen.train = replace(chosen.train, batch_size=1, warmup=WarmupSettings(epochs=warmup))

    def network(_):
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 4))

    message = r"train\.batch_size: 1 image .* the batch norm of 1 one value .* train\.batch_size of at least 2\."
    with pytest.raises(UsageError, match=message):
        run_in_folder(chosen, network, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("cost", "memory"), [(cost, memory) for cost, memory in HELD_BY.items()], ids=list(HELD_BY))
def test_a_budget_over_the_memory_of_the_target_is_refused(cost, memory):
    chip = target()
    holds = getattr(chip, memory)
    experiment.refuse_more_than_the_target_holds(chip, (Point("", {cost: holds, "macs": 1e9}, {}),))
    with pytest.raises(BudgetError, match=rf"budgets {{'{cost}': .*}}: more than target 'bench' holds, .*Lower them"):
        experiment.refuse_more_than_the_target_holds(chip, (Point("", {cost: holds + 1}, {}),))
