"""OneOf: alternatives in one Space, sampled in training, the argmax in evaluation, one of them when decided."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from cost_models import COST_MODELS
from spaces.decisions.gates import Gate
from spaces.graph.errors import UnsupportedNetwork
from spaces.one_of import OneOf
from spaces.searchable import Options
from spaces.space import Space
from tests.spaces.deciding.checks import check_decided
from tests.spaces.small import images, space_of


def block(channels: int, kernel: int, groups: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(channels, channels, kernel, padding=kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(channels), nn.ReLU())


class Choices(nn.Module):
    """stem -> one of (3x3, depthwise and 1x1, nothing) -> one of (pool, strided 3x3) -> head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6)
        separable = nn.Sequential(block(6, 3, groups=6), block(6, 1))
        self.body = OneOf([block(6, 3), separable, nn.Identity()])
        self.down = OneOf([nn.MaxPool2d(2), nn.Sequential(nn.Conv2d(6, 6, 3, 2, 1), nn.ReLU())])
        self.head = nn.Linear(6, 4)

    def forward(self, x):
        x = self.down(self.body(F.relu(self.norm(self.stem(x)))))
        return self.head(x.mean((2, 3)))


class Nested(nn.Module):
    """A choice in an alternative of a choice, at the network's end."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten())
        inner = OneOf([nn.Linear(64, 5), nn.Sequential(nn.Linear(64, 3), nn.ReLU(), nn.Linear(3, 5))])
        self.head = OneOf([nn.Linear(64, 5), inner])

    def forward(self, x):
        return self.head(self.stem(x))


MIXED = Options((0, 2, 4, 8), activation_bits=(4, 8))
BODY, DOWN = "body/branch", "down/branch"


def chosen(space: Space, **picks: int) -> Space:
    for name, pick in picks.items():
        space.choices[f"{name.replace('__', '.')}/branch"].fix((pick,))
    return space


def some_closed(space: Space) -> Space:
    for decision in space.decisions.values():
        if isinstance(decision, Gate):
            decision.fix([int(i % 3 != 1) for i in range(decision.groups)])
        elif decision.name.endswith("bits"):
            decision.fix([decision.options[i % len(decision.options)] for i in range(decision.groups)])
    return space


@pytest.mark.parametrize("body", [0, 1, 2])
@pytest.mark.parametrize("down", [0, 1])
def test_deciding_leaves_the_picked_branches_and_nothing_of_the_others(body, down):
    space = chosen(some_closed(space_of(Choices(), options=MIXED)), body=body, down=down)
    check_decided(space, images())
    decided = space.decide()
    names = {b.name for b in decided.blocks}
    assert not any(b.op == "select" for b in decided.spec.blocks) and not decided.decisions
    for choice, pick, count in (("body", body, 3), ("down", down, 2)):
        for k in range(count):
            assert k == pick or not any(name.startswith(f"{choice}.alternatives.{k}") for name in names)
    kept = [key for key in decided.state_dict() if ".alternatives/" in key or "alternatives." in key]
    assert all(f"body/alternatives/{body}" in key or f"down/alternatives/{down}" in key for key in kept)


@pytest.mark.parametrize("outer, inner", [(0, 0), (1, 0), (1, 1)])
def test_choices_nest(outer, inner):
    space = chosen(some_closed(space_of(Nested(), options=MIXED)), head=outer, head__alternatives__1=inner)
    check_decided(space, images())


def test_a_network_is_by_itself_its_first_alternative():
    model = Choices().eval()
    space = space_of(model)
    space.set_mode("float")
    with torch.no_grad():
        torch.testing.assert_close(space(images()), model(images()))


def test_training_draws_and_evaluation_takes_the_likeliest():
    space = chosen(space_of(Choices()), body=1)
    torch.manual_seed(0)
    space.choices[BODY].logits.data.zero_()
    drawn = {space.train()(images((4, 3, 6, 6))) is not None and space.selection.paths[BODY] for _ in range(20)}
    assert drawn == {0, 1, 2}
    space.choices[BODY].fix((1,))
    space.eval()(images())
    assert space.selection.paths[BODY] == 1


@pytest.mark.parametrize("held", [False, True])
def test_one_path_runs(held):
    space = space_of(Choices()).train()
    space(images((4, 3, 6, 6)))
    space.held = held
    ran: list[str] = []
    for b in space.blocks:
        b.register_forward_hook(lambda b, args, out: ran.append(b.name))
    space(images((4, 3, 6, 6)))
    path = space.selection.paths[BODY]
    assert {name.split(".")[2] for name in ran if name.startswith("body.alternatives")} == ({str(path)} - {"2"})


def test_only_the_drawn_path_gets_gradients():
    space = space_of(Choices()).train()
    space(images((4, 3, 6, 6))).square().sum().backward()
    path = space.selection.paths[BODY]
    for name, weights in space.weights.items():
        if name.startswith("body.alternatives"):
            assert (weights.weight.grad is not None) == (name.split(".")[2] == str(path)), name


def test_costs_of_branches_are_means_in_training_and_those_of_the_likeliest_in_evaluation():
    space = chosen(space_of(Choices()), body=0, down=0)
    each = [chosen(space, body=body).costs()["macs"].item() for body in range(3)]
    assert each == [chosen(space, body=body).decide().costs()["macs"].item() for body in range(3)]
    space.choices[BODY].logits.data.copy_(torch.tensor([[0.5, 0.3, 0.2]]).log())
    space.choices[DOWN].logits.data.copy_(torch.tensor([[60.0, 0.0]]))
    mean = space.train().costs()["macs"]
    assert mean.item() == pytest.approx(0.5 * each[0] + 0.3 * each[1] + 0.2 * each[2])
    mean.backward()
    assert space.choices[BODY].logits.grad[0, 0] > 0 > space.choices[BODY].logits.grad[0, 2]


@pytest.mark.parametrize("name", ["flash_bytes", "macs", "peak_ram_bytes"])
def test_a_cost_pulls_towards_the_cheapest_branch(name):
    space = chosen(space_of(Choices()), body=0).train()
    space.choices[BODY].logits.data.zero_()
    COST_MODELS[name](space.describe()).backward()
    grad = space.choices[BODY].logits.grad[0]
    assert grad[2] <= min(grad[0], grad[1]) and grad[2] < grad[0]


def test_alternatives_of_different_shapes_are_refused_by_name():
    model = nn.Sequential(nn.Conv2d(3, 4, 1), OneOf([nn.Conv2d(4, 4, 1), nn.Conv2d(4, 6, 1)]))
    with pytest.raises(UnsupportedNetwork, match=r"1\.alternatives\.1.*shape \(2, 6, 6, 6\), alternative 0 one"):
        space_of(model)


def test_one_alternative_is_no_choice():
    with pytest.raises(ValueError, match="1 alternatives; two or more make a choice"):
        OneOf([nn.Identity()])


def test_a_space_of_branches_survives_its_file(tmp_path):
    space = chosen(some_closed(space_of(Choices(), options=MIXED)), body=1, down=1)
    space.save(tmp_path / "space")
    loaded = Space.load(tmp_path / "space").eval()
    assert loaded.architecture() == space.architecture()
    assert torch.equal(loaded.decide().codes(images())["head"], space.decide().codes(images())["head"])
