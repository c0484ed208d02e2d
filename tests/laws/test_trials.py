"""Of every network: what is tried from a block in the middle on is what is tried from the input on."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from search.objective.tried_options import tried
from spaces.blocks.norm import unmoved
from spaces.searchable import Options, searchable
from spaces.space import FAKE, Space
from tests.laws.random_cases import as_tuple
from tests.laws.random_networks import random_network

pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel:UserWarning")
WHOLE = Options((2, 8), "tensor", activation_bits=(2, 4, 8))
SEEDS = [*range(16), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(16, 120))]


def drawn(seed: int) -> tuple[Space, tuple[Tensor, ...]]:
    """A random network with choices for whole layers and tensors, in training, and a batch."""
    model, example = random_network(seed)
    torch.manual_seed(seed)
    examples = as_tuple(example)
    space = searchable(model, examples, WHOLE)
    space.calibrate([examples])
    space.train().set_mode(FAKE)
    return space, tuple(torch.cat([x, 2 * x]) for x in examples)


def flat(outputs: Tensor | tuple[Tensor, ...]) -> Tensor:
    return torch.cat([each.flatten() for each in as_tuple(outputs)])


def after(space: Space, images: tuple[Tensor, ...], choice: str, option: int) -> Tensor:
    with torch.no_grad(), unmoved(space.norms.values()):
        return flat(space.run(space.selector.having(space.selection, choice, option), *images))


@pytest.mark.parametrize("seed", SEEDS)
def test_a_trial_from_a_block_on_is_one_from_the_input_on(seed):
    space, images = drawn(seed)
    space(*images, tried=lambda selection: selection.whole)
    kept = space.selection
    assert kept.whole and kept.halfway and all(kept.halfway.values())
    for name in sorted(kept.whole):
        option = (kept.picked[name] + 1) % len(space.choices[name].options)
        short = after(space, images, name, option)
        space.selection = replace(kept, halfway={}, weight={}, scales={})
        assert torch.equal(short.nan_to_num(), after(space, images, name, option).nan_to_num()), name
        space.selection = kept


def test_what_is_tried_in_a_search_is_such_a_trial():
    space, images = drawn(0)
    space(*images, tried=lambda selection: selection.whole)
    name = sorted(space.selection.whole)[-1]
    assert torch.equal(flat(tried(space, images[0], name, 0)), after(space, images, name, 0))
