"""What torch.export hands over: identity of parameters, wrappers, computed weights, names, and what is left out."""

import logging
import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import prune

from search.deploy.lower import lower
from search.integer.executor import Executor
from search.integer.program import Program
from spaces.graph.errors import UnsupportedNetwork
from spaces.one_of import OneOf
from spaces.searchable import Options, searchable
from spaces.space import Space

IMAGES = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


class Tied(nn.Module):
    """One weight under three calls: with its bias, with another one, and without."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.conv, self.head = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 1), nn.Linear(4, 2)
        self.again = nn.Conv2d(4, 4, 1)
        self.again.weight = self.conv.weight

    def forward(self, x):
        x = F.relu(self.conv(F.relu(self.stem(x))))
        x = F.relu(F.conv2d(F.relu(self.again(x)), self.conv.weight))
        return self.head(x.mean((2, 3)))


def same(model: nn.Module, *inputs: torch.Tensor):
    torch.manual_seed(0)
    space = searchable(model, inputs).eval()
    with torch.no_grad():
        torch.testing.assert_close(space(*inputs), model.eval()(*inputs))
    return space


def decided(space: Space) -> tuple[Space, Program]:
    """What is decided, in integer semantics, and its Program."""
    space.calibrate([IMAGES])
    small = space.decide().eval()
    small.set_mode("integer")
    return small, lower(small)


def test_a_weight_under_several_calls_is_one_weight_with_or_without_a_bias():
    model = Tied()
    space = same(model, IMAGES)
    assert set(space.weights) == {"stem", "conv", "head"}
    calls = [block.name for block in space.spec.blocks if block.weights == "conv"]
    assert calls == ["conv", "conv@2", "conv@3"]
    norms = {name: norm.bias.tolist() for name, norm in space.norms.items()}
    assert norms == {"conv.bias": model.conv.bias.tolist(), "conv@2.bias": model.again.bias.tolist()}
    assert not any(norm.statistics for norm in space.norms.values())


def test_a_bias_of_its_own_at_the_output_is_not_lost():
    class Ends(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.drop = nn.Conv2d(3, 3, 1), nn.Dropout()

        def forward(self, x):
            return self.drop(self.conv(F.relu(F.conv2d(x, self.conv.weight))))

    assert same(Ends(), IMAGES).spec.outputs == ("conv@2",)


@pytest.mark.parametrize(
    "layer",
    [
        nn.MaxPool2d(2),
        nn.AvgPool2d(2),
        nn.Sigmoid(),
        nn.Conv2d(3, 2, 1),
        nn.BatchNorm2d(3),
        nn.Flatten(),
        nn.LayerNorm(8),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_a_network_may_be_one_layer(layer):
    same(layer, IMAGES)


def test_tied_weights_are_trained_and_pruned_together():
    space = searchable(Tied(), IMAGES)
    assert [name for name in space.decisions if name.endswith("/channels")] == ["stem/channels"]
    space.decisions["stem/channels"].fix((1, 0, 1, 1))
    assert {name: tuple(w.weight.shape[:2]) for name, w in space.decide().weights.items()} == {
        "stem": (3, 3),
        "conv": (3, 3),
        "head": (2, 3),
    }


def test_scales_and_offsets_measure_nothing_in_training():
    class Shifted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.shift = nn.Conv2d(3, 4, 3), nn.Parameter(torch.randn(4, 1, 1))
            self.register_buffer("scale", torch.tensor([1.0, -2.0, 0.5, 3.0]).view(4, 1, 1))

        def forward(self, x):
            return F.relu((self.conv(x) + self.shift) * self.scale).mean((2, 3))

    model = Shifted()
    space = searchable(model, IMAGES).train()
    torch.testing.assert_close(space(IMAGES), model(IMAGES))
    space(IMAGES).square().sum().backward()
    shift, scale = space.norms["shift.offset"], space.norms["scale.scale"]
    assert shift.bias.grad.abs().sum() > 0 and shift.weight.grad is None  # a shift that is learned
    assert scale.weight.grad is None and scale.bias.grad is None  # a constant
    assert all(norm.running_mean.eq(0).all() and norm.running_var.eq(1).all() for norm in space.norms.values())


def test_a_learned_number_that_is_folded_is_said():
    class Weighted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.alpha = nn.Conv2d(3, 4, 3), nn.Parameter(torch.tensor(0.5))

        def forward(self, x):
            x = self.conv(x)
            return (x + F.relu(self.alpha * x)).mean((2, 3))

    assert same(Weighted(), IMAGES).spec.left_alone["add/parameters"].startswith("its learned number is taken")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_floats_become_single_precision(dtype):
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2)).to(dtype)
    space = searchable(model, IMAGES.to(dtype))
    assert all(p.dtype == torch.float32 for p in space.parameters())
    assert all(p.dtype == dtype for p in model.parameters())
    torch.testing.assert_close(space.weights["0"].weight, model[0].weight.float())


def test_wrappers_that_only_say_how_a_network_runs_are_taken_off():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch, about itself
        compiled = torch.compile(model), torch.compile(nn.DataParallel(model))
    for wrapped in (nn.DataParallel(model), *compiled):
        assert set(searchable(wrapped, IMAGES).weights) == {"0", "3"}


def test_lazy_modules_are_named_until_they_have_shapes():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.LazyBatchNorm2d(), nn.ReLU(), nn.Flatten(), nn.LazyLinear(2))
    with pytest.raises(UnsupportedNetwork, match=r"module '1': is a LazyBatchNorm2d without shapes yet\. Run .* once"):
        searchable(model, IMAGES)
    model(IMAGES)
    assert searchable(model, IMAGES).weights["4"].weight.shape == (2, 144)


@pytest.mark.parametrize(
    "wrap",
    [
        nn.utils.parametrizations.weight_norm,
        nn.utils.parametrizations.spectral_norm,
        lambda layer: prune.random_unstructured(layer, "weight", 0.5),
        lambda layer: prune.remove(prune.l1_unstructured(layer, "weight", 0.5), "weight"),
    ],
)
def test_computed_weights_are_folded_and_said(wrap):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), wrap(nn.Conv2d(4, 4, 1)), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2))
    space = same(model.eval(), IMAGES)
    assert set(space.weights) == {"0", "1", "4"}
    torch.testing.assert_close(space.weights["1"].weight, model[1].weight)
    computed = "weight" not in dict(model[1].named_parameters())
    assert ("computes its weights" in space.spec.left_alone.get("1/parameters", "")) == computed


def test_functional_norms_are_norms():
    class Functional(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.bn = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)

        def forward(self, x):
            n = self.bn
            x = F.batch_norm(self.conv(x), n.running_mean, n.running_var, n.weight, n.bias, self.training, 0.2, 1e-3)
            return F.relu(x).mean((2, 3))

    model = Functional().eval()
    model.bn.running_var.fill_(2.0)
    space = same(model, IMAGES)
    (norm,) = space.norms.values()
    assert list(space.norms) == ["bn"] and (norm.eps, norm.momentum, norm.statistics) == (1e-3, 0.2, True)


def test_norms_of_features_behind_anything_are_exact():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.BatchNorm1d(144), nn.ReLU(), nn.Linear(144, 2)
    ).eval()
    nn.init.normal_(model[3].weight)
    nn.init.normal_(model[3].bias)
    space = same(model, IMAGES)
    space.decisions["0/channels"].fix((1, 0, 1, 1))
    small, program = decided(space)
    assert [block.name for block in small.spec.blocks] == ["0", "2", "3.place", "3.scale", "3", "5"]
    codes = small(IMAGES).detach().numpy()
    assert (Executor(program)(IMAGES.numpy()) == codes).all()


def test_a_path_that_depends_on_shapes_alone_is_taken_as_the_example_takes_it():
    class Shapes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.small, self.large = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 3)

        def forward(self, x):
            batch, channels, *size = x.shape
            layers = {8: self.large, 4: self.small}
            x = layers[size[0]](x) if min(size) > 2 and channels == 3 else x
            return F.relu(x).view(batch, -1)

    model = Shapes()
    assert [block.name for block in same(model, IMAGES).spec.blocks] == ["large", "view"]
    assert [block.name for block in same(model, IMAGES[:, :, :4, :4]).spec.blocks] == ["small", "view"]


def test_a_layer_that_nothing_reads_is_listed():
    class Idle(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.idle = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 3)

        def forward(self, x):
            self.idle(x)
            return self.used(x).mean((2, 3))

    space = same(Idle(), IMAGES)
    assert set(space.weights) == {"used"} and "nothing reads" in space.spec.left_alone["idle"]


def test_what_is_changed_in_place_is_changed_for_all_that_read_it():
    class InPlace(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)

        def forward(self, x):
            x = self.conv(x)
            y = x
            x += 1
            x.mul_(0.5)
            z = x.view(len(x), -1)
            F.relu_(x)  # and so z, which is the same memory
            return z + y.flatten(1)

    same(InPlace(), IMAGES)


def test_alternatives_are_marked_and_the_model_stays_as_it_was():
    model = nn.Sequential(OneOf([nn.Conv2d(3, 3, 3, padding=1), nn.Identity()]), nn.Flatten(), nn.Linear(192, 2))
    before = model(IMAGES)
    space = same(model, IMAGES)
    assert space.choices["0/branch"].options == (0, 1)
    assert torch.equal(model(IMAGES), before) and not model[0].traced and model[0].pick == 0


def test_export_neither_warns_nor_logs(caplog):
    with warnings.catch_warnings(), caplog.at_level(logging.WARNING):
        warnings.simplefilter("error")
        with pytest.raises(UnsupportedNetwork, match="its path depends on the data"):
            searchable(_Branching(), IMAGES)
        searchable(Tied(), IMAGES)
    assert not [record for record in caplog.records if record.name.startswith("torch")]


class _Branching(nn.Module):
    def forward(self, x):
        return x if x.mean() > 0 else -x


def test_searching_goes_on_with_one_weight_under_calls_with_and_without_a_bias():
    space = searchable(Tied(), IMAGES, Options((0, 2, 8)))
    small, program = decided(space)
    assert (Executor(program)(IMAGES.numpy()) == small(IMAGES).detach().numpy()).all()
