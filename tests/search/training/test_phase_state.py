"""Which epoch of a phase is kept, and when its patience is at an end."""

import torch
from torch import nn

from search.training.phase import Stopping
from search.training.phase_state import PhaseState


def compared(*accuracies: float) -> tuple[PhaseState, nn.Linear]:
    """A network of one weight, which counts epochs from 1."""
    network = nn.Linear(1, 1, bias=False)
    state = PhaseState(network, [], None)
    for epoch, accuracy in enumerate(accuracies, start=1):
        nn.init.constant_(network.weight, float(epoch))
        state.compare(accuracy, f"epoch {epoch}")
    return state, network


def test_an_epoch_that_equals_the_best_replaces_it_but_is_no_progress():
    state, network = compared(0.5, 0.75, 0.75, 0.25)
    assert state.best[0] == 0.75 and state.since_best == 2 and state.kept == "epoch 3"
    state.take_best()
    assert network.weight.item() == 3.0


def test_what_is_kept_does_not_change_with_the_network():
    state, network = compared(0.5)
    nn.init.constant_(network.weight, 7.0)
    assert torch.equal(state.best[1]["weight"], torch.ones(1, 1))


def test_without_a_comparison_the_network_stays_as_it_is():
    state, network = compared()
    before = network.weight.clone()
    state.take_best()
    assert torch.equal(network.weight, before)


def test_patience_counts_epochs_since_the_best():
    rule = Stopping(patience=2)
    assert rule.compares and not rule.out_of_patience(1) and rule.out_of_patience(2)
    assert not Stopping(keep_best=True).out_of_patience(1000) and not Stopping().compares
