"""Passes in C give the bits of torch's operators: on random tensors, and over whole trainings."""

import random
from collections.abc import Iterator
from functools import partial

import pytest
import torch

from benchmarks.step_time import MODES, ours
from spaces.passes.chosen import only_eager
from spaces.passes.comparison import CPU, cases, made_of, made_of_weights, same
from spaces.passes.compiled import Compiled
from spaces.passes.eager import Eager
from spaces.passes.library import library

SEEDS = [*range(12), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(12, 150))]


@pytest.fixture
def compiled() -> Compiled:
    passes = library().passes
    if passes is None:
        pytest.skip(f"no passes in C here: {library().why}")
    return passes


@pytest.fixture(params=[1, 2, 3])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def drawn_shape(rng: random.Random) -> tuple[int, ...]:
    channels = rng.choice((1, 2, 7, 8, 16, 16, 24, 32, 48, 64, 96))
    inner = [rng.choice((1, 2, 3, 5, 8, 14)) for _ in range(rng.choice((0, 1, 2, 2, 2, 2, 3)))]
    return (rng.randint(2, 9), channels, *inner)


@pytest.mark.parametrize("seed", SEEDS)
def test_every_pass_over_a_random_tensor_gives_the_bits_of_torch(compiled, threads, seed):
    compared = 0
    shape = drawn_shape(random.Random(seed))
    for case in cases([shape], seed):
        for (name, own), (_, eager) in zip(made_of(case, compiled), made_of(case, Eager()), strict=True):
            assert same(own, eager), f"{name}, {shape}, {case.x.stride()}, {case.codes}, {case.part}"
            compared += 1
    assert compared > 100


@pytest.mark.parametrize("shape", [(64, 16, 24, 24), (33, 48, 11, 13), (40, 20, 30, 7), (3, 5, 70000)], ids=str)
def test_large_tensors_are_shared_by_threads(compiled, threads, shape):
    for case in cases([shape]):
        for (name, own), (_, eager) in zip(made_of(case, compiled), made_of(case, Eager()), strict=True):
            assert same(own, eager), f"{name}, {case.x.stride()}, {case.codes}, {case.part}"


@pytest.mark.parametrize("bits", [(8,), (2, 4, 8), (1, 2, 3, 4, 5, 6, 7, 8), (1,)], ids=str)
@pytest.mark.parametrize(
    "shapes",
    [
        [(1, 1)],
        [(3, 1, 3, 3), (2, 9)],
        [(4, 3, 1, 1), (4, 3, 1, 3), (5, 27)],
        [(70, 64, 3, 3), (8, 64, 3, 3)],
        [(2, 1), (3, 16, 5), (2, 2, 40, 30), (2, 130, 32, 32), (1, 4096)],
        [(2, 3, 3, 3, 3), (6, 700, 1, 7)],
    ],
    ids=str,
)
def test_weights_have_the_bits_of_torch(compiled, threads, bits, shapes):
    made = partial(made_of_weights, bits, shapes, CPU)
    assert all(same(own, eager) for (_, own), (_, eager) in zip(made(compiled), made(Eager()), strict=True))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("network", ["resnet8", "ds_cnn"])
def test_a_training_has_the_same_bytes_with_passes_in_c_and_without(compiled, network, mode):
    def trained() -> dict[str, torch.Tensor]:
        torch.manual_seed(1)
        trainer = ours(network, mode, batch=6)
        for _ in range(9):
            trainer.step()
        return trainer.network.state_dict()

    own = trained()
    with only_eager():
        eager = trained()
    assert own.keys() == eager.keys() and all(torch.equal(own[name], eager[name]) for name in own)
