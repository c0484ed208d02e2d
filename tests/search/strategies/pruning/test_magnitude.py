"""Pruning by rankings: as much as was asked for, in the order that was asked for, and the same after a kill."""

import json
from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from search.budgets.feasibility import BudgetError, costs_at
from search.config import parse
from search.integer.program import Program
from search.integer.sparse import stored_bytes
from search.settings.run import SpaceSettings
from search.settings.strategies import MagnitudeSettings
from search.strategies.pruning.amount import Amount
from spaces.architecture import Architecture
from spaces.space import Space
from tests.search.kills import killed_run, same_outputs
from tests.search.small import prepared, run, settings
from tests.search.test_branches import Branched

LAYERS = {"a": 3, "b": 2}


def configured(data, budgets=None, **options):
    options = {"steps": 1, "epochs": 0} | options
    space = SpaceSettings(weight_bits=[0, 4, 8])
    if options.get("structure") == "weights":
        space = SpaceSettings(weight_bits=[4, 8], pattern="weights")
    chosen = settings(data, "magnitude", budgets=budgets or {}, space=space)
    return replace(chosen, strategy=MagnitudeSettings(**options))


def metrics(folder):
    return json.loads((folder / "results.jsonl").read_text())["metrics"]


def test_rankings_by_gradients_stay_within_a_limit_of_epochs(data, tmp_path):
    config = configured(data, {"flash_bytes": 700}, criterion="gradient", order="energy", epochs=None)
    config.limits.epochs = 12
    config.train.warmup.epochs, config.train.finetune.epochs = 2, 4
    epochs = run(tmp_path / "run", config)["epochs"]
    assert 11 < epochs["total"] <= 12 and epochs["prune"] % 1 > 0


# Amounts


@pytest.mark.parametrize("options", [{}, {"order": "energy"}, {"scope": "layer"}, {"criterion": "gradient"}])
def test_channels_go_until_the_budgets_are_met_and_not_one_more(data, tmp_path, monkeypatch, options):
    seen, fewest = [], Amount._fewest

    def watched(self, order):
        found = fewest(self, order)
        seen.append([self._over(torch.isin(torch.arange(24), order[:n])) for n in (found - 1, found)])
        return found

    monkeypatch.setattr(Amount, "_fewest", watched)
    budgets = {"flash_bytes": 700, "peak_ram_bytes": 700}
    summary = run(tmp_path / "run", configured(data, budgets, **options))
    assert seen == [[True, False]]
    assert all(b["met"] for b in summary["budgets"].values()) and summary["mismatches"]["numpy"] == 0
    picks = Architecture.from_json((tmp_path / "run/architecture.json").read_text()).picks
    assert set(picks["conv1/bits"]) == {8} and 0 in picks["conv2/channels"]


def test_the_cubic_schedule_takes_what_it_says_and_what_is_gone_stays_gone(data, tmp_path, monkeypatch):
    seen, gone = [], Amount.gone
    monkeypatch.setattr(Amount, "gone", lambda *args: seen.append(gone(*args)) or seen[-1])
    config = configured(data, structure="weights", fraction=0.8, steps=3, epochs=4)
    summary = run(tmp_path / "run", config)
    total = len(seen[0])
    assert [int(gone.sum()) for gone in seen] == [round(total * 0.8 * s) for s in (19 / 27, 26 / 27, 1)]
    assert all((~before | after).all() for before, after in pairwise(seen))
    assert metrics(tmp_path / "run")["search/pruned"] == round(total * 0.8) / total
    assert summary["epochs"]["prune"] == 4 and summary["epochs"]["finetune"] == config.train.finetune.epochs


@pytest.mark.parametrize("structure", ["channels", "weights"])
def test_a_fraction_of_each_layer(data, tmp_path, structure):
    config = configured(data, structure=structure, fraction=0.3, scope="layer")
    run(tmp_path / "run", config)
    decided = Space.load(tmp_path / "run/model.safetensors")
    if structure == "channels":
        assert [len(decided.spec.slots[name]) for name in ("conv1", "conv2")] == [8 - 2, 16 - 4]
    else:
        gone = {name: int((~weights.mask).sum()) for name, weights in decided.weights.items()}
        assert gone == {name: int(0.3 * weights.mask.numel()) for name, weights in decided.weights.items()}


# Results


def test_zeros_survive_to_the_integers_and_their_bytes_are_counted(data, tmp_path, capsys):
    config = configured(data, structure="weights", fraction=0.8, steps=2, epochs=2, weight_bits=4)
    config.budgets = {"flash_bytes": 2000}
    summary = run(tmp_path / "run", config)
    program = Program.load(tmp_path / "run/program.safetensors")
    decided = Space.load(tmp_path / "run/model.safetensors")
    for node in program.nodes:
        if node.constants.get("weight"):
            mask = decided.weights[node.constants["weight"].removesuffix(".weight")].mask
            assert not program.weights(node)[~mask.flatten(1).numpy()].any()
    found = summary["pattern"]
    assert found["zeros"] == round(0.8 * found["weights"]) and summary["mismatches"]["numpy"] == 0
    assert found["stored_bytes"] == stored_bytes(program)
    assert found["stored_bytes"]["smallest_of_each_layer"] < found["stored_bytes"]["dense"]
    assert "no cost falls by them" in found["costs"] and "no cost falls by them" in capsys.readouterr().out
    whole = costs_at(decided, decided.architecture(), prepared(tmp_path / "other", config).models)
    assert summary["costs"]["flash_bytes"]["found"] == whole["flash_bytes"] == program.flash_bytes()
    assert summary["costs"]["macs"]["found"] == summary["costs"]["macs"]["seed_network"]


def test_rewinding_brings_back_the_weights_that_are_left(data, tmp_path, monkeypatch):
    seen = []
    config = configured(data, fraction=0.4, rewind=True)
    monkeypatch.setattr(
        "search.strategies.problem.Problem.evaluate",
        lambda self, found, epochs, goes_on: seen.append((self, found)) or 1 / 0,
        raising=True,
    )
    with pytest.raises(ZeroDivisionError):
        run(tmp_path / "run", config)
    ((problem, found),) = seen
    assert {0, 1} <= set(found.picks["conv2/channels"])
    for name, weights in problem.space.weights.items():
        assert torch.equal(weights.weight, problem.initial[f"_weights.{name}.weight"])


def test_branches_that_are_not_taken_are_not_pruned(data, tmp_path):
    """The first of three alternatives is kept; other choices stay where they start, though training draws them."""
    config = configured(data, fraction=0.5, steps=2, epochs=2, criterion="gradient")
    config.space.mode, config.space.activation_bits, config.target.activation_bits = "gumbel", [4, 8], (4, 8)
    summary = run(tmp_path / "run", config, Branched)
    picks = Architecture.from_json((tmp_path / "run/architecture.json").read_text()).picks
    assert summary["mismatches"]["numpy"] == 0
    assert picks["body/branch"] == (0,)
    assert {pick for name, each in picks.items() if name.endswith("activation_bits") for pick in each} == {8}
    assert metrics(tmp_path / "run")["search/pruned"] == 0.5


@pytest.mark.parametrize(
    "options",
    [
        pytest.param(
            {"structure": "weights", "fraction": 0.7, "criterion": "gradient"}, id="weights", marks=pytest.mark.slow
        ),
        pytest.param({"budgets": {"flash_bytes": 700}, "order": "energy", "rewind": True}, id="channels"),
    ],
)
def test_resume_after_a_kill_at_every_epoch_gives_the_same_bytes(data, tmp_path, options):
    config = configured(data, steps=2, epochs=2, **options)
    run(tmp_path / "whole", config)
    for saves in range(1, 7):
        killed_run(tmp_path / f"run{saves}", config, saves)
        torch.manual_seed(12345)
        run(tmp_path / f"run{saves}", config)
        assert same_outputs(tmp_path / "whole", tmp_path / f"run{saves}")
        assert metrics(tmp_path / "whole") == metrics(tmp_path / f"run{saves}")


# Refusals


@pytest.mark.parametrize(
    ("options", "budgets", "message"),
    [
        ({"fraction": 0.5, "weight_bits": 2}, {}, r"strategy.weight_bits 2: the space offers \[4, 8\] for 'conv1'"),
        ({}, {}, r"no amount of channels to prune. Give strategy.fraction or strategy.threshold"),
        ({"structure": "weights"}, {"flash_bytes": 2000}, r"no amount of weights to prune"),
        (
            {"fraction": 0.5},
            {"flash_bytes": 700},
            r"budgets .* say how many channels go, and strategy.fraction 0.5 says it too",
        ),
        ({"threshold": 0.1}, {"flash_bytes": 700}, r"strategy.threshold 0.1 says it too. Leave one of them out"),
        ({"fraction": 0.99}, {}, r"of 24 channels in 2 layers one a layer stays, so 0.9167 can go at most"),
    ],
)
def test_what_cannot_be_pruned_is_refused(data, tmp_path, options, budgets, message):
    with pytest.raises(ValueError, match=message):
        prepared(tmp_path / "run", configured(data, budgets, **options))
    assert not (tmp_path / "run").exists()


def test_what_is_not_open_is_refused(data, tmp_path):
    for structure, message in (("channels", "Add 0 to space.weight_bits"), ("weights", "Set space.pattern=weights")):
        config = configured(data, structure=structure, fraction=0.5)
        config.space = SpaceSettings(weight_bits=[8])
        with pytest.raises(ValueError, match=rf"strategy.structure '{structure}': no {structure} are open. {message}"):
            prepared(tmp_path / "run", config)


@pytest.mark.parametrize(("structure", "left"), [("channels", "one channel a layer"), ("weights", "all channels")])
def test_budgets_out_of_reach_are_refused_before_training(data, tmp_path, structure, left):
    amount = {"fraction": 0.5} if structure == "weights" else {}
    with pytest.raises(BudgetError, match=rf"'magnitude' at 8 bits with {left}.*Lower strategy.weight_bits"):
        prepared(tmp_path / "run", configured(data, {"flash_bytes": 60}, structure=structure, **amount))


def test_a_strategy_that_prunes_no_weights_refuses_their_pattern(data, tmp_path):
    config = settings(data, "fixed")
    config.space.pattern = "weights"
    with pytest.raises(ValueError, match=r"space.pattern 'weights': strategy 'fixed' prunes no single weights. Take"):
        prepared(tmp_path / "run", config)


def test_lambdas_are_refused(data, tmp_path):
    config = replace(configured(data, fraction=0.5), lambdas={"macs": 0.1})
    with pytest.raises(BudgetError, match="strategy 'magnitude' has nothing to trade off"):
        prepared(tmp_path / "run", config)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["structure=rows"], "strategy.structure is rows; allowed: one of .*channels.*weights"),
        (["criterion=loss"], "strategy.criterion"),
        (["scope=block"], "strategy.scope"),
        (["order=random"], "strategy.order"),
        (["fraction=1.2"], "strategy.fraction is 1.2; allowed: over 0, below 1"),
        (["fraction=0"], "strategy.fraction"),
        (["threshold=-1"], "strategy.threshold"),
        (["fraction=0.5", "threshold=1"], "strategy.threshold is 1.0; allowed: null, where strategy.fraction is 0.5"),
        (["threshold=1", "scope=layer"], "strategy.threshold is 1.0; allowed: null, where strategy.scope"),
        (["scope=layer", "order=energy"], "strategy.scope is layer; allowed: global, by energy"),
        (["tolerance=0"], "strategy.tolerance"),
        (["steps=0"], "strategy.steps"),
        (["steps=5", "epochs=4"], "strategy.epochs is 4; allowed: 5 or more for 5 steps, or null"),
        (["lr=0"], "strategy.lr"),
    ],
)
def test_bad_settings_are_refused(composed, overrides, message):
    with pytest.raises(ValueError, match=message):
        parse(composed("strategy=magnitude", *(f"strategy.{override}" for override in overrides)))
