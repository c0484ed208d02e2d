"""What every decided network must be: the function, the costs and the program of the space that it came from."""

import torch
from torch import Tensor

from cost_models import COST_MODELS
from search.deploy.lower import lower
from spaces.space import Space
from tests.laws.costs import assert_open_equals_decided


def check_decided(space: Space, x: Tensor) -> None:
    """Checks the network that a space with its decisions fixed is decided to; x: (N, C, ...), a batch."""
    decided = space.decide()
    decided.set_mode("fake")
    assert not decided.decisions
    with torch.no_grad():
        torch.testing.assert_close(decided(x), space(x))
    assert_open_equals_decided(space, decided)
    network, program = decided.describe(), lower(decided)
    figures = {"flash_bytes": program.flash_bytes(), "peak_ram_bytes": program.peak_ram_bytes(), "macs": program.macs()}
    assert {name: COST_MODELS[name](network).item() for name in figures} == figures
