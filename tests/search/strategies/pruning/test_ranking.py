"""What goes first: rankings and the order by energy, against hand counts and against chance."""

from dataclasses import replace

import pytest
import torch

from search.data import OPTIONS
from search.settings.run import SpaceSettings
from search.settings.strategies import BlackBoxSettings, MagnitudeSettings
from search.strategies.black_box.proxy import Proxy
from search.strategies.pruning.amount import Amount
from search.strategies.pruning.parts import Channels, SingleWeights, over_layers_means
from search.strategies.pruning.ranking import Probe, as_layers_shares, ascending, by_energy, scores
from tests.search.small import Small, problem_of, settings, write_stripes

LAYERS = {"a": 3, "b": 2}


def pruning_problem(chosen, make, folder):
    """What the strategy is given, with single weights and channels open."""
    chosen.space = SpaceSettings(weight_bits=[0, 8], pattern="weights")
    chosen.strategy = MagnitudeSettings(fraction=0.5)
    return problem_of(folder, chosen, make)


@pytest.fixture(scope="module")
def warmed_up(tmp_path_factory):
    """What the strategy is given, behind one warm-up for the whole module."""
    data = write_stripes(tmp_path_factory.mktemp("data") / "stripes.npz", count=160)
    return pruning_problem(settings(data, "magnitude"), Small, tmp_path_factory.mktemp("run"))


@pytest.fixture
def problem(warmed_up):
    """It is the same for every test: what a test does to the space is undone behind it."""
    before = {name: value.clone() for name, value in warmed_up.space.state_dict().items()}
    yield warmed_up
    warmed_up.space.load_state_dict(before)


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """Three networks, trained on digits."""
    found = []
    for seed in range(3):
        chosen = replace(settings(tmp_path_factory.mktemp("data"), "magnitude"), data=OPTIONS["digits"](), seed=seed)
        chosen.train.warmup.epochs = 8
        found.append(pruning_problem(chosen, lambda: Small(channels=16, classes=10), tmp_path_factory.mktemp("run")))
    return found


@pytest.fixture(params=[Channels, SingleWeights])
def parts(problem, request):
    return request.param(problem.space, problem.space.architecture())


def test_the_lowest_go_first_and_the_best_of_each_layer_stays():
    values = torch.tensor([3, 1, -torch.inf, 0.5, 2], dtype=torch.float64)
    assert ascending(values, LAYERS).tolist() == [2, 3, 1]
    assert over_layers_means(values, LAYERS).tolist() == [1.5, 0.5, -torch.inf, 0.4, 1.6]
    shares = as_layers_shares(values, LAYERS)
    assert shares.tolist() == pytest.approx([1, 2 / 3, 1 / 3, 1 / 2, 1])


def test_what_is_removed_is_gone_and_comes_last_no_more(problem, parts):
    gone = torch.arange(sum(parts.sizes.values())) % 3 == 1
    parts.remove(gone)
    assert torch.equal(parts.gone(), gone)
    for criterion in ("magnitude", "gradient"):
        found = scores(problem, parts, criterion)
        assert torch.equal(found == -torch.inf, gone)
        assert ascending(found, parts.sizes)[: int(gone.sum())].tolist() == gone.nonzero()[:, 0].tolist()


def test_scoring_and_probing_leave_the_network_as_it_was(problem, parts):
    before = {name: value.clone() for name, value in problem.space.state_dict().items()}
    by_energy(problem, parts, scores(problem, parts, "gradient"), 0.1, lambda gone: False)
    assert all(torch.equal(before[name], value) for name, value in problem.space.state_dict().items())
    assert problem.space.draws and not any(norm.frozen for norm in problem.space.norms.values())


def test_what_nobody_reads_is_worth_nothing_by_gradient_alone(problem):
    space = problem.space
    channels, weights = (kind(space, space.architecture()) for kind in (Channels, SingleWeights))
    with torch.no_grad():
        space.weights["conv2"].weight[:, 5] = 0
    each, single = scores(problem, channels, "gradient"), scores(problem, weights, "gradient")
    unread = torch.arange(8) == 5
    assert torch.equal(each[:8] == 0, unread)
    assert torch.equal((single[: 8 * 9].view(8, 9) == 0).all(1), unread)
    assert scores(problem, channels, "magnitude")[5] > 0


def test_a_gate_of_one_layer_is_no_smaller_than_one_that_ties_two(problem):
    found = Channels(problem.space, problem.space.architecture())
    means = [part.mean().item() for part in found.magnitude().split([8, 16])]
    assert means == pytest.approx([1, 1])


def test_the_layer_of_most_energy_goes_first_until_the_loss_has_risen(problem, parts):
    values, tolerance = scores(problem, parts, "magnitude"), 0.02
    probe = Probe(problem, parts)
    order = by_energy(problem, parts, values, tolerance, lambda gone: False)
    assert sorted(order.tolist()) == sorted(ascending(values, parts.sizes).tolist())
    first = max(probe.energies, key=lambda name: probe.energies[name])
    assert first == ("conv2/channels" if isinstance(parts, Channels) else "conv2")
    start = list(parts.sizes.values())[: list(parts.sizes).index(first)]
    here = [sum(start) <= place < sum(start) + parts.sizes[first] for place in order.tolist()]
    count = here.index(False)  # its first turn
    none = torch.zeros(len(values), dtype=torch.bool)
    base = probe._loss(none, order[:0])
    assert count == probe.bearable(none, order[[i for i, h in enumerate(here) if h]], tolerance) > 0
    assert probe._loss(none, order[:count]) <= base + tolerance


def test_a_threshold_is_in_units_of_the_layers_mean(problem):
    parts = SingleWeights(problem.space, problem.space.architecture())
    gone = Amount(MagnitudeSettings(structure="weights", threshold=0.4), problem, parts).gone(1.0)
    for name, part in zip(parts.sizes, gone.split(list(parts.sizes.values())), strict=True):
        sizes = problem.space.weights[name].weight.detach().abs().flatten().double()
        assert torch.equal(part, sizes < 0.4 * sizes.mean()) and part.any()


@pytest.mark.parametrize("criterion", ["magnitude", "gradient"])
@pytest.mark.parametrize(("kind", "fraction"), [(SingleWeights, 0.6), (Channels, 0.3)])
def test_a_ranking_beats_chance_before_fine_tuning(digits, kind, fraction, criterion):
    """Mean accuracy of three networks at the same fraction, against that of five random prunings each."""
    ranked, drawn, generator = [], [], torch.Generator().manual_seed(0)
    for problem in digits:
        parts = kind(problem.space, problem.space.architecture())
        count = sum(parts.sizes.values())
        none = torch.zeros(count, dtype=torch.bool)
        draws = [torch.rand(count, generator=generator, dtype=torch.float64) for _ in range(5)]
        for values, accuracies in ((scores(problem, parts, criterion), ranked), *((draw, drawn) for draw in draws)):
            order = ascending(values, parts.sizes)
            parts.remove(none.index_fill(0, order[: round(fraction * count)], True))
            accuracies.append(Proxy(problem, BlackBoxSettings()).score_of(problem.space.architecture()))
            parts.remove(none)
    assert sum(ranked) / 3 > sum(drawn) / 15 + 0.1
