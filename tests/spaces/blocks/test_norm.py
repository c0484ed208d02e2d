"""The norm of several processes against the fused one, and what is set for a while."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import distributed

from spaces.blocks.norm import Norm, frozen, synchronized_norm, unmoved
from spaces.passes.passes import Codes
from spaces.quantizers.scales import NormUse, scales_of
from spaces.quantizers.tail import norm_tail

UNBOUNDED = Codes(float("-inf"), float("inf"))


@pytest.fixture
def one_process_group(tmp_path: Path) -> Iterator[None]:
    distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


def norm_of(seed: int = 0) -> Norm:
    torch.manual_seed(seed)
    norm = Norm(4).double()
    with torch.no_grad():
        for value in norm.state_dict().values():
            value.uniform_(0.5, 2.0)
    return norm


@pytest.mark.parametrize("renormalized", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_the_norm_of_several_processes_is_the_fused_one(one_process_group, renormalized, masked):
    ours, fused = norm_of(), norm_of()
    keep = torch.tensor([1.0, 0.0, 1.0, 1.0], dtype=torch.float64) if masked else None
    x, grad = (torch.randn(6, 4, 3, 5, dtype=torch.float64) for _ in range(2))
    x.requires_grad_()
    found = synchronized_norm(x, ours, keep, renormalized)
    (scales,) = scales_of([NormUse(fused, keep, None)])
    expected = norm_tail(x, fused, scales, keep, None, UNBOUNDED, renormalized=renormalized)
    torch.testing.assert_close(found, expected)
    found_gradients = torch.autograd.grad(found, (x, ours.weight, ours.bias), grad)
    gradients = torch.autograd.grad(expected, (x, fused.weight, fused.bias), grad)
    for a, b in zip(found_gradients, gradients, strict=True):
        torch.testing.assert_close(a, b)
    torch.testing.assert_close(ours.state_dict(), fused.state_dict())


def test_norms_are_frozen_and_unmoved_for_a_while():
    norm = Norm(2)
    with frozen([norm]), unmoved([norm]):
        assert norm.frozen and norm.momentum == 0
    assert not norm.frozen and norm.momentum == 0.1
