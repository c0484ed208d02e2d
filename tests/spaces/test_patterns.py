"""Patterns of weights: which stay, how they learn, and that they stay as they are once decided."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from search.deploy.lower import lower
from spaces.patterns import MASKED_DECAY, NM, THRESHOLD, Single, Structured, UnfitPattern, made, parse
from spaces.searchable import Options
from spaces.space import Space
from tests.spaces.small import images, space_of

PATTERNS = ("1:2", "2:4", "columns", "channels", "blocks 2x3", "weights")


class Net(nn.Module):
    """A layer too small for 2:4, two that are not, a depthwise one between them."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6)
        self.deep = nn.Conv2d(6, 6, 3, padding=1, groups=6)
        self.body = nn.Conv2d(6, 8, 3)
        self.head = nn.Linear(8, 4)

    def forward(self, x):
        x = F.relu(self.deep(F.relu(self.norm(self.stem(x)))))
        return self.head(F.relu(self.body(x)).mean((2, 3)))


def some_gone(space: Space) -> Space:
    """Every third structure below the threshold, every third single weight gone."""
    for weights in space.weights.values():
        if isinstance(weights.pattern, Single):
            weights.pattern.kept.view(-1)[::3] = False
        if isinstance(weights.pattern, Structured):
            v = weights.pattern.v
            v.data.copy_(torch.tensor([0.05, 0.7, 1.3])[torch.arange(v.numel()) % 3].view_as(v))
    return space


def net_space(pattern: str, weight_bits=(0, 2, 8)) -> Space:
    return space_of(Net(), options=Options(weight_bits, pattern=pattern))


def test_the_largest_n_of_every_m_inputs_stay():
    weight = torch.tensor([[1.0, -4, 2, 3, 0.1, 0.2, -0.3, 0.4, 9, 8]])
    mask = NM(2, 4, weight.shape).mask(weight, None)
    assert mask.int().tolist() == [[0, 1, 0, 1, 0, 0, 1, 1, 1, 1]]  # the last two make no four


@pytest.mark.parametrize(("n", "m"), [(1, 2), (2, 4), (1, 4), (3, 8)])
def test_every_tap_and_output_has_its_n_of_m(n, m):
    weight = torch.randn(5, 16, 3, 3, generator=torch.Generator().manual_seed(0))
    mask = NM(n, m, weight.shape).mask(weight, None)
    counts = mask.movedim(1, -1).unflatten(-1, (-1, m)).sum(-1)
    assert (counts == n).all()
    kept, gone = weight[mask].abs().sum(), weight[~mask].abs().sum()
    assert kept / mask.sum() > gone / (~mask).sum()


def test_closed_inputs_are_no_part_of_a_group():
    weight = torch.tensor([[5.0, 1, 2, 3, 4, 0.5]])
    mask = NM(1, 2, weight.shape).mask(weight, torch.tensor([1, 2, 4, 5]))
    assert mask[0, [1, 2, 4, 5]].tolist() == [False, True, True, False]


def test_masked_weights_learn_straight_through_and_decay():
    weight = torch.tensor([[1.0, 2.0]], requires_grad=True)
    NM(1, 2, weight.shape)(weight, None).mul(torch.tensor([[3.0, 5.0]])).sum().backward()
    assert weight.grad[0].tolist() == pytest.approx([3.0 + MASKED_DECAY, 5.0])


@pytest.mark.parametrize(
    ("kind", "block", "v"),
    [("columns", (0, 0), (1, 36)), ("channels", (0, 0), (8, 1)), ("blocks", (3, 5), (3, 8))],
)
def test_a_structure_is_gone_below_the_threshold_and_its_parameter_learns_on(kind, block, v):
    weight = torch.randn(8, 4, 3, 3, requires_grad=True)
    pattern = Structured(kind, block, weight.shape)
    assert pattern.v.shape == v
    with torch.no_grad():
        pattern.v.fill_(0.5)
        pattern.v[0, 0] = -0.9 * THRESHOLD * 0.5
    out = pattern(weight, None)
    mask = pattern.mask(weight, None)
    assert torch.equal(out, torch.where(mask, 0.5 * weight, 0.0))
    flat = mask.flatten(1)
    size = {"columns": (8, 1), "channels": (1, 36), "blocks": block}[kind]
    assert not flat[: size[0], : size[1]].any() and int((~flat).sum()) == size[0] * size[1]
    grad = torch.randn_like(out)
    out.backward(grad)
    assert pattern.v.grad[0, 0].item() == pytest.approx((grad * weight)[~mask].sum().item(), rel=1e-4)
    assert torch.equal(weight.grad, torch.where(mask, 0.5 * grad, 0.0))


@pytest.mark.parametrize("pattern", PATTERNS)
def test_deciding_keeps_the_zeros_and_training_does_not_bring_them_back(pattern):
    space = some_gone(net_space(pattern))
    space.decisions["stem/channels"].fix((1, 0, 1, 1, 0, 1))
    with torch.no_grad():
        expected = space.eval()(images())
    decided = space.decide()
    decided.set_mode("fake")
    step = decided.quantizer("head").step
    with torch.no_grad():
        torch.testing.assert_close(decided.eval()(images()), expected, rtol=1e-6, atol=1.01 * step)
    masks = {name: weights.mask.clone() for name, weights in decided.weights.items() if weights.spec.masked}
    assert masks and any((~mask).any() for mask in masks.values())
    optimizer = torch.optim.SGD(decided.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=1e-3)
    for _ in range(3):
        optimizer.zero_grad()
        decided.train()(images((8, 3, 6, 6))).square().sum().backward()
        optimizer.step()
    for name, mask in masks.items():
        assert not decided.weights[name].weight[~mask].any() and decided.weights[name].weight[mask].any()
    program = lower(decided.eval())
    assert any(not codes.all() for codes in (decided.blocks[0].folded().codes, decided.blocks[2].folded().codes))
    assert program.flash_bytes() > 0


def test_two_of_four_survives_closed_channels():
    """The groups of the decided network are those of the masked one: of the open inputs."""
    space = space_of(
        nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU(), nn.Conv2d(8, 4, 1)), options=Options((0, 8), pattern="2:4")
    )
    space.decisions["0/channels"].fix((1, 0, 1, 1, 0, 0, 1, 0))
    decided = space.decide()
    assert (decided.weights["2"].mask.sum(1) == 2).all()


def test_single_weights_that_are_gone_are_zero_and_get_no_gradient():
    pattern, weight = Single((2, 3)), torch.ones(2, 3, requires_grad=True)
    pattern.kept[0, 1] = False
    out = pattern(weight, None)
    out.sum().backward()
    assert out.tolist() == weight.grad.tolist() == pattern.mask(weight, None).float().tolist() == [[1, 0, 1], [1, 1, 1]]


def test_a_layer_that_is_too_small_is_listed():
    space = net_space("2:4")
    assert "each output reads 3 inputs, the pattern is 2:4" in space.spec.left_alone["stem/pattern"]
    assert "reads 1 inputs" in space.spec.left_alone["deep/pattern"]
    assert space.spec.weights["body"].pattern == "2:4"


def test_a_common_factor_closes_nothing():
    pattern = Structured("channels", (0, 0), (4, 3))
    pattern.v.data.copy_(torch.tensor([[1.0], [0.5], [0.2], [0.05]]) * 1e-3)
    assert pattern.mask(torch.ones(4, 3), None)[:, 0].tolist() == [True, True, True, False]


@pytest.mark.parametrize("pattern", ["4:2", "2:2", "0:4", "rows", "blocks", "blocks 1x1", "blocks 0x4", "2-4"])
def test_what_is_no_pattern_is_refused(pattern):
    with pytest.raises(ValueError, match=r"'N:M' with N < M, 'columns', .* and 'weights' are possible"):
        parse(pattern)
    with pytest.raises(ValueError, match="are possible"):
        Options(pattern=pattern)


def test_one_bit_weights_have_no_zeros():
    with pytest.raises(ValueError, match="needs zeros, and weights of 1 bit have none"):
        Options((1, 8), pattern="2:4")


def test_a_block_larger_than_the_layer_does_not_fit():
    with pytest.raises(UnfitPattern, match="weights are 4 by 9, the pattern is 8 by 2"):
        made("blocks 8x2", (4, 1, 3, 3))
