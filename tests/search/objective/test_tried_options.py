"""TriedOptions: a whole choice's options are worth what the loss says when each is taken."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from cost_models import COST_MODELS
from search.objective import tried_options
from search.objective.objective import Objective
from search.objective.tried_options import TriedOptions, in_use, tried
from spaces.one_of import OneOf
from spaces.searchable import Options, searchable
from spaces.space import FAKE

OPEN = Options((2, 8), "tensor", activation_bits=(2, 8), kernel_sizes=(1, 3))
CHOICES = ("stem/bits", "stem/kernel", "stem/activation_bits", "body/branch", "body.alternatives.0.0/kernel")


class Net(nn.Module):
    """A stem, a choice of a convolution with norm or nothing, a head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(1, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6)
        block = nn.Sequential(nn.Conv2d(6, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6), nn.ReLU())
        self.body = OneOf([block, nn.Identity()])
        self.head = nn.Linear(6, 4)

    def forward(self, x):
        return self.head(self.body(F.relu(self.norm(self.stem(x)))).mean((2, 3)))


class Last(nn.Module):
    """The last output of a recurrent layer over (N, C, steps)."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x):
        return self.layer(x.transpose(1, 2))[0][:, -1]


IMAGES = torch.randn(8, 1, 8, 8, generator=torch.Generator().manual_seed(1))
LABELS = torch.arange(8) % 4


def loss(logits):
    return F.cross_entropy(logits, LABELS)


@pytest.fixture
def space():
    """In training, with the first branch all but sure to be drawn."""
    torch.manual_seed(0)
    space = searchable(Net(), torch.zeros(2, 1, 8, 8), OPEN)
    for _ in range(50):  # norms' statistics are those of the images, as after warm-up
        space.train()(IMAGES)
    space.calibrate([IMAGES])
    space.train().set_mode(FAKE)
    space.choices["body/branch"].logits.data.copy_(torch.tensor([[60.0, 0.0]]))
    return space


def buffers(space):
    return {name: value.clone() for name, value in space.state_dict().items()}


@pytest.mark.parametrize("kept", [(), CHOICES])
@pytest.mark.parametrize("name", CHOICES)
def test_a_trial_is_the_pass_with_that_option(space, name, kept):
    reached = loss(space(IMAGES, tried=lambda selection: kept)).item()
    choice = space.choices[name]
    now = int(space.selection.share[name][0].argmax())
    other = 1 - now
    before, random = buffers(space), torch.get_rng_state()
    found = loss(tried(space, IMAGES, name, other))
    assert all(torch.equal(value, before[key]) for key, value in buffers(space).items())  # norms' statistics too
    assert torch.equal(torch.get_rng_state(), random) and not found.requires_grad
    choice.logits.data.copy_(60.0 * F.one_hot(torch.tensor([other]), 2))
    expected = loss(space(IMAGES))
    assert found.item() == expected.item() != reached


def counted_blocks(space, monkeypatch):
    """The names of the blocks that run from now on."""
    ran = []
    for block in space.blocks:
        forth = block.forward

        def forward(*arguments, name=block.name, forth=forth):
            ran.append(name)
            return forth(*arguments)

        monkeypatch.setattr(block, "forward", forward)
    return ran


@pytest.mark.parametrize(
    ("name", "before"),
    [("stem/bits", set()), ("body/branch", {"stem"}), ("body.alternatives.0.0/kernel", {"stem"})],
)
def test_a_trial_starts_where_the_choice_bears_on_something(space, monkeypatch, name, before):
    space(IMAGES, tried=lambda selection: [name])
    ran = counted_blocks(space, monkeypatch)
    other = 1 - space.selection.picked[name]
    tried(space, IMAGES, name, other)
    short = set(ran)
    ran.clear()
    space.selection.halfway.clear()
    tried(space, IMAGES, name, other)
    assert set(ran) - short == before


def test_a_pass_keeps_what_the_next_trial_needs_until_it_was_made(space):
    objective = Objective({"macs": COST_MODELS["macs"]}, {"macs": 1.0}, {}, {"macs": 1.0})
    for _ in range(2):  # at first options of all choices are due, for which nothing is kept
        space(IMAGES, tried=lambda selection: objective.due(space, selection))
        kept = list(space.selection.halfway)
        objective.observe(space, IMAGES, loss, 1.0)
    assert len(kept) == 1 and not space.selection.halfway
    assert objective.tried.passes == len(space.selection.whole) + 1


def test_in_a_recurrent_network_trials_are_whole_passes_too():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv1d(2, 3, 1), Last(nn.GRU(3, 4, batch_first=True)), nn.Linear(4, 2))
    x = torch.randn(4, 2, 5)
    space = searchable(network, x, Options((2, 8), "tensor", activation_bits=(2, 8)))
    space.calibrate([x])
    space.train().set_mode(FAKE)
    space(x, tried=lambda selection: sorted(selection.whole))
    kept = space.selection
    for name in sorted(kept.whole):
        short = tried(space, x, name, 0)
        space.selection = replace(kept, halfway={})
        assert torch.equal(short, tried(space, x, name, 0)), name
        space.selection = kept
    assert len(kept.whole) > 5 and len(kept.halfway) > 1


def test_what_did_not_run_is_not_tried(space):
    space.choices["body/branch"].logits.data.copy_(torch.tensor([[0.0, 60.0]]))
    trials = TriedOptions()
    trials.observe(space, IMAGES, loss, loss(space(IMAGES)).item())
    assert in_use(space, space.selection, "stem/kernel")
    assert not in_use(space, space.selection, "body.alternatives.0.0/kernel")
    assert "stem/kernel" in trials.values and "body.alternatives.0.0/kernel" not in trials.values


def test_all_options_are_tried_at_first_and_one_a_pass_then(space, monkeypatch):
    trials, seen = TriedOptions(), []

    def watched(space, x, choice, option):
        seen.append((choice, option))
        return tried(space, x, choice, option)

    monkeypatch.setattr(tried_options, "tried", watched)
    reached = loss(space(IMAGES)).item()
    trials.observe(space, IMAGES, loss, reached)
    first = list(seen)
    assert len(first) == len(set(first)) == len(space.selection.whole)  # two options each, of which one is in use
    for _ in first:
        trials.observe(space, IMAGES, loss, reached)
    assert seen[len(first) :] == first


def test_a_choice_has_no_losses_before_all_its_options_are_known(space):
    trials = TriedOptions()
    assert "stem/kernel" not in trials.loss_increases()
    reached = loss(space(IMAGES)).item()
    trials.observe(space, IMAGES, loss, reached)
    worth = loss(tried(space, IMAGES, "stem/kernel", 0)).item() - reached
    assert trials.loss_increases()["stem/kernel"][0].tolist() == pytest.approx([worth, 0.0])


def test_the_same_difference_again_changes_nothing_and_another_a_share(space):
    trials = TriedOptions()
    reached = loss(space(IMAGES)).item()
    trials.observe(space, IMAGES, loss, reached)
    before = {name: values.clone() for name, values in trials.values.items()}
    for _ in before:
        trials.observe(space, IMAGES, loss, reached)
    assert all(torch.allclose(values, before[name]) for name, values in trials.values.items())
    trials.observe(space, IMAGES, loss, reached - 1.0)
    moved = sum((values - before[name]).sum().item() for name, values in trials.values.items())
    assert moved == pytest.approx(0.3)


def test_what_was_tried_survives_a_checkpoint(space):
    trials, again = TriedOptions(), TriedOptions()
    for _ in range(3):
        trials.observe(space, IMAGES, loss, loss(space(IMAGES)).item())
    again.load(trials.state(), torch.device("cpu"))
    for each in (trials, again):
        each.observe(space, IMAGES, loss, 1.0)
    assert all(torch.equal(values, again.values[name]) for name, values in trials.values.items())


@pytest.mark.parametrize(("force", "best"), [(0.0, 1), (1e6, 0)])
def test_choices_move_by_costs_and_losses_together(space, force, best):
    """Without a cost the wider kernel stays, since it is better; a heavy one takes the taps."""
    objective = Objective({"macs": COST_MODELS["macs"]}, {"macs": 1.0}, {}, {"macs": force or 1e-30})
    space.zero_grad()
    reached = loss(space(IMAGES)).item()
    objective.observe(space, IMAGES, loss, reached)
    objective.tried.values["stem/kernel"] = torch.tensor([1.0, 0.0], dtype=torch.float64)
    objective.steer(space, reached, 1.0)
    against = space.choices["stem/kernel"].logits.grad[0]
    assert against[best] == 0.0 and against[1 - best] == 1.0


def test_noise_between_options_moves_a_choice_by_little(space):
    """Two options that differ by less than a hundredth of a loss hardly differ."""
    objective = Objective({"macs": COST_MODELS["macs"]}, {"macs": 1.0}, {}, {"macs": 1e-30})
    space.zero_grad()
    reached = loss(space(IMAGES)).item()
    objective.observe(space, IMAGES, loss, reached)
    objective.tried.values["stem/kernel"] = torch.tensor([1e-4, 0.0], dtype=torch.float64)
    objective.steer(space, reached, 0.0)
    assert space.choices["stem/kernel"].logits.grad[0].tolist() == pytest.approx([0.04, 0.0])
