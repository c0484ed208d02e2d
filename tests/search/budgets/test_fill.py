"""What budgets leave is spent: by hand in order of gain a byte, and as a property of any space until nothing fits."""

import random

import pytest
import torch
from torch import nn

from cost_models import COST_MODELS, cost_model
from search.budgets import fill
from search.budgets.feasibility import BudgetError, Budgets, costs_at, over, seed_architecture
from search.budgets.fill import filled
from spaces.deciding.decide import decided
from spaces.decisions.gates import Gate
from spaces.decisions.selection import GATES
from spaces.networks import DSCNN
from spaces.one_of import OneOf
from spaces.searchable import Options, searchable
from tests.laws.random_networks import random_network
from tests.laws.targets import TARGETS

pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel:UserWarning")

BITS, CHANNELS = "0/bits", "0/channels"
GAINS = torch.tensor([[8.0, 2.0, 0.0], [4.0, 1.0, 0.0], [0.8, 0.5, 0.0], [0.2, 0.1, 0.0]])  # loss at 2, 4 and 8 bits
OPEN = torch.tensor([0.0, 9.0, 3.0, 6.0, 1.0])  # that closing each channel adds; first the place that no gate has


def spaced(options=None, body=nn.Identity):
    """Four channels of 3x3 taps. At 2, 4 and 8 bits a channel takes 3, 5 and 9 B, and 7 B of other constants."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1, bias=False), nn.ReLU(), body(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(4, 2),
    )  # fmt: skip
    return searchable(model, torch.randn(2, 1, 6, 6), options or Options((0, 2, 4, 8)))


def having(space, **picks):
    """The seed network, with other picks of the first layer's bits and channels."""
    names = {"bits": BITS, "channels": CHANNELS}
    return seed_architecture(space).having({names[key]: pick for key, pick in picks.items()})


def within(space, architecture, **more):
    """Budgets that leave so much more of some costs than the architecture needs."""
    costs = costs_at(space, architecture, COST_MODELS)
    return Budgets(space, COST_MODELS, {name: costs[name] + amount for name, amount in more.items()})


@pytest.mark.parametrize(
    "left, expected",
    [
        (3, (2, 2, 2, 2)),  # 2 B for the better channel, and 2 B for the widths of four channels
        (4, (4, 2, 2, 2)),
        (5, (4, 2, 2, 2)),
        (6, (4, 4, 2, 2)),  # 1.5 a byte, where 8 bits of the first channel gain 0.5 a byte
        (10, (8, 4, 2, 2)),
        (14, (8, 8, 2, 2)),  # 0.25 a byte
        (16, (8, 8, 4, 2)),  # 0.15 a byte
        (20, (8, 8, 8, 2)),  # 0.125 a byte
        (23, (8, 8, 8, 4)),
        (24, (8, 8, 8, 8)),  # no widths are listed any more
    ],
)
def test_bits_rise_in_order_of_gain_a_byte(left, expected):
    space = spaced()
    start = having(space, bits=(2, 2, 2, 2))
    found = filled(within(space, start, flash_bytes=left), start, {BITS: GAINS})
    assert found.architecture == start.having({BITS: expected})
    assert space.architecture() == seed_architecture(space)  # the space stays as it is


@pytest.mark.parametrize("left, expected", [(11, (1, 0, 0, 0)), (12, (1, 0, 1, 0)), (30, (1, 1, 1, 0)), (36, (1,) * 4)])
def test_channels_open_again_at_the_bits_that_they_have(left, expected):
    """One takes 3 B for its weights, 7 B of constants and 2 B in the layer that reads it."""
    space = spaced()
    start = having(space, bits=(8, 2, 2, 2), channels=(1, 0, 0, 0))
    opened = {GATES: OPEN}
    found = filled(within(space, start, flash_bytes=left + 2 * (left > 11)), start, opened)  # 2 B list the widths
    assert found.architecture.picks[CHANNELS] == expected
    assert found.architecture.picks[BITS] == start.picks[BITS]


def test_of_equal_gains_a_byte_bits_come_before_channels():
    space = spaced()
    start = having(space, bits=(2, 2, 2, 2), channels=(1, 1, 1, 0))
    increases = {BITS: torch.tensor([[12.0, 10.0, 10.0]] * 4), GATES: torch.tensor([0.0, 0, 0, 0, 12.0])}
    bits = filled(within(space, start, flash_bytes=12), start, increases).architecture
    assert bits.picks[CHANNELS] == start.picks[CHANNELS] and bits.picks[BITS] != start.picks[BITS]
    increases[GATES][4] = 14.0
    assert filled(within(space, start, flash_bytes=12), start, increases).architecture.picks[CHANNELS] == (1, 1, 1, 1)


def test_what_was_never_observed_comes_last_and_fills_all_the_same():
    space = spaced()
    start = having(space, bits=(2, 2, 2, 2))
    increases = {BITS: torch.tensor([[0.0] * 3, [0.0] * 3, [1e-30, 0, 0], [0.0] * 3])}
    assert filled(within(space, start, flash_bytes=4), start, increases).architecture.picks[BITS] == (2, 2, 4, 2)
    assert filled(within(space, start, flash_bytes=6), start, increases).architecture.picks[BITS] == (4, 2, 4, 2)
    assert filled(within(space, start, flash_bytes=8), start, increases).architecture.picks[BITS] == (4, 4, 4, 4)
    assert filled(within(space, start, flash_bytes=24), start, increases).architecture == seed_architecture(space)


def test_a_precision_with_a_larger_loss_is_not_taken():
    space = spaced()
    start = having(space, bits=(2, 2, 2, 2))
    increases = {BITS: torch.tensor([[1.0, 2.0, 3.0]] * 4)}
    assert filled(within(space, start, flash_bytes=1e4), start, increases).architecture is start


def test_no_budget_is_exceeded_for_another():
    space = spaced()
    start = having(space, bits=(2, 2, 2, 2), channels=(1, 0, 0, 0))
    found = filled(within(space, start, flash_bytes=60, peak_ram_bytes=28), start, {BITS: GAINS, GATES: OPEN})
    assert found.architecture == start.having({BITS: (8, 2, 2, 2)})  # a channel takes 36 B of RAM
    flash, ram = found.uses
    assert (flash.used, flash.limit, flash.why) == (35, 89, "every change that is left exceeds peak_ram_bytes")
    assert (ram.used, ram.limit) == (72, 100)
    assert ram.why == "the smallest change that is left takes 36 B more, and 28 B are left"
    assert str(found) == (
        f"budgets in use: flash_bytes 35 of 89 B (39.3%): {flash.why}; peak_ram_bytes 72 of 100 B (72.0%): {ram.why}"
    )


def test_the_scarcest_budget_says_what_a_change_is_worth():
    """Two bits more take 2 B of 400 B and no RAM; a channel takes 12 B, and 36 B of the 72 B of RAM that are left."""
    space = spaced()
    start = having(space, bits=(2, 2, 2, 2), channels=(1, 0, 0, 0))
    for ram, expected in ((72, (1, 1, 0, 1)), (36, (1, 0, 0, 1)), (35, (1, 0, 0, 0))):
        increases = {GATES: torch.tensor([0.0, 9.0, 2.0, 1.0, 3.0])}
        found = filled(within(space, start, flash_bytes=400, peak_ram_bytes=ram), start, increases)
        assert found.architecture.picks[CHANNELS] == expected


def test_the_whole_network_and_one_that_cannot_get_better_say_so():
    space = spaced()
    seed = seed_architecture(space)
    (use,) = filled(within(space, seed, flash_bytes=100), seed, {BITS: GAINS, GATES: OPEN}).uses
    assert use.why == "the whole network uses no more"
    start = having(space, bits=(2, 2, 2, 2))
    (use,) = filled(within(space, start, flash_bytes=100), start, {}).uses
    assert use.why == "no change that is left lowers the loss"
    (use,) = filled(within(space, seed, flash_bytes=4), seed, {}).uses
    assert use.why == "" and str(use) == "flash_bytes 89 of 93 B (95.7%)"


def test_the_number_of_exact_checks_is_bounded(monkeypatch):
    space = searchable(DSCNN(1, 4), torch.randn(2, 1, 25, 10))
    start = seed_architecture(space).having({n: (2,) * c.groups for n, c in space.choices.items()})
    increases = {n: torch.rand(c.groups, 3).sort(1, descending=True)[0] for n, c in space.choices.items()}
    budgets = within(space, start, flash_bytes=16000)
    checks = []
    monkeypatch.setattr(fill, "over", lambda *given: checks.append(given) or over(*given))
    monkeypatch.setattr(fill, "CHECKS", 2)
    found = filled(budgets, start, increases)
    assert len(checks) == 2 and budgets.met_by(found.architecture) and found.architecture != start
    assert found.uses[0].why == "2 exact checks were made, and changes are left that were not tried"


def test_what_is_over_already_is_refused():
    space = spaced()
    seed = seed_architecture(space)
    with pytest.raises(BudgetError, match=r"over already: \{'flash_bytes': 3\.0\}\. Repair the architecture"):
        filled(within(space, seed, flash_bytes=-3), seed, {})


def test_without_budgets_nothing_changes():
    space = spaced()
    start = having(space, bits=(2, 2, 2, 2))
    assert filled(Budgets(space, COST_MODELS, {}), start, {BITS: GAINS}).architecture is start


def test_copied_channels_and_closed_ones_keep_what_they_have():
    space = spaced()
    start = having(space, bits=(2, 2, 2, 2), channels=(2, 1, 0, 0))
    found = filled(within(space, start, flash_bytes=1000), start, {BITS: GAINS, GATES: OPEN}).architecture
    assert found == start.having({BITS: (8, 8, 2, 2)})


def test_a_change_has_to_gain_what_its_costs_weigh():
    space = spaced()
    start = having(space, bits=(2, 2, 2, 2))
    budgets = within(space, start, flash_bytes=1000)
    found = filled(budgets, start, {BITS: GAINS}, {"flash_bytes": 0.4}).architecture
    assert found.picks[BITS] == (8, 4, 2, 2)  # 0.5 and 1.5 a byte; the next best gains 0.25 a byte
    assert filled(budgets, start, {BITS: torch.zeros(4, 3)}, {"macs": 0.1}).architecture == seed_architecture(space)


def test_of_whole_choices_only_what_is_known_to_be_better_is_taken():
    space = spaced(Options((2, 4, 8), granularity="tensor", kernel_sizes=(1, 3), activation_bits=(4, 8)))
    start = seed_architecture(space).having({n: (c.options[0],) for n, c in space.choices.items()})
    budgets = within(space, start, flash_bytes=1000, peak_ram_bytes=1000)
    nothing = {name: torch.zeros(1, len(choice.options)) for name, choice in space.choices.items()}
    assert filled(budgets, start, nothing).architecture is start
    better = {**nothing, "0/kernel": torch.tensor([[0.1, 0.0]]), BITS: torch.tensor([[3.0, 1.0, 2.0]])}
    assert filled(budgets, start, better).architecture == start.having({"0/kernel": (3,), BITS: (4,)})


def test_branches_and_what_only_the_others_hold_stay():
    space = spaced(body=lambda: OneOf([nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.ReLU()), nn.Identity()]))
    branch = next(name for name, choice in space.spec.choices.items() if choice.branches)
    picks = {n: (2,) * c.groups for n, c in space.choices.items() if n != branch} | {branch: (1,)}
    start = seed_architecture(space).having(picks)
    increases = {name: torch.linspace(1, 0, len(c.options)).repeat(c.groups, 1) for name, c in space.choices.items()}
    increases |= {branch: torch.tensor([[0.0, 5.0]])}
    found = filled(within(space, start, flash_bytes=1000), start, increases).architecture
    changed = {name for name, pick in found.picks.items() if pick != start.picks[name]}
    assert changed == {BITS, next(name for name in space.choices if name.startswith("5") or name.startswith("head"))}


@pytest.mark.parametrize("seed", range(24))
def test_random_networks_are_filled_exactly_and_nothing_more_fits(seed):
    rng, generator = random.Random(seed), torch.Generator().manual_seed(seed)
    model, example = random_network(seed)
    widths = rng.choice([(0, 2, 4, 8), (0, 4, 8), (2, 8), (0, 2, 8)])
    options = Options(
        widths, granularity=rng.choice(["channel", "channel", "tensor"]), activation_bits=rng.choice([8, (4, 8)])
    )
    space = searchable(model, example, options).eval()
    start = seed_architecture(space).having({n: drawn(d, rng) for n, d in space.decisions.items()})
    increases = random_increases(space, rng, generator)
    models = {**COST_MODELS, "latency_cycles": cost_model("latency_cycles", rng.choice(TARGETS))}
    costs, most = (costs_at(space, a, models) for a in (start, seed_architecture(space)))
    names = rng.sample(["flash_bytes", "peak_ram_bytes", "energy_pj", "macs", "latency_cycles"], rng.randint(1, 3))
    limits = {name: costs[name] + rng.random() ** 3 * max(0.0, most[name] - costs[name]) for name in names}
    budgets = Budgets(space, models, limits)
    found = filled(budgets, start, increases)
    assert budgets.met_by(found.architecture)
    for name, pick in found.architecture.picks.items():
        options = space.decisions[name].options
        assert all(options.index(a) >= options.index(b) for a, b in zip(pick, start.picks[name], strict=True))
    assert found.uses == filled(budgets, start, increases).uses  # nothing depends on chance
    exact = budgets.costs(found.architecture)
    for use in found.uses:
        assert (use.used, use.limit) == (exact[use.budget], limits[use.budget])
        assert bool(use.why) == (use.used < 0.95 * use.limit) and "exact checks" not in use.why
    for change in single_changes(space, found.architecture, increases):
        assert not budgets.met_by(change), change


def drawn(decision, rng):
    """Often low, so that there is something to gain."""
    pick = [
        decision.options[min(rng.randrange(len(decision.options)), rng.randrange(3))] for _ in range(decision.groups)
    ]
    return (1, *pick[1:]) if isinstance(decision, Gate) else tuple(pick)


def random_increases(space, rng, generator):
    """Some are 0, as of what was never observed; the highest precision adds nothing."""
    increases = {}
    for name, choice in space.choices.items():
        each = torch.rand(choice.groups, len(choice.options), generator=generator)
        each = each * (torch.rand(choice.groups, 1, generator=generator) < 0.8)
        each[:, -1] = 0
        increases[name] = each
    places = 1 + sum(gate.groups for gate in space.gates.values())
    increases[GATES] = torch.rand(places, generator=generator) * (torch.rand(places, generator=generator) < 0.8)
    return increases


def single_changes(space, architecture, increases):
    """Each architecture that is better by one change, and not the same network."""
    now = decided(space.spec, architecture.picks).spec
    for name, decision in space.decisions.items():
        if not isinstance(decision, Gate) and space.spec.choices[name].branches:
            continue
        for group, option in enumerate(architecture.picks[name]):
            at = decision.options.index(option)
            for i in range(at + 1, len(decision.options)):
                if not isinstance(decision, Gate):
                    gain = float(increases[name][group, at] - increases[name][group, i])
                    if gain < 0 or (gain == 0 and decision.whole):
                        continue
                pick = list(architecture.picks[name])
                pick[group] = decision.options[i]
                changed = architecture.having({name: tuple(pick)})
                if decided(space.spec, changed.picks).spec != now:
                    yield changed
