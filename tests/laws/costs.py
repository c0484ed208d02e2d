"""The law that the costs of a space with its decisions fixed are those of the network that they decide."""

import pytest

from cost_models import COST_MODELS, TARGET_COST_MODELS, cost_model
from spaces.space import Space
from tests.laws.targets import TARGETS

COUNTS = ("flash_bytes", "peak_ram_bytes", "macs", "parameters")  # whole numbers; the other costs weigh with fractions


def costs_of(space: Space) -> dict[str, float]:
    """Every cost of a space as its decisions stand, those that read a target's table on each target."""
    network = space.describe()
    models = dict(COST_MODELS)
    for name in TARGET_COST_MODELS:
        models |= {f"{name} on {target.name}": cost_model(name, target) for target in TARGETS}
    return {name: model(network).item() for name, model in models.items()}


def assert_open_equals_decided(space: Space, decided: Space) -> None:
    """Counts to the last unit. Costs that weigh with fractions add the same terms in another order, no more."""
    found, expected = costs_of(space), costs_of(decided)
    for name, cost in expected.items():
        assert found[name] == (cost if name in COUNTS else pytest.approx(cost, rel=1e-12)), name
