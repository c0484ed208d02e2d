"""What fine-tuning keeps, what it goes back from, and what it says of both."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from search.settings.run import Settings
from search.training import checkpoint
from search.training.loop import PhaseRun
from search.training.losses import Losses, TrainingDiverged
from search.training.step import Steps
from tests.search.kills import killed_run, same_outputs
from tests.search.small import run, settings


def config(data: Path, epochs: int = 5, integer_epochs: int = 2) -> Settings:
    chosen = settings(data, "fixed")
    chosen.train.finetune.epochs, chosen.train.finetune.integer_epochs = epochs, integer_epochs
    return chosen


def finetuned(folder: Path) -> dict:
    return checkpoint.load(folder / "checkpoints" / "finetune.pt")


def same(a: dict, b: dict) -> bool:
    return all(torch.equal(value, b[name]) for name, value in a.items())


@pytest.fixture
def ruined(monkeypatch):
    """Makes epochs of fine-tuning end with weights of noise and a high loss, where the rate is still the first."""
    original, left = PhaseRun.run_epoch, {}

    def ruin(*epochs: int) -> dict[int, dict]:
        """Args: epochs: from 1. Returns what epochs started with, by number, of those at the first rate."""

        def run_epoch(self):
            number, first = self.state.epoch + 1, self.steps.rate == 1
            if self.phase.name == "finetune" and first:
                left[number] = self.state.copied()
            scalars = original(self)
            if self.phase.name == "finetune" and number in epochs and first:
                with torch.no_grad():
                    for weights in self.space.weights.values():
                        weights.weight.copy_(torch.randn(weights.weight.shape))
                scalars["loss/train"] = 9.0
            return scalars

        monkeypatch.setattr(PhaseRun, "run_epoch", run_epoch)
        return left

    return ruin


def test_a_healthy_run_goes_back_nowhere(more_data, tmp_path, capsys):
    run(tmp_path / "run", config(more_data))
    assert "going on from" not in capsys.readouterr().out
    assert finetuned(tmp_path / "run")["retreat"]["times"] == 0


@pytest.mark.parametrize("ruined_epoch", [2, 4], ids=["quantized", "integer"])
def test_an_epoch_that_ruins_the_network_is_gone_back_from_with_a_smaller_rate(
    ruined, more_data, tmp_path, capsys, ruined_epoch
):
    began, rates, original = ruined(ruined_epoch), {}, Steps.restart

    def restart(self, rate):
        original(self, rate)
        rates[ruined_epoch] = rate, {name: value.clone() for name, value in self.space.state_dict().items()}
        assert not any(buffer.any() for s in self.optimizers[0].state.values() for buffer in s.values())

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Steps, "restart", restart)
        summary = run(tmp_path / "run", config(more_data))
    rate, numbers = rates[ruined_epoch]
    assert rate == 0.25 and same(numbers, began[ruined_epoch])
    text = " ".join(capsys.readouterr().out.split())
    assert f"finetune: epoch {ruined_epoch} ended with loss 9 and val " in text
    assert "(before: val " in text and ", loss 0." in text
    assert "going on from the network before, with 0.25 of the learning rate" in text
    assert summary["accuracy"]["integer"]["val"] > summary["accuracy"]["float"]["val"] - 0.05


@pytest.mark.parametrize("saves", [3, 4, 5, 6])
def test_a_run_that_went_back_resumes_to_the_same_bytes(ruined, more_data, tmp_path, saves):
    ruined(2, 4)
    run(tmp_path / "whole", config(more_data))
    assert finetuned(tmp_path / "whole")["retreat"]["times"] == 1
    killed_run(tmp_path / "run", config(more_data), saves)
    torch.manual_seed(12345)
    run(tmp_path / "run", config(more_data))
    assert same_outputs(tmp_path / "whole", tmp_path / "run")


def not_finite(monkeypatch, spoils: Callable[[str, float], bool], place: str) -> list[float]:
    """Losses of a step, or of some, are not finite. The rates that they had are added to what is returned."""
    step, add, rates, now = Steps.step, Losses.add, [], []

    def noted(self, *arguments):
        now[:] = [self.rate]
        return step(self, *arguments)

    def spoilt(self, loss, where):
        if place in where:
            rates.append(now[0])
            loss = loss * torch.nan if spoils(where, now[0]) else loss
        add(self, loss, where)

    monkeypatch.setattr(Steps, "step", noted)
    monkeypatch.setattr(Losses, "add", spoilt)
    return rates


@pytest.mark.parametrize("epoch", [1, 4])
def test_an_epoch_whose_loss_is_not_finite_is_repeated_with_a_smaller_rate(
    more_data, tmp_path, capsys, monkeypatch, epoch
):
    rates = not_finite(monkeypatch, lambda where, rate: rate == 1, f"'finetune', epoch {epoch}, step 3")
    run(tmp_path / "run", config(more_data))
    assert rates == [1, 0.25] and finetuned(tmp_path / "run")["epoch"] == 5
    text = " ".join(capsys.readouterr().out.split())
    assert f"finetune: epoch {epoch} had a loss that is not finite, and is repeated; going on" in text


def test_a_phase_that_diverges_again_and_again_ends_the_run(more_data, tmp_path, monkeypatch):
    rates = not_finite(monkeypatch, lambda where, rate: True, "'finetune', epoch 1, step 2")
    with pytest.raises(TrainingDiverged, match="epoch 1, step 2: the loss is nan"):
        run(tmp_path / "run", config(more_data))
    assert rates == [1, 1 / 4, 1 / 16, 1 / 64]


def test_the_network_at_the_switch_is_kept_where_training_in_integers_ruins_it(ruined, more_data, tmp_path, capsys):
    began = ruined(5)
    run(tmp_path / "run", config(more_data, integer_epochs=1))
    assert same(finetuned(tmp_path / "run")["space"], began[5])
    text = " ".join(capsys.readouterr().out.split())
    assert "finetune: kept the network at the switch to integers (integers, val " in text
    assert "; the last was epoch 5 of 5 (integers, val " in text


def test_the_network_at_the_switch_counts_when_a_run_resumes_there(ruined, more_data, tmp_path):
    began = ruined(4, 5)
    run(tmp_path / "whole", config(more_data))
    killed_run(tmp_path / "run", config(more_data), saves=5)  # three quantized epochs are done
    assert not finetuned(tmp_path / "run")["in_integers"]
    began.clear()
    run(tmp_path / "run", config(more_data))
    assert finetuned(tmp_path / "run")["in_integers"] and sorted(began) == [4]
    assert same_outputs(tmp_path / "whole", tmp_path / "run")


def test_a_network_that_training_makes_worse_is_kept_as_decided(ruined, more_data, tmp_path, capsys):
    began = ruined(1, 2)
    run(tmp_path / "run", config(more_data, epochs=2, integer_epochs=0))
    assert same(finetuned(tmp_path / "run")["space"], began[1])
    text = " ".join(capsys.readouterr().out.split())
    kept = "finetune: no epoch was better than the network that it started from, which is kept: the network as decided"
    assert f"{kept} (val " in text and "; the last was epoch 2 of 2 (val " in text
