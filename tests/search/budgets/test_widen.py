"""Growth to the budget: as wide as fits, in the proportions that were found, and the same function at first."""

import random

import pytest
import torch

from cost_models import COST_MODELS
from search.budgets.feasibility import Budgets, costs_at, seed_architecture
from search.budgets.widen import widened
from search.deploy.lower import lower
from search.integer.executor import Executor
from search.settings.front import Point
from search.settings.strategies import GradientSettings
from search.strategies.gradient import Gradient
from spaces.deciding.decide import order_matters
from spaces.networks import DSCNN, ResNet8
from spaces.searchable import Options, searchable
from tests.laws.random_networks import random_network
from tests.search.small import Small, prepared_and_run, settings, write_stripes

pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel:UserWarning")

MODELS = {name: COST_MODELS[name] for name in ("flash_bytes", "peak_ram_bytes", "macs", "parameters")}
NETWORKS = {
    "small": (Small, (1, 8, 8)),
    "resnet": (lambda: ResNet8(1, 4, 8), (1, 8, 8)),
    "ds_cnn": (lambda: DSCNN(1, 4), (1, 49, 10)),
}


def spaced(model, shape, options=None):
    torch.manual_seed(0)
    x = torch.randn(4, *shape)
    space = searchable(model, x, options or Options((0, 2, 8)))
    space.calibrate([x])
    return space, x


def halved(space):
    """Every second channel closed, those with higher numbers more important."""
    picks = {gate.name: tuple(g % 2 for g in range(gate.groups)) for gate in space.gates.values()}
    importance = {gate.name: list(range(gate.groups)) for gate in space.gates.values()}
    return seed_architecture(space).having(picks), importance


@pytest.mark.parametrize("cost", ["flash_bytes", "peak_ram_bytes"])
@pytest.mark.parametrize("network", NETWORKS)
def test_grows_as_far_as_the_budget_goes_and_in_proportion(network, cost):
    make, shape = NETWORKS[network]
    space, _ = spaced(make(), shape)
    start, importance = halved(space)
    limit = 4 * costs_at(space, start, MODELS)[cost]
    found = widened(Budgets(space, MODELS, {cost: limit}), start, importance)
    costs = costs_at(space, found, MODELS)
    assert 0.7 * limit < costs[cost] <= limit
    factors = {n: sum(found.picks[n]) / sum(start.picks[n]) for n in importance}
    assert max(factors.values()) - min(factors.values()) <= max(1 / sum(start.picks[n]) for n in importance) + 1e-9
    for name, pick in found.picks.items():
        if name in importance:
            assert all((a > 0) == (b > 0) for a, b in zip(pick, start.picks[name], strict=True))
            copied = [times for times in pick if times]
            assert copied == sorted(copied)  # the more important, the sooner


def test_stays_where_nothing_fits():
    space, _ = spaced(Small(), (1, 8, 8))
    start, importance = halved(space)
    assert widened(Budgets(space, MODELS, costs_at(space, start, MODELS)), start, importance) == start


@pytest.mark.parametrize("network", NETWORKS)
def test_a_grown_network_computes_what_it_did_and_its_costs_are_exact(network):
    make, shape = NETWORKS[network]
    space, x = spaced(make(), shape)
    start, importance = halved(space)
    limits = {"flash_bytes": 3 * costs_at(space, start, MODELS)["flash_bytes"]}
    grown = widened(Budgets(space, MODELS, limits), start, importance)
    before, after = space.decide(start).eval(), space.decide(grown).eval()
    for network_ in (before, after):
        network_.set_mode("float")
    with torch.no_grad():
        torch.testing.assert_close(after(x), before(x), rtol=1e-4, atol=1e-5)
    check(space, after, grown, x)


@pytest.mark.parametrize("seed", range(40))
def test_random_networks_grow_exactly(seed):
    model, example = random_network(seed)
    xs = example if isinstance(example, tuple) else (example,)
    space = searchable(model, xs, Options((0, 2, 8))).eval()
    space.calibrate([xs])
    rng = random.Random(seed)
    times = (0, 1) if order_matters(space.spec) else (0, 1, 1, 2, 3)  # strategy.expand refuses to copy channels there
    picks = {gate.name: tuple(rng.choice(times) for _ in range(gate.groups)) for gate in space.gates.values()}
    picks = {name: pick if any(pick) else (times[-1], *pick[1:]) for name, pick in picks.items()}
    single = {name: tuple(min(1, times) for times in pick) for name, pick in picks.items()}
    start, grown = seed_architecture(space).having(single), seed_architecture(space).having(picks)
    before, after = space.decide(start).eval(), space.decide(grown).eval()
    for network in (before, after):
        network.set_mode("float")
    with torch.no_grad():
        found, expected = (made if isinstance(made, tuple) else (made,) for made in (after(*xs), before(*xs)))
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4 * (1 + other.abs().max().item()))
    check(space, after, grown, *xs)


def test_some_random_networks_grow():
    networks = [random_network(seed) for seed in range(20)]
    grown = [not order_matters(searchable(*each, Options((0, 2, 8))).spec) for each in networks]
    assert sum(grown) >= 5


def check(space, decided, architecture, *xs):
    """Costs and integers of the grown network are exact."""
    program = lower(decided)
    costs = costs_at(space, architecture, MODELS)
    assert costs == {name: model(decided.describe()).item() for name, model in MODELS.items()}
    own = {"flash_bytes": program.flash_bytes(), "peak_ram_bytes": program.peak_ram_bytes(), "macs": program.macs()}
    assert own == {name: costs[name] for name in own}
    found = Executor(program)(*[x.numpy() for x in xs], intermediate=True)
    assert all((found[name] == codes.numpy()).all() for name, codes in decided.codes(*xs).items())


def test_copies_part_in_training():
    space, x = spaced(Small(), (1, 8, 8))
    picks = {"conv1/channels": (2,) + (0,) * 7}
    grown = space.decide(seed_architecture(space).having(picks)).train()
    grown.set_mode("fake")
    grown(x).square().sum().backward()
    first, second = grown.weights["conv1"].weight.grad
    assert not torch.allclose(first, second)


def test_a_run_that_grows_meets_its_budget_with_more_channels_than_the_seed_network(tmp_path):
    config = settings(write_stripes(tmp_path / "d.npz"), budgets={"flash_bytes": 3000})
    config.strategy.expand = True
    made, summary = prepared_and_run(tmp_path / "run", config, lambda: Small(4))
    assert made.seed_costs["flash_bytes"] < 1000
    assert 2000 < summary["costs"]["flash_bytes"]["found"] <= 3000
    assert summary["mismatches"]["numpy"] == 0


def test_growth_without_a_budget_or_channels_is_refused():
    strategy = Gradient(GradientSettings(expand=True))
    space, _ = spaced(Small(), (1, 8, 8))
    with pytest.raises(ValueError, match="expand: grows to the budgets, and there are none"):
        strategy.check(space, MODELS, [Point("", {}, {})])
    space, _ = spaced(Small(), (1, 8, 8), Options((8,)))
    with pytest.raises(ValueError, match=r"expand: no channels are open\. Add 0 to space\.weight_bits"):
        strategy.check(space, MODELS, [Point("", {"flash_bytes": 1e4}, {})])
