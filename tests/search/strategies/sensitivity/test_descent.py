"""From a table to an architecture: stages, the floor of layers, and factors of what changes do together."""

import math

import pytest
import torch

from cost_models import COST_MODELS
from search.budgets.feasibility import Budgets, seed_architecture
from search.strategies.sensitivity.descent import descended, floor_of, stages, with_floor
from search.strategies.sensitivity.table import Table, fingerprint
from spaces.searchable import Options, searchable
from tests.search.small import Small

FLASH = {"flash_bytes": COST_MODELS["flash_bytes"]}


@pytest.fixture(scope="module")
def space():
    torch.manual_seed(0)
    space = searchable(Small(channels=16), torch.randn(2, 1, 8, 8), Options(weight_bits=(0, 2, 4, 8)))
    space.calibrate([torch.randn(4, 1, 8, 8)])
    return space.eval()


def table_of(space, entries):
    """A table whose rows are entries(decision, group): what each option adds to the loss."""
    increases = {
        name: torch.tensor([entries(name, group) for group in range(decision.groups)], dtype=torch.float64)
        for name, decision in space.decisions.items()
    }
    options = {name: tuple(decision.options) for name, decision in space.decisions.items()}
    return Table(fingerprint(space, {}), tuple(gate.name for gate in space.gates.values()), options, increases)


def plain(name, group):
    """Channels are the more important the later they come; of precisions the lowest adds most."""
    return [1.0 + group, 0.0] if name.endswith("channels") else [0.3, 0.1, 0.0]


def kept(architecture, gate):
    return sum(architecture.picks[gate])


def test_stages_fall_by_equal_factors_to_the_budgets():
    found = list(stages({"flash_bytes": 1000.0, "macs": 50.0}, {"flash_bytes": 125.0, "macs": 60.0}))
    assert [limits["flash_bytes"] for limits in found] == pytest.approx([1000 * 0.125 ** (n / 5) for n in range(1, 6)])
    assert [limits["macs"] for limits in found] == [50.0] * 4 + [60.0]
    assert list(stages({"macs": 50.0}, {"macs": 60.0})) == [{"macs": 60.0}]


def test_the_floor_is_half_the_width_of_a_network_of_one_width(space):
    table = table_of(space, plain)  # 8 bits over 2
    assert floor_of(table, 1 / 16) == 0.5 * math.sqrt(4 / 16)
    assert floor_of(table, 0.9) == 0.5


def test_the_floor_keeps_the_most_important_channels():
    increases = {"stem/channels": torch.tensor([[3.0, 0.0], [1.0, 0.0], [2.0, 0.0]]), "stem/bits": torch.ones(3, 2)}
    found = with_floor(increases, ["stem/channels"], 0.5)
    assert found["stem/channels"][:, 0].tolist() == [3003.0, 1.0, 3002.0]
    assert torch.equal(found["stem/bits"], increases["stem/bits"])
    assert increases["stem/channels"][0, 0] == 3.0


def test_a_layer_that_the_table_gives_away_keeps_its_floor(space):
    first, second = table_of(space, plain).gates

    def worthless(name, group):
        return [1e-6, 0.0] if name == second else plain(name, group)

    costs = Budgets(space, FLASH, {}).costs(seed_architecture(space))
    budgets = Budgets(space, FLASH, {"flash_bytes": costs["flash_bytes"] / 8})
    found, _ = descended(budgets, table_of(space, worthless), lambda architecture: 0.0)
    assert budgets.met_by(found)
    assert kept(found, second) >= math.ceil(0.5 * math.sqrt(4 / 8) * len(found.picks[second]))
    assert kept(found, first) > 1


def test_budgets_below_the_floor_are_met_all_the_same(space):
    least = Budgets(space, FLASH, {"flash_bytes": 130.0})
    found, _ = descended(least, table_of(space, plain), lambda architecture: 0.0)
    assert least.met_by(found)


def test_what_changes_of_a_layer_do_together_counts(space):
    """Alone the channels of both layers are worth the same. Together those of the first are worth far more."""
    first, second = table_of(space, plain).gates
    costs = Budgets(space, FLASH, {}).costs(seed_architecture(space))
    budgets = Budgets(space, FLASH, {"flash_bytes": costs["flash_bytes"] / 6})

    def alike(name, group):
        return [1.0, 0.0] if name in (first, second) else [0.01, 0.001, 0.0]

    def loss_of(architecture):
        closed = {gate: len(architecture.picks[gate]) - kept(architecture, gate) for gate in (first, second)}
        return 20.0 * closed[first] ** 2 + 0.2 * closed[second]

    plain_found, _ = descended(budgets, table_of(space, alike), lambda architecture: 0.0)
    found, increases = descended(budgets, table_of(space, alike), loss_of)
    assert kept(found, first) > kept(plain_found, first)
    gates = increases["gates"][1:].split([len(found.picks[first]), len(found.picks[second])])
    assert gates[0].max() > 10 * gates[1].max()
